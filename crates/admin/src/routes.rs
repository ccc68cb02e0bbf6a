//! What is answered to which request.

use crate::bridges::BridgeSource;
use crate::metrics::NodeCollector;
use crate::pages::Pages;
use crate::readiness::{Readiness, Stage};
use crate::store::{Count, Looking};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tidegate_broker::Node;
use tracing::error;

/// The content type of OpenMetrics text 1.0.0, section "Content-Type".
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a gateway that is ready says of itself while nothing can be kept. It serves what needs no disk and refuses the rest in each protocol's
/// words, which is more than clients would get that are sent elsewhere, where their sessions are not.
const DEGRADED: &str = "degraded: the store is failing";

struct Exposed {
    node: Arc<Node>,
    looking: Looking,
    bridges: BridgeSource,
    registry: Registry,
    readiness: Readiness,
    pages: Pages,
}

/// The routes. An unknown path is answered with 404, another method than GET and HEAD with 405.
pub(crate) fn router(collector: NodeCollector, readiness: Readiness, pages: Pages) -> Router {
    let (node, bridges) = (collector.node.clone(), collector.bridges.clone());
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/bridges", get(told_bridges))
        .route("/store", get(store))
        .route("/store/queues", get(store_queues))
        .route("/store/queues/{*name}", get(store_messages))
        .fallback(page)
        .with_state(Arc::new(Exposed {
            looking: Looking::new(node.clone()),
            node,
            bridges,
            registry,
            readiness,
            pages,
        }))
}

async fn healthz() -> &'static str {
    "ok"
}

async fn readyz(State(exposed): State<Arc<Exposed>>) -> (StatusCode, &'static str) {
    let stage = exposed.readiness.stage();
    let status = match stage {
        Stage::Ready => StatusCode::OK,
        Stage::Starting | Stage::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    let is_failing = exposed.node.storage().is_some_and(|storage| storage.is_failing());
    match stage {
        Stage::Ready if is_failing => (status, DEGRADED),
        _ => (status, stage.word()),
    }
}

async fn metrics(State(exposed): State<Arc<Exposed>>) -> Response {
    let mut exposition = String::new();
    match text::encode(&mut exposition, &exposed.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], exposition).into_response(),
        Err(fmt_error) => {
            error!(error = %fmt_error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn told_bridges(State(exposed): State<Arc<Exposed>>) -> Response {
    Json(exposed.bridges.reports(&exposed.node)).into_response()
}

async fn store(State(exposed): State<Arc<Exposed>>) -> Response {
    exposed.looking.clone().info().await
}

async fn store_queues(State(exposed): State<Arc<Exposed>>, count: Query<Count>) -> Response {
    exposed.looking.clone().queues(count).await
}

async fn store_messages(
    State(exposed): State<Arc<Exposed>>,
    name: Path<String>,
    count: Query<Count>,
) -> Response {
    exposed.looking.clone().messages(name, count).await
}

async fn page(State(exposed): State<Arc<Exposed>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let answer = exposed.pages.answer(&method, uri.path(), &headers);
    answer.unwrap_or_else(|| {
        (StatusCode::NOT_FOUND, "not found: there are /healthz, /readyz, /metrics, /bridges and /store")
            .into_response()
    })
}

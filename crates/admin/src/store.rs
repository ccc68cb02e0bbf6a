//! What the store of a gateway that runs holds, in JSON: `GET /store`, `/store/queues` and `/store/queues/<name>`.
//!
//! Reading may wait for the disk and takes the longer the more sessions there are, so it is done on a thread beside that of the HTTP port, by one
//! request at a time. Answers are bounded, whatever is asked for.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidegate_broker::Node;
use tidegate_inspect::{Names, Open, info, peek, queues};
use tidegate_storage::Storage;
use tokio::sync::Semaphore;
use tokio::task;

/// Queues that are told where nobody says how many.
const QUEUES: usize = 100;
/// Messages that are told where nobody says how many.
const MESSAGES: usize = 10;

/// Looks into the store of a node.
#[derive(Clone)]
pub(crate) struct Looking {
    node: Arc<Node>,
    turns: Arc<Semaphore>,
}

/// How many of them are wanted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Count {
    count: Option<usize>,
}

/// Why there is no other answer.
#[derive(Debug, Serialize)]
struct Refusal {
    error: &'static str,
}

impl Looking {
    pub(crate) fn new(node: Arc<Node>) -> Looking {
        Looking { node, turns: Arc::new(Semaphore::new(1)) }
    }

    pub(crate) async fn info(self) -> Response {
        self.look(|storage| Some(info(&Open(storage), &Names::read(&Open(storage))))).await
    }

    pub(crate) async fn queues(self, Query(wanted): Query<Count>) -> Response {
        let count = wanted.count.unwrap_or(QUEUES);
        self.look(move |storage| Some(queues(&Open(storage), &Names::read(&Open(storage)), count))).await
    }

    pub(crate) async fn messages(self, Path(name): Path<String>, Query(wanted): Query<Count>) -> Response {
        let count = wanted.count.unwrap_or(MESSAGES);
        self.look(move |storage| {
            let names = Names::read(&Open(storage));
            names.stream(&name).map(|stream| peek(&Open(storage), &names, stream, count))
        })
        .await
    }

    /// The answer of a look; nothing is a queue that is not there.
    async fn look<T: Serialize + Send + 'static>(
        self,
        look: impl FnOnce(&dyn Storage) -> Option<T> + Send + 'static,
    ) -> Response {
        let Some(storage) = self.node.storage().cloned() else {
            return refusal(StatusCode::NOT_FOUND, "this gateway has no store: no `data_dir` is set");
        };
        // Neither is ever closed, and a look that panics is an answer all the same.
        let Ok(turn) = self.turns.acquire_owned().await else {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "the gateway stops");
        };
        let looked = task::spawn_blocking(move || {
            let found = look(&*storage);
            drop(turn);
            found
        });
        match looked.await {
            Ok(Some(found)) => Json(found).into_response(),
            Ok(None) => refusal(StatusCode::NOT_FOUND, "no queue is called so; /store/queues lists them"),
            Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the store could not be looked at"),
        }
    }
}

fn refusal(status: StatusCode, error: &'static str) -> Response {
    (status, Json(Refusal { error })).into_response()
}

//! The HTTP port: bind, serve on a thread of its own, stop.
//!
//! A connection carries one request. So a single deadline bounds what a slow or hostile client can hold, and stopping waits
//! for answers that are under way, never for idle connections. There is no TLS and no authentication here.

use crate::bridges::BridgeSource;
use crate::metrics::NodeCollector;
use crate::pages::Pages;
use crate::readiness::Readiness;
use crate::routes;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tidegate_broker::Node;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use tracing::{debug, error, warn};

/// How long accepting rests after an error that concerns more than one connection.
const REST: Duration = Duration::from_millis(50);

/// What clients that are one too many are told, if the system takes it without waiting.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What HTTP clients may hold at the most.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Open connections. One more is answered with 503 and closed.
    connections: usize,
    /// Bytes of a request's line and headers. More are answered with 431.
    header_bytes: usize,
    /// How long a client may take to send them. Then the connection is closed.
    header_timeout: Duration,
    /// How long a connection may last, its answer included. Then it is closed.
    connection_timeout: Duration,
    /// How long stopping waits for answers that are under way.
    stop_timeout: Duration,
}

const LIMITS: Limits = Limits {
    connections: 256,
    header_bytes: 16 << 10,
    header_timeout: Duration::from_secs(10),
    connection_timeout: Duration::from_secs(30),
    stop_timeout: Duration::from_secs(1),
};

/// Why the HTTP port could not be opened.
#[derive(Debug, Error)]
#[error("cannot listen for HTTP on {address}: {source}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Why the HTTP port is open but cannot be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// No event loop could be made, or it did not take the socket.
    #[error("cannot make the event loop of the HTTP port: {0}")]
    Runtime(#[source] io::Error),
    /// The system gave no thread.
    #[error("cannot start the thread of the HTTP port: {0}")]
    Thread(#[source] io::Error),
}

/// An open HTTP port that nobody serves yet. Clients may connect already; they wait.
#[derive(Debug)]
pub struct Bound {
    listener: std::net::TcpListener,
    address: SocketAddr,
    started: SystemTime,
}

impl Bound {
    /// The address that the port really has, also where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own until [`AdminServer::stop`] is called or the server is dropped.
    pub fn serve(
        self,
        node: Arc<Node>,
        readiness: Readiness,
        pages: Pages,
        bridges: BridgeSource,
    ) -> Result<AdminServer, ServeError> {
        self.serve_within(LIMITS, readiness, pages, |started| NodeCollector { node, started, bridges })
    }

    fn serve_within(
        self,
        limits: Limits,
        readiness: Readiness,
        pages: Pages,
        collector: impl FnOnce(SystemTime) -> NodeCollector,
    ) -> Result<AdminServer, ServeError> {
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(ServeError::Runtime)?;
        let socket = {
            let _entered = runtime.enter();
            TcpListener::from_std(self.listener).map_err(ServeError::Runtime)?
        };
        let router = routes::router(collector(self.started), readiness, pages);
        let (stop, stopped) = oneshot::channel();
        let acceptor =
            Acceptor { socket, router, limits, places: Arc::new(Semaphore::new(limits.connections)) };
        let run = move || run(&runtime, acceptor, stopped);
        let thread = thread::Builder::new().name("http".to_owned()).spawn(run).map_err(ServeError::Thread)?;
        Ok(AdminServer { address: self.address, stop, thread })
    }
}

/// The HTTP port while it is served.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl AdminServer {
    /// Opens the port. The moment of this call is the start time that the metrics tell, so it belongs to the first steps.
    pub fn bind(address: SocketAddr) -> Result<Bound, BindError> {
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Bound { listener, address, started: SystemTime::now() })
        };
        bind().map_err(|source| BindError { address, source })
    }

    /// The address that the port really has, also where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port, waits up to a second for answers that are under way, and returns when the thread has ended.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            error!(address = %self.address, "the thread of the HTTP port ended in a panic");
        }
    }
}

fn run(runtime: &Runtime, acceptor: Acceptor, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        let stop_timeout = acceptor.limits.stop_timeout;
        let graceful = acceptor.accept_until(stopped).await;
        if timeout(stop_timeout, graceful.shutdown()).await.is_err() {
            debug!("HTTP connections that did not end in time are dropped");
        }
    });
}

struct Acceptor {
    socket: TcpListener,
    router: Router,
    limits: Limits,
    places: Arc<Semaphore>,
}

impl Acceptor {
    /// Accepts until `stopped` resolves, which it also does when its sender is dropped. Closes the port.
    async fn accept_until(self, mut stopped: oneshot::Receiver<()>) -> GracefulShutdown {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = &mut stopped => return graceful,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &graceful),
                Err(error) => rest_after(&error).await,
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, graceful: &GracefulShutdown) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            debug!(%peer, connections_max = self.limits.connections, "refused: too many HTTP connections");
            return refuse(stream);
        };
        let connection = Connection { stream, peer, place, watcher: graceful.watcher() };
        tokio::spawn(connection.serve(self.router.clone(), self.limits));
    }
}

/// The answer is best effort: it is not worth waiting for a client that is not served.
fn refuse(stream: TcpStream) {
    if let Ok(mut socket) = stream.into_std() {
        let _unsent = socket.write(TOO_MANY);
    }
}

/// Some errors of `accept` concern one connection that is already gone; the others want time.
async fn rest_after(error: &io::Error) {
    let gone = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
    if !gone.contains(&error.kind()) {
        warn!(%error, "cannot accept HTTP connections for a moment");
        tokio::time::sleep(REST).await;
    }
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    /// Given back when the connection ends.
    place: OwnedSemaphorePermit,
    watcher: Watcher,
}

impl Connection {
    async fn serve(self, router: Router, limits: Limits) {
        let Connection { stream, peer, place, watcher } = self;
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_buf_size(limits.header_bytes)
            .header_read_timeout(limits.header_timeout)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        match timeout(limits.connection_timeout, watcher.watch(served)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%peer, %error, "the HTTP connection broke"),
            Err(_) => debug!(%peer, "the HTTP connection took too long"),
        }
        drop(place);
    }
}

#[cfg(test)]
mod tests;

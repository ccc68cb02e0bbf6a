//! Accepting connections and dealing them out to the workers.
//!
//! One acceptor a listener, rather than a socket a worker with `SO_REUSEPORT`: the kernel would deal by a hash, unevenly for
//! few connections, and a second gateway could silently share the port.

use crate::options::{ListenerOptions, ListenerProtocol, Transport};
use crate::server::Open;
use crate::websocket::HandshakeOptions;
use crate::worker::Command;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, warn};

/// How long an acceptor rests when the system has no file descriptor left. It never gives up.
const REST: Duration = Duration::from_millis(50);

/// A listener as its connections see it.
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) protocols: Vec<ListenerProtocol>,
    /// The number under which connections are counted that never said which protocol they speak.
    pub(crate) unrecognised: usize,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) websocket: Option<WebSocketListener>,
    pub(crate) allow_anonymous: bool,
    pub(crate) connect_timeout: Duration,
    open: Open,
    connections_max: usize,
    address: SocketAddr,
}

/// What is the same for every WebSocket handshake of a listener.
pub(crate) struct WebSocketListener {
    pub(crate) handshake: Arc<HandshakeOptions>,
    pub(crate) message_bytes_max: u64,
}

impl Listener {
    pub(crate) fn new(options: ListenerOptions, address: SocketAddr, unrecognised: usize) -> Listener {
        let websocket = match options.transport {
            Transport::Tcp => None,
            Transport::WebSocket(websocket) => {
                let names = |protocol: &ListenerProtocol| protocol.protocol.websocket_subprotocols();
                let subprotocols: Vec<String> =
                    options.protocols.iter().flat_map(names).map(|name| (*name).to_owned()).collect();
                // Only where nothing else could be meant.
                let default_subprotocol = match options.protocols.as_slice() {
                    [only] => names(only).first().map(|name| (*name).to_owned()),
                    _ => None,
                };
                let (path, origins) = (websocket.path, websocket.origins);
                let handshake = HandshakeOptions { path, origins, subprotocols, default_subprotocol };
                let message_bytes_max = websocket.message_bytes_max;
                Some(WebSocketListener { handshake: Arc::new(handshake), message_bytes_max })
            }
        };
        Listener {
            name: options.name,
            protocols: options.protocols,
            unrecognised,
            tls: options.tls.map(TlsAcceptor::from),
            websocket,
            allow_anonymous: options.allow_anonymous,
            connect_timeout: options.connect_timeout,
            open: Open::default(),
            connections_max: options.connections_max,
            address,
        }
    }
}

/// Deals connections out to the workers and keeps the limits of open connections.
pub(crate) struct Dealer {
    workers: Vec<(mpsc::Sender<Command>, Open)>,
    open: Open,
    connections_max: usize,
    next: AtomicUsize,
}

/// A connection's place among the open ones; given back when dropped.
pub(crate) struct Permit(Vec<Open>);

impl Drop for Permit {
    fn drop(&mut self) {
        for open in &self.0 {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Dealer {
    pub(crate) fn new(workers: Vec<mpsc::Sender<Command>>, connections_max: usize) -> Dealer {
        let workers = workers.into_iter().map(|sender| (sender, Open::default())).collect();
        Dealer { workers, open: Open::default(), connections_max, next: AtomicUsize::new(0) }
    }

    fn permit(&self, listener: &Listener) -> Option<Permit> {
        let has_room = self.open.load(Ordering::Relaxed) < self.connections_max
            && listener.open.load(Ordering::Relaxed) < listener.connections_max;
        has_room.then(|| take_places(&[&self.open, &listener.open]))
    }

    /// Gives a connection to the worker with the fewest; in turn where several have as few.
    async fn deal(
        &self,
        socket: std::net::TcpStream,
        peer: SocketAddr,
        listener: Arc<Listener>,
        mut permit: Permit,
    ) {
        let count = self.workers.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed) % count.max(1);
        let in_turn = self.workers.iter().cycle().skip(first).take(count);
        let Some((sender, open)) = in_turn.min_by_key(|(_, open)| open.load(Ordering::Relaxed)) else {
            return;
        };
        permit.0.append(&mut take_places(&[open]).0);
        if sender.send(Command::Serve { socket, peer, listener, permit }).await.is_err() {
            debug!(%peer, "the worker has ended; the connection is dropped");
        }
    }
}

fn take_places(counts: &[&Open]) -> Permit {
    let take = |open: &&Open| {
        open.fetch_add(1, Ordering::Relaxed);
        Arc::clone(open)
    };
    Permit(counts.iter().map(take).collect())
}

/// Accepts for one listener.
pub(crate) struct Acceptor {
    pub(crate) socket: std::net::TcpListener,
    pub(crate) listener: Arc<Listener>,
    pub(crate) dealer: Arc<Dealer>,
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Acceptor {
    /// Accepts until the gateway stops. The socket is closed when this returns.
    pub(crate) async fn run(mut self) {
        let listener = self.listener.clone();
        let socket = match TcpListener::from_std(self.socket) {
            Ok(socket) => socket,
            Err(error) => return error!(listener = %listener.name, %error, "cannot accept"),
        };
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = self.stopped.wait_for(|stopped| *stopped) => return,
            };
            match accepted {
                Ok((stream, peer)) => admit(&self.dealer, &listener, stream, peer).await,
                Err(error) => rest_after(&listener, &error).await,
            }
        }
    }
}

async fn admit(dealer: &Dealer, listener: &Arc<Listener>, stream: TcpStream, peer: SocketAddr) {
    let Some(permit) = dealer.permit(listener) else {
        return debug!(listener = %listener.name, %peer, "refused: the limit of open connections is reached");
    };
    match stream.into_std() {
        Ok(socket) => dealer.deal(socket, peer, listener.clone(), permit).await,
        Err(error) => debug!(%peer, %error, "the connection broke before it was served"),
    }
}

/// Some errors of `accept` concern one connection that is already gone; the others want time.
async fn rest_after(listener: &Listener, error: &io::Error) {
    let gone = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
    if !gone.contains(&error.kind()) {
        warn!(listener = %listener.name, address = %listener.address, %error, "cannot accept for a moment");
        tokio::time::sleep(REST).await;
    }
}

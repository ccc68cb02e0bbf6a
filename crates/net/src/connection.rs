//! One connection, from its first byte to its last: a task that reads, and that waits for the socket when it must.
//!
//! What is read goes through TLS and WebSocket, where the listener has them, in the worker's buffers, and from there to the shard as
//! one run of bytes. Only an unfinished frame is kept, so an idle connection holds no buffer.

mod ending;
mod feeding;
mod reading;

use crate::listener::Listener;
use crate::opening::{self, Opened, OpeningError};
use crate::websocket::Decoder;
use crate::wire::{Wire, WireOutlet};
use crate::worker::Worker;
use socket2::SockRef;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tidegate_broker::{Entrance, PublishLimits, SlotKey};
use tidegate_protocol::{Close, CloseReason, MessageKind, Output, Peer};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Sleep, timeout};
use tracing::{debug, info};

/// How long a peer may take nothing of what is sent to it. Its kernel may answer for it for ever, so TCP does not find out.
const STALLED_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a connection rests when the other workers cannot keep up with what it publishes.
const PRESSED_REST: Duration = Duration::from_millis(1);

/// Serves one accepted connection until it ends. What only the beginning and the end need is boxed: the task of an idle connection is
/// little more than its [`Connection`].
pub(crate) async fn serve(
    worker: Rc<Worker>,
    socket: std::net::TcpStream,
    peer: SocketAddr,
    listener: Arc<Listener>,
) {
    let Some((mut connection, step)) = Box::pin(begin(worker, socket, peer, listener)).await else { return };
    let close = connection.run(step).await;
    if close.is_some() {
        // A fleet that is cut off ends all at once; who is still connected comes in between.
        Box::pin(connection.worker.endings.wait()).await;
    }
    Box::pin(connection.end(close)).await;
}

/// From the accepted socket to a connection whose machine runs and has what the opening has read; nothing where it came to an end before.
async fn begin(
    worker: Rc<Worker>,
    socket: std::net::TcpStream,
    peer: SocketAddr,
    listener: Arc<Listener>,
) -> Option<(Connection, Step)> {
    let deadline = Instant::now() + listener.connect_timeout;
    let opening = async {
        socket.set_nodelay(true)?;
        // For peers that vanished and had not promised to be heard: the system looks after them, as seldom as it is set to.
        SockRef::from(&socket).set_keepalive(true)?;
        opening::open(TcpStream::from_std(socket)?, &listener, &worker.handshakes).await
    };
    let mut stopped = worker.stopped.clone();
    let opened = tokio::select! {
        // In this order: what opens after the shard has closed everything would hold up the end.
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => {
            count_unopened(&worker, &listener, CloseReason::ServerShutdown.label());
            return None;
        }
        opened = tokio::time::timeout_at(deadline.into(), opening) => opened,
    };
    match opened {
        Ok(Ok(mut opened)) => {
            let first = std::mem::take(&mut opened.first);
            let mut connection = Connection::new(worker, opened, peer, &listener, deadline);
            let step = connection.feed_first(first);
            Some((connection, step))
        }
        Ok(Err(error)) => {
            note_failed_opening(&worker, &listener, peer, &error);
            None
        }
        Err(_) => {
            debug!(listener = %listener.name(), %peer, "the opening took too long");
            count_unopened(&worker, &listener, CloseReason::ConnectTimeout.label());
            None
        }
    }
}

/// Counts a connection that never said which protocol it speaks.
pub(crate) fn count_unopened(worker: &Worker, listener: &Listener, label: &'static str) {
    worker.event(|shard, _| {
        if let Some(counters) = shard.metrics().protocols.get(listener.unrecognised) {
            counters.opened.add(1);
            counters.count_close(label);
        }
    });
}

fn note_failed_opening(worker: &Worker, listener: &Listener, peer: SocketAddr, error: &OpeningError) {
    match error {
        OpeningError::Silent | OpeningError::Broken(_) => {
            debug!(listener = %listener.name(), %peer, "{error}")
        }
        _ if worker.notices.allow(Instant::now()) => {
            info!(listener = %listener.name(), %peer, reason = error.label(), "{error}");
        }
        _ => {}
    }
    count_unopened(worker, listener, error.label());
}

/// The reading side of one connection.
struct Connection {
    worker: Rc<Worker>,
    wire: Rc<Wire>,
    socket: OwnedReadHalf,
    key: SlotKey,
    websocket: Option<Box<Decoder>>,
    is_encrypted: bool,
    /// The shard awaits an answer and must not be fed.
    is_waiting: bool,
    /// Whether the client may publish only so fast, and until when it is not read from.
    is_paced: bool,
    resting: Option<Pin<Box<Sleep>>>,
    /// An unfinished frame, and how long it must be before the machine can do anything with it.
    rest: Vec<u8>,
    wanted: usize,
    /// Waits until the socket takes more; false when it took nothing for too long.
    writable: Option<Pin<Box<dyn Future<Output = bool>>>>,
    peer: SocketAddr,
}

/// What the task does next.
enum Step {
    Continue,
    /// Give the other tasks a turn first.
    Yield,
    Close(Option<Close>),
}

impl Connection {
    fn new(
        worker: Rc<Worker>,
        opened: Opened,
        peer: SocketAddr,
        listener: &Listener,
        deadline: Instant,
    ) -> Connection {
        let number = worker.node.next_id();
        let known = Peer {
            connection: number,
            address: peer,
            listener: listener.name().clone(),
            connect_deadline: deadline,
        };
        let entrance = Entrance {
            listener: listener.name().clone(),
            allow_anonymous: listener.allow_anonymous,
            certificate: opened.certificate,
            is_of_process: false,
        };
        let is_encrypted = opened.tls.is_some();
        let framing = opened.websocket.is_some().then(|| opened.protocol.protocol.message_kind());
        let output = match framing {
            Some(MessageKind::FramePerMessage) => Output::frames(),
            _ => Output::stream(),
        };
        let (socket, write_half) = opened.socket.into_split();
        let wire = Rc::new(Wire::new(write_half, opened.tls, framing));
        let (out, outlet_worker, port) = (wire.clone(), worker.clone(), listener.port.clone());
        let terms_seen = Cell::new(listener.terms_seen);
        let outlet = Box::new(WireOutlet { wire: out, worker: outlet_worker, peer, port, terms_seen });
        let key = worker.event(|shard, now| {
            let machine = opened.protocol.protocol.open(&known, now);
            let key = shard.open(number, opened.protocol.index, entrance, machine, output, outlet);
            shard.limit_publishing(key, listener.publish_limits, now);
            // The listener may have changed or gone since the connection was accepted.
            shard.review(key, now);
            key
        });
        let is_paced = listener.publish_limits != PublishLimits::default();
        debug!(listener = %listener.name(), %peer, connection = number, protocol = opened.protocol.protocol.name(), "opened");
        let (websocket, rest) = (opened.websocket, Vec::new());
        let (is_waiting, wanted, writable, resting) = (false, 1, None, None);
        Connection {
            worker,
            wire,
            socket,
            key,
            websocket,
            is_encrypted,
            is_waiting,
            is_paced,
            resting,
            rest,
            wanted,
            writable,
            peer,
        }
    }

    /// Reads until the connection ends; returns why, where the shard does not know it yet.
    async fn run(&mut self, mut step: Step) -> Option<Close> {
        loop {
            step = match step {
                Step::Close(close) => return close,
                Step::Yield => {
                    self.pause().await;
                    Step::Continue
                }
                Step::Continue => poll_fn(|context| self.poll_step(context)).await,
            };
        }
    }

    async fn pause(&self) {
        match self.worker.is_pressed() {
            true => Box::pin(tokio::time::sleep(PRESSED_REST)).await,
            false => tokio::task::yield_now().await,
        }
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        self.wire.register(context);
        if self.wire.has_ended() {
            return Poll::Ready(Step::Close(None));
        }
        if self.wire.is_broken() {
            return Poll::Ready(Step::Close(Some(CloseReason::PeerClosed.into())));
        }
        if self.wire.is_blocked()
            && let Poll::Ready(step) = self.poll_writable(context)
        {
            return Poll::Ready(step);
        }
        if self.is_waiting {
            if !self.wire.take_resumed() {
                return Poll::Pending;
            }
            self.is_waiting = false;
            return Poll::Ready(self.feed_rest());
        }
        if let Some(resting) = &mut self.resting {
            ready!(resting.as_mut().poll(context));
            self.resting = None;
            return Poll::Ready(self.feed_rest());
        }
        // A peer that does not read its acknowledgements is not read from either.
        if self.wire.is_blocked() && self.worker.is_stalled(self.key) {
            return Poll::Pending;
        }
        // What the other workers have not read yet is bounded only if nobody adds to it.
        if self.worker.is_pressed() {
            return Poll::Ready(Step::Yield);
        }
        self.poll_read(context)
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let wire = self.wire.clone();
        let wait = || -> Pin<Box<dyn Future<Output = bool>>> {
            Box::pin(async move { timeout(STALLED_TIMEOUT, wire.writable()).await.is_ok() })
        };
        let writable = ready!(self.writable.get_or_insert_with(wait).as_mut().poll(context));
        self.writable = None;
        if !writable {
            return Poll::Ready(Step::Close(Some(CloseReason::OutputStalled.into())));
        }
        self.wire.write_pending();
        self.worker.event(|shard, now| shard.flush(self.key, now));
        Poll::Ready(Step::Continue)
    }
}

/// However the task ends, even by a panic in a machine: the shard must not keep a connection that nobody serves.
impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.event(|shard, now| shard.close(self.key, &CloseReason::PeerClosed.into(), now));
    }
}

//! One connection, from its first byte to its last: a task that reads, and that waits for the socket when it must.
//!
//! What is read goes through TLS and WebSocket, where the listener has them, in the worker's buffers, and from there to the shard as
//! one run of bytes. Only an unfinished frame is kept, so an idle connection holds no buffer.

mod feeding;

use crate::listener::Listener;
use crate::opening::{self, Opened, OpeningError};
use crate::websocket::{Decoded, Decoder};
use crate::wire::{Wire, WireOutlet};
use crate::worker::{READ_BYTES, REST_BYTES, Worker};
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
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Sleep, timeout};
use tracing::{debug, info};

/// How long a peer may take nothing of what is sent to it. Its kernel may answer for it for ever, so TCP does not find out.
const STALLED_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the last words may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a peer may take to close its side after that.
const LINGER: Duration = Duration::from_millis(500);
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
    let Some(mut connection) = Box::pin(begin(worker, socket, peer, listener)).await else { return };
    let close = connection.run().await;
    if close.is_some() {
        // A fleet that is cut off ends all at once; who is still connected comes in between.
        Box::pin(connection.worker.endings.wait()).await;
    }
    Box::pin(connection.end(close)).await;
}

/// From the accepted socket to a connection whose machine runs; nothing where it came to an end before.
async fn begin(
    worker: Rc<Worker>,
    socket: std::net::TcpStream,
    peer: SocketAddr,
    listener: Arc<Listener>,
) -> Option<Connection> {
    let deadline = Instant::now() + listener.connect_timeout;
    let opening = async {
        socket.set_nodelay(true)?;
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
        Ok(Ok(opened)) => Some(Connection::new(worker, opened, peer, &listener, deadline)),
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
        let (websocket, rest) = (opened.websocket, opened.first);
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
    async fn run(&mut self) -> Option<Close> {
        let mut step = self.feed_first();
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

    /// Feeds what the opening has read too much; under TLS also what the session holds already.
    fn feed_first(&mut self) -> Step {
        let first = std::mem::take(&mut self.rest);
        let mut step = if first.is_empty() { Step::Continue } else { self.handle_plain(&first) };
        if self.is_encrypted && matches!(step, Step::Continue) {
            step = self.decrypt();
        }
        step
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

    /// Reads once, as much as the worker's buffer takes.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let worker = self.worker.clone();
        if self.is_encrypted {
            let mut buffer = worker.tls_buffer.borrow_mut();
            buffer.resize(READ_BYTES, 0);
            let count = ready!(self.poll_socket(context, &mut buffer));
            let Some(mut cipher) = count.and_then(|count| buffer.get(..count)) else {
                return Poll::Ready(self.peer_closed());
            };
            let is_full = cipher.len() == READ_BYTES;
            let step = self.handle_cipher(&mut cipher);
            return Poll::Ready(after_read(step, is_full));
        }
        let mut buffer = worker.read_buffer.borrow_mut();
        let kept = self.kept_in_front();
        let Some(free) = buffer.get_mut(kept..) else { return Poll::Ready(self.peer_closed()) };
        let Some(count) = ready!(self.poll_socket(context, free)) else {
            return Poll::Ready(self.peer_closed());
        };
        let is_full = count == free.len();
        let step = self.handle_new(&mut buffer, count);
        Poll::Ready(after_read(step, is_full))
    }

    fn poll_socket(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Option<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let result = ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer));
        let count = buffer.filled().len();
        Poll::Ready((result.is_ok() && count > 0).then_some(count))
    }

    fn peer_closed(&self) -> Step {
        Step::Close(Some(CloseReason::PeerClosed.into()))
    }

    /// A short rest is copied to the front of the read buffer, so that the new bytes stand behind it.
    fn kept_in_front(&self) -> usize {
        if self.rest.len() <= REST_BYTES { self.rest.len() } else { 0 }
    }

    /// Decrypts what has come, and handles each piece of plain text.
    fn handle_cipher(&mut self, cipher: &mut &[u8]) -> Step {
        while !cipher.is_empty() {
            let read = self.wire.with_tls(|tls| {
                tls.read_tls(cipher).map_err(|error| error.to_string())?;
                tls.process_new_packets().map_err(|error| error.to_string())
            });
            match read {
                Some(Ok(state)) if state.peer_has_closed() && state.plaintext_bytes_to_read() == 0 => {
                    return self.peer_closed();
                }
                Some(Ok(_)) => {}
                Some(Err(detail)) => return tls_fault(&self.wire, detail),
                None => return Step::Close(None),
            }
            match self.decrypt() {
                Step::Continue => {}
                step => return step,
            }
        }
        // Answers of the session itself: tickets, key updates, alerts.
        self.wire.write_pending();
        Step::Continue
    }

    /// Handles the plain text that the session holds.
    fn decrypt(&mut self) -> Step {
        let worker = self.worker.clone();
        let mut buffer = worker.read_buffer.borrow_mut();
        loop {
            let kept = self.kept_in_front();
            let Some(free) = buffer.get_mut(kept..) else { return Step::Close(None) };
            let read = self.wire.with_tls(|tls| std::io::Read::read(&mut tls.reader(), free));
            match read {
                Some(Ok(count)) if count > 0 => match self.handle_new(&mut buffer, count) {
                    Step::Continue => {}
                    step => return step,
                },
                Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return Step::Continue,
                _ => return self.peer_closed(),
            }
        }
    }

    /// Handles bytes that were read apart from the worker's buffer.
    fn handle_plain(&mut self, bytes: &[u8]) -> Step {
        let worker = self.worker.clone();
        let mut buffer = worker.read_buffer.borrow_mut();
        for chunk in bytes.chunks(READ_BYTES) {
            let kept = self.kept_in_front();
            let Some(free) = buffer.get_mut(kept..).and_then(|free| free.get_mut(..chunk.len())) else {
                return Step::Close(None);
            };
            free.copy_from_slice(chunk);
            match self.handle_new(&mut buffer, chunk.len()) {
                Step::Continue => {}
                step => return step,
            }
        }
        Step::Continue
    }

    /// Handles `count` new bytes that stand in the buffer behind the place for the kept rest.
    fn handle_new(&mut self, buffer: &mut [u8], count: usize) -> Step {
        let kept = self.kept_in_front();
        let Some(new) = buffer.get_mut(kept..kept + count) else { return Step::Close(None) };
        let decoded = match &mut self.websocket {
            Some(decoder) => decoder.decode_in_place(new),
            None => Decoded { data_len: count, ping: None, end: None },
        };
        let step = self.feed_new(buffer, kept, decoded.data_len);
        if let Some(payload) = decoded.ping {
            self.wire.send_pong(&payload);
        }
        match (step, decoded.end) {
            (Step::Continue, Some(end)) => self.end_websocket(&end),
            (step, _) => step,
        }
    }

    fn end_websocket(&mut self, end: &crate::websocket::End) -> Step {
        use crate::websocket::End;
        self.wire.say_goodbye(|goodbye| end.encode_close(goodbye), matches!(end, End::Closed(_)));
        let reason = match end {
            End::Closed(_) => Close::from(CloseReason::PeerClosed),
            End::Failed(error) => Close::new(CloseReason::TransportFault(error.label()), error.to_string()),
        };
        Step::Close(Some(reason))
    }

    /// Tells the shard, sends the last words, and closes the socket in order.
    async fn end(mut self, close: Option<Close>) {
        // Nothing happens where the shard has closed the connection itself.
        let close = close.unwrap_or(CloseReason::PeerClosed.into());
        self.worker.event(|shard, now| shard.close(self.key, &close, now));
        let wire = self.wire.clone();
        let last_words = async {
            while !wire.finish() {
                wire.writable().await;
            }
        };
        if timeout(LAST_WORDS, last_words).await.is_err() {
            debug!(peer = %self.peer, connection = self.key.connection(), "the peer did not take the last words");
            return;
        }
        if !self.wire.is_broken() {
            self.linger().await;
        }
    }

    /// Closes our side and waits a moment for the peer's: a socket that is closed with unread bytes in it takes what was sent last with it.
    async fn linger(&mut self) {
        self.wire.shut_down();
        let worker = self.worker.clone();
        let drain = poll_fn(|context| {
            loop {
                let mut buffer = worker.read_buffer.borrow_mut();
                if ready!(self.poll_socket(context, &mut buffer)).is_none() {
                    return Poll::Ready(());
                }
            }
        });
        let _ = timeout(LINGER, drain).await;
    }
}

/// Where more waits in the socket, the flusher and the other connections come first.
fn after_read(step: Step, is_more_likely: bool) -> Step {
    match step {
        Step::Continue if is_more_likely => Step::Yield,
        step => step,
    }
}

/// However the task ends, even by a panic in a machine: the shard must not keep a connection that nobody serves.
impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.event(|shard, now| shard.close(self.key, &CloseReason::PeerClosed.into(), now));
    }
}

fn tls_fault(wire: &Wire, detail: String) -> Step {
    // The session has an alert to send.
    wire.write_pending();
    Step::Close(Some(Close::new(CloseReason::TransportFault("tls_error"), detail)))
}

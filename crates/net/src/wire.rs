//! The way out of one connection: framing, encryption, and the socket's write half.
//!
//! A wire is shared by the connection's task and by the outlet that the shard holds. The outlet writes without waiting; when
//! the socket takes no more, the task waits for it and asks the shard to flush again. Nothing is buffered here beyond what
//! one flush has already framed or encrypted.

use crate::listener::Port;
use crate::websocket::{Opcode, close_code, encode_close, encode_pong, push_frame_header};
use crate::worker::Worker;
use rustls::ServerConnection;
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;
use tidegate_broker::{Entrance, Outlet};
use tidegate_protocol::{Close, CloseReason, MessageKind, Output};
use tokio::net::tcp::OwnedWriteHalf;
use tracing::{debug, info};

/// Framed bytes above this are not kept for the next flush.
const PENDING_KEPT_BYTES: usize = 4 << 10;

/// The way out of one connection.
pub(crate) struct Wire {
    socket: OwnedWriteHalf,
    state: RefCell<WireState>,
    /// The socket took less than it was given.
    blocked: Cell<bool>,
    /// The shard feeds the connection again.
    resumed: Cell<bool>,
    /// The last output is in `state`; the connection is to be closed.
    ended: Cell<bool>,
    /// The socket is of no use any more.
    broken: Cell<bool>,
    /// When the peer was heard of last without the shard's being told.
    heard_at: Cell<Option<Instant>>,
    task: RefCell<Option<Waker>>,
}

#[derive(Default)]
struct WireState {
    tls: Option<Box<ServerConnection>>,
    framing: Option<MessageKind>,
    /// Bytes that are framed but not yet written (or, under TLS, not yet encrypted), with how many of them are gone.
    pending: Vec<u8>,
    written: usize,
    /// The answer to the last ping, while the socket has not taken what stands in front of it.
    pong: Vec<u8>,
    /// What the shard gave up together with the connection.
    last: Output,
    /// The WebSocket close frame that follows it.
    goodbye: Option<Vec<u8>>,
    /// The peer has closed its side of the WebSocket and is told nothing more but the close frame.
    is_mute: bool,
}

impl Wire {
    pub(crate) fn new(
        socket: OwnedWriteHalf,
        tls: Option<Box<ServerConnection>>,
        framing: Option<MessageKind>,
    ) -> Wire {
        Wire {
            socket,
            state: RefCell::new(WireState { tls, framing, ..WireState::default() }),
            blocked: Cell::new(false),
            resumed: Cell::new(false),
            ended: Cell::new(false),
            broken: Cell::new(false),
            heard_at: Cell::new(None),
            task: RefCell::new(None),
        }
    }

    /// Remembers whom to wake.
    pub(crate) fn register(&self, context: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if task.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.task.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Whether the task has to wait until the socket can be written to.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Whether the shard has asked for the connection to be fed again, since the last call.
    pub(crate) fn take_resumed(&self) -> bool {
        self.resumed.take()
    }

    pub(crate) async fn writable(&self) {
        let _ = self.socket.writable().await;
    }

    /// Closes our side of the socket.
    pub(crate) fn shut_down(&self) {
        let socket: &tokio::net::TcpStream = self.socket.as_ref();
        // A peer that is gone already cannot be told.
        let _ = socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write);
    }

    /// Runs something on the TLS session, if there is one.
    pub(crate) fn with_tls<R>(&self, run: impl FnOnce(&mut ServerConnection) -> R) -> Option<R> {
        self.state.borrow_mut().tls.as_deref_mut().map(run)
    }

    /// Puts a pong between two messages, in place of one that could not leave yet: a peer that pings and does not read must
    /// not make the gateway gather answers, and only the last ping needs one (RFC 6455 section 5.5.3).
    pub(crate) fn send_pong(&self, payload: &[u8]) {
        let mut state = self.state.borrow_mut();
        state.pong.clear();
        encode_pong(&mut state.pong, payload);
        let result = state.write_pending(&self.socket);
        self.note(result);
    }

    /// Ends the WebSocket with this close frame: behind the last output, or in place of it when the peer has closed already.
    pub(crate) fn say_goodbye(&self, encode: impl FnOnce(&mut Vec<u8>), peer_has_closed: bool) {
        let mut state = self.state.borrow_mut();
        let mut goodbye = Vec::new();
        encode(&mut goodbye);
        state.goodbye = Some(goodbye);
        state.is_mute = peer_has_closed;
    }

    /// Writes what is framed or encrypted already.
    pub(crate) fn write_pending(&self) {
        let mut state = self.state.borrow_mut();
        let result = state.write_pending(&self.socket);
        self.note(result);
    }

    /// Writes more of the last output, then the close frame. True when nothing is left to write.
    pub(crate) fn finish(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let mut last = std::mem::take(&mut state.last);
        let result = state.send(&mut last, &mut Vec::new(), &self.socket);
        let is_sent = matches!(result, Ok(Progress::Done)) && last.is_empty();
        state.last = last;
        self.note(result);
        if !is_sent {
            return self.broken.get();
        }
        if let Some(goodbye) = state.goodbye.take() {
            state.pending.extend_from_slice(&goodbye);
        }
        self.note_done(state.write_pending(&self.socket))
    }

    /// Ends the TLS session, if there is one, behind everything else. True when nothing is left to write.
    pub(crate) fn finish_tls(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if let Some(tls) = &mut state.tls {
            tls.send_close_notify();
        }
        self.note_done(state.write_pending(&self.socket))
    }

    fn note_done(&self, result: io::Result<Progress>) -> bool {
        let is_done = matches!(result, Ok(Progress::Done));
        self.note(result);
        is_done || self.broken.get()
    }

    /// The peer was heard of, although what came is not given to the shard yet.
    pub(crate) fn note_heard(&self) {
        self.heard_at.set(Some(Instant::now()));
    }

    /// Whether bytes of the peer wait in the socket.
    fn has_unread(&self) -> bool {
        let socket: &tokio::net::TcpStream = self.socket.as_ref();
        rustix::io::ioctl_fionread(socket).is_ok_and(|bytes| bytes > 0)
    }

    fn note(&self, result: io::Result<Progress>) {
        match result {
            Ok(Progress::Done) => self.blocked.set(false),
            Ok(Progress::Blocked) => {
                self.blocked.set(true);
                self.wake();
            }
            Err(_) => {
                self.broken.set(true);
                self.blocked.set(false);
                self.wake();
            }
        }
    }
}

/// Whether everything that was given could be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    Blocked,
}

impl WireState {
    /// Frames, encrypts and writes the output as far as the socket takes it.
    fn send(
        &mut self,
        output: &mut Output,
        scratch: &mut Vec<u8>,
        socket: &OwnedWriteHalf,
    ) -> io::Result<Progress> {
        if self.write_pending(socket)? == Progress::Blocked {
            return Ok(Progress::Blocked);
        }
        match (self.framing, self.tls.is_some()) {
            _ if output.is_empty() => Ok(Progress::Done),
            (None, false) => {
                let (written, progress) = write_some(socket, output.bytes())?;
                output.consume(written);
                Ok(progress)
            }
            (None, true) => {
                self.encrypt(output.bytes())?;
                output.consume(output.len());
                self.write_pending(socket)
            }
            (Some(kind), is_encrypted) => {
                scratch.clear();
                frame(kind, output, scratch);
                let mut buffer = output.replace_buffer(Vec::new());
                buffer.clear();
                output.replace_buffer(buffer);
                if is_encrypted {
                    self.encrypt(scratch)?;
                    return self.write_pending(socket);
                }
                let (written, progress) = write_some(socket, scratch)?;
                self.pending.extend_from_slice(scratch.get(written..).unwrap_or_default());
                Ok(progress)
            }
        }
    }

    /// The whole output of a turn becomes as few records as possible.
    fn encrypt(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.as_mut().map_or(Ok(()), |tls| tls.writer().write_all(bytes))
    }

    /// Writes what is framed already, and behind it a pong that waits.
    fn write_pending(&mut self, socket: &OwnedWriteHalf) -> io::Result<Progress> {
        let progress = self.write_framed(socket)?;
        if self.pong.is_empty() || progress == Progress::Blocked {
            return Ok(progress);
        }
        self.pending.append(&mut self.pong);
        self.write_framed(socket)
    }

    fn write_framed(&mut self, socket: &OwnedWriteHalf) -> io::Result<Progress> {
        let Some(tls) = &mut self.tls else { return self.write_pending_plain(socket) };
        if !self.pending.is_empty() {
            tls.writer().write_all(&self.pending)?;
            self.pending.clear();
        }
        let mut socket = TryWriter(socket);
        while tls.wants_write() {
            match tls.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Blocked),
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::Done)
    }

    fn write_pending_plain(&mut self, socket: &OwnedWriteHalf) -> io::Result<Progress> {
        if self.pending.is_empty() {
            return Ok(Progress::Done);
        }
        let (written, progress) = write_some(socket, self.pending.get(self.written..).unwrap_or_default())?;
        self.written += written;
        if progress == Progress::Done {
            self.written = 0;
            self.pending.clear();
            self.pending.shrink_to(PENDING_KEPT_BYTES.min(self.pending.capacity()));
        }
        Ok(progress)
    }
}

fn write_some(socket: &OwnedWriteHalf, bytes: &[u8]) -> io::Result<(usize, Progress)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match socket.try_write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((written, Progress::Blocked)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((written, Progress::Done))
}

/// Puts an output into WebSocket frames: one for a byte stream, one a frame of the protocol otherwise.
fn frame(kind: MessageKind, output: &Output, framed: &mut Vec<u8>) {
    match kind {
        MessageKind::BinaryStream => push_frame(framed, Opcode::Binary, output.bytes()),
        MessageKind::FramePerMessage => {
            let bytes = output.bytes();
            let mut start = 0;
            for end in output.frame_ends().iter().copied().chain(std::iter::once(bytes.len())) {
                if let Some(message) = bytes.get(start..end).filter(|message| !message.is_empty()) {
                    // A browser closes the socket when a text frame is not UTF-8.
                    let is_text = simdutf8::basic::from_utf8(message).is_ok();
                    push_frame(framed, if is_text { Opcode::Text } else { Opcode::Binary }, message);
                    start = end;
                }
            }
        }
    }
}

fn push_frame(framed: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    push_frame_header(framed, opcode, payload.len());
    framed.extend_from_slice(payload);
}

/// The socket as rustls wants to see it.
struct TryWriter<'a>(&'a OwnedWriteHalf);

impl Write for TryWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The wire as the shard sees it.
pub(crate) struct WireOutlet {
    pub(crate) wire: Rc<Wire>,
    pub(crate) worker: Rc<Worker>,
    pub(crate) peer: SocketAddr,
    pub(crate) port: Arc<Port>,
    /// The state of the port's terms under which the client was last looked at.
    pub(crate) terms_seen: Cell<u64>,
}

impl WireOutlet {
    /// A line for a connection that did not end as its protocol asks.
    fn log(&self, close: &Close, client_id: Option<&str>) {
        let (peer, listener, reason, detail) =
            (self.peer, &self.port.name, close.reason.label(), &close.detail);
        let client_id = client_id.unwrap_or_default();
        match close.reason {
            CloseReason::Disconnected | CloseReason::PeerClosed | CloseReason::ServerShutdown => {
                debug!(%listener, %peer, client_id, reason, "connection closed");
            }
            _ if self.worker.notices.allow(Instant::now()) => {
                info!(%listener, %peer, client_id, reason, %detail, "connection closed");
            }
            _ => {}
        }
    }
}

impl Outlet for WireOutlet {
    fn flush(&mut self, output: &mut Output) {
        let wire = &self.wire;
        if wire.broken.get() {
            output.consume(output.len());
            return;
        }
        let result =
            wire.state.borrow_mut().send(output, &mut self.worker.frame_buffer.borrow_mut(), &wire.socket);
        wire.note(result);
    }

    fn resume(&mut self) {
        self.wire.resumed.set(true);
        self.wire.wake();
    }

    /// The session keeps the chain that the client has shown, so asking again costs no memory.
    fn entrance(&self) -> Result<Option<Entrance>, Close> {
        let mut seen = self.terms_seen.get();
        let chain =
            || self.wire.with_tls(|tls| tls.peer_certificates().map(<[_]>::to_vec).unwrap_or_default());
        let entrance = self.port.entrance(&mut seen, chain);
        self.terms_seen.set(seen);
        entrance
    }

    /// Whoever has sent something that waits to be read is not silent.
    fn heard_at(&self, now: Instant) -> Option<Instant> {
        if self.wire.has_unread() { Some(now) } else { self.wire.heard_at.get() }
    }

    fn end(self: Box<Self>, output: Output, close: &Close, client_id: Option<&str>) {
        self.log(close, client_id);
        let mut state = self.wire.state.borrow_mut();
        if !state.is_mute {
            state.last = output;
        }
        if state.framing.is_some() && state.goodbye.is_none() {
            encode_close(state.goodbye.insert(Vec::new()), close_code(close), &close.to_string());
        }
        drop(state);
        self.wire.ended.set(true);
        self.wire.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    /// RFC 6455 section 5.5.3: of the pings that could not be answered only the last one is.
    #[tokio::test]
    async fn pings_of_a_peer_that_does_not_read_leave_one_pong() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_unread, write_half) = listener.accept().await.unwrap().0.into_split();
        write_half.writable().await.unwrap();
        let wire = Wire::new(write_half, None, Some(MessageKind::BinaryStream));
        let mut output = Output::stream();
        while !wire.is_blocked() {
            output.buffer().resize(1 << 20, 0);
            let result = wire.state.borrow_mut().send(&mut output, &mut Vec::new(), &wire.socket);
            wire.note(result);
        }
        let waiting = || wire.state.borrow().pending.len() + wire.state.borrow().pong.len();
        wire.send_pong(b"first");
        let before = waiting();
        (0..100).for_each(|_| wire.send_pong(b"again"));
        assert_eq!(waiting(), before);
        drop(client);
    }
}

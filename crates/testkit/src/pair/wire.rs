//! The socket of a connection in a test: what the peer sends waits in it, what it receives gathers in it, and it can be blocked.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use tidegate_broker::{Entrance, Outlet, SlotKey};
use tidegate_protocol::{Close, CloseReason, Output};

/// A connection, and the client's end of its socket. A clone is the same connection.
#[derive(Clone)]
pub struct Link {
    pub(super) worker: usize,
    pub(super) key: SlotKey,
    pub(super) wire: Rc<RefCell<Wire>>,
}

/// What the socket of a link holds.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) unfed: Vec<u8>,
    /// How many of them the connection was offered already: an unfinished frame.
    pub(super) offered: usize,
    pub(super) received: Vec<u8>,
    /// Bytes that the peer still takes; no limit where nothing is set.
    pub(super) room: Option<usize>,
    pub(super) has_left_something: bool,
    pub(super) resumed: bool,
    /// What the listener makes of the client from now on.
    pub(super) entrance: Option<Result<Entrance, Close>>,
    pub(super) ended: Option<Close>,
    pub(super) ended_client_id: Option<String>,
}

impl Wire {
    fn take_from(&mut self, output: &mut Output) {
        let count = self.room.unwrap_or(usize::MAX).min(output.len());
        self.received.extend_from_slice(&output.bytes()[..count]);
        output.consume(count);
        self.room = self.room.map(|room| room - count);
        self.has_left_something = !output.is_empty();
    }
}

/// The driver's side of a wire.
pub(super) struct Socket(pub(super) Rc<RefCell<Wire>>);

impl Outlet for Socket {
    fn flush(&mut self, output: &mut Output) {
        self.0.borrow_mut().take_from(output);
    }

    fn resume(&mut self) {
        self.0.borrow_mut().resumed = true;
    }

    fn heard_at(&self, now: Instant) -> Option<Instant> {
        let wire = self.0.borrow();
        (wire.unfed.len() > wire.offered).then_some(now)
    }

    fn entrance(&self) -> Result<Option<Entrance>, Close> {
        self.0.borrow().entrance.clone().transpose()
    }

    fn end(self: Box<Self>, mut output: Output, close: &Close, client_id: Option<&str>) {
        let mut wire = self.0.borrow_mut();
        wire.take_from(&mut output);
        wire.has_left_something = false;
        wire.ended = Some(close.clone());
        wire.ended_client_id = client_id.map(str::to_owned);
    }
}

impl Link {
    /// The worker that the connection lives on.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// The connection as its shard knows it.
    pub fn key(&self) -> SlotKey {
        self.key
    }

    /// Takes what the peer has received since the last call.
    pub fn take_received(&self) -> Vec<u8> {
        std::mem::take(&mut self.wire.borrow_mut().received)
    }

    /// Puts bytes back that cannot be read without those that follow.
    pub(super) fn put_back_received(&self, bytes: &[u8]) {
        self.wire.borrow_mut().received.splice(..0, bytes.iter().copied());
    }

    /// The driver finds, when it is asked, that the connection may not stay.
    pub fn object(&self, reason: CloseReason) {
        self.wire.borrow_mut().entrance = Some(Err(Close::from(reason)));
    }

    /// The listener makes this of the client, when it is asked.
    pub fn come_through(&self, entrance: Entrance) {
        self.wire.borrow_mut().entrance = Some(Ok(entrance));
    }

    /// Why the connection has ended; nothing while it is open.
    pub fn ended(&self) -> Option<CloseReason> {
        self.wire.borrow().ended.as_ref().map(|close| close.reason)
    }

    /// Whom the log names as the client that has ended.
    pub fn ended_client_id(&self) -> Option<String> {
        self.wire.borrow().ended_client_id.clone()
    }

    /// Whether the connection has ended.
    pub fn is_ended(&self) -> bool {
        self.ended().is_some()
    }

    /// Whether the peer reads.
    pub fn is_blocked(&self) -> bool {
        self.wire.borrow().room.is_some()
    }
}

//! One client's state machine, and the factory that makes it.

use crate::{Broker, Close, Delivery, Encoded, Output, Refusal, Refused, Reply};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// What is known about a client before it has said anything.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Number of the connection, unique while the process runs; for logs and generated names.
    pub connection: u64,
    /// The client's address as the socket reports it.
    pub address: SocketAddr,
    /// The listener that accepted the client.
    pub listener: Arc<str>,
    /// The moment by which the protocol's own opening (MQTT CONNECT, STOMP CONNECT) must be complete.
    pub connect_deadline: Instant,
}

/// Whether first bytes belong to a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognition {
    /// They do.
    Yes,
    /// They cannot.
    No,
    /// They may; more bytes will tell.
    NeedMore,
}

/// How a protocol's bytes travel over a transport that has messages of its own (WebSocket).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Message borders mean nothing and every message is binary (MQTT 5.0 section 6: [MQTT-6.0.0-1], [MQTT-6.0.0-2]).
    BinaryStream,
    /// One frame of the protocol a message: text where the frame is valid UTF-8, binary otherwise (STOMP).
    FramePerMessage,
}

/// A protocol: registered once, shared by all workers.
pub trait Protocol: Send + Sync {
    /// The name by which configuration, logs and metrics call it.
    fn name(&self) -> &'static str;

    /// Whether a connection that begins with these bytes (at least one) speaks this protocol. Must decide within 16 bytes.
    fn recognise(&self, first: &[u8]) -> Recognition;

    /// The WebSocket sub-protocols that it answers to, the preferred one first.
    fn websocket_subprotocols(&self) -> &'static [&'static str];

    /// How its bytes travel over WebSocket.
    fn message_kind(&self) -> MessageKind;

    /// Makes the state machine of a new client.
    fn open(&self, peer: &Peer, now: Instant) -> Box<dyn Connection>;
}

/// What a machine may use while it handles an input.
pub struct Context<'a> {
    /// The time of this turn; machines never read a clock.
    pub now: Instant,
    /// Where bytes for the peer go.
    pub output: &'a mut Output,
    /// Whom to ask.
    pub broker: &'a mut dyn Broker,
}

/// One client's state machine.
///
/// After an `Err(Close)` from any method, or when the driver decides to end the connection, [`Connection::handle_close`] is
/// called once and nothing after it.
pub trait Connection {
    /// Handles every complete frame at the front of `input` and returns how many bytes that took.
    ///
    /// The rest comes again with more bytes behind it; nothing of it may be kept. Stops early, without an error, after a request that
    /// was answered [`crate::Attachment::Later`] or [`crate::Authentication::Later`]: the driver feeds nothing more until the reply has
    /// been handled.
    fn handle_bytes(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<usize, Close>;

    /// How many bytes must stand in `input` before [`Connection::handle_bytes`] can do anything with what it left over.
    ///
    /// Lets the driver gather a large frame without offering each piece. 1 where that is not known.
    fn bytes_wanted(&self) -> usize {
        1
    }

    /// Handles the answer to a request that was answered [`crate::Attachment::Later`] or [`crate::Authentication::Later`].
    fn handle_reply(&mut self, reply: Reply, context: &mut Context<'_>) -> Result<(), Close>;

    /// Handles what became of the oldest request that was answered [`crate::Answer::Later`] and of which it has not been told:
    /// it may be acknowledged, or the disk does not keep it. Never called from within such a request.
    fn handle_answer(&mut self, answer: Result<(), Refusal>, context: &mut Context<'_>) -> Result<(), Close>;

    /// How many acknowledgements wait in the machine for answers, those included that could have gone at once and wait behind others.
    ///
    /// The driver feeds nothing while there are too many. They become fewer only in [`Connection::handle_answer`].
    fn held_back(&self) -> usize {
        0
    }

    /// Encodes one delivery for the peer.
    ///
    /// After an attachment the deliveries that an earlier connection left unsettled come first, under their old tags and with
    /// `redelivered` set; the first one without it says that there are no more of them.
    ///
    /// Called only while the machine is not in any other method. A delivery with a tag has taken one credit of its consumer
    /// and must be settled in a later turn; one without a tag is forgotten by the broker at once. A `Refused` delivery wrote nothing,
    /// needs no settling, and is counted as dropped.
    fn handle_delivery(
        &mut self,
        delivery: &Delivery<'_>,
        encoded: &mut Encoded,
        output: &mut Output,
    ) -> Result<(), Refused>;

    /// The peer was heard of at this moment, which may be earlier than the last call: bytes of it are there that were not handed in, because they
    /// are no whole frame yet or because the gateway has not read them. Called before [`Connection::handle_timeout`], so that nobody is blamed
    /// for a silence that is not its own.
    fn handle_sign_of_life(&mut self, at: Instant);

    /// Handles the passing of [`Connection::next_timeout`]. May be called early; then nothing happens.
    fn handle_timeout(&mut self, context: &mut Context<'_>) -> Result<(), Close>;

    /// The moment at which [`Connection::handle_timeout`] wants to be called.
    ///
    /// May move later without notice (each packet moves a keep-alive): the driver asks again when the earlier moment has come.
    /// When it moves earlier the machine has just handled an input or a delivery, after which the driver asks as well.
    fn next_timeout(&self) -> Option<Instant>;

    /// The connection ends: write the last words that the protocol has for this reason, and detach from the broker with what must be kept.
    ///
    /// A machine that returned the `Close` itself has usually written its last words already.
    fn handle_close(&mut self, close: &Close, context: &mut Context<'_>);

    /// The client's name once it has told one; for logs.
    fn client_id(&self) -> Option<&str>;
}

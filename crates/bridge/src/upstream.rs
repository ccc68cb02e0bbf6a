//! The seam between what all bridges share and the client library of one kind of upstream.
//!
//! An [`Upstream`] serves one connection at a time: it is handed a [`Line`] and works until the connection is lost or the line is closed.
//! It retries nothing and remembers nothing: whatever it has not given a verdict on when it returns is sent again over the next
//! connection, in its order. Reconnecting, failing over, pacing, dead letters and what a message becomes on its way in are not its business.
//!
//! ```text
//!             Order::Send ──► ┌──────────┐ ◄──► the upstream's own protocol
//!           Order::Settle ──► │ Upstream │
//!            Order::Probe ──► └──────────┘ ──► Report::Ready, Verdict, Received, Dropped, RoundTrip
//! ```

use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::{Properties, Publisher, QoS, Topic};
use tokio::sync::mpsc;

/// How many received messages of one lane may be without [`Order::Settle`] at a time: an upstream asks for no more (prefetch, receive maximum,
/// pausing).
pub const UNSETTLED_MAX: usize = 2048;

/// What a bridge is connected to.
pub trait Upstream: Send + Sync + fmt::Debug {
    /// How many addresses there are, at least one; the first is preferred.
    fn addresses(&self) -> usize;

    /// An address as it may be shown: without user names and passwords.
    fn address(&self, number: usize) -> String;

    /// What it would send for a message, by the code that sends it, without a connection. What the other side allows is not known here.
    fn render(&self, outgoing: &Outgoing) -> Result<Rendered, Verdict>;

    /// Connects to one of the addresses and serves until the connection is lost or the line is closed: that is when `orders` ends, after
    /// which everything that was ordered is finished as far as the upstream still answers, within a few seconds. Never panics;
    /// holds no more than the orders that it has not given a verdict on.
    fn serve(self: Arc<Self>, address: usize, line: Line) -> Pin<Box<dyn Future<Output = Lost> + Send>>;
}

/// One connection's way to and from the bridge.
#[derive(Debug)]
pub struct Line {
    /// What the upstream is to do. Sends of one lane are in the order in which they have to arrive.
    pub orders: mpsc::Receiver<Order>,
    /// What it has to say. Bounded, and emptied whatever else happens: the bridge waits for no order to be taken while it empties it, so
    /// whoever waits for room here may leave orders waiting meanwhile.
    pub reports: mpsc::Sender<Report>,
}

/// What the upstream is to do.
#[derive(Debug)]
pub enum Order {
    /// Send a message; a [`Report::Verdict`] with its ticket answers.
    Send(Box<Outgoing>),
    /// A received message is safe here, or is not wanted.
    Settle {
        /// The ticket of [`Incoming`].
        ticket: u64,
        /// What became of it.
        taken: Taken,
    },
    /// Prove that the upstream answers; [`Report::RoundTrip`] says that it does.
    Probe,
}

/// What became of a received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is here for good: acknowledge it, or move the offset behind it once everything before it is settled as well.
    Yes,
    /// It will never be taken: reject it without another delivery where the upstream knows that, otherwise acknowledge it.
    Never,
}

/// A message on its way to the upstream.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Which of the bridge's forwards it belongs to, in the order of the configuration.
    pub lane: usize,
    /// Named in the verdict; unique while the connection lasts ([`crate::lane_of`] it is `lane`).
    pub ticket: u64,
    /// Where it was published here.
    pub topic: Topic,
    /// What is sent: the payload as it was, or in its envelope.
    pub payload: Bytes,
    /// The payload as it was, for templates that look into it.
    pub original: Bytes,
    /// The level at which it came.
    pub qos: QoS,
    /// Whether it was retained here, or published to be.
    pub retain: bool,
    /// What it carries, the envelope's content type in place of its own.
    pub properties: Option<Box<Properties>>,
    /// From when on it is worth nothing; what is left until then is told by [`Outgoing::expires_in`] when it is sent.
    pub expires_at: Option<Instant>,
    /// Who published it and when, as far as that is known.
    pub publisher: Option<Box<Publisher>>,
    /// Its stable id ([`crate::StableId`]), by which a receiver recognises it when it comes twice.
    pub id: Arc<str>,
    /// Which nodes it has passed ([`crate::Path`]), this one included.
    pub path: Arc<str>,
    /// When it was sent before over another connection: the upstream may have it.
    pub is_repeated: bool,
}

impl Outgoing {
    /// What is left of its lifetime, if it has one; the verdict on it where nothing is. An upstream asks when it writes the message: until then it
    /// may have waited for others.
    pub fn expires_in(&self, now: Instant) -> Result<Option<Duration>, Verdict> {
        let Some(expires_at) = self.expires_at else { return Ok(None) };
        let left = expires_at.saturating_duration_since(now);
        if left.is_zero() { Err(Verdict::Expired) } else { Ok(Some(left)) }
    }
}

/// A message in the words of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Where it goes and what stands beside it, by the upstream's own names.
    pub fields: Vec<(&'static str, String)>,
    /// Headers or user properties, in their order; a name may stand more than once.
    pub headers: Vec<(String, String)>,
    /// What is sent as the payload.
    pub payload: Bytes,
}

/// A message from the upstream.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Which of the bridge's receives it belongs to, in the order of the configuration.
    pub lane: usize,
    /// Named when it is settled; unique while the connection lasts.
    pub ticket: u64,
    /// Where it stood there, by the names that templates know it by: `topic`, `routing_key`, `exchange`, `queue`, `key`, `partition`, `offset`;
    /// and what it said there of itself: `user`, `timestamp` in milliseconds since 1970, and `id`, whoever has given it.
    pub place: Vec<(&'static str, String)>,
    /// The application's bytes.
    pub payload: Bytes,
    /// The level: what the upstream delivers at least once is QoS 1.
    pub qos: QoS,
    /// Whether it was a retained message there.
    pub retain: bool,
    /// What it carries, headers as user properties.
    pub properties: Option<Box<Properties>>,
    /// What is left of its lifetime.
    pub expires_in: Option<Duration>,
    /// Its stable id, where a gateway gave it one.
    pub id: Option<Box<str>>,
    /// Which nodes it has passed, where any has said so.
    pub path: Option<Box<str>>,
}

/// What the upstream has to say.
#[derive(Debug)]
pub enum Report {
    /// The connection stands, the upstream has answered on it, and everything that the bridge was to declare there is declared.
    Ready,
    /// What became of a message.
    Verdict {
        /// Which one.
        ticket: u64,
        /// What the upstream said.
        verdict: Verdict,
    },
    /// A message came.
    Received(Box<Incoming>),
    /// A message came and is not handed over, which is counted; there is nothing to be settled.
    Dropped {
        /// Which of the bridge's receives it belongs to; the first one where it belongs to none.
        lane: usize,
        /// One word for metrics: `no_room`, `not_selected`.
        label: &'static str,
        /// In words.
        reason: String,
    },
    /// The upstream has answered a probe, or anything else that proves that it takes part (not: that bytes could be written).
    RoundTrip,
}

/// What became of a message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The upstream has it, and says so itself.
    Confirmed,
    /// The upstream has not taken it, and may take it later.
    NotNow(String),
    /// It was not sent, because its lifetime was over before it could be.
    Expired,
    /// The upstream will never take it, or it cannot be expressed there.
    Never {
        /// One word for metrics: `unroutable`, `too_large`, `not_authorised`, `not_expressible`, ...
        label: &'static str,
        /// In words, with what the upstream said; without secrets.
        reason: String,
    },
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The bridge closed its end, and what was ordered is finished.
    Closed,
    /// The upstream could not be reached, or the connection broke. Tried again.
    Broken(String),
    /// The upstream does not let the bridge in, or what it was to declare or receive cannot be had there. Tried again as well, since somebody may
    /// mend it there; but an operator has to look.
    Refused(String),
}

//! How long a client may leave a message unacknowledged (the listener option `ack_timeout`).
//!
//! There is one deadline a connection and none a message: it is set for the first message in flight, and when it comes the
//! oldest one is looked for. Acknowledgements cost nothing, and the search comes at most once in the time that is allowed.

use crate::identifiers::Identifiers;
use crate::reason::ack_timeout;
use std::time::{Duration, Instant};
use tidegate_protocol::Close;

/// What a [`SentAt`] counts in.
const TICK: Duration = Duration::from_millis(100);

/// How long a client's unread bytes may take to be read before the question is asked again.
const UNREAD_GRACE: Duration = Duration::from_secs(1);

/// When a packet that wants an answer was sent on this connection: ticks since its beginning. Small, because every message in
/// flight has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SentAt(u32);

impl SentAt {
    /// Not on this connection.
    pub(crate) const NOT_YET: SentAt = SentAt(u32::MAX);
}

/// The deadline of one connection.
#[derive(Debug)]
pub(crate) struct AckTimeout {
    allowed: Duration,
    began: Instant,
    /// When it has to be looked whether a message is too old; not later than that moment.
    deadline: Option<Instant>,
}

impl AckTimeout {
    /// Nothing is in flight; every answer may take this long.
    pub(crate) fn new(allowed: Duration, now: Instant) -> AckTimeout {
        AckTimeout { allowed, began: now, deadline: None }
    }

    /// A packet that wants an answer is sent now.
    pub(crate) fn note_sent(&mut self, now: Instant) -> SentAt {
        // Rounded up, so that nobody is disconnected early.
        let ticks = now.saturating_duration_since(self.began).as_millis().div_ceil(TICK.as_millis());
        let sent_at = SentAt(u32::try_from(ticks).unwrap_or(u32::MAX - 1));
        if self.deadline.is_none() {
            self.deadline = self.deadline_of(sent_at);
        }
        sent_at
    }

    /// At this moment something of the client waited to be read, and acknowledgements may be in it.
    pub(crate) fn excuse(&mut self, at: Instant) {
        self.deadline = self.deadline.map(|deadline| deadline.max(at + UNREAD_GRACE));
    }

    /// When [`AckTimeout::check`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends the connection where the oldest message in flight is too old.
    pub(crate) fn check(&mut self, in_flight: &Identifiers, now: Instant) -> Result<(), Close> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let oldest = in_flight
            .entries()
            .iter()
            .map(|(_, entry)| entry.sent_at)
            .filter(|at| *at != SentAt::NOT_YET)
            .min();
        self.deadline = oldest.and_then(|sent_at| self.deadline_of(sent_at));
        match self.deadline.is_some_and(|deadline| now >= deadline) {
            true => Err(ack_timeout(self.allowed)),
            false => Ok(()),
        }
    }

    fn deadline_of(&self, sent_at: SentAt) -> Option<Instant> {
        self.began.checked_add(TICK * sent_at.0)?.checked_add(self.allowed)
    }
}

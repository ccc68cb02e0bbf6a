//! How much of what was published a session has not been done with yet.

use crate::Node;
use crate::queue::Queue;
use crate::recovery::session_key;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What waits for a session: in memory, on the disk, and delivered but not settled.
///
/// What its connection has not settled is counted for sessions that only the disk bounds
/// ([`tidegate_protocol::SessionLimits::Disk`]); nobody asks about others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Messages.
    pub messages: usize,
    /// What these weigh in memory, or would.
    pub bytes: usize,
    /// When the oldest message was published that is not delivered yet, in milliseconds since 1970, where that is known: the session wants to know
    /// who publishes, and the message is in memory. Older ones may be delivered and not settled, of which its client knows.
    pub oldest_waiting_millis: Option<u64>,
    /// The same moment in the time of [`Node::time_millis`], by which its age is told whatever has been done to the clock.
    pub oldest_taken_at_millis: Option<u64>,
}

impl Node {
    /// How much waits for a session of this protocol; nothing where there is none of this name.
    pub fn backlog(&self, protocol: &str, client_id: &str) -> Option<Backlog> {
        let key = session_key(self, protocol, client_id)?;
        Some(self.sessions.queue(&key)?.backlog())
    }

    /// The sessions of this protocol and how much waits for each, by their names.
    pub fn sessions_of(&self, protocol: &str) -> BTreeMap<Arc<str>, Backlog> {
        let sessions = self.sessions.of_protocol(protocol);
        sessions.into_iter().map(|(name, queue)| (name, queue.backlog())).collect()
    }
}

impl Queue {
    fn backlog(&self) -> Backlog {
        let ((waiting, waiting_bytes), (held, held_bytes)) = (self.size(), self.held());
        let oldest = self.oldest_moments();
        Backlog {
            messages: waiting + held,
            bytes: waiting_bytes + held_bytes,
            oldest_waiting_millis: oldest.map(|(published_at_millis, _)| published_at_millis),
            oldest_taken_at_millis: oldest.map(|(_, taken_at_millis)| taken_at_millis),
        }
    }
}

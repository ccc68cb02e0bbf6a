//! How much of what was published a session has not been done with yet.

use crate::Node;
use crate::queue::Queue;
use crate::recovery::session_key;

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
}

impl Node {
    /// How much waits for a session of this protocol; nothing where there is none of this name.
    pub fn backlog(&self, protocol: &str, client_id: &str) -> Option<Backlog> {
        let key = session_key(self, protocol, client_id)?;
        Some(self.sessions.queue(&key)?.backlog())
    }
}

impl Queue {
    fn backlog(&self) -> Backlog {
        let ((waiting, waiting_bytes), (held, held_bytes)) = (self.size(), self.held());
        Backlog { messages: waiting + held, bytes: waiting_bytes + held_bytes }
    }
}

//! The limits that the broker keeps.

use std::time::Duration;

/// What happens when a queue is full and one more message arrives for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest message that waits is dropped for the new one.
    DropOldest,
    /// The arriving message is dropped.
    DropNewest,
    /// The arriving message is dropped, and the connection that is too slow for its queue is closed. Where there is none, because
    /// the client is away or the queue is that of a group, the arriving message is dropped.
    Disconnect,
    /// Of what waits, only the newest message of each topic stays, the arriving one counted. Where that makes no room, the arriving message is
    /// dropped.
    KeepLast,
}

/// What the broker may hold at the most. Each says what happens at the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions, attached or not. At the limit a new client is refused; known sessions still attach.
    pub sessions: usize,
    /// Subscriptions of one session, or of another consumer. At the limit a new filter is refused.
    pub subscriptions_per_session: usize,
    /// Subscriptions of all sessions together. At the limit a new filter is refused.
    pub subscriptions: usize,
    /// Bytes of all subscriptions together. At the limit a new filter is refused.
    pub subscription_bytes: usize,
    /// Named queues. At the limit the first message to another one is refused, and so is the first subscription.
    pub queues: usize,
    /// Messages in one queue. `queue_overflow` says what happens at the limit.
    pub queued_messages: usize,
    /// Bytes in one queue, headers included. `queue_overflow` says what happens at the limit.
    pub queued_bytes: usize,
    /// Bytes in all queues together; deliveries that wait to be settled and wills count as well. At the limit an arriving message is
    /// dropped for every queue that would have to keep it.
    pub queued_bytes_total: usize,
    /// What happens when a queue is full.
    pub queue_overflow: Overflow,
    /// Retained messages. At the limit a publish that would retain one more topic is refused.
    pub retained_messages: usize,
    /// Bytes of retained messages. At the limit a publish that would retain more is refused.
    pub retained_bytes: usize,
    /// Levels of a topic or filter. More are refused.
    pub topic_levels: usize,
    /// Bytes of a topic or filter. More are refused.
    pub topic_bytes: usize,
    /// Bytes of a client's name. A longer one is refused.
    pub client_id_bytes: usize,
    /// How long a session outlives its connection at the most; longer wishes are shortened.
    pub session_expiry_max: Duration,
    /// Unsent bytes of one connection, above which messages wait in its queue instead.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sessions: 200_000,
            subscriptions_per_session: 200_000,
            subscriptions: 2_000_000,
            subscription_bytes: 1 << 30,
            queues: 10_000,
            queued_messages: 100_000,
            queued_bytes: 64 << 20,
            queued_bytes_total: 512 << 20,
            queue_overflow: Overflow::DropNewest,
            retained_messages: 1_000_000,
            retained_bytes: 256 << 20,
            topic_levels: 128,
            topic_bytes: 4096,
            client_id_bytes: 1024,
            session_expiry_max: Duration::from_secs(7 * 24 * 3600),
            output_bytes: 256 << 10,
        }
    }
}

//! What the gateway holds at most.

use serde::Deserialize;
use tidegate_message::{ByteSize, TimeSpan};

use super::{DAY, GIB, KIB, MIB, count, size, time};
use crate::setting::Kind::Word;
use crate::setting::Presence::{Default, Optional};
use crate::setting::section;

section! {
    /// What the gateway holds at most. What goes beyond is refused or dropped, answered where the protocol can, and counted.
    pub struct Limits {
        /// Memory for what grows with clients and messages. `subscription_bytes`, `queued_bytes_total` and `retained_bytes` are parts of it
        /// where they are not set themselves; what is left is for the buffers of connections, replay rings and the index of what `data_dir`
        /// holds, about 13 bytes a message. When that takes an eighth of `memory`, messages are refused as where `disk` is reached. A part
        /// that is set counts as it is set; parts and rings that come to more together are refused where `memory` is set.
        memory: ByteSize = size(4 * MIB, 16 * 1024 * GIB), Default("2GiB");
        /// Bytes in `data_dir`. What waits and is retained may take three quarters of a small limit, four fifths of a gibibyte and more of a
        /// larger one; then the policy of a message's `[[topic]]` says what happens to it. The rest is for what is settled and not given back
        /// yet, for settlements, for descriptions of sessions and queues, and for making room. Settlements and descriptions are never
        /// refused for want of room: beyond the rest they make the folder grow.
        disk: ByteSize = size(4 * MIB, 1024 * 1024 * GIB), Default("1GiB");
        /// Connections at one time, all listeners together.
        connections: usize = count(1, 10_000_000), Default("100000");
        /// Sessions, connected and disconnected together.
        sessions: usize = count(1, 10_000_000), Default("200000");
        /// Subscriptions of one session. Generous, because clients that are gateways themselves subscribe to every device.
        subscriptions_per_session: usize = count(1, 10_000_000), Default("200000");
        /// Subscriptions of all sessions together.
        subscriptions: usize = count(1, 100_000_000), Default("2000000");
        /// Bytes of the subscriptions of all sessions together, with the levels of their filters.
        subscription_bytes: ByteSize = size(MIB, 1024 * GIB), Optional("half of `memory`");
        /// Named queues (`$queue/…`). At the limit an empty one without consumers goes for a new one, or the new one is refused.
        queues: usize = count(1, 10_000_000), Default("10000");
        /// Messages waiting in one queue.
        queued_messages: usize = count(1, 100_000_000), Default("100000");
        /// Bytes waiting in one queue.
        queued_bytes: ByteSize = size(KIB, 1024 * GIB), Default("64MiB");
        /// Bytes of memory for what waits in all queues together. Deliveries that wait to be acknowledged and wills count as well; what a long
        /// queue holds on the disk alone does not.
        queued_bytes_total: ByteSize = size(KIB, 1024 * GIB), Optional("a quarter of `memory`");
        /// What happens when a queue is full: the message that has waited longest makes room for the new one, the new one is dropped, or
        /// the client that is too slow is disconnected as well (while it is away, and for what waits in a shared subscription for
        /// anybody, the new one is dropped). With `"keep-last"` only the newest message of each topic stays, the new one counted, and that is dropped
        /// where this makes no room; a queue of more than 1024 messages in memory is looked through less often than for each message.
        /// Messages that a client may have received already are never dropped for others.
        queue_overflow: QueueOverflow = Word(&["drop-oldest", "drop-newest", "disconnect", "keep-last"]), Default("drop-newest");
        /// Topics with a retained message.
        retained_messages: usize = count(1, 100_000_000), Default("1000000");
        /// Bytes of all retained messages together.
        retained_bytes: ByteSize = size(KIB, 1024 * GIB), Optional("an eighth of `memory`");
        /// Levels of a topic or filter (`a/b/c` has three).
        topic_levels: usize = count(1, 1024), Default("128");
        /// Bytes of a topic or filter. MQTT itself ends at 65535.
        topic_bytes: usize = count(16, 65_535), Default("4096");
        /// Bytes of a client identifier. More are refused.
        client_id_bytes: usize = count(23, 65_535), Default("1024");
        /// The longest time for which the session of a disconnected client is kept, whatever the client asks for.
        session_expiry_max: TimeSpan = time(0, 3650 * DAY), Default("7d");
        /// Unsent bytes of one connection before further messages wait in its queue.
        output_buffer: ByteSize = size(4 * KIB, 64 * MIB), Default("256KiB");
    }
}

/// What happens when a queue is full and one more message arrives for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueOverflow {
    /// The oldest message that waits is dropped.
    DropOldest,
    /// The arriving message is dropped.
    DropNewest,
    /// The client that is too slow is disconnected.
    Disconnect,
    /// Only the newest message of each topic stays.
    KeepLast,
}

/// What is a part of `memory` where it is not set itself: how it is called, and what part.
pub(crate) const PARTS_OF_MEMORY: [(&str, u64); 3] =
    [("subscription_bytes", 2), ("queued_bytes_total", 4), ("retained_bytes", 8)];

impl Limits {
    /// The parts of `memory`, in the order of [`PARTS_OF_MEMORY`].
    pub(crate) fn parts_of_memory(&self) -> [ByteSize; 3] {
        [self.subscription_bytes, self.queued_bytes_total, self.retained_bytes]
    }

    /// Gives what nobody has set, which is zero, its part of `memory`.
    pub(crate) fn divide_memory(&mut self) {
        let parts = [&mut self.subscription_bytes, &mut self.queued_bytes_total, &mut self.retained_bytes];
        for (part, (_, divisor)) in parts.into_iter().zip(PARTS_OF_MEMORY) {
            if part.bytes() == 0 {
                *part = ByteSize::from_bytes(self.memory.bytes() / divisor);
            }
        }
    }
}

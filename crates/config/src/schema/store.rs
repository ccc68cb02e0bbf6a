//! What is kept over a restart: how the store keeps it, and what holds for messages by their topics.

use serde::Deserialize;
use tidegate_message::{ByteSize, TimeSpan};

use super::{DAY, GIB, MIB, SECOND, size, time};
use crate::forms::TOPIC_FILTER;
use crate::setting::Kind::{List, Switch, Word};
use crate::setting::Presence::{Default, Optional, Required};
use crate::setting::section;

section! {
    /// How the store keeps what is in `data_dir` ([guide](../guides/durable.md)). Without `data_dir` nothing here has an effect.
    pub struct Store {
        /// The size of one file of the store, and a thirty-second of `limits.disk` at the most. Space comes back file by file.
        segment_bytes: ByteSize = size(MIB, GIB), Default("16MiB");
        /// How long what nobody waits for may stay unwritten: messages of topics that are acknowledged when they are routed, and that
        /// deliveries are done. It waits in the memory of the process: when that is killed or the machine loses its power, so much of it may
        /// be lost. After it everything is synced, also what was only `"written"`.
        lazy_interval: TimeSpan = time(10, 60 * SECOND), Default("1s");
        /// Starts although something in the store is damaged, and without it. Otherwise the gateway names what it cannot read and does not
        /// start.
        skip_damaged: bool = Switch, Default("false");
    }
}

section! {
    /// What holds for messages by their topics. Write one `[[topic]]` per policy: the first one whose `topics` fit a message counts, and a
    /// message that none fits has the defaults.
    pub struct TopicPolicy {
        /// The topics, with `+` and `#` as in a subscription; `$queue/orders` is the queue `orders`.
        topics: Vec<String> = List(TOPIC_FILTER), Required;
        /// When a publisher is told that its message is taken, where somebody is to get it who survives a restart: `"routed"` is when it is in
        /// memory, with every queue that gets it; `"written"` when the operating system has it, so that it survives the end of the
        /// process; `"synced"` when the disk has it. A message with no such receiver never waits. `"forwarded"` is `"synced"`, and when every
        /// `[[bridge.forward]]` that takes the message has had it confirmed by its upstream as well, however long that takes. Needs `data_dir`.
        acknowledge: Acknowledge = Word(&["routed", "written", "synced", "forwarded"]), Default("synced");
        /// How long a message is delivered at the most, from its arrival. One with an expiry of its own may end sooner.
        message_ttl: Option<TimeSpan> = time(1, 3650 * DAY), Optional("as long as its own expiry says");
        /// What happens to a message that would be kept where `limits.disk` is reached or the disk is full: it is refused and its publisher
        /// told, or the messages that have waited longest in its receivers' queues make room, or of what waits in these only the newest message
        /// of each topic stays, of those topics whose policies say the same.
        disk_full: DiskFull = Word(&["reject", "drop-oldest", "keep-last"]), Default("reject");
    }
}

/// When a publisher is told that its message is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// It is in memory with every queue that gets it.
    Routed,
    /// The operating system has it.
    Written,
    /// The disk has it.
    Synced,
    /// The disk has it, and so has every upstream to which it is forwarded.
    Forwarded,
}

/// What happens to a message that would be kept and for which the disk has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFull {
    /// It is refused.
    Reject,
    /// What has waited longest makes room for it.
    DropOldest,
    /// Only the newest message of each topic stays.
    KeepLast,
}

//! A store in a few figures.

use crate::queues::{QueueKind, queue_summaries};
use crate::{Contents, Names};
use serde::{Deserialize, Serialize};
use tidegate_storage::StreamId;

/// What is in a store and what it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Bytes on the disk, with what is dead and not given back yet.
    pub disk_bytes: u64,
    /// The most that there may be.
    pub disk_bytes_max: u64,
    /// Bytes of what is alive.
    pub live_bytes: u64,
    /// Bytes of memory for finding it.
    pub index_bytes: usize,
    /// Whether the disk answers with errors.
    pub is_failing: bool,
    /// Sessions.
    pub sessions: usize,
    /// Their subscriptions.
    pub subscriptions: usize,
    /// Wills that may still be published.
    pub wills: usize,
    /// Shared subscriptions.
    pub groups: usize,
    /// Named queues.
    pub named_queues: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// Messages in all queues; one that waits in several counts in each.
    pub queued_messages: usize,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Descriptions of sessions and queues that cannot be read.
    pub unreadable: usize,
}

/// The figures of a store.
pub fn info(contents: &dyn Contents, names: &Names) -> Info {
    let usage = contents.usage();
    let queues = queue_summaries(contents);
    Info {
        disk_bytes: usage.disk_bytes,
        disk_bytes_max: usage.disk_bytes_max,
        live_bytes: usage.live_bytes,
        index_bytes: usage.index_bytes,
        is_failing: contents.is_failing(),
        sessions: names.count(QueueKind::Session),
        subscriptions: names.subscriptions,
        wills: names.wills,
        groups: names.count(QueueKind::Group),
        named_queues: names.count(QueueKind::Named),
        retained_messages: contents.summary(StreamId::RETAINED).map_or(0, |summary| summary.entries),
        queued_messages: queues.iter().map(|summary| summary.entries).sum(),
        queued_bytes: queues.iter().map(|summary| summary.bytes).sum(),
        unreadable: names.unreadable,
    }
}

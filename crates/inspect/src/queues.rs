//! The queues of a store with what waits in them.

use crate::{Contents, Names};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::HashMap;
use tidegate_storage::{StreamId, StreamSummary};

/// The most queues that are told at a time.
pub const QUEUES_MAX: usize = 10_000;

/// What a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    /// That of one session, `mqtt:panel-1`.
    Session,
    /// That of a shared subscription, `$share/workers/jobs/#`.
    Group,
    /// A named queue, `$queue/orders`.
    Named,
    /// One that nobody describes.
    Unknown,
}

impl QueueKind {
    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            QueueKind::Session => "session",
            QueueKind::Group => "group",
            QueueKind::Named => "named",
            QueueKind::Unknown => "unknown",
        }
    }
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptQueue {
    /// How it is called.
    pub name: String,
    /// What it is.
    pub kind: QueueKind,
    /// Its number in the store.
    pub stream: u64,
    /// Messages that are kept for it, delivered and not settled ones among them.
    pub messages: usize,
    /// Their bytes on the disk; a message that waits in several queues counts in each.
    pub bytes: u64,
}

/// Some queues, those with the most bytes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queues {
    /// How many there are.
    pub total: usize,
    /// The first of them.
    pub queues: Vec<KeptQueue>,
}

/// The queues with the most bytes, at the most so many, and at the most [`QUEUES_MAX`].
pub fn queues(contents: &dyn Contents, names: &Names, count: usize) -> Queues {
    let summaries = queue_summaries(contents);
    let mut known: HashMap<StreamId, StreamSummary> =
        summaries.iter().map(|summary| (summary.stream, *summary)).collect();
    let mut queues: Vec<KeptQueue> = Vec::new();
    for (stream, kind, name) in names.iter() {
        let summary = known.remove(&stream);
        queues.push(queue(stream, kind, name.to_owned(), summary));
    }
    for summary in known.into_values() {
        let (kind, name) = names.of(summary.stream);
        queues.push(queue(summary.stream, kind, name, Some(summary)));
    }
    let total = queues.len();
    queues.sort_by(|one, other| (Reverse(one.bytes), &one.name).cmp(&(Reverse(other.bytes), &other.name)));
    queues.truncate(count.min(QUEUES_MAX));
    Queues { total, queues }
}

fn queue(stream: StreamId, kind: QueueKind, name: String, summary: Option<StreamSummary>) -> KeptQueue {
    let (messages, bytes) = summary.map_or((0, 0), |summary| (summary.entries, summary.bytes));
    KeptQueue { name, kind, stream: stream.0, messages, bytes }
}

/// What is known of the streams that are queues.
pub(crate) fn queue_summaries(contents: &dyn Contents) -> Vec<StreamSummary> {
    let mut summaries = contents.streams();
    summaries.retain(|summary| summary.stream >= StreamId::FIRST_QUEUE);
    summaries
}

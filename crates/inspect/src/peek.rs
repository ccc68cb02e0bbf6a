//! The first messages of a queue, as they wait there.

use crate::entries::Entries;
use crate::form::{Clock, Waiting};
use crate::{Contents, Names};
use serde::{Deserialize, Serialize};
use tidegate_storage::StreamId;

/// The most messages that are told at a time.
pub const PEEKED_MAX: usize = 1000;
/// Bytes of payloads after which no further message is told.
const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// Some messages of a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peeked {
    /// How the queue is called.
    pub name: String,
    /// How many messages it has.
    pub total: usize,
    /// The first of them.
    pub messages: Vec<Waiting>,
    /// What could not be read among them.
    pub problems: Vec<String>,
}

/// The first messages of a queue: at the most so many, at the most [`PEEKED_MAX`], and no more behind some mebibytes.
pub fn peek(contents: &dyn Contents, names: &Names, stream: StreamId, count: usize) -> Peeked {
    let (_, name) = names.of(stream);
    let total = contents.summary(stream).map_or(0, |summary| summary.entries);
    let mut peeked = Peeked { name, total, messages: Vec::new(), problems: Vec::new() };
    let clock = Clock { now_millis: contents.time_millis() };
    let mut bytes = 0;
    for entry in Entries::of(contents, stream).take(count.min(PEEKED_MAX)) {
        match entry.and_then(|entry| Waiting::read(stream, &entry, clock)) {
            Ok(waiting) => {
                bytes += waiting.message.payload_bytes();
                peeked.messages.push(waiting);
            }
            Err(problem) => peeked.problems.push(problem.to_string()),
        }
        if bytes > PAYLOAD_BYTES_MAX {
            break;
        }
    }
    peeked
}

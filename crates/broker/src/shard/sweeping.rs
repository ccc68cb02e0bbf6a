//! Retained messages that have expired leave the durable store, so that they do not take its room until somebody asks for theirs in memory.
//!
//! One worker looks for them, now and then and a portion a turn, and only when one of them may have expired.

use super::Shard;
use std::time::{Duration, Instant};
use tidegate_message::Topic;
use tidegate_storage::StreamId;

/// How long a message that has expired may stay in the store.
const INTERVAL: Duration = Duration::from_secs(60);

/// Messages that are looked at in one turn.
const LOOKS_PER_TURN: usize = 1024;

/// A search for what has expired.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When it goes on; nothing before the first look.
    due: Option<Instant>,
    /// The topic behind which it goes on.
    behind: Option<Topic>,
}

impl Sweep {
    /// When there is something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due
    }
}

impl Shard {
    /// Begins to look after the retained messages, where there is a store. What is told at the start to one worker is told to this one.
    pub(super) fn begin_sweeping(&mut self, now: Instant) {
        if self.sweep.due.is_none() && self.node.keeper.is_some() {
            self.sweep.due = Some(now + INTERVAL);
        }
    }

    /// Takes the next portion of a search that is due.
    pub(super) fn sweep_retained(&mut self, now: Instant) {
        if self.sweep.due.is_none_or(|due| now < due) {
            return;
        }
        let behind = self.sweep.behind.take();
        let swept = self.node.router.sweep_retained(behind.as_ref(), LOOKS_PER_TURN, now);
        for number in swept.settled {
            self.keeping.change.settle(StreamId::RETAINED, number.get());
        }
        self.sweep.due = Some(if swept.next.is_some() { now } else { now + INTERVAL });
        self.sweep.behind = swept.next;
    }
}

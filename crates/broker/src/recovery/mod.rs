//! What an earlier process has left in the durable store becomes a node again.
//!
//! Everything happens before the first worker runs, in the order in which the things need each other, each in a file of its own. What was kept
//! stays, whatever the limits say.
//!
//! What cannot be read stops the start, unless the operator has said that it may be left out; then it is counted, logged and left in the
//! store as it is.

mod entries;
mod retained;

use crate::keeping::Keeper;
use crate::node::{Node, NodeOptions};
use std::sync::Arc;
use std::time::Instant;
use tidegate_storage::{Change, ReadError, StreamId, Urgency};

/// The node cannot begin with what is in the store.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// An entry is not what was written.
    #[error("entry {number} of stream {stream} of the store is damaged", stream = stream.0)]
    Damaged {
        /// Its stream.
        stream: StreamId,
        /// Its number there.
        number: u64,
    },
    /// The disk answers with an error.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// What was found in the store when the node began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Retained messages.
    pub retained: usize,
    /// Retained messages that have expired meanwhile.
    pub retained_expired: usize,
    /// Entries that could not be read and were left out.
    pub damaged: usize,
}

/// A recovery that is under way.
pub(crate) struct Recovery<'a> {
    pub(crate) node: &'a Arc<Node>,
    pub(crate) keeper: &'a Keeper,
    pub(crate) now: Instant,
    pub(crate) now_millis: u64,
    /// What the recovery itself changes in the store.
    pub(crate) change: Change,
    pub(crate) found: Recovered,
    skip_damaged: bool,
    /// The highest number of a queue or a connection that something in the store refers to.
    last_id: u64,
}

impl Node {
    /// A node with everything that an earlier one has left in the store; an empty one where there is no store, or nothing in it.
    pub fn open(mut options: NodeOptions, now: Instant) -> Result<Arc<Node>, RecoveryError> {
        let skip_damaged = std::mem::take(&mut options.skip_damaged);
        let node = Node::new(options);
        let Some(keeper) = &node.keeper else { return Ok(node) };
        let recovery = Recovery {
            node: &node,
            keeper,
            now,
            now_millis: keeper.storage().time_millis(),
            change: Change::default(),
            found: Recovered::default(),
            skip_damaged,
            last_id: 0,
        };
        let found = recovery.run()?;
        node.note_recovered(found);
        Ok(node)
    }
}

impl<'a> Recovery<'a> {
    fn run(mut self) -> Result<Recovered, RecoveryError> {
        self.recover_retained()?;
        self.node.raise_next_id(self.last_id.saturating_add(1));
        self.keeper.storage().append(&mut self.change, Urgency::Lazy);
        Ok(self.found)
    }

    /// Notes that this number was given to a queue or a connection, so that nothing new gets it.
    pub(crate) fn note_id(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }
}

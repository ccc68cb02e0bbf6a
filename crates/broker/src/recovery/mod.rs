//! What an earlier process has left in the durable store becomes a node again.
//!
//! Everything happens before the first worker runs, in the order in which the things need each other, each in a file of its own. Nobody is
//! attached afterwards: what a connection held when the process ended counts as given up now. What was kept stays, whatever the limits say.
//!
//! What cannot be read stops the start, unless the operator has said that it may be left out; then it is counted, logged and left in the
//! store as it is.

mod contents;
mod entries;
mod given;
mod queues;
mod retained;
mod sessions;

use crate::keeping::Keeper;
use crate::mailbox::Letter;
use crate::node::{Node, NodeOptions};
use crate::numbering::Series;
use crate::queue::Queue;
use crate::sessions::SessionKey;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_protocol::Settlement;
use tidegate_storage::{Change, ReadError, StreamId, Urgency};
use tracing::{info, warn};

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
    /// Sessions.
    pub sessions: usize,
    /// Their subscriptions, memberships of groups among them.
    pub subscriptions: usize,
    /// Wills, those among them whose sessions have ended with the process.
    pub wills: usize,
    /// Named queues.
    pub queues: usize,
    /// Retained messages.
    pub retained: usize,
    /// Retained messages that have expired meanwhile.
    pub retained_expired: usize,
    /// Messages that wait in queues.
    pub messages: usize,
    /// Messages of queues that had expired when they were looked at.
    pub messages_expired: usize,
    /// Sessions of protocols that this node does not have: they stay in the store.
    pub foreign_sessions: usize,
    /// Entries that belonged to nothing: what was written behind an end that came first.
    pub orphans: usize,
    /// Entries that could not be read and were left out.
    pub damaged: usize,
}

/// A queue whose contents are in a stream of its number.
#[derive(Debug, Clone)]
pub(crate) struct KnownQueue {
    pub(crate) queue: Arc<Queue>,
    /// The last consumer of a session's queue; nothing for the queue of a group.
    pub(crate) consumer: Option<LastConsumer>,
}

/// Who consumed a session's queue last: that many deliveries may have been under way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastConsumer {
    pub(crate) credit: u32,
    pub(crate) settlement: Settlement,
    /// Whether it was there when the process ended, so that what it had settled in the last moment may be back.
    pub(crate) was_attached: bool,
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
    /// The queues whose contents are wanted, by their numbers.
    pub(crate) queues: HashMap<u64, KnownQueue, RandomState>,
    /// Queues of sessions that stay in the store for another binary.
    foreign: HashSet<u64, RandomState>,
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
        let recovery = Recovery::new(&node, keeper, skip_damaged, now);
        let found = recovery.run()?;
        node.note_recovered(found);
        Ok(node)
    }
}

impl<'a> Recovery<'a> {
    fn new(node: &'a Arc<Node>, keeper: &'a Keeper, skip_damaged: bool, now: Instant) -> Recovery<'a> {
        Recovery {
            node,
            keeper,
            now,
            now_millis: keeper.storage().time_millis(),
            change: Change::default(),
            found: Recovered::default(),
            queues: HashMap::default(),
            foreign: HashSet::default(),
            skip_damaged,
            last_id: 0,
        }
    }

    fn run(mut self) -> Result<Recovered, RecoveryError> {
        self.recover_given()?;
        // Before the sessions, which come back as their members.
        self.recover_queues()?;
        self.recover_sessions()?;
        self.recover_retained()?;
        self.recover_contents()?;
        self.note_given();
        self.end_unowned_queues();
        self.finish();
        Ok(self.found)
    }

    /// Notes that this number was given to a queue or a connection, so that nothing new gets it.
    pub(crate) fn note_id(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }

    /// The worker at which a queue of this number is at home from now on.
    pub(crate) fn home_of(&self, id: u64) -> u8 {
        u8::try_from(id % self.node.metrics().len().max(1) as u64).unwrap_or(0)
    }

    /// The queue of this number, made where it is not known yet.
    pub(crate) fn queue(&mut self, id: u64, consumer: Option<LastConsumer>) -> Arc<Queue> {
        if let Some(known) = self.queues.get(&id) {
            return known.queue.clone();
        }
        self.note_id(id);
        let queue = Arc::new(Queue::new(id, self.home_of(id), self.node.total.clone()));
        let contents = self.keeper.storage().summary(StreamId(id));
        queue.remember_numbers(&self.keeper.numbering);
        let given = match consumer {
            Some(_) => self.keeper.numbering.first(Series::Sessions),
            None => 0,
        };
        match contents {
            Some(contents) => {
                queue.number_from(contents.last.saturating_add(1));
                queue.leave_out(given);
            }
            None => queue.number_from(given.max(1)),
        }
        contents.into_iter().for_each(|_| queue.note_entry());
        self.queues.insert(id, KnownQueue { queue: queue.clone(), consumer });
        queue
    }

    /// The moment at which the store's time is this; now, where it has passed, and nothing where a clock cannot say it.
    pub(crate) fn moment(&self, millis: u64) -> Option<Instant> {
        self.now.checked_add(Duration::from_millis(millis.saturating_sub(self.now_millis)))
    }

    /// Messages may have been on their way to queues that ended meanwhile.
    fn end_unowned_queues(&mut self) {
        let may_end = self.is_whole();
        for summary in self.keeper.storage().streams() {
            let StreamId(id) = summary.stream;
            let is_owned = self.queues.contains_key(&id) || self.foreign.contains(&id);
            if summary.stream < StreamId::FIRST_QUEUE || is_owned {
                continue;
            }
            self.found.orphans += summary.entries;
            self.note_id(id);
            if may_end {
                self.change.end(summary.stream);
            }
        }
    }

    /// Whether everything that was written could be read. What is missing may be the description of whoever owns what seems to be
    /// nobody's.
    fn is_whole(&self) -> bool {
        self.found.damaged == 0 && self.keeper.storage().usage().damaged_places == 0
    }

    /// Notes that an entry belongs to nothing that there is.
    fn note_orphan(&mut self, stream: StreamId, number: u64) {
        self.found.orphans += 1;
        if self.is_whole() {
            self.change.settle(stream, number);
        }
    }

    fn finish(&mut self) {
        self.node.raise_next_id(self.last_id.saturating_add(1));
        self.keeper.storage().append(&mut self.change, Urgency::Lazy);
        self.node.look_at_agenda();
        if self.node.router.rules().is_some() {
            // The rights to what was subscribed under other rules are asked for again, as after a reload.
            self.node.post(0, Letter::Reconfigured);
        }
        let Recovered {
            sessions,
            subscriptions,
            wills,
            queues,
            retained,
            messages,
            orphans,
            foreign_sessions,
            damaged,
            ..
        } = self.found;
        info!(sessions, subscriptions, wills, queues, retained, messages, orphans, "the store was read");
        if foreign_sessions > 0 {
            warn!(
                foreign_sessions,
                "sessions of protocols that are not part of this program stay in the store"
            );
        }
        if damaged > 0 {
            warn!(damaged, "entries of the store cannot be read and were left out");
        }
    }
}

/// The session of this name, of a protocol that the node has.
pub(crate) fn session_key(node: &Node, protocol: &str, client_id: &str) -> Option<SessionKey> {
    let known = node.protocols().iter().find(|known| **known == protocol)?;
    Some(SessionKey::new(known, client_id))
}

//! The store of a run: what is on its disk, who waits for that, and how a process ends and the next one begins.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_protocol::Answer;
use tidegate_storage::{MemoryStorage, Storage, StreamId, StreamSummary};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::Toy;
use tidegate_testkit::random::Random;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is killed: what it had handed over is there.
    Kill,
    /// The power goes: what was not synced is lost.
    PowerLoss,
}

/// What may happen to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Sync,
    End(End),
}

impl Event {
    /// One of them, as chance will have it.
    pub(crate) fn any(random: &mut Random) -> Event {
        match random.below(12) {
            0 => Event::End(End::PowerLoss),
            1 => Event::End(End::Kill),
            _ => Event::Sync,
        }
    }
}

/// See the module. `Id` names a message that was published.
pub(crate) struct Store<Id> {
    pub(crate) storage: Arc<MemoryStorage>,
    limits: Limits,
    /// Published, but a loss of power could undo it.
    unsynced: BTreeSet<Id>,
    /// By connection: the requests that are still to be answered; those that are no messages without an id.
    unanswered: HashMap<u64, VecDeque<Option<Id>>>,
}

impl<Id: Ord + Copy + Debug> Store<Id> {
    pub(crate) fn begin(workers: usize, limits: Limits) -> (World, Store<Id>) {
        let storage = Arc::new(MemoryStorage::manual());
        let world = World::on_storage(workers, limits.clone(), storage.clone());
        let (unsynced, unanswered) = (BTreeSet::new(), HashMap::new());
        (world, Store { storage, limits, unsynced, unanswered })
    }

    /// What lives in it, but for the note of which numbers were given.
    pub(crate) fn living(&self) -> Vec<StreamSummary> {
        let streams = self.storage.streams().into_iter();
        streams.filter(|found| found.stream != StreamId::GIVEN).collect()
    }

    /// A request of a client was taken, and may be answered later.
    pub(crate) fn await_answer(&mut self, toy: &Toy, id: Option<Id>, answer: Answer) {
        self.unsynced.extend(id);
        if answer == Answer::Later {
            self.unanswered.entry(toy.link.key().connection()).or_default().push_back(id);
        }
    }

    /// Answers come in the order of the requests, and not before the disk has what they are about.
    pub(crate) fn take_answers(&mut self, toy: &Toy) {
        for answer in toy.take_answers() {
            assert_eq!(answer, Ok(()));
            let waiting = self.unanswered.get_mut(&toy.link.key().connection());
            let id = waiting.and_then(VecDeque::pop_front).expect("a request that waits for its answer");
            assert!(id.is_none_or(|id| !self.unsynced.contains(&id)), "{id:?} is not on the disk");
        }
    }

    /// Everything that was appended is on the disk.
    pub(crate) fn sync(&mut self) {
        self.storage.sync_all();
        self.unsynced.clear();
    }

    /// Time passes for the store.
    pub(crate) fn pass(&self, time: Duration) {
        self.storage.advance_millis(u64::try_from(time.as_millis()).unwrap());
    }

    /// The process ends, and another one begins with so many workers. Also returns which messages are lost where the power went.
    pub(crate) fn end(&mut self, end: End, workers: usize) -> (World, Option<BTreeSet<Id>>) {
        let unsynced = std::mem::take(&mut self.unsynced);
        self.storage = Arc::new(match end {
            End::PowerLoss => self.storage.crash(),
            End::Kill => self.storage.restart(),
        });
        self.unanswered.clear();
        let world = World::on_storage(workers, self.limits.clone(), self.storage.clone());
        (world, (end == End::PowerLoss).then_some(unsynced))
    }
}

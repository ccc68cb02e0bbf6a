//! A run with a store: what is not on the disk yet, and what is left when the process ends.

use crate::model::Id;
use crate::run::Run;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_protocol::Answer;
use tidegate_storage::MemoryStorage;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::Toy;

/// The connection of a client, and how many subscriptions its session has and how often it has subscribed.
type Standing = (Option<u64>, Option<(usize, usize)>);

/// What is known of the store of a run.
pub(crate) struct Store {
    pub(crate) storage: Arc<MemoryStorage>,
    limits: Limits,
    /// Published, but a loss of power could undo it.
    unsynced: BTreeSet<Id>,
    /// By connection: the requests that are still to be answered; those that are no messages without an id.
    unanswered: HashMap<u64, VecDeque<Option<Id>>>,
    /// How the clients stood after the last step.
    standing: Vec<Standing>,
}

impl Store {
    pub(crate) fn begin(workers: usize, limits: Limits) -> (World, Store) {
        let storage = Arc::new(MemoryStorage::manual());
        let world = World::on_storage(workers, limits.clone(), storage.clone());
        let (unsynced, unanswered, standing) = (BTreeSet::new(), HashMap::new(), Vec::new());
        (world, Store { storage, limits, unsynced, unanswered, standing })
    }
}

impl Run {
    /// A request of a client was taken, and may be answered later.
    pub(crate) fn await_answer(&mut self, toy: &Toy, id: Option<Id>, answer: Answer) {
        let Some(store) = &mut self.store else { return assert_eq!(answer, Answer::Now) };
        store.unsynced.extend(id);
        if answer == Answer::Later {
            store.unanswered.entry(toy.link.key().connection()).or_default().push_back(id);
        }
    }

    /// Everything that was appended is on the disk.
    pub(crate) fn sync(&mut self) {
        let Some(store) = &mut self.store else { return };
        store.storage.sync_all();
        store.unsynced.clear();
        self.clients
            .iter_mut()
            .filter_map(|client| client.session.as_mut())
            .for_each(|session| session.sync());
    }

    /// Answers come in the order of the requests, and not before the disk has what they are about. Who holds which session with which
    /// subscriptions is always on the disk, so that the model need not guess.
    pub(crate) fn observe_store(&mut self) {
        let Some(store) = &mut self.store else { return };
        for toy in
            self.clients.iter().filter_map(|client| client.attached.as_ref().map(|attached| &attached.toy))
        {
            for answer in toy.take_answers() {
                assert_eq!(answer, Ok(()));
                let waiting = store.unanswered.get_mut(&toy.link.key().connection());
                let id = waiting.and_then(VecDeque::pop_front).expect("a request that waits for its answer");
                assert!(id.is_none_or(|id| !store.unsynced.contains(&id)), "{id:?} is not on the disk");
            }
        }
        let standing = |client: &crate::client::Client| {
            let attached = client.attached.as_ref().map(|attached| attached.toy.link.key().connection());
            let session = client.session.as_ref();
            (attached, session.map(|session| (session.subscriptions.len(), session.subscribed)))
        };
        let standing: Vec<_> = self.clients.iter().map(standing).collect();
        if standing != store.standing {
            store.standing = standing;
            self.sync();
        }
    }

    /// The disk comes further, the process ends, or the power goes.
    pub(crate) fn use_store(&mut self) {
        match self.random.below(12) {
            0 => self.crash(true),
            1 => self.crash(false),
            _ => self.sync(),
        }
        self.observe();
    }

    fn crash(&mut self, is_power_lost: bool) {
        // A subscription that was replaced by one with another level is as good as a new one.
        let Some(store) = &mut self.store else { return };
        let lost = is_power_lost.then(|| std::mem::take(&mut store.unsynced));
        store.storage = Arc::new(match is_power_lost {
            true => store.storage.crash(),
            false => store.storage.restart(),
        });
        store.unsynced.clear();
        store.unanswered.clear();
        let workers = 1 + self.random.below(3);
        let before = self.world.now;
        self.world = World::on_storage(workers, store.limits.clone(), store.storage.clone());
        // Sessions that should have ended with their connections do now.
        self.world.run();
        self.world.advance(Duration::ZERO);
        let now = self.world.now;
        (self.received, self.quiet) = (0, self.step);
        for client in &mut self.clients {
            client.waiting.clear();
            let attached = client.attached.take();
            let Some(session) = &mut client.session else { continue };
            session.ends_at = match attached {
                Some(attached) => Some(now + attached.expiry),
                None => session.ends_at.map(|at| now + at.saturating_duration_since(before)),
            };
            session.crash(lost.as_ref(), self.step);
            if session.ends_at.is_some_and(|at| at <= now) {
                client.session = None;
            }
        }
        let sessions = self.clients.iter().filter_map(|client| client.session.as_ref());
        let expected = sessions.fold((0, 0), |(count, subscriptions), session| {
            (count + 1, subscriptions + session.subscriptions.len())
        });
        let gauges = self.world.node().gauges();
        assert_eq!((gauges.sessions, gauges.subscriptions), expected, "{is_power_lost}");
    }
}

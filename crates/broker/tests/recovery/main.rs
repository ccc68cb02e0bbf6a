//! What of a broker outlives its process: worlds on a store in memory that go down and come back.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod contents;
mod model;
mod numbers;
mod sessions;
mod starting;
mod subscriptions;
mod wills;

use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_message::QoS;
use tidegate_storage::MemoryStorage;
use tidegate_testkit::pair::World;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const QOS1: QoS = QoS::AtLeastOnce;

/// A world of two workers, and the store that it is on.
struct Kept {
    world: World,
    storage: Arc<MemoryStorage>,
}

impl Kept {
    fn new() -> Kept {
        Kept::on(MemoryStorage::new())
    }

    fn on(storage: MemoryStorage) -> Kept {
        let storage = Arc::new(storage);
        let mut world = World::on_storage(2, Limits::default(), storage.clone());
        world.run();
        Kept { world, storage }
    }

    /// The process is killed, and the next one begins with what it has left.
    fn kill(self) -> Kept {
        Kept::on(self.storage.restart())
    }

    /// The same after a while, in which the store's time goes on.
    fn kill_for(self, time: Duration) -> Kept {
        let storage = self.storage.restart();
        storage.advance_millis(u64::try_from(time.as_millis()).unwrap());
        Kept::on(storage)
    }

    /// Time passes, for the clock and for the store.
    fn advance(&mut self, time: Duration) {
        self.storage.advance_millis(u64::try_from(time.as_millis()).unwrap());
        self.world.advance(time);
    }

    fn sessions(&self) -> usize {
        self.world.node().gauges().sessions
    }

    fn subscriptions(&self) -> usize {
        self.world.node().gauges().subscriptions
    }

    /// Living entries of the whole store, but for the one that says which numbers were given.
    fn entries(&self) -> usize {
        use tidegate_storage::{Storage, StreamId};
        let streams = self.storage.streams().into_iter().filter(|found| found.stream != StreamId::GIVEN);
        streams.map(|found| found.entries).sum()
    }
}

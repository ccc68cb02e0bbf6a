//! Retained messages and a machine that may go down behind every change.

use crate::driver::for_each_seed;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_message::QoS;
use tidegate_protocol::RetainedDelivery;
use tidegate_storage::{MemoryStorage, Storage, StreamId};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, session};
use tidegate_testkit::random::Random;

const ROUNDS: u64 = 8;
const STEPS: usize = 120;
const TOPICS: [&str; 5] = ["a", "a/b", "b", "b/c/d", "c"];

/// What is retained: by topic, the payload and the moment at which it expires, in milliseconds.
type Model = BTreeMap<&'static str, (String, u64)>;

struct Run {
    random: Random,
    world: World,
    storage: Arc<MemoryStorage>,
    publishers: Vec<Toy>,
    millis: u64,
    written: u32,
    now: Model,
    /// What it was when everything was synced last.
    synced: Model,
}

impl Run {
    fn new(seed: u64) -> Run {
        let storage = Arc::new(MemoryStorage::manual());
        let mut run = Run {
            random: Random::new(seed),
            world: World::on_storage(2, Limits::default(), storage.clone()),
            storage,
            publishers: Vec::new(),
            millis: 0,
            written: 0,
            now: Model::new(),
            synced: Model::new(),
        };
        run.open_publishers();
        run
    }

    fn open_publishers(&mut self) {
        self.publishers =
            (0..2).map(|worker| passer_by(&mut self.world, worker, &format!("publisher {worker}"))).collect();
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..12 => self.publish(),
            12..15 => {
                self.storage.sync_all();
                self.synced.clone_from(&self.now);
            }
            15..18 => self.pass(),
            18 => self.go_on_with(self.storage.restart(), self.now.clone()),
            _ => self.go_on_with(self.storage.crash(), self.synced.clone()),
        }
        let alive = |model: &Model| {
            let alive = model.iter().filter(|(_, (_, expires_at))| *expires_at > self.millis);
            alive.map(|(topic, (payload, _))| (topic.to_string(), payload.clone())).collect::<Vec<_>>()
        };
        assert_eq!(state(&mut self.world), alive(&self.now));
        assert_eq!(found_on(self.storage.crash()), alive(&self.synced));
        assert_eq!(found_on(self.storage.restart()), alive(&self.now));
    }

    fn publish(&mut self) {
        let topic = *self.random.pick(&TOPICS);
        let is_clear = self.random.one_in(4);
        self.written += 1;
        let payload = if is_clear { String::new() } else { self.written.to_string() };
        let expiry = self.random.one_in(3).then(|| self.random.below(5) as u64 * 1000 + 1000);
        let qos = *self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let publisher = self.random.pick(&self.publishers).clone();
        publisher
            .publish_with(&mut self.world, topic, &payload, qos, move |publish| {
                (publish.retain, publish.expiry) = (true, expiry.map(Duration::from_millis));
            })
            .unwrap();
        self.world.run();
        match is_clear {
            true => drop(self.now.remove(topic)),
            false => {
                let expires_at = expiry.map_or(u64::MAX, |millis| self.millis + millis);
                self.now.insert(topic, (payload, expires_at));
            }
        }
    }

    /// Time passes for the gateway and for its store alike.
    fn pass(&mut self) {
        let millis = self.random.below(3000) as u64;
        self.millis += millis;
        self.storage.advance_millis(millis);
        self.world.advance(Duration::from_millis(millis));
    }

    /// Another process goes on with what the last one has left.
    fn go_on_with(&mut self, storage: MemoryStorage, found: Model) {
        let millis = self.random.below(3000) as u64;
        storage.advance_millis(millis);
        self.millis += millis;
        self.storage = Arc::new(storage);
        self.world = World::on_storage(2, Limits::default(), self.storage.clone());
        self.open_publishers();
        (self.now, self.synced) = (found.clone(), found);
    }
}

fn passer_by(world: &mut World, worker: usize, name: &str) -> Toy {
    world.attached(worker, session(name).expiry(Duration::ZERO))
}

fn state(world: &mut World) -> Vec<(String, String)> {
    let worker = world.workers() - 1;
    let reader = passer_by(world, worker, "reader");
    reader.subscribe_with(world, "#", |subscribe| subscribe.retained = RetainedDelivery::Always).unwrap();
    world.run();
    let got = reader.got();
    reader.vanish(world);
    world.run();
    got.into_iter().map(|got| (got.topic, got.payload)).collect()
}

fn found_on(storage: MemoryStorage) -> Vec<(String, String)> {
    state(&mut World::on_storage(1, Limits::default(), Arc::new(storage)))
}

/// [MQTT-3.3.1-5] [MQTT-3.3.1-6]: after a power loss what was synced is there and nothing that was cleared before that, after a kill everything is;
/// and what is not retained is not kept.
#[test]
fn what_is_retained_is_there_after_any_end() {
    for_each_seed(13, ROUNDS, |seed| {
        let mut run = Run::new(seed);
        (0..STEPS).for_each(|_| run.step());
        for topic in TOPICS {
            let publisher = run.publishers[0].clone();
            publisher
                .publish_with(&mut run.world, topic, "", QoS::AtLeastOnce, |publish| publish.retain = true)
                .unwrap();
        }
        assert_eq!(run.storage.summary(StreamId::RETAINED), None);
    });
}

//! A queue that is too long for memory: messages come in bursts from three workers, its client comes and goes and moves, and what is read
//! from the store arrives when chance says so. What comes is in each publisher's order, nothing is missing and nothing comes again that was
//! settled.

use crate::driver::for_each_seed;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_message::QoS;
use tidegate_protocol::{DeliveryTag, Outcome};
use tidegate_storage::{MemoryStorage, Storage, StreamId};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, Toy, session};
use tidegate_testkit::random::Random;

const WORKERS: usize = 3;
const BURST_MAX: usize = 200;

struct Run {
    random: Random,
    world: World,
    storage: Arc<MemoryStorage>,
    publishers: Vec<Toy>,
    /// How many messages each has published, and which comes next of each.
    sent: [usize; WORKERS],
    next: [usize; WORKERS],
    bob: Option<Toy>,
    /// What bob has and has not settled, by tag.
    open: BTreeMap<u64, String>,
    /// What of it has come on the present connection.
    present: BTreeSet<u64>,
    /// The most deliveries that were on the disk only.
    most_on_disk: usize,
    limits: Limits,
    /// Whether the process ends now and then.
    restarts: bool,
}

impl Run {
    fn new(seed: u64, limits: &Limits) -> Run {
        let storage = Arc::new(MemoryStorage::new());
        let mut world = World::on_storage(WORKERS, limits.clone(), storage.clone());
        world.hold_reads();
        let publishers = (0..WORKERS).map(|worker| world.toy(worker)).collect();
        let bob = world.attached(0, session("bob").credit(20));
        bob.subscribe(&mut world, "a");
        Run {
            random: Random::new(seed),
            world,
            storage,
            publishers,
            sent: [0; WORKERS],
            next: [0; WORKERS],
            bob: Some(bob),
            open: BTreeMap::new(),
            present: BTreeSet::new(),
            most_on_disk: 0,
            limits: limits.clone(),
            restarts: false,
        }
    }

    fn publish(&mut self) {
        let publisher = self.random.below(WORKERS);
        for _ in 0..self.random.below(BURST_MAX) {
            let payload = format!("{publisher}:{}", self.sent[publisher]);
            let qos = if self.random.one_in(3) { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            self.publishers[publisher].publish(&mut self.world, "a", &payload, qos).unwrap();
            self.sent[publisher] += 1;
        }
    }

    fn receive(&mut self) {
        let Some(bob) = &self.bob else { return };
        for got in bob.got() {
            let tag = got.tag.unwrap();
            assert!(self.present.insert(tag), "twice on one connection: {got:?}");
            // After a restart it is not known of all that they were under way, and the peer knows them by their tags.
            let may_come_again = got.redelivered || self.restarts;
            if may_come_again && self.open.get(&tag) == Some(&got.payload) {
                continue;
            }
            // Otherwise it was lost on its way the first time.
            let (publisher, number) = got.payload.split_once(':').unwrap();
            let (publisher, number): (usize, usize) = (publisher.parse().unwrap(), number.parse().unwrap());
            assert_eq!(number, self.next[publisher], "of publisher {publisher}");
            self.next[publisher] += 1;
            assert_eq!(self.open.insert(tag, got.payload), None);
        }
    }

    fn settle(&mut self, one_in: usize) {
        let Some(bob) = self.bob.clone() else { return };
        let tags: Vec<u64> = self.present.iter().copied().filter(|_| self.random.one_in(one_in)).collect();
        for tag in &tags {
            self.open.remove(tag);
            self.present.remove(tag);
        }
        bob.ask(&mut self.world, move |broker| {
            tags.iter().for_each(|tag| broker.settle(SESSION, DeliveryTag(*tag), Outcome::Accepted));
        });
    }

    fn come_or_go(&mut self) {
        self.receive();
        match self.bob.take() {
            Some(bob) => {
                self.present.clear();
                bob.vanish(&mut self.world);
            }
            None => {
                let credit = 1 + self.random.below(60) as u32;
                let worker = self.random.below(WORKERS);
                self.bob = Some(self.world.attached(worker, session("bob").credit(credit)));
            }
        }
    }

    /// The process ends at any moment and begins anew: what was on its way to bob may come again.
    fn restart(&mut self) {
        self.receive();
        self.present.clear();
        self.bob = None;
        self.storage = Arc::new(self.storage.restart());
        self.world = World::on_storage(WORKERS, self.limits.clone(), self.storage.clone());
        self.world.hold_reads();
        self.publishers = (0..WORKERS).map(|worker| self.world.toy(worker)).collect();
    }

    fn step(&mut self) {
        if self.restarts && self.random.one_in(30) {
            return self.restart();
        }
        let worker = self.random.below(WORKERS);
        match self.random.below(12) {
            0 | 1 => self.publish(),
            2 => self.come_or_go(),
            3 | 4 => self.settle(2),
            5 | 6 => drop(self.world.read()),
            7 | 8 => self.world.handle_mail(worker),
            9 | 10 => self.world.flush_turn(worker),
            _ => self.world.run(),
        }
        self.receive();
        self.most_on_disk = self.most_on_disk.max(self.world.node().gauges().queued_messages_on_disk);
    }

    /// A look that has found nothing is made again after a while. Returns whether that has brought something.
    fn wait_for_more(&mut self) -> bool {
        self.world.advance(Duration::from_secs(10));
        while self.world.read() {
            self.world.run();
        }
        self.world.run();
        self.receive();
        !self.open.is_empty()
    }

    /// In the end everything arrives, and nothing is left. Returns how many deliveries were on the disk only at one time.
    fn complete(mut self, steps: usize) -> usize {
        (0..steps).for_each(|_| self.step());
        if self.bob.is_none() {
            self.come_or_go();
        }
        loop {
            while self.world.read() {
                self.world.run();
            }
            self.world.run();
            self.receive();
            if self.open.is_empty() && !self.wait_for_more() {
                break;
            }
            self.settle(1);
        }
        assert_eq!(self.next, self.sent);
        let gauges = self.world.node().gauges();
        assert_eq!((gauges.queued_messages, gauges.queued_bytes, gauges.queued_bytes_on_disk), (0, 0, 0));
        assert!(self.storage.streams().iter().all(|found| found.stream < StreamId::FIRST_QUEUE));
        self.most_on_disk
    }
}

/// [MQTT-4.5.0-1] [MQTT-4.4.0-1] [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/4.6.0-6]
#[test]
fn a_long_queue_loses_doubles_and_reorders_nothing() {
    for_each_seed(21, 4, |seed| {
        assert!(Run::new(seed, &Limits::default()).complete(200) > 0);
    });
}

/// The same where hardly anything has room in memory.
#[test]
fn a_long_queue_without_memory_loses_doubles_and_reorders_nothing() {
    let limits = Limits { queued_bytes_total: 8_000, ..Limits::default() };
    for_each_seed(22, 4, |seed| {
        assert!(Run::new(seed, &limits).complete(200) > 0);
    });
}

/// The same over the ends of the process.
#[test]
fn a_long_queue_outlives_the_process() {
    for_each_seed(23, 6, |seed| {
        let run = Run { restarts: true, ..Run::new(seed, &Limits::default()) };
        assert!(run.complete(200) > 0);
    });
}

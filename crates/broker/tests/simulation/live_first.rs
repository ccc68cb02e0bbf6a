//! A consumer that takes newer deliveries first, as a forward does whose upstream comes and goes: messages come in bursts from three workers, it
//! says now and then that what waits is backlog, asks for some of that, comes, goes and moves, and the process ends at any moment.
//!
//! Nothing is missing, nothing comes again that was settled, and what comes for the first time is in each publisher's order, among what is live
//! and among what is backlog.

use crate::driver::for_each_seed;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_message::QoS;
use tidegate_protocol::{Backlog, DeliveryTag, Outcome, Settlement};
use tidegate_storage::{MemoryStorage, Storage, StreamId};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Attaching, Got, SESSION, Toy, session};
use tidegate_testkit::random::Random;

const WORKERS: usize = 3;
const BURST_MAX: usize = 250;

struct Run {
    random: Random,
    world: World,
    storage: Arc<MemoryStorage>,
    limits: Limits,
    publishers: Vec<Toy>,
    sent: [usize; WORKERS],
    bridge: Option<Toy>,
    /// What has come and is not settled, by tag, and what of it has come on the present connection.
    open: BTreeMap<u64, String>,
    present: BTreeSet<u64>,
    settled: BTreeSet<String>,
    /// The last of each publisher that has come for the first time on this connection: live ones, and those of the backlog.
    last: [[Option<usize>; WORKERS]; 2],
    /// How much of the backlog it has asked for and not got.
    wanted: usize,
    live_came: usize,
    backlog_came: usize,
    most_on_disk: usize,
}

fn attaching(credit: u32) -> Attaching {
    session("bridge").credit(credit).settlement(Settlement::Always).bounded_by_disk().with_backlog()
}

fn bridge_of(bridge: &Option<Toy>) -> Toy {
    bridge.clone().expect("it is there")
}

impl Run {
    fn new(seed: u64, limits: &Limits) -> Run {
        let storage = Arc::new(MemoryStorage::new());
        let mut world = World::on_storage(WORKERS, limits.clone(), storage.clone());
        world.hold_reads();
        let publishers = (0..WORKERS).map(|worker| world.toy(worker)).collect();
        let bridge = world.attached(0, attaching(20));
        bridge.subscribe(&mut world, "a");
        Run {
            random: Random::new(seed),
            world,
            storage,
            limits: limits.clone(),
            publishers,
            sent: [0; WORKERS],
            bridge: Some(bridge),
            open: BTreeMap::new(),
            present: BTreeSet::new(),
            settled: BTreeSet::new(),
            last: [[None; WORKERS]; 2],
            wanted: 0,
            live_came: 0,
            backlog_came: 0,
            most_on_disk: 0,
        }
    }

    fn publish(&mut self) {
        let publisher = self.random.below(WORKERS);
        for _ in 0..self.random.below(BURST_MAX) {
            let payload = format!("{publisher}:{}", self.sent[publisher]);
            self.publishers[publisher].publish(&mut self.world, "a", &payload, QoS::AtLeastOnce).unwrap();
            self.sent[publisher] += 1;
        }
    }

    fn receive(&mut self) {
        let Some(bridge) = &self.bridge else { return };
        for got in bridge.got() {
            self.take(got);
        }
    }

    fn take(&mut self, got: Got) {
        let tag = got.tag.unwrap();
        assert!(self.present.insert(tag), "twice on one connection: {got:?}");
        assert!(!self.settled.contains(&got.payload), "settled already: {got:?}");
        if got.is_backlog {
            self.wanted = self.wanted.checked_sub(1).expect("it was asked for");
            self.backlog_came += 1;
        } else {
            self.live_came += 1;
        }
        let known = self.open.insert(tag, got.payload.clone());
        assert!(known.is_none_or(|known| known == got.payload), "under another name: {got:?}");
        // What may have come before comes again first, whichever part it was in.
        if !got.redelivered {
            let (publisher, number) = got.payload.split_once(':').unwrap();
            let (publisher, number): (usize, usize) = (publisher.parse().unwrap(), number.parse().unwrap());
            let last = &mut self.last[usize::from(got.is_backlog)][publisher];
            assert!(last.is_none_or(|last| last < number), "{got:?} behind {last:?}");
            *last = Some(number);
        }
    }

    fn settle(&mut self, one_in: usize) {
        let Some(bridge) = self.bridge.clone() else { return };
        let tags: Vec<u64> = self.present.iter().copied().filter(|_| self.random.one_in(one_in)).collect();
        for tag in &tags {
            self.settled.extend(self.open.remove(tag));
            self.present.remove(tag);
        }
        bridge.ask(&mut self.world, move |broker| {
            tags.iter().for_each(|tag| broker.settle(SESSION, DeliveryTag(*tag), Outcome::Accepted));
        });
    }

    /// The upstream comes or goes, or takes more.
    fn arrange(&mut self) {
        let Some(bridge) = self.bridge.clone() else { return };
        let backlog = match self.random.below(5) {
            0 => Backlog::Grows,
            1 | 2 => Backlog::Overtaken,
            _ => Backlog::More(self.random.below(30) as u32),
        };
        if let Backlog::More(count) = backlog {
            self.wanted += count as usize;
        }
        bridge.arrange(&mut self.world, backlog);
        self.receive();
    }

    fn come_or_go(&mut self) {
        self.receive();
        match self.bridge.take() {
            Some(bridge) => {
                self.forget_connection();
                bridge.vanish(&mut self.world);
            }
            None => {
                let credit = 1 + self.random.below(60) as u32;
                let bridge = self.world.attached(self.random.below(WORKERS), attaching(credit));
                self.bridge = Some(bridge);
            }
        }
    }

    fn forget_connection(&mut self) {
        self.present.clear();
        self.last = [[None; WORKERS]; 2];
        self.wanted = 0;
    }

    /// The process ends at any moment and begins anew.
    fn restart(&mut self) {
        self.receive();
        self.forget_connection();
        self.bridge = None;
        self.storage = Arc::new(self.storage.restart());
        self.world = World::on_storage(WORKERS, self.limits.clone(), self.storage.clone());
        self.world.hold_reads();
        self.publishers = (0..WORKERS).map(|worker| self.world.toy(worker)).collect();
    }

    fn step(&mut self) {
        if self.random.one_in(40) {
            return self.restart();
        }
        let worker = self.random.below(WORKERS);
        match self.random.below(15) {
            0 | 1 => self.publish(),
            2 => self.come_or_go(),
            3 | 4 => self.settle(2),
            5 | 6 => drop(self.world.read()),
            7 | 8 => self.world.handle_mail(worker),
            9 | 10 => self.world.flush_turn(worker),
            11..=13 => self.arrange(),
            _ => self.world.run(),
        }
        self.receive();
        self.most_on_disk = self.most_on_disk.max(self.world.node().gauges().queued_messages_on_disk);
    }

    /// In the end everything has arrived, and nothing is left. Returns how much came live, how much as backlog, and how much was on the disk only.
    fn complete(mut self, steps: usize) -> [usize; 3] {
        (0..steps).for_each(|_| self.step());
        if self.bridge.is_some() {
            self.come_or_go();
        }
        self.bridge = Some(self.world.attached(0, attaching(1000)));
        let mut rounds_without = 0;
        while rounds_without < 3 {
            while self.world.read() {
                self.world.run();
            }
            self.world.run();
            self.receive();
            rounds_without = if self.open.is_empty() { rounds_without + 1 } else { 0 };
            if rounds_without > 0 {
                self.world.advance(Duration::from_secs(10));
            }
            self.settle(1);
            self.wanted += 1000;
            bridge_of(&self.bridge).arrange(&mut self.world, Backlog::More(1000));
        }
        assert_eq!(self.settled.len(), self.sent.iter().sum::<usize>());
        let gauges = self.world.node().gauges();
        assert_eq!((gauges.queued_messages, gauges.queued_bytes, gauges.queued_bytes_on_disk), (0, 0, 0));
        assert!(self.storage.streams().iter().all(|found| found.stream < StreamId::FIRST_QUEUE));
        [self.live_came, self.backlog_came, self.most_on_disk]
    }
}

/// All runs together have seen everything that there is to see.
fn simulate(test: u64, rounds: u64, limits: &Limits) {
    let all = Cell::new([0; 3]);
    for_each_seed(test, rounds, |seed| {
        let seen = Run::new(seed, limits).complete(200);
        all.set(std::array::from_fn(|at| all.get()[at] + seen[at]));
    });
    assert!(all.get().iter().all(|seen| *seen > 0), "{all:?}");
}

#[test]
fn live_first_loses_and_doubles_nothing_and_keeps_the_order_of_each_part() {
    simulate(24, 6, &Limits::default());
}

/// The same where hardly anything has room in memory.
#[test]
fn live_first_without_memory_loses_and_doubles_nothing() {
    simulate(25, 4, &Limits { queued_bytes_total: 8_000, ..Limits::default() });
}

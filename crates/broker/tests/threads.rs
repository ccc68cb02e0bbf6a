//! Workers on threads of their own: what the tests on one thread cannot meet.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tidegate_broker::{Limits, Node};
use tidegate_message::QoS;
use tidegate_protocol::Attachment;
use tidegate_testkit::pair::toy::{Toy, session};
use tidegate_testkit::pair::{World, node};
use tidegate_testkit::patience::Patience;
use tidegate_testkit::random::Random;

const MESSAGES: u64 = 3000;

struct Shared {
    node: Arc<Node>,
    bells: Vec<Arc<AtomicBool>>,
    /// What the subscriber has received, on whatever worker.
    log: Mutex<Vec<u64>>,
    finished: AtomicBool,
}

impl Shared {
    fn world(&self, worker: usize) -> World {
        World::of_one_worker(self.node.clone(), worker, self.bells[worker].clone())
    }

    fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }
}

/// The subscriber's session as one worker sees it: it claims the session whenever it has lost it for a while.
struct Subscriber<'a> {
    shared: &'a Shared,
    world: World,
    random: Random,
    toy: Option<Toy>,
    is_attached: bool,
    claim_at: usize,
    /// Turns since something came.
    idle: u64,
    patience: Patience,
}

impl Subscriber<'_> {
    fn run(mut self) {
        while !self.shared.is_finished() {
            self.turn();
            std::thread::yield_now();
        }
    }

    fn turn(&mut self) {
        self.world.run();
        let length = self.shared.log.lock().unwrap().len();
        self.idle += 1;
        match self.toy.take() {
            Some(toy) => self.receive(toy),
            None if length >= self.claim_at || self.idle.is_multiple_of(2000) => self.claim(),
            None => {}
        }
        self.patience.note(self.idle == 0, || format!("{length} deliveries"));
    }

    fn claim(&mut self) {
        let toy = self.world.toy(0);
        self.is_attached = matches!(toy.attach(&mut self.world, session("bob")), Attachment::Now(_));
        self.toy = Some(toy);
    }

    fn receive(&mut self, toy: Toy) {
        self.is_attached |= toy.take_reply().is_some();
        for got in toy.got() {
            self.idle = 0;
            self.shared.log.lock().unwrap().push(got.payload.parse().unwrap());
            if toy.can_ask(&mut self.world) {
                toy.accept(&mut self.world, got.tag.unwrap());
            }
        }
        if self.is_attached && self.random.one_in(50) {
            toy.vanish(&mut self.world);
        }
        if toy.link.is_ended() {
            let length = self.shared.log.lock().unwrap().len();
            self.claim_at = length + self.random.below(30);
        } else {
            self.toy = Some(toy);
        }
    }
}

fn publish_all(shared: &Shared) {
    let mut world = shared.world(0);
    let alice = world.attached(0, session("alice"));
    for number in 1..=MESSAGES {
        alice.publish(&mut world, "a", &number.to_string(), QoS::AtLeastOnce).unwrap();
        world.run();
    }
    while !shared.is_finished() {
        world.run();
        if shared.log.lock().unwrap().contains(&MESSAGES) {
            shared.finished.store(true, Ordering::Release);
        }
        std::thread::yield_now();
    }
}

/// [MQTT-4.5.0-1] [MQTT-4.6.0-6] [MQTT-3.1.1/3.1.2-5] [MQTT-3.1.1/4.6.0-6]: a session that moves between two workers
/// while a third one's client publishes to it.
#[test]
fn a_session_that_moves_between_threads_loses_nothing_and_keeps_the_order() {
    let (node, bells) = node(3, Limits::default(), vec!["toy"]);
    let shared = Shared { node, bells, log: Mutex::default(), finished: AtomicBool::new(false) };
    let mut world = shared.world(1);
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    drop(world);
    std::thread::scope(|scope| {
        scope.spawn(|| publish_all(&shared));
        for worker in [1, 2] {
            let shared = &shared;
            scope.spawn(move || {
                let _finish = Finish(shared);
                let (world, random) = (shared.world(worker), Random::new(worker as u64));
                let (is_attached, claim_at, idle) = (false, 0, 0);
                let patience = Patience::new();
                let subscriber =
                    Subscriber { shared, world, random, toy: None, is_attached, claim_at, idle, patience };
                subscriber.run();
            });
        }
    });
    let log = shared.log.into_inner().unwrap();
    let mut last = 0;
    for number in log.iter().copied() {
        assert!(
            number <= last + 1,
            "{number} is the first delivery after {last}: {:?}",
            log.iter().skip_while(|other| **other < last).take(9).collect::<Vec<_>>()
        );
        last = last.max(number);
    }
    assert_eq!(last, MESSAGES);
}

/// Lets the other threads end when one of them has failed.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.finished.store(true, Ordering::Release);
    }
}

//! A group whose members live on threads of their own: offers, refusals and losses that meet at any moment.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tidegate_broker::{Limits, Node};
use tidegate_message::QoS;
use tidegate_testkit::pair::toy::{Attaching, Toy, session};
use tidegate_testkit::pair::{World, node};
use tidegate_testkit::patience::Patience;
use tidegate_testkit::random::Random;

const MESSAGES: usize = 3000;
const WORKERS: usize = 3;

struct Shared {
    node: Arc<Node>,
    bells: Vec<Arc<AtomicBool>>,
    accepted: Mutex<HashSet<usize>>,
    finished: AtomicBool,
}

impl Shared {
    fn world(&self, worker: usize) -> World {
        World::of_one_worker(self.node.clone(), worker, self.bells[worker].clone())
    }

    /// Lets a member join, so that the group exists before anything is published.
    fn join(&self, worker: usize) {
        let mut world = self.world(worker);
        let toy = world.attached(0, member(worker));
        toy.join(&mut world, "g", "a");
        toy.vanish(&mut world);
    }
}

fn member(worker: usize) -> Attaching {
    session(&format!("member-{worker}")).credit(3)
}

/// One worker: its member reads, accepts, loses its connection and comes back. The first worker's client publishes as well.
fn run(shared: &Shared, worker: usize) {
    let _finish = Finish(shared);
    let (mut world, mut random) = (shared.world(worker), Random::new(worker as u64));
    let alice = world.attached(0, session(&format!("publisher-{worker}")));
    let mut toy = world.attached(0, member(worker));
    let (mut published, mut patience) = (0, Patience::new());
    while !shared.finished.load(Ordering::Acquire) {
        if worker == 0 && published < MESSAGES && random.one_in(2) {
            alice.publish(&mut world, "a", &published.to_string(), QoS::AtLeastOnce).unwrap();
            published += 1;
        }
        world.run();
        let has_moved = accept(shared, &toy, &mut world);
        patience.note(has_moved, || format!("{} messages", shared.accepted.lock().unwrap().len()));
        if random.one_in(60) {
            toy.vanish(&mut world);
            toy = world.attached(0, member(worker));
        }
        std::thread::yield_now();
    }
}

/// Accepts most of what has come; what is left over comes again, here or elsewhere. Returns whether anything has come.
fn accept(shared: &Shared, toy: &Toy, world: &mut World) -> bool {
    let got = toy.got();
    for delivery in &got {
        let mut accepted = shared.accepted.lock().unwrap();
        assert!(accepted.insert(delivery.payload.parse().unwrap()), "accepted twice: {delivery:?}");
        if accepted.len() == MESSAGES {
            shared.finished.store(true, Ordering::Release);
        }
        drop(accepted);
        toy.accept(world, delivery.tag.unwrap());
    }
    !got.is_empty()
}

/// MQTT 5.0 section 4.8.2: each message is accepted once, by whoever.
#[test]
fn members_on_threads_share_every_message() {
    let (node, bells) = node(WORKERS, Limits::default(), vec!["toy"]);
    let (accepted, finished) = (Mutex::default(), AtomicBool::new(false));
    let shared = Shared { node, bells, accepted, finished };
    (0..WORKERS).for_each(|worker| shared.join(worker));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let shared = &shared;
            scope.spawn(move || run(shared, worker));
        }
    });
    assert_eq!(shared.accepted.into_inner().unwrap().len(), MESSAGES);
}

/// Lets the other threads end when one of them has failed.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.finished.store(true, Ordering::Release);
    }
}

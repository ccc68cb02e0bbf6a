//! A session that is claimed for its last connection while another worker's client publishes to it.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::yield_now;
use std::time::Duration;
use tidegate_broker::{Limits, Node};
use tidegate_message::QoS;
use tidegate_protocol::Attachment;
use tidegate_testkit::pair::toy::session;
use tidegate_testkit::pair::{World, node};
use tidegate_testkit::patience::Patience;
use tidegate_testkit::random::Random;

const ROUNDS: u64 = 200;
/// Messages of a round.
const MESSAGES: u64 = 60;

struct Shared {
    node: Arc<Node>,
    bells: Vec<Arc<AtomicBool>>,
    /// Messages published so far, all rounds together.
    published: AtomicU64,
    /// Rounds in which everything has arrived.
    finished: AtomicU64,
    is_over: AtomicBool,
}

impl Shared {
    fn world(&self, worker: usize) -> World {
        World::of_one_worker(self.node.clone(), worker, self.bells[worker].clone())
    }

    /// Lets the other thread go on until something is true; false where it has failed instead.
    fn wait(&self, world: &mut World, is_true: impl Fn() -> bool) -> bool {
        while !is_true() && !self.is_over.load(Ordering::Acquire) {
            world.run();
            yield_now();
        }
        is_true()
    }
}

/// Leaves a session behind on this worker, and publishes to it.
fn publish_all(shared: &Shared) {
    let mut world = shared.world(0);
    let alice = world.attached(0, session("alice"));
    for round in 0..ROUNDS {
        let bob = world.attached(0, session("bob"));
        bob.subscribe(&mut world, "a");
        bob.vanish(&mut world);
        for number in 1..=MESSAGES {
            alice.publish(&mut world, "a", &number.to_string(), QoS::AtLeastOnce).unwrap();
            shared.published.fetch_add(1, Ordering::AcqRel);
        }
        if !shared.wait(&mut world, || shared.finished.load(Ordering::Acquire) > round) {
            return;
        }
    }
}

/// Takes the session up while that happens, with a connection that it does not outlive.
fn receive_all(shared: &Shared) {
    let (mut world, mut random) = (shared.world(1), Random::new(1));
    for round in 0..ROUNDS {
        let claim_at = round * MESSAGES + random.below(MESSAGES as usize) as u64 + 1;
        while shared.published.load(Ordering::Acquire) < claim_at {
            std::hint::spin_loop();
        }
        let bob = world.toy(0);
        let attachment = bob.attach(&mut world, session("bob").expiry(Duration::ZERO));
        assert!(matches!(attachment, Attachment::Now(_)));
        let (mut last, mut patience) = (0, Patience::new());
        while last < MESSAGES {
            world.run();
            let before = last;
            for got in bob.got() {
                assert_eq!(got.payload, (last + 1).to_string(), "round {round}");
                bob.accept(&mut world, got.tag.unwrap());
                last += 1;
            }
            patience.note(last > before, || format!("{last} messages in round {round}"));
            yield_now();
        }
        bob.vanish(&mut world);
        shared.finished.fetch_add(1, Ordering::AcqRel);
    }
}

/// [MQTT-4.5.0-1]: the session exists until its last connection ends, also while that connection is only coming.
#[test]
fn a_session_loses_nothing_while_its_last_connection_comes() {
    let (node, bells) = node(2, Limits::default(), vec!["toy"]);
    let zero = || AtomicU64::new(0);
    let shared = Shared { node, bells, published: zero(), finished: zero(), is_over: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        scope.spawn(|| publish_all(&shared));
        let _over = Over(&shared);
        receive_all(&shared);
    });
}

/// Lets the other thread end when this one has ended or failed.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

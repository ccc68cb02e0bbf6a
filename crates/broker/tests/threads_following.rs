//! Followers of a replay ring on threads of their own: publishers on all workers, readers that lose their connections at any moment, some
//! of them slow, and a topic whose state is retained.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use tidegate_broker::{Limits, Node, Reconfiguration, RingOptions};
use tidegate_message::QoS;
use tidegate_protocol::Start;
use tidegate_testkit::pair::toy::{Got, Toy, filter};
use tidegate_testkit::pair::{World, node};
use tidegate_testkit::patience::Patience;
use tidegate_testkit::random::Random;

/// Messages of each worker's client.
const MESSAGES: usize = 1500;
const WORKERS: usize = 3;

struct Shared {
    node: Arc<Node>,
    bells: Vec<Arc<AtomicBool>>,
    /// What each reader has received, with its tokens, in its order.
    logs: Vec<Mutex<Vec<(String, String)>>>,
    finished_readers: AtomicUsize,
    has_failed: AtomicBool,
    /// Nobody publishes before everybody reads.
    begun: Barrier,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.has_failed.load(Ordering::Acquire) || self.finished_readers.load(Ordering::Acquire) == WORKERS
    }
}

/// A reader that comes back with the token of the last message that it has had.
struct Reader {
    toy: Toy,
    token: Option<String>,
    is_blocked: bool,
}

impl Reader {
    fn new(world: &mut World, token: Option<String>) -> Reader {
        let toy = world.toy(0);
        let start = toy.follow(world, 1, "a/#", token.as_deref()).unwrap().start;
        assert_eq!(start, if token.is_none() { Start::Began } else { Start::Continued });
        Reader { toy, token, is_blocked: false }
    }

    /// Takes what has come. What was written to a connection that is lost before the peer reads it is read by nobody.
    fn read(&mut self) -> Vec<Got> {
        let got = self.toy.got();
        if let Some(last) = got.last() {
            self.token.clone_from(&last.token);
        }
        got
    }

    /// Now and then the peer stops or begins to read, or the connection is lost.
    fn live(mut self, world: &mut World, random: &mut Random) -> Reader {
        if random.one_in(15) {
            match self.is_blocked {
                true => world.unblock(&self.toy.link),
                false => world.block_after(&self.toy.link, random.below(300)),
            }
            self.is_blocked = !self.is_blocked;
        }
        if !random.one_in(40) || self.token.is_none() {
            return self;
        }
        self.toy.vanish(world);
        Reader::new(world, self.token)
    }
}

fn run(shared: &Shared, worker: usize) {
    let _guard = Guard(shared);
    let mut world = World::of_one_worker(shared.node.clone(), worker, shared.bells[worker].clone());
    let mut random = Random::new(worker as u64);
    let alice = world.toy(0);
    let mut reader = Reader::new(&mut world, None);
    shared.begun.wait();
    let (mut published, mut patience, mut is_done) = (0, Patience::new(), false);
    while !shared.is_over() {
        if published < MESSAGES && random.one_in(2) {
            let (payload, retain) = (format!("{worker}-{published}"), random.one_in(4));
            let topic = format!("a/{}", random.below(5));
            alice
                .publish_with(&mut world, &topic, &payload, QoS::AtMostOnce, move |publish| {
                    publish.retain = retain
                })
                .unwrap();
            published += 1;
        }
        world.run();
        let got = reader.read();
        let has_moved = !got.is_empty();
        let mut log = shared.logs[worker].lock().unwrap();
        log.extend(got.into_iter().filter(|got| !got.retain).map(|got| (got.payload, got.token.unwrap())));
        if log.len() == WORKERS * MESSAGES && !std::mem::replace(&mut is_done, true) {
            shared.finished_readers.fetch_add(1, Ordering::AcqRel);
        }
        patience.note(is_done || has_moved, || format!("{} messages", log.len()));
        drop(log);
        reader = reader.live(&mut world, &mut random);
        std::thread::yield_now();
    }
}

/// Everybody gets every message once, in the same order, which is the order of each publisher.
#[test]
fn readers_on_threads_that_come_back_miss_nothing_and_get_nothing_twice() {
    let (node, bells) = node(WORKERS, Limits::default(), vec!["toy"]);
    let rings = vec![RingOptions { topics: vec![filter("a/#")], messages_max: 100_000, bytes_max: 1 << 30 }];
    node.reconfigure(Reconfiguration {
        limits: Limits::default(),
        authenticator: None,
        access: None,
        queues: tidegate_broker::QueuePolicies::default(),
        topics: tidegate_broker::TopicPolicies::default(),
        rings,
    });
    let shared = Shared {
        node,
        bells,
        logs: (0..WORKERS).map(|_| Mutex::default()).collect(),
        finished_readers: AtomicUsize::new(0),
        has_failed: AtomicBool::new(false),
        begun: Barrier::new(WORKERS),
    };
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let shared = &shared;
            scope.spawn(move || run(shared, worker));
        }
    });
    assert!(!shared.has_failed.load(Ordering::Acquire));
    let logs: Vec<_> = shared.logs.into_iter().map(|log| log.into_inner().unwrap()).collect();
    for log in &logs {
        let mut next = BTreeMap::new();
        for (payload, _) in log {
            let (publisher, number) = payload.split_once('-').unwrap();
            let expected = next.entry(publisher.to_owned()).or_insert(0);
            assert_eq!(number.parse(), Ok(*expected), "{payload} is out of order");
            *expected += 1;
        }
        assert!(next.values().all(|count| *count == MESSAGES));
        assert!(*log == logs[0], "two readers have seen two orders");
    }
}

/// Lets the other threads end when one of them has failed.
struct Guard<'a>(&'a Shared);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.has_failed.store(true, Ordering::Release);
        }
    }
}

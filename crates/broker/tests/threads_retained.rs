//! Subscriptions that are made while other workers' clients retain messages.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::yield_now;
use std::time::Duration;
use tidegate_broker::{Limits, Node};
use tidegate_message::QoS;
use tidegate_protocol::{DeliveryTag, Outcome, RetainedDelivery};
use tidegate_testkit::pair::toy::{Got, SESSION, Toy, session};
use tidegate_testkit::pair::{World, node};
use tidegate_testkit::patience::Patience;
use tidegate_testkit::random::Random;

const PUBLISHERS: usize = 2;
const SUBSCRIBERS: usize = 2;
const TOPICS: usize = 8;
/// Messages of one publisher to each of its topics.
const MESSAGES: u64 = 2000;
/// Subscribing sessions of one thread at a time.
const TOYS: usize = 3;

struct Shared {
    node: Arc<Node>,
    bells: Vec<Arc<AtomicBool>>,
    /// Publishers that have published everything.
    finished: AtomicUsize,
    /// Subscribers that have everything, or that have failed.
    satisfied: AtomicUsize,
}

impl Shared {
    fn world(&self, worker: usize) -> World {
        World::of_one_worker(self.node.clone(), worker, self.bells[worker].clone())
    }

    fn all_is_published(&self) -> bool {
        self.finished.load(Ordering::Acquire) == PUBLISHERS
    }
}

/// Counts a thread as ended, also where it has failed.
struct Ended<'a>(&'a AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Retains ascending numbers on the topics of this publisher.
fn publish_all(shared: &Shared, worker: usize) {
    let mut world = shared.world(worker);
    let alice = world.attached(0, session(&format!("alice-{worker}")));
    for number in 1..=MESSAGES {
        for topic in 0..TOPICS {
            let (topic, number) = (format!("p/{worker}/{topic}"), number.to_string());
            alice
                .publish_with(&mut world, &topic, &number, QoS::AtLeastOnce, |publish| publish.retain = true)
                .unwrap();
            world.run();
        }
        yield_now();
    }
    shared.finished.fetch_add(1, Ordering::AcqRel);
    while shared.satisfied.load(Ordering::Acquire) < SUBSCRIBERS {
        world.run();
        yield_now();
    }
}

/// One subscriber: what it has received last of each topic.
struct Subscriber {
    toy: Toy,
    filter: String,
    last: HashMap<String, u64>,
}

impl Subscriber {
    fn come(world: &mut World, name: &str, random: &mut Random) -> Subscriber {
        let publisher = random.below(PUBLISHERS);
        let filter = match random.below(5) {
            0 => "#".to_owned(),
            1 => "p/+/+".to_owned(),
            2 => format!("p/+/{}", random.below(TOPICS)),
            3 => format!("p/{publisher}/#"),
            _ => format!("p/{publisher}/{}", random.below(TOPICS)),
        };
        // Little credit lets the search go on while more is published.
        let credit = *random.pick(&[1, 7, 1000]);
        let toy = world.attached(0, session(name).credit(credit).expiry(Duration::ZERO));
        toy.subscribe_with(world, &filter, |subscribe| subscribe.retained = RetainedDelivery::Always)
            .unwrap();
        Subscriber { toy, filter, last: HashMap::new() }
    }

    /// Takes what has come. Returns whether there was anything.
    fn receive(&mut self, world: &mut World) -> bool {
        let got = self.toy.got();
        got.iter().for_each(|got| self.check(got));
        let tags: Vec<u64> = got.iter().filter_map(|got| got.tag).collect();
        if !tags.is_empty() && self.toy.can_ask(world) {
            self.toy.ask(world, move |broker| {
                tags.iter().for_each(|tag| broker.settle(SESSION, DeliveryTag(*tag), Outcome::Accepted));
            });
        }
        !got.is_empty()
    }

    /// [MQTT-3.3.1-9]: the state first, and then every later message once.
    fn check(&mut self, got: &Got) {
        let number: u64 = got.payload.parse().unwrap();
        if let Some(last) = self.last.insert(got.topic.clone(), number) {
            assert!(number == last + 1 && !got.retain, "{}: {last} and then {got:?}", self.filter);
        }
    }

    /// Whether it has the last message of each topic that it has subscribed to.
    fn is_complete(&self) -> bool {
        let expected = match self.filter.as_str() {
            "#" | "p/+/+" => PUBLISHERS * TOPICS,
            filter if filter.starts_with("p/+/") => PUBLISHERS,
            filter if filter.ends_with('#') => TOPICS,
            _ => 1,
        };
        self.last.len() == expected && self.last.values().all(|last| *last == MESSAGES)
    }
}

fn subscribe_all(shared: &Shared, worker: usize) {
    let _ended = Ended(&shared.satisfied);
    let (mut world, mut random) = (shared.world(worker), Random::new(worker as u64));
    let mut names = 0;
    let mut come = |world: &mut World, random: &mut Random| {
        names += 1;
        Subscriber::come(world, &format!("bob-{worker}-{names}"), random)
    };
    let mut subscribers: Vec<Subscriber> = (0..TOYS).map(|_| come(&mut world, &mut random)).collect();
    let mut patience = Patience::new();
    loop {
        world.run();
        let is_over = shared.all_is_published();
        let mut has_moved = false;
        for subscriber in &mut subscribers {
            has_moved |= subscriber.receive(&mut world);
            if !is_over && random.one_in(6) {
                subscriber.toy.vanish(&mut world);
                *subscriber = come(&mut world, &mut random);
            }
        }
        if is_over && subscribers.iter().all(Subscriber::is_complete) {
            return;
        }
        patience.note(has_moved, || "subscribers wait".to_owned());
        yield_now();
    }
}

/// [MQTT-3.3.1-9] [MQTT-3.1.1/3.3.1-6] [MQTT-4.6.0-6]
#[test]
fn the_state_and_what_follows_reach_every_subscriber_without_gap_or_double() {
    let limits = Limits { queued_messages: 1_000_000, output_bytes: 2000, ..Limits::default() };
    let (node, bells) = node(PUBLISHERS + SUBSCRIBERS, limits, vec!["toy"]);
    let zero = || AtomicUsize::new(0);
    let shared = Shared { node, bells, finished: zero(), satisfied: zero() };
    std::thread::scope(|scope| {
        for worker in 0..PUBLISHERS {
            let shared = &shared;
            scope.spawn(move || publish_all(shared, worker));
        }
        for worker in PUBLISHERS..PUBLISHERS + SUBSCRIBERS {
            let shared = &shared;
            scope.spawn(move || subscribe_all(shared, worker));
        }
    });
}

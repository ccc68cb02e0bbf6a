//! Long queues: a window in memory, the rest on the disk, and nobody who receives notices.

use crate::{HOUR, QOS0, QOS1, QOS2, assert_nothing_is_left};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::{Limits, Overflow};
use tidegate_protocol::{DeliveryTag, Outcome};
use tidegate_storage::{MemoryStorage, Storage, StreamId, StreamSummary};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, Toy, session};

/// More than any window holds.
const MANY: usize = 3000;
/// The most bytes that a window takes, with some for its client.
const WINDOW_BYTES: usize = 3 << 19;

struct Kept {
    world: World,
    storage: Arc<MemoryStorage>,
}

fn kept_within(workers: usize, limits: Limits) -> Kept {
    let storage = Arc::new(MemoryStorage::new());
    Kept { world: World::on_storage(workers, limits, storage.clone()), storage }
}

fn kept(workers: usize) -> Kept {
    kept_within(workers, Limits::default())
}

fn publish_many(world: &mut World, publisher: &Toy, topic: &str, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        publisher.publish(world, topic, &format!("{number:06}"), QOS1).unwrap();
    }
    world.run();
}

/// Settles whatever comes until nothing does; returns the payloads in their order.
fn drain(world: &mut World, consumer: &Toy) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        world.run();
        let got = consumer.got();
        if got.is_empty() {
            return all;
        }
        let tags: Vec<u64> = got.iter().filter_map(|got| got.tag).collect();
        all.extend(got.into_iter().map(|got| got.payload));
        consumer.ask(world, move |broker| {
            tags.iter().for_each(|tag| broker.settle(SESSION, DeliveryTag(*tag), Outcome::Accepted));
        });
    }
}

fn numbers(range: impl Iterator<Item = usize>) -> Vec<String> {
    range.map(|number| format!("{number:06}")).collect()
}

/// The only queue in the store.
fn queue_stream(storage: &MemoryStorage) -> StreamSummary {
    let streams = storage.streams();
    let queues: Vec<_> = streams.iter().filter(|found| found.stream >= StreamId::FIRST_QUEUE).collect();
    assert_eq!(queues.len(), 1, "{streams:?}");
    *queues[0]
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-3.1.1/4.6.0-6]
#[test]
fn a_long_queue_takes_little_memory_and_keeps_its_order() {
    for (publisher, home, later_home) in [(0, 0, 0), (0, 1, 1), (1, 0, 1), (0, 0, 1)] {
        let Kept { mut world, storage } = kept(2);
        let alice = world.toy(publisher);
        let bob = world.attached(home, session("bob"));
        bob.subscribe(&mut world, "a");
        bob.vanish(&mut world);
        publish_many(&mut world, &alice, "a", 0..MANY);
        let gauges = world.node().gauges();
        assert_eq!(gauges.queued_messages, MANY);
        assert!(
            gauges.queued_messages_on_disk > MANY - 600 && gauges.queued_bytes < WINDOW_BYTES,
            "{gauges:?}"
        );
        let bob = world.attached(later_home, session("bob").credit(100));
        assert_eq!(drain(&mut world, &bob), numbers(0..MANY));
        let gauges = world.node().gauges();
        assert_eq!(
            (gauges.queued_messages, gauges.queued_messages_on_disk, gauges.queued_bytes_on_disk),
            (0, 0, 0)
        );
        assert!(storage.streams().iter().all(|found| found.stream < StreamId::FIRST_QUEUE), "all is settled");
        publish_many(&mut world, &alice, "a", 0..3);
        assert_eq!(drain(&mut world, &bob), numbers(0..3));
        world.end_everything(HOUR);
        assert_nothing_is_left(&world);
    }
}

/// A consumer that is there and slower than its publisher: what comes while the tail is read stands behind it.
#[test]
fn what_comes_while_the_tail_is_read_comes_behind_it() {
    let Kept { mut world, .. } = kept(2);
    let alice = world.toy(0);
    let bob = world.attached(1, session("bob").credit(7));
    bob.subscribe(&mut world, "a");
    let (mut sent, mut got) = (0, Vec::new());
    for round in 0..300 {
        let count = if round % 3 == 0 { 40 } else { 5 };
        publish_many(&mut world, &alice, "a", sent..sent + count);
        sent += count;
        let received = bob.got();
        let tags: Vec<u64> = received.iter().filter_map(|got| got.tag).collect();
        got.extend(received.into_iter().map(|got| got.payload));
        bob.ask(&mut world, move |broker| {
            tags.iter().for_each(|tag| broker.settle(SESSION, DeliveryTag(*tag), Outcome::Accepted));
        });
    }
    assert!(world.node().gauges().queued_messages_on_disk > 0);
    got.extend(drain(&mut world, &bob));
    assert_eq!(got, numbers(0..sent));
}

/// What is not kept, because its client gets it only while it is there, does not overtake what waits on the disk.
#[test]
fn what_has_no_entry_waits_for_the_tail_before_it() {
    let Kept { mut world, .. } = kept(1);
    let alice = world.toy(0);
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe(&mut world, "a");
    for number in 0..MANY {
        let qos = if number % 7 == 3 { QOS0 } else { QOS1 };
        alice.publish(&mut world, "a", &format!("{number:06}"), qos).unwrap();
    }
    assert!(world.node().gauges().queued_messages_on_disk > 0);
    assert_eq!(drain(&mut world, &bob), numbers(0..MANY));
}

/// [MQTT-4.8.2-4]: every message for one of them, and none twice, whoever is where.
#[test]
fn competing_consumers_drain_a_tail() {
    for topic in ["$queue/orders", "a"] {
        let Kept { mut world, .. } = kept(3);
        let alice = world.toy(0);
        let join = |world: &mut World, toy: &Toy| match topic {
            "a" => toy.join(world, "g", "a"),
            queue => toy.subscribe(world, queue),
        };
        let first = world.attached(0, session("first"));
        join(&mut world, &first);
        first.vanish(&mut world);
        publish_many(&mut world, &alice, topic, 0..MANY);
        assert!(world.node().gauges().queued_bytes < WINDOW_BYTES);
        let members = [0, 1, 2].map(|worker| {
            let member = world.attached(worker, session(&format!("m{worker}")).credit(20));
            join(&mut world, &member);
            member
        });
        let (mut got, mut shares) = (Vec::new(), [0; 3]);
        for round in 0.. {
            world.run();
            let before = got.len();
            for (member, share) in members.iter().zip(&mut shares) {
                let received = member.got();
                // Now and then one of them does not want what it has got.
                let outcome = if round % 5 == 4 { Outcome::Released } else { Outcome::Accepted };
                *share += received.len();
                let tags: Vec<u64> = received.iter().filter_map(|got| got.tag).collect();
                if outcome == Outcome::Accepted {
                    got.extend(received.into_iter().map(|got| got.payload));
                }
                member.ask(&mut world, move |broker| {
                    tags.iter().for_each(|tag| broker.settle(SESSION, DeliveryTag(*tag), outcome));
                });
            }
            if got.len() == before && round % 5 != 4 {
                break;
            }
        }
        got.sort();
        assert_eq!(got, numbers(0..MANY), "{topic}");
        assert!(shares.iter().all(|share| *share > MANY / 10), "{shares:?}");
        assert_eq!(world.node().gauges().queued_messages, 0);
    }
}

#[test]
fn a_damaged_entry_is_left_out_and_counted() {
    for topic in ["a", "$queue/orders"] {
        let Kept { mut world, storage } = kept(1);
        let alice = world.toy(0);
        let bob = world.attached(0, session("bob").credit(100));
        bob.subscribe(&mut world, topic);
        bob.vanish(&mut world);
        publish_many(&mut world, &alice, topic, 0..MANY);
        let summary = queue_stream(&storage);
        let damaged = [1000, 1001, 2500];
        damaged.iter().for_each(|at| storage.damage(summary.stream, summary.first + at));
        let bob = world.attached(0, session("bob").credit(100));
        let expected = numbers((0..MANY).filter(|number| !damaged.contains(&(*number as u64))));
        assert_eq!(drain(&mut world, &bob), expected);
        assert_eq!(world.dropped("damaged"), 3);
        let gauges = world.node().gauges();
        assert_eq!((gauges.queued_messages, gauges.queued_messages_on_disk), (0, 0));
        assert_eq!(storage.summary(summary.stream), None, "what is damaged is settled as well");
    }
}

#[test]
fn a_disk_that_cannot_be_read_delays_and_loses_nothing() {
    let Kept { mut world, storage } = kept(1);
    let alice = world.toy(0);
    let bob = world.attached(0, session("bob").credit(100));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    publish_many(&mut world, &alice, "a", 0..MANY);
    storage.set_unreadable(true);
    let bob = world.attached(0, session("bob").credit(100));
    let mut got = drain(&mut world, &bob);
    assert!(!got.is_empty() && got.len() < MANY);
    storage.set_unreadable(false);
    assert_eq!(drain(&mut world, &bob).len(), 0);
    world.advance(Duration::from_secs(1));
    got.extend(drain(&mut world, &bob));
    assert_eq!(got, numbers(0..MANY));
}

/// The letter with what was read finds the session elsewhere, or gone.
#[test]
fn a_session_that_moves_or_ends_while_it_is_read() {
    for ends in [false, true] {
        let Kept { mut world, .. } = kept(3);
        let alice = world.toy(2);
        let bob = world.attached(0, session("bob").credit(100));
        bob.subscribe(&mut world, "a");
        bob.vanish(&mut world);
        publish_many(&mut world, &alice, "a", 0..MANY);
        world.hold_reads();
        let mut got = Vec::new();
        for round in 0..40 {
            // What is read while something may be under way to the former home is read again, so now and then it stays.
            let bob = world.attached(round / 2 % 3, session("bob").credit(300));
            got.extend(drain(&mut world, &bob));
            assert!(world.read() || got.len() == MANY, "something is asked for");
            bob.vanish(&mut world);
            if ends && round == 2 {
                world.attached(1, session("bob").clean().expiry(Duration::ZERO));
                world.run();
                assert!(!world.read() && world.node().gauges().queued_messages == 0);
                break;
            }
        }
        let received = if ends { got.len() } else { MANY };
        assert_eq!(got, numbers(0..received));
        assert_eq!(world.node().gauges().queued_messages, 0);
    }
}

/// Where the memory for all queues is used up, what is kept goes to the disk and nobody is refused.
#[test]
fn nobody_is_refused_where_the_disk_has_room() {
    let limits = Limits { queued_bytes_total: 20_000, ..Limits::default() };
    let Kept { mut world, .. } = kept_within(1, limits);
    let alice = world.toy(0);
    let names = ["b0", "b1", "b2"];
    for name in names {
        let bob = world.attached(0, session(name).credit(10));
        bob.subscribe(&mut world, "a");
        bob.vanish(&mut world);
    }
    publish_many(&mut world, &alice, "a", 0..1000);
    let gauges = world.node().gauges();
    assert!(gauges.queued_messages == 3000 && gauges.queued_bytes <= 20_000, "{gauges:?}");
    for name in names {
        let bob = world.attached(0, session(name).credit(10));
        assert_eq!(drain(&mut world, &bob), numbers(0..1000));
    }
}

/// What is on the disk counts with the limits of a queue.
#[test]
fn the_limits_of_a_queue_count_what_is_on_the_disk() {
    let limits = Limits { queued_messages: 1000, ..Limits::default() };
    for queue_overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let Kept { mut world, storage } = kept_within(1, Limits { queue_overflow, ..limits.clone() });
        let alice = world.toy(0);
        let bob = world.attached(0, session("bob").credit(10));
        bob.subscribe(&mut world, "a");
        bob.vanish(&mut world);
        for number in 0..MANY {
            let result = alice.publish(&mut world, "a", &format!("{number:06}"), QOS1);
            assert!(result.is_ok() || queue_overflow == Overflow::DropNewest);
            if number % 700 == 0 {
                world.run();
            }
            assert!(world.node().gauges().queued_messages <= 1000);
        }
        let bob = world.attached(0, session("bob").credit(10));
        let expected = if queue_overflow == Overflow::DropNewest { 0..1000 } else { MANY - 1000..MANY };
        assert_eq!(drain(&mut world, &bob), numbers(expected));
        assert_eq!(world.dropped("queue_full"), 2000);
        assert!(storage.streams().iter().all(|found| found.stream < StreamId::FIRST_QUEUE), "all is settled");
    }
}

/// [MQTT-3.3.2-5] [MQTT-3.3.2-6]: time passes on the disk as well.
#[test]
fn what_has_expired_on_the_disk_is_not_delivered() {
    let Kept { mut world, storage } = kept(1);
    let alice = world.toy(0);
    let bob = world.attached(0, session("bob").credit(10));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    for number in 0..MANY {
        let expiry = (number % 2 == 1).then_some(Duration::from_secs(60));
        alice
            .publish_with(&mut world, "a", &format!("{number:06}"), QOS2, move |publish| {
                publish.expiry = expiry
            })
            .unwrap();
    }
    world.advance(Duration::from_secs(61));
    storage.advance_millis(61_000);
    let bob = world.attached(0, session("bob").credit(10));
    assert_eq!(drain(&mut world, &bob), numbers((0..MANY).step_by(2)));
    assert_eq!(world.dropped("expired"), MANY as u64 / 2);
}

/// [MQTT-4.4.0-1]: what a client has not acknowledged comes again before the rest, which is on the disk.
#[test]
fn what_was_not_settled_comes_again_before_the_tail() {
    let Kept { mut world, .. } = kept(2);
    let alice = world.toy(0);
    let mut bob = world.attached(0, session("bob").credit(50));
    bob.subscribe(&mut world, "a");
    publish_many(&mut world, &alice, "a", 0..MANY);
    for worker in [0, 1, 1, 0] {
        assert_eq!(bob.got_payloads(), numbers(0..50));
        bob.vanish(&mut world);
        bob = world.attached(worker, session("bob").credit(50));
        world.run();
    }
    assert_eq!(drain(&mut world, &bob), numbers(0..MANY));
}

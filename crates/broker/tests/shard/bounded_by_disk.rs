//! Sessions that nothing but the disk bounds.

use crate::{HOUR, MINUTE, QOS0, QOS1};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::{Backlog, Limits, Overflow};
use tidegate_protocol::{Attachment, CloseReason, DeliveryTag, Outcome, Refusal};
use tidegate_storage::MemoryStorage;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, Toy, session};

const OVERFLOWS: [Overflow; 4] =
    [Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect, Overflow::KeepLast];

fn limits(queue_overflow: Overflow) -> Limits {
    Limits {
        queued_messages: 2,
        queue_overflow,
        session_expiry_max: MINUTE,
        sessions: 1,
        ..Limits::default()
    }
}

fn publish(world: &mut World, payloads: std::ops::Range<u32>, topic: &str) {
    let publisher = world.toy(0);
    for number in payloads {
        publisher.publish(world, topic, &number.to_string(), QOS1).ok();
    }
    world.run();
}

/// Settles whatever comes until nothing does; returns the payloads in their order.
fn drain(world: &mut World, consumer: &Toy) -> Vec<String> {
    let mut payloads = Vec::new();
    loop {
        world.run();
        let got = consumer.got();
        if got.is_empty() {
            return payloads;
        }
        let tags: Vec<u64> = got.iter().filter_map(|got| got.tag).collect();
        payloads.extend(got.into_iter().map(|got| got.payload));
        consumer.ask(world, move |broker| {
            tags.iter().for_each(|tag| broker.settle(SESSION, DeliveryTag(*tag), Outcome::Accepted));
        });
    }
}

fn texts(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Also between the start of the next process and the moment at which its client comes back.
#[test]
fn everything_that_is_kept_waits() {
    for overflow in OVERFLOWS {
        let storage = Arc::new(MemoryStorage::new());
        let mut world = World::on_storage(2, limits(overflow), storage.clone());
        let forward = world.attached(1, session("f").credit(1).expiry(Duration::MAX).bounded_by_disk());
        forward.subscribe(&mut world, "a");
        publish(&mut world, 0..700, "a");
        let storage = Arc::new(storage.restart());
        let mut world = World::on_storage(2, limits(overflow), storage.clone());
        world.run();
        publish(&mut world, 700..800, "a");
        // As on any other day there is one more session than may be.
        let forward = world.attached(0, session("f").credit(50).expiry(Duration::MAX).bounded_by_disk());
        publish(&mut world, 800..900, "a");
        let got = drain(&mut world, &forward);
        assert_eq!((got, world.dropped("queue_full")), (texts(0..900), 0), "{overflow:?}");
        assert_eq!(forward.link.ended(), None);
    }
}

/// Neither is it forgotten, nor turned away because there are too many.
#[test]
fn it_is_there_as_long_as_its_client_wants() {
    for has_store in [false, true] {
        let mut world = match has_store {
            false => World::with_limits(1, limits(Overflow::DropNewest)),
            true => World::on_storage(1, limits(Overflow::DropNewest), Arc::new(MemoryStorage::new())),
        };
        let ann = world.attached(0, session("ann"));
        let bob = world.toy(0);
        let refused = bob.attach(&mut world, session("bob"));
        assert!(matches!(refused, Attachment::Refused(Refusal::TooManySessions { limit: 1 })), "{refused:?}");
        let forward = world.attached(0, session("f").expiry(Duration::MAX).bounded_by_disk());
        forward.vanish(&mut world);
        ann.vanish(&mut world);
        world.advance(1000 * HOUR);
        assert_eq!(world.node().gauges().sessions, 1);
        let forward = world.toy(0);
        match forward.attach(&mut world, session("f").expiry(Duration::MAX).bounded_by_disk()) {
            Attachment::Now(attached) => assert!(attached.present && attached.expiry == Duration::MAX),
            other => panic!("{other:?}"),
        }
    }
}

/// Whether it is delivered and not settled, in memory or on the disk.
#[test]
fn it_is_known_how_much_waits() {
    let storage = Arc::new(MemoryStorage::new());
    let mut world = World::on_storage(2, Limits::default(), storage.clone());
    let waiting = |world: &World| world.node().backlog("toy", "f").map(|backlog| backlog.messages);
    assert_eq!((waiting(&world), world.node().backlog("other", "f")), (None, None));
    let forward = world.attached(1, session("f").credit(9).bounded_by_disk());
    assert_eq!(world.node().backlog("toy", "f"), Some(Backlog::default()));
    forward.subscribe(&mut world, "a");
    publish(&mut world, 0..700, "a");
    assert_eq!((waiting(&world), forward.got().len()), (Some(700), 9));
    forward.accept(&mut world, 3);
    forward.ask(&mut world, |broker| broker.settle(SESSION, DeliveryTag(4), Outcome::Released));
    world.run();
    assert_eq!(waiting(&world), Some(699));
    assert!(world.node().backlog("toy", "f").is_some_and(|backlog| backlog.bytes > 698 * 100));
    forward.vanish(&mut world);
    assert_eq!(waiting(&world), Some(699));
    let mut world = World::on_storage(2, Limits::default(), Arc::new(storage.restart()));
    world.run();
    assert_eq!(waiting(&world), Some(699));
    let forward = world.attached(1, session("f").credit(9).bounded_by_disk());
    drain(&mut world, &forward);
    assert_eq!(world.node().backlog("toy", "f"), Some(Backlog::default()));
}

/// Where nothing is kept the usual limits hold, but for what is older than the message that has no room.
#[test]
fn what_is_in_memory_only_has_the_usual_limits() {
    for overflow in OVERFLOWS {
        let mut world = World::with_limits(1, limits(overflow));
        let forward = world.attached(0, session("f").credit(1).bounded_by_disk());
        forward.subscribe(&mut world, "a");
        publish(&mut world, 0..10, "a");
        assert_eq!(world.dropped("queue_full"), 7, "{overflow:?}");
        assert_eq!((drain(&mut world, &forward), forward.link.ended()), (texts(0..3), None));
    }
    let mut world = World::on_storage(1, limits(Overflow::DropNewest), Arc::new(MemoryStorage::new()));
    let forward = world.attached(
        0,
        session("f").credit(1).settlement(tidegate_protocol::Settlement::Always).bounded_by_disk(),
    );
    forward.subscribe(&mut world, "a");
    let publisher = world.toy(0);
    for number in 0..10 {
        publisher.publish(&mut world, "a", &number.to_string(), QOS0).ok();
    }
    publish(&mut world, 10..20, "a");
    let expected: Vec<String> = texts(0..3).into_iter().chain(texts(10..20)).collect();
    assert_eq!((drain(&mut world, &forward), world.dropped("queue_full")), (expected, 7));
}

/// A client without such limits is closed where that is wanted; see above for the other one.
#[test]
fn the_usual_limits_hold_for_others() {
    let mut world = World::on_storage(1, limits(Overflow::Disconnect), Arc::new(MemoryStorage::new()));
    let ann = world.attached(0, session("ann").credit(1));
    ann.subscribe(&mut world, "a");
    publish(&mut world, 0..10, "a");
    assert_eq!(ann.link.ended(), Some(CloseReason::QueueOverflow));
}

//! What a full queue does: drop its oldest message, the arriving one, or end the connection that is too slow.

use crate::{HOUR, MINUTE, QOS0, QOS1, assert_nothing_is_left};
use bytes::Bytes;
use std::time::Duration;
use tidegate_broker::{Limits, Overflow};
use tidegate_message::Topic;
use tidegate_protocol::{CloseReason, Refusal, Will};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, message, session};

fn world(queue_overflow: Overflow, workers: usize) -> World {
    World::with_limits(workers, Limits { queued_messages: 2, queue_overflow, ..Limits::default() })
}

/// A receiver that takes one message at a time, and its publisher.
fn slow_receiver(world: &mut World) -> (Toy, Toy) {
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(world.workers() - 1, session("bob").credit(1));
    bob.subscribe(world, "a");
    (alice, bob)
}

/// The publisher is acknowledged: its message is in the queue.
#[test]
fn the_oldest_that_waits_makes_room() {
    for workers in [1, 2] {
        let mut world = world(Overflow::DropOldest, workers);
        let (alice, bob) = slow_receiver(&mut world);
        for payload in ["1", "2", "3", "4", "5"] {
            assert!(alice.publish(&mut world, "a", payload, QOS1).is_ok());
            world.run();
        }
        assert_eq!((world.dropped("queue_full"), world.node().gauges().queued_messages), (2, 2));
        (1..=3).for_each(|tag| bob.accept(&mut world, tag));
        world.run();
        assert_eq!(bob.got_payloads(), ["1", "4", "5"]);
    }
}

/// [MQTT-4.4.0-1]: what the client may have is not thrown away for what is new.
#[test]
fn what_was_begun_is_not_dropped_while_the_client_is_away() {
    let mut world = world(Overflow::DropOldest, 1);
    let (alice, bob) = slow_receiver(&mut world);
    alice.publish(&mut world, "a", "begun", QOS1).unwrap();
    world.run();
    bob.got();
    bob.vanish(&mut world);
    for payload in ["1", "2", "3"] {
        alice.publish(&mut world, "a", payload, QOS1).unwrap();
    }
    let bob = world.attached(0, session("bob"));
    world.run();
    assert_eq!((bob.got_payloads(), world.dropped("queue_full")), (vec!["begun".into(), "3".to_owned()], 2));
}

/// A message that could never fit drops nothing for itself.
#[test]
fn a_message_larger_than_the_queue_drops_nothing() {
    let limits = Limits { queued_bytes: 1000, queue_overflow: Overflow::DropOldest, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let (alice, bob) = slow_receiver(&mut world);
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    alice.publish(&mut world, "a", "2", QOS1).unwrap();
    assert_eq!(alice.publish(&mut world, "a", &"x".repeat(2000), QOS1), Err(Refusal::QueueFull));
    bob.accept(&mut world, 1);
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2"]);
}

#[test]
fn the_oldest_of_a_group_makes_room_as_well() {
    let mut world = world(Overflow::DropOldest, 1);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    bob.join(&mut world, "g", "a");
    for payload in ["1", "2", "3", "4"] {
        alice.publish(&mut world, "a", payload, QOS1).unwrap();
    }
    assert_eq!(world.dropped("queue_full"), 1);
    (1..=3).for_each(|tag| bob.accept(&mut world, tag));
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "3", "4"]);
}

/// A client whose own messages fill its queue in one input loses the oldest of them.
#[test]
fn own_messages_make_room_for_newer_ones() {
    let mut world = world(Overflow::DropOldest, 1);
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.ask(&mut world, |broker| {
        for payload in ["1", "2", "3"] {
            broker.publish(&message("a", payload, QOS0)).unwrap();
        }
    });
    world.run();
    assert_eq!((bob.got_payloads(), world.dropped("queue_full")), (vec!["2".into(), "3".to_owned()], 1));
}

/// Messages and bytes both do it; the session and what waits in it stay, and while its client is away the arriving message is dropped.
#[test]
fn a_receiver_that_is_too_slow_is_disconnected() {
    let limits = [
        Limits { queued_messages: 2, ..Limits::default() },
        Limits { queued_bytes: 1200, ..Limits::default() },
    ];
    for (workers, limits) in
        [1, 2].into_iter().flat_map(|workers| limits.clone().map(|limits| (workers, limits)))
    {
        let limits = Limits { queue_overflow: Overflow::Disconnect, ..limits };
        let mut world = World::with_limits(workers, limits);
        let (alice, bob) = slow_receiver(&mut world);
        let mut published = 0;
        while !bob.link.is_ended() {
            published += 1;
            let payload = format!("{published:0300}");
            let _ = alice.publish(&mut world, "a", &payload, QOS1);
            world.run();
            assert!(published < 10);
        }
        assert_eq!((bob.link.ended(), world.dropped("queue_full")), (Some(CloseReason::QueueOverflow), 1));
        let kept = world.node().gauges().queued_messages;
        let _ = alice.publish(&mut world, "a", "while away", QOS1);
        world.run();
        assert_eq!(world.dropped("queue_full"), 2);
        let bob = world.attached(0, session("bob"));
        world.run();
        assert_eq!((bob.got_payloads().len(), kept), (published - 1, published - 1));
    }
}

/// A connection may fill its own queue, and one that is closed may fill another's by its will.
#[test]
fn an_overflow_may_cause_the_next() {
    let mut world = world(Overflow::Disconnect, 1);
    let will = Will {
        topic: Topic::parse(b"wills").unwrap(),
        payload: Bytes::new(),
        qos: QOS1,
        retain: false,
        properties: None,
        expiry: None,
        delay: Duration::ZERO,
    };
    let first = world.attached(0, session("first").expiry(Duration::ZERO).will(will));
    let second = world.attached(0, session("second").credit(1).expiry(Duration::ZERO));
    first.subscribe(&mut world, "a");
    second.subscribe(&mut world, "wills");
    let bystander = world.attached(0, session("bystander").expiry(MINUTE));
    for _ in 0..3 {
        bystander.publish(&mut world, "wills", "x", QOS1).unwrap();
    }
    assert!(!second.link.is_ended());
    first.ask(&mut world, |broker| {
        let answers = [(); 3].map(|()| broker.publish(&message("a", "x", QOS0)).is_ok());
        assert_eq!(answers, [true, true, false]);
    });
    world.run();
    let ended = [&first, &second].map(|toy| toy.link.ended());
    assert_eq!(ended, [Some(CloseReason::QueueOverflow); 2]);
    assert!(!bystander.link.is_ended());
    world.end_everything(HOUR);
    assert_nothing_is_left(&world);
}

/// `queue_overflow = "keep-last"`: of each topic the newest waits, the arriving one counted, and what is under way stays.
#[test]
fn the_last_value_of_each_topic_stays_in_a_full_queue() {
    for workers in [1, 2] {
        let mut world = world(Overflow::KeepLast, workers);
        let alice = world.attached(0, session("alice"));
        let bob = world.attached(workers - 1, session("bob").credit(1));
        bob.subscribe(&mut world, "+");
        for (topic, payload) in
            [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2"), ("a", "a3"), ("b", "b3"), ("c", "c1")]
        {
            let is_taken = alice.publish(&mut world, topic, payload, QOS1).is_ok();
            assert!(is_taken || topic == "c" && workers == 1, "{payload}");
            world.run();
        }
        assert_eq!((world.dropped("superseded"), world.dropped("queue_full")), (3, 1));
        (1..=3).for_each(|tag| bob.accept(&mut world, tag));
        world.run();
        assert_eq!(bob.got_payloads(), ["a1", "a3", "b3"], "{workers} workers");
    }
}

/// The same in the queue that members share, and what is too large for the place of the one before it drops nothing.
#[test]
fn the_last_value_of_each_topic_stays_in_a_full_group() {
    let limits = Limits { queued_bytes: 2000, queue_overflow: Overflow::KeepLast, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    bob.join(&mut world, "g", "+");
    let large = "x".repeat(600);
    for (topic, payload) in [("a", "1"), ("a", &*large), ("a", "3"), ("b", &*large), ("a", "5"), ("b", "6")] {
        alice.publish(&mut world, topic, payload, QOS1).unwrap();
    }
    assert_eq!(alice.publish(&mut world, "a", &"x".repeat(1900), QOS1), Err(Refusal::QueueFull));
    assert!(world.dropped("superseded") > 0);
    (1..=9).for_each(|tag| bob.accept(&mut world, tag));
    world.run();
    let got = bob.got_payloads();
    assert_eq!((got.first().map(String::as_str), got.last().map(String::as_str)), (Some("1"), Some("6")));
    assert!(got.contains(&"5".to_owned()), "{got:?}");
}

/// A transaction finds the room that a message would find.
#[test]
fn a_batch_finds_the_room_that_older_values_leave() {
    let mut world = world(Overflow::KeepLast, 1);
    let (alice, bob) = slow_receiver(&mut world);
    for payload in ["1", "2", "3"] {
        alice.publish(&mut world, "a", payload, QOS1).unwrap();
    }
    let batch =
        |broker: &mut dyn tidegate_protocol::Broker| broker.publish_all(&[message("a", "4", QOS1)]).map(drop);
    assert_eq!(alice.ask(&mut world, batch), Ok(()));
    (1..=3).for_each(|tag| bob.accept(&mut world, tag));
    world.run();
    assert_eq!(
        (bob.got_payloads(), world.dropped("superseded")),
        (vec!["1".into(), "3".into(), "4".to_owned()], 1)
    );
}

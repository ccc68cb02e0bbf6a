//! Peers that do not read: what waits, where, and how it goes on.

use crate::{HOUR, QOS0, QOS1, assert_nothing_is_left};
use tidegate_broker::Limits;
use tidegate_protocol::CloseReason;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, session};

fn slow_world(workers: usize) -> (World, Toy, Toy) {
    let mut world = World::with_limits(workers, Limits { output_bytes: 100, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(workers - 1, session("bob").credit(1000));
    bob.subscribe(&mut world, "a");
    (world, alice, bob)
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn what_a_blocked_peer_cannot_take_waits_and_comes_in_order() {
    for workers in [1, 2] {
        let (mut world, alice, bob) = slow_world(workers);
        world.block(&bob.link);
        for (at, number) in numbers(100).iter().enumerate() {
            alice.publish(&mut world, "a", number, if at % 3 == 0 { QOS0 } else { QOS1 }).unwrap();
            if at % 10 == 0 {
                world.run();
            }
        }
        world.run();
        assert!(world.node().gauges().queued_messages > 80);
        world.unblock(&bob.link);
        alice.publish(&mut world, "a", "last", QOS0).unwrap();
        world.run();
        let mut expected = numbers(100);
        expected.push("last".to_owned());
        assert_eq!(bob.got_payloads(), expected);
        assert_eq!(world.node().gauges().queued_messages, 0);
    }
}

#[test]
fn a_peer_that_reads_little_by_little_gets_everything_in_order() {
    let (mut world, alice, bob) = slow_world(1);
    world.block(&bob.link);
    for number in numbers(50) {
        alice.publish(&mut world, "a", &number, QOS1).unwrap();
        world.run();
    }
    for _ in 0..1000 {
        world.block_after(&bob.link, 7);
        world.run();
    }
    assert_eq!(bob.got_payloads(), numbers(50));
}

/// A slow subscriber never slows the others.
#[test]
fn a_blocked_peer_does_not_hold_up_others() {
    let (mut world, alice, bob) = slow_world(1);
    let carol = world.attached(0, session("carol").credit(1000));
    carol.subscribe(&mut world, "a");
    world.block(&bob.link);
    for number in numbers(50) {
        alice.publish(&mut world, "a", &number, QOS1).unwrap();
    }
    world.run();
    assert_eq!((carol.got_payloads(), bob.got_payloads()), (numbers(50), vec![]));
}

#[test]
fn a_connection_with_a_full_output_is_stalled_until_it_is_flushed() {
    let (mut world, alice, bob) = slow_world(1);
    world.block(&bob.link);
    for number in numbers(20) {
        alice.publish(&mut world, "a", &number, QOS1).unwrap();
    }
    world.run();
    assert!(world.shard(0).is_stalled(bob.link.key()));
    world.unblock(&bob.link);
    world.run();
    assert!(!world.shard(0).is_stalled(bob.link.key()));
}

#[test]
fn the_session_of_a_peer_that_never_reads_keeps_what_it_missed() {
    let (mut world, alice, bob) = slow_world(1);
    world.block(&bob.link);
    for number in numbers(20) {
        alice.publish(&mut world, "a", &number, QOS1).unwrap();
    }
    world.run();
    world.close(&bob.link, CloseReason::OutputStalled);
    assert_eq!((bob.got_payloads(), world.node().gauges().queued_messages), (vec![], 20));
    let bob = world.attached(0, session("bob").credit(1000));
    world.run();
    assert_eq!(bob.got_payloads(), numbers(20));
    world.end_everything(HOUR);
    assert_nothing_is_left(&world);
}

/// The messages that a connection's own input causes wait like all others.
#[test]
fn own_messages_wait_for_room_in_the_output() {
    let (mut world, _, bob) = slow_world(1);
    world.block(&bob.link);
    for number in numbers(4) {
        bob.publish(&mut world, "a", &number, QOS1).unwrap();
    }
    bob.ask(&mut world, |broker| {
        for number in numbers(20).iter().skip(4) {
            broker.publish(&tidegate_testkit::pair::toy::message("a", number, QOS1)).unwrap();
        }
    });
    world.run();
    world.unblock(&bob.link);
    world.run();
    assert_eq!(bob.got_payloads(), numbers(20));
}

/// Room that a flush in the middle of a turn makes is used, and what waited before comes first.
#[test]
fn a_peer_that_reads_again_before_the_driver_notices_gets_everything_in_order() {
    let (mut world, alice, bob) = slow_world(1);
    world.block_after(&bob.link, 10);
    for number in numbers(30) {
        alice.publish(&mut world, "a", &number, QOS1).unwrap();
    }
    world.run();
    for number in numbers(60).iter().skip(30) {
        alice.publish(&mut world, "a", number, QOS0).unwrap();
    }
    world.unblock(&bob.link);
    world.run();
    assert_eq!(bob.got_payloads(), numbers(60));
}

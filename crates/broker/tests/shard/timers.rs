//! Machine timeouts and what closed connections leave behind.

use crate::{HOUR, MINUTE};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_protocol::CloseReason;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::session;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_timeout_is_handled_when_it_comes() {
    let mut world = World::new(1);
    let toy = world.toy(0);
    let at = world.now + MINUTE;
    toy.set_timeout(&mut world, Some(at), false);
    assert_eq!(world.shard(0).next_timer(), Some(at));
    world.advance(MINUTE - SECOND);
    assert_eq!(toy.timeouts(), 0);
    world.advance(SECOND);
    assert_eq!((toy.timeouts(), world.shard(0).next_timer()), (1, None));
}

#[test]
fn a_timeout_may_move_later() {
    let mut world = World::new(1);
    let toy = world.toy(0);
    let start = world.now;
    toy.set_timeout(&mut world, Some(start + MINUTE), true);
    toy.set_timeout(&mut world, Some(start + 2 * MINUTE), true);
    world.advance(MINUTE);
    assert!(!toy.link.is_ended());
    assert_eq!(world.shard(0).next_timer(), Some(start + 2 * MINUTE));
    world.advance(MINUTE);
    assert_eq!(toy.link.ended(), Some(CloseReason::KeepAliveTimeout));
}

#[test]
fn a_timeout_may_move_earlier_and_the_driver_is_told() {
    let mut world = World::new(1);
    let toy = world.toy(0);
    let start = world.now;
    toy.set_timeout(&mut world, Some(start + HOUR), false);
    assert!(world.shard(0).take_timer_moved());
    toy.set_timeout(&mut world, Some(start + MINUTE), false);
    assert!(world.shard(0).take_timer_moved());
    assert_eq!(world.shard(0).next_timer(), Some(start + MINUTE));
    world.advance(MINUTE);
    assert_eq!(toy.timeouts(), 1);
    world.advance(HOUR);
    assert_eq!(toy.timeouts(), 1);
}

/// A delivery may be what a machine wants a timeout for, and nothing may come from its peer afterwards.
#[test]
fn a_timeout_that_a_delivery_asked_for_is_handled_when_it_comes() {
    let mut world = World::new(2);
    let publisher = world.attached(0, session("p"));
    for worker in [0, 1] {
        let receiver = world.attached(worker, session(&format!("r{worker}")));
        receiver.subscribe(&mut world, "a");
        receiver.set_timeout_silently(world.now + MINUTE);
        publisher.publish(&mut world, "a", "1", QoS::AtLeastOnce).unwrap();
        world.advance(MINUTE - SECOND);
        assert_eq!(receiver.timeouts(), 0);
        world.advance(SECOND);
        assert_eq!(receiver.timeouts(), 1);
    }
}

#[test]
fn the_timer_of_a_closed_connection_does_nothing_to_its_successor() {
    let mut world = World::new(1);
    let toy = world.toy(0);
    let at = world.now + MINUTE;
    toy.set_timeout(&mut world, Some(at), true);
    toy.vanish(&mut world);
    let successor = world.toy(0);
    world.advance(HOUR);
    assert!(!successor.link.is_ended());
    assert_eq!((successor.timeouts(), world.shard(0).next_timer()), (0, None));
}

/// Connections that come and go must not leave a timer each: a keep-alive may be 18 hours long.
#[test]
fn the_timers_of_closed_connections_are_not_kept() {
    let mut world = World::new(1);
    let start = world.now;
    for number in 0..10_000 {
        let toy = world.toy(0);
        toy.set_timeout(&mut world, Some(start + HOUR + number * SECOND), false);
        toy.vanish(&mut world);
    }
    world.run();
    // Those that are left show themselves by what the shard waits for next.
    let left = std::iter::from_fn(|| {
        let next = world.shard(0).next_timer()?;
        world.shard(0).handle_timers(next);
        Some(next)
    });
    let left = left.count();
    assert!(left <= 1000, "{left} timers of connections that are closed");
}

#[test]
fn closed_connections_leave_no_slot() {
    let mut world = World::new(2);
    for _ in 0..10 {
        let toy = world.toy(1);
        toy.vanish(&mut world);
        assert_eq!(toy.link.ended(), Some(CloseReason::PeerClosed));
        let now = world.now;
        assert_eq!(world.shard(1).handle_bytes(toy.link.key(), b"x", now), tidegate_broker::Fed::Closed);
    }
    assert_eq!((world.shard(1).connection_count(), world.shard(1).connections().len()), (0, 0));
}

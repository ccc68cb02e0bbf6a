//! Other rules for a node that runs: what they hold for, who is told, and who does not notice.

use crate::{MINUTE, QOS1};
use std::time::Duration;
use tidegate_broker::{Limits, QueuePolicies, Reconfiguration, TopicPolicies};
use tidegate_protocol::{CloseReason, Refusal};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::session;

fn reconfigure(world: &mut World, limits: Limits) {
    world.node().reconfigure(Reconfiguration {
        limits,
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
    });
    world.run();
}

#[test]
fn a_lower_limit_holds_for_queues_that_exist() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe(&mut world, "a");
    for number in ["1", "2", "3"] {
        alice.publish(&mut world, "a", number, QOS1).unwrap();
    }
    reconfigure(&mut world, Limits { queued_messages: 2, ..Limits::default() });
    assert_eq!(alice.publish(&mut world, "a", "4", QOS1), Err(Refusal::QueueFull));
    (1..=3).for_each(|tag| bob.accept(&mut world, tag));
    alice.publish(&mut world, "a", "5", QOS1).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2", "3", "5"]);
}

#[test]
fn new_limits_reach_every_worker() {
    let mut world = World::new(2);
    let toys = [world.attached(0, session("alice")), world.attached(1, session("bob"))];
    reconfigure(&mut world, Limits { topic_bytes: 3, ..Limits::default() });
    for toy in &toys {
        let refused = toy.publish(&mut world, "long", "x", QOS1);
        assert_eq!(refused, Err(Refusal::TopicTooLong { bytes: 4, limit: 3 }));
        assert!(toy.publish(&mut world, "abc", "x", QOS1).is_ok());
    }
    reconfigure(&mut world, Limits::default());
    assert!(toys[0].publish(&mut world, "long", "x", QOS1).is_ok());
}

#[test]
fn sessions_that_exist_stay_when_fewer_may_be() {
    let mut world = World::new(1);
    let attaching = session("kept").expiry(MINUTE);
    world.attached(0, attaching.clone()).vanish(&mut world);
    reconfigure(&mut world, Limits { sessions: 1, ..Limits::default() });
    assert!(matches!(
        world.toy(0).attach(&mut world, session("new")),
        tidegate_protocol::Attachment::Refused(_)
    ));
    world.attached(0, attaching);
}

/// Those that may not stay are closed for the reason that the driver gives; everybody else stays, however many there are.
#[test]
fn connections_that_may_not_stay_are_closed_and_no_others() {
    let mut world = World::new(2);
    let toys: Vec<_> = (0..200).map(|number| world.toy(number % 2)).collect();
    for toy in toys.iter().step_by(3) {
        toy.link.object(CloseReason::NotAuthorized);
    }
    world.run();
    assert!(toys.iter().all(|toy| !toy.link.is_ended()), "nobody has been asked yet");
    reconfigure(&mut world, Limits::default());
    world.advance(Duration::ZERO);
    for (number, toy) in toys.iter().enumerate() {
        let expected = (number % 3 == 0).then_some(CloseReason::NotAuthorized);
        assert_eq!(toy.link.ended(), expected, "connection {number}");
    }
    assert_eq!([world.shard(0).next_timer(), world.shard(1).next_timer()], [None, None]);
}

/// One turn looks at a few: the others get theirs in between.
#[test]
fn the_look_at_all_connections_takes_several_turns() {
    let mut world = World::new(1);
    let toys: Vec<_> = (0..100).map(|_| world.toy(0)).collect();
    toys.iter().for_each(|toy| toy.link.object(CloseReason::ListenerClosed));
    reconfigure(&mut world, Limits::default());
    let now = world.now;
    world.shard(0).handle_timers(now);
    let left = world.shard(0).connection_count();
    assert!((1..100).contains(&left), "{left}");
    world.advance(Duration::ZERO);
    assert_eq!(world.shard(0).connection_count(), 0);
}

/// A fleet whose sessions expire at the same moment is looked after in many turns, and completely.
#[test]
fn a_fleet_that_expires_takes_several_turns() {
    let mut world = World::new(1);
    for number in 0..1000 {
        world.attached(0, session(&format!("device-{number}")).expiry(MINUTE)).vanish(&mut world);
    }
    world.now += MINUTE;
    let now = world.now;
    world.shard(0).handle_timers(now);
    let left = world.node().gauges().sessions;
    assert!((1..1000).contains(&left), "{left}");
    assert!(world.shard(0).next_timer().is_some_and(|at| at <= now), "the rest is due");
    world.advance(Duration::ZERO);
    assert_eq!(world.node().gauges().sessions, 0);
}

//! What bounds a group, and that nothing is left of it.

use crate::sharing::{member, publish_all, short};
use crate::{HOUR, QOS1, assert_nothing_is_left};
use tidegate_broker::Limits;
use tidegate_protocol::{Refusal, Subscribe};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::session;

/// The limits of a queue are those of a group's queue, and the publisher is told.
#[test]
fn a_full_group_refuses_and_counts() {
    let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = member(&mut world, 0, session("bob").credit(1));
    publish_all(&mut world, &alice, &["1", "2", "3"]);
    assert_eq!(alice.publish(&mut world, "a", "4", QOS1), Err(Refusal::QueueFull));
    assert_eq!(world.dropped("queue_full"), 1);
    bob.accept(&mut world, 1);
    publish_all(&mut world, &alice, &["5"]);
    bob.accept(&mut world, 2);
    bob.accept(&mut world, 3);
    bob.accept(&mut world, 4);
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2", "3", "5"]);
}

/// Filters of either kind count against the session's limit and that of all sessions.
#[test]
fn memberships_count_against_the_limits() {
    let limits = Limits { subscriptions_per_session: 2, subscriptions: 3, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let [alice, bob] = ["alice", "bob"].map(|name| world.attached(0, session(name)));
    alice.subscribe(&mut world, "a");
    alice.join(&mut world, "g", "a");
    let share = |subscribe: &mut Subscribe<'_>| subscribe.share = Some("h");
    assert_eq!(alice.subscribe_with(&mut world, "a", share), Err(Refusal::TooManySubscriptions { limit: 2 }));
    bob.join(&mut world, "g", "a");
    assert_eq!(bob.subscribe_with(&mut world, "a", share), Err(Refusal::SubscriptionsFull));
    assert!(alice.leave_group(&mut world, "g", "a"));
    bob.join(&mut world, "h", "a");
    let long: &'static str = "x".repeat(5000).leak();
    let refused = bob.subscribe_with(&mut world, "a", move |subscribe| subscribe.share = Some(long));
    assert_eq!(refused, Err(Refusal::TopicTooLong { bytes: 5001, limit: 4096 }));
}

/// A group ends with its last member, and what waits in it is counted.
#[test]
fn nothing_is_left_of_a_group_without_members() {
    let mut world = World::new(2);
    let alice = world.attached(0, short("alice"));
    let bob = member(&mut world, 1, session("bob").credit(1));
    publish_all(&mut world, &alice, &["1", "2", "3"]);
    bob.leave_group(&mut world, "g", "a");
    assert_eq!((world.node().gauges().subscriptions, world.dropped("session_ended")), (0, 2));
    member(&mut world, 0, session("carol")).vanish(&mut world);
    publish_all(&mut world, &alice, &["4"]);
    alice.vanish(&mut world);
    world.end_everything(HOUR);
    assert_nothing_is_left(&world);
    // And what bob had under way, and what waited for carol.
    assert_eq!(world.dropped("session_ended"), 4);
}

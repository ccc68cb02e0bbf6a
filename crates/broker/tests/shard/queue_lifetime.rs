//! How named queues go again, and that nothing is lost when they do.

use crate::queues::{attempts, consumer, publish, subscriber};
use crate::{MINUTE, QOS1, QOS2};
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_protocol::Refusal;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::session;

const SECOND: Duration = Duration::from_secs(1);
const FOUR: Duration = Duration::from_secs(4 * 60);

fn queues(world: &World) -> usize {
    world.node().gauges().named_queues
}

#[test]
fn a_queue_that_nobody_uses_goes_after_its_time() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let stomp = consumer(&mut world, worker, 10);
        world.advance(20 * MINUTE);
        assert_eq!(queues(&world), 1, "it has a consumer");
        stomp.vanish(&mut world);
        world.advance(FOUR);
        assert_eq!(queues(&world), 1);
        world.advance(MINUTE + SECOND);
        crate::assert_nothing_is_left(&world);
        assert_eq!(queues(&world), 0);
    }
}

#[test]
fn a_queue_in_which_something_waits_stays() {
    let mut world = World::new(1);
    let alice = world.toy(0);
    publish(&mut world, &alice, &["1"], QOS1);
    world.advance(60 * MINUTE);
    let bob = subscriber(&mut world, 0, "bob", 10);
    world.run();
    assert_eq!(bob.got_payloads(), ["1"]);
}

/// A subscription that lives on with its session keeps its queue.
#[test]
fn a_session_that_is_away_keeps_the_queue() {
    let mut world = World::new(2);
    let bob = subscriber(&mut world, 0, "bob", 10);
    bob.vanish(&mut world);
    world.advance(30 * MINUTE);
    assert_eq!(queues(&world), 1);
    let alice = world.toy(1);
    publish(&mut world, &alice, &["1"], QOS1);
    let bob = world.attached(1, session("bob"));
    world.run();
    assert_eq!(bob.got_payloads(), ["1"]);
}

/// A message that is under way by letter while its queue goes: the queue is made again where it was.
#[test]
fn a_message_under_way_outlives_its_queue() {
    for publisher in [1, 2] {
        let mut world = World::new(3);
        consumer(&mut world, 0, 10).vanish(&mut world);
        let alice = world.toy(publisher);
        world.now += 2 * FOUR;
        // It is sent to the home while the queue stands, and read there when it has gone.
        alice.publish(&mut world, "$queue/orders", "1", QOS1).unwrap();
        let now = world.now;
        world.shard(0).handle_timers(now);
        assert_eq!(queues(&world), 0);
        // Meanwhile somebody else begins it again, and the same publisher goes on.
        let other = world.toy(3 - publisher);
        other.publish(&mut world, "$queue/orders", "other", QOS1).unwrap();
        alice.publish(&mut world, "$queue/orders", "2", QOS1).unwrap();
        world.run();
        let bob = subscriber(&mut world, 1, "bob", 10);
        world.run();
        let mut got = bob.got_payloads();
        got.retain(|payload| payload != "other");
        assert_eq!(got, ["1", "2"], "nothing is lost, and the publisher's order is kept");
        bob.vanish(&mut world);
    }
}

/// The same where nobody makes it again before the letter is read.
#[test]
fn a_message_under_way_makes_its_queue_again() {
    let mut world = World::new(2);
    consumer(&mut world, 0, 10).vanish(&mut world);
    let alice = world.toy(1);
    world.now += 2 * FOUR;
    alice.publish(&mut world, "$queue/orders", "1", QOS1).unwrap();
    let now = world.now;
    world.shard(0).handle_timers(now);
    assert_eq!(queues(&world), 0);
    world.run();
    assert_eq!((queues(&world), world.node().gauges().named_queue_messages), (1, 1));
}

/// What a session holds at level 2 comes back to a queue that has gone meanwhile, before what is new there.
#[test]
fn what_comes_back_finds_its_queue_again() {
    let mut world = World::new(2);
    let alice = world.toy(1);
    let bob = subscriber(&mut world, 0, "bob", 10);
    publish(&mut world, &alice, &["1", "2"], QOS2);
    assert!(bob.unsubscribe(&mut world, "$queue/orders"));
    bob.vanish(&mut world);
    world.advance(10 * MINUTE);
    assert_eq!(queues(&world), 0);
    publish(&mut world, &alice, &["3"], QOS1);
    world.advance(60 * MINUTE);
    let stomp = consumer(&mut world, 1, 10);
    world.run();
    assert_eq!(attempts(&stomp), [("1".to_owned(), 2), ("2".to_owned(), 2), ("3".to_owned(), 1)]);
}

/// What is remembered of queues that went is forgotten when every worker has answered.
#[test]
fn a_queue_may_begin_elsewhere_when_nothing_is_under_way() {
    let mut world = World::new(2);
    consumer(&mut world, 0, 10).vanish(&mut world);
    world.advance(2 * FOUR);
    assert_eq!(queues(&world), 0);
    let alice = world.toy(1);
    publish(&mut world, &alice, &["1"], QOS1);
    assert!(!world.has_mail(0), "its home is where it is used now");
    let bob = subscriber(&mut world, 1, "bob", 10);
    world.run();
    assert_eq!(bob.got_payloads(), ["1"]);
}

/// One client cannot keep the others from making queues by names that it has used and left.
#[test]
fn an_unused_queue_goes_for_a_new_one_where_there_are_too_many() {
    for worker in [0, 1, 2] {
        let mut world = World::with_limits(3, Limits { queues: 2, ..Limits::default() });
        let bob = world.attached(0, session("bob"));
        for name in ["$queue/a", "$queue/b"] {
            bob.subscribe(&mut world, name);
            assert!(bob.unsubscribe(&mut world, name));
        }
        assert_eq!(queues(&world), 2);
        let alice = world.toy(worker);
        for name in ["$queue/c", "$queue/d"] {
            alice.publish(&mut world, name, name, QOS1).unwrap();
            world.run();
        }
        let full = Err(Refusal::TooManyQueues { limit: 2 });
        assert_eq!(alice.publish(&mut world, "$queue/e", "x", QOS1), full, "in both something waits");
        let carol = world.attached(1, session("carol"));
        assert_eq!(carol.subscribe_with(&mut world, "$queue/e", |_| {}).err(), full.err());
        carol.subscribe(&mut world, "$queue/c");
        world.run();
        assert_eq!(carol.got_payloads(), ["$queue/c"]);
        assert_eq!(alice.publish(&mut world, "$queue/e", "x", QOS1), full, "one has a consumer");
        assert!(carol.unsubscribe(&mut world, "$queue/c"));
        carol.subscribe(&mut world, "$queue/e");
        alice.publish(&mut world, "$queue/e", "x", QOS1).unwrap();
        world.run();
        assert_eq!((carol.got_payloads(), queues(&world)), (vec!["x".to_owned()], 2));
        world.advance(60 * MINUTE);
        assert_eq!(world.node().gauges().named_queue_messages, 1);
    }
}

/// Something is under way to it from another worker: it is no unused one.
#[test]
fn a_queue_to_which_something_is_under_way_does_not_go_for_a_new_one() {
    let mut world = World::with_limits(2, Limits { queues: 1, ..Limits::default() });
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "$queue/a");
    assert!(bob.unsubscribe(&mut world, "$queue/a"));
    let alice = world.toy(1);
    alice.publish(&mut world, "$queue/a", "1", QOS1).unwrap();
    let full = Err(Refusal::TooManyQueues { limit: 1 });
    assert_eq!(alice.publish(&mut world, "$queue/b", "2", QOS1), full);
    world.run();
    bob.subscribe(&mut world, "$queue/a");
    world.run();
    assert_eq!(bob.got_payloads(), ["1"]);
}

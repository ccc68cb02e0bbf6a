//! Policies of named queues: how long and how much waits, how often it is delivered, and where it goes in the end.

use crate::queues::{attempts, consume, consumer, publish, settle, subscriber};
use crate::witness::{Seen, Witness};
use crate::{HOUR, MINUTE, QOS0, QOS1};
use std::time::Duration;
use tidegate_broker::{QueueOverflow, QueuePolicy};
use tidegate_message::{Properties, Topic, TopicFilter};
use tidegate_protocol::{Broker, Outcome, Publish, Refusal, Refused};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, message, session};

const SECOND: Duration = Duration::from_secs(1);
const DEAD: &str = "$queue/dead";

fn policy(queues: &str) -> QueuePolicy {
    let queues = vec![TopicFilter::parse(queues.as_bytes()).unwrap()];
    QueuePolicy { queues, ..QueuePolicy::default() }
}

fn topic(text: &str) -> Option<Topic> {
    Some(Topic::parse(text.as_bytes()).unwrap())
}

/// A world whose queue of orders has this policy.
fn world_with(policy_of_orders: impl FnOnce(&mut QueuePolicy)) -> World {
    let mut world = World::new(2);
    let mut orders = policy("$queue/orders");
    policy_of_orders(&mut orders);
    world.set_queue_policies(vec![orders]);
    world
}

/// Who reads the dead letters.
fn undertaker(world: &mut World, worker: usize) -> Toy {
    let toy = world.attached(worker, session("undertaker").credit(1000));
    toy.subscribe(world, DEAD);
    toy
}

fn waiting(world: &World) -> usize {
    world.node().gauges().named_queue_messages
}

fn dead_letters(world: &World, reason: &str) -> u64 {
    let of = |worker: &std::sync::Arc<tidegate_broker::WorkerMetrics>| {
        worker.dead_letters().get(reason).copied().unwrap_or_default()
    };
    world.node().metrics().iter().map(of).sum()
}

#[test]
fn a_message_that_comes_back_too_often_is_a_dead_letter() {
    for worker in [0, 1] {
        let mut world = world_with(|policy| (policy.delivery_limit, policy.dead_letter) = (2, topic(DEAD)));
        let alice = world.toy(0);
        let dead = undertaker(&mut world, 1 - worker);
        let stomp = consumer(&mut world, worker, 1);
        publish(&mut world, &alice, &["1", "2"], QOS1);
        settle(&mut world, &stomp, 1, Outcome::Released);
        settle(&mut world, &stomp, 2, Outcome::Released);
        assert_eq!(attempts(&stomp), [("1".to_owned(), 1), ("1".to_owned(), 2), ("2".to_owned(), 1)]);
        let got = dead.got();
        assert_eq!((got.len(), got[0].payload.as_str(), got[0].topic.as_str()), (1, "1", DEAD));
        assert_eq!((got[0].attempt, got[0].redelivered), (1, false), "it is new there");
        assert_eq!(dead_letters(&world, "delivery_limit"), 1);
        stomp.vanish(&mut world);
        let stomp = consumer(&mut world, worker, 1);
        world.run();
        stomp.vanish(&mut world);
        world.run();
        assert_eq!(dead.got_payloads(), ["2"], "connections that are lost count as well");
    }
}

#[test]
fn without_a_place_for_them_the_dead_are_counted() {
    let mut world = world_with(|policy| {
        (policy.delivery_limit, policy.message_ttl) = (1, Some(MINUTE));
        (policy.max_messages, policy.overflow) = (Some(1), QueueOverflow::DropOldest);
    });
    let alice = world.toy(0);
    let stomp = consumer(&mut world, 0, 1);
    publish(&mut world, &alice, &["1", "2"], QOS1);
    settle(&mut world, &stomp, 1, Outcome::Released);
    settle(&mut world, &stomp, 2, Outcome::Rejected);
    publish(&mut world, &alice, &["3", "4", "5"], QOS1);
    world.advance(2 * MINUTE);
    for reason in ["delivery_limit", "rejected", "queue_full", "expired"] {
        assert_eq!(world.dropped(reason), 1, "{reason}");
    }
    assert_eq!(world.node().gauges().named_queue_messages, 0);
}

#[test]
fn a_rejected_message_is_a_dead_letter_at_once() {
    let mut world = world_with(|policy| policy.dead_letter = topic(DEAD));
    let alice = world.toy(0);
    let stomp = consumer(&mut world, 1, 10);
    publish(&mut world, &alice, &["1"], QOS0);
    settle(&mut world, &stomp, 1, Outcome::Rejected);
    let dead = undertaker(&mut world, 0);
    world.run();
    assert_eq!(dead.got_payloads(), ["1"], "it has waited in a queue that nobody had made");
    assert_eq!((world.dropped("rejected"), dead_letters(&world, "rejected")), (0, 1));
}

/// What no consumer's protocol can take must not be lost without a word.
#[test]
fn what_a_consumer_cannot_take_is_a_dead_letter() {
    for waits in [false, true] {
        let mut world = world_with(|policy| policy.dead_letter = topic(DEAD));
        let alice = world.toy(0);
        let dead = undertaker(&mut world, 0);
        if waits {
            publish(&mut world, &alice, &["1"], QOS1);
        }
        let stomp = world.toy(0);
        stomp.set_refuse(Some(Refused::TooLargeForPeer));
        consume(&mut world, &stomp, 10);
        if !waits {
            publish(&mut world, &alice, &["1"], QOS1);
        }
        world.run();
        assert_eq!(dead.got_payloads(), ["1"]);
        assert_eq!(dead_letters(&world, "too_large_for_peer"), 1);
    }
}

/// Without a consumer too: somebody waits for the dead letters.
#[test]
fn what_waits_too_long_dies_in_time() {
    for worker in [0, 1] {
        let mut world =
            world_with(|policy| (policy.message_ttl, policy.dead_letter) = (Some(MINUTE), topic(DEAD)));
        let alice = world.toy(worker);
        let dead = undertaker(&mut world, 1);
        publish(&mut world, &alice, &["1"], QOS1);
        let expiry = |publish: &mut Publish<'_>| publish.expiry = Some(SECOND);
        alice.publish_with(&mut world, "$queue/orders", "2", QOS1, expiry).unwrap();
        let expiry = |publish: &mut Publish<'_>| publish.expiry = Some(HOUR);
        alice.publish_with(&mut world, "$queue/orders", "3", QOS1, expiry).unwrap();
        world.run();
        for (seconds, expected) in [(2, &["2"][..]), (56, &[]), (2, &["1", "3"])] {
            world.advance(Duration::from_secs(seconds));
            assert_eq!(dead.got_payloads(), expected);
        }
        assert_eq!(dead_letters(&world, "expired"), 3);
    }
}

/// The time goes on while a consumer has the message, and counts when it gives it back.
#[test]
fn the_lifetime_does_not_begin_anew() {
    for worker in [0, 1] {
        let mut world =
            world_with(|policy| (policy.message_ttl, policy.dead_letter) = (Some(MINUTE), topic(DEAD)));
        let alice = world.toy(0);
        let dead = undertaker(&mut world, 0);
        let stomp = consumer(&mut world, worker, 1);
        publish(&mut world, &alice, &["1"], QOS1);
        world.advance(30 * SECOND);
        stomp.vanish(&mut world);
        world.advance(29 * SECOND);
        assert_eq!(dead.got_payloads(), [""; 0]);
        world.advance(2 * SECOND);
        assert_eq!(dead.got_payloads(), ["1"]);
    }
}

/// The publisher is told, wherever the queue is.
#[test]
fn a_full_queue_refuses() {
    for home in [0, 1] {
        let mut world = world_with(|policy| policy.max_messages = Some(2));
        let first = world.toy(home);
        publish(&mut world, &first, &["1"], QOS1);
        let alice = world.toy(0);
        publish(&mut world, &alice, &["2"], QOS1);
        assert_eq!(alice.publish(&mut world, "$queue/orders", "3", QOS1), Err(Refusal::QueueFull));
        assert_eq!(world.dropped("queue_full"), 1);
        let bob = subscriber(&mut world, 0, "bob", 10);
        world.run();
        publish(&mut world, &alice, &["4"], QOS1);
        assert_eq!(bob.got_payloads(), ["1", "2", "4"]);
    }
}

/// A transaction goes into the queue as a whole or not at all, wherever the queue is.
#[test]
fn a_batch_that_does_not_fit_is_refused_as_a_whole() {
    for home in [0, 1] {
        let mut world = world_with(|policy| policy.max_messages = Some(3));
        let first = world.toy(home);
        publish(&mut world, &first, &["1"], QOS1);
        let alice = world.toy(0);
        let of = |count: usize| {
            move |broker: &mut dyn Broker| {
                let batch = vec![message("$queue/orders", "x", QOS1); count];
                broker.publish_all(&batch).map(drop)
            }
        };
        assert_eq!(alice.ask(&mut world, of(3)), Err((2, Refusal::QueueFull)));
        world.run();
        assert_eq!(world.node().gauges().named_queue_messages, 1);
        assert_eq!(alice.ask(&mut world, of(2)), Ok(()));
        world.run();
        assert_eq!(world.node().gauges().named_queue_messages, 3);
    }
}

#[test]
fn the_oldest_makes_room_where_the_policy_says_so() {
    for home in [0, 1] {
        let mut world = world_with(|policy| {
            (policy.max_messages, policy.overflow) = (Some(2), QueueOverflow::DropOldest);
            policy.dead_letter = topic(DEAD);
        });
        let first = world.toy(home);
        let dead = undertaker(&mut world, 0);
        publish(&mut world, &first, &["1"], QOS1);
        let alice = world.toy(0);
        publish(&mut world, &alice, &["2", "3", "4"], QOS1);
        assert_eq!(dead.got_payloads(), ["1", "2"]);
        let bob = subscriber(&mut world, 0, "bob", 10);
        world.run();
        assert_eq!(bob.got_payloads(), ["3", "4"]);
        assert_eq!(dead_letters(&world, "overflow"), 2);
    }
}

#[test]
fn bytes_are_bounded_as_well() {
    let mut world = world_with(|policy| policy.max_bytes = Some(2000));
    let alice = world.toy(0);
    let large = "x".repeat(1500);
    publish(&mut world, &alice, &[&large], QOS1);
    assert_eq!(alice.publish(&mut world, "$queue/orders", &large, QOS1), Err(Refusal::QueueFull));
}

/// A dead letter keeps what it carries, and says what became of it; of several deaths, of the last one.
#[test]
fn a_dead_letter_says_what_became_of_it() {
    let mut world = World::new(1);
    let mut orders = policy("$queue/orders");
    (orders.delivery_limit, orders.dead_letter) = (1, topic("$queue/late"));
    let mut late = policy("$queue/late");
    (late.message_ttl, late.dead_letter) = (Some(MINUTE), topic("graveyard/orders"));
    world.set_queue_policies(vec![orders, late]);
    let witness = Witness::attach(&mut world, "graveyard/#");
    let alice = world.toy(0);
    alice.ask(&mut world, |broker| {
        let user = vec![("a".into(), "b".into()), ("dead-letter-reason".into(), "mine".into())];
        let properties =
            Properties { user, content_type: Some("text/plain".into()), ..Properties::default() };
        let expiry = Some(HOUR);
        let publish =
            Publish { properties: Some(&properties), expiry, ..message("$queue/orders", "bolts", QOS1) };
        broker.publish(&publish).unwrap();
    });
    let stomp = consumer(&mut world, 0, 1);
    world.run();
    settle(&mut world, &stomp, 1, Outcome::Released);
    world.advance(2 * MINUTE);
    let expected = [
        ("a", "b"),
        ("dead-letter-reason", "expired"),
        ("dead-letter-queue", "late"),
        ("dead-letter-attempts", "0"),
        ("dead-letter-hops", "2"),
    ];
    let seen = Seen {
        payload: "bolts".to_owned(),
        content_type: Some("text/plain".to_owned()),
        user: expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        expires_at: None,
    };
    assert_eq!(witness.take(&mut world), [seen]);
}

/// Policies that lead in a circle: the message goes round so often and then it is dropped.
#[test]
fn a_circle_of_dead_letters_ends() {
    let mut world = World::new(2);
    let mut one = policy("$queue/orders");
    (one.message_ttl, one.dead_letter) = (Some(SECOND), topic("$queue/two"));
    let mut two = policy("$queue/two");
    (two.message_ttl, two.dead_letter) = (Some(SECOND), topic("$queue/orders"));
    world.set_queue_policies(vec![one, two]);
    let alice = world.toy(0);
    publish(&mut world, &alice, &["1"], QOS1);
    for _ in 0..30 {
        world.advance(2 * SECOND);
    }
    assert_eq!((dead_letters(&world, "expired"), world.dropped("expired")), (16, 1));
    assert_eq!(world.node().gauges().named_queue_messages, 0);
}

/// A queue that is its own dead letter would go round at once and for ever.
#[test]
fn a_queue_is_not_its_own_grave() {
    let mut world = world_with(|policy| {
        (policy.max_messages, policy.overflow) = (Some(1), QueueOverflow::DropOldest);
        policy.dead_letter = topic("$queue/orders");
    });
    let alice = world.toy(0);
    publish(&mut world, &alice, &["1", "2"], QOS1);
    assert_eq!((world.dropped("queue_full"), dead_letters(&world, "overflow")), (1, 0));
}

#[test]
fn a_dead_letter_that_nobody_wants_is_counted() {
    let mut world = world_with(|policy| policy.dead_letter = topic("graveyard"));
    let alice = world.toy(0);
    let stomp = consumer(&mut world, 0, 1);
    publish(&mut world, &alice, &["1"], QOS1);
    settle(&mut world, &stomp, 1, Outcome::Rejected);
    assert_eq!(world.dropped("dead_letter_unmatched"), 1);
}

/// SIGHUP: the queues that exist take other policies over.
#[test]
fn other_policies_hold_for_queues_that_exist() {
    let mut world = World::new(2);
    let alice = world.toy(1);
    publish(&mut world, &alice, &["1", "2", "3"], QOS1);
    let mut orders = policy("$queue/+");
    (orders.max_messages, orders.expires, orders.delivery_limit) = (Some(1), MINUTE, 1);
    world.set_queue_policies(vec![orders]);
    assert_eq!(alice.publish(&mut world, "$queue/orders", "4", QOS1), Err(Refusal::QueueFull));
    let stomp = consumer(&mut world, 0, 3);
    world.run();
    assert_eq!(attempts(&stomp).len(), 3, "what waits stays");
    stomp.vanish(&mut world);
    world.run();
    assert_eq!(world.dropped("delivery_limit"), 3);
    world.advance(2 * MINUTE);
    assert_eq!(world.node().gauges().named_queues, 0);
}

/// Everything expires at once, in portions, and the workers do something else between.
#[test]
fn a_hundred_thousand_messages_expire_in_portions() {
    let mut world = world_with(|policy| policy.message_ttl = Some(MINUTE));
    let alice = world.toy(0);
    alice.ask(&mut world, |broker| {
        for _ in 0..100_000 {
            broker.publish(&message("$queue/orders", "x", QOS0)).unwrap();
        }
    });
    world.now += 2 * MINUTE;
    let now = world.now;
    let before = waiting(&world);
    assert_eq!(before, 100_000);
    world.shard(0).handle_timers(now);
    assert!((99_000..100_000).contains(&waiting(&world)));
    assert_eq!(world.shard(0).next_timer(), Some(now));
    world.advance(Duration::ZERO);
    assert_eq!((waiting(&world), world.dropped("expired")), (0, 100_000));
}

/// The same where a consumer comes before the timer does.
#[test]
fn a_consumer_that_meets_very_many_expired_messages_takes_turns() {
    let mut world = world_with(|policy| policy.message_ttl = Some(MINUTE));
    let alice = world.toy(0);
    alice.ask(&mut world, |broker| {
        for _ in 0..99_000 {
            broker.publish(&message("$queue/orders", "x", QOS0)).unwrap();
        }
    });
    world.now += 2 * MINUTE;
    alice.publish(&mut world, "$queue/orders", "fresh", QOS1).unwrap();
    let stomp = world.toy(0);
    consume(&mut world, &stomp, 1);
    assert!(world.dropped("expired") < 1000, "{}", world.dropped("expired"));
    world.run();
    assert_eq!(attempts(&stomp), [("fresh".to_owned(), 1)]);
    assert_eq!((waiting(&world), world.dropped("expired")), (0, 99_000));
}

/// Full queues that push each other's messages out: one message moves one other a turn, not sixteen times as many as wait.
#[test]
fn a_circle_of_full_queues_moves_a_step_a_turn() {
    let mut world = World::new(1);
    let full = |name: &str, other: &str| {
        let mut full = policy(name);
        (full.max_messages, full.overflow) = (Some(50), QueueOverflow::DropOldest);
        full.dead_letter = topic(other);
        full
    };
    world.set_queue_policies(vec![full("$queue/one", "$queue/two"), full("$queue/two", "$queue/one")]);
    let alice = world.toy(0);
    for _ in 0..50 {
        for queue in ["$queue/one", "$queue/two"] {
            alice.publish(&mut world, queue, "x", QOS1).unwrap();
        }
    }
    world.run();
    let before = dead_letters(&world, "overflow");
    alice.publish(&mut world, "$queue/one", "y", QOS1).unwrap();
    assert!(dead_letters(&world, "overflow") - before <= 2, "{}", dead_letters(&world, "overflow") - before);
    world.run();
    assert_eq!(waiting(&world), 100);
    assert_eq!(world.dropped("queue_full"), 1, "in the end one has died often enough");
}

//! What happens at each limit: who is told, and what is counted.

use crate::{HOUR, QOS0, QOS1, assert_nothing_is_left};
use bytes::Bytes;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_message::Topic;
use tidegate_protocol::{Answer, Attachment, Published, Refusal, RetainedDelivery, Subscribe, WillAction};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{filter, session, subscription};

#[test]
fn a_full_queue_drops_the_newest_and_the_publisher_is_told() {
    let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe(&mut world, "a");
    for number in ["1", "2", "3"] {
        assert_eq!(
            alice.publish(&mut world, "a", number, QOS1),
            Ok(Published { matched: true, answer: Answer::Now })
        );
    }
    assert_eq!(alice.publish(&mut world, "a", "4", QOS1), Err(Refusal::QueueFull));
    assert_eq!(world.dropped("queue_full"), 1);
    bob.accept(&mut world, 1);
    bob.accept(&mut world, 2);
    bob.accept(&mut world, 3);
    alice.publish(&mut world, "a", "5", QOS1).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2", "3", "5"]);
}

#[test]
fn a_publisher_is_not_told_of_one_full_queue_among_others() {
    let mut world = World::with_limits(2, Limits { queued_messages: 1, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let [slow, quick] = ["slow", "quick"].map(|name| world.attached(0, session(name).credit(1)));
    slow.subscribe(&mut world, "a");
    quick.subscribe(&mut world, "a");
    for tag in 1..=3 {
        assert!(alice.publish(&mut world, "a", "x", QOS1).is_ok());
        quick.accept(&mut world, tag);
    }
    assert_eq!(world.dropped("queue_full"), 1);
}

/// Retained messages that a client did not wait for are kept within the limits of its queue, however often it comes back.
#[test]
fn subscribing_and_leaving_again_and_again_fills_no_more_than_the_queue() {
    let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    for topic in ["a/1", "a/2", "a/3", "a/4"] {
        alice.publish_with(&mut world, topic, "state", QOS1, |publish| publish.retain = true).unwrap();
    }
    for round in 1..=3 {
        let bob = world.attached(0, session("bob").credit(1));
        bob.subscribe_with(&mut world, "a/+", |subscribe| subscribe.retained = RetainedDelivery::Always)
            .unwrap();
        world.run();
        bob.vanish(&mut world);
        assert_eq!(world.node().gauges().queued_messages, 2, "round {round}");
    }
    assert_eq!(world.dropped("queue_full"), 2 + 4 + 4);
}

#[test]
fn an_offline_session_whose_queue_is_full_is_counted() {
    let mut world = World::with_limits(2, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    for _ in 0..5 {
        alice.publish(&mut world, "a", "x", QOS1).unwrap();
    }
    world.run();
    assert_eq!((world.node().gauges().queued_messages, world.dropped("queue_full")), (2, 3));
    alice.publish(&mut world, "a", "x", QOS0).unwrap();
    world.run();
    assert_eq!(world.dropped("offline"), 1);
}

#[test]
fn all_queues_together_have_a_limit_of_bytes() {
    let mut world = World::with_limits(1, Limits { queued_bytes_total: 10_000, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    for name in ["1", "2", "3", "4"] {
        let bob = world.attached(0, session(name));
        bob.subscribe(&mut world, "a");
        bob.vanish(&mut world);
    }
    let payload = "x".repeat(1000);
    let results: Vec<_> = (0..10).map(|_| alice.publish(&mut world, "a", &payload, QOS1)).collect();
    assert!(world.node().gauges().queued_bytes <= 10_000);
    assert_eq!(results.last(), Some(&Err(Refusal::QueueFull)));
    let kept = world.node().gauges().queued_messages as u64;
    assert_eq!(kept + world.dropped("queue_full"), 40);
}

#[test]
fn a_message_larger_than_its_queue_does_not_stop_the_receiver() {
    let mut world = World::with_limits(1, Limits { queued_bytes: 1000, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe(&mut world, "a");
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    assert_eq!(alice.publish(&mut world, "a", &"x".repeat(2000), QOS1), Err(Refusal::QueueFull));
    bob.accept(&mut world, 1);
    alice.publish(&mut world, "a", "2", QOS1).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2"]);
}

#[test]
fn a_new_session_is_refused_at_the_limit_and_a_known_one_is_not() {
    let mut world = World::with_limits(2, Limits { sessions: 1, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.toy(1);
    let answer = bob.attach(&mut world, session("bob"));
    assert!(matches!(answer, Attachment::Refused(Refusal::TooManySessions { limit: 1 })));
    alice.vanish(&mut world);
    assert!(matches!(bob.attach(&mut world, session("alice").clean()), Attachment::Now(_)));
    assert_eq!(world.node().gauges().sessions, 1);
}

#[test]
fn a_session_has_a_limit_of_subscriptions() {
    let mut world = World::with_limits(1, Limits { subscriptions_per_session: 1, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    alice.subscribe(&mut world, "a");
    let more = alice.subscribe_with(&mut world, "b", |_| {});
    assert_eq!(more, Err(Refusal::TooManySubscriptions { limit: 1 }));
    assert!(alice.subscribe(&mut world, "a").existed);
    assert!(alice.unsubscribe(&mut world, "a"));
    assert!(!alice.subscribe(&mut world, "b").existed);
    assert_eq!(world.node().gauges().subscriptions, 1);
}

#[test]
fn all_sessions_together_have_a_limit_of_subscriptions() {
    let mut world = World::with_limits(1, Limits { subscriptions: 1, ..Limits::default() });
    let [alice, bob] = ["alice", "bob"].map(|name| world.attached(0, session(name)));
    alice.subscribe(&mut world, "a");
    let refused = Err(Refusal::SubscriptionsFull);
    assert_eq!(bob.subscribe_with(&mut world, "b", |_| {}), refused);
    assert!(!bob.unsubscribe(&mut world, "b"));
    alice.unsubscribe(&mut world, "a");
    bob.subscribe(&mut world, "b");
}

/// `limits.subscriptions`: "at the limit a new filter is refused"; one that stands already may change its options.
#[test]
fn a_known_filter_may_change_at_the_limit_of_all_subscriptions() {
    let mut world = World::with_limits(1, Limits { subscriptions: 1, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    alice.subscribe(&mut world, "a");
    let again = alice.subscribe_with(&mut world, "a", |subscribe| subscribe.qos_max = QOS0);
    assert!(again.is_ok_and(|subscribed| subscribed.existed), "{again:?}");
}

/// `limits.client_id_bytes`: names are kept for as long as their sessions.
#[test]
fn a_long_client_id_is_refused() {
    let mut world = World::with_limits(1, Limits { client_id_bytes: 5, ..Limits::default() });
    let refused = world.toy(0).attach(&mut world, session("longer"));
    let expected = Refusal::ClientIdTooLong { bytes: 6, limit: 5 };
    assert!(matches!(refused, Attachment::Refused(refusal) if refusal == expected), "{refused:?}");
    world.attached(0, session("short"));
}

#[test]
fn topics_and_filters_have_limits() {
    let mut world = World::with_limits(1, Limits { topic_levels: 2, topic_bytes: 10, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let levels = Refusal::TooManyLevels { levels: 3, limit: 2 };
    assert_eq!(alice.publish(&mut world, "a/b/c", "x", QOS0), Err(levels));
    assert_eq!(alice.subscribe_with(&mut world, "a/b/#", |_| {}), Err(levels));
    let long = Refusal::TopicTooLong { bytes: 11, limit: 10 };
    assert_eq!(alice.publish(&mut world, "12345678901", "x", QOS0), Err(long));
    assert!(matches!(alice.publish(&mut world, "a/+", "x", QOS0), Err(Refusal::InvalidTopic(_))));
    assert_eq!(world.dropped("topic_refused"), 3);
}

/// A will is a publication too: a topic that no PUBLISH may have is refused with the attachment.
#[test]
fn a_will_whose_topic_is_over_the_limit_is_refused() {
    let mut world = World::with_limits(2, Limits { topic_levels: 2, ..Limits::default() });
    let alice = world.toy(0);
    let will = tidegate_protocol::Will {
        topic: Topic::parse(b"a/b/c").unwrap(),
        payload: Bytes::from_static(b"x"),
        qos: QOS1,
        retain: false,
        properties: None,
        expiry: None,
        delay: Duration::ZERO,
    };
    let answer = alice.attach(&mut world, session("alice").will(will));
    assert!(matches!(answer, Attachment::Refused(Refusal::TooManyLevels { .. })), "{answer:?}");
}

#[test]
fn retained_messages_have_a_limit_and_the_publisher_is_told() {
    let mut world = World::with_limits(1, Limits { retained_messages: 1, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    alice.subscribe(&mut world, "#");
    let retain = |publish: &mut tidegate_protocol::Publish<'_>| publish.retain = true;
    alice.publish_with(&mut world, "a", "1", QOS1, retain).unwrap();
    assert_eq!(alice.publish_with(&mut world, "b", "2", QOS1, retain), Err(Refusal::RetainedFull));
    assert_eq!(world.dropped("retained_full"), 1);
    world.run();
    assert_eq!(alice.got_payloads(), ["1"], "the message that was refused is not routed either");
}

/// A client that subscribes again and again and does not read must not make the node keep more each time.
#[test]
fn retained_messages_on_their_way_to_one_session_are_never_more_than_may_be_retained() {
    let kept_after = |times: usize| {
        let limits = Limits { output_bytes: 100, ..Limits::default() };
        let mut world = World::with_limits(1, limits);
        let alice = world.attached(0, session("alice"));
        for number in 0..10 {
            let retain = |publish: &mut tidegate_protocol::Publish<'_>| publish.retain = true;
            alice.publish_with(&mut world, &format!("a/{number}"), "x", QOS1, retain).unwrap();
        }
        let bob = world.attached(0, session("bob"));
        world.block(&bob.link);
        bob.ask(&mut world, move |broker| {
            let filter = filter("#");
            let subscribe = Subscribe { retained: RetainedDelivery::Always, ..subscription(&filter) };
            for _ in 0..times {
                broker.subscribe(&subscribe).unwrap();
            }
        });
        let bytes = world.node().gauges().queued_bytes;
        bob.vanish(&mut world);
        (bytes, world.node().gauges().queued_messages)
    };
    assert_eq!(kept_after(50), kept_after(1));
}

/// A search for retained messages takes room as long as its subscription stands: whoever subscribes and leaves again and again fills nothing.
#[test]
fn searches_for_retained_messages_end_with_their_subscriptions() {
    let limits = Limits { subscriptions_per_session: 4, output_bytes: 1, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let alice = world.attached(0, session("alice"));
    let topics: Vec<String> = (0..10).map(|number| format!("a/{number}")).collect();
    for topic in &topics {
        alice.publish_with(&mut world, topic, "x", QOS1, |publish| publish.retain = true).unwrap();
    }
    let bob = world.attached(0, session("bob"));
    world.block(&bob.link);
    let before = world.node().gauges().queued_bytes;
    bob.ask(&mut world, move |broker| {
        for topic in &topics {
            let filter = filter(topic);
            let subscribe = Subscribe { retained: RetainedDelivery::Always, ..subscription(&filter) };
            broker.subscribe(&subscribe).unwrap();
            assert!(broker.unsubscribe(subscribe.consumer, None, &filter));
        }
    });
    assert_eq!(world.node().gauges().queued_bytes, before);
}

#[test]
fn a_wish_for_a_longer_expiry_is_shortened() {
    let mut world =
        World::with_limits(1, Limits { session_expiry_max: Duration::from_secs(60), ..Limits::default() });
    let alice = world.toy(0);
    let Attachment::Now(attached) = alice.attach(&mut world, session("alice").expiry(HOUR)) else { panic!() };
    assert_eq!(attached.expiry, Duration::from_secs(60));
    alice.leave(&mut world, WillAction::Publish);
    world.advance(Duration::from_secs(60));
    assert_nothing_is_left(&world);
}

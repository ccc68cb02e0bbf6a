//! Sessions that outlive their connections, and how they end.

use crate::{HOUR, MINUTE, QOS0, QOS1, QOS2, assert_nothing_is_left};
use std::time::Duration;
use tidegate_protocol::{Attachment, Publish, RetainedDelivery, WillAction};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Got, session};

fn again(got: &[Got]) -> Vec<(&str, Option<u64>, bool)> {
    got.iter().map(|got| (got.payload.as_str(), got.tag, got.redelivered)).collect()
}

/// [MQTT-4.5.0-1] [MQTT-3.1.2-23] [MQTT-3.1.1/3.1.2-5] [MQTT-3.1.1/4.5.0-1]
#[test]
fn messages_for_an_absent_session_wait() {
    for home in [0, 1] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let bob = world.attached(home, session("bob"));
        bob.subscribe(&mut world, "a");
        bob.vanish(&mut world);
        for (payload, qos) in [("1", QOS1), ("2", QOS0), ("3", QOS2)] {
            alice.publish(&mut world, "a", payload, qos).unwrap();
        }
        world.run();
        let bob = world.attached(0, session("bob"));
        world.run();
        assert_eq!(bob.got_payloads(), ["1", "3"]);
        assert_eq!(world.dropped("offline"), 1);
    }
}

/// [MQTT-3.1.2-5] [MQTT-3.1.3-2] [MQTT-3.1.1/3.1.2-4] [MQTT-3.1.1/3.1.3-2] [MQTT-3.1.1/4.1.0-1] and MQTT 5.0 section
/// 3.2.2.1.1: what the protocol had saved comes back, once.
#[test]
fn the_saved_state_comes_back() {
    let mut world = World::new(2);
    let bob = world.attached(0, session("bob"));
    bob.set_farewell(None, b"state");
    bob.vanish(&mut world);
    let bob = world.toy(1);
    let Attachment::Now(attached) = bob.attach(&mut world, session("bob")) else { panic!() };
    assert_eq!((attached.present, attached.saved), (true, vec![b"state".to_vec()]));
}

/// [MQTT-4.4.0-1] [MQTT-4.4.0-2] [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/4.6.0-6]
#[test]
fn unsettled_deliveries_come_again_under_their_tags_in_order() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let bob = world.attached(0, session("bob"));
        bob.subscribe(&mut world, "a");
        for (payload, qos) in [("1", QOS1), ("2", QOS2), ("3", QOS0), ("4", QOS1)] {
            alice.publish(&mut world, "a", payload, qos).unwrap();
        }
        world.run();
        bob.accept(&mut world, 2);
        bob.vanish(&mut world);
        alice.publish(&mut world, "a", "5", QOS1).unwrap();
        let bob = world.attached(worker, session("bob"));
        alice.publish(&mut world, "a", "6", QOS0).unwrap();
        world.run();
        let got = bob.got();
        let expected =
            [("1", Some(1), true), ("4", Some(3), true), ("5", Some(4), false), ("6", None, false)];
        assert_eq!(again(&got), expected);
    }
}

/// [MQTT-4.4.0-1]: repeated deliveries come before the state of a new subscription and before new messages.
#[test]
fn repeated_deliveries_come_before_the_state_of_a_new_subscription() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    alice.publish_with(&mut world, "s", "state", QOS1, |publish| publish.retain = true).unwrap();
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    for payload in ["1", "2"] {
        alice.publish(&mut world, "a", payload, QOS1).unwrap();
    }
    bob.vanish(&mut world);
    let bob = world.attached(0, session("bob").credit(1));
    alice.publish(&mut world, "a", "3", QOS1).unwrap();
    bob.subscribe_with(&mut world, "s", |subscribe| subscribe.retained = RetainedDelivery::Always).unwrap();
    for tag in 1..=4 {
        bob.accept(&mut world, tag);
    }
    world.run();
    let got = bob.got();
    let expected =
        [("1", Some(1), true), ("2", Some(2), true), ("state", Some(3), false), ("3", Some(4), false)];
    assert_eq!(again(&got), expected);
}

/// [MQTT-4.4.0-1]: a connection that is lost before everything was repeated; tags stay with their messages.
#[test]
fn a_repetition_that_was_cut_off_goes_on_under_the_same_tags() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    for payload in ["1", "2", "3", "4"] {
        alice.publish(&mut world, "a", payload, QOS1).unwrap();
    }
    bob.vanish(&mut world);
    let bob = world.attached(0, session("bob").credit(1));
    world.run();
    assert_eq!(again(&bob.got()), [("1", Some(1), true)]);
    bob.vanish(&mut world);
    let bob = world.attached(0, session("bob"));
    world.run();
    let expected = [("1", Some(1), true), ("2", Some(2), true), ("3", Some(3), true), ("4", Some(4), true)];
    assert_eq!(again(&bob.got()), expected);
}

/// [MQTT-4.3.3-1]: what is settled before it has come again does not come at all, on this connection or on a later one.
#[test]
fn a_delivery_that_is_settled_before_its_repetition_is_done() {
    let mut world = World::new(1);
    let alice = world.toy(0);
    let bob = world.attached(0, session("bob").expiry(HOUR));
    bob.subscribe(&mut world, "a");
    for payload in ["1", "2", "3"] {
        alice.publish(&mut world, "a", payload, QOS2).unwrap();
    }
    bob.vanish(&mut world);
    let bob = world.attached(0, session("bob").expiry(HOUR).credit(1));
    world.run();
    assert_eq!(again(&bob.got()), [("1", Some(1), true)]);
    bob.accept(&mut world, 3);
    bob.vanish(&mut world);
    let bob = world.attached(0, session("bob").expiry(HOUR));
    world.run();
    assert_eq!(again(&bob.got()), [("1", Some(1), true), ("2", Some(2), true)]);
    [1, 2].into_iter().for_each(|tag| bob.accept(&mut world, tag));
    alice.publish(&mut world, "a", "4", QOS2).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["4"]);
    assert_eq!(world.node().gauges().queued_messages, 0);
}

/// [MQTT-4.4.0-1]: the same with the state of a new subscription on its way; no two deliveries share a tag.
#[test]
fn a_repetition_that_was_cut_off_keeps_its_tags_apart_from_retained_messages() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    alice.publish_with(&mut world, "s", "state", QOS1, |publish| publish.retain = true).unwrap();
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    for payload in ["1", "2", "3"] {
        alice.publish(&mut world, "a", payload, QOS1).unwrap();
    }
    bob.vanish(&mut world);
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe_with(&mut world, "s", |subscribe| subscribe.retained = RetainedDelivery::Always).unwrap();
    bob.vanish(&mut world);
    let bob = world.attached(0, session("bob"));
    world.run();
    let expected =
        [("1", Some(1), true), ("2", Some(2), true), ("3", Some(3), true), ("state", Some(4), false)];
    assert_eq!(again(&bob.got()), expected);
}

/// [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2] [MQTT-3.1.1/3.1.2-6] [MQTT-3.1.1/3.1.4-3]
#[test]
fn a_clean_start_ends_the_old_session() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let bob = world.attached(0, session("bob"));
        bob.subscribe(&mut world, "a");
        bob.vanish(&mut world);
        for _ in 0..3 {
            alice.publish(&mut world, "a", "x", QOS1).unwrap();
        }
        let bob = world.toy(worker);
        let Attachment::Now(attached) = bob.attach(&mut world, session("bob").clean()) else { panic!() };
        alice.publish(&mut world, "a", "x", QOS1).unwrap();
        world.run();
        assert_eq!((attached.present, bob.got().len(), world.dropped("session_ended")), (false, 0, 3));
        let gauges = world.node().gauges();
        assert_eq!((gauges.sessions, gauges.subscriptions, gauges.queued_messages), (2, 0, 0));
    }
}

/// [MQTT-4.1.0-2] and MQTT 5.0 section 3.1.2.11.2
#[test]
fn a_session_ends_with_its_expiry_on_whatever_worker() {
    let mut world = World::new(2);
    let alice = world.toy(0);
    let sessions =
        [0, 1].map(|worker| world.attached(worker, session(["one", "two"][worker]).expiry(MINUTE)));
    for bob in &sessions {
        bob.subscribe(&mut world, "a");
        bob.vanish(&mut world);
    }
    alice.publish(&mut world, "a", "x", QOS1).unwrap();
    world.run();
    world.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(world.node().gauges().sessions, 2);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.dropped("session_ended"), 2);
    assert_nothing_is_left(&world);
}

/// [MQTT-4.1.0-2] [MQTT-3.1.1/3.1.2-6]: expiry 0 ends the session with the connection.
#[test]
fn a_session_without_expiry_ends_with_its_connection() {
    let mut world = World::new(2);
    let alice = world.toy(0);
    let bob = world.attached(1, session("bob").expiry(Duration::ZERO).credit(1));
    bob.subscribe(&mut world, "a");
    for _ in 0..3 {
        alice.publish(&mut world, "a", "x", QOS1).unwrap();
    }
    world.run();
    bob.vanish(&mut world);
    assert_nothing_is_left(&world);
    let bob = world.toy(0);
    let Attachment::Now(attached) = bob.attach(&mut world, session("bob")) else { panic!() };
    assert!(!attached.present);
}

/// MQTT 5.0 section 3.14.2.2.2: the goodbye may change the expiry.
#[test]
fn a_goodbye_may_shorten_the_expiry() {
    let mut world = World::new(2);
    let bob = world.attached(1, session("bob").expiry(HOUR));
    bob.set_farewell(Some(MINUTE), b"");
    bob.leave(&mut world, WillAction::Discard);
    world.run();
    world.advance(MINUTE);
    assert_nothing_is_left(&world);
}

/// [MQTT-4.1.0-1] [MQTT-3.1.1/4.1.0-2] and MQTT 5.0 section 3.1.2.11.2: an attachment in time calls the end off; the next
/// detachment counts anew.
#[test]
fn an_attachment_in_time_calls_the_end_off() {
    let mut world = World::new(2);
    let bob = world.attached(1, session("bob").expiry(MINUTE));
    bob.vanish(&mut world);
    world.advance(MINUTE / 2);
    let bob = world.attached(0, session("bob").expiry(MINUTE));
    world.advance(HOUR);
    assert_eq!(world.node().gauges().sessions, 1);
    bob.vanish(&mut world);
    world.advance(MINUTE);
    assert_nothing_is_left(&world);
}

/// MQTT 5.0 section 3.1.2.11.2: 0xFFFFFFFF is never.
#[test]
fn an_endless_session_does_not_end() {
    let limits = tidegate_broker::Limits { session_expiry_max: Duration::MAX, ..Default::default() };
    let mut world = World::with_limits(1, limits);
    let bob = world.attached(0, session("bob").expiry(Duration::MAX));
    bob.vanish(&mut world);
    world.advance(HOUR * 24 * 365);
    assert_eq!((world.node().gauges().sessions, world.shard(0).next_timer()), (1, None));
}

/// [MQTT-3.3.2-5]
#[test]
fn a_message_that_expires_while_it_waits_is_dropped_and_counted() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    let for_a_minute = |publish: &mut Publish<'_>| publish.expiry = Some(MINUTE);
    alice.publish_with(&mut world, "a", "short", QOS1, for_a_minute).unwrap();
    alice.publish(&mut world, "a", "long", QOS1).unwrap();
    world.advance(MINUTE);
    let bob = world.attached(0, session("bob"));
    world.run();
    assert_eq!((bob.got_payloads(), world.dropped("expired")), (vec!["long".to_owned()], 1));
}

/// MQTT 5.0 section 4.1.0-1: two protocols with the same client name have two sessions.
#[test]
fn a_connection_attaches_once() {
    let mut world = World::new(1);
    let bob = world.attached(0, session("bob"));
    assert!(matches!(bob.attach(&mut world, session("other")), Attachment::Refused(_)));
    assert_eq!(world.node().gauges().sessions, 1);
}

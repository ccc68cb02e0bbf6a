//! Retained messages and new subscriptions.

use crate::{MINUTE, QOS0, QOS1, QOS2};
use tidegate_protocol::{Publish, RetainedDelivery, Subscribe};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, session};

fn retain(publish: &mut Publish<'_>) {
    publish.retain = true;
}

fn with_retained(subscribe: &mut Subscribe<'_>) {
    subscribe.retained = RetainedDelivery::Always;
}

fn world_with_state() -> (World, Toy) {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    alice.publish_with(&mut world, "a/1", "one", QOS1, retain).unwrap();
    alice.publish_with(&mut world, "a/2", "two", QOS0, retain).unwrap();
    (world, alice)
}

/// [MQTT-3.3.1-8] [MQTT-3.3.1-9]
#[test]
fn a_new_subscription_gets_the_state_marked_as_retained() {
    let (mut world, _) = world_with_state();
    let bob = world.attached(1, session("bob"));
    bob.subscribe_with(&mut world, "a/+", |subscribe| {
        with_retained(subscribe);
        subscribe.subscription_id = Some(9);
    })
    .unwrap();
    world.run();
    let mut got = bob.got();
    got.sort_by(|left, right| left.topic.cmp(&right.topic));
    let levels: Vec<_> = got.iter().map(|got| (got.payload.as_str(), got.qos, got.retain)).collect();
    assert_eq!(levels, [("one", 1, true), ("two", 0, true)]);
    assert!(got.iter().all(|got| got.subscription_ids == [9]));
}

/// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
#[test]
fn retain_handling_says_when_the_state_is_sent() {
    for (handling, first, again) in
        [(RetainedDelivery::Always, 2, 2), (RetainedDelivery::WhenNew, 2, 0), (RetainedDelivery::Never, 0, 0)]
    {
        let (mut world, _) = world_with_state();
        let bob = world.attached(1, session("bob"));
        for expected in [first, again] {
            bob.subscribe_with(&mut world, "a/+", move |subscribe| subscribe.retained = handling).unwrap();
            world.run();
            assert_eq!(bob.got().len(), expected, "{handling:?}");
        }
    }
}

/// [MQTT-3.8.4-5]: each subscription of one packet gets its own copy of the state.
#[test]
fn every_subscription_gets_the_state_that_it_selects() {
    let (mut world, _) = world_with_state();
    let bob = world.attached(0, session("bob"));
    for filter in ["a/1", "a/+", "a/#", "b"] {
        bob.subscribe_with(&mut world, filter, with_retained).unwrap();
    }
    world.run();
    assert_eq!(bob.got().len(), 1 + 2 + 2);
}

/// [MQTT-3.3.1-6] [MQTT-3.3.1-7]
#[test]
fn an_empty_message_clears_the_state() {
    let (mut world, alice) = world_with_state();
    alice.publish_with(&mut world, "a/1", "", QOS1, retain).unwrap();
    alice.publish_with(&mut world, "a/2", "", QOS1, retain).unwrap();
    let gauges = world.node().gauges();
    assert_eq!((gauges.retained_messages, gauges.retained_bytes), (0, 0));
}

/// MQTT 5.0 section 3.3.2.3.3
#[test]
fn expired_state_is_not_sent() {
    let (mut world, alice) = world_with_state();
    alice
        .publish_with(&mut world, "a/3", "three", QOS1, |publish| {
            retain(publish);
            publish.expiry = Some(MINUTE);
        })
        .unwrap();
    world.advance(MINUTE);
    let bob = world.attached(1, session("bob"));
    bob.subscribe_with(&mut world, "a/3", with_retained).unwrap();
    world.run();
    assert_eq!(bob.got(), []);
}

/// [MQTT-3.3.4-9]: the state waits for credit like everything else, and live messages come after it.
#[test]
fn the_state_waits_for_credit_and_stays_in_front() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    for topic in ["a/1", "a/2", "a/3"] {
        alice.publish_with(&mut world, topic, "state", QOS2, retain).unwrap();
    }
    bob.subscribe_with(&mut world, "a/#", with_retained).unwrap();
    alice.publish(&mut world, "a/1", "live", QOS0).unwrap();
    for expected in [vec!["state"], vec!["state"], vec!["state", "live"]] {
        world.run();
        let got = bob.got();
        assert!(got.iter().map(|got| got.payload.as_str()).eq(expected));
        bob.accept(&mut world, got[0].tag.unwrap());
    }
}

/// [MQTT-3.1.2-5]: state that was on its way to a session when it detached is a delivery like any other.
#[test]
fn state_on_its_way_survives_a_lost_connection() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    for topic in ["a/1", "a/2", "a/3"] {
        alice.publish_with(&mut world, topic, topic, QOS1, retain).unwrap();
    }
    bob.subscribe_with(&mut world, "a/#", with_retained).unwrap();
    world.run();
    let mut all = bob.got_payloads();
    bob.accept(&mut world, 1);
    world.run();
    bob.vanish(&mut world);
    bob.got();
    let bob = world.attached(1, session("bob"));
    world.run();
    let got = bob.got();
    assert!(got.iter().all(|got| got.retain) && got[0].redelivered && !got[1].redelivered, "{got:?}");
    all.extend(got.into_iter().map(|got| got.payload));
    all.sort();
    assert_eq!(all, ["a/1", "a/2", "a/3"]);
}

/// [MQTT-3.8.3-3]: "no local" is about every message, the retained ones too.
#[test]
fn no_local_leaves_out_own_state() {
    let mut world = World::new(1);
    let bob = world.attached(0, session("bob"));
    bob.publish_with(&mut world, "a", "own", QOS1, retain).unwrap();
    bob.subscribe_with(&mut world, "a", |subscribe| {
        with_retained(subscribe);
        subscribe.no_local = true;
    })
    .unwrap();
    world.run();
    assert_eq!(bob.got(), []);
}

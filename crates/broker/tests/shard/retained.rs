//! Retained messages and new subscriptions.

use crate::{MINUTE, QOS0, QOS1, QOS2};
use std::time::Duration;
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

/// [MQTT-3.3.1-9] [MQTT-3.1.1/3.3.1-6] [MQTT-3.1.1/3.3.1-8]
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

/// [MQTT-3.3.1-9] to [MQTT-3.3.1-11]
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

/// [MQTT-3.8.4-5] [MQTT-3.1.1/3.8.4-4]: each subscription of one packet gets its own copy of the state.
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

/// [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.1.1/3.3.1-10] [MQTT-3.1.1/3.3.1-11]
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

/// [MQTT-4.5.0-1] [MQTT-3.1.1/3.1.2-5]: state that was on its way to a session when it detached is a delivery like any
/// other.
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

/// [MQTT-3.3.1-8] [MQTT-3.1.1/3.3.1-12]
#[test]
fn a_message_that_is_not_retained_leaves_the_state_alone() {
    let (mut world, alice) = world_with_state();
    for payload in ["live", ""] {
        alice.publish(&mut world, "a/1", payload, QOS1).unwrap();
        alice.publish(&mut world, "a/3", payload, QOS1).unwrap();
    }
    let bob = world.attached(1, session("bob"));
    bob.subscribe_with(&mut world, "a/#", with_retained).unwrap();
    world.run();
    let mut got = bob.got_payloads();
    got.sort();
    assert_eq!(got, ["one", "two"]);
}

/// [MQTT-3.3.1-5] [MQTT-3.1.1/3.3.1-5] [MQTT-3.1.1/3.3.1-7]: the last one counts, with its own level, whatever that is.
#[test]
fn a_retained_message_replaces_the_older_one() {
    for levels in [[QOS1, QOS0], [QOS0, QOS2], [QOS2, QOS1]] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        alice.publish_with(&mut world, "a", "old", levels[0], retain).unwrap();
        alice.publish_with(&mut world, "a", "new", levels[1], retain).unwrap();
        let bob = world.attached(1, session("bob"));
        bob.subscribe_with(&mut world, "a", with_retained).unwrap();
        world.run();
        let got = bob.got();
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].payload.as_str(), got[0].qos), ("new", levels[1].number()));
    }
}

/// [MQTT-3.3.1-6] [MQTT-3.1.1/3.3.1-10]: an empty retained message is a live one for those who are there.
#[test]
fn an_empty_message_reaches_those_who_have_subscribed() {
    let (mut world, alice) = world_with_state();
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "a/1");
    alice.publish_with(&mut world, "a/1", "", QOS1, retain).unwrap();
    world.run();
    let got = bob.got();
    assert_eq!((got.len(), got[0].payload.as_str(), got[0].retain), (1, "", false));
}

/// [MQTT-3.1.1/3.1.2-7] and MQTT 5.0 section 4.1: the state is the topic's, not its publisher's.
#[test]
fn the_state_survives_the_session_that_published_it() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice").expiry(Duration::ZERO));
    alice.publish_with(&mut world, "a", "state", QOS1, retain).unwrap();
    alice.vanish(&mut world);
    world.run();
    assert_eq!(world.node().gauges().sessions, 0);
    let bob = world.attached(0, session("bob"));
    bob.subscribe_with(&mut world, "a", with_retained).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["state"]);
}

/// [MQTT-3.8.4-3] [MQTT-3.8.4-4] [MQTT-3.1.1/3.8.4-3]: the new options hold, the state comes again, and no live message is
/// lost or comes twice.
#[test]
fn a_subscription_that_is_made_again_replaces_the_old_one() {
    for worker in [0, 1] {
        let (mut world, alice) = world_with_state();
        let bob = world.attached(worker, session("bob"));
        bob.subscribe_with(&mut world, "a/1", with_retained).unwrap();
        alice.publish(&mut world, "a/1", "before", QOS1).unwrap();
        world.run();
        bob.subscribe_with(&mut world, "a/1", |subscribe| {
            with_retained(subscribe);
            subscribe.qos_max = QOS0;
        })
        .unwrap();
        alice.publish(&mut world, "a/1", "after", QOS1).unwrap();
        world.run();
        let got = bob.got();
        let live: Vec<_> = got.iter().filter(|got| !got.retain).collect();
        let live: Vec<_> = live.iter().map(|got| (got.payload.as_str(), got.qos)).collect();
        assert_eq!(live, [("before", 1), ("after", 0)], "worker {worker}");
        assert_eq!(got.iter().filter(|got| got.retain && got.payload == "one").count(), 2);
        assert_eq!(world.node().gauges().subscriptions, 1);
        assert!(bob.unsubscribe(&mut world, "a/1"));
        assert_eq!(world.node().gauges().subscriptions, 0);
    }
}

/// [MQTT-3.3.1-9] [MQTT-3.1.1/3.3.1-6]: all of it arrives however much it is, and what changes meanwhile comes once, in its newest form.
#[test]
fn much_state_comes_piece_by_piece_and_once() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let topics: Vec<String> = (0..1000).map(|number| format!("a/{number:03}")).collect();
    for topic in &topics {
        alice.publish_with(&mut world, topic, "state", QOS1, retain).unwrap();
    }
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe_with(&mut world, "a/#", with_retained).unwrap();
    alice.publish_with(&mut world, "a/500", "live", QOS1, retain).unwrap();
    alice.publish_with(&mut world, "a/501", "", QOS1, retain).unwrap();
    let mut got = Vec::new();
    for _ in 0..1000 {
        world.run();
        for one in bob.got() {
            bob.accept(&mut world, one.tag.unwrap());
            got.push((one.topic, one.payload));
        }
    }
    let live = [("a/500", "live"), ("a/501", "")];
    let state = topics.iter().map(String::as_str).filter(|topic| live.iter().all(|(live, _)| live != topic));
    let expected: Vec<_> = state.map(|topic| (topic, "state")).chain(live).collect();
    let got: Vec<_> = got.iter().map(|(topic, payload)| (topic.as_str(), payload.as_str())).collect();
    assert_eq!(got, expected);
}

/// A filter that selects little among much is searched for in parts, so that the other connections have their turns.
#[test]
fn a_long_search_goes_on_in_the_next_turn() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    for number in 0..5000 {
        alice.publish_with(&mut world, &format!("a/{number:04}"), "x", QOS0, retain).unwrap();
    }
    alice.publish_with(&mut world, "a/9999/b", "found", QOS0, retain).unwrap();
    let bob = world.attached(0, session("bob"));
    bob.subscribe_with(&mut world, "+/+/+", with_retained).unwrap();
    assert_eq!(bob.got(), []);
    world.run();
    assert_eq!(bob.got_payloads(), ["found"]);
}

//! Where the state of a topic and what is published to it meet in a new subscription.

use crate::{QOS0, QOS1};
use tidegate_broker::Limits;
use tidegate_protocol::{Publish, Refusal, RetainedDelivery, Subscribe};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, session};

const PUBLISHED: [&str; 5] = ["1", "2", "", "3", "4"];

fn retain(publish: &mut Publish<'_>) {
    publish.retain = true;
}

fn with_retained(subscribe: &mut Subscribe<'_>) {
    subscribe.retained = RetainedDelivery::Always;
}

/// The state of the topic that a client sees which comes now.
fn state_of(world: &mut World, topic: &str) -> Vec<String> {
    let carol = world.attached(0, session("carol").clean());
    carol.subscribe_with(world, topic, with_retained).unwrap();
    world.run();
    carol.got_payloads()
}

/// Takes what has come, and settles it.
fn take(world: &mut World, toy: &Toy, got: &mut Vec<String>) {
    for one in toy.got() {
        got.push(one.payload);
        one.tag.into_iter().for_each(|tag| toy.accept(world, tag));
    }
}

/// Subscribes on the other worker before the publication `at`, and lets that worker read its mail where `mail` says so.
fn meet(at: usize, mail: u32, filter: &'static str, credit: u32) -> Vec<String> {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob").credit(credit));
    let mut got = Vec::new();
    for (number, payload) in PUBLISHED.iter().enumerate() {
        if number == at {
            bob.subscribe_with(&mut world, filter, with_retained).unwrap();
        }
        alice.publish_with(&mut world, "a/b", payload, QOS1, retain).unwrap();
        if mail >> number & 1 == 1 {
            world.handle_mail(1);
            world.flush_turn(1);
            take(&mut world, &bob, &mut got);
        }
    }
    for _ in 0..2 * PUBLISHED.len() {
        world.run();
        take(&mut world, &bob, &mut got);
    }
    got
}

/// [MQTT-3.3.1-9] [MQTT-3.1.1/3.3.1-6]: the state of the moment, and then everything once and in order, whenever the letters are read.
#[test]
fn state_and_live_messages_join_wherever_they_meet() {
    for filter in ["a/b", "+/b", "#"] {
        for credit in [1, 10] {
            for (at, mail) in (0..PUBLISHED.len()).flat_map(|at| (0..32).map(move |mail| (at, mail))) {
                let (before, after) = PUBLISHED.split_at(at);
                let state = before.last().filter(|state| !state.is_empty());
                let expected: Vec<&str> = state.into_iter().chain(after).copied().collect();
                assert_eq!(meet(at, mail, filter, credit), expected, "{filter} {credit} {at} {mail:b}");
            }
        }
    }
}

/// What a search has still to find is replaced by what has come live meanwhile.
#[test]
fn what_comes_live_is_not_found_later() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let topics: Vec<String> = (0..200).map(|number| format!("a/{number:03}")).collect();
    for topic in &topics {
        alice.publish_with(&mut world, topic, "old", QOS1, retain).unwrap();
    }
    let bob = world.attached(1, session("bob").credit(1));
    bob.subscribe_with(&mut world, "a/+", with_retained).unwrap();
    for topic in &topics {
        alice.publish_with(&mut world, topic, "new", QOS1, retain).unwrap();
    }
    let mut got = Vec::new();
    for _ in 0..400 {
        world.run();
        take(&mut world, &bob, &mut got);
    }
    // The few that were found at once, and everything live.
    let old = got.iter().filter(|payload| *payload == "old").count();
    assert_eq!((old < 100, got.len() - old), (true, 200));
    assert!(got.iter().take(old).all(|payload| payload == "old"));
}

/// [MQTT-3.8.4-4]: a subscription that is made again brings the state again, and no live message twice.
#[test]
fn a_subscription_that_is_made_again_joins_as_well() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "a");
    alice.publish_with(&mut world, "a", "1", QOS1, retain).unwrap();
    bob.subscribe_with(&mut world, "a", with_retained).unwrap();
    alice.publish_with(&mut world, "a", "2", QOS1, retain).unwrap();
    world.run();
    let got: Vec<(String, bool)> = bob.got().into_iter().map(|got| (got.payload, got.retain)).collect();
    let expected = [("1", true), ("1", false), ("2", false)];
    assert_eq!(got, expected.map(|(payload, retain)| (payload.to_owned(), retain)));
}

/// [MQTT-3.10.4-2]: what a search has not sent when its subscription ends is not sent any more, nor twice to the next one.
#[test]
fn a_search_ends_with_its_subscription() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    for number in 0..100 {
        alice.publish_with(&mut world, &format!("a/{number}"), "state", QOS1, retain).unwrap();
    }
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe_with(&mut world, "a/+", with_retained).unwrap();
    bob.unsubscribe(&mut world, "a/+");
    let mut got = Vec::new();
    take(&mut world, &bob, &mut got);
    world.run();
    take(&mut world, &bob, &mut got);
    assert_eq!(got.len(), 1);
    bob.subscribe_with(&mut world, "a/+", with_retained).unwrap();
    for _ in 0..200 {
        world.run();
        take(&mut world, &bob, &mut got);
    }
    assert_eq!(got.len(), 1 + 100);
}

/// A publisher that is told that nobody had room has changed nothing.
#[test]
fn a_refused_message_leaves_the_state_as_it_was() {
    for refused in ["new", ""] {
        let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
        let alice = world.attached(0, session("alice"));
        alice.publish_with(&mut world, "a", "old", QOS1, retain).unwrap();
        let bob = world.attached(0, session("bob").credit(1));
        bob.subscribe(&mut world, "a");
        for _ in 0..3 {
            alice.publish(&mut world, "a", "live", QOS1).unwrap();
        }
        let before = world.node().gauges();
        let answer = alice.publish_with(&mut world, "a", refused, QOS1, retain);
        assert_eq!(answer, Err(Refusal::QueueFull));
        assert_eq!(world.node().gauges(), before);
        assert_eq!(state_of(&mut world, "a"), ["old"]);
    }
}

/// The same where there was no state before.
#[test]
fn a_refused_message_becomes_no_state() {
    let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe(&mut world, "a");
    for _ in 0..3 {
        alice.publish(&mut world, "a", "live", QOS1).unwrap();
    }
    assert!(alice.publish_with(&mut world, "a", "new", QOS1, retain).is_err());
    assert_eq!(state_of(&mut world, "a"), [""; 0]);
    alice.publish_with(&mut world, "b", "x", QOS0, retain).unwrap();
    assert_eq!(state_of(&mut world, "b"), ["x"]);
}

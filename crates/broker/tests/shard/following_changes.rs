//! What becomes of consumers that follow a replay ring when the rings, the rules or the limits change.

use crate::assert_nothing_is_left;
use crate::following::{payloads, publish, retain, ring, token, world};
use std::sync::Arc;
use tidegate_broker::{
    AccessRule, AccessRules, Limits, Permission, QueuePolicies, Reconfiguration, RuleAction, TopicPolicies,
    Who,
};
use tidegate_message::TopicPattern;
use tidegate_protocol::{CloseReason, Refusal, Start};
use tidegate_testkit::pair::World;

/// After a reload a ring with the same topics goes on, with another size too.
#[test]
fn a_reload_keeps_a_ring_with_the_same_topics() {
    let mut world = world(2, 100);
    let (alice, bob) = (world.toy(0), world.toy(1));
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    publish(&mut world, &alice, "a", 1..=5);
    let last = token(&bob.got()[3]);
    world.set_rings(vec![ring(&["b/#"], 10), ring(&["a/#"], 4)]);
    publish(&mut world, &alice, "a", 6..=6);
    let got = bob.got();
    assert_eq!((payloads(&got), got[0].is_after_gap), (vec!["6"], false));
    bob.follow(&mut world, 2, "a/#", Some(&last)).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["5", "6"]);
}

/// Topics that move to another ring: who follows moves as well, and is told that it may have missed something.
#[test]
fn a_reload_that_moves_topics_leaves_a_gap() {
    let mut world = world(2, 100);
    let (alice, bob) = (world.toy(0), world.toy(1));
    bob.follow(&mut world, 1, "a/b/#", None).unwrap();
    publish(&mut world, &alice, "a/b", 1..=2);
    let last = token(&bob.got()[1]);
    world.set_rings(vec![ring(&["a/b/#"], 10), ring(&["a/#"], 10)]);
    publish(&mut world, &alice, "a/b", 3..=4);
    let got = bob.got();
    assert_eq!(payloads(&got), ["3", "4"]);
    assert!(got[0].is_after_gap && !got[1].is_after_gap);
    assert_eq!(bob.follow(&mut world, 2, "a/b", Some(&last)).unwrap().start, Start::Gap);
    assert_eq!(bob.follow(&mut world, 3, "a/b", Some(&token(&got[0]))).unwrap().start, Start::Continued);
    bob.vanish(&mut world);
    assert_nothing_is_left(&world);
}

/// Nobody waits for what never comes: the connection is told, and its client finds out when it subscribes again.
#[test]
fn a_ring_that_goes_ends_the_connections_that_follow_it() {
    let mut world = world(2, 100);
    let (bob, carol) = (world.toy(1), world.toy(1));
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    world.set_rings(vec![ring(&["b/#"], 10)]);
    assert_eq!((bob.link.ended(), carol.link.ended()), (Some(CloseReason::ReplayEnded), None));
    assert_eq!(carol.follow(&mut world, 1, "a/#", None).unwrap_err(), Refusal::NotInReplayRing);
    assert_eq!(world.node().gauges().replay_messages, 0);
    assert_nothing_is_left(&world);
}

/// A ring that begins while a topic has retained state: state is found, and what follows comes once.
#[test]
fn a_ring_that_comes_finds_the_state_of_before() {
    let mut world = World::new(1);
    let (alice, bob) = (world.toy(0), world.toy(0));
    retain(&mut world, &alice, "a/1", "before");
    world.set_rings(vec![ring(&["a/#"], 10)]);
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    retain(&mut world, &alice, "a/1", "after");
    assert_eq!(bob.got_payloads(), ["before", "after"]);
}

/// Puts rules in force that let everybody publish, and subscribe to these topics but not to those.
fn put_rules(world: &mut World, denied: &[&str], allowed: &[&str]) {
    let rule = |permission, action, topics: &[&str]| AccessRule {
        permission,
        action,
        topics: topics.iter().map(|text| TopicPattern::parse(text).unwrap()).collect(),
        who: Who::default(),
    };
    let rules = vec![
        rule(Permission::Allow, RuleAction::Publish, &["#"]),
        rule(Permission::Deny, RuleAction::Subscribe, denied),
        rule(Permission::Allow, RuleAction::Subscribe, allowed),
    ];
    let access = Some(Arc::new(AccessRules::new(rules)));
    let (limits, rings) = (Limits::default(), vec![ring(&["a/#"], 100)]);
    world.reconfigure(Reconfiguration {
        limits,
        authenticator: None,
        access,
        rings,
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
    });
}

/// A token is no right: each topic is asked about, live and out of the ring.
#[test]
fn nobody_gets_out_of_a_ring_what_it_may_not_have() {
    let mut world = world(2, 100);
    put_rules(&mut world, &["a/secret/#"], &["a/#"]);
    let (alice, bob) = (world.toy(0), world.toy(1));
    let begun = bob.follow(&mut world, 1, "a/#", None).unwrap().token.to_string();
    for (topic, number) in [("a/1", 1), ("a/secret/1", 2), ("a/2", 3)] {
        publish(&mut world, &alice, topic, number..=number);
    }
    assert_eq!(bob.got_payloads(), ["1", "3"]);
    bob.follow(&mut world, 2, "a/#", Some(&begun)).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "3"]);
    for text in ["a/secret/1", "a/secret/#"] {
        let refused = bob.follow(&mut world, 3, text, Some(&begun)).unwrap_err();
        assert_eq!(refused, Refusal::NotAuthorized, "{text}");
        bob.ask(&mut world, |broker| broker.cancel(tidegate_protocol::ConsumerId(3)));
    }
}

/// Other rules hold from the moment on at which they are put in force, and whoever may not follow any more is told.
#[test]
fn other_rules_hold_for_those_who_follow_already() {
    let mut world = world(2, 100);
    put_rules(&mut world, &["none"], &["#"]);
    let (alice, bob) = (world.toy(0), world.toy(1));
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    put_rules(&mut world, &["a/1"], &["a/#"]);
    publish(&mut world, &alice, "a/1", 1..=1);
    publish(&mut world, &alice, "a/2", 2..=2);
    assert_eq!((bob.got_payloads(), bob.link.ended()), (vec!["2".to_owned()], None));
    put_rules(&mut world, &["none"], &["b/#"]);
    assert_eq!(bob.link.ended(), Some(CloseReason::NotAuthorized));
    assert_nothing_is_left(&world);
}

/// A ring is no way around the limit.
#[test]
fn followers_count_with_the_subscriptions() {
    let mut world = World::new(1);
    let limits = Limits { subscriptions: 1, ..Limits::default() };
    let rings = vec![ring(&["a/#"], 10)];
    world.reconfigure(Reconfiguration {
        limits,
        authenticator: None,
        access: None,
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
        rings,
    });
    let bob = world.toy(0);
    bob.follow(&mut world, 1, "a/1", None).unwrap();
    assert_eq!(bob.follow(&mut world, 2, "a/2", None).unwrap_err(), Refusal::SubscriptionsFull);
    bob.ask(&mut world, |broker| broker.cancel(tidegate_protocol::ConsumerId(1)));
    bob.follow(&mut world, 3, "a/2", None).unwrap();
    bob.vanish(&mut world);
    assert_nothing_is_left(&world);
}

//! Connections that hold several sessions, each under a consumer of its own.

use crate::{HOUR, QOS0, QOS1, assert_nothing_is_left};
use std::time::Duration;
use tidegate_protocol::{
    Attachment, CloseReason, ConsumerId, DeliveryTag, Detach, Outcome, Refusal, Settlement, WillAction,
};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Attaching, Toy, session};

/// A session for a consumer that settles everything.
fn named(client_id: &str, consumer: u32) -> Attaching {
    session(client_id).consumer(consumer).settlement(Settlement::Always)
}

fn subscribe(world: &mut World, toy: &Toy, consumer: u32, filter: &str) {
    toy.subscribe_with(world, filter, move |subscribe| subscribe.consumer = ConsumerId(consumer)).unwrap();
}

fn settle(world: &mut World, toy: &Toy, consumer: u32, tag: u64, outcome: Outcome) {
    toy.ask(world, move |broker| broker.settle(ConsumerId(consumer), DeliveryTag(tag), outcome));
}

fn detach(world: &mut World, toy: &Toy, consumer: u32, expiry: Option<Duration>) {
    toy.ask(world, move |broker| {
        let (consumer, will, saved) = (ConsumerId(consumer), WillAction::Discard, b"saved".to_vec());
        broker.detach(Detach { consumer, will, expiry, saved });
    });
}

fn attach(world: &mut World, toy: &Toy, attaching: Attaching) -> Attachment {
    let answer = toy.attach(world, attaching);
    world.run();
    answer
}

/// A connection with two sessions, each subscribed to the topic of its name.
fn with_two(world: &mut World, worker: usize) -> Toy {
    let bob = world.toy(worker);
    for (name, consumer) in [("one", 1), ("two", 2)] {
        assert!(matches!(attach(world, &bob, named(name, consumer)), Attachment::Now(_)));
        subscribe(world, &bob, consumer, name);
    }
    bob
}

fn payloads_of(toy: &Toy) -> Vec<(u32, String, bool)> {
    toy.got().into_iter().map(|got| (got.consumer, got.payload, got.redelivered)).collect()
}

fn owned(expected: &[(u32, &str, bool)]) -> Vec<(u32, String, bool)> {
    expected.iter().map(|(consumer, payload, again)| (*consumer, (*payload).to_owned(), *again)).collect()
}

#[test]
fn each_session_receives_under_its_own_consumer() {
    let mut world = World::new(2);
    let alice = world.toy(0);
    let bob = with_two(&mut world, 1);
    assert_eq!(world.node().gauges().sessions_attached, 2);
    for topic in ["one", "two", "one"] {
        alice.publish(&mut world, topic, topic, QOS1).unwrap();
    }
    world.run();
    let mut got = payloads_of(&bob);
    got.sort();
    assert_eq!(got, owned(&[(1, "one", false), (1, "one", false), (2, "two", false)]));
}

/// What is unsettled comes again, what came meanwhile follows, and each session keeps its own.
#[test]
fn a_lost_connection_keeps_every_session() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let alice = world.toy(0);
        let bob = with_two(&mut world, 1);
        for payload in ["1", "2", "3"] {
            alice.publish(&mut world, "one", payload, QOS1).unwrap();
        }
        alice.publish(&mut world, "two", "4", QOS0).unwrap();
        world.run();
        settle(&mut world, &bob, 1, 2, Outcome::Accepted);
        bob.vanish(&mut world);
        assert_eq!(world.node().gauges().sessions_attached, 0);
        for (topic, qos) in [("one", QOS1), ("two", QOS1), ("one", QOS0)] {
            alice.publish(&mut world, topic, "late", qos).unwrap();
        }
        let bob = world.toy(worker);
        attach(&mut world, &bob, named("two", 7));
        assert_eq!(payloads_of(&bob), owned(&[(7, "4", true), (7, "late", false)]), "worker {worker}");
        attach(&mut world, &bob, named("one", 3));
        let expected = [(3, "1", true), (3, "3", true), (3, "late", false)];
        assert_eq!(payloads_of(&bob), owned(&expected), "worker {worker}");
        assert_eq!(world.dropped("offline"), 1);
    }
}

/// One session of a connection is given up; the others go on.
#[test]
fn a_session_is_given_up_alone() {
    let mut world = World::new(1);
    let alice = world.toy(0);
    let bob = with_two(&mut world, 0);
    detach(&mut world, &bob, 1, None);
    for topic in ["one", "two"] {
        alice.publish(&mut world, topic, topic, QOS1).unwrap();
    }
    world.run();
    assert_eq!(payloads_of(&bob), owned(&[(2, "two", false)]));
    let Attachment::Now(attached) = attach(&mut world, &bob, named("one", 3)) else { panic!() };
    assert_eq!((attached.present, attached.saved), (true, vec![b"saved".to_vec()]));
    assert_eq!(payloads_of(&bob), owned(&[(3, "one", false)]));
}

/// A session that is given up for good ends, with what waits in it, while its connection stays.
#[test]
fn a_session_is_ended_alone() {
    let mut world = World::new(2);
    let alice = world.toy(0);
    let bob = with_two(&mut world, 1);
    alice.publish(&mut world, "one", "x", QOS1).unwrap();
    world.run();
    detach(&mut world, &bob, 1, Some(Duration::ZERO));
    world.run();
    let gauges = world.node().gauges();
    assert_eq!((gauges.sessions, gauges.subscriptions, world.dropped("session_ended")), (1, 1, 1));
    assert!(!bob.link.is_ended());
    bob.vanish(&mut world);
    world.end_everything(HOUR);
    assert_nothing_is_left(&world);
}

/// Whoever takes over one of its sessions closes the whole connection; the other session waits.
#[test]
fn a_take_over_closes_the_whole_other_connection() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let alice = world.toy(0);
        let bob = with_two(&mut world, 1);
        alice.publish(&mut world, "two", "unsettled", QOS1).unwrap();
        world.run();
        let carol = world.toy(worker);
        attach(&mut world, &carol, named("other", 1));
        let answer = carol.attach(&mut world, named("two", 5));
        assert_eq!(matches!(answer, Attachment::Later), worker == 0, "worker {worker}");
        world.run();
        if let Some((consumer, answer)) = carol.take_reply_for() {
            assert_eq!((consumer, answer.unwrap().present), (ConsumerId(5), true));
        }
        assert_eq!(bob.link.ended(), Some(CloseReason::SessionTakenOver));
        assert_eq!(payloads_of(&carol), owned(&[(5, "unsettled", true)]));
        alice.publish(&mut world, "one", "kept", QOS1).unwrap();
        attach(&mut world, &carol, named("one", 6));
        assert_eq!(payloads_of(&carol), owned(&[(6, "kept", false)]), "worker {worker}");
        world.end_everything(HOUR);
        assert_nothing_is_left(&world);
    }
}

/// Two connections that want a session of each other at the same moment close each other, and nothing is left waiting.
#[test]
fn two_that_take_over_each_other_both_end() {
    let mut world = World::new(2);
    let [bob, carol] = [0, 1].map(|worker| world.toy(worker));
    attach(&mut world, &bob, named("bob", 1));
    attach(&mut world, &carol, named("carol", 1));
    assert!(matches!(bob.attach(&mut world, named("carol", 2)), Attachment::Later));
    assert!(matches!(carol.attach(&mut world, named("bob", 2)), Attachment::Later));
    world.run();
    let ended = [bob.link.ended(), carol.link.ended()];
    assert!(ended.contains(&Some(CloseReason::SessionTakenOver)), "{ended:?}");
    world.end_everything(HOUR);
    assert_nothing_is_left(&world);
}

/// A session has one consumer, and a consumer one session.
#[test]
fn nothing_is_attached_twice_by_one_connection() {
    let mut world = World::new(1);
    let bob = with_two(&mut world, 0);
    for attaching in [named("one", 3), named("three", 1), named("one", 3).clean()] {
        let answer = bob.attach(&mut world, attaching);
        assert!(matches!(answer, Attachment::Refused(Refusal::UnknownConsumer)), "{answer:?}");
    }
    let gauges = world.node().gauges();
    assert_eq!((gauges.sessions, gauges.sessions_attached, gauges.subscriptions), (2, 2, 2));
    assert!(
        !bob.ask(&mut world, |broker| broker.cancel(ConsumerId(1))),
        "a session is detached, not cancelled"
    );
}

/// While an answer is awaited no further session can be claimed.
#[test]
fn one_answer_is_awaited_at_a_time() {
    let mut world = World::new(2);
    let bob = world.attached(0, session("bob"));
    let carol = world.toy(1);
    let answers = carol.ask(&mut world, |broker| {
        [1, 2].map(|consumer| {
            broker.attach(tidegate_protocol::Attach {
                consumer: ConsumerId(consumer),
                protocol: "toy",
                client_id: if consumer == 1 { "bob" } else { "carol" },
                clean_start: false,
                expiry: HOUR,
                credit: 1,
                settlement: Settlement::Always,
                will: None,
                limits: tidegate_protocol::SessionLimits::Usual,
                wants_publisher: false,
            })
        })
    });
    assert!(matches!(answers, [Attachment::Later, Attachment::Refused(_)]), "{answers:?}");
    world.run();
    assert!(bob.link.is_ended() && carol.take_reply().unwrap().is_ok());
}

/// With automatic settlement what was written is done, also what an earlier connection left unsettled.
#[test]
fn a_session_that_settles_by_itself_keeps_only_what_was_not_sent() {
    let mut world = World::new(1);
    let alice = world.toy(0);
    let bob = with_two(&mut world, 0);
    alice.publish(&mut world, "one", "1", QOS1).unwrap();
    bob.vanish(&mut world);
    alice.publish(&mut world, "one", "2", QOS1).unwrap();
    let automatic = || session("one").settlement(Settlement::Automatic);
    let bob = world.attached(0, automatic());
    world.run();
    assert_eq!(payloads_of(&bob), owned(&[(0, "1", true), (0, "2", false)]));
    bob.vanish(&mut world);
    let bob = world.attached(0, automatic());
    world.run();
    assert_eq!((payloads_of(&bob), world.node().gauges().queued_messages), (vec![], 0));
}

/// What was not settled does not come again when its time is over, except where a protocol has to repeat it ([MQTT-4.4.0-1]).
#[test]
fn an_unsettled_message_expires_where_it_need_not_be_repeated() {
    for (settlement, again) in [(Settlement::Always, 0), (Settlement::AboveAtMostOnce, 1)] {
        let mut world = World::new(1);
        let alice = world.toy(0);
        let bob = world.attached(0, session("bob").settlement(settlement));
        bob.subscribe(&mut world, "a");
        alice
            .publish_with(&mut world, "a", "short", QOS1, |publish| publish.expiry = Some(HOUR / 2))
            .unwrap();
        alice.publish(&mut world, "a", "long", QOS1).unwrap();
        world.run();
        assert_eq!(bob.got_payloads(), ["short", "long"]);
        bob.vanish(&mut world);
        world.advance(HOUR / 2);
        alice.publish(&mut world, "a", "new", QOS1).unwrap();
        let bob = world.attached(0, session("bob").settlement(settlement).credit(1));
        let mut got = Vec::new();
        for _ in 0..3 {
            world.run();
            for one in bob.got() {
                bob.accept(&mut world, one.tag.unwrap());
                got.push(one.payload);
            }
        }
        assert_eq!(got, ["short", "long", "new"][1 - again..], "{settlement:?}");
        assert_eq!(world.dropped("expired"), 1 - again as u64);
    }
}

//! Shared subscriptions: each message to one member, and what happens when members come and go (MQTT 5.0 section 4.8.2).

use crate::{QOS0, QOS1, QOS2};
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_protocol::{Consume, ConsumerId, DeliveryTag, Outcome, RetainedDelivery, Settlement, Subscribe};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Attaching, SESSION, Toy, filter, session, subscription};

pub(crate) fn member(world: &mut World, worker: usize, attaching: Attaching) -> Toy {
    let toy = world.attached(worker, attaching);
    toy.join(world, "g", "a");
    toy
}

pub(crate) fn publish_all(world: &mut World, publisher: &Toy, payloads: &[&str]) {
    for payload in payloads {
        publisher.publish(world, "a", payload, QOS1).unwrap();
    }
    world.run();
}

pub(crate) fn short(client_id: &str) -> Attaching {
    session(client_id).expiry(Duration::ZERO)
}

/// Section 4.8.2: one member each, in turn, wherever they live.
#[test]
fn each_message_goes_to_one_member_in_turn() {
    for workers in [[0, 0, 0], [0, 1, 2], [1, 1, 0], [2, 2, 2]] {
        for qos in [QOS0, QOS1, QOS2] {
            let mut world = World::new(3);
            let alice = world.attached(0, session("alice"));
            let members = [0, 1, 2].map(|n| member(&mut world, workers[n], session(&n.to_string())));
            for number in 0..6 {
                assert!(alice.publish(&mut world, "a", &number.to_string(), qos).unwrap().matched);
            }
            world.run();
            let got = members.map(|member| member.got_payloads());
            assert!(got.iter().all(|got| got.len() == 2), "{workers:?}: {got:?}");
            let mut all = got.concat();
            all.sort_unstable();
            assert_eq!(all, ["0", "1", "2", "3", "4", "5"]);
            assert_eq!(world.node().gauges().queued_messages, 0);
        }
    }
}

/// [MQTT-4.8.2-3], section 3.8.3.1 and 3.8.2.1.2: what is delivered is what its receiver was granted.
#[test]
fn each_member_has_its_own_grant() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let members = [0, 1].map(|worker| world.attached(worker, session(&worker.to_string())));
    for (member, (qos, retain, id)) in members.iter().zip([(QOS0, true, 7), (QOS2, false, 8)]) {
        let options = move |subscribe: &mut Subscribe<'_>| {
            (subscribe.share, subscribe.qos_max) = (Some("g"), qos);
            (subscribe.retain_as_published, subscribe.subscription_id) = (retain, Some(id));
        };
        assert!(!member.subscribe_with(&mut world, "a", options).unwrap().existed);
    }
    for _ in 0..2 {
        alice.publish_with(&mut world, "a", "x", QOS1, |publish| publish.retain = true).unwrap();
    }
    world.run();
    let got = members.map(|member| member.got().remove(0));
    assert_eq!(got.clone().map(|got| (got.qos, got.retain)), [(0, true), (1, false)]);
    assert_eq!(got.map(|got| got.subscription_ids), [[7], [8]]);
}

/// Section 4.8.2: a second SUBSCRIBE changes the options and nothing else; the first UNSUBSCRIBE ends the membership.
#[test]
fn subscribing_again_replaces_the_options() {
    let mut world = World::new(1);
    let [alice, bob] = ["alice", "bob"].map(|name| world.attached(0, session(name)));
    let at =
        |qos| move |subscribe: &mut Subscribe<'_>| (subscribe.share, subscribe.qos_max) = (Some("g"), qos);
    assert!(!bob.subscribe_with(&mut world, "a", at(QOS0)).unwrap().existed);
    assert!(bob.subscribe_with(&mut world, "a", at(QOS1)).unwrap().existed);
    assert_eq!(world.node().gauges().subscriptions, 1);
    publish_all(&mut world, &alice, &["1"]);
    assert_eq!(bob.got().iter().map(|got| got.qos).collect::<Vec<_>>(), [1]);
    assert!(bob.leave_group(&mut world, "g", "a") && !bob.leave_group(&mut world, "g", "a"));
    assert!(!alice.publish(&mut world, "a", "2", QOS1).unwrap().matched);
}

/// Section 4.8.2: groups are told apart by name and filter, and have nothing to do with subscriptions of one's own.
#[test]
fn groups_and_own_subscriptions_are_independent() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.join(&mut world, "g", "a");
    bob.join(&mut world, "g", "+");
    bob.join(&mut world, "h", "a");
    publish_all(&mut world, &alice, &["x"]);
    assert_eq!(bob.got_payloads(), ["x"; 4]);
    assert_eq!(world.node().gauges().subscriptions, 4);
    assert!(bob.unsubscribe(&mut world, "a") && bob.leave_group(&mut world, "g", "+"));
    publish_all(&mut world, &alice, &["y"]);
    assert_eq!(bob.got_payloads(), ["y"; 2]);
}

/// Section 3.8.4: retained messages are not sent to a shared subscription.
#[test]
fn a_group_gets_no_retained_messages() {
    let mut world = World::new(1);
    let [alice, bob] = ["alice", "bob"].map(|name| world.attached(0, session(name)));
    alice.publish_with(&mut world, "a", "state", QOS1, |publish| publish.retain = true).unwrap();
    let always = |subscribe: &mut Subscribe<'_>| {
        (subscribe.share, subscribe.retained) = (Some("g"), RetainedDelivery::Always);
    };
    bob.subscribe_with(&mut world, "a", always).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), [""; 0]);
}

/// A member without credit gets nothing more, and the others do not wait for it.
#[test]
fn a_slow_member_slows_nobody() {
    for workers in [[0, 0], [0, 1], [1, 0], [1, 1]] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let slow = member(&mut world, workers[0], session("slow").credit(1));
        let quick = member(&mut world, workers[1], session("quick").credit(1000));
        publish_all(&mut world, &alice, &["0", "1", "2", "3", "4", "5", "6", "7"]);
        let (slow, quick) = (slow.got_payloads(), quick.got_payloads());
        assert_eq!((slow.len(), quick.len()), (1, 7), "{workers:?}: {slow:?} {quick:?}");
    }
}

/// The same where it is the output that is full.
#[test]
fn a_member_that_does_not_read_slows_nobody() {
    for worker in [0, 1] {
        let mut world = World::with_limits(2, Limits { output_bytes: 60, ..Limits::default() });
        let alice = world.attached(0, session("alice"));
        let stuck = member(&mut world, worker, session("stuck"));
        let quick = member(&mut world, 1 - worker, session("quick").credit(1000));
        world.block(&stuck.link);
        for number in 0..20 {
            publish_all(&mut world, &alice, &[&number.to_string()]);
        }
        let got = quick.got_payloads().len();
        assert!(got >= 16, "{got} of 20");
        world.unblock(&stuck.link);
        world.run();
        assert_eq!(stuck.got_payloads().len() + got, 20);
    }
}

/// Where nobody has room the message waits, and goes to whoever has some first; the order is kept.
#[test]
fn what_nobody_can_take_waits_for_the_first_who_can() {
    for workers in [[0, 0], [0, 1], [1, 1]] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let members = [0, 1].map(|n| member(&mut world, workers[n], session(&n.to_string()).credit(1)));
        publish_all(&mut world, &alice, &["0", "1", "2", "3", "4"]);
        assert_eq!(members.each_ref().map(Toy::got_payloads), [["0"], ["1"]]);
        assert_eq!(world.node().gauges().queued_messages, 3);
        for (tag, expected) in [(1, "2"), (2, "3"), (3, "4")] {
            members[1].accept(&mut world, tag);
            world.run();
            assert_eq!(members[1].got_payloads(), [expected]);
        }
    }
}

/// [MQTT-4.5.0-1] [MQTT-3.1.1/3.1.2-5] for a group: above level 0 it waits for whoever comes, and level 0 is counted as for any session.
#[test]
fn a_group_of_offline_sessions_keeps_its_messages() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        for name in ["bob", "carol"] {
            member(&mut world, 1, session(name)).vanish(&mut world);
        }
        publish_all(&mut world, &alice, &["1", "2"]);
        alice.publish(&mut world, "a", "lost", QOS0).unwrap();
        world.run();
        assert_eq!((world.node().gauges().queued_messages, world.dropped("offline")), (2, 1));
        let carol = world.attached(worker, session("carol"));
        world.run();
        let got = carol.got();
        assert_eq!(got.iter().map(|got| got.payload.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert!(got.iter().all(|got| !got.redelivered));
    }
}

/// A member that asked for level 0 keeps nothing while it is away, and the group does not keep it for it.
#[test]
fn a_group_whose_members_take_level_0_keeps_nothing() {
    let mut world = World::new(1);
    let [alice, bob] = ["alice", "bob"].map(|name| world.attached(0, session(name)));
    bob.subscribe_with(&mut world, "a", |subscribe| {
        (subscribe.share, subscribe.qos_max) = (Some("g"), QOS0);
    })
    .unwrap();
    bob.vanish(&mut world);
    publish_all(&mut world, &alice, &["1"]);
    assert_eq!((world.node().gauges().queued_messages, world.dropped("offline")), (0, 1));
}

/// Section 4.8.2: a session that ends gives its unacknowledged messages to the others, in order and in front.
#[test]
fn an_ended_session_gives_its_messages_to_the_others() {
    // A member of another worker takes the oldest of what waits when it reads its offers.
    for (worker, [first, second, third]) in [(0, ["1", "3", "5"]), (1, ["1", "2", "3"])] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let leaving = member(&mut world, worker, short("leaving"));
        let staying = member(&mut world, 0, session("staying").credit(2));
        publish_all(&mut world, &alice, &["1", "2", "3", "4", "5"]);
        assert_eq!(
            (leaving.got_payloads(), staying.got_payloads().len()),
            (vec![first.into(), second.into(), third.into()], 2)
        );
        publish_all(&mut world, &alice, &["6"]);
        leaving.got();
        leaving.vanish(&mut world);
        world.run();
        staying.accept(&mut world, 1);
        staying.accept(&mut world, 2);
        world.run();
        let got = staying.got();
        assert_eq!(got.iter().map(|got| got.payload.as_str()).collect::<Vec<_>>(), [first, second]);
        assert!(got.iter().all(|got| !got.redelivered), "to this client they are new");
        staying.accept(&mut world, 3);
        staying.accept(&mut world, 4);
        world.run();
        assert_eq!(staying.got_payloads(), [third, "6"]);
    }
}

/// [MQTT-4.8.2-5]: what was under way at level 2 goes to nobody else; what waited does.
#[test]
fn level_2_under_way_ends_with_its_session() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let leaving = member(&mut world, 1, short("leaving").credit(1));
    for payload in ["1", "2"] {
        alice.publish(&mut world, "a", payload, QOS2).unwrap();
    }
    world.run();
    assert_eq!(leaving.got_payloads(), ["1"]);
    let other = member(&mut world, 0, session("other").credit(0));
    leaving.vanish(&mut world);
    world.run();
    assert_eq!((other.got_payloads(), world.dropped("session_ended")), (vec!["2".to_owned()], 1));
}

/// [MQTT-4.8.2-4]: level 2 waits for the client that has begun with it; section 4.8.2: level 1 goes to who is there.
#[test]
fn a_lost_connection_hands_level_1_to_others_and_keeps_level_2() {
    for workers in [[0, 0], [0, 1], [1, 0]] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let bob = member(&mut world, workers[0], session("bob"));
        alice.publish(&mut world, "a", "one", QOS1).unwrap();
        alice.publish(&mut world, "a", "two", QOS2).unwrap();
        world.run();
        assert_eq!(bob.got_payloads(), ["one", "two"]);
        let carol = member(&mut world, workers[1], session("carol"));
        bob.vanish(&mut world);
        world.run();
        assert_eq!(carol.got_payloads(), ["one"]);
        let bob = world.attached(workers[1], session("bob"));
        world.run();
        let got: Vec<_> = bob.got().into_iter().map(|got| (got.payload, got.tag, got.redelivered)).collect();
        assert_eq!(got, [("two".to_owned(), Some(2), true)]);
    }
}

/// [MQTT-4.4.0-1], section 4.8.2: with nobody else there, level 1 waits for the same client, under its tag.
#[test]
fn level_1_stays_with_its_session_where_nobody_else_is_there() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = member(&mut world, 0, session("bob"));
    member(&mut world, 1, session("away")).vanish(&mut world);
    publish_all(&mut world, &alice, &["1", "2"]);
    bob.accept(&mut world, 1);
    bob.vanish(&mut world);
    let bob = world.attached(1, session("bob"));
    world.run();
    let got: Vec<_> = bob.got().into_iter().map(|got| (got.payload, got.tag, got.redelivered)).collect();
    assert_eq!(got, [("2".to_owned(), Some(2), true)]);
}

/// Section 4.8.2: a session that ends while nobody holds it gives level 1 back as well.
#[test]
fn an_expired_session_gives_its_messages_to_the_others() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = member(&mut world, 1, session("bob").expiry(Duration::from_secs(60)));
    alice.publish(&mut world, "a", "one", QOS1).unwrap();
    alice.publish(&mut world, "a", "two", QOS2).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["one", "two"]);
    bob.vanish(&mut world);
    let carol = member(&mut world, 0, session("carol"));
    world.run();
    assert_eq!(carol.got_payloads(), [""; 0]);
    world.advance(Duration::from_secs(60));
    assert_eq!((carol.got_payloads(), world.dropped("session_ended")), (vec!["one".to_owned()], 1));
}

/// [MQTT-4.8.2-6]: what a member refuses goes to nobody else.
#[test]
fn a_refused_message_is_discarded() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let bob = member(&mut world, 0, short("bob"));
    let carol = member(&mut world, 0, session("carol"));
    publish_all(&mut world, &alice, &["1"]);
    bob.ask(&mut world, |broker| broker.settle(SESSION, DeliveryTag(1), Outcome::Rejected));
    bob.vanish(&mut world);
    world.run();
    assert_eq!((carol.got_payloads(), world.dropped("rejected")), (vec![], 1));
}

/// [MQTT-3.10.4-2] [MQTT-3.10.4-3]: who leaves gets nothing new, and may finish what it has begun with.
#[test]
fn a_member_that_unsubscribes_finishes_what_it_has() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let bob = member(&mut world, worker, short("bob").credit(1));
        let carol = member(&mut world, 0, session("carol").credit(1));
        publish_all(&mut world, &alice, &["1", "2", "3"]);
        assert_eq!((bob.got_payloads(), carol.got_payloads()), (vec!["1".into()], vec!["2".to_owned()]));
        assert!(bob.leave_group(&mut world, "g", "a"));
        world.run();
        bob.accept(&mut world, 1);
        carol.accept(&mut world, 1);
        world.run();
        assert_eq!((bob.got_payloads(), carol.got_payloads()), (vec![], vec!["3".to_owned()]));
    }
}

/// A member that has unsubscribed and then loses its connection gives back what it has not acknowledged.
#[test]
fn a_former_member_gives_back_when_it_ends() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = member(&mut world, 1, short("bob"));
    let carol = member(&mut world, 0, session("carol"));
    publish_all(&mut world, &alice, &["1"]);
    bob.leave_group(&mut world, "g", "a");
    bob.vanish(&mut world);
    world.run();
    assert_eq!(carol.got_payloads(), ["1"]);
}

/// An offer that is under way when its member leaves goes to somebody else.
#[test]
fn an_offer_to_a_member_that_has_left_goes_to_another() {
    type End = fn(&mut World, &Toy);
    let ends: [End; 3] = [
        |world, toy| toy.vanish(world),
        |world, toy| assert!(toy.leave_group(world, "g", "a")),
        |world, _| drop(world.toy(0).attach(world, session("bob"))),
    ];
    for end in ends {
        let mut world = World::new(3);
        let alice = world.attached(0, session("alice"));
        let carol = member(&mut world, 0, session("carol"));
        let bob = member(&mut world, 1, session("bob"));
        let dave = member(&mut world, 2, session("dave"));
        for payload in ["1", "2", "3"] {
            alice.publish(&mut world, "a", payload, QOS1).unwrap();
        }
        end(&mut world, &bob);
        world.run();
        let got = [&carol, &dave].map(|member| member.got_payloads().len());
        assert!(got.iter().sum::<usize>() + world.node().gauges().queued_messages >= 2, "{got:?}");
        assert_eq!(world.node().gauges().queued_messages, 0);
    }
}

/// A single member has the order of a subscription of its own, and takes it along when it moves.
#[test]
fn a_single_member_keeps_the_order_over_workers() {
    let mut world = World::new(3);
    let publishers = [0, 1].map(|worker| world.attached(worker, session(&format!("p{worker}"))));
    let mut bob = member(&mut world, 2, session("bob").credit(1000));
    let mut got = Vec::new();
    for round in 0..6 {
        for number in 0..5 {
            let payload = format!("{round}{number}");
            publishers[round % 2].publish(&mut world, "a", &payload, QOS1).unwrap();
        }
        if round % 2 == 1 {
            world.run();
            for delivery in bob.got() {
                bob.accept(&mut world, delivery.tag.unwrap());
                got.push(delivery.payload);
            }
        }
        bob.vanish(&mut world);
        bob = world.attached((round + 1) % 3, session("bob").credit(1000));
    }
    world.run();
    got.extend(bob.got_payloads());
    let of = |publisher: usize| -> Vec<&String> {
        got.iter().filter(|payload| payload.parse::<usize>().unwrap() / 10 % 2 == publisher).collect()
    };
    assert_eq!(got.len(), 30);
    assert!(of(0).is_sorted() && of(1).is_sorted(), "{got:?}");
}

/// A publisher may be a member of the group that it publishes to.
#[test]
fn a_member_takes_its_turn_with_its_own_messages() {
    let mut world = World::new(1);
    let bob = member(&mut world, 0, session("bob").credit(1));
    let carol = member(&mut world, 0, session("carol"));
    publish_all(&mut world, &bob, &["1", "2", "3"]);
    assert_eq!(
        (bob.got_payloads(), carol.got_payloads()),
        (vec!["1".to_owned()], vec!["2".into(), "3".into()])
    );
    carol.vanish(&mut world);
    bob.ask(&mut world, |broker| {
        for payload in ["4", "5"] {
            broker.publish(&tidegate_testkit::pair::toy::message("a", payload, QOS1)).unwrap();
        }
        broker.settle(SESSION, DeliveryTag(1), Outcome::Accepted);
    });
    world.run();
    assert_eq!(bob.got_payloads(), ["2"]);
    for (tag, expected) in [(2, "3"), (3, "4"), (4, "5")] {
        bob.accept(&mut world, tag);
        world.run();
        assert_eq!(bob.got_payloads(), [expected]);
    }
}

/// Other kinds of consumers share as well: what they have not settled goes back when they end.
#[test]
fn a_consumer_without_a_session_is_a_member_too() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let stomp = world.toy(0);
    stomp.ask(&mut world, |broker| {
        let consumer = ConsumerId(5);
        broker.consume(Consume { consumer, credit: 10, settlement: Settlement::Always }).unwrap();
        let filter = filter("a");
        broker.subscribe(&Subscribe { consumer, share: Some("g"), ..subscription(&filter) }).unwrap();
    });
    alice.publish(&mut world, "a", "1", QOS0).unwrap();
    world.run();
    assert_eq!(stomp.got_payloads(), ["1"]);
    let bob = member(&mut world, 0, session("bob"));
    assert!(stomp.ask(&mut world, |broker| broker.cancel(ConsumerId(5))));
    world.run();
    assert_eq!(bob.got_payloads(), ["1"]);
}

//! From a publisher to its receivers, on one worker and across workers.

use crate::{HOUR, QOS0, QOS1, QOS2, assert_nothing_is_left};
use tidegate_message::QoS;
use tidegate_protocol::{Answer, Close, CloseReason, Published, Refused};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::session;

/// [MQTT-4.5.0-1] [MQTT-3.1.1/4.5.0-1]
#[test]
fn a_message_reaches_a_receiver_on_the_same_worker() {
    let mut world = World::new(1);
    let (alice, bob) = (world.attached(0, session("alice")), world.attached(0, session("bob")));
    bob.subscribe(&mut world, "a/+");
    assert_eq!(
        alice.publish(&mut world, "a/b", "hello", QOS1),
        Ok(Published { matched: true, answer: Answer::Now })
    );
    world.run();
    let got = bob.got();
    assert_eq!((got[0].topic.as_str(), got[0].payload.as_str(), got[0].qos), ("a/b", "hello", 1));
    assert_eq!((got[0].tag, got[0].retain, got[0].redelivered, got.len()), (Some(1), false, false, 1));
}

/// [MQTT-4.5.0-1] [MQTT-3.1.1/4.5.0-1]
#[test]
fn a_message_reaches_receivers_on_other_workers() {
    let mut world = World::new(3);
    let alice = world.attached(0, session("alice"));
    let others = [("one", 1), ("two", 2), ("three", 2)];
    let others = others.map(|(name, worker)| world.attached(worker, session(name)));
    for other in &others {
        other.subscribe(&mut world, "a");
    }
    assert_eq!(
        alice.publish(&mut world, "a", "hello", QOS0),
        Ok(Published { matched: true, answer: Answer::Now })
    );
    assert!(others.iter().all(|other| other.got().is_empty()));
    world.run();
    assert!(others.iter().all(|other| other.got_payloads() == ["hello"]));
}

/// MQTT 5.0 section 3.4.2.1: the publisher can be told that nobody has subscribed.
#[test]
fn a_message_that_nobody_has_subscribed_to_is_not_matched() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    assert_eq!(
        alice.publish(&mut world, "a", "x", QOS1),
        Ok(Published { matched: false, answer: Answer::Now })
    );
}

/// [MQTT-3.8.4-8] [MQTT-3.1.1/3.8.4-6]: the level of a delivery is the lower of both.
#[test]
fn the_level_is_the_lower_of_published_and_subscribed() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    for (worker, name) in [(0, "near"), (1, "far")] {
        let bob = world.attached(worker, session(name));
        bob.subscribe_with(&mut world, "a", |subscribe| subscribe.qos_max = QoS::AtLeastOnce).unwrap();
        for qos in [QOS0, QOS1, QOS2] {
            alice.publish(&mut world, "a", "x", qos).unwrap();
        }
        world.run();
        let levels: Vec<_> = bob.got().iter().map(|got| (got.qos, got.tag)).collect();
        assert_eq!(levels, [(0, None), (1, Some(1)), (1, Some(2))], "{name}");
    }
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-3.1.1/4.6.0-5] [MQTT-3.1.1/4.6.0-6]
#[test]
fn the_order_of_one_publisher_is_kept_on_every_worker() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let near = world.attached(0, session("near").credit(1000));
    let far = world.attached(1, session("far").credit(1000));
    near.subscribe(&mut world, "a");
    far.subscribe(&mut world, "a");
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for (at, number) in numbers.iter().enumerate() {
        alice.publish(&mut world, "a", number, QoS::ALL[at % 3]).unwrap();
        if at % 7 == 0 {
            world.run();
        }
    }
    world.run();
    assert_eq!(near.got_payloads(), numbers);
    assert_eq!(far.got_payloads(), numbers);
}

/// [MQTT-3.3.4-2] to [MQTT-3.3.4-4] [MQTT-3.1.1/3.3.5-1]
#[test]
fn overlapping_subscriptions_give_one_delivery_with_all_identifiers() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe_with(&mut world, "a/#", |subscribe| subscribe.subscription_id = Some(7)).unwrap();
    bob.subscribe_with(&mut world, "a/+", |subscribe| {
        subscribe.subscription_id = Some(3);
        subscribe.qos_max = QOS0;
    })
    .unwrap();
    alice.publish(&mut world, "a/b", "x", QOS1).unwrap();
    world.run();
    let got = bob.got();
    assert_eq!((got.len(), got[0].qos, got[0].subscription_ids.clone()), (1, 1, vec![3, 7]));
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_leaves_out_what_the_session_itself_published() {
    let mut world = World::new(2);
    let bob = world.attached(0, session("bob"));
    let alice = world.attached(1, session("alice"));
    bob.subscribe_with(&mut world, "a", |subscribe| subscribe.no_local = true).unwrap();
    bob.publish(&mut world, "a", "own", QOS1).unwrap();
    alice.publish(&mut world, "a", "other", QOS1).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["other"]);
}

/// [MQTT-3.8.3-3]: a message of the session's earlier connection is its own as well, wherever it is now.
#[test]
fn no_local_holds_over_a_move_to_another_worker() {
    let mut world = World::new(2);
    let bob = world.attached(0, session("bob"));
    let carol = world.attached(1, session("carol"));
    bob.subscribe_with(&mut world, "a", |subscribe| subscribe.no_local = true).unwrap();
    carol.subscribe(&mut world, "a");
    bob.publish(&mut world, "a", "own", QOS1).unwrap();
    bob.vanish(&mut world);
    let bob = world.attached(1, session("bob"));
    world.run();
    assert_eq!((bob.got_payloads(), carol.got_payloads()), (vec![], vec!["own".to_owned()]));
}

/// [MQTT-3.3.1-12] [MQTT-3.3.1-13] [MQTT-3.1.1/3.3.1-9]
#[test]
fn retain_as_published_decides_about_the_flag_of_live_messages() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let [near, far] = [0, 1].map(|worker| world.attached(worker, session(["near", "far"][worker])));
    for bob in [&near, &far] {
        bob.subscribe_with(&mut world, "kept", |subscribe| subscribe.retain_as_published = true).unwrap();
        bob.subscribe(&mut world, "plain");
    }
    for topic in ["kept", "plain"] {
        alice.publish_with(&mut world, topic, "x", QOS1, |publish| publish.retain = true).unwrap();
    }
    world.run();
    for bob in [&near, &far] {
        let flags: Vec<_> = bob.got().iter().map(|got| got.retain).collect();
        assert_eq!(flags, [true, false]);
    }
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.1.1/3.10.4-1] [MQTT-3.1.1/3.10.4-2]
#[test]
fn nothing_is_delivered_after_the_subscription_has_ended() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let [near, far] = [0, 1].map(|worker| world.attached(worker, session(["near", "far"][worker])));
    for bob in [&near, &far] {
        bob.subscribe(&mut world, "a");
        assert!(bob.unsubscribe(&mut world, "a"));
        assert!(!bob.unsubscribe(&mut world, "a"));
    }
    assert_eq!(
        alice.publish(&mut world, "a", "x", QOS1),
        Ok(Published { matched: false, answer: Answer::Now })
    );
    world.run();
    assert!(near.got().is_empty() && far.got().is_empty());
}

/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]: what a machine refuses takes no credit, no tag, and is counted by its reason.
#[test]
fn a_refused_delivery_is_counted_and_takes_no_credit() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe(&mut world, "a");
    bob.set_refuse(Some(Refused::TooLargeForPeer));
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    bob.set_refuse(None);
    alice.publish(&mut world, "a", "2", QOS1).unwrap();
    world.run();
    let got = bob.got();
    assert_eq!((got.len(), got[0].payload.as_str(), got[0].tag), (1, "2", Some(1)));
    assert_eq!(world.dropped("too_large_for_peer"), 1);
}

#[test]
fn received_and_sent_messages_add_up() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let [near, far] = [0, 1].map(|worker| world.attached(worker, session(["near", "far"][worker])));
    near.subscribe(&mut world, "a");
    far.subscribe_with(&mut world, "a", |subscribe| subscribe.qos_max = QOS0).unwrap();
    for qos in [QOS0, QOS1, QOS2] {
        alice.publish(&mut world, "a", "1234", qos).unwrap();
    }
    world.run();
    let metrics = world.node().metrics();
    let of = |worker: usize| &metrics[worker].protocols[0];
    for qos in [QOS0, QOS1, QOS2] {
        assert_eq!((of(0).received.at(qos).get(), of(0).received_bytes.at(qos).get()), (1, 4));
        assert_eq!((of(0).sent.at(qos).get(), of(0).sent_bytes.at(qos).get()), (1, 4));
    }
    assert_eq!((of(1).sent.at(QOS0).get(), of(1).sent.at(QOS1).get()), (3, 0));
    assert_eq!((of(0).open.get(), of(0).opened.get(), of(1).open.get()), (2, 2, 1));
    near.vanish(&mut world);
    far.leave(&mut world, tidegate_protocol::WillAction::Discard);
    let metrics = world.node().metrics();
    assert_eq!((metrics[0].protocols[0].open.get(), metrics[1].protocols[0].open.get()), (1, 0));
    assert_eq!(metrics[0].protocols[0].closed().get("peer_closed"), Some(&1));
    assert_eq!(metrics[1].protocols[0].closed().get("disconnected"), Some(&1));
}

#[test]
fn the_bytes_on_the_wire_are_all_counted() {
    let limits = tidegate_broker::Limits { output_bytes: 64, ..Default::default() };
    let mut world = World::with_limits(1, limits);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    for _ in 0..20 {
        alice.publish(&mut world, "a", "some payload", QOS0).unwrap();
    }
    world.run();
    let received = bob.link.take_received().len() as u64;
    assert_eq!(world.node().metrics()[0].protocols[0].wire_out_bytes.get(), received);
}

#[test]
fn after_the_end_of_everything_nothing_is_left() {
    let mut world = World::new(3);
    let toys: Vec<_> = (0..9).map(|at| world.attached(at % 3, session(&format!("client-{at}")))).collect();
    for toy in &toys {
        toy.subscribe(&mut world, "a/#");
        toy.publish(&mut world, "a/b", "x", QOS2).unwrap();
    }
    for worker in 0..3 {
        for key in world.shard(worker).connections() {
            let now = world.now;
            world.shard(worker).close(key, &Close::from(CloseReason::ServerShutdown), now);
        }
    }
    assert_eq!(world.node().gauges().sessions, 9);
    world.run();
    world.advance(HOUR);
    assert_nothing_is_left(&world);
}

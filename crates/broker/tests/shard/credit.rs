//! Credit: how many deliveries may be unsettled at a time, and what waits meanwhile.

use crate::{QOS0, QOS1};
use tidegate_protocol::{Consume, ConsumerId, DeliveryTag, Outcome, Settlement};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, filter, session, subscription};

fn publisher_and_receiver(world: &mut World, credit: u32) -> (Toy, Toy) {
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(world.workers() - 1, session("bob").credit(credit));
    bob.subscribe(world, "a");
    (alice, bob)
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-2]
#[test]
fn a_receiver_without_credit_waits_and_continues_when_it_settles() {
    for workers in [1, 2] {
        let mut world = World::new(workers);
        let (alice, bob) = publisher_and_receiver(&mut world, 2);
        for number in ["1", "2", "3", "4", "5"] {
            alice.publish(&mut world, "a", number, QOS1).unwrap();
        }
        world.run();
        assert_eq!(bob.got_payloads(), ["1", "2"]);
        assert_eq!(world.node().gauges().queued_messages, 3);
        bob.accept(&mut world, 2);
        world.run();
        assert_eq!(bob.got_payloads(), ["3"]);
        bob.accept(&mut world, 1);
        bob.accept(&mut world, 3);
        world.run();
        assert_eq!(bob.got_payloads(), ["4", "5"]);
        assert_eq!(world.node().gauges().queued_messages, 0);
    }
}

/// [MQTT-4.6.0-6] [MQTT-3.1.1/4.6.0-6]: a level 0 message does not overtake what waits for credit.
#[test]
fn level_0_stays_behind_what_waits_for_credit() {
    for workers in [1, 2] {
        let mut world = World::new(workers);
        let (alice, bob) = publisher_and_receiver(&mut world, 1);
        for (payload, qos) in [("1", QOS1), ("2", QOS1), ("3", QOS0), ("4", QOS1)] {
            alice.publish(&mut world, "a", payload, qos).unwrap();
        }
        world.run();
        assert_eq!(bob.got_payloads(), ["1"]);
        bob.accept(&mut world, 1);
        world.run();
        assert_eq!(bob.got_payloads(), ["2", "3"]);
        bob.accept(&mut world, 2);
        alice.publish(&mut world, "a", "5", QOS0).unwrap();
        world.run();
        assert_eq!(bob.got_payloads(), ["4", "5"]);
    }
}

/// [MQTT-3.3.4-9]: level 0 needs no credit.
#[test]
fn level_0_flows_without_credit_where_nothing_waits() {
    let mut world = World::new(1);
    let (alice, bob) = publisher_and_receiver(&mut world, 1);
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    alice.publish(&mut world, "a", "2", QOS0).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2"]);
}

#[test]
fn unknown_and_repeated_tags_give_no_credit() {
    let mut world = World::new(1);
    let (alice, bob) = publisher_and_receiver(&mut world, 1);
    for number in ["1", "2", "3"] {
        alice.publish(&mut world, "a", number, QOS1).unwrap();
    }
    for tag in [99, 1, 1, 0] {
        bob.accept(&mut world, tag);
    }
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2"]);
}

/// [MQTT-4.4.0-2]
#[test]
fn a_rejected_delivery_is_counted_and_does_not_come_again() {
    let mut world = World::new(1);
    let (alice, bob) = publisher_and_receiver(&mut world, 1);
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    bob.ask(&mut world, |broker| broker.settle(ConsumerId(0), DeliveryTag(1), Outcome::Rejected));
    world.run();
    assert_eq!((bob.got_payloads(), world.dropped("rejected")), (vec!["1".to_owned()], 1));
    bob.vanish(&mut world);
    let bob = world.attached(0, session("bob"));
    world.run();
    assert_eq!(bob.got(), []);
}

fn consumer(world: &mut World, settlement: Settlement, credit: u32) -> Toy {
    let carol = world.toy(0);
    carol.ask(world, move |broker| {
        broker.consume(Consume { consumer: ConsumerId(5), credit, settlement }).unwrap();
        let filter = filter("a");
        let subscribe = tidegate_protocol::Subscribe { consumer: ConsumerId(5), ..subscription(&filter) };
        broker.subscribe(&subscribe).unwrap();
    });
    carol
}

fn settle(world: &mut World, toy: &Toy, tags: &'static [u64], outcome: Outcome) {
    toy.ask(world, move |broker| {
        tags.iter().for_each(|tag| broker.settle(ConsumerId(5), DeliveryTag(*tag), outcome));
    });
}

/// [STOMP-1.2/SUBSCRIBE ack Header]: `auto` needs no settling whatever the level is.
#[test]
fn an_automatic_consumer_gets_everything_without_tags() {
    let mut world = World::new(1);
    let (alice, _) = publisher_and_receiver(&mut world, 10);
    let carol = consumer(&mut world, Settlement::Automatic, 1);
    for number in ["1", "2", "3"] {
        alice.publish(&mut world, "a", number, QOS1).unwrap();
    }
    world.run();
    assert!(carol.got().iter().map(|got| got.tag).eq([None, None, None]));
}

/// [STOMP-1.2/SUBSCRIBE ack Header]: `client` settles every message, level 0 too.
#[test]
fn a_settling_consumer_gets_a_tag_with_every_level() {
    let mut world = World::new(1);
    let (alice, _) = publisher_and_receiver(&mut world, 10);
    let carol = consumer(&mut world, Settlement::Always, 2);
    for (payload, qos) in [("1", QOS0), ("2", QOS1), ("3", QOS0)] {
        alice.publish(&mut world, "a", payload, qos).unwrap();
    }
    world.run();
    assert_eq!(carol.got_payloads(), ["1", "2"]);
    settle(&mut world, &carol, &[1], Outcome::Accepted);
    world.run();
    assert_eq!(carol.got_payloads(), ["3"]);
}

/// AMQP 0-9-1 basic.nack with requeue: a released delivery goes back to its place.
#[test]
fn a_released_delivery_comes_again_before_what_is_newer() {
    let mut world = World::new(1);
    let (alice, _) = publisher_and_receiver(&mut world, 10);
    let carol = consumer(&mut world, Settlement::Always, 2);
    for number in ["1", "2", "3"] {
        alice.publish(&mut world, "a", number, QOS1).unwrap();
    }
    world.run();
    carol.got();
    settle(&mut world, &carol, &[1], Outcome::Released);
    world.run();
    let got = carol.got();
    assert_eq!((got.len(), got[0].payload.as_str(), got[0].redelivered), (1, "1", true));
}

/// AMQP 0-9-1 basic.nack with requeue: several released deliveries keep their order.
#[test]
fn deliveries_that_are_released_together_keep_their_order() {
    let mut world = World::new(1);
    let (alice, _) = publisher_and_receiver(&mut world, 10);
    let carol = consumer(&mut world, Settlement::Always, 3);
    for number in ["1", "2", "3", "4"] {
        alice.publish(&mut world, "a", number, QOS1).unwrap();
    }
    world.run();
    carol.got();
    settle(&mut world, &carol, &[1, 2, 3], Outcome::Released);
    world.run();
    assert_eq!(carol.got_payloads(), ["1", "2", "3"]);
}

/// [STOMP-1.2/UNSUBSCRIBE]: what a cancelled consumer had not received is gone, and nothing of it stays behind.
#[test]
fn a_cancelled_consumer_leaves_nothing() {
    let mut world = World::new(1);
    let alice = world.toy(0);
    let carol = consumer(&mut world, Settlement::Always, 1);
    for number in ["1", "2", "3"] {
        alice.publish(&mut world, "a", number, QOS1).unwrap();
    }
    assert_eq!(world.node().gauges().queued_messages, 2);
    assert!(carol.ask(&mut world, |broker| broker.cancel(ConsumerId(5))));
    assert!(!carol.ask(&mut world, |broker| broker.cancel(ConsumerId(5))));
    crate::assert_nothing_is_left(&world);
    assert_eq!(carol.got_payloads(), Vec::<String>::new(), "nothing had been flushed");
    world.run();
    assert_eq!(carol.got_payloads(), ["1"]);
}

/// MQTT 5.0 section 3.8.3.1 (No Local) for a consumer that is no session: "this connection published".
#[test]
fn no_local_holds_for_a_consumer_without_a_session() {
    let mut world = World::new(1);
    let carol = world.toy(0);
    carol.ask(&mut world, move |broker| {
        let consumer = ConsumerId(5);
        broker.consume(Consume { consumer, credit: 1, settlement: Settlement::Automatic }).unwrap();
        let filter = filter("a");
        let subscribe = tidegate_protocol::Subscribe { consumer, no_local: true, ..subscription(&filter) };
        broker.subscribe(&subscribe).unwrap();
    });
    carol.publish(&mut world, "a", "own", QOS0).unwrap();
    world.run();
    assert_eq!(carol.got_payloads(), Vec::<String>::new());
}

//! Deliveries that a connection's own input causes for itself: they wait until its machine has returned.

use crate::{QOS0, QOS1};
use tidegate_protocol::{Consume, ConsumerId, Detach, Settlement, Subscribe, WillAction};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, filter, message, session, subscription};

/// [MQTT-4.6.0-6] [MQTT-3.1.1/4.6.0-6]
#[test]
fn own_messages_arrive_in_order() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice").credit(2));
    alice.subscribe(&mut world, "a");
    alice.ask(&mut world, |broker| {
        for (payload, qos) in [("1", QOS0), ("2", QOS1), ("3", QOS1), ("4", QOS1), ("5", QOS0)] {
            broker.publish(&message("a", payload, qos)).unwrap();
        }
    });
    world.run();
    assert_eq!(alice.got_payloads(), ["1", "2", "3"]);
    alice.accept(&mut world, 1);
    world.run();
    assert_eq!(alice.got_payloads(), ["4", "5"]);
}

/// [MQTT-4.6.0-6]: what waited already comes first.
#[test]
fn own_messages_come_after_what_waits() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice").credit(1));
    alice.subscribe(&mut world, "a");
    for number in ["1", "2"] {
        alice.publish(&mut world, "a", number, QOS1).unwrap();
    }
    alice.ask(&mut world, |broker| {
        broker.settle(ConsumerId(0), tidegate_protocol::DeliveryTag(1), tidegate_protocol::Outcome::Accepted);
        broker.publish(&message("a", "3", QOS0)).unwrap();
    });
    world.run();
    assert_eq!(alice.got_payloads(), ["1", "2", "3"]);
}

/// [MQTT-4.3.2-4] [MQTT-3.1.1/4.3.2-2]: what was acknowledged to the publisher is not lost when the same input ends the
/// connection.
#[test]
fn an_own_message_is_kept_when_the_same_input_detaches() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    alice.subscribe(&mut world, "a");
    alice.set_detached();
    alice.ask(&mut world, |broker| {
        broker.publish(&message("a", "kept", QOS1)).unwrap();
        broker.detach(Detach {
            consumer: SESSION,
            will: WillAction::Discard,
            expiry: None,
            saved: Vec::new(),
        });
    });
    alice.vanish(&mut world);
    let alice = world.attached(0, session("alice"));
    world.run();
    assert_eq!(alice.got_payloads(), ["kept"]);
}

/// [MQTT-4.3.2-4] [MQTT-3.1.1/4.3.2-2]
#[test]
fn an_own_message_is_kept_when_the_same_input_is_the_last() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    alice.subscribe(&mut world, "a");
    world.block(&alice.link);
    alice.publish(&mut world, "a", "kept", QOS1).unwrap();
    alice.leave(&mut world, WillAction::Discard);
    let alice = world.attached(0, session("alice"));
    world.run();
    let got = alice.got();
    assert_eq!(
        (got.len(), got[0].payload.as_str(), got[0].redelivered, got[0].tag),
        (1, "kept", true, Some(1))
    );
}

fn consume(broker: &mut dyn tidegate_protocol::Broker, consumer: u32, text: &str) {
    let consumer = ConsumerId(consumer);
    broker.consume(Consume { consumer, credit: 10, settlement: Settlement::Automatic }).unwrap();
    let filter = filter(text);
    broker.subscribe(&Subscribe { consumer, ..subscription(&filter) }).unwrap();
}

/// [STOMP-1.2/UNSUBSCRIBE] and SUBSCRIBE in the same input as a SEND: the new subscription gets only what it selects.
#[test]
fn a_new_consumer_does_not_get_what_was_meant_for_a_cancelled_one() {
    let mut world = World::new(1);
    let carol = world.toy(0);
    carol.ask(&mut world, |broker| consume(broker, 1, "a"));
    carol.ask(&mut world, |broker| {
        broker.publish(&message("a", "for the first", QOS0)).unwrap();
        broker.cancel(ConsumerId(1));
        consume(broker, 2, "b");
    });
    world.run();
    let wrong: Vec<_> = carol.got().into_iter().filter(|got| got.consumer == 2).collect();
    assert_eq!(wrong, []);
}

/// A consumer that has something to receive is not forgotten when its machine's input takes another session over meanwhile.
#[test]
fn a_waiting_consumer_is_served_although_the_same_input_takes_a_session_over() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    alice.publish_with(&mut world, "a", "retained", QOS0, |publish| publish.retain = true).unwrap();
    let holder = world.attached(0, session("shared"));
    let carol = world.toy(0);
    carol.ask(&mut world, |broker| {
        let consumer = ConsumerId(1);
        broker.consume(Consume { consumer, credit: 10, settlement: Settlement::Automatic }).unwrap();
        let filter = filter("a");
        let retained = tidegate_protocol::RetainedDelivery::Always;
        broker.subscribe(&Subscribe { consumer, retained, ..subscription(&filter) }).unwrap();
        let attachment = broker.attach(tidegate_protocol::Attach {
            consumer: ConsumerId(0),
            protocol: "toy",
            client_id: "shared",
            clean_start: false,
            expiry: crate::HOUR,
            credit: 10,
            settlement: tidegate_protocol::Settlement::AboveAtMostOnce,
            will: None,
            limits: tidegate_protocol::SessionLimits::Usual,
            wants_publisher: false,
        });
        assert!(matches!(attachment, tidegate_protocol::Attachment::Now(_)));
    });
    world.run();
    assert!(holder.link.is_ended());
    assert_eq!(carol.got_payloads(), ["retained"]);
}

//! Named queues: made when they are used, each message for one consumer, and nothing lost while nobody is there.

use crate::{HOUR, QOS0, QOS1, QOS2};
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_message::QoS;
use tidegate_protocol::{Consume, ConsumerId, DeliveryTag, Outcome, Refusal, Settlement, Subscribe};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, filter, session, subscription};

const QUEUE: &str = "$queue/orders";
/// The consumer of a toy that plays a STOMP client.
const FRAME: ConsumerId = ConsumerId(5);

/// A session that consumes the queue, as an MQTT client does.
pub(crate) fn subscriber(world: &mut World, worker: usize, name: &str, credit: u32) -> Toy {
    let toy = world.attached(worker, session(name).credit(credit));
    toy.subscribe(world, QUEUE);
    toy
}

/// A consumer of the queue without a session, as of a STOMP client with `ack:client-individual`.
pub(crate) fn consumer(world: &mut World, worker: usize, credit: u32) -> Toy {
    let toy = world.toy(worker);
    consume(world, &toy, credit);
    toy
}

/// Makes a toy such a consumer.
pub(crate) fn consume(world: &mut World, toy: &Toy, credit: u32) {
    toy.ask(world, move |broker| {
        broker.consume(Consume { consumer: FRAME, credit, settlement: Settlement::Always }).unwrap();
        let filter = filter(QUEUE);
        broker.subscribe(&Subscribe { consumer: FRAME, ..subscription(&filter) }).unwrap();
    });
}

pub(crate) fn settle(world: &mut World, toy: &Toy, tag: u64, outcome: Outcome) {
    toy.ask(world, move |broker| broker.settle(FRAME, DeliveryTag(tag), outcome));
    world.run();
}

pub(crate) fn publish(world: &mut World, publisher: &Toy, payloads: &[&str], qos: QoS) {
    for payload in payloads {
        assert!(publisher.publish(world, QUEUE, payload, qos).unwrap().matched);
    }
    world.run();
}

/// What a toy got, with the number of each delivery.
pub(crate) fn attempts(toy: &Toy) -> Vec<(String, u32)> {
    toy.got().into_iter().map(|got| (got.payload, got.attempt)).collect()
}

fn once(payloads: &[&str]) -> Vec<(String, u32)> {
    payloads.iter().map(|payload| (payload.to_string(), 1)).collect()
}

#[test]
fn each_message_goes_to_one_consumer_whatever_it_speaks() {
    for workers in [[0, 0], [0, 1], [1, 2], [2, 2]] {
        for qos in [QOS0, QOS1, QOS2] {
            let mut world = World::new(3);
            let alice = world.toy(0);
            let bob = subscriber(&mut world, workers[0], "bob", 10);
            let stomp = consumer(&mut world, workers[1], 10);
            publish(&mut world, &alice, &["1", "2", "3", "4"], qos);
            let got = [bob.got_payloads(), stomp.got_payloads()];
            assert!(got.iter().all(|got| got.len() == 2), "{workers:?}: {got:?}");
            let mut all = got.concat();
            all.sort_unstable();
            assert_eq!(all, ["1", "2", "3", "4"]);
        }
    }
}

/// Level 0 too: to wait is what a queue is for.
#[test]
fn messages_wait_for_the_first_consumer() {
    for qos in [QOS0, QOS1, QOS2] {
        let mut world = World::new(2);
        let alice = world.toy(0);
        publish(&mut world, &alice, &["1", "2", "3"], qos);
        let gauges = world.node().gauges();
        assert_eq!((gauges.queued_messages, gauges.subscriptions), (3, 0));
        let bob = subscriber(&mut world, 1, "bob", 10);
        world.run();
        assert_eq!(attempts(&bob), once(&["1", "2", "3"]));
    }
}

/// A consumer that is away is none; what was published meanwhile waits for everybody.
#[test]
fn nothing_is_reserved_for_a_session_that_is_away() {
    let mut world = World::new(2);
    let alice = world.toy(0);
    let bob = subscriber(&mut world, 1, "bob", 10);
    publish(&mut world, &alice, &["1"], QOS1);
    assert_eq!(bob.got_payloads(), ["1"]);
    bob.vanish(&mut world);
    publish(&mut world, &alice, &["2"], QOS1);
    let stomp = consumer(&mut world, 0, 10);
    world.run();
    assert_eq!(attempts(&stomp), [("1".to_owned(), 2), ("2".to_owned(), 1)]);
    let bob = world.attached(1, session("bob"));
    publish(&mut world, &alice, &["3", "4"], QOS1);
    assert_eq!((bob.got_payloads().len(), stomp.got_payloads().len()), (1, 1), "its subscription lives on");
}

/// [MQTT-4.8.2-4]: what it has begun with at level 2 a session ends itself; and where it does not come back, nothing is lost.
#[test]
fn what_a_session_has_begun_at_level_2_stays_with_it_as_long_as_it_lives() {
    for comes_back in [true, false] {
        let mut world = World::new(2);
        let alice = world.toy(0);
        let bob = subscriber(&mut world, 1, "bob", 10);
        publish(&mut world, &alice, &["1", "2"], QOS2);
        assert_eq!(bob.got_payloads(), ["1", "2"]);
        bob.vanish(&mut world);
        let stomp = consumer(&mut world, 0, 10);
        world.run();
        assert_eq!(attempts(&stomp), []);
        if comes_back {
            let bob = world.attached(0, session("bob"));
            world.run();
            let got = bob.got();
            assert!(got.iter().all(|got| got.redelivered && got.attempt == 2), "{got:?}");
            assert_eq!(got.iter().map(|got| got.tag).collect::<Vec<_>>(), [Some(1), Some(2)]);
        } else {
            world.advance(HOUR);
            assert_eq!(attempts(&stomp), [("1".to_owned(), 2), ("2".to_owned(), 2)]);
        }
    }
}

/// In front and in order, whoever gives back what and when.
#[test]
fn what_is_given_back_comes_again_at_its_place() {
    for workers in [[0, 0], [0, 1], [1, 1], [2, 1]] {
        let mut world = World::new(3);
        let alice = world.toy(0);
        let [left, right] = workers.map(|worker| consumer(&mut world, worker, 3));
        publish(&mut world, &alice, &["1", "2", "3", "4", "5", "6", "7"], QOS1);
        assert_eq!((left.got().len(), right.got().len()), (3, 3));
        left.vanish(&mut world);
        right.vanish(&mut world);
        world.run();
        let last = consumer(&mut world, workers[1], 10);
        world.run();
        let expected = ["1", "2", "3", "4", "5", "6"].map(|payload| (payload.to_owned(), 2));
        assert_eq!(attempts(&last), [&expected[..], &once(&["7"])].concat(), "{workers:?}");
    }
}

#[test]
fn a_released_delivery_goes_to_whoever_is_next() {
    let mut world = World::new(2);
    let alice = world.toy(0);
    let stomp = consumer(&mut world, 0, 1);
    publish(&mut world, &alice, &["1", "2"], QOS1);
    assert_eq!(attempts(&stomp), once(&["1"]));
    settle(&mut world, &stomp, 1, Outcome::Released);
    assert_eq!(attempts(&stomp), [("1".to_owned(), 2)], "nobody else is there");
    let bob = subscriber(&mut world, 1, "bob", 1);
    world.run();
    assert_eq!(attempts(&bob), once(&["2"]));
    settle(&mut world, &stomp, 2, Outcome::Accepted);
    bob.accept(&mut world, 1);
    world.run();
    assert_eq!(world.node().gauges().queued_messages, 0);
    assert_eq!(world.node().metrics().iter().map(|worker| worker.redeliveries.get()).sum::<u64>(), 1);
}

#[test]
fn what_a_cancelled_consumer_left_goes_to_the_others() {
    let mut world = World::new(2);
    let alice = world.toy(0);
    let stomp = consumer(&mut world, 1, 10);
    publish(&mut world, &alice, &["1", "2"], QOS0);
    let bob = subscriber(&mut world, 0, "bob", 10);
    settle(&mut world, &stomp, 1, Outcome::Accepted);
    assert!(stomp.ask(&mut world, |broker| broker.cancel(FRAME)));
    world.run();
    assert_eq!(attempts(&bob), [("2".to_owned(), 2)]);
}

/// UNSUBSCRIBE ends the membership; what is under way stays until it is settled or the connection ends ([MQTT-3.10.4-3]).
#[test]
fn who_unsubscribes_gets_nothing_more() {
    let mut world = World::new(1);
    let alice = world.toy(0);
    let bob = subscriber(&mut world, 0, "bob", 10);
    assert!(bob.subscribe_with(&mut world, QUEUE, |_| {}).unwrap().existed, "one membership");
    publish(&mut world, &alice, &["1"], QOS1);
    assert_eq!(world.node().gauges().subscriptions, 1);
    assert!(bob.unsubscribe(&mut world, QUEUE) && !bob.unsubscribe(&mut world, QUEUE));
    publish(&mut world, &alice, &["2"], QOS1);
    assert_eq!(bob.got_payloads(), ["1"]);
    bob.vanish(&mut world);
    let stomp = consumer(&mut world, 0, 10);
    world.run();
    assert_eq!(attempts(&stomp), [("1".to_owned(), 2), ("2".to_owned(), 1)]);
}

/// A consumer may publish to its own queue, in the middle of its own input.
#[test]
fn a_consumer_gets_its_own_messages() {
    for credit in [1, 10] {
        let mut world = World::new(1);
        let bob = subscriber(&mut world, 0, "bob", credit);
        publish(&mut world, &bob, &["1", "2"], QOS1);
        bob.accept(&mut world, 1);
        world.run();
        assert_eq!(attempts(&bob), once(&["1", "2"]));
    }
}

#[test]
fn wildcards_do_not_see_queues() {
    let mut world = World::new(1);
    let [alice, bob] = ["alice", "bob"].map(|name| world.attached(0, session(name)));
    for text in ["#", "+/orders", "/#", "orders"] {
        bob.subscribe(&mut world, text);
    }
    publish(&mut world, &alice, &["1"], QOS1);
    assert_eq!(bob.got_payloads(), [""; 0]);
}

#[test]
fn what_is_no_queue_is_refused() {
    let mut world = World::new(1);
    let bob = world.attached(0, session("bob"));
    for text in ["$queue", "$queue/", "$queue/+", "$queue/#", "$queue/a/+/b"] {
        let refused = bob.subscribe_with(&mut world, text, |_| {});
        assert_eq!(refused, Err(Refusal::InvalidQueueName), "{text}");
    }
    let shared = |subscribe: &mut Subscribe<'_>| subscribe.share = Some("g");
    assert_eq!(bob.subscribe_with(&mut world, QUEUE, shared), Err(Refusal::QueueInGroup));
    let deaf = |subscribe: &mut Subscribe<'_>| subscribe.no_local = true;
    assert_eq!(bob.subscribe_with(&mut world, QUEUE, deaf), Err(Refusal::QueueNoLocal));
    for topic in ["$queue", "$queue/"] {
        assert_eq!(bob.publish(&mut world, topic, "x", QOS1), Err(Refusal::InvalidQueueName));
    }
    let retained = bob.publish_with(&mut world, QUEUE, "x", QOS1, |publish| publish.retain = true);
    assert_eq!(retained, Err(Refusal::QueueRetain));
    let gauges = world.node().gauges();
    assert_eq!((gauges.retained_messages, gauges.queued_messages, gauges.subscriptions), (0, 0, 0));
    assert_eq!((world.dropped("topic_refused"), world.dropped("retain_refused")), (2, 1));
}

/// `limits.queues`: those that exist go on.
#[test]
fn queues_have_a_limit() {
    let mut world = World::with_limits(1, Limits { queues: 1, ..Limits::default() });
    let bob = world.attached(0, session("bob"));
    bob.publish(&mut world, QUEUE, "x", QOS1).unwrap();
    let full = Refusal::TooManyQueues { limit: 1 };
    assert_eq!(bob.publish(&mut world, "$queue/b", "x", QOS1), Err(full));
    assert_eq!(bob.subscribe_with(&mut world, "$queue/b", |_| {}), Err(full));
    bob.subscribe(&mut world, QUEUE);
    publish(&mut world, &bob, &["y"], QOS1);
    assert_eq!(bob.got_payloads(), ["x", "y"]);
    assert_eq!(world.dropped("too_many_queues"), 1);
}

/// The will of a client is a message like any other.
#[test]
fn a_will_can_go_to_a_queue() {
    let mut world = World::new(2);
    let topic = tidegate_message::Topic::parse(QUEUE.as_bytes()).unwrap();
    let will = tidegate_protocol::Will {
        topic,
        payload: "gone".into(),
        qos: QOS1,
        retain: false,
        properties: None,
        expiry: None,
        delay: Duration::ZERO,
    };
    let alice = world.attached(0, session("alice").will(will.clone()));
    alice.vanish(&mut world);
    let bob = subscriber(&mut world, 1, "bob", 10);
    world.run();
    assert_eq!(bob.got_payloads(), ["gone"]);
    let retained = tidegate_protocol::Will { retain: true, ..will };
    let attachment = world.toy(0).attach(&mut world, session("carol").will(retained));
    assert!(matches!(attachment, tidegate_protocol::Attachment::Refused(Refusal::QueueRetain)));
}

/// One consumer gets what one publisher sends in its order, wherever each of them is.
#[test]
fn a_single_consumer_has_the_order() {
    for (home, publisher, receiver) in [(0, 0, 0), (0, 1, 1), (0, 1, 2), (1, 1, 0)] {
        let mut world = World::new(3);
        let first = world.toy(home);
        publish(&mut world, &first, &["0"], QOS1);
        let alice = world.toy(publisher);
        let bob = subscriber(&mut world, receiver, "bob", 2);
        let mut got = Vec::new();
        for number in 1..40 {
            alice.publish(&mut world, QUEUE, &number.to_string(), QOS1).unwrap();
            if number % 3 == 0 {
                world.run();
            }
            for delivery in bob.got() {
                got.push(delivery.payload.parse::<usize>().unwrap());
                bob.accept(&mut world, delivery.tag.unwrap());
            }
        }
        while got.len() < 40 {
            world.run();
            for delivery in bob.got() {
                got.push(delivery.payload.parse::<usize>().unwrap());
                bob.accept(&mut world, delivery.tag.unwrap());
            }
        }
        assert!(got.is_sorted(), "{got:?}");
    }
}

//! The limits of a named queue hold from every worker: what is under way to it counts, and what was promised is kept.

use crate::QOS1;
use crate::queues::{publish, subscriber};
use tidegate_broker::{Limits, QueuePolicies, QueuePolicy, Reconfiguration, TopicPolicies};
use tidegate_message::TopicFilter;
use tidegate_protocol::{Broker, Refusal};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{message, session};

const QUEUE: &str = "$queue/orders";

/// A world of three workers whose queue of orders is bounded.
fn world_with(bound: impl FnOnce(&mut QueuePolicy)) -> World {
    let mut world = World::new(3);
    let queues = vec![TopicFilter::parse(QUEUE.as_bytes()).unwrap()];
    let mut orders = QueuePolicy { queues, ..QueuePolicy::default() };
    bound(&mut orders);
    world.set_queue_policies(vec![orders]);
    world
}

fn waiting(world: &World) -> usize {
    world.node().gauges().named_queue_messages
}

/// Small messages travel together, large ones by themselves.
#[test]
fn nobody_is_promised_more_than_the_queue_holds() {
    for payload_bytes in [1, 5000] {
        let mut world = world_with(|policy| policy.max_messages = Some(4));
        let text = |number: usize| format!("{number:0payload_bytes$}");
        let publishers = [0, 2, 1].map(|worker| world.toy(worker));
        publish(&mut world, &publishers[2], &[&text(0)], QOS1);
        for number in 1..10 {
            let taken = publishers[number % 3].publish(&mut world, QUEUE, &text(number), QOS1);
            assert_eq!(taken.err(), (number > 3).then_some(Refusal::QueueFull), "{number}");
        }
        world.run();
        assert_eq!(waiting(&world), 4);
        let bob = subscriber(&mut world, 0, "bob", 100);
        world.run();
        assert_eq!(bob.got_payloads().len(), 4, "every promise is kept");
        for number in 10..30 {
            publish(&mut world, &publishers[number % 3], &[&text(number)], QOS1);
        }
        assert_eq!(
            bob.got_payloads().len(),
            20,
            "what goes straight to a consumer leaves its room to the next"
        );
    }
}

#[test]
fn bytes_under_way_count() {
    let mut world = world_with(|policy| policy.max_bytes = Some(4000));
    let [alice, first] = [0, 1].map(|worker| world.toy(worker));
    publish(&mut world, &first, &["1"], QOS1);
    let large = "x".repeat(1500);
    alice.publish(&mut world, QUEUE, &large, QOS1).unwrap();
    assert_eq!(alice.publish(&mut world, QUEUE, &large.repeat(2), QOS1), Err(Refusal::QueueFull));
}

/// A batch that is refused leaves no room taken, and one that is taken counts before it has come.
#[test]
fn batches_under_way_count() {
    for home in [0, 1] {
        let mut world = world_with(|policy| policy.max_messages = Some(3));
        let first = world.toy(home);
        publish(&mut world, &first, &["1"], QOS1);
        let [alice, bob] = [0, 1].map(|worker| world.toy(worker));
        let of = |count: usize| {
            move |broker: &mut dyn Broker| {
                broker.publish_all(&vec![message(QUEUE, "x", QOS1); count]).map(drop)
            }
        };
        for _ in 0..3 {
            assert_eq!(alice.ask(&mut world, of(3)), Err((2, Refusal::QueueFull)));
        }
        assert_eq!(alice.ask(&mut world, of(2)), Ok(()));
        assert_eq!(bob.ask(&mut world, of(1)), Err((0, Refusal::QueueFull)));
        world.run();
        assert_eq!(waiting(&world), 3);
    }
}

/// A queue may be narrowed while messages are under way, or end and begin anew: what was promised is kept.
#[test]
fn a_promise_outlives_a_change_of_the_policy() {
    let mut world = world_with(|policy| policy.max_messages = Some(5));
    let [alice, first] = [0, 1].map(|worker| world.toy(worker));
    publish(&mut world, &first, &["1"], QOS1);
    for number in ["2", "3", "4"] {
        alice.publish(&mut world, QUEUE, number, QOS1).unwrap();
    }
    let queues = vec![TopicFilter::parse(QUEUE.as_bytes()).unwrap()];
    world.set_queue_policies(vec![QueuePolicy { queues, max_messages: Some(2), ..QueuePolicy::default() }]);
    world.run();
    assert_eq!(alice.publish(&mut world, QUEUE, "5", QOS1), Err(Refusal::QueueFull));
    let bob = subscriber(&mut world, 0, "bob", 10);
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2", "3", "4"]);
}

/// What a publisher was told is kept by a worker that has narrower limits already: its topic was checked where it was published. `change`
/// makes a generation that neither of them has a route for.
fn taken_by_a_narrower_worker(topic: &'static str, change: bool) -> Vec<String> {
    let mut world = World::new(2);
    let bob = world.attached(1, session("bob").credit(100));
    bob.subscribe(&mut world, topic);
    let alice = world.toy(0);
    world.run();
    let limits = Limits { topic_bytes: 5, ..Limits::default() };
    world.node().reconfigure(Reconfiguration {
        limits,
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
    });
    world.handle_mail(1);
    alice.publish(&mut world, topic, "1", QOS1).unwrap();
    if change {
        world.attached(0, session("carol")).subscribe(&mut world, "x");
    }
    world.run();
    assert_eq!(world.dropped("topic_refused"), 0);
    bob.got_payloads()
}

#[test]
fn a_promise_outlives_a_change_of_the_limits() {
    for topic in ["$queue/orders", "plant/1/temperature"] {
        for change in [false, true] {
            assert_eq!(taken_by_a_narrower_worker(topic, change), ["1"], "{topic} {change}");
        }
    }
}

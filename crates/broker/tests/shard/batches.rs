//! Messages that are published together or not at all.

use crate::{QOS0, QOS1};
use tidegate_broker::{Limits, Overflow, Reconfiguration, RingOptions};
use tidegate_protocol::{Publish, Refusal, RetainedDelivery};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, filter, message, session};

/// What a batch is answered with.
type Outcome = Result<(), (usize, Refusal)>;

/// Publishes payloads of topics at QoS 1 together.
fn publish_all(toy: &Toy, world: &mut World, batch: &[(&'static str, &'static str)]) -> Outcome {
    publish_all_with(toy, world, batch, |_| {})
}

fn publish_all_with(
    toy: &Toy,
    world: &mut World,
    batch: &[(&'static str, &'static str)],
    options: fn(&mut Publish<'_>),
) -> Outcome {
    let batch = batch.to_vec();
    toy.ask(world, move |broker| {
        let publish = |&(topic, payload)| {
            let mut publish = message(topic, payload, QOS1);
            options(&mut publish);
            publish
        };
        broker.publish_all(&batch.iter().map(publish).collect::<Vec<_>>()).map(drop)
    })
}

fn retain(publish: &mut Publish<'_>) {
    publish.retain = true;
}

#[test]
fn all_are_published_in_their_order_to_every_receiver() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let receivers = [(0, "near"), (1, "far")].map(|(worker, name)| {
        let toy = world.attached(worker, session(name));
        toy.subscribe(&mut world, "#");
        toy
    });
    alice.subscribe(&mut world, "b");
    let batch = [("a", "1"), ("b", "2"), ("a", "3")];
    assert_eq!(publish_all(&alice, &mut world, &batch), Ok(()));
    world.run();
    for toy in &receivers {
        assert_eq!(toy.got_payloads(), ["1", "2", "3"]);
    }
    assert_eq!(alice.got_payloads(), ["2"]);
    assert_eq!(publish_all(&alice, &mut world, &[]), Ok(()));
}

#[test]
fn nothing_is_published_where_one_topic_is_none() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob"));
    bob.subscribe_with(&mut world, "#", |subscribe| subscribe.retained = RetainedDelivery::Always).unwrap();
    for (topic, refusal) in [
        ("a/+", Refusal::InvalidTopic(tidegate_message::TopicError::Wildcard('+'))),
        ("$SYS/broker/uptime", Refusal::ReservedTopic),
    ] {
        let batch = [("a", "1"), ("b", "2"), (topic, "3"), ("c", "4")];
        assert_eq!(publish_all_with(&alice, &mut world, &batch, retain), Err((2, refusal)));
    }
    world.run();
    assert_eq!(bob.got_payloads(), [""; 0]);
    assert_eq!(world.node().gauges().retained_messages, 0);
    assert_eq!((world.dropped("topic_refused"), world.dropped("not_authorized")), (4, 4));
}

/// The batch itself fills the queue.
#[test]
fn nothing_is_published_where_a_queue_has_no_room_for_all() {
    let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    let batch = [("other", "0"), ("a", "1"), ("a", "2"), ("a", "3")];
    assert_eq!(publish_all(&alice, &mut world, &batch), Err((3, Refusal::QueueFull)));
    assert_eq!(world.node().gauges().queued_messages, 0);
    assert_eq!(publish_all(&alice, &mut world, &batch[..3]), Ok(()));
    assert_eq!(world.node().gauges().queued_messages, 2);
    assert_eq!(publish_all(&alice, &mut world, &batch[..2]), Err((1, Refusal::QueueFull)));
}

/// What goes straight out needs no room.
#[test]
fn a_receiver_with_credit_takes_more_than_its_queue() {
    let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(3));
    bob.subscribe(&mut world, "a");
    let batch = [("a", "1"), ("a", "2"), ("a", "3"), ("a", "4"), ("a", "5"), ("a", "6")];
    assert_eq!(publish_all(&alice, &mut world, &batch), Err((5, Refusal::QueueFull)));
    assert_eq!(publish_all(&alice, &mut world, &batch[..3]), Ok(()));
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2", "3"]);
}

/// As for a single message: one full queue among others takes it from nobody.
#[test]
fn a_slow_receiver_among_others_refuses_no_batch() {
    let mut world = World::with_limits(1, Limits { queued_messages: 1, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let [slow, quick] = ["slow", "quick"].map(|name| world.attached(0, session(name).credit(9)));
    slow.subscribe(&mut world, "a");
    quick.subscribe(&mut world, "a");
    slow.vanish(&mut world);
    let batch = [("a", "1"), ("a", "2"), ("a", "3")];
    assert_eq!(publish_all(&alice, &mut world, &batch), Ok(()));
    world.run();
    assert_eq!(quick.got_payloads(), ["1", "2", "3"]);
    assert_eq!((world.node().gauges().queued_messages, world.dropped("queue_full")), (1, 2));
}

/// Where the oldest are dropped there is always room.
#[test]
fn a_queue_that_drops_its_oldest_refuses_no_batch() {
    let queue_overflow = Overflow::DropOldest;
    let mut world = World::with_limits(1, Limits { queued_messages: 2, queue_overflow, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    assert_eq!(publish_all(&alice, &mut world, &[("a", "1"), ("a", "2"), ("a", "3")]), Ok(()));
    let bob = world.attached(0, session("bob"));
    world.run();
    assert_eq!(bob.got_payloads(), ["2", "3"]);
}

/// Who has room for it only in part keeps what stood there before.
#[test]
fn retained_state_is_as_it_was_where_one_finds_no_room() {
    let mut world = World::with_limits(1, Limits { retained_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    alice.publish_with(&mut world, "a", "old", QOS1, retain).unwrap();
    let batch = [("a", "new"), ("a", ""), ("b", "1"), ("a", "newer"), ("c", "2"), ("d", "3")];
    let refused = publish_all_with(&alice, &mut world, &batch, retain);
    assert_eq!(refused, Err((4, Refusal::RetainedFull)));
    let bob = world.attached(0, session("bob"));
    bob.subscribe_with(&mut world, "#", |subscribe| subscribe.retained = RetainedDelivery::Always).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["old"]);
    assert_eq!(publish_all_with(&alice, &mut world, &batch[..4], retain), Ok(()));
    world.run();
    assert_eq!(bob.got_payloads(), ["new", "", "1", "newer"]);
    assert_eq!(world.node().gauges().retained_messages, 2);
}

/// A group has one queue, whoever its members are.
#[test]
fn a_group_without_room_refuses_a_batch() {
    let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe_with(&mut world, "a", |subscribe| subscribe.share = Some("group")).unwrap();
    bob.vanish(&mut world);
    let batch = [("a", "1"), ("a", "2"), ("a", "3")];
    assert_eq!(publish_all(&alice, &mut world, &batch), Err((2, Refusal::QueueFull)));
    assert_eq!(publish_all(&alice, &mut world, &batch[..2]), Ok(()));
    let bob = world.attached(0, session("bob").credit(9));
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2"]);
}

/// What a connection sends to itself waits for the end of its input, in a bounded list.
#[test]
fn a_connection_that_would_flood_itself_is_refused() {
    let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    alice.subscribe(&mut world, "#");
    let batch = [("a", "1"), ("a", "2"), ("a", "3")];
    assert_eq!(publish_all(&alice, &mut world, &batch), Err((2, Refusal::QueueFull)));
    assert_eq!(publish_all(&alice, &mut world, &batch[..2]), Ok(()));
    world.run();
    assert_eq!(alice.got_payloads(), ["1", "2"]);
    let quiet = [("b", "1"), ("b", "2")];
    assert_eq!(alice.publish(&mut world, "b", "0", QOS0).map(|published| published.matched), Ok(true));
    assert_eq!(publish_all(&alice, &mut world, &quiet), Ok(()));
}

/// A replay ring has all of a batch in its order, retained or not, or nothing of it; and what was replaced on the way stands again.
#[test]
fn a_replay_ring_has_all_of_a_batch_or_nothing() {
    let mut world = World::new(2);
    let ring = RingOptions { topics: vec![filter("r/#")], messages_max: 100, bytes_max: 1 << 20 };
    let limits = Limits { retained_messages: 2, ..Limits::default() };
    world.reconfigure(Reconfiguration {
        limits,
        authenticator: None,
        access: None,
        queues: tidegate_broker::QueuePolicies::default(),
        topics: tidegate_broker::TopicPolicies::default(),
        rings: vec![ring],
    });
    let (alice, bob) = (world.toy(0), world.toy(1));
    assert_eq!(publish_all_with(&alice, &mut world, &[("r/1", "before")], retain), Ok(()));
    bob.follow(&mut world, 1, "r/#", None).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["before"]);
    let full = [("r/1", "1"), ("r/2", "2"), ("r/3", "3")];
    let refused = publish_all_with(&alice, &mut world, &full, retain);
    assert_eq!(refused, Err((2, Refusal::RetainedFull)));
    assert_eq!(world.node().gauges().replay_messages, 1);
    let answer = publish_all_with(
        &alice,
        &mut world,
        &[("r/0", "0"), ("r/1", "1"), ("x", "9"), ("r/2", "2")],
        |publish| {
            publish.retain = publish.topic == b"r/1";
        },
    );
    assert_eq!(answer, Ok(()));
    world.run();
    assert_eq!(bob.got_payloads(), ["0", "1", "2"]);
}

/// A queue is made by the batch, and has room for all of it or gets nothing.
#[test]
fn a_named_queue_without_room_refuses_a_batch() {
    let mut world = World::with_limits(1, Limits { queued_messages: 2, ..Limits::default() });
    let alice = world.attached(0, session("alice"));
    let batch = [("$queue/jobs", "1"), ("$queue/jobs", "2"), ("$queue/jobs", "3")];
    assert_eq!(publish_all(&alice, &mut world, &batch), Err((2, Refusal::QueueFull)));
    assert_eq!(world.node().gauges().queued_messages, 0);
    let retained = publish_all_with(&alice, &mut world, &[("a", "1"), ("$queue/jobs", "2")], retain);
    assert_eq!(retained, Err((1, Refusal::QueueRetain)));
    assert_eq!(world.node().gauges().retained_messages, 0);
    assert_eq!(publish_all(&alice, &mut world, &batch[..2]), Ok(()));
    let bob = world.attached(0, session("bob").credit(9));
    bob.subscribe(&mut world, "$queue/jobs");
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2"]);
}

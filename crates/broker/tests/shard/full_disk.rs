//! A full disk where the oldest gives way to the newest.

use crate::{HOUR, QOS0, QOS1, QOS2};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::{
    DiskFull, Limits, QueuePolicies, QueuePolicy, Reconfiguration, TopicPolicies, TopicPolicy,
};
use tidegate_message::Topic;
use tidegate_protocol::{Attachment, Refusal, Will};
use tidegate_storage::{MemoryStorage, NoRoom, Storage, StreamId};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, filter, message, session};

/// The oldest gives way below `new/`, and named queues have these policies.
fn rules(queues: Vec<QueuePolicy>) -> Reconfiguration {
    let policy = |topics: &str, disk_full| TopicPolicy {
        topics: vec![filter(topics)],
        disk_full,
        ..TopicPolicy::default()
    };
    Reconfiguration {
        limits: Limits::default(),
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies(queues),
        topics: TopicPolicies(vec![
            policy("new/#", DiskFull::DropOldest),
            policy("$queue/new", DiskFull::DropOldest),
            policy("#", DiskFull::Reject),
        ]),
    }
}

/// Two workers, and a publisher on the first.
fn world() -> (World, Toy, Arc<MemoryStorage>) {
    let storage = Arc::new(MemoryStorage::new());
    let mut world = World::on_storage(2, Limits::default(), storage.clone());
    world.reconfigure(rules(Vec::new()));
    let alice = world.attached(0, session("alice").expiry(Duration::ZERO));
    (world, alice, storage)
}

fn kept(storage: &MemoryStorage) -> usize {
    let queues = storage.streams().into_iter().filter(|summary| summary.stream >= StreamId::FIRST_QUEUE);
    queues.map(|summary| summary.entries).sum()
}

/// The number of messages stays what it is, wherever the queue is at home, and the publisher notices nothing.
#[test]
fn the_oldest_of_a_queue_gives_way_to_the_newest() {
    for worker in 0..2 {
        let (mut world, alice, storage) = world();
        let bob = world.attached(worker, session("bob"));
        bob.subscribe(&mut world, "new/#");
        bob.vanish(&mut world);
        for payload in ["1", "2", "3"] {
            alice.publish(&mut world, "new/a", payload, QOS1).unwrap();
            world.run();
        }
        storage.set_room(Err(NoRoom::Full));
        for payload in ["4", "5"] {
            alice.publish(&mut world, "new/a", payload, QOS2).unwrap();
            world.run();
        }
        assert_eq!((kept(&storage), world.dropped("disk_full")), (3, 2));
        let bob = world.attached(worker, session("bob"));
        world.run();
        assert_eq!(bob.got_payloads(), ["3", "4", "5"], "worker {worker}");
    }
}

#[test]
fn the_oldest_of_a_named_queue_gives_way_to_the_newest() {
    for worker in 0..2 {
        let (mut world, alice, storage) = world();
        let maker = world.attached(worker, session("maker").expiry(Duration::ZERO));
        for payload in ["1", "2"] {
            maker.publish(&mut world, "$queue/new", payload, QOS1).unwrap();
            world.run();
        }
        storage.set_room(Err(NoRoom::Full));
        alice.publish(&mut world, "$queue/new", "3", QOS1).unwrap();
        world.run();
        assert_eq!((kept(&storage), world.node().gauges().named_queue_messages), (2, 2));
        maker.subscribe(&mut world, "$queue/new");
        world.run();
        assert_eq!(maker.got_payloads(), ["2", "3"], "worker {worker}");
    }
}

/// Where nothing would be gained, nothing is dropped: the newest is refused as without the policy.
#[test]
fn what_cannot_make_room_is_refused_and_drops_nothing() {
    let (mut world, alice, storage) = world();
    let bob = world.attached(1, session("bob"));
    for topics in ["new/#", "old/#"] {
        bob.subscribe(&mut world, topics);
    }
    bob.vanish(&mut world);
    alice.publish(&mut world, "old/a", "1", QOS1).unwrap();
    world.run();
    storage.set_room(Err(NoRoom::Full));
    let large = "x".repeat(10_000);
    for (topic, payload) in [("new/a", large.as_str()), ("old/a", "2")] {
        assert_eq!(alice.publish(&mut world, topic, payload, QOS1), Err(Refusal::StoreFull), "{topic}");
    }
    alice.publish(&mut world, "new/a", &large, QOS0).unwrap();
    storage.set_room(Err(NoRoom::Failing));
    assert_eq!(alice.publish(&mut world, "new/a", "2", QOS1), Err(Refusal::StoreFailing));
    assert_eq!((kept(&storage), world.dropped("disk_full")), (1, 0));
}

/// The last value of a topic takes the place of the one before it; a topic that has none finds no room.
#[test]
fn a_retained_message_gives_way_to_its_successor() {
    let (mut world, alice, storage) = world();
    let retain = |publish: &mut tidegate_protocol::Publish<'_>| publish.retain = true;
    for topic in ["new/a", "old/a"] {
        alice.publish_with(&mut world, topic, "1", QOS1, retain).unwrap();
    }
    storage.set_room(Err(NoRoom::Full));
    for (topic, expected) in
        [("new/a", Ok(())), ("new/b", Err(Refusal::StoreFull)), ("old/a", Err(Refusal::StoreFull))]
    {
        let answer = alice.publish_with(&mut world, topic, "2", QOS1, retain).map(drop);
        assert_eq!(answer, expected, "{topic}");
    }
    assert_eq!(world.node().gauges().retained_messages, 2);
}

/// While the disk fails, what describes sessions waits in memory. When that is enough, whatever adds to it is refused, and the rest goes on.
#[test]
fn what_describes_sessions_is_refused_while_too_much_waits_for_the_disk() {
    let (mut world, alice, storage) = world();
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "kept/#");
    storage.set_overfull(true);
    let before = storage.streams();
    let (topic, payload) = (Topic::parse(b"kept/a").unwrap(), Bytes::from_static(b"gone"));
    let will = Will {
        topic,
        payload,
        qos: QOS1,
        retain: false,
        properties: None,
        expiry: None,
        delay: Duration::ZERO,
    };
    let failing = |answer| matches!(answer, Attachment::Refused(Refusal::StoreFailing));
    for attaching in [session("carol"), session("carol").expiry(Duration::ZERO).will(will)] {
        let toy = world.toy(0);
        assert!(failing(toy.attach(&mut world, attaching)));
    }
    let subscribe =
        |toy: &Toy, world: &mut World, text: &str| toy.subscribe_with(world, text, |_| {}).map(drop);
    assert_eq!(subscribe(&bob, &mut world, "other/#"), Err(Refusal::StoreFailing));
    assert_eq!(subscribe(&alice, &mut world, "$queue/jobs"), Err(Refusal::StoreFailing));
    assert_eq!(bob.publish(&mut world, "nobody", "once", QOS2).map(drop), Err(Refusal::StoreFailing));
    assert_eq!(storage.streams(), before);
    // What nobody keeps, and what takes something away.
    let dave = world.attached(0, session("dave").expiry(Duration::ZERO));
    assert_eq!(subscribe(&dave, &mut world, "other/#"), Ok(()));
    bob.publish(&mut world, "other/a", "one", QOS1).unwrap();
    dave.publish(&mut world, "other/a", "once", QOS2).unwrap();
    assert!(bob.unsubscribe(&mut world, "kept/#"));
    storage.set_overfull(false);
    assert_eq!(subscribe(&bob, &mut world, "other/#"), Ok(()));
}

fn publish_numbers(world: &mut World, alice: &Toy, numbers: std::ops::Range<usize>) {
    for number in numbers {
        alice.publish(world, "new/a", &format!("{number:06}"), QOS1).unwrap();
        world.run();
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number:06}")).collect()
}

/// What an owner with `live_bytes` of room has now may live from now on, and no more.
fn fill(storage: &MemoryStorage) {
    let queues = storage.streams().into_iter().map(|summary| summary.stream);
    let costs = queues.flat_map(|stream| storage.costs(stream, 0, usize::MAX));
    storage.limit_live_bytes(costs.map(|(_, bytes)| bytes).sum());
}

/// A queue that is longer than any window goes on for ever: each message makes one give way, and what is left has no gaps.
#[test]
fn the_oldest_of_a_long_queue_gives_way_for_ever() {
    for worker in 0..2 {
        let (mut world, alice, storage) = world();
        let bob = world.attached(worker, session("bob"));
        bob.subscribe(&mut world, "new/#");
        bob.vanish(&mut world);
        publish_numbers(&mut world, &alice, 0..1000);
        fill(&storage);
        publish_numbers(&mut world, &alice, 1000..4000);
        let left = kept(&storage);
        assert!((990..=1000).contains(&left), "{left}");
        assert_eq!(world.dropped("disk_full"), 4000 - left as u64);
        let bob = world.attached(worker, session("bob").credit(2000));
        world.run();
        assert_eq!(bob.got_payloads(), numbers(4000 - left..4000), "worker {worker}");
    }
}

/// One that weighs more than a window holds takes the place of as many as it needs at once, without their being read.
#[test]
fn a_large_message_takes_the_place_of_many() {
    let (mut world, alice, storage) = world();
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "new/#");
    bob.vanish(&mut world);
    publish_numbers(&mut world, &alice, 0..3000);
    fill(&storage);
    let large = "x".repeat(150_000);
    alice.publish(&mut world, "new/a", &large, QOS1).unwrap();
    world.run();
    let left = kept(&storage) - 1;
    assert!((500..2400).contains(&left), "{left}");
    let bob = world.attached(1, session("bob").credit(4000));
    world.run();
    let got = bob.got_payloads();
    assert_eq!((&got[..left], &got[left..]), (&numbers(3000 - left..3000)[..], &[large][..]));
    // What is too large for everything that there is drops nothing.
    bob.vanish(&mut world);
    world.run();
    let left = kept(&storage);
    assert_eq!(alice.publish(&mut world, "new/a", &"x".repeat(1_000_000), QOS1), Err(Refusal::StoreFull));
    assert_eq!(kept(&storage), left);
}

/// Only what is kept gives way: the disk gains nothing by the others.
#[test]
fn what_takes_no_room_on_the_disk_stays() {
    let (mut world, alice, storage) = world();
    let bob = world.attached(0, session("bob").credit(1));
    bob.subscribe(&mut world, "new/#");
    for (payload, qos) in [("1", QOS1), ("2", QOS1), ("zero", QOS0)] {
        alice.publish(&mut world, "new/a", payload, qos).unwrap();
    }
    storage.set_room(Err(NoRoom::Full));
    for payload in ["3", "4"] {
        alice.publish(&mut world, "new/a", payload, QOS1).unwrap();
    }
    assert_eq!((kept(&storage), world.dropped("disk_full")), (2, 2));
    bob.accept(&mut world, 1);
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "zero", "4"]);
}

/// A batch of which one message is refused makes nobody give way.
#[test]
fn a_batch_that_is_refused_drops_nothing() {
    let (mut world, alice, storage) = world();
    let bob = world.attached(1, session("bob"));
    for topics in ["new/#", "old/#"] {
        bob.subscribe(&mut world, topics);
    }
    bob.vanish(&mut world);
    for payload in ["1", "2", "3"] {
        alice.publish(&mut world, "new/a", payload, QOS1).unwrap();
        world.run();
    }
    storage.set_room(Err(NoRoom::Full));
    for (last, expected) in [("old/a", Err((2, Refusal::StoreFull))), ("new/a", Ok(()))] {
        let answer = alice.ask(&mut world, move |broker| {
            let batch = ["new/a", "new/a", last].map(|topic| message(topic, "4", QOS1));
            broker.publish_all(&batch).map(drop)
        });
        world.run();
        assert_eq!(answer, expected, "{last}");
        let given_way = if expected.is_ok() { 3 } else { 0 };
        assert_eq!((kept(&storage), world.dropped("disk_full")), (3, given_way), "{last}");
    }
}

/// What gives way in a named queue is a dead letter where that needs no disk or the disk has room for it, and is counted where it has not.
#[test]
fn what_gives_way_in_a_named_queue_is_a_dead_letter_where_there_is_room() {
    for (expiry, letters) in [(Duration::ZERO, 1), (HOUR, 0)] {
        let (mut world, alice, storage) = world();
        let policy = QueuePolicy {
            queues: vec![filter("$queue/new")],
            dead_letter: Some(Topic::parse(b"graves").unwrap()),
            ..QueuePolicy::default()
        };
        world.reconfigure(rules(vec![policy]));
        let mourner = world.attached(1, session("mourner").expiry(expiry));
        mourner.subscribe(&mut world, "graves");
        for payload in ["1", "2"] {
            alice.publish(&mut world, "$queue/new", payload, QOS1).unwrap();
            world.run();
        }
        storage.set_room(Err(NoRoom::Full));
        alice.publish(&mut world, "$queue/new", "3", QOS1).unwrap();
        world.run();
        assert_eq!(mourner.got_payloads(), vec!["1"; letters]);
        assert_eq!(world.dropped("disk_full"), 1 - letters as u64);
        assert_eq!(world.node().gauges().named_queue_messages, 2);
    }
}

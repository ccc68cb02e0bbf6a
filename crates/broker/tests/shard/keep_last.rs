//! A full disk where the newest message of each topic takes the place of those before it.

use crate::{QOS0, QOS1, QOS2};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::{DiskFull, Limits, QueuePolicies, Reconfiguration, TopicPolicies, TopicPolicy};
use tidegate_protocol::{Backlog, Broker, DeliveryTag, Outcome, Refusal};
use tidegate_storage::{MemoryStorage, NoRoom, Storage, StreamId};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, Toy, filter, message, session};

/// Two workers, a publisher on the first, and only the last value counts below `last/`.
fn world() -> (World, Toy, Arc<MemoryStorage>) {
    let storage = Arc::new(MemoryStorage::new());
    let mut world = World::on_storage(2, Limits::default(), storage.clone());
    let topics = ["last/#", "$queue/last"].map(filter).to_vec();
    let policy = TopicPolicy { topics, disk_full: DiskFull::KeepLast, ..TopicPolicy::default() };
    world.reconfigure(Reconfiguration {
        limits: Limits::default(),
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies(vec![policy]),
    });
    let alice = world.attached(0, session("alice").expiry(Duration::ZERO));
    (world, alice, storage)
}

/// Two workers, and `bob`, who is away, on one of them.
fn world_without_bob(worker: usize) -> (World, Toy, Arc<MemoryStorage>) {
    let (mut world, alice, storage) = world();
    let bob = world.attached(worker, session("bob"));
    for topics in ["last/#", "all/#"] {
        bob.subscribe(&mut world, topics);
    }
    bob.vanish(&mut world);
    (world, alice, storage)
}

fn kept(storage: &MemoryStorage) -> usize {
    let queues = storage.streams().into_iter().filter(|summary| summary.stream >= StreamId::FIRST_QUEUE);
    queues.map(|summary| summary.entries).sum()
}

/// Publishes each as `topic=value`, and lets everybody come to rest behind it.
fn publish(world: &mut World, alice: &Toy, messages: &[&str]) {
    for text in messages {
        let (topic, _) = text.split_once('=').unwrap();
        alice.publish(world, topic, text, QOS1).unwrap();
        world.run();
    }
}

fn refused(world: &mut World, alice: &Toy, text: &str) -> bool {
    let (topic, _) = text.split_once('=').unwrap();
    let answer = alice.publish(world, topic, text, QOS1).map(drop);
    world.run();
    answer.inspect_err(|refusal| assert_eq!(*refusal, Refusal::StoreFull)).is_err()
}

/// What `bob` gets who comes back.
fn got_by_bob(world: &mut World, worker: usize) -> Vec<String> {
    let bob = world.attached(worker, session("bob").credit(100));
    world.run();
    bob.got_payloads()
}

/// Wherever the queue is at home: older values go, the silent one and everybody else's stay, and the publisher notices nothing.
#[test]
fn the_last_value_of_each_topic_stays() {
    for worker in 0..2 {
        let (mut world, alice, storage) = world_without_bob(worker);
        publish(&mut world, &alice, &["last/a=1", "last/silent=1", "all/a=1", "last/a=2", "all/a=2"]);
        storage.set_room(Err(NoRoom::Full));
        publish(&mut world, &alice, &["last/a=3", "last/a=4"]);
        alice.publish(&mut world, "last/a", "last/a=5", QOS2).unwrap();
        world.run();
        assert_eq!((kept(&storage), world.dropped("superseded")), (4, 4));
        let expected = ["last/silent=1", "all/a=1", "all/a=2", "last/a=5"];
        assert_eq!(got_by_bob(&mut world, worker), expected, "worker {worker}");
    }
}

/// Room that older values leave is there for a new topic as well. Where nothing is gained the newest is refused and nothing dropped: the last
/// value of before is worth more than none.
#[test]
fn what_finds_no_room_is_refused_and_drops_nothing() {
    let (mut world, alice, storage) = world_without_bob(1);
    publish(&mut world, &alice, &["last/a=1", "last/a=2", "all/a=1", "all/a=2"]);
    storage.set_room(Err(NoRoom::Full));
    publish(&mut world, &alice, &["last/b=1"]);
    assert_eq!(world.dropped("superseded"), 1);
    let large = format!("last/a={}", "x".repeat(10_000));
    for text in ["last/c=1", "all/a=3", &large] {
        assert!(refused(&mut world, &alice, text), "{text}");
    }
    alice.publish(&mut world, "last/a", "nobody keeps it", QOS0).unwrap();
    storage.set_room(Err(NoRoom::Failing));
    assert_eq!(alice.publish(&mut world, "last/a", "2", QOS1), Err(Refusal::StoreFailing));
    world.run();
    assert_eq!((kept(&storage), world.dropped("superseded")), (4, 1));
    assert_eq!(got_by_bob(&mut world, 1), ["last/a=2", "all/a=1", "all/a=2", "last/b=1"]);
}

/// What its receiver may have is not thrown away: it will be acknowledged, or comes again.
#[test]
fn what_is_under_way_stays() {
    for worker in 0..2 {
        let (mut world, alice, storage) = world();
        let bob = world.attached(worker, session("bob").credit(2));
        bob.subscribe(&mut world, "last/#");
        publish(&mut world, &alice, &["last/a=1", "last/a=2", "last/a=3", "last/a=4"]);
        storage.set_room(Err(NoRoom::Full));
        publish(&mut world, &alice, &["last/a=5"]);
        assert_eq!(
            (bob.got_payloads(), kept(&storage)),
            (vec!["last/a=1".to_owned(), "last/a=2".to_owned()], 3)
        );
        bob.ask(&mut world, |broker| broker.settle(SESSION, DeliveryTag(1), Outcome::Released));
        bob.vanish(&mut world);
        publish(&mut world, &alice, &["last/a=6"]);
        assert_eq!(got_by_bob(&mut world, worker), ["last/a=1", "last/a=2", "last/a=6"], "worker {worker}");
    }
}

/// What is on the disk only is looked at by the reader; then the queue holds nothing but last values, and each new one takes the place of the
/// one before it.
#[test]
fn a_long_backlog_shrinks_to_the_last_values() {
    for worker in 0..2 {
        let (mut world, alice, storage) = world_without_bob(worker);
        publish(&mut world, &alice, &["last/silent=1", "all/a=1"]);
        for number in 0..3000 {
            let device = number % 10;
            alice
                .publish(&mut world, &format!("last/{device}"), &format!("{device}={number}"), QOS1)
                .unwrap();
        }
        publish(&mut world, &alice, &["last/silent2=1"]);
        storage.set_room(Err(NoRoom::Full));
        publish(&mut world, &alice, &["last/3=news"]);
        assert_eq!((kept(&storage), world.node().gauges().queued_messages), (13, 13));
        assert_eq!(world.dropped("superseded"), 2991);
        for round in 0..300 {
            publish(&mut world, &alice, &[&format!("last/{}=again {round}", round % 10)]);
        }
        assert!(refused(&mut world, &alice, "last/unknown=1"));
        assert_eq!((kept(&storage), world.node().gauges().queued_messages), (13, 13));
        let got = got_by_bob(&mut world, worker);
        assert_eq!(got[..3], ["last/silent=1", "all/a=1", "last/silent2=1"]);
        assert_eq!(got.len(), 13);
        assert_eq!(got[12], "last/9=again 299", "worker {worker}");
    }
}

/// Asked for by whoever consumes it, with room on the disk: what it has stays, and so does what comes later.
#[test]
fn a_consumer_can_have_its_backlog_reduced() {
    for worker in 0..2 {
        let storage = Arc::new(MemoryStorage::new());
        let mut world = World::on_storage(2, Limits::default(), storage.clone());
        let alice = world.attached(0, session("alice").expiry(Duration::ZERO));
        let bob = world.attached(worker, session("bob").credit(2).bounded_by_disk());
        bob.subscribe(&mut world, "last/#");
        for number in 0..2000 {
            let topic = format!("last/{}", number % 10);
            alice.publish(&mut world, &topic, &number.to_string(), QOS1).unwrap();
        }
        world.run();
        bob.arrange(&mut world, Backlog::LastValues);
        world.run();
        assert_eq!((kept(&storage), world.dropped("superseded")), (12, 1988), "worker {worker}");
        publish(&mut world, &alice, &["last/3=new"]);
        assert_eq!((kept(&storage), world.dropped("superseded")), (13, 1988));
        bob.vanish(&mut world);
        let numbers = (0..2).chain(1990..2000).map(|number: u32| number.to_string());
        let expected: Vec<String> = numbers.chain(["last/3=new".to_owned()]).collect();
        assert_eq!(got_by_bob(&mut world, worker), expected);
    }
}

/// More topics than a window holds, each with one message: all of that is on the disk, and each value is replaced there.
#[test]
fn values_on_the_disk_are_replaced() {
    let (mut world, alice, storage) = world_without_bob(1);
    for number in 0..2000 {
        alice.publish(&mut world, &format!("last/{number}"), "old", QOS1).unwrap();
    }
    world.run();
    storage.set_room(Err(NoRoom::Full));
    // Nothing is known of what is on the disk only before it was looked at.
    assert!(refused(&mut world, &alice, "last/1999=early"));
    for number in (0..2000).rev() {
        publish(&mut world, &alice, &[&format!("last/{number}=new")]);
    }
    assert_eq!((kept(&storage), world.node().gauges().queued_messages), (2000, 2000));
    assert_eq!(world.dropped("superseded"), 2000);
}

/// All of a batch is refused, or all of it is kept; what it would have replaced is there where it is refused.
#[test]
fn a_refused_batch_replaces_nothing() {
    let (mut world, alice, storage) = world_without_bob(0);
    publish(&mut world, &alice, &["last/a=1", "last/b=1"]);
    storage.set_room(Err(NoRoom::Full));
    let of = |topics: &'static [&'static str]| {
        move |broker: &mut dyn Broker| {
            let batch: Vec<_> = topics.iter().map(|topic| message(topic, "2", QOS1)).collect();
            broker.publish_all(&batch).map(drop)
        }
    };
    assert_eq!(alice.ask(&mut world, of(&["last/a", "all/a"])), Err((1, Refusal::StoreFull)));
    world.run();
    assert_eq!((kept(&storage), world.dropped("superseded")), (2, 0));
    assert_eq!(alice.ask(&mut world, of(&["last/a", "last/b"])), Ok(()));
    world.run();
    assert_eq!((kept(&storage), world.dropped("superseded")), (2, 2));
    assert_eq!(got_by_bob(&mut world, 0), ["2", "2"]);
}

/// What a batch has brought before a message takes of the reserve as well: it is all taken, or nothing of it.
#[test]
fn a_batch_leaves_what_is_held_in_reserve() {
    let (mut world, alice, storage) = world_without_bob(0);
    let old = "x".repeat(1000);
    for topic in ["last/a", "last/b", "last/c"] {
        alice.publish(&mut world, topic, &old, QOS1).unwrap();
    }
    world.run();
    storage.set_room(Err(NoRoom::Full));
    let mut offer = |count: usize| {
        let answer = alice.ask(&mut world, move |broker| {
            let (new, topics) = ("y".repeat(1000), ["last/a", "last/b", "last/c"].into_iter().take(count));
            let batch: Vec<_> = topics.map(|topic| message(topic, &new, QOS1)).collect();
            broker.publish_all(&batch).map(drop)
        });
        world.run();
        answer
    };
    // A part in 32 is left alone: what is free above it holds one message and not two.
    storage.set_disk(64_000 - 2000 - 1500, 64_000);
    assert_eq!(offer(3), Err((2, Refusal::StoreFull)));
    assert_eq!(offer(2), Ok(()));
    storage.set_disk(64_000 - 2000, 64_000);
    assert_eq!(offer(2), Err((1, Refusal::StoreFull)));
    assert_eq!(offer(1), Ok(()));
    assert_eq!(kept(&storage), 3);
}

/// The messages of a named queue are of one topic; whoever names it in a policy of this kind wants one message. It is no dead letter.
#[test]
fn a_named_queue_keeps_its_newest_message() {
    for worker in 0..2 {
        let (mut world, alice, storage) = world();
        let maker = world.attached(worker, session("maker").expiry(Duration::ZERO));
        publish(&mut world, &maker, &["$queue/last=1", "$queue/last=2"]);
        storage.set_room(Err(NoRoom::Full));
        publish(&mut world, &alice, &["$queue/last=3"]);
        assert_eq!((world.node().gauges().named_queue_messages, world.dropped("superseded")), (1, 2));
        maker.subscribe(&mut world, "$queue/last");
        world.run();
        assert_eq!(maker.got_payloads(), ["$queue/last=3"], "worker {worker}");
    }
}

/// The queue that members share is one queue of many topics.
#[test]
fn a_shared_subscription_keeps_the_last_value_of_each_topic() {
    for worker in 0..2 {
        let (mut world, alice, storage) = world();
        let bob = world.attached(worker, session("bob"));
        let share = |subscribe: &mut tidegate_protocol::Subscribe<'_>| subscribe.share = Some("g");
        bob.subscribe_with(&mut world, "last/#", share).unwrap();
        bob.vanish(&mut world);
        publish(&mut world, &alice, &["last/silent=1"]);
        for number in 0..2000 {
            alice.publish(&mut world, &format!("last/{}", number % 3), &format!("{number}"), QOS1).unwrap();
        }
        world.run();
        storage.set_room(Err(NoRoom::Full));
        publish(&mut world, &alice, &["last/0=news"]);
        assert_eq!((kept(&storage), world.dropped("superseded")), (4, 1998));
        assert_eq!(
            got_by_bob(&mut world, worker),
            ["last/silent=1", "1997", "1999", "last/0=news"],
            "{worker}"
        );
    }
}

#[test]
fn a_retained_message_gives_way_to_its_successor() {
    let (mut world, alice, storage) = world();
    let retain = |publish: &mut tidegate_protocol::Publish<'_>| publish.retain = true;
    alice.publish_with(&mut world, "last/a", "1", QOS1, retain).unwrap();
    storage.set_room(Err(NoRoom::Full));
    for (topic, expected) in [("last/a", Ok(())), ("last/b", Err(Refusal::StoreFull))] {
        let answer = alice.publish_with(&mut world, topic, "2", QOS1, retain).map(drop);
        assert_eq!(answer, expected, "{topic}");
    }
}

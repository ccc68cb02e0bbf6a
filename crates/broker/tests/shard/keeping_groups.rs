//! What is written into the store of messages for named queues and shared subscriptions, and when it is settled.

use crate::keeping::{kept, world};
use crate::queues::{consumer, publish, settle};
use crate::sharing::{member, publish_all, short};
use crate::{HOUR, MINUTE, QOS0, QOS1, QOS2};
use tidegate_broker::QueuePolicy;
use tidegate_message::{Topic, TopicFilter};
use tidegate_protocol::{Consume, ConsumerId, Outcome, Settlement, Subscribe, WillAction};
use tidegate_storage::record::DeliveryNote;
use tidegate_storage::{MemoryStorage, ReadMax, Storage, StreamId, Urgency};
use tidegate_testkit::pair::toy::{filter, session, subscription};

fn payloads(storage: &MemoryStorage) -> Vec<String> {
    let mut payloads: Vec<_> = kept(storage).into_iter().map(|(_, _, payload)| payload).collect();
    payloads.sort();
    payloads
}

fn policy(queues: &str) -> QueuePolicy {
    let queues = vec![TopicFilter::parse(queues.as_bytes()).unwrap()];
    QueuePolicy { queues, ..QueuePolicy::default() }
}

/// What is above level 0 is kept until a consumer has accepted it, whoever consumes and wherever.
#[test]
fn a_named_queue_keeps_what_is_not_accepted() {
    for worker in 0..2 {
        let (mut world, storage) = world(2, MemoryStorage::new());
        let publisher = world.toy(0);
        publish(&mut world, &publisher, &["lost"], QOS0);
        publish(&mut world, &publisher, &["1", "2", "3"], QOS1);
        assert_eq!(payloads(&storage), ["1", "2", "3"]);
        let stomp = consumer(&mut world, worker, 10);
        world.run();
        assert_eq!(stomp.got_payloads(), ["lost", "1", "2", "3"]);
        settle(&mut world, &stomp, 2, Outcome::Accepted);
        assert_eq!(payloads(&storage), ["2", "3"]);
        publish(&mut world, &publisher, &["4"], QOS1);
        assert_eq!(payloads(&storage), ["2", "3", "4"]);
        stomp.vanish(&mut world);
        world.run();
        assert_eq!(payloads(&storage), ["2", "3", "4"]);
    }
}

/// How often a message was delivered is written down when it comes back.
#[test]
fn attempts_are_kept() {
    let (mut world, storage) = world(2, MemoryStorage::new());
    let publisher = world.toy(0);
    publish(&mut world, &publisher, &["1"], QOS1);
    let stomp = consumer(&mut world, 1, 10);
    world.run();
    settle(&mut world, &stomp, 1, Outcome::Released);
    world.run();
    stomp.vanish(&mut world);
    world.run();
    let queue =
        storage.streams().into_iter().find(|summary| summary.stream >= StreamId::FIRST_QUEUE).unwrap();
    let entries = storage.read(queue.stream, 0, ReadMax { entries: 9, bytes: 999 }).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(DeliveryNote::read(&entries[0].note).unwrap().attempt, 3);
}

/// A dead letter is kept where it goes in the change in which it is settled where it has died.
#[test]
fn a_dead_letter_is_in_one_place_at_every_moment() {
    for worker in 0..2 {
        let (mut world, storage) = world(2, MemoryStorage::new());
        let dead_letter = Some(Topic::parse(b"$queue/dead").unwrap());
        let orders = QueuePolicy { dead_letter, message_ttl: Some(MINUTE), ..policy("$queue/orders") };
        world.set_queue_policies(vec![orders]);
        let stomp = consumer(&mut world, worker, 1);
        let publisher = world.toy(0);
        publish(&mut world, &publisher, &["1", "2"], QOS1);
        let before = storage.urgencies().len();
        settle(&mut world, &stomp, 1, Outcome::Rejected);
        assert_eq!(
            (payloads(&storage), storage.urgencies().len() - before),
            (vec!["1".to_owned(), "2".into()], 1)
        );
        stomp.vanish(&mut world);
        world.advance(2 * MINUTE);
        assert_eq!(
            (payloads(&storage), world.node().gauges().named_queue_messages),
            (vec!["1".to_owned(), "2".into()], 2)
        );
        let queues = storage.streams().into_iter().filter(|summary| summary.stream >= StreamId::FIRST_QUEUE);
        assert_eq!(queues.count(), 1);
    }
}

/// An entry has the deadline that the queue's policy gives to its message.
#[test]
fn the_lifetime_in_a_queue_is_kept() {
    let (mut world, storage) = world(2, MemoryStorage::new());
    world.set_queue_policies(vec![QueuePolicy { message_ttl: Some(MINUTE), ..policy("$queue/orders") }]);
    for worker in 0..2 {
        let publisher = world.toy(worker);
        publish(&mut world, &publisher, &["x"], QOS1);
    }
    let queue =
        storage.streams().into_iter().find(|summary| summary.stream >= StreamId::FIRST_QUEUE).unwrap();
    for entry in storage.read(queue.stream, 0, ReadMax { entries: 9, bytes: 999 }).unwrap() {
        let record = tidegate_storage::record::MessageRecord::read(&entry.body).unwrap();
        assert_eq!(record.expires_at_millis, Some(60_000));
    }
}

/// [MQTT-4.5.0-1] [MQTT-3.1.1/3.1.2-5]: a group keeps messages while somebody comes back for them, and no others.
#[test]
fn a_shared_subscription_keeps_while_a_member_comes_back() {
    let (mut world, storage) = world(2, MemoryStorage::new());
    let publisher = world.toy(0);
    let guest = member(&mut world, 1, short("guest"));
    publish_all(&mut world, &publisher, &["1"]);
    assert_eq!(payloads(&storage), [""; 0]);
    let durable = member(&mut world, 0, session("durable"));
    publish_all(&mut world, &publisher, &["2", "3"]);
    assert_eq!(payloads(&storage), ["2", "3"]);
    // What a member leaves goes to the other one, under the same entry.
    guest.vanish(&mut world);
    world.run();
    let got = durable.got();
    assert_eq!(got.len(), 3);
    got.iter().for_each(|got| durable.accept(&mut world, got.tag.unwrap()));
    assert_eq!(payloads(&storage), [""; 0]);
    durable.vanish(&mut world);
    publish_all(&mut world, &publisher, &["4"]);
    assert_eq!(payloads(&storage), ["4"]);
    world.advance(2 * HOUR);
    assert_eq!(payloads(&storage), [""; 0]);
}

/// [MQTT-4.8.2-4] [MQTT-4.3.3-1]: what a session takes at level 2 is its own from then on, and on the disk before it sees it.
#[test]
fn what_a_session_takes_at_level_2_becomes_its_own() {
    for worker in 0..2 {
        let (mut world, storage) = world(2, MemoryStorage::manual());
        let publisher = world.toy(0);
        let durable = world.attached(worker, session("durable"));
        durable.subscribe(&mut world, "$queue/orders");
        publish(&mut world, &publisher, &["1", "2", "3"], QOS2);
        world.run();
        assert_eq!(durable.got_payloads(), [""; 0]);
        // All of them are on their way to the disk together.
        storage.sync_all();
        world.run();
        assert_eq!(durable.got_payloads(), ["1", "2", "3"]);
        assert_eq!(payloads(&storage), ["1", "2", "3"]);
        assert_eq!(storage.streams().iter().filter(|one| one.stream >= StreamId::FIRST_QUEUE).count(), 1);
        durable.accept(&mut world, 1);
        assert_eq!(payloads(&storage), ["2", "3"]);
        // It goes back to the queue when the session ends.
        durable.leave(&mut world, WillAction::Discard);
        world.advance(2 * HOUR);
        let stomp = consumer(&mut world, worker, 10);
        world.run();
        assert_eq!(stomp.got_payloads(), ["2", "3"]);
        assert_eq!(payloads(&storage), ["2", "3"]);
        assert!(storage.urgencies().contains(&Urgency::Synced));
    }
}

/// A consumer that settles nothing is done with what was sent to it.
#[test]
fn what_needs_no_settling_is_settled_when_it_is_sent() {
    for worker in 0..2 {
        let (mut world, storage) = world(2, MemoryStorage::new());
        let publisher = world.toy(0);
        let stomp = world.toy(worker);
        stomp.ask(&mut world, move |broker| {
            let (consumer, filter) = (ConsumerId(5), filter("$queue/orders"));
            let consume = Consume { consumer, credit: 1, settlement: Settlement::Automatic };
            broker.consume(consume).unwrap();
            broker.subscribe(&Subscribe { consumer, ..subscription(&filter) }).unwrap();
        });
        publish(&mut world, &publisher, &["1", "2"], QOS1);
        world.run();
        assert_eq!((stomp.got_payloads().len(), payloads(&storage)), (2, vec![]));
    }
}

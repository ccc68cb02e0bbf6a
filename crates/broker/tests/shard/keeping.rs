//! What is written into the store of messages for sessions, and when it is settled.

use crate::{HOUR, MINUTE, QOS0, QOS1, QOS2};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::{Limits, Overflow};
use tidegate_protocol::{DeliveryTag, Outcome, Refusal, Refused, RetainedDelivery, WillAction};
use tidegate_storage::record::{DeliveryNote, MessageRecord};
use tidegate_storage::{MemoryStorage, NoRoom, ReadMax, Storage, StreamId, Urgency};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, Toy, message, session};

/// A world on a store that syncs at once, or only when it is told to.
pub(crate) fn world(workers: usize, storage: MemoryStorage) -> (World, Arc<MemoryStorage>) {
    let storage = Arc::new(storage);
    (World::on_storage(workers, Limits::default(), storage.clone()), storage)
}

/// What stands in the streams of queues: the number, the level and the payload of each entry.
pub(crate) fn kept(storage: &MemoryStorage) -> Vec<(u64, u8, String)> {
    let queues = storage.streams().into_iter().filter(|summary| summary.stream >= StreamId::FIRST_QUEUE);
    let max = ReadMax { entries: usize::MAX, bytes: usize::MAX };
    let entries = queues.flat_map(|summary| storage.read(summary.stream, 0, max).unwrap());
    let shown = entries.map(|entry| {
        let note = DeliveryNote::read(&entry.note).unwrap();
        let message = MessageRecord::read(&entry.body).unwrap().message;
        (entry.number, note.qos.number(), String::from_utf8(message.payload.to_vec()).unwrap())
    });
    shown.collect()
}

fn payloads(storage: &MemoryStorage) -> Vec<String> {
    kept(storage).into_iter().map(|(_, _, payload)| payload).collect()
}

fn publish(toy: &Toy, world: &mut World, topic: &str, payload: &str) {
    toy.publish(world, topic, payload, QOS1).unwrap();
    world.run();
}

/// [MQTT-4.5.0-1] [MQTT-3.1.1/3.1.2-5]: what is above level 0 is kept for a session that outlives its connection, for whom else nothing is.
#[test]
fn only_what_a_session_comes_back_for_is_written() {
    let (mut world, storage) = world(2, MemoryStorage::new());
    let durable = world.attached(0, session("durable"));
    let elsewhere = world.attached(1, session("elsewhere"));
    let short = world.attached(0, session("short").expiry(Duration::ZERO));
    for toy in [&durable, &elsewhere, &short] {
        toy.subscribe(&mut world, "a/#");
    }
    durable.subscribe_with(&mut world, "low", |subscribe| subscribe.qos_max = QOS0).unwrap();
    let publisher = world.toy(0);
    let changes = storage.urgencies().len();
    for (topic, qos) in [("a/1", QOS0), ("a/2", QOS1), ("a/3", QOS2), ("low", QOS2)] {
        publisher.publish(&mut world, topic, topic, qos).unwrap();
    }
    let expected = [(1, 1, "a/2".to_owned()), (2, 2, "a/3".to_owned())];
    assert_eq!(kept(&storage), [expected.clone(), expected].concat());
    // One change for each of the two, with the entries of both receivers, before any letter is read.
    let urgencies = storage.urgencies().split_off(changes);
    assert_eq!(urgencies.iter().filter(|urgency| **urgency == Urgency::Synced).count(), 2);
    world.run();
    assert_eq!((durable.got().len(), elsewhere.got().len(), short.got().len()), (4, 3, 3));
}

/// The number of an entry is the tag of its delivery, so that it has the same one after the end of the process.
#[test]
fn what_is_accepted_is_settled_and_what_is_delivered_is_not() {
    for worker in 0..2 {
        let (mut world, storage) = world(2, MemoryStorage::new());
        let receiver = world.attached(worker, session("s"));
        receiver.subscribe(&mut world, "a");
        let publisher = world.toy(0);
        ["1", "2", "3"].into_iter().for_each(|payload| publish(&publisher, &mut world, "a", payload));
        let tags: Vec<_> = receiver.got().iter().map(|got| got.tag).collect();
        assert_eq!(tags, [Some(1), Some(2), Some(3)]);
        receiver.accept(&mut world, 2);
        assert_eq!(payloads(&storage), ["1", "3"]);
        receiver.ask(&mut world, |broker| broker.settle(SESSION, DeliveryTag(1), Outcome::Rejected));
        receiver.ask(&mut world, |broker| broker.settle(SESSION, DeliveryTag(3), Outcome::Released));
        assert_eq!(payloads(&storage), ["3"]);
        world.run();
        assert_eq!(receiver.got()[0].tag, Some(3));
        receiver.accept(&mut world, 3);
        assert_eq!(payloads(&storage), [""; 0]);
    }
}

/// What a connection leaves behind stays written once, and is settled by the next one; the session's end takes everything along.
#[test]
fn what_waits_for_a_session_goes_with_it() {
    let (mut world, storage) = world(2, MemoryStorage::new());
    let receiver = world.attached(1, session("s"));
    receiver.subscribe(&mut world, "a");
    let publisher = world.toy(0);
    publish(&publisher, &mut world, "a", "1");
    receiver.vanish(&mut world);
    ["2", "3"].into_iter().for_each(|payload| publish(&publisher, &mut world, "a", payload));
    let receiver = world.attached(0, session("s"));
    world.run();
    assert_eq!(receiver.got().iter().map(|got| got.tag.unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    receiver.accept(&mut world, 1);
    assert_eq!(payloads(&storage), ["2", "3"]);
    publish(&publisher, &mut world, "a", "4");
    receiver.leave(&mut world, WillAction::Discard);
    assert_eq!(payloads(&storage), ["2", "3", "4"]);
    world.advance(2 * HOUR);
    assert_eq!(payloads(&storage), [""; 0]);
    publish(&publisher, &mut world, "a", "5");
    assert_eq!(payloads(&storage), [""; 0]);
}

/// A clean start ends the session of before, and what was under way to it is nobody's.
#[test]
fn a_clean_start_leaves_nothing_behind() {
    let (mut world, storage) = world(2, MemoryStorage::new());
    let receiver = world.attached(1, session("s"));
    receiver.subscribe(&mut world, "a");
    let publisher = world.toy(0);
    // Its letter is not read yet.
    publisher.publish(&mut world, "a", "1", QOS1).unwrap();
    receiver.vanish(&mut world);
    assert_eq!(payloads(&storage), ["1"]);
    drop(world.attached(0, session("s").clean()));
    world.run();
    assert_eq!(payloads(&storage), [""; 0]);
}

/// [MQTT-3.3.2-5]
#[test]
fn what_expires_overflows_or_cannot_be_sent_is_settled() {
    let storage = Arc::new(MemoryStorage::new());
    let limits = Limits { queued_messages: 2, queue_overflow: Overflow::DropOldest, ..Limits::default() };
    let mut world = World::on_storage(1, limits, storage.clone());
    let receiver = world.attached(0, session("s").credit(1));
    receiver.subscribe(&mut world, "a");
    let publisher = world.toy(0);
    receiver.set_refuse(Some(Refused::NotExpressible));
    publish(&publisher, &mut world, "a", "refused");
    assert_eq!(payloads(&storage), [""; 0]);
    receiver.set_refuse(None);
    let short = |publish: &mut tidegate_protocol::Publish<'_>| publish.expiry = Some(MINUTE);
    publish(&publisher, &mut world, "a", "1");
    publisher.publish_with(&mut world, "a", "2", QOS1, short).unwrap();
    ["3", "4"].into_iter().for_each(|payload| publish(&publisher, &mut world, "a", payload));
    assert_eq!(payloads(&storage), ["1", "3", "4"]);
    receiver.vanish(&mut world);
    publisher.publish_with(&mut world, "a", "5", QOS1, short).unwrap();
    // What the peer may have stays, and the others make room.
    assert_eq!(payloads(&storage), ["1", "5"]);
    world.advance(2 * MINUTE);
    let receiver = world.attached(0, session("s"));
    world.run();
    assert_eq!(receiver.got().len(), 1);
    assert_eq!(payloads(&storage), ["1"]);
}

/// [MQTT-4.3.3-1] [MQTT-3.1.1/4.3.3-1]: at level 2 nobody gets what the gateway could have forgotten at its next start.
#[test]
fn a_delivery_at_level_2_waits_for_the_disk_and_nothing_overtakes_it() {
    for worker in 0..2 {
        let (mut world, storage) = world(2, MemoryStorage::manual());
        let receiver = world.attached(worker, session("s"));
        receiver.subscribe(&mut world, "a");
        let publisher = world.toy(0);
        for (payload, qos) in [("1", QOS1), ("2", QOS2), ("3", QOS0), ("4", QOS1)] {
            publisher.publish(&mut world, "a", payload, qos).unwrap();
            world.run();
        }
        assert_eq!(receiver.got_payloads(), ["1"]);
        storage.write_all();
        world.run();
        assert_eq!(receiver.got_payloads(), [""; 0]);
        storage.sync_all();
        world.run();
        assert_eq!(receiver.got_payloads(), ["2", "3", "4"]);
    }
}

/// The same for what a new subscription gets of the retained messages ([MQTT-3.3.1-9]).
#[test]
fn a_retained_message_at_level_2_waits_for_the_disk() {
    let (mut world, storage) = world(1, MemoryStorage::manual());
    let publisher = world.toy(0);
    publisher.publish_with(&mut world, "a/1", "x", QOS2, |publish| publish.retain = true).unwrap();
    publisher.publish_with(&mut world, "a/2", "y", QOS1, |publish| publish.retain = true).unwrap();
    let receiver = world.attached(0, session("s"));
    let wanted = |subscribe: &mut tidegate_protocol::Subscribe<'_>| {
        subscribe.retained = RetainedDelivery::Always;
    };
    receiver.subscribe_with(&mut world, "a/+", wanted).unwrap();
    world.run();
    assert!(!receiver.got_payloads().contains(&"x".to_owned()));
    assert_eq!(payloads(&storage), ["x"]);
    storage.sync_all();
    world.run();
    assert!(receiver.got_payloads().contains(&"x".to_owned()));
    receiver.vanish(&mut world);
    // What has been delivered and not settled is kept with the session, whatever its level.
    let mut left = payloads(&storage);
    left.sort();
    assert_eq!(left, ["x", "y"]);
}

/// What is published together is one change.
#[test]
fn a_batch_is_written_as_a_whole() {
    let (mut world, storage) = world(2, MemoryStorage::manual());
    let receiver = world.attached(1, session("s"));
    receiver.subscribe(&mut world, "a");
    let publisher = world.toy(0);
    let before = storage.urgencies().len();
    publisher
        .ask(&mut world, |broker| {
            broker.publish_all(&[message("a", "1", QOS1), message("a", "2", QOS1)]).map(drop)
        })
        .unwrap();
    assert_eq!((storage.urgencies().len() - before, payloads(&storage).len()), (1, 2));
}

/// Without room nothing that would have to be kept is taken, and everything else is.
#[test]
fn a_full_store_refuses_what_it_would_have_to_keep() {
    let (mut world, storage) = world(2, MemoryStorage::new());
    let durable = world.attached(1, session("durable"));
    durable.subscribe(&mut world, "kept");
    let short = world.attached(0, session("short").expiry(Duration::ZERO));
    for text in ["kept", "not"] {
        short.subscribe(&mut world, text);
    }
    let publisher = world.toy(0);
    storage.set_room(Err(NoRoom::Full));
    assert_eq!(publisher.publish(&mut world, "kept", "1", QOS1).map(drop), Err(Refusal::StoreFull));
    let batch = publisher.ask(&mut world, |broker| {
        broker.publish_all(&[message("not", "1", QOS1), message("kept", "1", QOS1)]).map(drop)
    });
    assert_eq!(batch, Err((1, Refusal::StoreFull)));
    for (topic, qos) in [("kept", QOS0), ("not", QOS1)] {
        publisher.publish(&mut world, topic, "2", qos).unwrap();
    }
    world.run();
    assert_eq!(
        (durable.got_payloads(), short.got_payloads()),
        (vec!["2".to_owned()], vec!["2".into(), "2".into()])
    );
    assert_eq!(world.dropped("store_full"), 3);
    storage.set_failing(true);
    assert_eq!(publisher.publish(&mut world, "kept", "1", QOS1).map(drop), Err(Refusal::StoreFailing));
    storage.set_failing(false);
    storage.set_room(Ok(()));
    publish(&publisher, &mut world, "kept", "3");
    assert_eq!(payloads(&storage), ["3"]);
}

/// What a queue has no room for is refused, and not kept either.
#[test]
fn what_is_refused_is_not_kept() {
    let storage = Arc::new(MemoryStorage::new());
    let limits = Limits { queued_messages: 1, ..Limits::default() };
    let mut world = World::on_storage(1, limits, storage.clone());
    let receiver = world.attached(0, session("s"));
    receiver.subscribe(&mut world, "a");
    receiver.vanish(&mut world);
    let publisher = world.toy(0);
    publish(&publisher, &mut world, "a", "1");
    assert_eq!(publisher.publish(&mut world, "a", "2", QOS1).map(drop), Err(Refusal::QueueFull));
    assert_eq!(payloads(&storage), ["1"]);
}

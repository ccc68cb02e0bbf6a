//! Retained messages and the end of the process.

use crate::{MINUTE, QOS0, QOS1};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_broker::{
    Limits, Node, NodeOptions, QueuePolicies, Reconfiguration, RecoveryError, TopicPolicies, TopicPolicy,
};
use tidegate_message::QoS;
use tidegate_protocol::{Publish, Refusal, RetainedDelivery};
use tidegate_storage::{MemoryStorage, NoRoom, ReadMax, Storage, StreamId, Urgency};
use tidegate_testkit::pair::toy::{Toy, filter, session};
use tidegate_testkit::pair::{self, World};

fn retain(publish: &mut Publish<'_>) {
    publish.retain = true;
}

fn retain_for(time: Duration) -> impl FnOnce(&mut Publish<'_>) + 'static {
    move |publish| (publish.retain, publish.expiry) = (true, Some(time))
}

/// A world on a store of which the test says what is synced, with a publisher that leaves nothing behind itself.
fn world(workers: usize) -> (World, Toy, Arc<MemoryStorage>) {
    world_on(workers, Limits::default(), MemoryStorage::manual())
}

fn world_on(workers: usize, limits: Limits, storage: MemoryStorage) -> (World, Toy, Arc<MemoryStorage>) {
    let storage = Arc::new(storage);
    let mut world = World::on_storage(workers, limits, storage.clone());
    let alice = passer_by(&mut world, "alice");
    (world, alice, storage)
}

fn passer_by(world: &mut World, name: &str) -> Toy {
    world.attached(0, session(name).expiry(Duration::ZERO).credit(1000))
}

/// Everything that is retained, as a new subscription finds it.
fn state(world: &mut World) -> Vec<(String, String)> {
    let reader = passer_by(world, "reader");
    reader.subscribe_with(world, "#", |subscribe| subscribe.retained = RetainedDelivery::Always).unwrap();
    world.run();
    let got = reader.got();
    reader.vanish(world);
    world.run();
    got.into_iter().map(|got| (got.topic, got.payload)).collect()
}

fn state_on(storage: MemoryStorage) -> Vec<(String, String)> {
    let (mut world, ..) = world_on(2, Limits::default(), storage);
    state(&mut world)
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(topic, payload)| ((*topic).to_owned(), (*payload).to_owned())).collect()
}

fn entries(storage: &MemoryStorage) -> usize {
    storage.summary(StreamId::RETAINED).map_or(0, |summary| summary.entries)
}

/// [MQTT-3.3.1-5] [MQTT-3.1.1/3.3.1-5]: the state is the topic's last message, whatever its level.
#[test]
fn what_is_retained_outlives_the_process() {
    let (mut world, alice, storage) = world(2);
    alice.publish_with(&mut world, "a", "old", QOS1, retain).unwrap();
    alice.publish_with(&mut world, "a", "new", QOS1, retain).unwrap();
    storage.sync_all();
    alice.publish_with(&mut world, "b", "level 0", QOS0, retain).unwrap();
    assert_eq!(state_on(storage.crash()), pairs(&[("a", "new")]));
    assert_eq!(state_on(storage.restart()), pairs(&[("a", "new"), ("b", "level 0")]));
    assert_eq!(entries(&storage), 2, "the older one is settled");
}

/// Properties and levels come back as they were, and the message is nobody's own any more who was not there then.
#[test]
fn a_retained_message_comes_back_as_it_was() {
    let (mut world, alice, storage) = world(1);
    alice.publish_with(&mut world, "a", "x", QOS1, retain).unwrap();
    let (mut world, _, _) = world_on(1, Limits::default(), storage.restart());
    for number in 0..20 {
        let reader = passer_by(&mut world, &format!("reader {number}"));
        reader
            .subscribe_with(&mut world, "a", |subscribe| {
                (subscribe.retained, subscribe.no_local) = (RetainedDelivery::Always, true);
            })
            .unwrap();
        world.run();
        let got = reader.got();
        assert_eq!((got.len(), got[0].payload.as_str(), got[0].qos, got[0].retain), (1, "x", 1, true));
    }
}

/// [MQTT-3.3.1-6] [MQTT-3.1.1/3.3.1-10]: what was cleared does not come back, once that is on the disk.
#[test]
fn what_is_cleared_stays_cleared() {
    let (mut world, alice, storage) = world(1);
    alice.publish_with(&mut world, "a", "x", QOS1, retain).unwrap();
    storage.sync_all();
    alice.publish_with(&mut world, "a", "", QOS1, retain).unwrap();
    assert_eq!(state_on(storage.crash()), pairs(&[("a", "x")]));
    storage.sync_all();
    assert_eq!(state_on(storage.crash()), []);
    assert_eq!(entries(&storage), 0);
}

/// MQTT 5.0 section 3.3.2.3.3: the time in which nothing ran counts, and what had passed before is not given again.
#[test]
fn deadlines_go_on_over_restarts() {
    let (mut world, alice, storage) = world(1);
    alice.publish_with(&mut world, "short", "x", QOS1, retain_for(MINUTE)).unwrap();
    alice.publish_with(&mut world, "long", "x", QOS1, retain_for(3 * MINUTE)).unwrap();
    alice.publish_with(&mut world, "ever", "x", QOS1, retain).unwrap();
    storage.advance_millis(30_000);
    let storage = storage.restart();
    storage.advance_millis(30_000);
    let (mut world, _, storage) = world_on(1, Limits::default(), storage);
    assert_eq!(state(&mut world), pairs(&[("ever", "x"), ("long", "x")]));
    assert_eq!(world.node().recovered().retained_expired, 1);
    assert_eq!(entries(&storage), 2, "what has expired is settled");
    world.advance(2 * MINUTE);
    assert_eq!(state(&mut world), pairs(&[("ever", "x")]));
}

/// A message that expired in place of another one does not bring that back.
#[test]
fn an_expired_message_leaves_nothing_behind() {
    let (mut world, alice, storage) = world(1);
    alice.publish_with(&mut world, "a", "old", QOS1, retain).unwrap();
    alice.publish_with(&mut world, "a", "new", QOS1, retain_for(MINUTE)).unwrap();
    storage.advance_millis(60_000);
    assert_eq!(state_on(storage.restart()), []);
}

/// Room that expired messages give up is given up in the store as well.
#[test]
fn what_makes_room_because_it_has_expired_is_settled() {
    let limits = Limits { retained_messages: 2, ..Limits::default() };
    let (mut world, alice, storage) = world_on(1, limits, MemoryStorage::manual());
    for topic in ["a", "b"] {
        alice.publish_with(&mut world, topic, "x", QOS1, retain_for(MINUTE)).unwrap();
    }
    assert_eq!(alice.publish_with(&mut world, "c", "x", QOS1, retain), Err(Refusal::RetainedFull));
    world.advance(MINUTE);
    alice.publish_with(&mut world, "c", "x", QOS1, retain).unwrap();
    assert_eq!(entries(&storage), 1);
}

/// Nobody has to ask for the room of what has expired: it leaves the store by itself, a portion a turn.
#[test]
fn what_has_expired_leaves_the_store() {
    let (mut world, alice, storage) = world(2);
    world.run();
    for number in 0..3000 {
        let time = Duration::from_secs(30 + number % 2 * 100);
        alice.publish_with(&mut world, &format!("t/{number}"), "x", QOS0, retain_for(time)).unwrap();
    }
    alice.publish_with(&mut world, "ever", "x", QOS0, retain).unwrap();
    world.advance(Duration::from_secs(59));
    assert_eq!(entries(&storage), 3001);
    for left in [1501, 1] {
        world.advance(MINUTE);
        assert_eq!((entries(&storage), world.node().gauges().retained_messages), (left, left));
    }
    world.now += 2 * MINUTE;
    let now = world.now;
    alice.publish_with(&mut world, "t/1", "x", QOS0, retain_for(MINUTE)).unwrap();
    world.shard(0).handle_timers(now);
    world.advance(2 * MINUTE);
    assert_eq!((entries(&storage), state(&mut world)), (1, pairs(&[("ever", "x")])));
}

/// A message that nobody received in the end is not retained either, and what it had replaced is there again, before and after a restart.
#[test]
fn a_refused_message_leaves_the_state_as_it_was() {
    let limits = Limits { queued_messages: 1, ..Limits::default() };
    let (mut world, alice, storage) = world_on(1, limits, MemoryStorage::manual());
    let bob = world.attached(0, session("bob").expiry(Duration::ZERO).credit(1));
    bob.subscribe(&mut world, "a");
    for payload in ["1", "2"] {
        alice.publish_with(&mut world, "a", payload, QOS1, retain).unwrap();
    }
    for payload in ["3", ""] {
        let refused = alice.publish_with(&mut world, "a", payload, QOS1, retain);
        assert_eq!(refused, Err(Refusal::QueueFull));
        assert_eq!(state_on(storage.restart()), pairs(&[("a", "2")]), "{payload:?}");
        assert_eq!(entries(&storage), 1);
    }
    bob.vanish(&mut world);
    alice.publish_with(&mut world, "a", "", QOS1, retain).unwrap();
    assert_eq!((entries(&storage), state_on(storage.restart())), (0, Vec::new()));
}

/// A transaction is kept as a whole, and one that is refused leaves no trace.
#[test]
fn a_batch_is_retained_as_a_whole() {
    let limits = Limits { retained_messages: 2, ..Limits::default() };
    let (mut world, alice, storage) = world_on(1, limits, MemoryStorage::manual());
    let publish_all = |world: &mut World, batch: &'static [(&str, &str)]| {
        alice.ask(world, |broker| {
            let publish = |(topic, payload): &(&'static str, &'static str)| Publish {
                retain: true,
                ..tidegate_testkit::pair::toy::message(topic, payload, QOS1)
            };
            broker.publish_all(&batch.iter().map(publish).collect::<Vec<_>>()).is_ok()
        })
    };
    assert!(publish_all(&mut world, &[("a", "1"), ("b", "1"), ("a", "2")]));
    assert!(!publish_all(&mut world, &[("a", "3"), ("b", ""), ("c", "1"), ("d", "1")]));
    assert_eq!(state_on(storage.restart()), pairs(&[("a", "2"), ("b", "1")]));
    assert_eq!(entries(&storage), 2);
}

/// A will and a dead letter are retained like anything else.
#[test]
fn a_retained_will_outlives_the_process() {
    let (mut world, _, storage) = world(1);
    let will = tidegate_protocol::Will {
        topic: tidegate_message::Topic::parse(b"status").unwrap(),
        payload: b"gone"[..].into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: None,
        expiry: None,
        delay: Duration::ZERO,
    };
    let bob = world.attached(0, session("bob").expiry(Duration::ZERO).will(will));
    bob.vanish(&mut world);
    world.run();
    assert_eq!(state_on(storage.restart()), pairs(&[("status", "gone")]));
}

/// More than one portion of the store's entries, and more than the limits of today allow.
#[test]
fn everything_comes_back_however_much_it_is() {
    let (mut world, alice, storage) = world(1);
    for number in 0..10_000 {
        alice.publish_with(&mut world, &format!("t/{number}"), "x", QOS0, retain).unwrap();
    }
    let limits = Limits { retained_messages: 10, ..Limits::default() };
    let (mut world, alice, _) = world_on(2, limits, storage.restart());
    assert_eq!(world.node().gauges().retained_messages, 10_000);
    assert_eq!(world.node().recovered().retained, 10_000);
    assert_eq!(alice.publish_with(&mut world, "one more", "x", QOS0, retain), Err(Refusal::RetainedFull));
}

/// Numbers are never given twice: what is retained after a restart is newer than everything before it.
#[test]
fn what_is_replaced_after_a_restart_stays_replaced() {
    let (mut world, alice, storage) = world(1);
    for payload in ["1", "2", "3"] {
        alice.publish_with(&mut world, "a", payload, QOS1, retain).unwrap();
    }
    let (mut world, alice, storage) = world_on(1, Limits::default(), storage.restart());
    alice.publish_with(&mut world, "a", "4", QOS1, retain).unwrap();
    assert_eq!(state_on(storage.restart()), pairs(&[("a", "4")]));
    assert_eq!(entries(&storage), 1);
}

/// What the publisher waits for is said by the first policy that is about the topic, also after it has changed; nobody waits at level 0.
#[test]
fn the_policy_of_the_topic_says_what_is_waited_for() {
    let (mut world, alice, storage) = world(1);
    let policies = [("lazy/#", Urgency::Lazy), ("written/#", Urgency::Written)];
    let policy = |(topics, acknowledge): (&str, Urgency)| TopicPolicy {
        topics: vec![filter(topics)],
        acknowledge,
        ..TopicPolicy::default()
    };
    world.reconfigure(reconfiguration(policies.map(policy).into()));
    let before = storage.urgencies().len();
    for (topic, qos) in [("lazy/a", QOS1), ("written/a", QOS1), ("a", QOS1), ("a", QOS0)] {
        alice.publish_with(&mut world, topic, "x", qos, retain).unwrap();
    }
    world.reconfigure(reconfiguration(Vec::new()));
    alice.publish_with(&mut world, "lazy/a", "x", QOS1, retain).unwrap();
    let expected = [Urgency::Lazy, Urgency::Written, Urgency::Synced, Urgency::Lazy, Urgency::Synced];
    assert_eq!(storage.urgencies()[before..], expected);
}

/// The shorter time counts, and what a message carries to its receivers says so.
#[test]
fn a_policy_shortens_lives() {
    let (mut world, alice, storage) = world(1);
    let policy =
        TopicPolicy { topics: vec![filter("a/#")], message_ttl: Some(2 * MINUTE), ..TopicPolicy::default() };
    world.reconfigure(reconfiguration(vec![policy]));
    alice.publish_with(&mut world, "a/short", "x", QOS1, retain_for(MINUTE)).unwrap();
    alice.publish_with(&mut world, "a/long", "x", QOS1, retain_for(3 * MINUTE)).unwrap();
    alice.publish_with(&mut world, "a/ever", "x", QOS1, retain).unwrap();
    alice.publish_with(&mut world, "b", "x", QOS1, retain).unwrap();
    let at = |seconds: u64| {
        let later = storage.restart();
        later.advance_millis(seconds * 1000);
        state_on(later).into_iter().map(|(topic, _)| topic).collect::<Vec<_>>()
    };
    assert_eq!(at(59), ["a/ever", "a/long", "a/short", "b"]);
    assert_eq!(at(119), ["a/ever", "a/long", "b"]);
    assert_eq!(at(120), ["b"]);
    world.advance(2 * MINUTE);
    assert_eq!(state(&mut world), pairs(&[("b", "x")]));
}

fn reconfiguration(topics: Vec<TopicPolicy>) -> Reconfiguration {
    Reconfiguration {
        limits: Limits::default(),
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies(topics),
    }
}

/// An entry that cannot be read stops the start with its name, or is left in the store and counted.
#[test]
fn a_damaged_entry_is_named_or_left_alone() {
    let (mut world, alice, storage) = world(1);
    for topic in ["a", "b"] {
        alice.publish_with(&mut world, topic, "x", QOS1, retain).unwrap();
    }
    let entry = storage.read(StreamId::RETAINED, 0, ReadMax { entries: 1, bytes: 1 }).unwrap().remove(0);
    let mut change = tidegate_storage::Change::default();
    change.append(&[(StreamId::RETAINED, entry.number, b"")], b"no record");
    storage.append(&mut change, Urgency::Lazy);
    let error = open(storage.restart(), false).unwrap_err();
    assert_eq!(error.to_string(), format!("entry {} of stream 2 of the store is damaged", entry.number));
    let node = open(storage.restart(), true).unwrap();
    assert_eq!((node.gauges().retained_messages, node.recovered().damaged), (1, 1));
}

fn open(storage: MemoryStorage, skip_damaged: bool) -> Result<Arc<Node>, RecoveryError> {
    let options = pair::options(vec![Box::new(|| {})], Some(Arc::new(storage)));
    let options = NodeOptions { skip_damaged, ..options };
    Node::open(options, Instant::now())
}

/// What cannot be kept is refused and changes nothing; what needs no disk goes on, and so does what gives room back.
#[test]
fn a_full_disk_refuses_what_would_be_retained() {
    let (mut world, alice, storage) = world(2);
    let bob = world.attached(1, session("bob").expiry(Duration::ZERO));
    bob.subscribe(&mut world, "#");
    alice.publish_with(&mut world, "a", "x", QOS1, retain).unwrap();
    storage.set_room(Err(NoRoom::Full));
    for qos in [QOS0, QOS1] {
        assert_eq!(alice.publish_with(&mut world, "b", "y", qos, retain), Err(Refusal::StoreFull));
    }
    alice.publish(&mut world, "b", "live", QOS1).unwrap();
    alice.publish_with(&mut world, "a", "", QOS1, retain).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["x", "live", ""]);
    assert_eq!((state(&mut world), entries(&storage)), (Vec::new(), 0));
    assert_eq!(world.dropped("store_full"), 2);
    storage.set_room(Ok(()));
    alice.publish_with(&mut world, "b", "y", QOS1, retain).unwrap();
    assert_eq!(entries(&storage), 1);
}

/// A disk that answers with errors keeps nothing at all, not even that something was cleared.
#[test]
fn a_failing_disk_refuses_every_change_of_the_state() {
    let (mut world, alice, storage) = world(1);
    alice.publish_with(&mut world, "a", "x", QOS1, retain).unwrap();
    storage.set_failing(true);
    for payload in ["y", ""] {
        assert_eq!(
            alice.publish_with(&mut world, "a", payload, QOS1, retain),
            Err(Refusal::StoreFailing),
            "{payload:?}"
        );
    }
    alice.publish(&mut world, "a", "live", QOS1).unwrap();
    assert_eq!((state(&mut world), world.dropped("store_failing")), (pairs(&[("a", "x")]), 2));
    storage.set_failing(false);
    alice.publish_with(&mut world, "a", "", QOS1, retain).unwrap();
    assert_eq!(entries(&storage), 0);
}

/// What is retained and waits for somebody besides is in the store once.
#[test]
fn a_message_is_kept_once_however_many_want_it() {
    let (mut world, alice, storage) = world(1);
    for name in ["bob", "carol"] {
        let away = world.attached(0, session(name));
        away.subscribe(&mut world, "a");
        away.vanish(&mut world);
    }
    alice.publish_with(&mut world, "a", "x", QOS1, retain).unwrap();
    let bodies = |storage: &MemoryStorage| -> Vec<_> {
        let describing = [StreamId::SESSIONS, StreamId::GIVEN];
        let kept = storage.streams().into_iter().filter(|summary| !describing.contains(&summary.stream));
        let all = ReadMax { entries: 9, bytes: 9 };
        kept.flat_map(|summary| storage.read(summary.stream, 0, all).unwrap())
            .map(|entry| entry.body)
            .collect()
    };
    let kept = bodies(&storage);
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|body| body.as_ptr() == kept[0].as_ptr()));
    alice.publish_with(&mut world, "a", "", QOS0, retain).unwrap();
    assert_eq!((entries(&storage), bodies(&storage).len()), (0, 2));
}

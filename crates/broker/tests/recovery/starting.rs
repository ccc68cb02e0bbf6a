//! What the start does with what it cannot use: damage, other protocols' sessions, things without an owner, rights that are gone.

use crate::{HOUR, Kept, QOS1};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tidegate_broker::{
    AccessRule, AccessRules, Node, NodeOptions, Permission, RecoveryError, RuleAction, Who,
};
use tidegate_message::TopicPattern;
use tidegate_protocol::{Identity, Proof, SessionLimits, Settlement};
use tidegate_storage::record::{SavedPart, SavedRecord, SessionNote, SessionPhase, SessionRecord};
use tidegate_storage::{Change, MemoryStorage, Storage, StreamId, Urgency};
use tidegate_testkit::pair::toy::session;
use tidegate_testkit::pair::{self, World};

fn options(storage: Arc<MemoryStorage>) -> NodeOptions {
    pair::options(vec![Box::new(|| {})], Some(storage))
}

/// Appends entries (number, note, body) to the stream of the sessions.
fn append(storage: &MemoryStorage, entries: &[(u64, &[u8], &[u8])]) {
    let mut change = Change::default();
    for (number, note, body) in entries {
        change.append(&[(StreamId::SESSIONS, *number, note)], body);
    }
    storage.append(&mut change, Urgency::Synced);
}

fn descriptions(storage: &MemoryStorage) -> usize {
    storage.summary(StreamId::SESSIONS).map_or(0, |summary| summary.entries)
}

fn subscribed(name: &str) -> Kept {
    let mut kept = Kept::new();
    kept.world.attached(0, session(name)).subscribe(&mut kept.world, "a/#");
    kept
}

#[test]
fn damage_stops_the_start_and_is_named() {
    let storage = Arc::new(subscribed("ann").storage.restart());
    append(&storage, &[(99, b"", b"\x01\x01nonsense")]);
    let error = Node::open(options(storage.clone()), Instant::now()).unwrap_err();
    assert!(matches!(error, RecoveryError::Damaged { stream: StreamId::SESSIONS, number: 99 }), "{error}");
    assert_eq!(error.to_string(), "entry 99 of stream 1 of the store is damaged");
    assert_eq!(descriptions(&storage), 3);
}

#[test]
fn damage_is_left_out_where_that_is_wanted_and_left_as_it_is() {
    let storage = Arc::new(subscribed("ann").storage.restart());
    append(&storage, &[(99, b"", b"?")]);
    for _ in 0..2 {
        let node = Node::open(NodeOptions { skip_damaged: true, ..options(storage.clone()) }, Instant::now());
        let found = node.unwrap().recovered();
        assert_eq!((found.damaged, found.sessions, found.subscriptions), (1, 1, 1));
    }
    assert_eq!(descriptions(&storage), 3);
}

/// The usual damage: a stretch of the log cannot be read, and with it the description of who owns the rest is not there at all.
#[test]
fn what_seems_to_belong_to_nothing_stays_where_a_part_of_the_log_is_missing() {
    let storage = Arc::new(subscribed("ann").storage.restart());
    let mut change = Change::default();
    change.append(&[(StreamId(6000), 1, b"")], b"a message");
    storage.append(&mut change, Urgency::Synced);
    let session = storage.summary(StreamId::SESSIONS).unwrap().first;
    storage.lose(StreamId::SESSIONS, session);
    for _ in 0..2 {
        let node = Node::open(NodeOptions { skip_damaged: true, ..options(storage.clone()) }, Instant::now());
        let found = node.unwrap().recovered();
        assert_eq!((found.sessions, found.orphans), (0, 2));
        // The other stream says which numbers were given.
        assert_eq!((descriptions(&storage), storage.streams().len()), (1, 3));
    }
}

fn other_session(queue: u64) -> (Vec<u8>, Vec<u8>) {
    let (mut note, mut body) = (Vec::new(), Vec::new());
    SessionRecord { protocol: "other".into(), client_id: "ann".into(), queue }.write(&mut body);
    let identity = Identity { user: None, client_id: None, listener: "l".into(), proof: Proof::Nothing };
    SessionNote {
        identity: Arc::new(identity),
        expiry: HOUR,
        credit: 1,
        settlement: Settlement::Always,
        limits: SessionLimits::Usual,
        wants_publisher: false,
        phase: SessionPhase::Attached,
    }
    .write(&mut note);
    (note, body)
}

/// Another program may be started on the same store tomorrow.
#[test]
fn sessions_of_unknown_protocols_stay_in_the_store() {
    let storage = Arc::new(MemoryStorage::new());
    let (note, body) = other_session(5000);
    let mut piece = Vec::new();
    SavedRecord { queue: 5000, part: SavedPart::Whole, bytes: vec![1] }.write(&mut piece);
    append(&storage, &[(1, &note, &body), (2, b"", &piece)]);
    let mut change = Change::default();
    change.append(&[(StreamId(5000), 1, b"")], b"a message");
    storage.append(&mut change, Urgency::Synced);
    let node = Node::open(options(storage.clone()), Instant::now()).unwrap();
    let found = node.recovered();
    assert_eq!((found.foreign_sessions, found.sessions, found.orphans), (1, 0, 0));
    assert_eq!((descriptions(&storage), storage.streams().len()), (2, 2));
    assert!(node.next_id() > 5000);
}

#[test]
fn what_belongs_to_nothing_is_settled_and_counted() {
    let storage = Arc::new(MemoryStorage::new());
    let mut piece = Vec::new();
    SavedRecord { queue: 5000, part: SavedPart::Whole, bytes: vec![1] }.write(&mut piece);
    append(&storage, &[(7, b"", &piece)]);
    let mut change = Change::default();
    change.append(&[(StreamId(6000), 1, b"")], b"a message on its way to a queue that ended");
    storage.append(&mut change, Urgency::Synced);
    let node = Node::open(options(storage.clone()), Instant::now()).unwrap();
    assert_eq!((node.recovered().orphans, storage.streams().len()), (2, 0));
}

/// What was allowed when it was subscribed and is not when the process comes back ends, as after a reload.
#[test]
fn rights_are_asked_for_again() {
    let storage = Arc::new(subscribed("ann").storage.restart());
    let rule = |action, topic: &str| AccessRule {
        permission: Permission::Allow,
        action,
        topics: vec![TopicPattern::parse(topic).unwrap()],
        who: Who::default(),
    };
    let rules = AccessRules::new(vec![rule(RuleAction::Publish, "#"), rule(RuleAction::Subscribe, "b")]);
    let access = Some(Arc::new(rules));
    let node = Node::open(NodeOptions { access, ..options(storage.clone()) }, Instant::now()).unwrap();
    assert_eq!(node.gauges().subscriptions, 1);
    let mut world = World::of_one_worker(node, 0, Arc::new(AtomicBool::new(true)));
    world.run();
    world.advance(Duration::ZERO);
    assert_eq!((world.node().gauges().subscriptions, world.node().gauges().sessions), (0, 1));
    assert_eq!(descriptions(&storage), 1);
    let publisher = world.toy(0);
    assert!(!publisher.publish(&mut world, "a/x", "x", QOS1).unwrap().matched);
}

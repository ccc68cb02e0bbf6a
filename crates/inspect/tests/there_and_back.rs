//! What a store holds comes back from an export as it was; what no export says is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use proptest::prelude::*;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use tidegate_inspect::{
    ImportError, Names, Open, QueueKind, check_ends, export, import, info, peek, purge, queues,
};
use tidegate_message::{Message, Origin, Properties, Publisher, QoS, Topic, TopicFilter};
use tidegate_protocol::{CredentialStamp, Identity, Proof, SessionLimits, Settlement, Will};
use tidegate_storage::record::{
    DeliveryNote, Description, GivenNote, MessageRecord, QueueNote, QueueRecord, SavedPart, SavedRecord,
    SessionNote, SessionPhase, SessionRecord, SubscriptionRecord, WillRecord,
};
use tidegate_storage::{Change, MemoryStorage, ReadMax, Storage, StreamId, Urgency};

const SESSION: u64 = 2000;
const GROUP: u64 = 2001;
const NAMED: u64 = 2002;
const UNUSED: u64 = 2003;

fn identity() -> Arc<Identity> {
    let (user, client_id) = (Some("ann".into()), Some("panel \"1\"\n".into()));
    Arc::new(Identity {
        user,
        client_id,
        listener: "mqtt".into(),
        proof: Proof::Credentials(CredentialStamp(7)),
    })
}

fn message(topic: &str, payload: &[u8]) -> Message {
    Message {
        topic: Topic::parse(topic.as_bytes()).unwrap(),
        payload: Bytes::copy_from_slice(payload),
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: None,
        expires_at: None,
        origin: Origin(3),
        publisher: Some(Box::new(Publisher {
            client_id: Some("pump-7".into()),
            user: None,
            published_at_millis: 1_795_311_000_123,
            taken_at_millis: 100,
        })),
    }
}

fn description(change: &mut Change, number: u64, note: &[u8], what: &Description) {
    let mut body = Vec::new();
    what.write(&mut body);
    change.append(&[(StreamId::SESSIONS, number, note)], &body);
}

fn session(change: &mut Change, phase: SessionPhase) {
    let record = SessionRecord { protocol: "mqtt".into(), client_id: "panel-1".into(), queue: SESSION };
    let settlement = Settlement::AboveAtMostOnce;
    let (expiry, limits) = (Duration::MAX, SessionLimits::Disk);
    let (credit, wants_publisher) = (9, true);
    let note =
        SessionNote { identity: identity(), expiry, credit, settlement, limits, wants_publisher, phase };
    let mut bytes = Vec::new();
    note.write(&mut bytes);
    description(change, 1, &bytes, &Description::Session(record));
}

fn subscription(change: &mut Change, number: u64, filter: &str, share: Option<&str>, group: Option<u64>) {
    let record = SubscriptionRecord {
        queue: SESSION,
        share: share.map(Box::from),
        group,
        filter: TopicFilter::parse(filter.as_bytes()).unwrap(),
        qos_max: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: false,
        subscription_id: Some(5),
    };
    description(change, number, b"", &Description::Subscription(record));
}

fn waiting(change: &mut Change, stream: u64, number: u64, message: &Message, expires_at_millis: Option<u64>) {
    let note = DeliveryNote {
        qos: QoS::AtLeastOnce,
        retain: true,
        subscription_ids: vec![1, 2],
        attempt: 3,
        taken_from: Some((StreamId(GROUP), 8)),
    };
    let (mut bytes, mut body) = (Vec::new(), Vec::new());
    note.write(&mut bytes);
    MessageRecord::write_expiring(message, expires_at_millis, &mut body);
    change.append(&[(StreamId(stream), number, &bytes)], &body);
}

/// A store with one of everything.
fn full() -> MemoryStorage {
    let (storage, mut change) = (MemoryStorage::new(), Change::default());
    storage.advance_millis(1000);
    let phase = SessionPhase::Detached { ends_at_millis: Some(5000), will_at_millis: Some(1500) };
    session(&mut change, phase);
    subscription(&mut change, 2, "a/+/#", None, None);
    subscription(&mut change, 3, "jobs/#", Some("workers"), Some(GROUP));
    subscription(&mut change, 4, "$queue/orders", None, Some(NAMED));
    let saved = SavedRecord { queue: SESSION, part: SavedPart::Whole, bytes: vec![0, 0xff] };
    description(&mut change, 5, b"", &Description::Saved(saved));
    let will = Will {
        topic: Topic::parse(b"gone").unwrap(),
        payload: Bytes::from_static(b"bye"),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Some(Box::new(Properties { reply_to: Some("r".into()), ..Properties::default() })),
        expiry: Some(Duration::from_secs(9)),
        delay: Duration::MAX,
    };
    let will = WillRecord { queue: SESSION, identity: identity(), will };
    description(&mut change, 6, b"", &Description::Will(Box::new(will)));
    let (mut body, mut note) = (Vec::new(), Vec::new());
    QueueRecord { queue: UNUSED, topic: Topic::parse(b"$queue/unused").unwrap() }.write(&mut body);
    QueueNote { used_at_millis: 300 }.write(&mut note);
    change.append(&[(StreamId::QUEUES, 2, &note)], &body);
    let (mut body, mut note) = (Vec::new(), Vec::new());
    GivenNote { sessions: 70_000, groups: 3 }.write(&mut note);
    change.append(&[(StreamId::GIVEN, 1, &note)], &[]);
    MessageRecord::write_expiring(&message("state", b"on"), None, &mut body);
    change.append(&[(StreamId::RETAINED, 4, b"")], &body);
    waiting(&mut change, SESSION, 7, &message("a/b", b"text \xc3\xa4"), Some(2500));
    waiting(&mut change, SESSION, 9, &message("a/b", b"\xff\x00"), None);
    waiting(&mut change, NAMED, 1, &message("$queue/orders", b""), None);
    storage.append(&mut change, Urgency::Lazy);
    storage
}

/// Every entry of every stream.
fn contents(storage: &MemoryStorage) -> Vec<(StreamId, u64, Bytes, Bytes)> {
    let all = ReadMax { entries: usize::MAX, bytes: usize::MAX };
    let entries = |stream| storage.read(stream, 0, all).unwrap().into_iter();
    let streams = storage.streams().into_iter().map(|summary| summary.stream);
    streams
        .flat_map(|stream| entries(stream).map(move |entry| (stream, entry.number, entry.note, entry.body)))
        .collect()
}

fn exported(storage: &MemoryStorage) -> String {
    let mut out = Vec::new();
    export(&Open(storage), false, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn assert_refused(text: &str, line: usize, piece: &str) {
    let error = import(&MemoryStorage::new(), &mut text.as_bytes()).unwrap_err();
    assert!(matches!(&error, ImportError::Line { line: at, .. } if *at == line), "{error}");
    assert!(error.to_string().contains(piece), "{error}");
}

#[test]
fn an_import_makes_the_same_store() {
    let storage = full();
    let text = exported(&storage);
    assert_eq!(text.lines().count(), 14, "{text}");
    assert!(text.ends_with("{\"end\":{\"things\":12}}\n"), "{text}");
    let other = MemoryStorage::new();
    other.advance_millis(1000);
    assert_eq!(import(&other, &mut text.as_bytes()).unwrap().things, 12);
    assert_eq!(contents(&other), contents(&storage));
}

/// Deadlines are told from the moment of the export, and mean the same in a store whose time is another one.
#[test]
fn time_stands_still_in_an_export() {
    let text = exported(&full());
    assert!(
        text.contains("\"expires_in_millis\":1500") && text.contains("\"ends_in_millis\":4000"),
        "{text}"
    );
    let other = MemoryStorage::new();
    other.advance_millis(1777);
    import(&other, &mut text.as_bytes()).unwrap();
    assert_eq!(exported(&other), text);
}

#[test]
fn payloads_are_text_where_they_are_and_base64_where_not() {
    let text = exported(&full());
    assert!(
        text.contains("\"payload\":\"text ä\"") && text.contains("\"payload_base64\":\"/wA=\""),
        "{text}"
    );
}

#[test]
fn queues_are_told_by_their_names_the_largest_first() {
    let storage = full();
    let names = Names::read(&Open(&storage));
    let told = queues(&Open(&storage), &names, 10);
    let shown: Vec<_> =
        told.queues.iter().map(|queue| (queue.name.as_str(), queue.kind, queue.messages)).collect();
    let expected = [
        ("mqtt:panel-1", QueueKind::Session, 2),
        ("$queue/orders", QueueKind::Named, 1),
        ("$queue/unused", QueueKind::Named, 0),
        ("$share/workers/jobs/#", QueueKind::Group, 0),
    ];
    assert_eq!(shown, expected);
    assert_eq!((told.total, queues(&Open(&storage), &names, 1).queues.len()), (4, 1));
    assert_eq!(names.stream("$share/workers/jobs/#"), Some(StreamId(GROUP)));
    assert_eq!(names.stream("mqtt:panel-2"), None);
}

#[test]
fn a_store_is_told_in_figures() {
    let storage = full();
    let info = info(&Open(&storage), &Names::read(&Open(&storage)));
    assert_eq!(
        (info.sessions, info.subscriptions, info.wills, info.groups, info.named_queues),
        (1, 3, 1, 1, 2)
    );
    assert_eq!((info.retained_messages, info.queued_messages, info.unreadable), (1, 3, 0));
}

#[test]
fn a_queue_is_looked_into_and_emptied() {
    let storage = full();
    let names = Names::read(&Open(&storage));
    let peeked = peek(&Open(&storage), &names, StreamId(SESSION), 1);
    assert_eq!((peeked.name.as_str(), peeked.total, peeked.messages.len()), ("mqtt:panel-1", 2, 1));
    let first = peeked.messages.first().unwrap();
    assert_eq!((first.number(), first.topic(), first.text()), (7, "a/b", Some("text ä")));
    assert_eq!((first.attempt(), first.qos(), first.expires_in_millis()), (3, 1, Some(1500)));
    assert_eq!(purge(&storage, StreamId(SESSION)).unwrap(), 2);
    assert_eq!((peek(&Open(&storage), &names, StreamId(SESSION), 1).total, storage.streams().len()), (0, 5));
}

/// What is no record is named, or left out where that is wanted.
#[test]
fn what_cannot_be_read_is_told() {
    let (storage, mut change) = (full(), Change::default());
    change.append(&[(StreamId(SESSION), 8, b"?")], b"?");
    change.append(&[(StreamId::SESSIONS, 9, b"")], b"?");
    storage.append(&mut change, Urgency::Lazy);
    let error = export(&Open(&storage), false, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("entry 9 of stream 1"), "{error}");
    let mut out = Vec::new();
    let left_out = export(&Open(&storage), true, &mut out).unwrap().left_out;
    assert_eq!(import(&MemoryStorage::new(), &mut out.as_slice()).unwrap().left_out, 2);
    let shown: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    assert!(
        shown.len() == 2 && shown.iter().any(|text| text.contains("entry 8 of stream 2000")),
        "{shown:?}"
    );
    let names = Names::read(&Open(&storage));
    assert_eq!(info(&Open(&storage), &names).unreadable, 1);
    let peeked = peek(&Open(&storage), &names, StreamId(SESSION), 10);
    assert_eq!((peeked.messages.len(), peeked.problems.len()), (2, 1));
}

const FIRST: &str = "{\"store\":{\"format\":1}}\n";

#[test]
fn what_no_export_says_is_refused_with_its_line() {
    assert_refused("", 1, "begins with");
    assert_refused("{\"store\":{\"format\":2}}\n", 1, "another version");
    assert_refused("nonsense", 1, "expected");
    assert_refused(&format!("{FIRST}{FIRST}"), 2, "begins with");
    assert_refused(&format!("{FIRST}{{\"session\":{{}}}}"), 2, "missing field");
    let text = exported(&full());
    let session = text.lines().find(|line| line.contains("\"session\"")).unwrap();
    let retained = text.lines().find(|line| line.contains("\"retained\"")).unwrap();
    let message = text.lines().find(|line| line.contains("\"message\":{\"stream\"")).unwrap();
    assert_refused(&format!("{FIRST}{message}"), 2, "describes a queue 2000");
    assert_refused(&format!("{FIRST}{retained}\n{retained}"), 3, "number 4 of stream 2");
    assert_refused(&format!("{FIRST}{}", session.replace("2000", "3")), 2, "from 1024");
    assert_refused(&format!("{FIRST}{}", session.replace("2000", &u64::MAX.to_string())), 2, "to 46116860");
    let queue = text.lines().find(|line| line.contains("unused_for")).unwrap();
    assert_refused(&format!("{FIRST}{}", queue.replace("$queue/unused", "a")), 2, "`topic`");
    assert_refused(&format!("{FIRST}{}", retained.replace("\"state\"", "\"a/#\"")), 2, "`topic`");
    assert_refused(
        &format!("{FIRST}{}", retained.replace("\"payload\"", "\"payload_base64\"")),
        2,
        "`payload`",
    );
    assert_refused(&format!("{FIRST}{}", retained.replace("\"qos\":2", "\"qos\":3")), 2, "`qos`");
    assert_refused(
        &format!("{FIRST}{}", retained.replace("\"qos\":2", "\"qos\":2,\"more\":1")),
        2,
        "unknown field",
    );
}

/// Wherever an export was cut, that is known before anything of it is taken, or at the latest where it ends.
#[test]
fn an_export_that_was_cut_is_no_export() {
    let text = exported(&full());
    check_ends(&mut Cursor::new(&text)).unwrap();
    check_ends(&mut Cursor::new(text.trim_end())).unwrap();
    // Without its newline the last line is there all the same.
    for at in FIRST.len()..text.len() - 1 {
        let mut cut = &text.as_bytes()[..at];
        let lines = String::from_utf8_lossy(cut).lines().count();
        for result in [check_ends(&mut Cursor::new(cut)), import(&MemoryStorage::new(), &mut cut).map(drop)] {
            let error = result.unwrap_err();
            assert!(matches!(error, ImportError::Cut { lines: seen } if seen == lines), "{at}: {error}");
        }
    }
    for strange in ["", "root:x:0:0\n", "{\"end\":{\"things\":0}}\n"] {
        let error = check_ends(&mut Cursor::new(strange)).unwrap_err();
        assert!(matches!(error, ImportError::Line { line: 1, .. }), "{error}");
    }
}

#[test]
fn the_last_line_tells_what_is_missing_in_between() {
    let text = exported(&full());
    let end = text.lines().last().unwrap();
    let retained = text.lines().find(|line| line.contains("\"retained\"")).unwrap();
    assert_refused(&text.replace(&format!("{retained}\n"), ""), 13, "12 things, and 11 stand before");
    assert_refused(&format!("{text}{end}"), 15, "ends there");
}

/// JSON has a line of its own for each line.
#[test]
fn an_error_names_its_line_once() {
    let text = format!("{FIRST}{{\"session\":{{}}}}\n");
    let error = import(&MemoryStorage::new(), &mut text.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "line 2: missing field `number` (column 13)");
}

/// A gateway gives out the numbers above those that it finds: nothing may leave it none.
#[test]
fn numbers_without_a_successor_are_refused_wherever_they_stand() {
    let text = exported(&full());
    let many = u64::MAX.to_string();
    for (line, from, to) in [
        (9, "\"sessions\":70000", format!("\"sessions\":{many}")),
        (10, "\"origin\":3", format!("\"origin\":{many}")),
        (7, "\"queue\":2000", format!("\"queue\":{many}")),
        (11, "[2001,8]", format!("[{many},8]")),
        (11, "[2001,8]", format!("[2001,{many}]")),
    ] {
        let changed: Vec<String> = text
            .lines()
            .enumerate()
            .map(|(at, text)| if at + 1 == line { text.replace(from, &to) } else { text.to_owned() })
            .collect();
        assert_refused(&changed.join("\n"), line, "no number above");
    }
}

#[test]
fn a_queue_belongs_to_one_name() {
    let text = exported(&full());
    let session = text.lines().find(|line| line.contains("\"session\"")).unwrap();
    let twice = format!("{FIRST}{session}\n{}", session.replace("\"number\":1", "\"number\":2"));
    assert_refused(&twice, 3, "of the queue mqtt:panel-1 already");
    for (queue, group) in [(GROUP, SESSION), (NAMED, GROUP)] {
        let changed = text.replace(&format!("\"group\":{queue}"), &format!("\"group\":{group}"));
        let line = if queue == GROUP { 4 } else { 5 };
        assert_refused(&changed, line, "already");
    }
}

/// A gateway does not keep more than this of what a protocol saves, and does not read more back.
#[test]
fn what_is_saved_has_an_end() {
    let text = exported(&full());
    let session = text.lines().find(|line| line.contains("\"session\"")).unwrap();
    let saved = |number: usize, part, bytes: usize| {
        let bytes = "x".repeat(bytes);
        format!(
            "{{\"saved\":{{\"number\":{number},\"queue\":2000,\"part\":\"{part}\",\"bytes\":\"{bytes}\"}}}}\n"
        )
    };
    let begin = format!("{FIRST}{session}\n");
    let pieces: String = (2..4098).map(|number| saved(number, "more", 1)).collect();
    assert_refused(&format!("{begin}{pieces}{}", saved(4098, "more", 1)), 4099, "4096 pieces");
    let whole = saved(4098, "whole", 2 << 20);
    assert_refused(&format!("{begin}{pieces}{whole}{}", saved(4099, "more", 1)), 4100, "2097152 bytes");
    let end = "{\"end\":{\"things\":4098}}";
    import(&MemoryStorage::new(), &mut format!("{begin}{pieces}{whole}{end}").as_bytes()).unwrap();
}

/// What was written behind the end of a queue or a session belongs to nothing, and is no damage.
#[test]
fn what_belongs_to_nothing_is_not_exported() {
    let (storage, mut change) = (full(), Change::default());
    waiting(&mut change, 3000, 1, &message("a", b""), None);
    let saved = SavedRecord { queue: 3000, part: SavedPart::Whole, bytes: vec![] };
    description(&mut change, 9, b"", &Description::Saved(saved));
    storage.append(&mut change, Urgency::Lazy);
    assert_eq!(exported(&storage), exported(&full()));
}

#[test]
fn nothing_is_imported_into_a_store_that_holds_something() {
    let text = exported(&full());
    assert!(matches!(import(&full(), &mut text.as_bytes()), Err(ImportError::NotEmpty)));
}

#[test]
fn a_full_disk_ends_an_import() {
    let storage = MemoryStorage::new();
    storage.set_room(Err(tidegate_storage::NoRoom::Full));
    let error = import(&storage, &mut exported(&full()).as_bytes()).unwrap_err();
    assert!(matches!(error, ImportError::Room(_)), "{error}");
}

proptest! {
    /// Lines may come from anywhere.
    #[test]
    fn any_line_is_read_without_harm(cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = exported(&full()).into_bytes();
        let at = cut.index(bytes.len());
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        drop(import(&MemoryStorage::new(), &mut bytes.as_slice()));
    }
}

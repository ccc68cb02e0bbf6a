//! Storing, clearing, making room.

use super::*;
use bytes::Bytes;
use std::time::Duration;
use tidegate_message::{Origin, QoS, TopicFilter};

fn message(topic: &str, payload: &str, expires_at: Option<Instant>) -> Arc<Message> {
    Arc::new(Message {
        topic: Topic::parse(topic.as_bytes()).unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtMostOnce,
        retain: true,
        properties: None,
        expires_at,
        origin: Origin(0),
        publisher: None,
    })
}

fn matching(retained: &RetainedMessages, filter: &str, now: Instant) -> Vec<String> {
    let filter = TopicFilter::parse(filter.as_bytes()).unwrap();
    let found = retained.find(&mut retained.search(&filter, u64::MAX), usize::MAX, now);
    found.iter().map(|message| message.topic.to_string()).collect()
}

const AUTHOR: Author<'_> = Author { worker: 0, keeper: None };

/// A batch that is refused at its end is undone from its end: several messages that it has cleared come back.
#[test]
fn clears_that_are_taken_back_restore_what_they_have_cleared() {
    let (mut retained, now) = (RetainedMessages::new(&Limits::default()), Instant::now());
    for topic in ["a", "b"] {
        retained.store(&message(topic, "1", None), 1, AUTHOR, now).unwrap();
    }
    let clears = ["a", "b"].map(|topic| message(topic, "", None));
    let changes = clears.clone().map(|clear| retained.store(&clear, 1, AUTHOR, now).unwrap());
    for (clear, change) in clears.iter().zip(changes).rev() {
        retained.undo(clear, change);
    }
    assert_eq!(matching(&retained, "#", now), ["a", "b"]);
}

/// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.1.1/3.3.1-10] [MQTT-3.1.1/3.3.1-11]
#[test]
fn keeps_the_last_and_forgets_on_an_empty_payload() {
    let now = Instant::now();
    let mut retained = RetainedMessages::new(&Limits::default());
    for payload in ["1", "22"] {
        retained.store(&message("a/b", payload, None), 1, AUTHOR, now).unwrap();
    }
    let filter = TopicFilter::parse(b"a/b").unwrap();
    assert_eq!(retained.find(&mut retained.search(&filter, u64::MAX), 9, now)[0].payload, "22");
    retained.store(&message("a/b", "", None), 1, AUTHOR, now).unwrap();
    assert_eq!(retained.size(), (0, 0));
}

/// [MQTT-4.7.2-1] [MQTT-3.1.1/4.7.2-1]
#[test]
fn wildcards_select_as_in_the_subscription_tree() {
    let now = Instant::now();
    let mut retained = RetainedMessages::new(&Limits::default());
    for topic in ["a", "a/b", "a/b/c", "b", "$SYS/x"] {
        retained.store(&message(topic, "x", None), 1, AUTHOR, now).unwrap();
    }
    assert_eq!(matching(&retained, "a/#", now), ["a", "a/b", "a/b/c"]);
    assert_eq!(matching(&retained, "+", now), ["a", "b"]);
    assert_eq!(matching(&retained, "#", now), ["a", "a/b", "a/b/c", "b"]);
    assert_eq!(matching(&retained, "$SYS/#", now), ["$SYS/x"]);
    assert_eq!(matching(&retained, "#/#", now), ["a", "a/b", "a/b/c", "b"]);
}

/// MQTT 5.0 section 3.3.2.3.3
#[test]
fn expired_messages_are_not_found_and_make_room() {
    let now = Instant::now();
    let limits = Limits { retained_messages: 1, ..Limits::default() };
    let mut retained = RetainedMessages::new(&limits);
    retained.store(&message("a", "x", Some(now + Duration::from_secs(1))), 1, AUTHOR, now).unwrap();
    assert_eq!(retained.store(&message("b", "x", None), 1, AUTHOR, now).unwrap_err(), Full);
    let later = now + Duration::from_secs(2);
    assert!(matching(&retained, "#", later).is_empty());
    retained.store(&message("b", "x", None), 1, AUTHOR, later).unwrap();
    assert_eq!(matching(&retained, "#", later), ["b"]);
}

/// MQTT 5.0 section 3.3.2.3.3: what expires later is still found when its time has come.
#[test]
fn room_is_made_each_time_something_has_expired() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let limits = Limits { retained_messages: 2, ..Limits::default() };
    let mut retained = RetainedMessages::new(&limits);
    retained.store(&message("a", "x", Some(now + 2 * second)), 1, AUTHOR, now).unwrap();
    retained.store(&message("b", "x", Some(now + second)), 1, AUTHOR, now).unwrap();
    assert_eq!(retained.store(&message("c", "x", None), 1, AUTHOR, now).unwrap_err(), Full);
    retained.store(&message("c", "x", None), 1, AUTHOR, now + second).unwrap();
    assert_eq!(retained.store(&message("d", "x", None), 1, AUTHOR, now + second).unwrap_err(), Full);
    retained.store(&message("d", "x", None), 1, AUTHOR, now + 2 * second).unwrap();
    assert_eq!((retained.size().0, retained.first_expiry), (2, None));
}

/// Short messages cost more than their bytes, and the limit is one of memory.
#[test]
fn what_a_message_costs_beside_its_bytes_counts() {
    let now = Instant::now();
    let limits = Limits { retained_bytes: 100_000, ..Limits::default() };
    let mut retained = RetainedMessages::new(&limits);
    let topic = |number: usize| format!("t/{number}");
    let kept = (0..1000)
        .take_while(|number| retained.store(&message(&topic(*number), "x", None), 1, AUTHOR, now).is_ok());
    let least = size_of::<Message>() + 2 * 16 + 3 * 8 + size_of::<Kept>();
    assert!(kept.count() * least <= limits.retained_bytes);
    assert!(retained.size().1 <= limits.retained_bytes);
    retained.store(&message(&topic(0), "y", None), 1, AUTHOR, now).unwrap();
}

#[test]
fn replacing_at_the_limit_is_allowed() {
    let now = Instant::now();
    let limits = Limits { retained_messages: 1, ..Limits::default() };
    let mut retained = RetainedMessages::new(&limits);
    retained.store(&message("a", "x", None), 1, AUTHOR, now).unwrap();
    assert!(retained.store(&message("a", "y", None), 1, AUTHOR, now).is_ok());
}

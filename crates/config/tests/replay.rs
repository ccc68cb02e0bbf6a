//! Replay rings in the file: what they become, and which mistakes are found in them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{LISTENER, errors_of, load_text};

fn ring(lines: &str) -> String {
    format!("[[replay]]\n{lines}\n")
}

/// One mistake; the printed error has to hold these pieces.
#[track_caller]
fn assert_error(lines: &str, pieces: &[&str]) {
    let errors = errors_of(format!("{LISTENER}{}", ring(lines)));
    assert_eq!(errors.len(), 1, "{lines}\n{errors:#?}");
    for piece in pieces {
        assert!(errors[0].contains(piece), "`{piece}` is not in:\n{}", errors[0]);
    }
}

fn warnings_of(rings: &[&str]) -> Vec<String> {
    let text: String = rings.iter().map(|lines| ring(lines)).collect();
    let loaded = load_text(format!("{LISTENER}{text}")).unwrap();
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn reads_rings_in_their_order() {
    let small = "topics=['plant/1/#', 'b']\nmessages=5\nbytes='64KiB'";
    let loaded = load_text(format!("{LISTENER}{}{}", ring(small), ring("topics=['#']"))).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let [first, second] = loaded.config.rings.as_slice() else { panic!("two rings") };
    assert_eq!((first.topics.len(), first.messages, first.bytes.bytes()), (2, 5, 64 << 10));
    assert_eq!((second.messages, second.bytes.bytes()), (10_000, 16 << 20));
    assert!(load_text(LISTENER).unwrap().config.rings.is_empty());
}

#[test]
fn mistakes_in_rings_are_placed() {
    assert_error("messages=5", &["`topics` is missing in `replay[0]`"]);
    assert_error("topics=[]", &["`topics` is empty", "topics = [\"#\"]"]);
    assert_error("topics=['a', 'b/#/c']", &["gate.toml:8:14", "`#` must be the last level"]);
    assert_error("topics=['$SYS/#']", &["begin with `$`"]);
    assert_error("topics=['$share/g/a']", &["begin with `$`"]);
    assert_error("topics=['a']\nmessages=0", &["gate.toml:9:10"]);
    assert_error("topics=['a']\nbytes=1000", &["gate.toml:9:7"]);
    assert_error("topic=['a']\ntopics=['a']", &["did you mean `topics`?"]);
}

#[test]
fn topics_that_another_ring_has_are_a_warning() {
    let warnings = warnings_of(&["topics=['plant/#']", "topics=['fleet/#', 'plant/1/+']"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("`plant/1/+` holds nothing: an earlier ring (line 7)"), "{warnings:?}");
    assert_eq!(warnings_of(&["topics=['a', 'a']"]).len(), 1);
    assert!(warnings_of(&["topics=['plant/1/+']", "topics=['plant/#']"]).is_empty());
}

/// What STOMP clients call a topic is another one in the file.
#[test]
fn destinations_of_stomp_are_warned_of() {
    let warnings = warnings_of(&["topics=['a', '/topic/plant/#']", "topics=['/queue/orders']"]);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    for (warning, pieces) in warnings.iter().zip([
        ["gate.toml:8:14", "`/topic/plant/#` is a STOMP destination", "write `plant/#`"],
        ["gate.toml:10:9", "`/queue/orders` is a STOMP destination", "queues are in no ring"],
    ]) {
        pieces.iter().for_each(|piece| assert!(warning.contains(piece), "`{piece}` is not in:\n{warning}"));
    }
    assert!(warnings_of(&["topics=['/plant/#', 'topic/a', 'queue/a']"]).is_empty());
}

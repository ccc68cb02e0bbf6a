//! Policies of named queues in the file: what they become, and which mistakes are found in them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{LISTENER, errors_of, load_text};
use tidegate_config::NamedQueueOverflow;

fn text(policies: &[&str]) -> String {
    let tables = policies.iter().map(|lines| format!("[[queue]]\n{lines}\n"));
    format!("{LISTENER}{}", tables.collect::<String>())
}

/// One mistake; the printed error has to hold these pieces.
#[track_caller]
fn assert_error(policies: &[&str], pieces: &[&str]) {
    let errors = errors_of(text(policies));
    assert_eq!(errors.len(), 1, "{policies:?}\n{errors:#?}");
    for piece in pieces {
        assert!(errors[0].contains(piece), "`{piece}` is not in:\n{}", errors[0]);
    }
}

fn warnings_of(policies: &[&str]) -> Vec<String> {
    load_text(text(policies)).unwrap().warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn reads_policies_in_their_order() {
    let full = "names=['orders/#','jobs']\nmessage_ttl='90s'\nmax_messages=5\nmax_bytes='1MiB'\n\
                overflow='drop-oldest'\ndelivery_limit=3\ndead_letter='$queue/dead'\nexpires='1h'";
    let loaded = load_text(text(&[full, "names=['#']"])).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let [first, second] = loaded.config.queues.as_slice() else { panic!("two policies") };
    assert_eq!(first.names, ["orders/#", "jobs"]);
    assert_eq!(first.message_ttl.map(|ttl| ttl.duration()), Some(Duration::from_secs(90)));
    assert_eq!((first.max_messages, first.max_bytes.map(|size| size.bytes())), (Some(5), Some(1 << 20)));
    assert_eq!((first.overflow, first.delivery_limit), (NamedQueueOverflow::DropOldest, 3));
    assert_eq!(first.dead_letter.as_deref(), Some("$queue/dead"));
    assert_eq!((second.overflow, second.delivery_limit), (NamedQueueOverflow::Reject, 20));
    assert_eq!((second.message_ttl, second.max_messages, &second.dead_letter), (None, None, &None));
    assert_eq!(second.expires.duration(), Duration::from_secs(300));
}

#[test]
fn mistakes_in_policies_are_placed() {
    assert_error(&["names=['a']\nmax_mesages=1"], &["gate.toml:9:1", "did you mean", "max_messages"]);
    assert_error(
        &["names=['a']\noverflow='drop_oldest'"],
        &["gate.toml:9:10", "did you mean `drop-oldest`?"],
    );
    assert_error(&["expires='1h'"], &["`names` is missing in `queue[0]`"]);
    assert_error(&["names=[]"], &["`names` is empty", "names = [\"#\"]"]);
    assert_error(&["names=['a','b+']"], &["gate.toml:8:12", "must stand alone"]);
    assert_error(&["names=['#/a']"], &["`#` must be the last level"]);
    assert_error(&["names=['$queue/a']"], &["write `a`"]);
    for (line, piece) in [
        ("max_messages=0", "1 to"),
        ("max_bytes='0B'", "1KiB to"),
        ("message_ttl='0s'", "1ms to"),
        ("delivery_limit=0", "1 to"),
        ("expires='0s'", "1s to"),
    ] {
        assert_error(&[&format!("names=['a']\n{line}")], &["gate.toml:9:", piece]);
    }
}

#[test]
fn a_dead_letter_has_to_lead_somewhere() {
    let with = |letter: &str| format!("names=['#']\ndead_letter='{letter}'");
    assert_error(&[&with("$SYS/dead")], &["gate.toml:9:13", "the gateway's own"]);
    assert_error(&[&with("$queue/")], &["name is missing"]);
    assert_error(&[&with("dead/+")], &["wildcard"]);
    assert_error(&[&with("$queue/dead")], &["gate.toml:9:13", "that queue itself", "a [[queue]] for `dead`"]);
    assert!(warnings_of(&["names=['dead']", &with("$queue/dead")]).is_empty());
    assert!(warnings_of(&[&with("dead/letters")]).is_empty());
}

#[test]
fn policies_that_cannot_be_meant_are_warned_of() {
    let circle = ["names=['a']\ndead_letter='$queue/b'", "names=['b']\ndead_letter='$queue/a'"];
    let warnings = warnings_of(&circle);
    assert!(warnings.len() == 2 && warnings[0].contains("go round in a circle"), "{warnings:#?}");
    let warnings = warnings_of(&["names=['a/#']", "names=['b','a/+']"]);
    assert!(warnings.len() == 1 && warnings[0].contains("`a/+` is never asked about"), "{warnings:#?}");
    let warnings = warnings_of(&["names=['a']\nmax_bytes='1GiB'"]);
    assert!(warnings.len() == 1 && warnings[0].contains("never reached"), "{warnings:#?}");
}

/// What STOMP clients call a queue is a topic like any other in the file.
#[test]
fn destinations_of_stomp_are_warned_of() {
    let assert_warning = |lines: &str, pieces: &[&str]| {
        let warnings = warnings_of(&[lines]);
        assert_eq!(warnings.len(), 1, "{lines}\n{warnings:#?}");
        for piece in pieces.iter().chain(&["is a STOMP destination"]) {
            assert!(warnings[0].contains(piece), "`{piece}` is not in:\n{}", warnings[0]);
        }
    };
    assert_warning("names=['jobs', '/queue/orders']", &["gate.toml:8:16", "write `orders`"]);
    assert_warning("names=['a']\ndead_letter='/queue/dead'", &["gate.toml:9:13", "write `$queue/dead`"]);
    assert_warning("names=['a']\ndead_letter='/topic/dead'", &["gate.toml:9:13", "write `dead`"]);
    assert!(warnings_of(&["names=['a/queue/b']\ndead_letter='plant/topic/dead'"]).is_empty());
}

//! Policies for topics in the file: what they become, and which mistakes are found in them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Folder, LISTENER, load_all};
use std::time::Duration;
use tidegate_config::{Acknowledge, DiskFull, Loaded, Report};

/// Policies of a gateway that keeps something.
fn load(policies: &[&str]) -> Result<Loaded, Report> {
    let folder = Folder::new();
    let tables: String = policies.iter().map(|lines| format!("[[topic]]\n{lines}\n")).collect();
    load_all(Some(&folder.write("gate.toml", format!("data_dir='data'\n{LISTENER}{tables}"))), &[], &[])
}

/// One mistake; the printed error has to hold these pieces.
#[track_caller]
fn assert_error(lines: &str, pieces: &[&str]) {
    let report = load(&[lines]).unwrap_err();
    assert_eq!(report.diagnostics().len(), 1, "{report}");
    for piece in pieces {
        assert!(report.to_string().contains(piece), "`{piece}` is not in:\n{report}");
    }
}

#[track_caller]
fn warnings_of(policies: &[&str]) -> Vec<String> {
    load(policies).unwrap().warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn reads_policies_in_their_order() {
    let full = "topics=['telemetry/#','$queue/jobs']\nacknowledge='written'\nmessage_ttl='1d'\ndisk_full='drop-oldest'";
    let loaded = load(&[full, "topics=['state/#']\ndisk_full='keep-last'", "topics=['#']"]).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let [first, last_values, second] = loaded.config.topics.as_slice() else { panic!("three policies") };
    assert_eq!(last_values.disk_full, DiskFull::KeepLast);
    assert_eq!(first.topics, ["telemetry/#", "$queue/jobs"]);
    assert_eq!((first.acknowledge, first.disk_full), (Acknowledge::Written, DiskFull::DropOldest));
    assert_eq!(first.message_ttl.map(|ttl| ttl.duration()), Some(Duration::from_secs(86_400)));
    assert_eq!((second.acknowledge, second.disk_full), (Acknowledge::Synced, DiskFull::Reject));
    assert_eq!(second.message_ttl, None);
}

#[test]
fn mistakes_in_policies_are_placed() {
    assert_error("acknowledge='routed'", &["`topics` is missing in `topic[0]`"]);
    assert_error("topics=[]", &["gate.toml:9:8", "`topics` is empty", "topics = [\"#\"]"]);
    assert_error("topics=['a', 'b/#/c']", &["gate.toml:9:14", "`#` must be the last level"]);
    assert_error("topics=['$SYS/#']", &["but for `$queue/…`"]);
    assert_error("topics=['$share/g/a/#']", &["write `a/#`"]);
    assert_error("topics=['a']\nacknowledge='sync'", &["gate.toml:10:13", "did you mean `synced`?"]);
    assert_error("topics=['a']\nmessage_ttl='0s'", &["gate.toml:10:13", "1ms to"]);
    assert_error("topics=['a']\ndisk_full='drop_oldest'", &["did you mean `drop-oldest`?"]);
    assert_error("topics=['a']\ndisk_full='keep_last'", &["did you mean `keep-last`?"]);
}

#[test]
fn policies_that_are_never_asked_are_a_warning() {
    let warnings = warnings_of(&["topics=['plant/#']", "topics=['fleet/#', 'plant/1/+']"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for piece in ["gate.toml:11:20", "`plant/1/+` is never asked about: an earlier policy (line 8) counts"] {
        assert!(warnings[0].contains(piece), "{warnings:?}");
    }
    assert!(warnings_of(&["topics=['plant/1/+']", "topics=['plant/#']"]).is_empty());
    // A wildcard at the front does not stand for queues.
    assert!(warnings_of(&["topics=['#']", "topics=['$queue/jobs']"]).is_empty());
}

/// What STOMP clients call a queue is a topic like any other in the file.
#[test]
fn destinations_of_stomp_are_warned_of() {
    let warnings = warnings_of(&["topics=['/queue/jobs', '/topic/a', '/plant']"]);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(
        warnings[0].contains("write `$queue/jobs`") && warnings[1].contains("write `a`"),
        "{warnings:#?}"
    );
}

/// A promise about the disk is not made where nothing is kept.
#[test]
fn promises_without_a_folder_are_a_warning() {
    let policy = "[[topic]]\ntopics=['a']\nacknowledge='written'\ndisk_full='reject'\nmessage_ttl='1d'\n";
    let warnings = common::load_text(format!("{LISTENER}{policy}")).unwrap().warnings;
    let lines: Vec<_> = warnings.iter().map(|warning| warning.line().unwrap()).collect();
    assert_eq!(lines, [9, 10], "{warnings:?}");
    assert!(warnings[0].message.contains("without `data_dir` nothing is kept"), "{warnings:?}");
}

/// A forward that may take some of the messages is enough; one at level 0 keeps nothing that could be waited for.
#[test]
fn a_policy_that_waits_for_a_forward_that_is_not_there_is_a_warning() {
    let bridge = |qos| {
        format!(
            "topics=['b']\n[[bridge]]\nname='b'\nkind='toy'\nurl='toy://a'\n[[bridge.forward]]\nfrom='meter/#'\nqos={qos}"
        )
    };
    let policy = "topics=['meter/+/total', 'state/#']\nacknowledge='forwarded'";
    let warnings = warnings_of(&[policy, &bridge(1)]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("takes any of `state/#`"), "{warnings:?}");
    assert_eq!(warnings_of(&[policy, &bridge(0)]).len(), 2);
}

//! docs/reference/envelopes.md: every envelope on the page is what the message on it becomes, and becomes that message again.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use tidegate_bridge::{CloudEvents, Envelope, Facts, ID_BYTES_MAX, ID_PROPERTY, PATH_PROPERTY, PayloadForm};
use tidegate_bridge::{HOPS_MAX_DEFAULT, Path, StableId};
use tidegate_message::{Properties, QoS};

const PAGE: &str = include_str!("../../../docs/reference/envelopes.md");

fn section(title: &str) -> &'static str {
    let (_, section) =
        PAGE.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    section.split("\n## ").next().unwrap()
}

fn json_block(title: &str) -> &'static str {
    section(title).split_once("```json\n").unwrap().1.split_once("\n```").unwrap().0
}

fn properties() -> Properties {
    let user = ["north", "south"].map(|value| ("site".into(), value.into()));
    Properties { content_type: Some("application/json".into()), user: user.into(), ..Properties::default() }
}

fn facts(properties: &Properties) -> Facts<'_> {
    Facts {
        topic: "plant/pump-7/state",
        payload: br#"{"speed": 3.0}"#,
        properties: Some(properties),
        qos: QoS::AtLeastOnce,
        client_id: Some("pump-7"),
        user: Some("plant"),
        timestamp_millis: Some(1_795_311_000_123),
        node: Some("edge-1"),
        id: Some("edge-1/1f/central/42"),
        ..Facts::default()
    }
}

/// The fields in their order as well, which a reader of the page will compare.
fn check(title: &str, envelope: &Envelope) {
    let properties = properties();
    let sealed = envelope.seal(&facts(&properties)).unwrap();
    let (written, shown) = (str::from_utf8(&sealed).unwrap(), json_block(title));
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(value(written), value(shown), "{title}");
    let squeezed = |text: &str| text.replace(['\n', ' '], "");
    assert_eq!(squeezed(written), squeezed(shown), "{title}");
}

#[test]
fn every_envelope_is_what_its_message_becomes() {
    check("`json`", &Envelope::Json { payload: PayloadForm::Text });
    check("`json-nested`", &Envelope::Json { payload: PayloadForm::Json });
    check("`cloudevents`", &Envelope::CloudEvent(CloudEvents::default()));
}

#[test]
fn every_envelope_becomes_its_message_again() {
    let properties = properties();
    for (title, payload) in [("`json`", PayloadForm::Text), ("`json-nested`", PayloadForm::Json)] {
        let parts = Envelope::Json { payload }.open(json_block(title).as_bytes()).unwrap().unwrap();
        assert_eq!(parts.facts(), facts(&properties), "{title}");
    }
    let event = Envelope::CloudEvent(CloudEvents::default());
    let parts = event.open(json_block("`cloudevents`").as_bytes()).unwrap().unwrap();
    let user = [("source", "/edge-1"), ("type", "tidegate.message")];
    let user = user.map(|(name, value)| (name.into(), value.into())).into();
    let expected = Properties { user, ..properties };
    assert_eq!(parts.facts(), Facts { node: None, ..facts(&expected) });
}

#[test]
fn ids_and_paths_are_as_the_page_says() {
    let section = section("Beside the payload");
    let row = |name: &str| {
        let row = section.lines().find_map(|line| line.strip_prefix(&format!("| `{name}` | `"))).unwrap();
        row.split_once("` | ").unwrap()
    };
    let (id, what) = row(ID_PROPERTY);
    assert_eq!(StableId::parse(id).unwrap().to_string(), id);
    assert!(what.contains(&format!("At most {ID_BYTES_MAX} bytes")));
    let (path, what) = row(PATH_PROPERTY);
    assert_eq!(Path::parse(path).unwrap().nodes().collect::<Vec<_>>(), ["edge-1", "central"]);
    assert!(what.contains(&format!("after {HOPS_MAX_DEFAULT} hops")));
    assert!(section.contains("`edge-1;via=central`") && Path::parse("edge-1;via=central").is_ok());
}

//! docs/reference/mapping.md: written from the rows, each of which is proven.

use crate::rows::{Example, Row, rows};
use crate::sides::{MqttMessage, Sides, StompMessage};
use tidegate_message::{Properties, QoS};
use tidegate_mqtt::codec::Version as Mqtt;
use tidegate_stomp::codec::Version as Stomp;

const INTRODUCTION: &str = "\
# What becomes of a message between protocols

<!-- Written from crates/testkit/tests/crossing/rows.rs by `UPDATE=1 cargo test -p tidegate-testkit --test crossing`. -->

There is one model of a message (`tidegate_message::Message`), and every protocol says all of it in its own words. So a message that goes
from MQTT 5.0 to STOMP and back is the same one, and so is one that goes from STOMP to MQTT 5.0 and back. Every example below is sent
across and back by a test, with the machines and codecs of the gateway; others send random messages.

| `Message` | MQTT 5.0 | STOMP | MQTT 3.1 and 3.1.1 |
|---|---|---|---|
";

const EXAMPLES: &str = "
## Examples

| `Message` | in MQTT 5.0 | in STOMP |
|---|---|---|
";

const REMARKS: &str = "
Destinations are shown in slash form and without virtual host; [stomp.md](stomp.md#destinations) has the other forms. Headers stand as they are before
they are escaped: STOMP 1.2 and 1.1 escape colons, backslashes and line ends, each as its specification says.

## What belongs to a hop

| | MQTT 5.0 | STOMP |
|---|---|---|
| which subscription | Subscription Identifier, MQTT 5.0 only | `subscription` |
| which delivery | Packet Identifier | `message-id`, `ack` |
| may have been delivered before | DUP | `redelivered:true`; a SEND cannot say it |
| wanted back | PUBACK, PUBREC | `receipt` |
| instead of a topic | Topic Alias | |

Headers of a MESSAGE that a client sends back in a SEND mean nothing there: `message-id`, `subscription`, `ack`, `retained`, `redelivered`,
`delivery-count`, `resume`, `resume-gap`.

## What cannot cross

A message that a receiver's protocol cannot say in full is not said in part: it is not delivered to that receiver, and counted under
`tidegate_messages_dropped_total` with the reason `not_expressible`. Others receive it.

| what | towards |
|---|---|
| A carriage return in a topic, content type, reply-to or user property: no escape | STOMP 1.1 and 1.0 |
| A line feed in them, or a colon in the name of a user property: no escapes at all | STOMP 1.0 |
| A Response Topic that is no destination: `$share/…`, `$queue/` and `$reply/…` without a name | STOMP |
| A topic or Response Topic outside the client's virtual host | STOMP |
| A property of more than 65,535 bytes, which a listener takes only with a higher `max_header_line_size` | MQTT 5.0 |

MQTT 3.1 and 3.1.1 have no properties. Their clients receive topic, payload, QoS and RETAIN; that the rest is left out is not counted,
because it is what a client of these versions asks for. What such a client publishes has none of it.

STOMP 1.0 takes spaces and tabs at the ends of a header for padding, and its clients cannot send any there.
";

fn row_text(row: &Row) -> String {
    format!("| {} | {} | {} | {} |\n", row.model, row.mqtt_5, row.stomp, row.mqtt_3)
}

fn example_text(row: &Row, example: &Example) -> String {
    let shown = example.lines.iter().filter(|line| row.model == "topic" || !line.starts_with("destination:"));
    let lines: Vec<String> = shown.map(|line| format!("`{line}`")).collect();
    let lines = if lines.is_empty() { "the same bytes as body".to_owned() } else { lines.join("<br>") };
    format!(
        "| {} | {} {} | {lines} |\n",
        row.model,
        row.mqtt_5.split([':', ';']).next().unwrap(),
        example.words
    )
}

/// The page is what the rows say. `UPDATE=1` writes it.
#[test]
fn the_page_is_current() {
    let rows = rows();
    let table: String = rows.iter().map(row_text).collect();
    let examples =
        rows.iter().flat_map(|row| row.examples.iter().map(move |example| example_text(row, example)));
    let page = format!("{INTRODUCTION}{table}{EXAMPLES}{}{REMARKS}", examples.collect::<String>());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/mapping.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let stands = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stands == page,
        "docs/reference/mapping.md is out of date: UPDATE=1 cargo test -p tidegate-testkit --test crossing"
    );
}

/// The lines of a MESSAGE, as the examples write them: `qos:1` is the rule and not shown.
fn lines(message: &StompMessage) -> Vec<String> {
    let destination = message.header("destination").map(|text| format!("destination:{text}"));
    let rest = message.lines().into_iter().filter(|line| line != "qos:1");
    destination.into_iter().chain(rest).collect()
}

/// Each example is in STOMP what the page says, in every version, and comes back to MQTT 5.0 as it was.
#[test]
fn every_example_crosses_and_comes_back() {
    for row in rows() {
        for Example { message, lines: expected, words } in &row.examples {
            for version in Stomp::ALL {
                let mut sides = Sides::new();
                let mut sender = sides.mqtt(Mqtt::V5, &[]);
                let back = sides.mqtt(Mqtt::V5, &["back"]);
                let destination = expected[0].strip_prefix("destination:").unwrap();
                let stomp = sides.stomp(version, &[destination]);
                sides.publish(&mut sender, message);
                let [crossed] = &stomp.received()[..] else {
                    panic!("{words} in STOMP {version}: not one message")
                };
                let (mut crossed_lines, mut lines_expected) = (lines(crossed), expected.to_vec());
                crossed_lines.sort();
                lines_expected.sort_unstable();
                assert_eq!(crossed_lines, lines_expected, "{words} in STOMP {version}");
                assert_eq!(crossed.body, message.payload, "{words}");
                sides.send_frame(&stomp, &crossed.passed_on("/topic/back"));
                let expected = MqttMessage { topic: "back".to_owned(), ..message.clone() };
                assert_eq!(back.received(), [expected], "{words} through STOMP {version}");
            }
        }
    }
}

/// Clients of older versions receive what their version has.
#[test]
fn older_versions_of_mqtt_receive_topic_payload_qos_and_retain() {
    for version in [Mqtt::V31, Mqtt::V3] {
        for Example { message, words, .. } in rows().into_iter().flat_map(|row| row.examples) {
            let mut sides = Sides::new();
            let mut sender = sides.mqtt(Mqtt::V5, &[]);
            let receiver = sides.mqtt(version, &[&message.topic]);
            sides.publish(&mut sender, &message);
            let left = MqttMessage { expiry_seconds: None, properties: Properties::default(), ..message };
            assert_eq!(receiver.received(), [left], "{words}");
        }
    }
}

/// The row without an example: the last value of a topic, in both directions.
#[test]
fn retained_state_is_shared() {
    let mut sides = Sides::new();
    let mut device = sides.mqtt(Mqtt::V5, &[]);
    sides.publish(&mut device, &MqttMessage { retain: true, ..MqttMessage::plain("a", b"1") });
    let service = sides.stomp(Stomp::V1_2, &[]);
    let headers = [("destination", "/topic/b"), ("retain", "true"), ("site", "x")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    sides.send_frame(&service, &StompMessage { headers, body: b"2".to_vec() });
    let late = sides.mqtt_keeping(Mqtt::V5, &["a", "b"]);
    let late = late.received();
    let user = vec![("site".into(), "x".into())];
    let expected = |topic: &str, payload: &[u8], properties| MqttMessage {
        retain: true,
        qos: QoS::AtLeastOnce,
        properties,
        ..MqttMessage::plain(topic, payload)
    };
    let from_service = Properties { user, ..Properties::default() };
    assert_eq!(late, [expected("a", b"1", Properties::default()), expected("b", b"2", from_service)]);
    let late = sides.stomp_keeping(Stomp::V1_2, &["/topic/a", "/topic/b"]);
    let mut marks: Vec<_> = late.received().iter().map(|message| message.lines().join(" ")).collect();
    // Two subscriptions: neither has to come first.
    marks.sort();
    assert_eq!(marks, ["qos:1 retained:true", "qos:1 retained:true site:x"]);
}

//! The rows of the table, each with messages that prove it.

use crate::sides::MqttMessage;
use bytes::Bytes;
use tidegate_message::{Properties, QoS};

/// One row of the table.
pub(crate) struct Row {
    /// The field of [`tidegate_message::Message`] or its properties.
    pub(crate) model: &'static str,
    pub(crate) mqtt_5: &'static str,
    pub(crate) mqtt_3: &'static str,
    pub(crate) stomp: &'static str,
    pub(crate) examples: Vec<Example>,
}

/// A message and the lines that it is in STOMP.
pub(crate) struct Example {
    /// What it shows, in MQTT's words.
    pub(crate) words: &'static str,
    pub(crate) message: MqttMessage,
    /// The destination, and all further headers beside `qos:1`.
    pub(crate) lines: &'static [&'static str],
}

const TOPIC: &str = "plant/7/state";
const DESTINATION: &str = "destination:/topic/plant/7/state";

fn example(
    words: &'static str,
    lines: &'static [&'static str],
    change: impl FnOnce(&mut MqttMessage),
) -> Example {
    let mut message = MqttMessage::plain(TOPIC, b"on");
    change(&mut message);
    Example { words, message, lines }
}

/// An example about the message's properties.
fn with(
    words: &'static str,
    lines: &'static [&'static str],
    change: impl FnOnce(&mut Properties),
) -> Example {
    example(words, lines, |message| change(&mut message.properties))
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(Box<str>, Box<str>)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = addressing();
    rows.extend(handling());
    rows.extend(describing());
    rows.extend(answering());
    rows.push(user_properties());
    rows
}

/// Where a message goes, and what it is.
fn addressing() -> Vec<Row> {
    vec![
        Row {
            model: "topic",
            mqtt_5: "Topic Name",
            mqtt_3: "Topic Name",
            stomp: "`destination`",
            examples: vec![
                example("`plant/7/state`", &[DESTINATION], |_| {}),
                example("`$queue/orders`", &["destination:/queue/orders"], |message| {
                    message.topic = "$queue/orders".to_owned();
                }),
                example("`a:b//c`", &["destination:/topic/a:b//c"], |message| {
                    message.topic = "a:b//c".to_owned()
                }),
            ],
        },
        Row {
            model: "payload",
            mqtt_5: "Payload",
            mqtt_3: "Payload",
            stomp: "body, any bytes, with `content-length`",
            examples: vec![
                example("`00 FF 0A 00`", &[DESTINATION], |message| message.payload = vec![0, 255, 10, 0]),
                example("nothing", &[DESTINATION], |message| message.payload.clear()),
            ],
        },
    ]
}

/// What the gateway does with it.
fn handling() -> Vec<Row> {
    vec![
        Row {
            model: "qos",
            mqtt_5: "QoS",
            mqtt_3: "QoS",
            stomp: "`qos`; a SEND without it, and without `persistent:false`, has 1. Never raised: a STOMP subscription takes up to 2",
            examples: vec![
                example("0", &[DESTINATION, "qos:0"], |message| message.qos = QoS::AtMostOnce),
                example("2", &[DESTINATION, "qos:2"], |message| message.qos = QoS::ExactlyOnce),
            ],
        },
        Row {
            model: "retain",
            mqtt_5: "RETAIN",
            mqtt_3: "RETAIN",
            stomp: "`retain:true` in SEND; `retained:true` in a MESSAGE that was the topic's last value when the subscription began",
            examples: vec![],
        },
        Row {
            model: "expires_at",
            mqtt_5: "Message Expiry Interval: seconds, rounded up",
            mqtt_3: "not told, but not delivered after it",
            stomp: "`expiration`: milliseconds; both are what remains",
            examples: vec![example("60", &[DESTINATION, "expiration:60000"], |message| {
                message.expiry_seconds = Some(60);
            })],
        },
    ]
}

/// What it says about itself.
fn describing() -> Vec<Row> {
    vec![
        Row {
            model: "content_type",
            mqtt_5: "Content Type",
            mqtt_3: "left out",
            stomp: "`content-type`",
            examples: vec![with("`text/csv`", &[DESTINATION, "content-type:text/csv"], |properties| {
                properties.content_type = Some("text/csv".into());
            })],
        },
        Row {
            model: "payload_is_text",
            mqtt_5: "Payload Format Indicator",
            mqtt_3: "left out",
            stomp: "`payload-format`; a SEND whose body is not what it says is refused",
            examples: vec![
                with("1", &[DESTINATION, "payload-format:text"], |properties| {
                    properties.payload_is_text = Some(true)
                }),
                with("0", &[DESTINATION, "payload-format:binary"], |properties| {
                    properties.payload_is_text = Some(false);
                }),
            ],
        },
    ]
}

/// Where answers to it go, and what they are an answer to.
fn answering() -> Vec<Row> {
    vec![
        Row {
            model: "reply_to",
            mqtt_5: "Response Topic",
            mqtt_3: "left out",
            stomp: "`reply-to`",
            examples: vec![
                with("`answers/7`", &[DESTINATION, "reply-to:/topic/answers/7"], |properties| {
                    properties.reply_to = Some("answers/7".into());
                }),
                with("`$queue/answers`", &[DESTINATION, "reply-to:/queue/answers"], |properties| {
                    properties.reply_to = Some("$queue/answers".into());
                }),
                with("`$reply/5b1f/a`", &[DESTINATION, "reply-to:/reply-queue/5b1f/a"], |properties| {
                    properties.reply_to = Some("$reply/5b1f/a".into());
                }),
            ],
        },
        Row {
            model: "correlation",
            mqtt_5: "Correlation Data",
            mqtt_3: "left out",
            stomp: "`correlation-id`; as base64 where it is no text, or has a NUL or what the version cannot escape",
            examples: vec![
                with("`order 7`", &[DESTINATION, "correlation-id:order 7"], |properties| {
                    properties.correlation = Some(Bytes::from_static(b"order 7"));
                }),
                with(
                    "`00 FF`",
                    &[DESTINATION, "correlation-id:AP8=", "correlation-id-encoding:base64"],
                    |properties| properties.correlation = Some(Bytes::from_static(&[0, 255])),
                ),
            ],
        },
    ]
}

/// What else its sender says of it.
fn user_properties() -> Row {
    Row {
        model: "user",
        mqtt_5: "User Property: in order, duplicates kept",
        mqtt_3: "left out",
        stomp: "any other header; `user-` in front of a name that means something else here, or of none",
        examples: vec![
            with(
                "`site`=`a`, `unit`=`C`, `site`=`b`",
                &[DESTINATION, "site:a", "unit:C", "site:b"],
                |properties| {
                    properties.user = pairs(&[("site", "a"), ("unit", "C"), ("site", "b")]);
                },
            ),
            with("`qos`=`high`, ``=`x`", &[DESTINATION, "user-qos:high", "user-:x"], |properties| {
                properties.user = pairs(&[("qos", "high"), ("", "x")]);
            }),
            with(
                "`user-qos`=`1`, `user-id`=`2`",
                &[DESTINATION, "user-user-qos:1", "user-id:2"],
                |properties| {
                    properties.user = pairs(&[("user-qos", "1"), ("user-id", "2")]);
                },
            ),
        ],
    }
}

//! The MQTT machine on any conversation: bytes in pieces, deliveries, refusals and time; what comes out has to be packets.
//!
//! The input is a list of steps: a byte that says what happens, a byte for its size, and the bytes that arrive. The recording
//! broker stops on a machine that attaches or detaches twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use tidegate_mqtt::codec::{Version, decode};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::{Answer, Attached, Attachment, CloseReason, Published, Refusal};
use tidegate_testkit::script::{Harness, parcel};

const CONNECT_3: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x05\x00\x01a";
const CONNECT_31: &[u8] = b"\x10\x0f\x00\x06MQIsdp\x03\x00\x00\x05\x00\x01a";
const CONNECT_5: &[u8] = b"\x10\x18\x00\x04MQTT\x05\x02\x00\x05\x0a\x11\x00\x00\x00\x09\x22\x00\x03\x19\x01\x00\x01a";

fuzz_target!(|data: &[u8]| {
    let options = MqttOptions {
        max_packet_size: "512B".parse().unwrap(),
        max_inflight: 4,
        ack_timeout: Some("5s".parse().unwrap()),
        receive_maximum: 4,
        topic_alias_max: 4,
        topic_alias_max_outgoing: 4,
        check_payload_format: true,
        response_information: Some("answers/%c".into()),
        keep_alive_max: Some("60s".parse().unwrap()),
        ..MqttOptions::default()
    };
    let mut harness = Harness::open(&Mqtt::new(options));
    let mut rest = data;
    let mut tag = 0;
    while let [action, size, behind @ ..] = rest {
        let (bytes, next) = behind.split_at(usize::from(*size).min(behind.len()));
        rest = next;
        match action % 16 {
            0 => drop(harness.feed(CONNECT_3)),
            1 => drop(harness.feed(CONNECT_5)),
            11 => drop(harness.feed(CONNECT_31)),
            2 | 3 if harness.closed().is_none() => {
                tag += 1;
                deliver(&mut harness, *action, bytes, tag);
                rest = behind;
            }
            4 => {
                harness.advance(Duration::from_millis(u64::from(*size) * 40));
                rest = behind;
            }
            5 => harness.broker.published.push_back(Err(Refusal::QueueFull)),
            6 => harness.broker.published.push_back(Ok(Published { matched: false, answer: Answer::Now })),
            7 => harness.broker.attachments.push_back(Attachment::Later),
            8 => {
                let saved = bytes.to_vec();
                let attached = Attached { present: true, saved: vec![saved], expiry: Duration::from_secs(9), is_durable: false };
                harness.broker.attachments.push_back(Attachment::Now(attached));
            }
            9 if harness.broker.owes_attachment() && harness.closed().is_none() => {
                let saved = bytes.to_vec();
                harness.reply(Ok(Attached { present: true, saved: vec![saved], expiry: Duration::ZERO, is_durable: false }));
            }
            10 if action & 0xF0 == 0xF0 => drop(harness.close(CloseReason::ServerShutdown)),
            _ => drop(harness.feed(bytes)),
        }
    }
    check(&harness.take_output());
});

/// Everything that was written is packets of one version: the first one that was written tells which, by its length.
fn check(output: &[u8]) {
    let version = if output.get(1) == Some(&2) { Version::V3 } else { Version::V5 };
    let mut rest = output;
    while let Some((_, length)) = decode(rest, version, usize::MAX).expect("only valid packets are written") {
        rest = &rest[length..];
    }
    assert!(rest.is_empty(), "a piece of a packet");
}

/// A delivery to a client that has a session; a refused one has written nothing, as the harness checks.
fn deliver(harness: &mut Harness, action: u8, payload: &[u8], tag: u64) {
    if !harness.broker.is_attached() {
        return;
    }
    let message = parcel("a/b", payload);
    let message = if action & 16 == 0 { message } else { message.subscription_ids(&[1]) };
    let message = if action & 32 == 0 { message } else { message.redelivered() };
    let _ = harness.deliver(&match action >> 6 {
        0 | 1 => message,
        2 => message.at_least_once(tag),
        _ => message.exactly_once(tag),
    });
}

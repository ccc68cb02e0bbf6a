//! The state machine by scripts that read like the specification's sequences.

mod acknowledging;
mod answers;
mod connecting;
mod durable;
mod durable_pair;
mod ending;
mod late;
mod naming;
mod random_bytes;
mod receipts;
mod receiving;
mod resuming;
mod sending;
mod subscribing;
mod transacting;
mod versions;

use crate::codec::Version;
use crate::{Stomp, StompOptions};
use tidegate_message::QoS;
use tidegate_protocol::{ConsumerId, RetainedDelivery};
use tidegate_testkit::script::{Harness, Request};

/// A CONNECT that asks for nothing special.
const CONNECT: &[u8] = b"CONNECT\naccept-version:1.2\nhost:example\n\n\0";

/// A CONNECT that asks for this version; one of 1.0 knows of no versions.
fn connect(version: Version) -> String {
    match version {
        Version::V1_0 => "CONNECT\nlogin: ann\npasscode: secret\n\n\0".to_owned(),
        _ => format!("CONNECT\naccept-version:{version}\nhost:example\n\n\0"),
    }
}

/// A machine whose client of this version is in; CONNECTED has been taken.
fn connected_as(version: Version) -> Harness {
    let mut harness = opening();
    harness.feed(connect(version));
    harness.take_output();
    assert_eq!(harness.close_label(), None);
    harness
}

/// A machine that waits for CONNECT.
fn opening() -> Harness {
    opening_with(StompOptions::default())
}

/// The same, with options.
fn opening_with(options: StompOptions) -> Harness {
    Harness::open(&Stomp::new(options))
}

/// A machine whose client is in; CONNECTED has been taken.
fn connected() -> Harness {
    connected_with(StompOptions::default())
}

/// The same, with options.
fn connected_with(options: StompOptions) -> Harness {
    let mut harness = opening_with(options);
    harness.feed(CONNECT);
    harness.take_output();
    assert_eq!(harness.close_label(), None);
    harness
}

/// The same, with subscription `s` to `/topic/a/#` under consumer 0; its requests have been taken.
fn subscribed(ack: &str) -> Harness {
    let mut harness = connected();
    harness.feed(format!("SUBSCRIBE\nid:s\ndestination:/topic/a/#\nack:{ack}\n\n\0"));
    harness.take_requests();
    assert_eq!(harness.close_label(), None);
    harness
}

/// The frames for the client since the last time, as text; a NUL is written `^@` as in the specification.
fn frames(harness: &mut Harness) -> Vec<String> {
    let texts = harness.take_frames().into_iter().map(|frame| String::from_utf8(frame).unwrap());
    texts.map(|text| text.replace('\0', "^@")).collect()
}

/// Checks that the connection ended with one ERROR frame of this text and this label. Returns the frame.
fn expect_error(harness: &mut Harness, label: &str, text: &str) -> String {
    assert_eq!(harness.close_label(), Some(label));
    let mut frames = frames(harness);
    let frame = frames.pop().expect("an ERROR frame");
    assert_eq!(frames, [""; 0], "nothing stands before the ERROR");
    assert!(frame.starts_with("ERROR\n") && frame.ends_with(&format!("\n\n{text}^@")), "{frame}");
    frame
}

/// What the broker is asked for by a subscription that is not shared.
fn subscribe(consumer: u32, filter: &str, retained: RetainedDelivery) -> Request {
    Request::Subscribe {
        consumer: ConsumerId(consumer),
        share: None,
        filter: filter.to_owned(),
        qos_max: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        subscription_id: None,
        retained,
    }
}

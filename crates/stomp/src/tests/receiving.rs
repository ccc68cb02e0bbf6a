//! MESSAGE: from a delivery to a frame.

use super::{connected, frames, subscribed};
use bytes::Bytes;
use std::time::Duration;
use tidegate_message::Properties;
use tidegate_protocol::{Encoded, Refused};
use tidegate_testkit::script::{Parcel, parcel};

/// What a parcel looks like to a client with `ack:auto`.
fn received(parcel: &Parcel) -> String {
    let mut harness = subscribed("auto");
    harness.deliver(parcel).unwrap();
    frames(&mut harness).remove(0)
}

/// A parcel with a payload of one byte and these properties.
fn with_properties(properties: Properties) -> Parcel {
    parcel("a/b", "x").properties(properties)
}

/// [STOMP-1.2/MESSAGE]
#[test]
fn message_names_subscription_message_and_destination() {
    let mut harness = subscribed("auto");
    harness.deliver(&parcel("a/b", "1\n2")).unwrap();
    harness.deliver(&parcel("a//c:d", "")).unwrap();
    assert_eq!(
        frames(&mut harness),
        [
            "MESSAGE\nsubscription:s\nmessage-id:0\ndestination:/topic/a/b\nqos:0\ncontent-length:3\n\n1\n2^@",
            "MESSAGE\nsubscription:s\nmessage-id:1\ndestination:/topic/a//c\\cd\nqos:0\ncontent-length:0\n\n^@",
        ]
    );
}

/// [STOMP-1.2/Value Encoding]: the subscription id is repeated as it was given.
#[test]
fn a_subscription_id_is_escaped() {
    let mut harness = connected();
    harness.feed("SUBSCRIBE\nid:a\\cb\\n\ndestination:/topic/#\n\n\0");
    harness.deliver(&parcel("a", "x")).unwrap();
    assert!(frames(&mut harness)[0].starts_with("MESSAGE\nsubscription:a\\cb\\n\nmessage-id:0\n"));
}

/// [STOMP-1.2/Header content-length]: a body with NULs has its length in front.
#[test]
fn a_binary_body_arrives_unchanged() {
    let mut harness = subscribed("auto");
    harness.deliver(&parcel("a", [0, 1, 255, 0])).unwrap();
    assert!(harness.take_output().ends_with(b"content-length:4\n\n\x00\x01\xff\x00\0"));
}

/// [STOMP-1.2/MESSAGE] [STOMP-1.2/ACK]: a delivery that waits for an ACK says by which id.
#[test]
fn a_delivery_with_a_tag_has_an_ack_header() {
    let mut harness = subscribed("client");
    harness.deliver(&parcel("a/b", "x").at_least_once(42)).unwrap();
    assert_eq!(
        frames(&mut harness),
        [
            "MESSAGE\nsubscription:s\nmessage-id:0-42\nack:0-42\ndestination:/topic/a/b\nqos:1\ncontent-length:1\n\nx^@"
        ]
    );
}

/// Retained and expiring messages say so, and those that a consumer had before.
#[test]
fn flags_and_remaining_lifetime_are_headers() {
    let mut harness = subscribed("auto");
    let deadline = harness.now + Duration::from_millis(2_500);
    let message = parcel("a", "x").retained().attempt(3).expires_at(deadline);
    harness.advance(Duration::from_secs(1));
    harness.deliver(&message).unwrap();
    harness.advance(Duration::from_secs(9));
    harness.deliver(&message).unwrap();
    let frames = frames(&mut harness);
    assert!(frames[0].contains("\nmessage-id:0\nredelivered:true\ndelivery-count:3\n"), "{frames:?}");
    assert!(frames[0].contains("\nqos:0\nretained:true\nexpiration:1500\n"), "{frames:?}");
    assert!(frames[1].contains("\nexpiration:1\n"), "{frames:?}");
}

/// [STOMP-1.2/MESSAGE]: user defined headers are passed through.
#[test]
fn properties_become_headers() {
    let user = [("b", "2:\n"), ("a", ""), ("b", "3"), ("qos", "high"), ("user-id", "7"), ("", "none")];
    let frame = received(&with_properties(Properties {
        content_type: Some("text/plain".into()),
        reply_to: Some("c/d".into()),
        correlation: Some(Bytes::from_static("é".as_bytes())),
        payload_is_text: Some(true),
        user: user.map(|(name, value)| (name.into(), value.into())).into(),
    }));
    let expected = "\ncontent-type:text/plain\npayload-format:text\nreply-to:/topic/c/d\ncorrelation-id:é\n\
                    b:2\\c\\n\na:\nb:3\nuser-qos:high\nuser-id:7\nuser-:none\ncontent-length:1\n\nx^@";
    assert!(frame.ends_with(expected), "{frame}");
}

/// Binary that must become a header is base64 and says so.
#[test]
fn binary_correlation_is_base64() {
    for (correlation, header) in [([0, 255].as_slice(), "AP8="), (b"a\0", "YQA=")] {
        let correlation = Some(Bytes::copy_from_slice(correlation));
        let frame = received(&with_properties(Properties { correlation, ..Properties::default() }));
        let expected = format!("\ncorrelation-id:{header}\ncorrelation-id-encoding:base64\n");
        assert!(frame.contains(&expected), "{frame}");
    }
}

/// [STOMP-1.2/SEND] [STOMP-1.2/MESSAGE]: what one client sends another one receives, header by header.
#[test]
fn what_is_sent_is_what_is_received() {
    let headers = "content-type:a/b\nreply-to:/topic/r\ncorrelation-id:7\nx:1\nuser-qos:2\nx\\c:\\\\\n";
    let mut harness = subscribed("auto");
    harness.feed(format!("SEND\ndestination:/topic/a\n{headers}\nx\0"));
    let Some(tidegate_testkit::script::Request::Publish { properties, .. }) = harness.take_requests().pop()
    else {
        panic!("no publish");
    };
    harness.deliver(&with_properties(properties.unwrap())).unwrap();
    let frame = frames(&mut harness).remove(0);
    assert!(frame.contains(&format!("\nqos:0\n{headers}content-length:1\n")), "{frame}");
}

/// A NUL cannot stand in a STOMP header, so the message is counted as one that cannot be expressed.
#[test]
fn a_message_that_stomp_cannot_express_is_refused() {
    let mut harness = subscribed("auto");
    let null: Box<str> = "\0".into();
    let cases = [
        Properties { content_type: Some(null.clone()), ..Properties::default() },
        Properties { reply_to: Some(null.clone()), ..Properties::default() },
        Properties { user: vec![(null.clone(), "".into())], ..Properties::default() },
        Properties { user: vec![("a".into(), null)], ..Properties::default() },
    ];
    for properties in cases {
        assert_eq!(harness.deliver(&with_properties(properties)), Err(Refused::NotExpressible));
    }
    assert_eq!(harness.deliver(&parcel("a", "x").consumer(9)), Err(Refused::NotExpressible));
    assert_eq!(harness.take_output(), b"");
}

/// In a fan-out everything behind the receiver's own headers is encoded once for each level.
#[test]
fn receivers_of_a_fan_out_share_their_bytes() {
    let mut encoded = Encoded::default();
    encoded.start(true);
    let (mut first, mut second) = (subscribed("auto"), subscribed("client"));
    first.deliver_with(&parcel("a", "x"), &mut encoded).unwrap();
    second.deliver_with(&parcel("a", "x").tagged(1), &mut encoded).unwrap();
    second.deliver_with(&parcel("a", "x").at_least_once(2), &mut encoded).unwrap();
    let shared = "destination:/topic/a\nqos:0\ncontent-length:1\n\nx^@";
    assert_eq!(frames(&mut first), [format!("MESSAGE\nsubscription:s\nmessage-id:0\n{shared}")]);
    let others = frames(&mut second);
    assert_eq!(others[0], format!("MESSAGE\nsubscription:s\nmessage-id:0-1\nack:0-1\n{shared}"));
    assert!(others[1].contains("ack:0-2\n") && others[1].contains("qos:1\n"), "{others:?}");
}

/// Nothing is delivered to a client that is not in.
#[test]
fn a_delivery_before_connect_is_refused() {
    let mut harness = super::opening();
    assert_eq!(harness.deliver(&parcel("a", "x")), Err(Refused::NotExpressible));
}

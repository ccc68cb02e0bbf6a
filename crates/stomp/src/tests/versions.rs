//! What the versions do differently: CONNECTED, escapes, padding, which frames there are. ACK and NACK have a file of their own.

use super::{connect, connected_as, expect_error, frames, opening};
use crate::codec::Version;
use tidegate_protocol::{ConsumerId, Encoded, Refused};
use tidegate_testkit::script::{Evidence, Harness, Request, parcel, same_at_every_split};

/// CONNECTED for a CONNECT with these headers.
fn welcome(headers: &str) -> String {
    let mut harness = opening();
    harness.feed(format!("CONNECT\n{headers}\n\0"));
    assert_eq!(harness.close_label(), None, "{headers:?}");
    frames(&mut harness).remove(0)
}

/// A machine with subscription `s` to `/topic/#`.
fn subscribed_as(version: Version) -> Harness {
    let mut harness = connected_as(version);
    harness.feed("SUBSCRIBE\nid:s\ndestination:/topic/#\n\n\0");
    harness.take_requests();
    harness
}

/// [STOMP-1.2/Protocol Negotiation] [STOMP-1.1/Protocol Negotiation]: the highest common one.
#[test]
fn the_highest_common_version_is_spoken() {
    let server = concat!("server:tidegate/", env!("CARGO_PKG_VERSION"));
    for (offered, version, heart_beat) in [
        ("1.0,1.1,1.2", "1.2", "heart-beat:1000,10000\n"),
        ("1.2,1.1", "1.2", "heart-beat:1000,10000\n"),
        ("1.0,1.1,2.0", "1.1", "heart-beat:1000,10000\n"),
        ("1.1", "1.1", "heart-beat:1000,10000\n"),
        ("1.0", "1.0", ""),
        (" 1.0 , 3.0", "1.0", ""),
    ] {
        let expected =
            format!("CONNECTED\nversion:{version}\nsession:tidegate-7\n{server}\n{heart_beat}\n^@");
        assert_eq!(welcome(&format!("accept-version:{offered}\nhost:example\n")), expected);
    }
}

/// [STOMP-1.2/Protocol Negotiation] [STOMP-1.0/Connecting]: a client that knows of no versions is told its session, and of no heart-beats.
#[test]
fn a_client_of_1_0_is_told_its_session() {
    let connected = "CONNECTED\nsession:tidegate-7\n\n^@";
    assert_eq!(welcome("login: ann\npasscode: secret\n"), connected);
    assert_eq!(welcome("heart-beat:1000,1000\n"), connected);
    assert_eq!(welcome("heart-beat:nonsense\n"), connected);
    let mut harness = opening();
    harness.feed("CONNECT\nheart-beat:1000,1000\n\n\0");
    assert_eq!(harness.connection().next_timeout(), None);
}

/// [STOMP-1.0/Connecting]: the space in the example is padding; later versions keep it ([STOMP-1.1/Value Encoding]).
#[test]
fn padding_of_credentials_is_taken_off_in_1_0_only() {
    for (headers, padding) in [("", ""), ("accept-version:1.0\n", ""), ("accept-version:1.1\n", " ")] {
        let mut harness = opening();
        harness.feed(format!("CONNECT\n{headers}login: ann\npasscode: secret\n\n\0"));
        let (user, password) = (format!("{padding}ann"), format!("{padding}secret").into_bytes());
        let shown = Evidence::Password { user: Some(user.clone()), password: Some(password) };
        assert_eq!(harness.broker.evidence, [shown]);
        assert_eq!(harness.connection().client_id(), Some(&*user));
    }
}

/// [STOMP-1.1/CONNECT or STOMP Frame]
#[test]
fn stomp_opens_every_version() {
    for version in Version::ALL {
        let mut harness = opening();
        harness.feed(connect(version).replace("CONNECT", "STOMP"));
        assert_eq!((frames(&mut harness).len(), harness.close_label()), (1, None), "{version}");
    }
}

/// [STOMP-1.0/Client Commands]: NACK came with 1.1.
#[test]
fn there_is_no_nack_in_1_0() {
    let mut harness = subscribed_as(Version::V1_0);
    harness.feed("NACK\nmessage-id:0-1\nreceipt:r\n\n\0");
    let frame = expect_error(&mut harness, "unexpected_frame", "STOMP 1.0 has no NACK");
    assert!(frame.contains("\nreceipt-id:r\n"), "{frame}");
}

/// [STOMP-1.0/SUBSCRIBE] [STOMP-1.0/UNSUBSCRIBE]: an id is not needed; MESSAGE then names no subscription.
#[test]
fn in_1_0_a_subscription_needs_no_id_at_any_split() {
    let bytes = b"SUBSCRIBE\ndestination: /topic/a\n\n\0UNSUBSCRIBE\ndestination: /topic/a\nreceipt: r\n\n\0";
    let transcript = same_at_every_split(bytes, || connected_as(Version::V1_0));
    assert_eq!(transcript.output, b"RECEIPT\nreceipt-id:r\n\n\0");
    assert_eq!(transcript.requests.last(), Some(&Request::Cancel(ConsumerId(0))));
    let mut harness = connected_as(Version::V1_0);
    harness.feed("SUBSCRIBE\ndestination:/topic/a\n\n\0");
    harness.deliver(&parcel("a", "x")).unwrap();
    let expected = "MESSAGE\nmessage-id:0\ndestination:/topic/a\nqos:0\ncontent-length:1\n\nx^@";
    assert_eq!(frames(&mut harness), [expected]);
    harness.feed("SUBSCRIBE\ndestination:/topic/a\n\n\0");
    let text = "the connection has a subscription with this id already";
    expect_error(&mut harness, "invalid_subscription", text);
}

/// [STOMP-1.1/SUBSCRIBE id Header] [STOMP-1.1/UNSUBSCRIBE]: from 1.1 on it is.
#[test]
fn in_1_1_a_subscription_needs_an_id() {
    for command in ["SUBSCRIBE", "UNSUBSCRIBE"] {
        let mut harness = connected_as(Version::V1_1);
        harness.feed(format!("{command}\ndestination:/topic/a\n\n\0"));
        let text = format!("{command} must have the header `id`");
        expect_error(&mut harness, "invalid_header", &text);
    }
}

/// [STOMP-1.0/SUBSCRIBE]: the body is ignored; later it must not be there ([STOMP-1.1/Body]).
#[test]
fn a_body_where_none_belongs_is_ignored_in_1_0_only() {
    let subscribe = "SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:r\n\nbody\0";
    let mut harness = connected_as(Version::V1_0);
    harness.feed(subscribe);
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
    let mut harness = connected_as(Version::V1_1);
    harness.feed(subscribe);
    expect_error(&mut harness, "unexpected_frame", "SUBSCRIBE must not have a body");
}

/// [STOMP-1.0/RECEIPT] [STOMP-1.1/Value Encoding] [STOMP-1.0/Augmented BNF]: in each version's own way.
#[test]
fn a_receipt_repeats_its_header_in_every_version() {
    for (version, value) in
        [(Version::V1_0, r"a:b\n\c"), (Version::V1_1, r" a\cb\\\n"), (Version::V1_2, r" a\cb\\\n\r")]
    {
        let mut harness = connected_as(version);
        harness.feed(format!("SEND\ndestination:/topic/a/b\nreceipt:{value}\n\nx\0"));
        assert_eq!(frames(&mut harness), [format!("RECEIPT\nreceipt-id:{value}\n\n^@")], "{version}");
    }
}

/// A message that an older version cannot express is refused, and counted as one.
#[test]
fn what_a_version_cannot_express_is_not_delivered() {
    let property = |name: &str, value: &str| tidegate_message::Properties {
        user: vec![(name.into(), value.into())],
        ..Default::default()
    };
    let refused = Err(Refused::NotExpressible);
    for (topic, (name, value), expected) in [
        ("a:b", ("n", "v:\\"), [Ok(()), Ok(()), Ok(())]),
        ("a", ("n", "line\nend"), [refused, Ok(()), Ok(())]),
        ("a", ("n:m", "v"), [refused, Ok(()), Ok(())]),
        ("a", ("n", "line\rend"), [refused, refused, Ok(())]),
        ("a\nb", ("n", "v"), [refused, Ok(()), Ok(())]),
        ("a\rb", ("n", "v"), [refused, refused, Ok(())]),
    ] {
        for (version, expected) in Version::ALL.into_iter().zip(expected) {
            let parcel = parcel(topic, "x").properties(property(name, value));
            assert_eq!(subscribed_as(version).deliver(&parcel), expected, "{version} {topic:?} {name:?}");
        }
    }
}

/// [STOMP-1.1/Value Encoding]: receivers of one version share their bytes, and no others.
#[test]
fn a_fan_out_is_encoded_once_for_each_version() {
    let mut encoded = Encoded::default();
    encoded.start(true);
    let delivered = [Version::V1_2, Version::V1_1, Version::V1_0, Version::V1_2].map(|version| {
        let mut harness = subscribed_as(version);
        harness.deliver_with(&parcel("a:b\\c", "x"), &mut encoded).unwrap();
        frames(&mut harness).remove(0)
    });
    for (frame, destination) in delivered.iter().zip([r"a\cb\\c", r"a\cb\\c", r"a:b\c", r"a\cb\\c"]) {
        assert!(frame.contains(&format!("\ndestination:/topic/{destination}\n")), "{frame}");
    }
}

/// [STOMP-1.1/ERROR] [STOMP-1.0/ERROR]: a frame that is refused before it is complete is named too.
#[test]
fn an_error_of_a_half_read_frame_names_its_receipt() {
    for version in Version::ALL {
        let mut harness = connected_as(version);
        harness.feed("SEND\ndestination:/topic/a\nreceipt:r\ncontent-length:18446744073709551616\n\n");
        let text = "the body has more than 1048576 bytes, which is the limit";
        let frame = expect_error(&mut harness, "frame_too_large", text);
        assert!(frame.contains("\nreceipt-id:r\n"), "{frame}");
    }
}

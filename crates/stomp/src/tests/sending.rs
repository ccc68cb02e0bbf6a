//! SEND: from headers to a message, and what the broker's answer becomes.

use super::{connected, expect_error, frames};
use bytes::Bytes;
use std::time::Duration;
use tidegate_message::{Properties, QoS, TopicError};
use tidegate_protocol::Refusal;
use tidegate_testkit::script::{Request, same_at_every_split};

/// A publish to `a/b` at QoS 1 with nothing beside the payload.
fn plain(payload: &[u8]) -> Request {
    let (topic, payload) = (b"a/b".to_vec(), payload.to_vec());
    Request::Publish { topic, payload, qos: QoS::AtLeastOnce, retain: false, properties: None, expiry: None }
}

/// What a SEND to `/topic/a/b` with these headers becomes.
fn sent(headers: &str) -> Request {
    let mut harness = connected();
    harness.feed(format!("SEND\ndestination:/topic/a/b\n{headers}\nx\0"));
    assert_eq!(harness.closed(), None);
    let mut requests = harness.take_requests();
    assert_eq!((requests.len(), harness.take_output().len()), (1, 0));
    requests.remove(0)
}

/// The properties of such a SEND.
fn properties(headers: &str) -> Properties {
    match sent(headers) {
        Request::Publish { properties, .. } => properties.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

/// [STOMP-1.2/SEND] [STOMP-1.2/RECEIPT]
#[test]
fn a_receipt_follows_the_acknowledged_publish_at_every_split() {
    let bytes = b"SEND\ndestination:/topic/a/b\nreceipt:r-1\ncontent-length:3\n\n1\x002\0\n";
    let transcript = same_at_every_split(bytes, connected);
    assert_eq!(transcript.requests, [plain(b"1\x002")]);
    assert_eq!(transcript.output, b"RECEIPT\nreceipt-id:r-1\n\n\0");
    assert_eq!(transcript.closed, None);
}

/// [STOMP-1.2/Value Encoding]: what came escaped goes back escaped.
#[test]
fn a_receipt_repeats_its_header_exactly() {
    let mut harness = connected();
    harness.feed("SEND\ndestination:/topic/a/b\nreceipt: a\\cb\\\\\\n\n\nx\0");
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id: a\\cb\\\\\\n\n\n^@"]);
}

/// [STOMP-1.2/SEND]: frames are handled in order, many at a time.
#[test]
fn many_frames_in_one_piece_are_all_handled() {
    let mut harness = connected();
    harness
        .feed("SEND\ndestination:/topic/a/b\n\n1\0\n\nSEND\ndestination:/topic/a/b\nreceipt:r\n\n2\0SEND\n");
    assert_eq!(harness.take_requests(), [plain(b"1"), plain(b"2")]);
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
    assert_eq!(harness.input_waiting(), 5);
}

/// A SEND is QoS 1 unless it says otherwise.
#[test]
fn qos_and_persistent_choose_the_level() {
    let cases = [
        ("", QoS::AtLeastOnce),
        ("qos:0\n", QoS::AtMostOnce),
        ("qos:1\n", QoS::AtLeastOnce),
        ("qos:2\n", QoS::ExactlyOnce),
        ("persistent:false\n", QoS::AtMostOnce),
        ("persistent:true\n", QoS::AtLeastOnce),
        ("persistent:false\nqos:2\n", QoS::ExactlyOnce),
        ("qos:0\nqos:2\n", QoS::AtMostOnce),
    ];
    for (headers, expected) in cases {
        assert!(matches!(sent(headers), Request::Publish { qos, .. } if qos == expected), "{headers:?}");
    }
}

/// Retained state is visible to every protocol.
#[test]
fn retain_and_expiration_are_passed_on() {
    let request = sent("retain:true\nexpiration:1500\n");
    assert!(
        matches!(&request, Request::Publish { retain: true, expiry: Some(expiry), properties: None, .. }
            if *expiry == Duration::from_millis(1_500)),
        "{request:?}"
    );
    assert!(matches!(sent("retain:false\n"), Request::Publish { retain: false, expiry: None, .. }));
}

/// [STOMP-1.2/Header content-type] [STOMP-1.2/SEND]: user defined headers are passed through, in order, duplicates kept.
#[test]
fn headers_become_properties() {
    let found = properties(
        "content-type:text/plain;charset\\cutf-8\nreply-to:/topic/c/d\ncorrelation-id:é1\nb:2\na:1\nb:3\npayload-format:text\n",
    );
    let user = [("b", "2"), ("a", "1"), ("b", "3")];
    let expected = Properties {
        content_type: Some("text/plain;charset:utf-8".into()),
        reply_to: Some("c/d".into()),
        correlation: Some(Bytes::from_static("é1".as_bytes())),
        payload_is_text: Some(true),
        user: user.map(|(name, value)| (name.into(), value.into())).into(),
    };
    assert_eq!(found, expected);
}

/// Binary correlation data is base64 and says so.
#[test]
fn binary_correlation_is_understood() {
    let found = properties("correlation-id:AP8=\ncorrelation-id-encoding:base64\n");
    assert_eq!(found.correlation.as_deref(), Some([0, 255].as_slice()));
}

/// Every destination to which something can be sent is one where an answer can be expected.
#[test]
fn answers_are_expected_at_any_destination() {
    for (destination, topic) in
        [("/topic/c/d", "c/d"), ("/queue/c", "$queue/c"), ("/reply-queue/t/c", "$reply/t/c")]
    {
        let found = properties(&format!("reply-to:{destination}\n"));
        assert_eq!(found.reply_to.as_deref(), Some(topic));
    }
}

/// A property of another protocol with a standard header's name comes back under its own name.
#[test]
fn prefixed_headers_are_the_properties_they_stand_for() {
    let found = properties(
        "user-qos:high\nuser-id:7\nmessage-id:old\nsubscription:old\nredelivered:true\ndelivery-count:2\n",
    );
    let expected = [("qos", "high"), ("user-id", "7")];
    assert_eq!(found.user, expected.map(|(name, value)| (name.into(), value.into())));
}

/// [STOMP-1.2/SEND]: a SEND that cannot be processed is answered with ERROR, and the connection closes.
#[test]
fn a_send_that_makes_no_sense_is_refused() {
    let destination = "the destination must begin with /topic/, /queue/, /temp-queue/ or /reply-queue/";
    let reply_to = "the header `reply-to` must be a destination to which a message can be sent";
    let cases = [
        ("", "invalid_header", "SEND must have the header `destination`"),
        ("destination:/exchange/a\n", "invalid_destination", destination),
        ("destination:a/b\n", "invalid_destination", destination),
        ("destination:/topic/a/+\n", "invalid_destination", "wildcards are for subscriptions to topics"),
        (
            "destination:/topic/$queue/a\n",
            "invalid_destination",
            "the destination of a queue is /queue/ and its name",
        ),
        (
            "destination:/queue/a\nretain:true\n",
            "invalid_header",
            "the header `retain` must be left out: only topics retain",
        ),
        ("destination:/topic/a\nqos:3\n", "invalid_header", "the header `qos` must be 0, 1 or 2"),
        (
            "destination:/topic/a\nretain:1\n",
            "invalid_header",
            "the header `retain` must be `true` or `false`",
        ),
        (
            "destination:/topic/a\npersistent:\n",
            "invalid_header",
            "the header `persistent` must be `true` or `false`",
        ),
        (
            "destination:/topic/a\nexpiration:0\n",
            "invalid_header",
            "the header `expiration` must be a whole number of milliseconds from 1 to 4294967295000",
        ),
        (
            "destination:/topic/a\ncorrelation-id:?\ncorrelation-id-encoding:base64\n",
            "invalid_header",
            "the header `correlation-id` must be base64, as its encoding says",
        ),
        (
            "destination:/topic/a\ncorrelation-id:x\ncorrelation-id-encoding:hex\n",
            "invalid_header",
            "the header `correlation-id-encoding` must be `base64`",
        ),
        (
            "destination:/topic/a\npayload-format:x\n",
            "invalid_header",
            "the header `payload-format` must be `text` or `binary`",
        ),
        ("destination:/topic/a\nreply-to:/topic/r/#\n", "invalid_header", reply_to),
        ("destination:/topic/a\nreply-to:somewhere\n", "invalid_header", reply_to),
    ];
    for (headers, label, text) in cases {
        let mut harness = connected();
        harness.feed(format!("SEND\n{headers}receipt:bad\n\nx\0"));
        let frame = expect_error(&mut harness, label, text);
        assert!(frame.contains("\nreceipt-id:bad\n"), "{frame}");
        assert_eq!(harness.take_requests(), []);
    }
}

/// [STOMP-1.2/SEND] [STOMP-1.2/ERROR]: never silence, never a false yes.
#[test]
fn a_refused_publish_is_an_error_with_its_receipt_id() {
    let mut harness = connected();
    harness.broker.published.push_back(Err(Refusal::QueueFull));
    harness.feed("SEND\ndestination:/topic/a/b\nreceipt:r-2\n\nx\0SEND\ndestination:/topic/a/b\n\ny\0");
    let frame = expect_error(&mut harness, "refused", "there is no room left in the queues");
    assert!(frame.contains("\nreceipt-id:r-2\nmessage:request refused\n"), "{frame}");
    assert_eq!(harness.take_requests(), [plain(b"x")]);
    let mut harness = connected();
    harness.broker.published.push_back(Err(Refusal::InvalidTopic(TopicError::Empty)));
    harness.feed("SEND\ndestination:/topic/a\n\nx\0");
    let frame = expect_error(&mut harness, "refused", "the topic is empty");
    assert!(!frame.contains("receipt-id"), "{frame}");
}

/// [STOMP-1.2/SEND] [STOMP-1.2/ERROR]: who may not publish is told so, with the receipt id.
#[test]
fn a_publish_that_is_not_allowed_is_an_error_with_its_receipt_id() {
    for (refusal, words) in [
        (Refusal::NotAuthorized, "not authorized"),
        (Refusal::ReservedTopic, "topics that begin with `$` are the gateway's own"),
    ] {
        let mut harness = connected();
        harness.broker.published.push_back(Err(refusal));
        harness.feed("SEND\ndestination:/topic/a/b\nreceipt:r-2\n\nx\0");
        let frame = expect_error(&mut harness, "not_authorized", words);
        assert!(frame.contains("\nreceipt-id:r-2\nmessage:not authorized\n"), "{frame}");
    }
}

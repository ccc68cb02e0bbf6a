//! Subscriptions that can be resumed.

use super::{connected, expect_error, frames};
use tidegate_message::QoS;
use tidegate_protocol::{
    CloseReason, ConsumerId, Following, Position, Refusal, ResumeToken, Start, StateDelivery,
};
use tidegate_testkit::script::{Harness, Request, parcel};

fn token(position: u64) -> ResumeToken {
    ResumeToken { epoch: 0xab, ring: 1, position, state_before: None }
}

fn position(position: u64) -> Position {
    Position { token: token(position), is_after_gap: false }
}

/// The request of a SUBSCRIBE with these headers to `/topic/a/#`, and its RECEIPT.
fn follow(headers: &str, start: Start) -> (Option<Request>, String) {
    let mut harness = connected();
    harness.broker.followed.push_back(Ok(Following { start, token: token(7) }));
    harness.feed(format!("SUBSCRIBE\nid:s\ndestination:/topic/a/#\nreceipt:r\n{headers}\n\0"));
    (harness.take_requests().pop(), frames(&mut harness).remove(0))
}

fn followed(from: Option<&str>, state: StateDelivery) -> Option<Request> {
    Some(Request::Follow {
        consumer: ConsumerId(0),
        filter: "a/#".to_owned(),
        qos_max: QoS::ExactlyOnce,
        state,
        from: from.map(str::to_owned),
    })
}

#[test]
fn a_subscription_begins_or_goes_on_and_its_receipt_says_which() {
    use StateDelivery::{Nothing, Retained};
    let cases = [
        ("resume:\n", None, Retained, Start::Began, "began"),
        ("resume:true\nretained:false\n", None, Nothing, Start::Began, "began"),
        ("resume:ab-1-5\n", Some("ab-1-5"), Retained, Start::Continued, "continued"),
        ("ack:client\nresume:what\\cever\n", Some("what:ever"), Retained, Start::Gap, "gap"),
    ];
    for (headers, from, state, start, word) in cases {
        let (request, receipt) = follow(headers, start);
        assert_eq!(request, followed(from, state), "{headers}");
        assert_eq!(receipt, format!("RECEIPT\nreceipt-id:r\nresume:{word}\nresume-token:ab-1-7\n\n^@"));
    }
}

/// Clients that know nothing of it see nothing of it.
#[test]
fn an_ordinary_subscription_stays_what_it_is() {
    for headers in ["", "resume:false\n"] {
        let (request, receipt) = follow(headers, Start::Began);
        assert!(matches!(request, Some(Request::Subscribe { .. })), "{request:?}");
        assert_eq!(receipt, "RECEIPT\nreceipt-id:r\n\n^@");
    }
}

fn resumed() -> Harness {
    let mut harness = connected();
    harness.feed("SUBSCRIBE\nid:s\ndestination:/topic/a/#\nresume:\n\n\0");
    harness
}

#[test]
fn every_message_has_its_token_and_tells_of_a_gap() {
    let mut harness = resumed();
    let after_gap = Position { is_after_gap: true, ..position(0x1f) };
    harness.deliver(&parcel("a", "x").position(after_gap)).unwrap();
    harness.deliver(&parcel("a", "x").position(position(0x20)).retained()).unwrap();
    let start = |number| format!("MESSAGE\nsubscription:s\nmessage-id:{number}\n");
    assert_eq!(
        frames(&mut harness),
        [
            start(0)
                + "resume-gap:true\ndestination:/topic/a\nqos:0\nresume:ab-1-1f\ncontent-length:1\n\nx^@",
            start(1) + "destination:/topic/a\nqos:0\nretained:true\nresume:ab-1-20\ncontent-length:1\n\nx^@",
        ]
    );
}

/// What many followers of a ring see is encoded once; who follows nothing never gets those bytes.
#[test]
fn followers_of_a_ring_share_their_bytes() {
    let mut encoded = tidegate_protocol::Encoded::default();
    encoded.start(true);
    let (mut first, mut second, mut other) = (resumed(), resumed(), super::subscribed("auto"));
    let gap = Position { is_after_gap: true, ..position(9) };
    first.deliver_with(&parcel("a", "x").position(position(9)), &mut encoded).unwrap();
    second.deliver_with(&parcel("a", "x").position(gap), &mut encoded).unwrap();
    other.deliver_with(&parcel("a", "x"), &mut encoded).unwrap();
    let [first, second, other] =
        [&mut first, &mut second, &mut other].map(|harness| frames(harness).remove(0));
    assert!(first.contains("\nresume:ab-1-9\n") && second.contains("\nresume:ab-1-9\n"), "{first} {second}");
    assert!(!first.contains("resume-gap") && second.contains("resume-gap:true\n"), "{first} {second}");
    assert!(!other.contains("resume"), "{other}");
}

#[test]
fn what_cannot_be_resumed_is_refused_with_the_reason() {
    let cases = [
        ("/queue/q", "", "left out: only subscriptions to topics that are not shared can be resumed"),
        ("/temp-queue/q", "", "left out: only subscriptions to topics that are not shared can be resumed"),
        ("/topic/a", "durable:true\n", "left out: a durable subscription keeps its messages by itself"),
    ];
    for (destination, headers, expected) in cases {
        let mut harness = connected();
        harness.feed(format!("SUBSCRIBE\nid:s\ndestination:{destination}\n{headers}resume:\n\n\0"));
        assert_eq!(harness.close_label(), Some("invalid_header"), "{destination}");
        let error = frames(&mut harness).remove(0);
        assert!(error.contains("resume") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_topic_outside_of_the_rings_is_refused() {
    let mut harness = connected();
    harness.broker.followed.push_back(Err(Refusal::NotInReplayRing));
    harness.feed("SUBSCRIBE\nid:s\ndestination:/topic/b\nresume:\nreceipt:r\n\n\0");
    let error = expect_error(&mut harness, "refused", &Refusal::NotInReplayRing.to_string());
    assert!(error.contains("\nreceipt-id:r\n"), "{error}");
    assert_eq!(harness.take_requests().pop(), Some(Request::Cancel(ConsumerId(0))));
}

/// After a reload nobody waits for what never comes.
#[test]
fn a_ring_that_goes_is_told() {
    let mut harness = resumed();
    harness.close(CloseReason::ReplayEnded);
    let error = frames(&mut harness).pop().unwrap();
    assert!(error.starts_with("ERROR\nmessage:replay ended\n"), "{error}");
}

/// A user property of this name is no token, and a SEND cannot pretend to have one.
#[test]
fn tokens_have_no_meaning_in_send() {
    let mut harness = connected();
    harness.feed("SEND\ndestination:/topic/a\nresume:ab-1-1\nresume-gap:true\nx:1\n\nx\0");
    let Some(Request::Publish { properties, .. }) = harness.take_requests().pop() else {
        panic!("a publish")
    };
    assert_eq!(properties.unwrap().user, [("x".into(), "1".into())]);
    let user = vec![("resume".into(), "ab-1-1".into())];
    let properties = tidegate_message::Properties { user, ..Default::default() };
    let mut harness = resumed();
    harness.deliver(&parcel("a", "x").properties(properties)).unwrap();
    let frame = frames(&mut harness).remove(0);
    assert!(frame.contains("\nuser-resume:ab-1-1\n") && !frame.contains("\nresume:"), "{frame}");
}

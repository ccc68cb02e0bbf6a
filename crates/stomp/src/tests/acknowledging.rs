//! ACK and NACK.

use super::{connected_as, expect_error, frames, subscribed};
use crate::codec::Version;
use tidegate_protocol::{ConsumerId, DeliveryTag, Outcome};
use tidegate_testkit::script::{Harness, Request, parcel};

/// A machine with deliveries 1 to 4 unsettled.
fn with_deliveries(ack: &str) -> Harness {
    let mut harness = subscribed(ack);
    for tag in 1..=4 {
        harness.deliver(&parcel("a", "x").tagged(tag)).unwrap();
    }
    harness.take_output();
    harness
}

fn settled(tags: impl IntoIterator<Item = u64>, outcome: Outcome) -> Vec<Request> {
    let settle = |tag| Request::Settle { consumer: ConsumerId(0), tag: DeliveryTag(tag), outcome };
    tags.into_iter().map(settle).collect()
}

/// [STOMP-1.2/SUBSCRIBE ack Header]: with `client` an ACK is cumulative.
#[test]
fn ack_in_client_mode_is_cumulative() {
    let mut harness = with_deliveries("client");
    harness.feed("ACK\nid:0-3\nreceipt:r\n\n\0");
    assert_eq!(harness.take_requests(), settled([1, 2, 3], Outcome::Accepted));
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
    harness.feed("ACK\nid:0-4\n\n\0");
    assert_eq!(harness.take_requests(), settled([4], Outcome::Accepted));
}

/// [STOMP-1.2/SUBSCRIBE ack Header]: with `client-individual` it is not.
#[test]
fn ack_in_client_individual_mode_settles_one() {
    let mut harness = with_deliveries("client-individual");
    harness.feed("ACK\nid:0-3\n\n\0NACK\nid:0-1\n\n\0");
    let expected = [settled([3], Outcome::Accepted), settled([1], Outcome::Rejected)].concat();
    assert_eq!(harness.take_requests(), expected);
}

/// [STOMP-1.2/NACK]: in `client` mode for all messages before as well.
#[test]
fn nack_in_client_mode_is_cumulative() {
    let mut harness = with_deliveries("client");
    harness.feed("NACK\nid:0-2\n\n\0");
    assert_eq!(harness.take_requests(), settled([1, 2], Outcome::Rejected));
}

/// [STOMP-1.2/ACK]: an id that no delivered message has is refused.
#[test]
fn an_unknown_id_is_refused() {
    let text = "no delivered message waits for an acknowledgement with this id";
    for id in ["0-5", "1-1", "nothing", ""] {
        let mut harness = with_deliveries("client-individual");
        harness.feed(format!("ACK\nid:{id}\n\n\0"));
        expect_error(&mut harness, "unknown_acknowledgement", text);
        assert_eq!(harness.take_requests(), []);
    }
    let mut twice = with_deliveries("client");
    twice.feed("ACK\nid:0-2\n\n\0ACK\nid:0-2\n\n\0");
    expect_error(&mut twice, "unknown_acknowledgement", text);
}

/// [STOMP-1.2/ACK]: the client may not know yet that its subscription has ended.
#[test]
fn an_ack_after_unsubscribe_settles_nothing() {
    let mut harness = with_deliveries("client");
    harness.feed("UNSUBSCRIBE\nid:s\n\n\0ACK\nid:0-2\nreceipt:r\n\n\0");
    assert_eq!(harness.take_requests(), [Request::Cancel(ConsumerId(0))]);
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
}

/// [STOMP-1.2/ACK]: `id` is required.
#[test]
fn an_ack_without_id_is_refused() {
    for command in ["ACK", "NACK"] {
        let mut harness = with_deliveries("client");
        harness.feed(format!("{command}\nmessage-id:0\nsubscription:s\n\n\0"));
        expect_error(&mut harness, "invalid_header", &format!("{command} must have the header `id`"));
    }
}

/// A machine of this version with subscription `s` to `/topic/a`, where the version has one without an id without, and deliveries 1 to 4
/// unsettled. The frames of those deliveries are returned.
fn of_version(version: Version, id: &str, ack: &str) -> (Harness, Vec<String>) {
    let mut harness = connected_as(version);
    harness.feed(format!("SUBSCRIBE\n{id}destination:/topic/a\nack:{ack}\n\n\0"));
    harness.take_requests();
    for tag in 1..=4 {
        harness.deliver(&parcel("a", "x").tagged(tag)).unwrap();
    }
    let frames = frames(&mut harness);
    (harness, frames)
}

/// [STOMP-1.1/ACK] [STOMP-1.1/NACK]: the message and the subscription are named; the MESSAGE has no `ack` header.
#[test]
fn in_1_1_a_message_is_named_by_its_id_and_subscription() {
    let (mut harness, frames) = of_version(Version::V1_1, "id:s\n", "client-individual");
    assert!(frames[2].starts_with("MESSAGE\nsubscription:s\nmessage-id:0-3\ndestination:"), "{frames:?}");
    harness.feed("ACK\nmessage-id:0-3\nsubscription:s\n\n\0NACK\nmessage-id:0-1\nsubscription:s\n\n\0");
    let expected = [settled([3], Outcome::Accepted), settled([1], Outcome::Rejected)].concat();
    assert_eq!(harness.take_requests(), expected);
}

/// [STOMP-1.1/ACK]: both headers are required, and they have to name the same delivery.
#[test]
fn in_1_1_both_headers_are_required_and_agree() {
    let unknown = "no delivered message waits for an acknowledgement with this id";
    for (headers, label, text) in [
        ("message-id:0-1\n", "invalid_header", "ACK must have the header `subscription`"),
        ("subscription:s\n", "invalid_header", "ACK must have the header `message-id`"),
        ("id:0-1\n", "invalid_header", "ACK must have the header `message-id`"),
        ("message-id:0-1\nsubscription:t\n", "unknown_acknowledgement", unknown),
        ("message-id:0-9\nsubscription:s\n", "unknown_acknowledgement", unknown),
    ] {
        let (mut harness, _) = of_version(Version::V1_1, "id:s\n", "client");
        harness.feed(format!("ACK\n{headers}\n\0"));
        expect_error(&mut harness, label, text);
        assert_eq!(harness.take_requests(), []);
    }
}

/// [STOMP-1.0/ACK] [STOMP-1.0/MESSAGE]: the message alone is named, with or without an id of the subscription.
#[test]
fn in_1_0_a_message_is_named_by_its_id_alone() {
    for (id, subscription) in [("", ""), ("id: s\n", "subscription:s\n")] {
        let (mut harness, frames) = of_version(Version::V1_0, id, "client");
        let start = format!("MESSAGE\n{subscription}message-id:0-3\ndestination:/topic/a\n");
        assert!(frames[2].starts_with(&start), "{frames:?}");
        harness.feed("ACK\nmessage-id: 0-3\nreceipt:r\n\n\0");
        assert_eq!(harness.take_requests(), settled([1, 2, 3], Outcome::Accepted));
        assert_eq!(super::frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
    }
}

/// [STOMP-1.1/SUBSCRIBE ack Header]: cumulative, and within the subscription only.
#[test]
fn a_cumulative_ack_leaves_other_subscriptions_alone() {
    for version in Version::ALL {
        let (mut harness, _) = of_version(version, "id:s\n", "client");
        harness.feed("SUBSCRIBE\nid:t\ndestination:/topic/a\nack:client\n\n\0");
        harness.take_requests();
        harness.deliver(&parcel("a", "x").consumer(1).tagged(1)).unwrap();
        let ack = match version {
            Version::V1_2 => "id:1-1",
            _ => "message-id:1-1\nsubscription:t",
        };
        harness.feed(format!("ACK\n{ack}\n\n\0"));
        let (consumer, tag, outcome) = (ConsumerId(1), DeliveryTag(1), Outcome::Accepted);
        assert_eq!(harness.take_requests(), [Request::Settle { consumer, tag, outcome }], "{version}");
    }
}

/// [STOMP-1.1/ACK] [STOMP-1.0/ACK]: the client may not know yet that its subscription has ended.
#[test]
fn a_late_ack_is_no_fault_in_any_version() {
    for version in [Version::V1_0, Version::V1_1] {
        let (mut harness, _) = of_version(version, "id:s\n", "client");
        harness.feed("UNSUBSCRIBE\nid:s\n\n\0ACK\nmessage-id:0-2\nsubscription:s\nreceipt:r\n\n\0");
        assert_eq!(harness.take_requests(), [Request::Cancel(ConsumerId(0))]);
        assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
    }
}

/// [STOMP-1.2/NACK]: the header `requeue` says what the server makes of it; without it a topic's message is dropped.
#[test]
fn a_nack_may_ask_for_another_delivery() {
    for (headers, outcome) in [
        ("requeue:true\n", Outcome::Released),
        ("requeue:false\n", Outcome::Rejected),
        ("", Outcome::Rejected),
    ] {
        let mut harness = with_deliveries("client");
        harness.feed(format!("NACK\nid:0-2\n{headers}\n\0"));
        assert_eq!(harness.take_requests(), settled([1, 2], outcome));
    }
    let mut harness = with_deliveries("client");
    harness.feed("NACK\nid:0-2\nrequeue:maybe\n\n\0");
    let text = "the header `requeue` must be `true` or `false`";
    expect_error(&mut harness, "invalid_header", text);
}

//! ACK and NACK.

use super::{expect_error, frames, subscribed};
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

/// [STOMP-1.2/BEGIN] [STOMP-1.2/COMMIT] [STOMP-1.2/ABORT]: nothing pretends to be atomic.
#[test]
fn transactions_are_refused() {
    let frames = [
        "BEGIN\ntransaction:t",
        "COMMIT\ntransaction:t",
        "ABORT\ntransaction:t",
        "ACK\nid:0-1\ntransaction:t",
    ];
    for frame in frames {
        let mut harness = with_deliveries("client");
        harness.feed(format!("{frame}\n\n\0"));
        expect_error(&mut harness, "not_supported", "transactions are not supported yet");
        assert_eq!(harness.take_requests(), []);
    }
}

//! BEGIN, COMMIT, ABORT and what happens in between.

use super::{connect, connected, connected_with, expect_error, frames};
use crate::StompOptions;
use crate::codec::Version;
use tidegate_message::ByteSize;
use tidegate_protocol::{CloseReason, ConsumerId, DeliveryTag, Outcome, Refusal};
use tidegate_testkit::script::{Harness, Request, parcel, same_at_every_split};

/// A frame about transaction `name`, with these headers beside it.
fn frame(command: &str, name: &str, headers: &str) -> String {
    let body = if command == "SEND" { "x" } else { "" };
    format!("{command}\ntransaction:{name}\n{headers}\n{body}\0")
}

/// A SEND in a transaction.
fn send(name: &str, topic: &str) -> String {
    frame("SEND", name, &format!("destination:/topic/{topic}\n"))
}

/// A machine with subscription `s` whose deliveries 1 to 4 are unsettled.
fn with_deliveries(ack: &str) -> Harness {
    let mut harness = super::subscribed(ack);
    for tag in 1..=4 {
        harness.deliver(&parcel("a", "x").tagged(tag)).unwrap();
    }
    harness.take_output();
    harness
}

/// The topics of a request that publishes several messages.
fn topics(request: &Request) -> Vec<&str> {
    match request {
        Request::PublishAll(batch) => batch.iter().filter_map(Request::published_topic).collect(),
        other => panic!("{other:?}"),
    }
}

fn settled(tags: impl IntoIterator<Item = u64>, outcome: Outcome) -> Vec<Request> {
    let settle = |tag| Request::Settle { consumer: ConsumerId(0), tag: DeliveryTag(tag), outcome };
    tags.into_iter().map(settle).collect()
}

/// [STOMP-1.2/BEGIN] [STOMP-1.2/COMMIT]: each frame has its own receipt, and nothing is published before COMMIT.
#[test]
fn what_was_sent_is_published_with_commit_at_every_split() {
    let bytes = [
        frame("BEGIN", "t", "receipt:1\n"),
        frame("SEND", "t", "destination:/topic/a\nreceipt:2\n"),
        send("t", "b"),
        frame("COMMIT", "t", "receipt:3\n"),
    ]
    .concat();
    let transcript = same_at_every_split(bytes.as_bytes(), connected);
    assert_eq!(transcript.requests.iter().map(topics).collect::<Vec<_>>(), [["a", "b"]]);
    let receipts: String = [1, 2, 3].map(|number| format!("RECEIPT\nreceipt-id:{number}\n\n\0")).concat();
    assert_eq!((String::from_utf8(transcript.output).unwrap(), transcript.closed), (receipts, None));
    let mut harness = connected();
    harness.feed(frame("BEGIN", "t", "") + &send("t", "a"));
    assert_eq!(harness.take_requests(), []);
}

/// [STOMP-1.2/ABORT]
#[test]
fn what_was_sent_is_forgotten_with_abort() {
    let mut harness = connected();
    harness.feed(frame("BEGIN", "t", "") + &send("t", "a") + &frame("ABORT", "t", "receipt:r\n"));
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
    harness.feed(frame("BEGIN", "t", "") + &frame("COMMIT", "t", "receipt:r\n"));
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
    assert_eq!(harness.take_requests(), [], "an empty transaction asks the broker for nothing");
}

/// [STOMP-1.2/BEGIN]: several at once, and what is outside goes out at once.
#[test]
fn transactions_do_not_see_each_other() {
    let mut harness = connected();
    harness.feed(frame("BEGIN", "t", "") + &frame("BEGIN", "u", "") + &send("t", "1") + &send("u", "2"));
    harness.feed("SEND\ndestination:/topic/outside\n\nx\0".to_owned() + &send("t", "3"));
    assert_eq!(harness.take_requests()[0].published_topic(), Some("outside"));
    harness.feed(frame("COMMIT", "t", "") + &frame("COMMIT", "u", ""));
    let requests = harness.take_requests();
    assert_eq!(requests.iter().map(topics).collect::<Vec<_>>(), [vec!["1", "3"], vec!["2"]]);
}

/// [STOMP-1.2/ACK] [STOMP-1.2/NACK]: acknowledged with COMMIT, behind what was sent.
#[test]
fn acknowledgements_are_settled_with_commit() {
    let mut harness = with_deliveries("client");
    harness.feed(frame("BEGIN", "t", "") + &frame("ACK", "t", "id:0-2\n") + &send("t", "a"));
    harness.feed(frame("NACK", "t", "id:0-3\nrequeue:true\n"));
    assert_eq!(harness.take_requests(), []);
    harness.feed(frame("COMMIT", "t", ""));
    let requests = harness.take_requests();
    assert_eq!(topics(&requests[0]), ["a"]);
    let expected = [settled([1, 2], Outcome::Accepted), settled([3], Outcome::Released)].concat();
    assert_eq!(requests[1..], expected);
}

/// [STOMP-1.2/ABORT]: an aborted acknowledgement never was; the message can be acknowledged again, alone or with those around it.
#[test]
fn acknowledgements_wait_again_after_abort() {
    let mut harness = with_deliveries("client");
    let aborted = frame("BEGIN", "t", "") + &frame("ACK", "t", "id:0-2\n") + &frame("ABORT", "t", "");
    harness.feed(aborted + "ACK\nid:0-3\n\n\0");
    assert_eq!(harness.take_requests(), settled([1, 2, 3], Outcome::Accepted));
    let mut harness = with_deliveries("client-individual");
    harness.feed(frame("BEGIN", "t", "") + &frame("ACK", "t", "id:0-3\n") + &frame("ACK", "t", "id:0-1\n"));
    harness.feed(frame("ABORT", "t", "") + "ACK\nid:0-1\n\n\0NACK\nid:0-3\n\n\0");
    let expected = [settled([1], Outcome::Accepted), settled([3], Outcome::Rejected)].concat();
    assert_eq!(harness.take_requests(), expected);
}

/// [STOMP-1.2/ACK]: once, in or out of a transaction.
#[test]
fn a_message_of_an_open_transaction_is_not_acknowledged_twice() {
    let mut harness = with_deliveries("client-individual");
    harness.feed(frame("BEGIN", "t", "") + &frame("ACK", "t", "id:0-2\n") + "ACK\nid:0-2\n\n\0");
    let text = "no delivered message waits for an acknowledgement with this id";
    expect_error(&mut harness, "unknown_acknowledgement", text);
    assert_eq!(harness.take_requests(), []);
}

/// [STOMP-1.2/COMMIT]: a message that went back with its subscription comes again, so what was made of it must not go out, whether its ACK
/// came before UNSUBSCRIBE or behind it.
#[test]
fn a_transaction_fails_when_the_subscription_of_a_message_ended_before_commit() {
    const UNSUBSCRIBE: &str = "UNSUBSCRIBE\nid:s\n\n\0";
    let ack = frame("ACK", "t", "id:0-2\n");
    for (bytes, number) in [
        (send("t", "a") + &ack + UNSUBSCRIBE, 2),
        (ack.clone() + UNSUBSCRIBE + &send("t", "a"), 1),
        (send("t", "a") + &send("t", "b") + UNSUBSCRIBE + &ack, 3),
        (ack + &send("t", "a") + UNSUBSCRIBE + &frame("NACK", "t", "id:0-3\n"), 1),
    ] {
        let mut harness = with_deliveries("client");
        harness.feed(frame("BEGIN", "t", "") + &bytes);
        harness.take_requests();
        harness.feed(frame("COMMIT", "t", "receipt:r\n"));
        let text = format!(
            "nothing of the transaction was done, because the subscription of the message that its frame {number} acknowledges has ended"
        );
        expect_error(&mut harness, "invalid_transaction", &text);
        assert_eq!(harness.take_requests(), []);
    }
}

/// [STOMP-1.2/ABORT]: what has gone back needs nothing, and what was not of the transaction was as late as it is outside of one.
#[test]
fn a_subscription_may_end_before_its_transaction_is_aborted() {
    let mut harness = with_deliveries("client");
    harness.feed(frame("BEGIN", "t", "") + &frame("ACK", "t", "id:0-2\n"));
    harness.feed("UNSUBSCRIBE\nid:s\n\n\0".to_owned() + &frame("ACK", "t", "id:0-3\n"));
    harness.take_requests();
    harness.feed(frame("ABORT", "t", "receipt:r\n"));
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@"]);
}

/// [STOMP-1.2/COMMIT] [STOMP-1.2/ERROR]: all or nothing; the ERROR names the frame and why.
#[test]
fn a_refused_transaction_does_nothing() {
    let mut harness = with_deliveries("client");
    harness.broker.published_all.push_back(Err((1, Refusal::QueueFull)));
    harness
        .feed(frame("BEGIN", "t", "") + &send("t", "a") + &frame("ACK", "t", "id:0-1\n") + &send("t", "b"));
    harness.feed(frame("COMMIT", "t", "receipt:r\n"));
    let text = "nothing of the transaction was done, because its frame 3 is refused: there is no room left in the queues";
    let error = expect_error(&mut harness, "refused", text);
    assert!(error.contains("\nreceipt-id:r\nmessage:transaction aborted\n"), "{error}");
    assert_eq!(harness.take_requests().len(), 1, "nothing was settled");
    let mut harness = connected();
    harness.broker.published_all.push_back(Err((0, Refusal::NotAuthorized)));
    harness.feed(frame("BEGIN", "t", "") + &send("t", "a") + &frame("COMMIT", "t", ""));
    let text = "nothing of the transaction was done, because its frame 1 is refused: not authorized";
    expect_error(&mut harness, "not_authorized", text);
}

/// [STOMP-1.2/BEGIN] [STOMP-1.2/COMMIT] [STOMP-1.2/ABORT]: names are unique, required and known.
#[test]
fn names_that_make_no_sense_are_refused() {
    let unknown = "the connection has no transaction with this name";
    let begun = frame("BEGIN", "t", "");
    let long = frame("BEGIN", &"x".repeat(256), "");
    let committed = begun.clone() + &frame("COMMIT", "t", "") + &send("t", "a");
    let twice = begun.clone() + &begun;
    for (bytes, label, text) in [
        (&*twice, "invalid_transaction", "the connection has a transaction with this name already"),
        (&*frame("COMMIT", "u", ""), "invalid_transaction", unknown),
        (&*frame("ABORT", "u", ""), "invalid_transaction", unknown),
        (&*send("u", "a"), "invalid_transaction", unknown),
        (&*frame("ACK", "u", "id:0-1\n"), "invalid_transaction", unknown),
        (&*committed, "invalid_transaction", unknown),
        (&*long, "invalid_header", "the header `transaction` must be at most 255 bytes"),
        ("BEGIN\n\n\0", "invalid_header", "BEGIN must have the header `transaction`"),
        ("COMMIT\n\n\0", "invalid_header", "COMMIT must have the header `transaction`"),
        ("ABORT\n\n\0", "invalid_header", "ABORT must have the header `transaction`"),
    ] {
        let mut harness = with_deliveries("client");
        harness.feed(bytes);
        expect_error(&mut harness, label, text);
        assert_eq!(harness.take_requests(), []);
    }
}

/// [STOMP-1.2/SEND]: what is wrong with a frame is told when it comes.
#[test]
fn a_frame_that_makes_no_sense_is_refused_at_once() {
    let mut harness = connected();
    harness.feed(frame("BEGIN", "t", "") + &frame("SEND", "t", "destination:/topic/a\nqos:9\nreceipt:r\n"));
    let error = expect_error(&mut harness, "invalid_header", "the header `qos` must be 0, 1 or 2");
    assert!(error.contains("\nreceipt-id:r\n"), "{error}");
}

/// [STOMP-1.2/Conformance]: The options `max_transactions`, `max_transaction_frames` and `max_transaction_size`.
#[test]
fn transactions_are_limited() {
    let options = StompOptions {
        max_transactions: 2,
        max_transaction_frames: 3,
        max_transaction_size: ByteSize::from_bytes(2_000),
        ..StompOptions::default()
    };
    let begun = frame("BEGIN", "t", "") + &frame("BEGIN", "u", "");
    let large = frame("SEND", "u", "destination:/topic/a\n")
        .replace("\n\nx\0", &format!("\n\n{}\0", "x".repeat(2_000)));
    for (bytes, label, text) in [
        (
            frame("BEGIN", "v", ""),
            "too_many_transactions",
            "the connection has 2 transactions, which is the limit",
        ),
        (
            send("t", "a") + &send("u", "a") + &send("t", "a") + &send("u", "a"),
            "transaction_too_large",
            "the transactions of the connection hold 3 frames, which is the limit",
        ),
        (
            large,
            "transaction_too_large",
            "the transactions of the connection would hold more than 2000 bytes, which is the limit",
        ),
    ] {
        let mut harness = connected_with(options.clone());
        harness.feed(begun.clone() + &bytes);
        expect_error(&mut harness, label, text);
        assert_eq!(harness.take_requests(), []);
    }
    let mut harness = connected_with(options);
    for _ in 0..10 {
        harness.feed(begun.clone() + &send("t", "a") + &send("u", "a"));
        harness.feed(frame("ABORT", "t", "") + &frame("COMMIT", "u", ""));
    }
    assert_eq!(
        (harness.close_label(), harness.take_requests().len()),
        (None, 10),
        "an ended one counts no more"
    );
}

/// [STOMP-1.2/BEGIN]: DISCONNECT and a lost connection abort.
#[test]
fn a_transaction_ends_with_its_connection() {
    let open = || {
        let mut harness = with_deliveries("client");
        harness.feed(frame("BEGIN", "t", "") + &send("t", "a") + &frame("ACK", "t", "id:0-2\n"));
        harness
    };
    let mut polite = open();
    polite.feed("DISCONNECT\nreceipt:bye\n\n\0");
    assert_eq!(frames(&mut polite), ["RECEIPT\nreceipt-id:bye\n\n^@"]);
    assert_eq!(polite.take_requests(), []);
    let mut lost = open();
    lost.close(CloseReason::PeerClosed);
    assert_eq!(lost.take_requests(), []);
}

/// [STOMP-1.0/BEGIN] [STOMP-1.0/COMMIT] [STOMP-1.0/ABORT] [STOMP-1.1/BEGIN]: the same in every version.
#[test]
fn every_version_has_transactions() {
    for version in Version::ALL {
        let mut harness = super::opening();
        harness.feed(connect(version));
        harness.feed("SUBSCRIBE\nid:s\ndestination:/topic/a\nack:client\n\n\0");
        harness.deliver(&parcel("a", "x").tagged(1)).unwrap();
        harness.take_output();
        harness.take_requests();
        let ack = match version {
            Version::V1_0 => "message-id:0-1\n",
            Version::V1_1 => "message-id:0-1\nsubscription:s\n",
            Version::V1_2 => "id:0-1\n",
        };
        harness.feed(frame("BEGIN", "t", "") + &send("t", "b") + &frame("ACK", "t", ack));
        harness.feed(frame("COMMIT", "t", ""));
        let requests = harness.take_requests();
        assert_eq!((harness.close_label(), topics(&requests[0])), (None, vec!["b"]), "{version}");
        assert_eq!(requests[1..], settled([1], Outcome::Accepted));
    }
}

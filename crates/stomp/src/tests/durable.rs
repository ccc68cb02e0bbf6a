//! Durable subscriptions: SUBSCRIBE and UNSUBSCRIBE with `durable:true`, and what becomes of them at the end of a connection.

use super::{expect_error, frames, opening_with, subscribe};
use crate::StompOptions;
use std::time::Duration;
use tidegate_message::TimeSpan;
use tidegate_protocol::{
    Attached, Attachment, CloseReason, ConsumerId, DeliveryTag, Outcome, Refusal, RetainedDelivery,
    Settlement, WillAction,
};
use tidegate_testkit::script::{Harness, Request, parcel, same_at_every_split};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const SUBSCRIBE: &str =
    "SUBSCRIBE\nid:s\ndestination:/topic/a/#\ndurable:true\nack:client-individual\nreceipt:r\n\n\0";

/// A machine whose client is in and calls itself so.
fn connected_as(client_id: &str, heart_beat: &str) -> Harness {
    let options = StompOptions {
        heart_beat_incoming: TimeSpan::from_milliseconds(1000),
        heart_beat_outgoing: TimeSpan::from_milliseconds(1000),
        ..StompOptions::default()
    };
    let mut harness = opening_with(options);
    harness.feed(format!(
        "CONNECT\naccept-version:1.2\nhost:x\nclient-id:{client_id}\nheart-beat:{heart_beat}\n\n\0"
    ));
    harness.take_output();
    harness
}

fn ann() -> Harness {
    connected_as("ann", "0,0")
}

fn attach(consumer: u32, name: &str, settlement: Settlement) -> Request {
    Request::Attach {
        consumer: ConsumerId(consumer),
        protocol: "stomp",
        client_id: name.to_owned(),
        clean_start: false,
        expiry: WEEK,
        credit: 100,
        settlement,
        will: None,
    }
}

/// How a subscription that is not held here is claimed to be deleted.
fn claim_to_delete(consumer: u32, name: &str) -> Request {
    Request::Attach {
        consumer: ConsumerId(consumer),
        protocol: "stomp",
        client_id: name.to_owned(),
        clean_start: true,
        expiry: Duration::ZERO,
        credit: 1,
        settlement: Settlement::Automatic,
        will: None,
    }
}

fn detach(consumer: u32, expiry: Option<Duration>, saved: &str) -> Request {
    let (will, saved) = (WillAction::Discard, saved.as_bytes().to_vec());
    Request::Detach { consumer: ConsumerId(consumer), will, expiry, saved }
}

fn unsubscribe(filter: &str) -> Request {
    Request::Unsubscribe { consumer: ConsumerId(0), share: None, filter: filter.to_owned() }
}

/// What the broker says of a session that an earlier connection left behind.
fn known(filter: &str) -> Attached {
    Attached { present: true, saved: vec![filter.as_bytes().to_vec()], expiry: WEEK, is_durable: false }
}

/// A machine that holds the durable subscription `s` to `/topic/a/#`; its requests and output have been taken.
fn holding() -> Harness {
    let mut harness = ann();
    harness.feed(SUBSCRIBE);
    harness.take_output();
    harness.take_requests();
    harness
}

#[test]
fn a_durable_subscription_is_a_session_of_the_client_and_the_id_at_every_split() {
    let transcript = same_at_every_split(SUBSCRIBE.as_bytes(), ann);
    let expected = [attach(0, "3:anns", Settlement::Always), subscribe(0, "a/#", RetainedDelivery::WhenNew)];
    assert_eq!((&*transcript.requests, transcript.closed), (expected.as_slice(), None));
    assert_eq!(transcript.output, b"RECEIPT\nreceipt-id:r\n\n\0");
}

/// The header may be called as clients of RabbitMQ call it; `retained` and `ack` are obeyed as everywhere.
#[test]
fn headers_decide_how_it_is_subscribed() {
    let cases = [
        ("persistent:true\n", Settlement::Automatic, RetainedDelivery::WhenNew),
        ("durable:true\npersistent:false\nack:client\n", Settlement::Always, RetainedDelivery::WhenNew),
        ("durable:true\nretained:true\n", Settlement::Automatic, RetainedDelivery::Always),
        ("durable:true\nretained:false\n", Settlement::Automatic, RetainedDelivery::Never),
    ];
    for (headers, settlement, retained) in cases {
        let mut harness = ann();
        harness.feed(format!("SUBSCRIBE\nid:s\ndestination:/topic/a\n{headers}\n\0"));
        let expected = [attach(0, "3:anns", settlement), subscribe(0, "a", retained)];
        assert_eq!(harness.take_requests(), expected, "{headers:?}");
    }
    for headers in ["durable:false\npersistent:true\n", "persistent:false\n"] {
        let mut harness = ann();
        harness.feed(format!("SUBSCRIBE\nid:s\ndestination:/topic/a\n{headers}\n\0"));
        assert!(matches!(harness.take_requests()[0], Request::Consume { .. }), "{headers:?}");
    }
}

#[test]
fn a_durable_subscription_needs_a_client_an_id_and_a_topic() {
    let expected = "a durable subscription belongs to a client: CONNECT must have the header `client-id`";
    for mut harness in [super::connected(), connected_as("", "0,0")] {
        harness.feed(SUBSCRIBE);
        assert!(expect_error(&mut harness, "invalid_header", expected).contains("\nreceipt-id:r\n"));
        assert_eq!(harness.take_requests(), []);
    }
    let mut harness = super::opening();
    harness.feed("CONNECT\nclient-id:ann\n\n\0");
    harness.take_output();
    harness.feed("SUBSCRIBE\ndestination:/topic/a\ndurable:true\n\n\0");
    let expected = "a durable subscription must have the header `id`";
    expect_error(&mut harness, "invalid_header", expected);
    for destination in ["/topic/$share/g/a", "/temp-queue/a"] {
        let mut harness = ann();
        harness.feed(format!("SUBSCRIBE\nid:s\ndestination:{destination}\ndurable:true\n\n\0"));
        let expected = "the header `durable` must be left out: only subscriptions to topics that are not shared are durable";
        expect_error(&mut harness, "invalid_header", expected);
    }
}

/// A named queue keeps its messages anyway.
#[test]
fn a_queue_is_subscribed_as_ever() {
    let mut harness = super::connected();
    harness.feed("SUBSCRIBE\nid:s\ndestination:/queue/a\ndurable:true\n\n\0");
    assert!(matches!(harness.take_requests()[0], Request::Consume { .. }));
    assert_eq!(harness.close_label(), None);
}

/// However a connection ends, its durable subscriptions wait for the next one, with their filters.
#[test]
fn every_end_keeps_the_subscription() {
    for frame in ["DISCONNECT\nreceipt:d\n\n\0", "NONSENSE\n\n\0"] {
        let mut harness = holding();
        harness.feed(frame);
        assert_eq!(harness.take_requests(), [detach(0, None, "a/#")], "{frame:?}");
    }
    for reason in [CloseReason::PeerClosed, CloseReason::ServerShutdown, CloseReason::QueueOverflow] {
        let mut harness = holding();
        harness.close(reason);
        assert_eq!(harness.take_requests(), [detach(0, None, "a/#")], "{reason:?}");
    }
}

#[test]
fn a_connection_that_is_taken_over_is_told() {
    let mut harness = holding();
    harness.close(CloseReason::SessionTakenOver);
    let expected = "another connection of this client has taken a durable subscription over";
    let frame = expect_error(&mut harness, "session_taken_over", expected);
    assert!(frame.contains("\nmessage:taken over\n"), "{frame}");
    assert_eq!(harness.take_requests(), [detach(0, None, "a/#")]);
}

#[test]
fn unsubscribe_keeps_or_deletes_as_it_says() {
    for (headers, expiry) in
        [("", None), ("durable:true\n", Some(Duration::ZERO)), ("persistent:true\n", Some(Duration::ZERO))]
    {
        let mut harness = holding();
        harness.feed(format!("UNSUBSCRIBE\nid:s\n{headers}receipt:u\n\n\0"));
        assert_eq!(harness.take_requests(), [detach(0, expiry, "a/#")]);
        assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:u\n\n^@"]);
        // The id is free again.
        harness.feed(SUBSCRIBE);
        assert_eq!(harness.take_requests()[0], attach(1, "3:anns", Settlement::Always));
        harness.close(CloseReason::PeerClosed);
        assert_eq!(harness.take_requests(), [detach(1, None, "a/#")]);
    }
}

/// What another connection left behind, or holds now, is deleted by its id; where there is nothing, nothing is to be done.
#[test]
fn a_subscription_that_is_not_held_here_is_deleted_by_its_id() {
    for is_late in [false, true] {
        let mut harness = ann();
        if is_late {
            harness.broker.attachments.push_back(Attachment::Later);
        }
        harness.feed("UNSUBSCRIBE\nid:s\ndurable:true\nreceipt:u\n\n\0SEND\ndestination:/topic/a\n\n\0");
        if is_late {
            assert_eq!((harness.take_output().len(), harness.broker.requests.len()), (0, 1));
            harness.reply(Ok(Attached { present: false, ..known("") }));
        }
        let requests = harness.take_requests();
        let expected = [claim_to_delete(0, "3:anns"), detach(0, Some(Duration::ZERO), "")];
        assert_eq!(requests[..2], expected, "late: {is_late}");
        assert_eq!(requests[2].published_topic(), Some("a"));
        assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:u\n\n^@"]);
    }
    let mut harness = ann();
    harness.broker.attachments.push_back(Attachment::Refused(Refusal::TooManySessions { limit: 1 }));
    harness.feed("UNSUBSCRIBE\nid:s\ndurable:true\nreceipt:u\n\n\0");
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:u\n\n^@"]);
    let mut harness = ann();
    harness.broker.attachments.push_back(Attachment::Refused(Refusal::NotAuthorized));
    harness.feed("UNSUBSCRIBE\nid:s\ndurable:true\nreceipt:u\n\n\0");
    expect_error(&mut harness, "not_authorized", "not authorized");
}

/// The id names what the connection has under it, durable or not; `durable:true` means nothing to a queue, with a `client-id` or without.
#[test]
fn a_subscription_that_is_not_durable_just_ends() {
    for destination in ["/topic/a", "/queue/a"] {
        let mut harness = super::connected();
        harness.feed(format!("SUBSCRIBE\nid:s\ndestination:{destination}\n\n\0"));
        harness.take_requests();
        harness.feed("UNSUBSCRIBE\nid:s\ndurable:true\n\n\0");
        assert_eq!(harness.take_requests(), [Request::Cancel(ConsumerId(0))]);
        assert_eq!(harness.close_label(), None);
    }
}

/// A subscription that comes back with another destination has that one only; the new filter comes first, so that nothing is missed
/// where it selects the same.
#[test]
fn another_destination_replaces_the_old_one() {
    let cases = [("a/#", vec![]), ("b/+", vec![unsubscribe("b/+")]), ("", vec![])];
    for (saved, replaced) in cases {
        let mut harness = ann();
        harness.broker.attachments.push_back(Attachment::Now(known(saved)));
        harness.feed(SUBSCRIBE);
        let requests = harness.take_requests();
        assert_eq!(requests[1], subscribe(0, "a/#", RetainedDelivery::WhenNew));
        assert_eq!(requests[2..], replaced, "{saved:?}");
        harness.close(CloseReason::PeerClosed);
        assert_eq!(harness.take_requests(), [detach(0, None, "a/#")]);
    }
}

/// What may not be subscribed leaves nothing new behind, and what was there as it was.
#[test]
fn a_refused_filter_changes_nothing() {
    for (attached, left) in [
        (Attached { present: false, ..known("") }, detach(0, Some(Duration::ZERO), "")),
        (known("b"), detach(0, None, "b")),
    ] {
        let mut harness = ann();
        harness.broker.attachments.push_back(Attachment::Now(attached));
        harness.broker.subscribed.push_back(Err(Refusal::NotAuthorized));
        harness.feed(SUBSCRIBE);
        let frame = expect_error(&mut harness, "not_authorized", "not authorized");
        assert!(frame.contains("\nreceipt-id:r\n"), "{frame}");
        assert_eq!(harness.take_requests()[2..], [left]);
    }
}

/// [STOMP-1.2/RECEIPT]: while another worker gives the session up no further frame is handled, so receipts stay in order.
#[test]
fn frames_wait_behind_a_session_that_comes_later() {
    let mut harness = ann();
    harness.broker.attachments.push_back(Attachment::Later);
    harness.feed(SUBSCRIBE);
    harness.feed("SEND\ndestination:/topic/x\nreceipt:2\n\n\0");
    assert_eq!(harness.take_output(), b"");
    assert_eq!(harness.take_requests(), [attach(0, "3:anns", Settlement::Always)]);
    harness.reply(Ok(known("a/#")));
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:r\n\n^@", "RECEIPT\nreceipt-id:2\n\n^@"]);
    let requests = harness.take_requests();
    assert_eq!(requests[0], subscribe(0, "a/#", RetainedDelivery::WhenNew));
    assert_eq!(requests[1].published_topic(), Some("x"));
    harness.deliver(&parcel("a/b", "x").at_least_once(3).redelivered().attempt(2)).unwrap();
    assert!(frames(&mut harness)[0].contains("\nredelivered:true\n"));
}

#[test]
fn a_session_that_is_refused_later_ends_the_connection() {
    let mut harness = ann();
    harness.broker.attachments.push_back(Attachment::Later);
    harness.feed(SUBSCRIBE);
    harness.reply(Err(Refusal::NotAuthorized));
    let frame = expect_error(&mut harness, "not_authorized", "not authorized");
    assert!(frame.contains("\nreceipt-id:r\n"), "{frame}");
}

/// A connection that ends while it waits has nothing to give back.
#[test]
fn an_end_while_the_session_is_awaited_is_no_detachment() {
    let mut harness = ann();
    harness.broker.attachments.push_back(Attachment::Later);
    harness.feed(SUBSCRIBE);
    harness.take_requests();
    harness.close(CloseReason::PeerClosed);
    assert_eq!(harness.take_requests(), []);
}

/// [STOMP-1.2/Heart-beating]: what the peer sends meanwhile is read later, so its silence does not count; our own beats go on.
#[test]
fn nobody_is_silent_while_a_session_is_awaited() {
    let mut harness = connected_as("ann", "1000,1000");
    harness.broker.attachments.push_back(Attachment::Later);
    harness.feed(SUBSCRIBE);
    harness.advance(Duration::from_secs(30));
    assert_eq!(harness.close_label(), None);
    assert!(harness.take_output().len() >= 30);
    harness.reply(Ok(known("a/#")));
    harness.take_output();
    harness.advance(Duration::from_millis(1900));
    assert_eq!(harness.close_label(), None);
    harness.advance(Duration::from_millis(200));
    assert_eq!(harness.close_label(), Some("keep_alive_timeout"));
}

/// A NACK puts the message back, because it waits for nobody else.
#[test]
fn a_nack_puts_back_what_does_not_say_otherwise() {
    for (requeue, outcome) in [
        ("", Outcome::Released),
        ("requeue:true\n", Outcome::Released),
        ("requeue:false\n", Outcome::Rejected),
    ] {
        let mut harness = holding();
        harness.deliver(&parcel("a/b", "x").at_least_once(5)).unwrap();
        harness.feed(format!("NACK\nid:0-5\n{requeue}\n\0"));
        let settle = Request::Settle { consumer: ConsumerId(0), tag: DeliveryTag(5), outcome };
        assert_eq!(harness.take_requests(), [settle]);
    }
}

/// [STOMP-1.0/Connecting]: what is padding in 1.0 does not belong to the client's name.
#[test]
fn a_client_of_1_0_has_the_same_name() {
    let mut harness = super::opening();
    harness.feed("CONNECT\nclient-id: ann\n\n\0");
    harness.feed(SUBSCRIBE);
    assert_eq!(harness.take_requests()[0], attach(0, "3:anns", Settlement::Always));
}

/// The option `durable_expiry`.
#[test]
fn the_listener_says_how_long_it_lasts() {
    let minute = TimeSpan::from_milliseconds(60_000);
    let mut harness = opening_with(StompOptions { durable_expiry: minute, ..StompOptions::default() });
    harness.feed("CONNECT\naccept-version:1.2\nclient-id:ann\n\n\0");
    harness.feed(SUBSCRIBE);
    let requests = harness.take_requests();
    let Request::Attach { expiry, .. } = requests[0] else { panic!("{requests:?}") };
    assert_eq!(expiry, minute.duration());
}

//! Asking for answers, waiting for them, and answering.

use super::{connected, connected_with, expect_error, frames};
use crate::StompOptions;
use tidegate_message::{Properties, QoS};
use tidegate_protocol::{ConsumerId, Refusal, RetainedDelivery, Settlement};
use tidegate_testkit::script::{Harness, Request, parcel, same_at_every_split};

/// A question that wants its answer at `/temp-queue/a`.
const QUESTION: &str = "SEND\ndestination:/topic/q\nreply-to:/temp-queue/a\ncorrelation-id:7\n\nx\0";

fn waiting(consumer: u32) -> [Request; 2] {
    let (consumer, settlement) = (ConsumerId(consumer), Settlement::Automatic);
    let subscribe = Request::Subscribe {
        consumer,
        share: None,
        filter: "$reply/own/a".to_owned(),
        qos_max: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        subscription_id: None,
        retained: RetainedDelivery::Never,
    };
    [Request::Consume { consumer, credit: 1, settlement }, subscribe]
}

fn reply_to(request: &Request) -> Option<&str> {
    match request {
        Request::Publish { properties, .. } => properties.as_ref()?.reply_to.as_deref(),
        _ => None,
    }
}

fn subscriptions(harness: &mut Harness) -> usize {
    let requests = harness.take_requests();
    requests.iter().filter(|request| matches!(request, Request::Subscribe { .. })).count()
}

/// What clients of RabbitMQ expect: whoever asks is subscribed to the answers before the question leaves, once.
#[test]
fn a_question_opens_a_subscription_to_its_answers_at_every_split() {
    let transcript = same_at_every_split(format!("{QUESTION}{QUESTION}").as_bytes(), connected);
    let requests = transcript.requests;
    assert_eq!((requests.len(), &requests[0], &requests[1..3]), (5, &Request::ReplyPrefix, &waiting(0)[..]));
    assert_eq!([reply_to(&requests[3]), reply_to(&requests[4])], [Some("$reply/own/a"); 2]);
    assert_eq!((transcript.output.len(), transcript.closed), (0, None));
}

/// The answer comes from where it was asked for, under the subscription of that name.
#[test]
fn an_answer_comes_under_the_name_of_its_queue() {
    let mut harness = connected();
    harness.feed(QUESTION);
    harness.deliver(&parcel("$reply/own/a", "y")).unwrap();
    let expected = "MESSAGE\nsubscription:/temp-queue/a\nmessage-id:0\ndestination:/temp-queue/a\nqos:0\n";
    assert!(frames(&mut harness)[0].starts_with(expected));
    harness.feed("UNSUBSCRIBE\nid:/temp-queue/a\n\n\0");
    assert_eq!(harness.take_requests().last(), Some(&Request::Cancel(ConsumerId(0))));
    harness.feed(QUESTION);
    assert_eq!(subscriptions(&mut harness), 1, "it begins anew");
}

/// A client that subscribes itself, as those of ActiveMQ do, gets no second subscription while it has one.
#[test]
fn own_subscriptions_to_a_temporary_queue_are_enough() {
    let mut harness = connected();
    for id in [1, 2] {
        harness.feed(format!("SUBSCRIBE\nid:{id}\ndestination:/temp-queue/a\nack:client\n\n\0"));
    }
    assert_eq!(subscriptions(&mut harness), 2);
    for id in [1, 2] {
        harness.feed(QUESTION);
        assert_eq!(subscriptions(&mut harness), 0);
        harness.feed(format!("UNSUBSCRIBE\nid:{id}\n\n\0"));
    }
    harness.feed(QUESTION);
    assert_eq!((subscriptions(&mut harness), harness.closed()), (1, None));
}

/// Whoever answers sees an address to which it can send, and so does an observer that asked itself.
#[test]
fn a_reply_to_is_shown_as_an_address_to_send_to() {
    let mut harness = connected();
    harness.feed("SUBSCRIBE\nid:s\ndestination:/topic/q\n\n\0");
    harness.feed(QUESTION);
    for (canonical, shown) in [("$reply/t/b", "/reply-queue/t/b"), ("$reply/own/a", "/reply-queue/own/a")] {
        let properties = Properties { reply_to: Some(canonical.into()), ..Properties::default() };
        harness.deliver(&parcel("q", "x").properties(properties)).unwrap();
        assert!(frames(&mut harness)[0].contains(&format!("\nreply-to:{shown}\n")));
        harness.take_requests();
        harness.feed(format!("SEND\ndestination:{shown}\n\ny\0"));
        assert_eq!(harness.take_requests()[0].published_topic(), Some(canonical));
    }
}

/// Nobody but the owner waits at an address, and nothing is retained there.
#[test]
fn what_cannot_be_done_with_an_address_is_refused() {
    for (frame, label, text) in [
        (
            "SUBSCRIBE\nid:1\ndestination:/reply-queue/t/a\n\n\0",
            "invalid_destination",
            "a reply address of another connection cannot be subscribed to",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:/temp-queue/#\n\n\0",
            "invalid_destination",
            "wildcards are for subscriptions to topics",
        ),
        (
            "SEND\ndestination:/reply-queue/t/a\nretain:true\n\nx\0",
            "invalid_header",
            "the header `retain` must be left out: only topics retain",
        ),
        (
            "SEND\ndestination:/topic/a\nreply-to:/temp-queue/\n\nx\0",
            "invalid_header",
            "the header `reply-to` must be a destination to which a message can be sent",
        ),
    ] {
        let mut harness = connected();
        harness.feed(frame);
        expect_error(&mut harness, label, text);
    }
    let mut harness = connected();
    harness.broker.reply_prefixes.push_back(Err(Refusal::NoRandom));
    harness.feed("SUBSCRIBE\nid:1\ndestination:/temp-queue/a\n\n\0");
    expect_error(&mut harness, "refused", "the system gives no random bytes");
}

/// The subscription that a question opens counts like any other, and a question that cannot be answered is not sent.
#[test]
fn a_question_whose_answers_cannot_be_awaited_is_refused() {
    let mut harness = connected_with(StompOptions { max_subscriptions: 1, ..StompOptions::default() });
    harness.feed(format!("{QUESTION}{}", QUESTION.replace("/temp-queue/a", "/temp-queue/b")));
    let text = "the connection has 1 subscriptions, which is the limit";
    expect_error(&mut harness, "too_many_subscriptions", text);
    assert_eq!(harness.take_requests().iter().filter_map(Request::published_topic).count(), 1);
    let mut harness = connected();
    harness.feed(format!("SUBSCRIBE\nid:/temp-queue/a\ndestination:/topic/x\n\n\0{QUESTION}"));
    let text = "the connection has a subscription with this id already";
    expect_error(&mut harness, "invalid_subscription", text);
}

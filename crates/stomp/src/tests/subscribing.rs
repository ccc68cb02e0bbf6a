//! SUBSCRIBE and UNSUBSCRIBE.

use super::{connected, connected_with, expect_error, frames, subscribe};
use crate::StompOptions;
use tidegate_protocol::{ConsumerId, Refusal, RetainedDelivery, Settlement};
use tidegate_testkit::script::{Request, same_at_every_split};

fn consume(consumer: u32, credit: u32, settlement: Settlement) -> Request {
    Request::Consume { consumer: ConsumerId(consumer), credit, settlement }
}

/// [STOMP-1.2/SUBSCRIBE]
#[test]
fn each_subscription_is_a_consumer_with_one_filter_at_every_split() {
    let bytes = b"SUBSCRIBE\nid:0\ndestination:/topic/a/+/#\nreceipt:r\n\n\0\
                  SUBSCRIBE\nid:1\ndestination:/topic/b\nack:client\n\n\0";
    let transcript = same_at_every_split(bytes, connected);
    assert_eq!(
        transcript.requests,
        [
            consume(0, 100, Settlement::Automatic),
            subscribe(0, "a/+/#", RetainedDelivery::Always),
            consume(1, 100, Settlement::Always),
            subscribe(1, "b", RetainedDelivery::Always),
        ]
    );
    assert_eq!(transcript.output, b"RECEIPT\nreceipt-id:r\n\n\0");
    assert_eq!(transcript.closed, None);
}

/// [STOMP-1.2/SUBSCRIBE]: server specific headers customise the delivery.
#[test]
fn prefetch_count_and_retained_are_obeyed_within_the_limit() {
    let cases = [
        (
            "ack:client-individual\nprefetch-count:7\n",
            consume(0, 7, Settlement::Always),
            RetainedDelivery::Always,
        ),
        (
            "prefetch-count:4000000000\nretained:false\n",
            consume(0, 1_000, Settlement::Automatic),
            RetainedDelivery::Never,
        ),
        (
            "ack:auto\nretained:true\ndurable:false\n",
            consume(0, 100, Settlement::Automatic),
            RetainedDelivery::Always,
        ),
    ];
    for (headers, consume, retained) in cases {
        let mut harness = connected();
        harness.feed(format!("SUBSCRIBE\nid:0\ndestination:/topic/a\n{headers}\n\0"));
        assert_eq!(harness.take_requests(), [consume, subscribe(0, "a", retained)], "{headers:?}");
    }
}

/// Several consumers share a queue, or what a topic filter selects; neither has retained messages.
#[test]
fn queues_and_shared_subscriptions_are_subscribed_to_by_their_names() {
    for (destination, share, filter) in
        [("/queue/orders", None, "$queue/orders"), ("/topic/$share/g/a/#", Some("g"), "a/#")]
    {
        let mut harness = connected();
        harness.feed(format!("SUBSCRIBE\nid:0\ndestination:{destination}\nretained:false\n\n\0"));
        let mut expected = subscribe(0, filter, RetainedDelivery::Never);
        if let Request::Subscribe { share: group, .. } = &mut expected {
            *group = share.map(str::to_owned);
        }
        assert_eq!(harness.take_requests()[1..], [expected]);
    }
}

/// [STOMP-1.2/SUBSCRIBE]: a subscription that cannot be created is answered with ERROR, and the connection closes.
#[test]
fn a_subscribe_that_makes_no_sense_is_refused() {
    let destination = "the destination must begin with /topic/, /queue/, /temp-queue/ or /reply-queue/";
    let long = format!("id:{}\ndestination:/topic/a\n", "x".repeat(256));
    let cases = [
        ("destination:/topic/a\n", "invalid_header", "SUBSCRIBE must have the header `id`"),
        ("id:0\n", "invalid_header", "SUBSCRIBE must have the header `destination`"),
        (&*long, "invalid_header", "the header `id` must be at most 255 bytes"),
        ("id:0\ndestination:/exchange/a\n", "invalid_destination", destination),
        ("id:0\ndestination:/queue/+\n", "invalid_destination", "wildcards are for subscriptions to topics"),
        (
            "id:0\ndestination:/queue/a\nretained:true\n",
            "invalid_header",
            "the header `retained` must be left out: only topics that are not shared have retained messages",
        ),
        (
            "id:0\ndestination:/topic/a+\n",
            "invalid_destination",
            "the destination's topic is not valid: a wildcard must stand alone in its level",
        ),
        (
            "id:0\ndestination:/topic/a\nack:no\n",
            "invalid_header",
            "the header `ack` must be `auto`, `client` or `client-individual`",
        ),
        (
            "id:0\ndestination:/topic/a\nprefetch-count:0\n",
            "invalid_header",
            "the header `prefetch-count` must be a whole number above 0",
        ),
        ("id:0\ndestination:/topic/a\nselector:a=1\n", "not_supported", "selectors are not supported yet"),
        (
            "id:0\ndestination:/topic/a\ndurable:yes\n",
            "invalid_header",
            "the header `durable` must be `true` or `false`",
        ),
    ];
    for (headers, label, text) in cases {
        let mut harness = connected();
        harness.feed(format!("SUBSCRIBE\n{headers}\n\0"));
        expect_error(&mut harness, label, text);
        assert_eq!(harness.take_requests(), []);
    }
}

/// [STOMP-1.2/SUBSCRIBE id Header]
#[test]
fn a_duplicate_subscription_id_is_refused() {
    let mut harness = connected();
    harness.feed("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0SUBSCRIBE\nid:0\ndestination:/topic/b\n\n\0");
    expect_error(
        &mut harness,
        "invalid_subscription",
        "the connection has a subscription with this id already",
    );
}

/// [STOMP-1.2/Conformance]: The option `max_subscriptions`.
#[test]
fn subscriptions_are_limited() {
    let mut harness = connected_with(StompOptions { max_subscriptions: 1, ..StompOptions::default() });
    harness.feed("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0SUBSCRIBE\nid:1\ndestination:/topic/b\n\n\0");
    expect_error(
        &mut harness,
        "too_many_subscriptions",
        "the connection has 1 subscriptions, which is the limit",
    );
}

/// [STOMP-1.2/SUBSCRIBE]: what the broker refuses leaves no consumer behind.
#[test]
fn a_refused_subscription_is_cancelled() {
    let mut harness = connected();
    harness.broker.subscribed.push_back(Err(Refusal::TooManyLevels { levels: 2, limit: 1 }));
    harness.feed("SUBSCRIBE\nid:0\ndestination:/topic/a/b\n\n\0");
    expect_error(&mut harness, "refused", "the topic has 2 levels; the limit is 1");
    assert_eq!(harness.take_requests().last(), Some(&Request::Cancel(ConsumerId(0))));
    let mut harness = connected();
    harness.broker.consumed.push_back(Err(Refusal::QueueFull));
    harness.feed("SUBSCRIBE\nid:0\ndestination:/topic/a/b\n\n\0");
    expect_error(&mut harness, "refused", "there is no room left in the queues");
}

/// [STOMP-1.2/UNSUBSCRIBE]
#[test]
fn unsubscribe_ends_the_consumer_and_frees_the_id() {
    let mut harness = connected();
    harness.feed("SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0UNSUBSCRIBE\nid:0\nreceipt:u\n\n\0");
    harness.feed("SUBSCRIBE\nid:0\ndestination:/topic/b\n\n\0");
    let requests = harness.take_requests();
    assert_eq!(
        requests[2..],
        [
            Request::Cancel(ConsumerId(0)),
            consume(1, 100, Settlement::Automatic),
            subscribe(1, "b", RetainedDelivery::Always)
        ]
    );
    assert_eq!(frames(&mut harness), ["RECEIPT\nreceipt-id:u\n\n^@"]);
}

/// [STOMP-1.2/UNSUBSCRIBE]: the id must be one of an existing subscription.
#[test]
fn unsubscribe_of_nothing_is_refused() {
    let mut harness = connected();
    harness.feed("UNSUBSCRIBE\nid:0\n\n\0");
    expect_error(&mut harness, "invalid_subscription", "the connection has no subscription with this id");
    let mut harness = connected();
    harness.feed("UNSUBSCRIBE\n\n\0");
    expect_error(&mut harness, "invalid_header", "UNSUBSCRIBE must have the header `id`");
}

//! Destinations in the dot form and below the root of a virtual host.

use super::{CONNECT, expect_error, frames, opening_with};
use crate::{StompOptions, TopicSeparator, VirtualHost};
use tidegate_message::Properties;
use tidegate_protocol::{Encoded, Refused};
use tidegate_testkit::script::{Harness, Request, parcel};

fn dots() -> StompOptions {
    StompOptions { topic_separator: TopicSeparator::Dot, ..StompOptions::default() }
}

fn hosts() -> StompOptions {
    let host = |host: &str, root: &str| VirtualHost { host: host.to_owned(), root: root.to_owned() };
    StompOptions {
        virtual_hosts: vec![host("one", "plant/1"), host("two", "plant/2")],
        ..StompOptions::default()
    }
}

/// A client that is in, with a subscription `s` to this destination.
fn subscribed(options: StompOptions, host: &str, destination: &str) -> Harness {
    let mut harness = opening_with(options);
    harness.feed(format!(
        "CONNECT\naccept-version:1.2\n{host}\n\0SUBSCRIBE\nid:s\ndestination:{destination}\n\n\0"
    ));
    assert_eq!(harness.closed(), None);
    harness.take_output();
    harness
}

fn filter(harness: &mut Harness) -> String {
    match harness.take_requests().pop() {
        Some(Request::Subscribe { filter, .. }) => filter,
        other => panic!("{other:?}"),
    }
}

fn with_reply_to(topic: &str, reply_to: &str) -> tidegate_testkit::script::Parcel {
    parcel(topic, "x").properties(Properties { reply_to: Some(reply_to.into()), ..Properties::default() })
}

/// Clients that come from RabbitMQ write dots; the address space is the same.
#[test]
fn dots_stand_for_slashes_in_every_frame() {
    let mut harness = subscribed(dots(), "host:x\n", "/topic/plant.*.#");
    assert_eq!(filter(&mut harness), "plant/+/#");
    harness.feed("SEND\ndestination:/topic/plant.7/8.on\nreply-to:/topic/answers.7\n\nx\0");
    let requests = harness.take_requests();
    assert_eq!(requests[0].published_topic(), Some("plant/7.8/on"));
    let Request::Publish { properties: Some(properties), .. } = &requests[0] else { panic!("{requests:?}") };
    assert_eq!(properties.reply_to.as_deref(), Some("answers/7"));
    harness.deliver(&with_reply_to("plant/7.8/o:n", "answers/7")).unwrap();
    let frame = frames(&mut harness).remove(0);
    assert!(frame.contains("\ndestination:/topic/plant.7/8.o\\cn\n"), "{frame}");
    assert!(frame.contains("\nreply-to:/topic/answers.7\n"), "{frame}");
}

/// Receivers that write names differently do not get each other's bytes.
#[test]
fn a_fan_out_keeps_the_forms_apart() {
    let mut encoded = Encoded::default();
    encoded.start(true);
    let expected = [
        ("/topic/plant/1/a", ""),
        ("/topic/plant.1.a", ""),
        ("/topic/a", "host:one\n"),
        ("/topic/1/a", "host:two\n"),
    ];
    let mut two = hosts();
    two.virtual_hosts[1].root = "plant".to_owned();
    let options = [StompOptions::default(), dots(), hosts(), two];
    for ((destination, host), options) in expected.into_iter().zip(options) {
        let mut harness = subscribed(options, host, "/topic/#");
        harness.deliver_with(&parcel("plant/1/a", "x"), &mut encoded).unwrap();
        let frame = frames(&mut harness).remove(0);
        assert!(frame.contains(&format!("\ndestination:{destination}\n")), "{frame}");
    }
}

/// [STOMP-1.2/CONNECT or STOMP Frame]: `host` chooses what the client sees.
#[test]
fn a_virtual_host_is_all_that_its_clients_see() {
    let mut harness = subscribed(hosts(), "host:two\n", "/topic/#");
    assert_eq!(filter(&mut harness), "plant/2/#");
    harness.feed("SEND\ndestination:/topic/a/b\n\nx\0SEND\ndestination:/queue/q\n\nx\0");
    let requests = harness.take_requests();
    let topics: Vec<_> = requests.iter().filter_map(Request::published_topic).collect();
    assert_eq!(topics, ["plant/2/a/b", "$queue/plant/2/q"]);
    harness.deliver(&with_reply_to("plant/2/a", "plant/2/answers")).unwrap();
    let frame = frames(&mut harness).remove(0);
    assert!(
        frame.contains("\ndestination:/topic/a\n") && frame.contains("\nreply-to:/topic/answers\n"),
        "{frame}"
    );
    for hidden in
        [with_reply_to("plant/2/a", "plant/1/answers"), parcel("plant/2", "x"), parcel("plant/1/a", "x")]
    {
        assert_eq!(harness.deliver(&hidden), Err(Refused::NotExpressible));
    }
    assert!(frames(&mut harness).is_empty());
}

/// A client that names no host, as those of STOMP 1.0, gets the first one.
#[test]
fn a_missing_host_is_the_first_one() {
    assert_eq!(filter(&mut subscribed(hosts(), "", "/topic/a")), "plant/1/a");
}

/// [STOMP-1.2/CONNECT or STOMP Frame]: where there are virtual hosts, no other will do.
#[test]
fn an_unknown_host_is_refused() {
    let mut harness = opening_with(hosts());
    harness.feed(CONNECT);
    let frame =
        expect_error(&mut harness, "unknown_host", "the listener has no virtual host of the name in `host`");
    assert!(frame.contains("\nmessage:unknown host\n"), "{frame}");
}

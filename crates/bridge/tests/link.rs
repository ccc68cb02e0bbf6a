//! Links on a gateway without listeners: what one of them publishes reaches the sessions of the others, and what is not settled comes again.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{
    Delivered, Event, Link, LinkError, LinkProtocol, LinkRefusal, Matched, PROTOCOL, Publishing,
};
use tidegate_broker::{AccessRules, Limits, QueuePolicies, TopicPolicies};
use tidegate_message::{Properties, QoS, TopicFilter};
use tidegate_net::{Inside, Running, Server, ServerOptions};
use tidegate_protocol::Outcome;
use tidegate_storage::{MemoryStorage, Storage};
use tokio::io::DuplexStream;
use tokio::time::timeout;

/// Nothing here takes long; a test that hangs should say so.
const PATIENCE: Duration = Duration::from_secs(20);

fn gateway(storage: Option<Arc<dyn Storage>>) -> Running {
    let options = ServerOptions {
        workers: 2,
        limits: Limits::default(),
        connections_max: 0,
        shutdown_timeout: Duration::from_secs(5),
        authenticator: None,
        // Nobody from outside may do anything; no rule is about the gateway's own parts.
        access: Some(Arc::new(AccessRules::default())),
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
        storage,
        skip_damaged: false,
        protocols: vec![PROTOCOL],
        listeners: Vec::new(),
    };
    Server::bind(options).unwrap().start().unwrap()
}

fn connect(inside: &Inside) -> Link<DuplexStream> {
    Link::new(inside.connect("test".into(), 0, Arc::new(LinkProtocol)).unwrap())
}

async fn attach(inside: &Inside, name: &str, filters: &[&str]) -> (Link<DuplexStream>, Vec<Delivered>) {
    let mut link = connect(inside);
    let filters: Vec<_> = filters
        .iter()
        .map(|filter| (TopicFilter::parse(filter.as_bytes()).unwrap(), QoS::ExactlyOnce))
        .collect();
    let mut early = Vec::new();
    timeout(PATIENCE, link.attach(name, 100, &filters, false, &mut early)).await.unwrap().unwrap();
    (link, early)
}

async fn next(link: &mut Link<DuplexStream>) -> Event {
    timeout(PATIENCE, link.inbox.next()).await.expect("an event comes").unwrap()
}

async fn next_delivered(link: &mut Link<DuplexStream>) -> Delivered {
    match next(link).await {
        Event::Delivered(delivered) => *delivered,
        other => panic!("{other:?}"),
    }
}

fn message(topic: &str, payload: &str) -> Publishing {
    Publishing {
        topic: Bytes::copy_from_slice(topic.as_bytes()),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expiry: None,
    }
}

async fn publish(
    link: &mut Link<DuplexStream>,
    ticket: u64,
    publishing: Publishing,
) -> Result<Matched, LinkRefusal> {
    link.outbox.publish(ticket, publishing);
    link.outbox.flush().await.unwrap();
    match next(link).await {
        Event::Published { ticket: answered, result } if answered == ticket => result,
        other => panic!("{other:?}"),
    }
}

/// Runs on a runtime of its own, as a bridge does.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn what_one_link_publishes_another_receives_with_everything_that_it_carries() {
    let gateway = gateway(None);
    let inside = gateway.inside();
    run(async {
        let (mut receiver, _) = attach(&inside, "central/0", &["plant/+/temperature"]).await;
        let mut sender = connect(&inside);
        let properties = Properties {
            content_type: Some("text/plain".into()),
            user: vec![("site".into(), "north".into()), ("site".into(), "south".into())],
            ..Properties::default()
        };
        let mut sent = message("plant/7/temperature", "21.5");
        sent.properties = Some(Box::new(properties.clone()));
        sent.expiry = Some(Duration::from_secs(3600));
        assert_eq!(publish(&mut sender, 5, sent).await, Ok(Matched(true)));
        assert_eq!(publish(&mut sender, 6, message("elsewhere", "x")).await, Ok(Matched(false)));
        let got = next_delivered(&mut receiver).await;
        assert_eq!((got.topic.as_str(), &got.payload[..]), ("plant/7/temperature", &b"21.5"[..]));
        assert_eq!((got.properties.as_deref(), got.qos), (Some(&properties), QoS::AtLeastOnce));
        let left = got.expires_at.unwrap() - Instant::now();
        assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3500), "{left:?}");
    });
    gateway.stop();
}

/// A frame larger than the pipe, and than any output buffer, comes through in both directions.
#[test]
fn a_large_message_comes_through_whole() {
    let gateway = gateway(None);
    let inside = gateway.inside();
    run(async {
        let (mut receiver, _) = attach(&inside, "central/0", &["#"]).await;
        let mut sender = connect(&inside);
        let text = "x".repeat(3 << 20);
        assert_eq!(publish(&mut sender, 1, message("large", &text)).await, Ok(Matched(true)));
        assert_eq!(next_delivered(&mut receiver).await.payload.len(), text.len());
    });
    gateway.stop();
}

#[test]
fn what_was_not_settled_comes_again_to_the_next_link_of_the_session_in_its_order() {
    let storage = Arc::new(MemoryStorage::new());
    let first = gateway(Some(storage.clone()));
    let inside = first.inside();
    let tags = std::cell::Cell::new([0; 3]);
    run(async {
        let (mut receiver, _) = attach(&inside, "central/0", &["t"]).await;
        let mut sender = connect(&inside);
        for (ticket, payload) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(publish(&mut sender, ticket, message("t", payload)).await, Ok(Matched(true)));
        }
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(next_delivered(&mut receiver).await.tag);
        }
        tags.set([seen[0].0, seen[1].0, seen[2].0]);
        receiver.outbox.settle(seen[0], Outcome::Accepted);
        receiver.outbox.flush().await.unwrap();
        drop(receiver);
        // The same process: the session is claimed by another link.
        let (mut receiver, mut again) = attach(&inside, "central/0", &["t"]).await;
        while again.len() < 2 {
            again.push(next_delivered(&mut receiver).await);
        }
        let payloads: Vec<_> = again.iter().map(|got| got.payload.clone()).collect();
        assert_eq!(payloads, ["b", "c"]);
        assert!(again.iter().all(|got| got.redelivered));
    });
    first.stop();
    // Another process, on what the first has left.
    let second = gateway(Some(Arc::new(storage.restart())));
    let inside = second.inside();
    run(async {
        let (mut receiver, mut again) = attach(&inside, "central/0", &["t"]).await;
        while again.len() < 2 {
            again.push(next_delivered(&mut receiver).await);
        }
        let seen: Vec<u64> = again.iter().map(|got| got.tag.0).collect();
        assert_eq!(seen, tags.get()[1..], "a delivery keeps its tag");
    });
    second.stop();
}

/// What was kept under a filter that is gone still comes; what is published from then on does not, in this process or the next.
#[test]
fn an_attachment_takes_away_the_filters_that_it_does_not_name() {
    let storage = Arc::new(MemoryStorage::new());
    let first = gateway(Some(storage.clone()));
    let inside = first.inside();
    run(async {
        let mut sender = connect(&inside);
        let (mut receiver, _) = attach(&inside, "central/0", &["#"]).await;
        assert_eq!(publish(&mut sender, 1, message("other", "kept")).await, Ok(Matched(true)));
        // So that it is in the session, and not on its way there.
        assert_eq!(next_delivered(&mut receiver).await.payload, "kept");
        drop(receiver);
        let (mut receiver, mut got) = attach(&inside, "central/0", &["t"]).await;
        assert_eq!(publish(&mut sender, 2, message("other", "nobody")).await, Ok(Matched(false)));
        assert_eq!(publish(&mut sender, 3, message("t", "wanted")).await, Ok(Matched(true)));
        while got.len() < 2 {
            got.push(next_delivered(&mut receiver).await);
        }
        let payloads: Vec<_> = got.iter().map(|got| got.payload.clone()).collect();
        assert_eq!(payloads, ["kept", "wanted"]);
    });
    first.stop();
    let second = gateway(Some(Arc::new(storage.restart())));
    let inside = second.inside();
    run(async {
        let mut sender = connect(&inside);
        assert_eq!(publish(&mut sender, 1, message("other", "nobody")).await, Ok(Matched(false)));
        assert_eq!(publish(&mut sender, 2, message("t", "wanted")).await, Ok(Matched(true)));
    });
    second.stop();
}

#[test]
fn a_named_queue_that_an_attachment_does_not_name_is_left_to_others() {
    let gateway = gateway(None);
    let inside = gateway.inside();
    run(async {
        let mut sender = connect(&inside);
        drop(attach(&inside, "central/0", &["$queue/a"]).await);
        let (mut receiver, _) = attach(&inside, "central/0", &["$queue/b"]).await;
        for (ticket, topic) in [(1, "$queue/a"), (2, "$queue/a"), (3, "$queue/b")] {
            assert!(publish(&mut sender, ticket, message(topic, topic)).await.is_ok());
        }
        assert_eq!(next_delivered(&mut receiver).await.payload, "$queue/b");
        let (mut other, mut got) = attach(&inside, "other", &["$queue/a"]).await;
        while got.len() < 2 {
            got.push(next_delivered(&mut other).await);
        }
    });
    gateway.stop();
}

/// Where a filter cannot be had the others stay, so that nothing is missed until somebody has mended it.
#[test]
fn a_refused_filter_takes_no_other_away() {
    let gateway = gateway(None);
    let inside = gateway.inside();
    run(async {
        let mut sender = connect(&inside);
        drop(attach(&inside, "central/0", &["t"]).await);
        let mut receiver = connect(&inside);
        let reserved = [(TopicFilter::parse(b"$queue/").unwrap(), QoS::AtLeastOnce)];
        let mut early = Vec::new();
        let refused = timeout(PATIENCE, receiver.attach("central/0", 1, &reserved, false, &mut early));
        assert!(matches!(refused.await.unwrap(), Err(LinkError::Refused(_))));
        drop(receiver);
        assert_eq!(publish(&mut sender, 1, message("t", "waits")).await, Ok(Matched(true)));
    });
    gateway.stop();
}

#[test]
fn an_ended_session_is_forgotten_with_everything_in_it() {
    let gateway = gateway(None);
    let inside = gateway.inside();
    run(async {
        let (receiver, _) = attach(&inside, "central/0", &["t"]).await;
        drop(receiver);
        let mut sender = connect(&inside);
        assert_eq!(publish(&mut sender, 1, message("t", "waits")).await, Ok(Matched(true)));
        let (receiver, _) = attach(&inside, "central/0", &["t"]).await;
        timeout(PATIENCE, receiver.end()).await.unwrap().unwrap();
        assert_eq!(publish(&mut sender, 2, message("t", "nobody")).await, Ok(Matched(false)));
    });
    gateway.stop();
}

#[test]
fn what_cannot_be_had_is_refused_in_words() {
    let gateway = gateway(None);
    let inside = gateway.inside();
    run(async {
        let mut sender = connect(&inside);
        let refusal = publish(&mut sender, 1, message("no/+/topic", "x")).await.unwrap_err();
        assert!(!refusal.is_passing && refusal.text.contains('+'), "{refusal:?}");
        let mut receiver = connect(&inside);
        let reserved = [(TopicFilter::parse(b"$queue/").unwrap(), QoS::AtLeastOnce)];
        let refused =
            timeout(PATIENCE, receiver.attach("x", 1, &reserved, false, &mut Vec::new())).await.unwrap();
        assert!(matches!(refused, Err(LinkError::Refused(_))), "{refused:?}");
    });
    gateway.stop();
}

#[test]
fn a_gateway_that_stops_closes_its_links() {
    let gateway = gateway(None);
    let inside = gateway.inside();
    run(async {
        let (mut receiver, _) = attach(&inside, "central/0", &["t"]).await;
        let stopped = std::thread::spawn(move || gateway.stop());
        let end = timeout(PATIENCE, receiver.inbox.next()).await.expect("the link ends");
        assert!(matches!(end, Err(LinkError::Closed)), "{end:?}");
        stopped.join().unwrap();
        assert!(inside.connect("late".into(), 0, Arc::new(LinkProtocol)).is_none());
    });
}

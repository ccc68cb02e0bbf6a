//! A publisher that is answered when the upstream has confirmed its message.

use crate::forward;
use crate::toy::{Act, Toy};
use std::sync::Arc;
use tidegate_bridge::{BridgeState, Event, Link, LinkError, LinkRefusal, Publishing, Verdict};
use tidegate_bridging::{AtWork, Follower, PATIENCE, connect, gateway_with_topics, options, run};
use tidegate_broker::{TopicPolicies, TopicPolicy};
use tidegate_message::{QoS, TopicFilter};
use tidegate_net::Inside;
use tidegate_storage::MemoryStorage;
use tokio::io::DuplexStream;
use tokio::time::timeout;

/// A gateway that answers for `telemetry/#` when it is forwarded, with a bridge that forwards that and has a place for dead letters.
fn with_bridge<F: Future<Output = ()>>(test: impl FnOnce(Inside, Arc<Toy>, AtWork) -> F) {
    let topics = vec![TopicFilter::parse(b"telemetry/#").unwrap()];
    let policy = TopicPolicy { topics, awaits_forwards: true, ..TopicPolicy::default() };
    let gateway = gateway_with_topics(Arc::new(MemoryStorage::new()), TopicPolicies(vec![policy]));
    let (inside, toy) = (gateway.inside(), Toy::new(1));
    run(async {
        let mut forward = forward("telemetry/#");
        forward.dead_letter = Some("dead/central".to_owned());
        let bridge = AtWork::start(options(vec![forward], vec![]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        test(inside.clone(), toy, bridge).await;
    });
    gateway.stop();
}

fn device(inside: &Inside) -> Link<DuplexStream> {
    Link::new(connect(inside)().unwrap())
}

async fn publish(device: &mut Link<DuplexStream>, ticket: u64, topic: &'static str) {
    let (qos, retain, properties, expiry) = (QoS::AtLeastOnce, false, None, None);
    let publishing = Publishing { topic: topic.into(), payload: "x".into(), qos, retain, properties, expiry };
    device.outbox.publish(ticket, publishing);
    device.outbox.flush().await.unwrap();
}

async fn answer(device: &mut Link<DuplexStream>) -> Result<(u64, Result<(), LinkRefusal>), LinkError> {
    match timeout(PATIENCE, device.inbox.next()).await.expect("an answer comes")? {
        Event::Published { ticket, result } => Ok((ticket, result.map(drop))),
        other => panic!("{other:?}"),
    }
}

/// The upstream has the message and its confirmation is lost with the connection: what counts is what it says at last.
#[test]
fn it_waits_until_the_upstream_says_that_it_has_the_message() {
    with_bridge(async |inside, toy, bridge| {
        toy.with(|state| state.rule = Some(Box::new(|_| Act::Swallow)));
        let (mut device, mut other) = (device(&inside), self::device(&inside));
        publish(&mut device, 1, "telemetry/a").await;
        toy.until(|state| (state.arrived.len() == 1).then_some(())).await;
        publish(&mut other, 7, "elsewhere").await;
        assert_eq!(answer(&mut other).await.unwrap(), (7, Ok(())));
        assert!(device.inbox.take_ready().unwrap().is_none());
        toy.with(|state| (state.rule, state.is_cut) = (None, true));
        assert_eq!(answer(&mut device).await.unwrap(), (1, Ok(())));
        assert_eq!(toy.with(|state| state.arrived.len()), 2);
        bridge.stop().await;
    });
}

/// Its publisher is told, and it is a dead letter; nobody is to try again what will be refused again.
#[test]
fn what_the_upstream_refuses_for_good_is_refused() {
    with_bridge(async |inside, toy, bridge| {
        let verdict = Verdict::Never { label: "unroutable", reason: "no queue is bound".to_owned() };
        toy.with(|state| state.rule = Some(Box::new(move |_| Act::Say(verdict.clone()))));
        let mut dead = Follower::new(&inside, "dead/#").await;
        let mut device = device(&inside);
        publish(&mut device, 1, "telemetry/a").await;
        let (ticket, result) = answer(&mut device).await.unwrap();
        assert_eq!((ticket, result.unwrap_err().is_passing), (1, false));
        assert_eq!(dead.next().await.topic.as_str(), "dead/central");
        bridge.stop().await;
    });
}

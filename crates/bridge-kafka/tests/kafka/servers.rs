//! The same against real servers: two that are independent of each other, or the one that `KAFKA` names.

use crate::cluster::{audit, committed, read, until_committed, write};
use crate::gateway::{kafka, numbered, publish, start, start_with, target};
use crate::receiving::{Received, receive, source};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidegate_bridge::BridgeStatus;
use tidegate_bridging::{AtWork, Follower, with_gateway};
use tidegate_testkit::proxy::{FaultPlan, Proxy};
use tidegate_testkit::servers::{Kafka, KafkaServer};

#[test]
fn every_server_has_what_was_forwarded_in_order() {
    for kind in KafkaServer::under_test() {
        let (server, topic) = (Kafka::start(kind), Kafka::topic("plant"));
        let bootstrap = server.address().to_string();
        with_gateway(async |inside| {
            let bridge = start(kafka(&bootstrap, vec![target(&topic)]), Vec::new(), &inside);
            bridge.until_attached().await;
            publish(&inside, numbered(0..1000)).await;
            until_confirmed(&bridge, 1000).await;
            bridge.stop().await;
        });
        audit(&read(&bootstrap, &topic, 1000), 1000);
    }
}

async fn until_confirmed(bridge: &AtWork, count: u64) {
    let confirmed = |status: &BridgeStatus| status.forwards()[0].confirmed.load(Ordering::Relaxed) >= count;
    bridge.until_so("confirmed", confirmed).await;
}

/// The library's mock cluster cannot be relied on for it: it gives up where a member of a group is gone in the midst of a meeting. Tansu is left out: it
/// answers the first member of a group only after twenty seconds, each time.
#[test]
fn a_bridge_that_is_killed_goes_on_where_it_was() {
    const COUNT: usize = 3000;
    for kind in KafkaServer::under_test().into_iter().filter(|kind| *kind != KafkaServer::Tansu) {
        let (server, topic) = (Kafka::start(kind), Kafka::topic("commands"));
        let bootstrap = server.address().to_string();
        write(&bootstrap, &topic, 0..COUNT);
        with_gateway(async |inside| {
            let mut follower = Follower::new(&inside, "commands/#").await;
            let mut received = Received::default();
            for part in 1..4 {
                let bridge = start(source(&bootstrap, &topic), receive(), &inside);
                received.until(&mut follower, COUNT * part / 4).await;
                bridge.kill();
                assert!(committed(&bootstrap, &topic, "edge-1") <= COUNT as i64);
            }
            let bridge = start(source(&bootstrap, &topic), receive(), &inside);
            received.until(&mut follower, COUNT).await;
            until_committed(&bootstrap, &topic, COUNT).await;
            bridge.stop().await;
        });
    }
}

/// What is cut, stalled, slowed and swallowed on the way costs no message and no order. Servers that cannot tell their clients to come through the
/// proxy are left out. `TIDEGATE_FAULT_ROUNDS` and `TIDEGATE_FAULT_SEED` ask for more.
#[test]
fn a_bad_link_loses_nothing_and_changes_no_order() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("TIDEGATE_FAULT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("TIDEGATE_FAULT_ROUNDS").unwrap_or(4) as usize;
    println!("seed {seed}");
    for kind in KafkaServer::under_test().into_iter().filter(|kind| kind.can_be_behind()) {
        let proxy = Arc::new(Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))));
        let server = Kafka::start_behind(kind, proxy.address());
        proxy.set_upstream(server.address());
        let (topic, bootstrap) = (Kafka::topic("plant"), proxy.address().to_string());
        let count = 200 * rounds;
        with_gateway(async |inside| {
            let options = kafka(&bootstrap, vec![target(&topic)]);
            let bridge = start_with(options, Vec::new(), &inside, Duration::from_secs(2));
            bridge.until_attached().await;
            let plan = FaultPlan::seeded(seed).within(16 * 1024, Duration::from_millis(800));
            for (round, step) in plan.take(rounds).enumerate() {
                let suffering = proxy.clone();
                let fault =
                    tokio::task::spawn_blocking(move || suffering.suffer(&step, Duration::from_millis(500)));
                publish(&inside, numbered(round * 200..(round + 1) * 200)).await;
                fault.await.unwrap();
            }
            until_confirmed(&bridge, count as u64).await;
            bridge.stop().await;
        });
        let passed = proxy.counts().to_upstream;
        assert!(passed > 20 * count as u64, "the records took another way: {passed} bytes");
        audit(&read(&bootstrap, &topic, count), count);
    }
}

//! A backlog of which only the newest message of each topic is kept.

use crate::forward;
use crate::toy::{State, Toy};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tidegate_bridge::{BridgeState, BridgeStatus, ForwardOptions, Keep, PROTOCOL};
use tidegate_bridging::{AtWork, gateway, options, publish, run};
use tidegate_net::Running;
use tidegate_storage::MemoryStorage;

fn last_values() -> ForwardOptions {
    ForwardOptions { keep: Keep::Last, ..forward("telemetry/#") }
}

fn start(toy: &Arc<Toy>, gateway: &Running) -> AtWork {
    AtWork::start(options(vec![last_values()], vec![]), toy.clone(), &gateway.inside())
}

/// Numbers, dealt to so many topics.
fn dealt(topics: u64, numbers: std::ops::Range<u64>) -> impl Iterator<Item = (String, String)> {
    numbers.map(move |number| (format!("telemetry/{}", number % topics), number.to_string()))
}

/// What waits in the gateway and in the hands of the forward.
fn left(gateway: &Running) -> usize {
    gateway.node().backlog(PROTOCOL, "central.0").unwrap().messages
}

/// Waits until of so many messages no more than that is left.
async fn until_left(bridge: &AtWork, gateway: &Running, published: usize, messages: usize) {
    let superseded = |dropped: BTreeMap<&str, u64>| dropped.get("superseded").copied().unwrap_or(0) as usize;
    let is_so = |status: &BridgeStatus| {
        let there: usize = gateway.node().metrics().iter().map(|worker| superseded(worker.dropped())).sum();
        let left = left(gateway);
        left <= messages && left + there + superseded(status.forwards()[0].dropped()) >= published
    };
    bridge.until_so(&format!("down to {messages}"), is_so).await;
}

fn payloads(state: &State) -> Vec<u64> {
    state.arrived.iter().map(|(_, payload, ..)| payload.parse().unwrap()).collect()
}

/// With fewer topics than the forward may hold nothing else is left, also in the store: over a restart, and from then on.
#[test]
fn of_a_backlog_the_newest_message_of_each_topic_is_sent() {
    let storage = Arc::new(MemoryStorage::new());
    let toy = Toy::new(1);
    toy.with(|state| state.dead = vec![0]);
    let first = gateway(storage.clone());
    run(async {
        let bridge = start(&toy, &first);
        bridge.until_attached().await;
        publish(&first.inside(), dealt(3, 0..300)).await;
        until_left(&bridge, &first, 300, 3).await;
        bridge.stop().await;
    });
    let second = gateway(Arc::new(storage.crash()));
    let before = left(&second);
    run(async {
        let bridge = start(&toy, &second);
        bridge.until_attached().await;
        publish(&second.inside(), dealt(3, 300..302)).await;
        until_left(&bridge, &second, before + 2, 3).await;
        toy.with(|state| state.dead.clear());
        let arrived = toy.until(|state| (state.arrived.len() == 3).then(|| payloads(state))).await;
        assert_eq!(arrived, [299, 300, 301]);
        bridge.until(BridgeState::Live).await;
        // Nothing waits, so nothing gives way.
        publish(&second.inside(), dealt(1, 400..440)).await;
        let arrived = toy.until(|state| (state.arrived.len() == 43).then(|| payloads(state))).await;
        assert_eq!(arrived[3..], (400..440).collect::<Vec<_>>());
        bridge.stop().await;
    });
    first.stop();
    second.stop();
}

/// With more topics than the forward may hold, and more messages than a queue has in memory: what it holds is sent beside the last values, and these arrive
/// last.
#[test]
fn what_has_no_room_in_the_forward_is_reduced_in_the_gateway() {
    let gateway = gateway(Arc::new(MemoryStorage::new()));
    run(async {
        let toy = Toy::new(1);
        toy.with(|state| state.dead = vec![0]);
        let bridge = start(&toy, &gateway);
        bridge.until_attached().await;
        publish(&gateway.inside(), dealt(40, 0..2000)).await;
        until_left(&bridge, &gateway, 2000, 40 + 16).await;
        toy.with(|state| state.dead.clear());
        let newest = |state: &State| {
            let last: HashMap<u64, u64> =
                payloads(state).into_iter().map(|number| (number % 40, number)).collect();
            (last.len() == 40 && last.values().all(|number| *number >= 1960)).then(|| payloads(state))
        };
        let arrived = toy.until(newest).await;
        assert!(arrived.is_sorted() && arrived.len() <= 40 + 16, "{arrived:?}");
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
    gateway.stop();
}

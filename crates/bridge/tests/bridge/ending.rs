//! Connections and links that end: what was said before the end counts, and nothing comes twice that need not.

use crate::forward;
use crate::receiving::{incoming, receive};
use crate::toy::{Act, State, Toy};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tidegate_bridge::BridgeState;
use tidegate_bridging::{AtWork, Follower, gateway, options, publish, run, with_gateway};
use tidegate_storage::MemoryStorage;

async fn publish_numbers(inside: &tidegate_net::Inside, numbers: std::ops::Range<u64>) {
    publish(inside, numbers.map(|number| ("telemetry/a", number.to_string()))).await;
}

fn payloads(state: &State) -> Vec<u64> {
    state.arrived.iter().map(|(_, payload, ..)| payload.parse().unwrap()).collect()
}

async fn until_arrived(toy: &Toy, count: usize) {
    toy.until(|state| (state.arrived.len() >= count).then_some(())).await;
}

#[test]
fn what_the_upstream_confirms_while_a_bridge_ends_is_not_sent_again() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        toy.with(|state| state.rule = Some(Box::new(|_| Act::ConfirmAtEnd)));
        for round in 0..5 {
            let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
            bridge.until(BridgeState::Live).await;
            publish_numbers(&inside, 10 * round..10 * (round + 1)).await;
            until_arrived(&toy, 10 * (round as usize + 1)).await;
            bridge.stop().await;
        }
        assert_eq!(toy.with(|state| payloads(state)), (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn what_the_upstream_confirms_before_a_bridge_fails_back_is_not_sent_again() {
    with_gateway(async |inside| {
        let toy = Toy::new(2);
        toy.with(|state| {
            state.dead = vec![0];
            state.rule = Some(Box::new(|_| Act::ConfirmAtEnd));
        });
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until_attached().await;
        toy.until(|state| (state.connections.last() == Some(&1)).then_some(())).await;
        publish_numbers(&inside, 0..10).await;
        until_arrived(&toy, 10).await;
        toy.with(|state| state.dead.clear());
        bridge.until_so("back", |status| status.connection().address == "toy://0").await;
        bridge.until(BridgeState::Live).await;
        publish_numbers(&inside, 10..20).await;
        until_arrived(&toy, 20).await;
        bridge.stop().await;
        assert_eq!(toy.with(|state| payloads(state)), (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn what_the_upstream_has_confirmed_before_its_connection_breaks_is_not_sent_again() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let mut count = 0;
        toy.with(|state| {
            state.rule = Some(Box::new(move |_| {
                count += 1;
                if count % 8 == 0 { Act::Break } else { Act::Confirm }
            }));
        });
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        publish_numbers(&inside, 0..200).await;
        let is_last = |state: &State| payloads(state).last() == Some(&199);
        toy.until(|state| is_last(state).then_some(())).await;
        assert_eq!(toy.with(|state| payloads(state)), (0..200).collect::<Vec<_>>());
        bridge.stop().await;
    });
}

/// The disk takes its time, and the upstream is told all the same of what was on its way in when the bridge was told to end.
#[test]
fn what_is_kept_here_while_a_bridge_ends_is_acknowledged() {
    let storage = Arc::new(MemoryStorage::manual());
    let gateway = gateway(storage.clone());
    run(async {
        let (toy, inside) = (Toy::new(1), gateway.inside());
        let synced = async {
            loop {
                storage.sync_all();
                tokio::task::yield_now().await;
            }
        };
        let begun = async {
            drop(Follower::new(&inside, "commands/#").await);
            let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
            bridge.until(BridgeState::Live).await;
            bridge
        };
        let bridge = tokio::select! {
            bridge = begun => bridge,
            () = synced => unreachable!(),
        };
        toy.with(|state| state.outbound.extend((0..5).map(|n| incoming(n, &n.to_string(), None, None))));
        bridge.until_so("on its way in", |status| status.receives()[0].in_flight.load(Relaxed) == 5).await;
        let stopped = tokio::spawn(bridge.stop());
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(toy.with(|state| state.taken.len()), 0, "nothing is on the disk");
        while !stopped.is_finished() {
            storage.sync_all();
            tokio::task::yield_now().await;
        }
        stopped.await.unwrap();
        assert_eq!(toy.with(|state| state.taken.len()), 5);
    });
    // What it writes at its end has to be synced as well.
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| gateway.stop());
        while !stopped.is_finished() {
            storage.sync_all();
            std::thread::yield_now();
        }
    });
}

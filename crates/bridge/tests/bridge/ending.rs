//! Connections and links that end: what was said before the end counts, and nothing comes twice that need not.

use crate::forward;
use crate::receiving::{incoming, receive};
use crate::toy::{Act, State, Toy};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tidegate_bridge::{BridgeState, Connect};
use tidegate_bridging::{AtWork, Follower, PATIENCE, connect, gateway, options, publish, run, with_gateway};
use tidegate_storage::MemoryStorage;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

async fn publish_numbers(inside: &tidegate_net::Inside, numbers: std::ops::Range<u64>) {
    publish(inside, numbers.map(|number| ("telemetry/a", number.to_string()))).await;
}

fn payloads(state: &State) -> Vec<u64> {
    state.arrived.iter().map(|(_, payload, ..)| payload.parse().unwrap()).collect()
}

async fn until_arrived(toy: &Toy, count: usize) {
    toy.until(|state| (state.arrived.len() >= count).then_some(())).await;
}

/// Pipes into the gateway that a test can cut, and keep from being made.
#[derive(Default)]
struct Pipes {
    is_closed: AtomicBool,
    relays: Mutex<Vec<JoinHandle<()>>>,
}

impl Pipes {
    fn connect(self: &Arc<Self>, inside: &tidegate_net::Inside) -> Connect<DuplexStream> {
        let (pipes, real) = (self.clone(), connect(inside));
        Arc::new(move || {
            let mut far = (!pipes.is_closed.load(Relaxed)).then(|| real()).flatten()?;
            let (near, mut other) = tokio::io::duplex(1 << 16);
            let relay = async move { drop(tokio::io::copy_bidirectional(&mut far, &mut other).await) };
            pipes.relays.lock().unwrap().push(tokio::spawn(relay));
            Some(near)
        })
    }

    fn cut(&self) {
        self.is_closed.store(true, Relaxed);
        self.relays.lock().unwrap().drain(..).for_each(|relay| relay.abort());
    }

    fn mend(&self) {
        self.is_closed.store(false, Relaxed);
    }
}

/// An upstream that delivers before it is ready, and a link that is gone at the moment at which it is.
#[test]
fn what_was_kept_before_the_upstream_was_ready_is_acknowledged_behind_a_break_of_the_link() {
    with_gateway(async |inside| {
        let (toy, pipes) = (Toy::new(1), Arc::new(Pipes::default()));
        let _follower = Follower::new(&inside, "commands/#").await;
        toy.with(|state| {
            state.is_eager = true;
            state.outbound.extend((0..5).map(|n| incoming(n, &n.to_string(), None, None)));
        });
        let options = options(vec![], vec![receive("commands/a")]);
        let bridge = AtWork::start_with(PATIENCE, options, toy.clone(), pipes.connect(&inside));
        bridge.until_so("kept", |status| status.receives()[0].confirmed.load(Relaxed) == 5).await;
        pipes.cut();
        bridge.until_so("cut off", |status| !status.receives()[0].is_attached()).await;
        toy.with(|state| state.is_eager = false);
        bridge.until_so("ready", |status| status.connection().ready_since.is_some()).await;
        pipes.mend();
        toy.until(|state| (state.taken.len() == 5).then_some(())).await;
        assert_eq!(toy.with(|state| state.connections.len()), 1);
        bridge.stop().await;
    });
}

/// What a forward held comes again over its next link: until then the upstream owes no answer.
#[test]
fn a_broken_link_is_not_the_fault_of_the_upstream() {
    with_gateway(async |inside| {
        let (toy, pipes) = (Toy::new(1), Arc::new(Pipes::default()));
        toy.with(|state| state.rule = Some(Box::new(|_| Act::Swallow)));
        let mut options = options(vec![forward("telemetry/#")], vec![]);
        options.stalled_after = PATIENCE;
        let bridge = AtWork::start_with(PATIENCE, options, toy.clone(), pipes.connect(&inside));
        bridge.until(BridgeState::Live).await;
        publish_numbers(&inside, 0..3).await;
        until_arrived(&toy, 3).await;
        bridge.until_so("waiting", |status| status.forwards()[0].waiting_since().is_some()).await;
        pipes.cut();
        bridge.until_so("cut off", |status| !status.forwards()[0].is_attached()).await;
        let status = &bridge.status.forwards()[0];
        assert_eq!((status.waiting_since(), status.in_flight.load(Relaxed)), (None, 0));
        toy.with(|state| state.rule = None);
        pipes.mend();
        until_arrived(&toy, 6).await;
        assert_eq!(toy.with(|state| (payloads(state), state.connections.len())), (vec![0, 1, 2, 0, 1, 2], 1));
        bridge.stop().await;
    });
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

//! What a bridge says of itself while its upstream deceives it: it never looks healthy while nothing moves.

use crate::forward;
use crate::receiving::{incoming, receive};
use crate::toy::{Act, Toy};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate_bridge::{BridgeState, Connect, Verdict};
use tidegate_bridging::{AtWork, Follower, PATIENCE, connect, gateway, options, publish, run, with_gateway};
use tidegate_storage::{MemoryStorage, NoRoom};
use tokio::io::DuplexStream;

async fn publish_one(inside: &tidegate_net::Inside, payload: &str) {
    publish(inside, [("telemetry/a", payload.to_owned())]).await;
}

#[test]
fn an_upstream_that_lets_one_in_and_says_nothing_is_not_connected() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        toy.with(|state| state.is_dumb = true);
        let mut options = options(vec![forward("telemetry/#")], vec![]);
        options.connect_timeout = Duration::from_millis(20);
        let bridge = AtWork::start(options, toy.clone(), &inside);
        bridge.until_attached().await;
        toy.until(|state| (state.connections.len() >= 3).then_some(())).await;
        assert_eq!(bridge.status.state(Instant::now()), BridgeState::Connecting);
        let connection = bridge.status.connection();
        assert_eq!(connection.last_error.unwrap().text, "the upstream did not answer in time");
        assert_eq!((connection.answered_at, connection.ready_since), (None, None));
        bridge.stop().await;
    });
}

/// It answers whenever it is asked whether it is there, and what it is sent never comes to anything.
#[test]
fn an_upstream_that_swallows_confirms_is_stalled_although_it_answers_questions() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        toy.with(|state| state.rule = Some(Box::new(|_| Act::Swallow)));
        let mut options = options(vec![forward("telemetry/#")], vec![]);
        // Long enough for what follows; the state says so earlier.
        options.stalled_after = Duration::from_secs(20);
        let bridge = AtWork::start_with(Duration::from_millis(200), options, toy.clone(), connect(&inside));
        bridge.until(BridgeState::Live).await;
        publish_one(&inside, "1").await;
        bridge.until(BridgeState::Stalled).await;
        assert_eq!(toy.with(|state| state.connections.len()), 1, "the connection stands");
        let answered_at = bridge.status.connection().answered_at.unwrap();
        assert!(answered_at > bridge.status.forwards()[0].waiting_since().unwrap(), "it answers questions");
        // The next connection is no better, and does not look so for a moment.
        toy.with(|state| state.is_cut = true);
        toy.until(|state| (state.arrived.len() == 2).then_some(())).await;
        bridge.until(BridgeState::Stalled).await;
        toy.with(|state| (state.rule, state.is_cut) = (None, true));
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
}

/// What it has swallowed is sent again without anybody's help.
#[test]
fn a_connection_on_which_nothing_is_confirmed_is_given_up_although_the_upstream_answers() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        toy.with(|state| state.rule = Some(Box::new(|_| Act::Swallow)));
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        publish_one(&inside, "1").await;
        toy.until(|state| (state.arrived.len() == 3).then_some(())).await;
        toy.with(|state| state.rule = None);
        bridge.until(BridgeState::Live).await;
        toy.until(|state| (state.arrived.len() == 4).then_some(())).await;
        let why = bridge.status.connection().last_error.unwrap().text;
        assert_eq!(why, "the upstream answers, but confirms nothing");
        bridge.stop().await;
    });
}

#[test]
fn an_upstream_that_refuses_every_message_for_good_is_rejecting() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let refuse = || Act::Say(Verdict::Never { label: "not_authorised", reason: "not yours".to_owned() });
        toy.with(|state| state.rule = Some(Box::new(move |_| refuse())));
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        for number in 0..3 {
            publish_one(&inside, &number.to_string()).await;
        }
        bridge.until(BridgeState::Rejecting).await;
        let status = &bridge.status.forwards()[0];
        assert_eq!(status.problem().unwrap().text, "not yours");
        assert_eq!((status.refused().get("not_authorised"), status.dropped().len()), (Some(&3), 1));
        toy.with(|state| state.rule = None);
        publish_one(&inside, "taken").await;
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
}

/// A reconnection says nothing about whether messages are taken.
#[test]
fn an_upstream_that_takes_no_messages_now_is_rejecting_over_the_next_connection_too() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let refuse = || Act::Say(Verdict::NotNow("overloaded".to_owned()));
        toy.with(|state| state.rule = Some(Box::new(move |_| refuse())));
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        publish_one(&inside, "1").await;
        bridge.until(BridgeState::Rejecting).await;
        assert_eq!(bridge.status.forwards()[0].problem().unwrap().text, "overloaded");
        toy.with(|state| {
            state.rule = Some(Box::new(|_| Act::Swallow));
            state.is_cut = true;
        });
        toy.until(|state| (state.arrived.len() == 1).then_some(())).await;
        bridge.until(BridgeState::Rejecting).await;
        bridge.stop().await;
    });
}

#[test]
fn a_bridge_that_only_receives_is_live_as_long_as_its_upstream_answers() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        let before = bridge.status.connection().answered_at;
        let is_asked = async {
            while bridge.status.connection().answered_at == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, is_asked).await.expect("it is asked although it sends nothing");
        toy.with(|state| state.is_mute = true);
        bridge.until(BridgeState::Stalled).await;
        toy.with(|state| state.is_mute = false);
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
}

/// The upstream is well, and nothing comes in all the same.
#[test]
fn a_bridge_whose_gateway_takes_nothing_is_stalled() {
    let storage = Arc::new(MemoryStorage::new());
    let gateway = gateway(storage.clone());
    let inside = gateway.inside();
    run(async {
        let toy = Toy::new(1);
        let _follower = Follower::new(&inside, "commands/#").await;
        let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        storage.set_room(Err(NoRoom::Failing));
        toy.with(|state| state.outbound.push_back(incoming(1, "open", None, None)));
        bridge.until(BridgeState::Stalled).await;
        let problem = bridge.status.receives()[0].problem().unwrap();
        assert!(problem.text.starts_with("the gateway takes no messages now: "), "{problem:?}");
        storage.set_room(Ok(()));
        toy.until(|state| (state.taken.len() == 1).then_some(())).await;
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
    gateway.stop();
}

/// What connections that are gone have handed over does not keep the bridge from noticing what the next one says.
#[test]
fn a_receive_without_a_link_does_not_hold_up_its_bridge() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let (is_open, real) = (Arc::new(AtomicBool::new(false)), connect(&inside));
        let gate = is_open.clone();
        let connect: Connect<DuplexStream> =
            Arc::new(move || gate.load(Ordering::Relaxed).then(|| real()).flatten());
        let count = 1500;
        toy.with(|state| {
            state.outbound.extend((0..count).map(|number| incoming(number, &number.to_string(), None, None)));
        });
        let options = options(vec![], vec![receive("commands/a")]);
        let bridge = AtWork::start_with(Duration::from_secs(5), options, toy.clone(), connect);
        for round in 1..=4 {
            toy.until(|state| (state.connections.len() == round && state.outbound.is_empty()).then_some(()))
                .await;
            assert_eq!(bridge.status.state(Instant::now()), BridgeState::Connecting);
            toy.with(|state| state.is_cut = true);
        }
        is_open.store(true, Ordering::Relaxed);
        toy.until(|state| (state.taken.len() == count as usize).then_some(())).await;
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
}

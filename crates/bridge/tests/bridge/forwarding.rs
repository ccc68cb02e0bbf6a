//! From here to the upstream.

use crate::forward;
use crate::toy::{Act, Toy};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidegate_bridge::{
    BridgeState, BridgeStatus, ForwardOptions, ForwardOrder, GatewayClock, Outgoing, PATH_PROPERTY,
    PaceOptions, Verdict,
};
use tidegate_bridging::{
    AtWork, Follower, PATIENCE, gateway, options, property, publish, publish_for, publish_with, run,
    with_gateway,
};
use tidegate_net::Inside;
use tidegate_storage::{MemoryStorage, Storage};

const HOUR: Duration = Duration::from_secs(3600);

fn numbered(
    topic: &'static str,
    numbers: std::ops::Range<u64>,
) -> impl Iterator<Item = (&'static str, String)> {
    numbers.map(move |number| (topic, number.to_string()))
}

#[test]
fn what_is_published_arrives_in_order_with_its_id_and_path() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        publish(&inside, numbered("telemetry/a", 0..100)).await;
        let arrived = toy.until(|state| (state.arrived.len() == 100).then(|| state.arrived.clone())).await;
        let payloads: Vec<u64> = arrived.iter().map(|(_, payload, ..)| payload.parse().unwrap()).collect();
        assert_eq!(payloads, (0..100).collect::<Vec<_>>());
        let ids: HashSet<&str> = arrived.iter().map(|(_, _, id, _)| id.as_str()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.starts_with("edge-1/7/central.0/")), "{ids:?}");
        assert!(arrived.iter().all(|(.., is_repeated)| !is_repeated));
        assert_eq!(toy.with(|state| state.paths[0].clone()), "edge-1");
        bridge.stop().await;
    });
}

/// The connection breaks at any message, before and after the upstream has it: nothing is missing, the order is kept, and what comes twice has
/// the id that it had before.
#[test]
fn a_broken_connection_loses_nothing_and_repeats_under_the_same_id() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let mut count = 0;
        toy.with(|state| {
            state.rule = Some(Box::new(move |_| {
                count += 1;
                match count % 7 {
                    3 => Act::TakeAndBreak,
                    6 => Act::Break,
                    _ => Act::Confirm,
                }
            }));
        });
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        let topics = ["telemetry/a", "telemetry/b", "telemetry/c"];
        publish(&inside, (0..300_u64).map(|number| (topics[number as usize % 3], number.to_string()))).await;
        let is_complete = |arrived: &[(String, String, String, bool)]| {
            arrived.iter().map(|(_, payload, ..)| payload).collect::<HashSet<_>>().len() == 300
        };
        let arrived = toy.until(|state| is_complete(&state.arrived).then(|| state.arrived.clone())).await;
        let (mut ids, mut last) = (HashMap::new(), HashMap::new());
        for (topic, payload, id, is_repeated) in &arrived {
            let number: u64 = payload.parse().unwrap();
            match ids.insert(id, payload) {
                Some(before) => {
                    assert!(before == payload && *is_repeated, "{id} came as {before} and {payload}")
                }
                None => assert!(
                    last.insert(topic, number).is_none_or(|last| last < number),
                    "{topic} is out of order"
                ),
            }
        }
        assert_eq!(ids.len(), 300);
        bridge.stop().await;
    });
}

/// An upstream confirms much at once and is gone, and the forward has more to send: it must not ask for room where there will be none for ever, on the
/// thread on which the bridge is to find out. Where it does, nothing of that thread goes on, the time-outs of a test included.
#[test]
fn a_connection_that_ends_with_many_confirms_is_followed_by_another() {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        with_gateway(async |inside| {
            let toy = Toy::new(1);
            let mut count = 0;
            let rule = move |_: &Outgoing| {
                count += 1;
                match count {
                    ..500 => Act::ConfirmAtEnd,
                    500 => Act::ConfirmAllAndBreak,
                    _ => Act::Confirm,
                }
            };
            toy.with(|state| state.rule = Some(Box::new(rule)));
            let forward = ForwardOptions { in_flight_max: 1000, ..forward("telemetry/#") };
            let bridge = AtWork::start(options(vec![forward], vec![]), toy.clone(), &inside);
            bridge.until(BridgeState::Live).await;
            publish(&inside, numbered("telemetry/a", 0..1500)).await;
            toy.until(|state| (state.arrived.len() == 1500).then_some(())).await;
            bridge.stop().await;
            done.send(()).unwrap();
        });
    });
    ended.recv_timeout(PATIENCE).expect("the bridge goes on");
}

/// Neither the end of the bridge nor that of the gateway loses what has no verdict.
#[test]
fn what_has_no_verdict_when_the_gateway_dies_is_sent_after_its_restart() {
    let storage = Arc::new(MemoryStorage::new());
    let toy = Toy::new(1);
    toy.with(|state| state.rule = Some(Box::new(|_| Act::Swallow)));
    let first = gateway(storage.clone());
    run(async {
        let bridge =
            AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &first.inside());
        bridge.until(BridgeState::Live).await;
        publish(&first.inside(), numbered("telemetry/a", 0..40)).await;
        toy.until(|state| (state.arrived.len() >= 16).then_some(())).await;
        bridge.stop().await;
    });
    let before: Vec<String> = toy.with(|state| state.arrived.drain(..).map(|(_, _, id, _)| id).collect());
    // The process dies without a word; what the disk had is left.
    let second = gateway(Arc::new(storage.crash()));
    toy.with(|state| state.rule = None);
    run(async {
        let bridge =
            AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &second.inside());
        let arrived = toy.until(|state| (state.arrived.len() == 40).then(|| state.arrived.clone())).await;
        let payloads: Vec<u64> = arrived.iter().map(|(_, payload, ..)| payload.parse().unwrap()).collect();
        assert_eq!(payloads, (0..40).collect::<Vec<_>>());
        let ids: Vec<&String> = arrived.iter().map(|(_, _, id, _)| id).collect();
        assert!(before.iter().zip(ids).all(|(before, now)| before == now), "an id is kept over a restart");
        bridge.stop().await;
    });
    first.stop();
    second.stop();
}

#[test]
fn what_the_upstream_refuses_for_good_becomes_a_dead_letter_and_the_rest_goes_on() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        toy.with(|state| {
            state.rule = Some(Box::new(|outgoing| match &outgoing.payload[..] {
                b"3" => {
                    Act::Say(Verdict::Never { label: "unroutable", reason: "no queue is bound".to_owned() })
                }
                _ => Act::Confirm,
            }));
        });
        let mut dead = Follower::new(&inside, "dead/#").await;
        let mut forward = forward("telemetry/#");
        forward.dead_letter = Some("dead/central".to_owned());
        let bridge = AtWork::start(options(vec![forward], vec![]), toy.clone(), &inside);
        publish_when_live(&bridge, &inside, 0..6).await;
        let arrived = toy.until(|state| (state.arrived.len() == 5).then(|| state.arrived.clone())).await;
        let payloads: Vec<&str> = arrived.iter().map(|(_, payload, ..)| payload.as_str()).collect();
        assert_eq!(payloads, ["0", "1", "2", "4", "5"]);
        let letter = dead.next().await;
        assert_eq!((letter.topic.as_str(), &letter.payload[..]), ("dead/central", &b"3"[..]));
        let value = |name: &str| property(&letter, name);
        assert_eq!(value("tidegate-reason").as_deref(), Some("unroutable"));
        assert_eq!(value("tidegate-detail").as_deref(), Some("no queue is bound"));
        assert_eq!(value("tidegate-topic").as_deref(), Some("telemetry/a"));
        let dead_letters = |status: &tidegate_bridge::BridgeStatus| {
            status.forwards()[0].dead_letters.load(std::sync::atomic::Ordering::Relaxed)
        };
        bridge.until_so("counted", |status| dead_letters(status) == 1).await;
        let status = &bridge.status.forwards()[0];
        assert_eq!(status.refused().get("unroutable"), Some(&1));
        assert!(status.dropped().is_empty(), "it is not lost");
        bridge.stop().await;
    });
}

/// Nobody takes what is published there, so that nobody has it: that is a loss, and counts as one.
#[test]
fn a_dead_letter_that_nobody_takes_is_a_loss() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let refuse = || Act::Say(Verdict::Never { label: "too_large", reason: "by far".to_owned() });
        toy.with(|state| state.rule = Some(Box::new(move |_| refuse())));
        let mut forward = forward("telemetry/#");
        forward.dead_letter = Some("dead/central".to_owned());
        let bridge = AtWork::start(options(vec![forward], vec![]), toy.clone(), &inside);
        publish_when_live(&bridge, &inside, 0..2).await;
        let dropped = |status: &tidegate_bridge::BridgeStatus| status.forwards()[0].dropped();
        bridge.until_so("lost", |status| dropped(status).get("too_large") == Some(&2)).await;
        let status = &bridge.status.forwards()[0];
        assert_eq!(status.dead_letters.load(std::sync::atomic::Ordering::Relaxed), 0);
        let problem = status.problem().unwrap().text;
        assert_eq!(problem, "a dead letter is lost: nobody takes what is published there");
        bridge.stop().await;
    });
}

async fn publish_when_live(bridge: &AtWork, inside: &tidegate_net::Inside, numbers: std::ops::Range<u64>) {
    bridge.until(BridgeState::Live).await;
    publish(inside, numbered("telemetry/a", numbers)).await;
}

/// "Not now" is tried again after a pause, in front of what came later, and the state says why nothing moves.
#[test]
fn what_the_upstream_cannot_take_now_is_tried_again() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let refuse = || Act::Say(Verdict::NotNow("overloaded".to_owned()));
        toy.with(|state| state.rule = Some(Box::new(move |_| refuse())));
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        publish_when_live(&bridge, &inside, 0..30).await;
        bridge.until(BridgeState::Rejecting).await;
        toy.with(|state| state.rule = None);
        let arrived = toy.until(|state| (state.arrived.len() == 30).then(|| state.arrived.clone())).await;
        let payloads: Vec<u64> = arrived.iter().map(|(_, payload, ..)| payload.parse().unwrap()).collect();
        assert_eq!(payloads, (0..30).collect::<Vec<_>>());
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
}

/// An upstream that takes messages and never confirms them is found out, and what it has swallowed is sent again.
#[test]
fn swallowed_confirms_end_the_connection() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        toy.with(|state| {
            state.is_mute = true;
            state.rule = Some(Box::new(|_| Act::Swallow));
        });
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until_attached().await;
        publish(&inside, numbered("telemetry/a", 0..3)).await;
        toy.until(|state| (state.connections.len() >= 2).then_some(())).await;
        toy.with(|state| (state.is_mute, state.rule) = (false, None));
        let is_complete = |arrived: &[(String, String, String, bool)]| {
            arrived.iter().filter(|(.., again)| *again).count() >= 3
        };
        toy.until(|state| is_complete(&state.arrived).then_some(())).await;
        bridge.until(BridgeState::Live).await;
        assert!(bridge.status.connection().last_error.is_some());
        bridge.stop().await;
    });
}

#[test]
fn the_bridge_fails_over_to_the_next_address_and_back() {
    with_gateway(async |inside| {
        let toy = Toy::new(3);
        toy.with(|state| state.dead = vec![0, 1]);
        let mut options = options(vec![forward("telemetry/#")], vec![]);
        // Long enough to find out that nothing waits.
        options.fail_back_after = Duration::from_secs(1);
        let bridge = AtWork::start(options, toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        assert_eq!(bridge.status.connection().address, "toy://2");
        toy.with(|state| state.dead.clear());
        toy.until(|state| (state.connections.last() == Some(&0)).then_some(())).await;
        bridge.until(BridgeState::Live).await;
        assert_eq!(bridge.status.connection().address, "toy://0");
        bridge.stop().await;
    });
}

/// What has waited during an outage leaves at its limit, and the state says so until it is over.
#[test]
fn a_backlog_is_drained_at_its_pace() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        toy.with(|state| state.dead = vec![0]);
        let mut slow = forward("telemetry/#");
        slow.drain = PaceOptions { messages_per_second: Some(100), bytes_per_second: None };
        let bridge = AtWork::start(options(vec![slow], vec![]), toy.clone(), &inside);
        toy.until(|state| (!state.connections.is_empty()).then_some(())).await;
        bridge.until_attached().await;
        publish(&inside, numbered("telemetry/a", 0..60)).await;
        let begun = std::time::Instant::now();
        toy.with(|state| state.dead.clear());
        bridge.until(BridgeState::Draining).await;
        toy.until(|state| (state.arrived.len() == 60).then_some(())).await;
        assert!(begun.elapsed() > Duration::from_millis(350), "60 at 100 a second, less the first burst");
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
}

/// MQTT 5.0 section 3.3.2.3.3: it expires in the hands of a forward as it would in the queue, and what is sent is sent with what is left.
#[test]
fn a_lifetime_goes_on_while_the_upstream_is_away() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let lifetimes = Arc::new(Mutex::new(Vec::new()));
        let seen = lifetimes.clone();
        toy.with(|state| {
            state.dead = vec![0];
            state.rule = Some(Box::new(move |outgoing| {
                seen.lock().unwrap().push(outgoing.expires_in(Instant::now()).unwrap());
                Act::Confirm
            }));
        });
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until_attached().await;
        let short = Duration::from_secs(3);
        publish_for(&inside, HOUR, numbered("telemetry/a", 3..4)).await;
        publish_for(&inside, short, numbered("telemetry/a", 0..3)).await;
        let expired = |status: &BridgeStatus| status.forwards()[0].dropped().get("expired") == Some(&3);
        bridge.until_so("expired", expired).await;
        toy.with(|state| state.dead.clear());
        let arrived = toy.until(|state| state.arrived.first().cloned()).await;
        assert_eq!(arrived.1, "3");
        let left = lifetimes.lock().unwrap()[0].unwrap();
        assert!(left <= HOUR - short, "{left:?}");
        bridge.until_so("settled", |status| status.forwards()[0].in_flight.load(Relaxed) == 0).await;
        bridge.stop().await;
    });
}

/// What is older than the forward allows is not sent when the upstream is back, whether the gateway was restarted meanwhile or not, and makes room on the
/// disk before that.
#[test]
fn what_has_waited_too_long_is_given_up_and_not_sent() {
    for order in [ForwardOrder::Strict, ForwardOrder::LiveFirst] {
        let storage = Arc::new(MemoryStorage::new());
        let toy = Toy::new(1);
        toy.with(|state| state.dead = vec![0]);
        let forward = ForwardOptions { max_age: Some(HOUR), order, ..forward("telemetry/#") };
        let start = |storage: &Arc<MemoryStorage>, inside: &Inside| {
            let storage = storage.clone();
            let clock = GatewayClock::new(move || storage.time_millis());
            AtWork::start_at(clock, options(vec![forward.clone()], vec![]), toy.clone(), inside)
        };
        let first = gateway(storage.clone());
        run(async {
            let bridge = start(&storage, &first.inside());
            bridge.until_attached().await;
            publish(&first.inside(), numbered("telemetry/a", 0..60)).await;
            bridge.stop().await;
            storage.advance_millis(2 * 3_600_000);
            publish(&first.inside(), numbered("telemetry/a", 60..64)).await;
        });
        let storage = Arc::new(storage.crash());
        let second = gateway(storage.clone());
        run(async {
            let bridge = start(&storage, &second.inside());
            let old = |status: &BridgeStatus| status.forwards()[0].dropped().get("max_age") == Some(&60);
            bridge.until_so("too old", old).await;
            toy.with(|state| state.dead.clear());
            let arrived = toy.until(|state| (state.arrived.len() == 4).then(|| state.arrived.clone())).await;
            let payloads: Vec<&str> = arrived.iter().map(|(_, payload, ..)| payload.as_str()).collect();
            assert_eq!(payloads, ["60", "61", "62", "63"], "{order:?}");
            bridge.until(BridgeState::Live).await;
            bridge.stop().await;
        });
        first.stop();
        second.stop();
    }
}

/// A message that has passed this node already does not leave it again.
#[test]
fn messages_do_not_go_in_circles() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let bridge = AtWork::start(options(vec![forward("telemetry/#")], vec![]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        publish_with(&inside, &[(PATH_PROPERTY, "edge-1,central")], [("telemetry/a", "was here")]).await;
        publish(&inside, [("telemetry/a", "new".to_owned())]).await;
        let arrived = toy.until(|state| state.arrived.first().cloned()).await;
        assert_eq!(arrived.1, "new");
        assert_eq!(bridge.status.forwards()[0].dropped().values().sum::<u64>(), 1);
        bridge.stop().await;
    });
}

fn live_first(messages_per_second: u64) -> ForwardOptions {
    ForwardOptions {
        order: ForwardOrder::LiveFirst,
        drain: PaceOptions { messages_per_second: Some(messages_per_second), bytes_per_second: None },
        ..forward("telemetry/#")
    }
}

/// A backlog that takes a minute to drain keeps no live message waiting, and what waits in a second outage is backlog too.
#[test]
fn a_live_message_overtakes_a_backlog() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        toy.with(|state| state.dead = vec![0]);
        let bridge = AtWork::start(options(vec![live_first(1)], vec![]), toy.clone(), &inside);
        bridge.until_attached().await;
        publish(&inside, numbered("telemetry/a", 0..60)).await;
        toy.with(|state| state.dead.clear());
        bridge.until(BridgeState::Draining).await;
        for number in 100..110 {
            publish(&inside, numbered("telemetry/a", number..number + 1)).await;
            let is_it = |payload: &str| payload == number.to_string();
            toy.until(|state| state.arrived.iter().any(|(_, payload, ..)| is_it(payload)).then_some(()))
                .await;
        }
        assert!(toy.with(|state| state.arrived.len()) < 60, "the backlog was not in front");
        toy.with(|state| {
            state.dead = vec![0];
            state.rule = Some(Box::new(|_| Act::Break));
        });
        publish(&inside, numbered("telemetry/a", 110..111)).await;
        bridge.until(BridgeState::Connecting).await;
        publish(&inside, numbered("telemetry/a", 60..70)).await;
        toy.with(|state| {
            state.dead.clear();
            state.rule = None;
        });
        bridge.until(BridgeState::Draining).await;
        publish(&inside, numbered("telemetry/a", 111..112)).await;
        let live = |state: &crate::toy::State| {
            let payloads = state.arrived.iter().filter_map(|(_, payload, ..)| payload.parse::<u64>().ok());
            payloads.filter(|number| *number >= 100).collect::<Vec<_>>()
        };
        let arrived = toy.until(|state| Some(live(state)).filter(|live| live.contains(&111))).await;
        assert_eq!(arrived, (100..112).collect::<Vec<_>>());
        assert!(toy.with(|state| state.arrived.len()) < 60);
        bridge.stop().await;
    });
}

/// The gateway ends again and again without a word, while it drains and while live messages overtake: everything arrives, and what comes twice has the
/// id that it had before.
#[test]
fn live_first_loses_nothing_when_the_gateway_is_killed() {
    let mut storage = Arc::new(MemoryStorage::new());
    let toy = Toy::new(1);
    let mut next = 0;
    for round in 0..4 {
        let gateway = gateway(storage.clone());
        run(async {
            let inside = gateway.inside();
            toy.with(|state| state.dead = vec![0]);
            let bridge = AtWork::start(options(vec![live_first(300)], vec![]), toy.clone(), &inside);
            bridge.until_attached().await;
            publish(&inside, numbered("telemetry/a", next..next + 200)).await;
            let before = toy.with(|state| {
                state.dead.clear();
                state.arrived.len()
            });
            publish(&inside, numbered("telemetry/b", next + 200..next + 300)).await;
            next += 300;
            toy.until(|state| (state.arrived.len() > before + 40 * round).then_some(())).await;
            // As the disk is at this moment: what happens behind it has never happened.
            storage = Arc::new(storage.crash());
            bridge.stop().await;
        });
        gateway.stop();
    }
    let last = gateway(storage);
    run(async {
        let forward = ForwardOptions { drain: PaceOptions::default(), ..live_first(1) };
        let bridge = AtWork::start(options(vec![forward], vec![]), toy.clone(), &last.inside());
        let ids = |state: &crate::toy::State| {
            let mut ids: HashMap<u64, HashSet<String>> = HashMap::new();
            for (_, payload, id, _) in &state.arrived {
                ids.entry(payload.parse().unwrap()).or_default().insert(id.clone());
            }
            ids
        };
        let ids = toy.until(|state| Some(ids(state)).filter(|ids| ids.len() as u64 == next)).await;
        assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
    last.stop();
}

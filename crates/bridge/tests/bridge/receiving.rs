//! From the upstream to here.

use crate::toy::Toy;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tidegate_bridge::{
    BridgeState, BridgeStatus, Delivered, Destination, Event, Incoming, Link, Misplaced, Publishing,
    ReceiveOptions, Report, Taken,
};
use tidegate_bridging::{AtWork, Follower, PATIENCE, connect, gateway, options, run, with_gateway};
use tidegate_message::QoS;
use tidegate_storage::{MemoryStorage, NoRoom};
use tokio::time::timeout;

/// Everything goes to one topic, but what has no place at all.
#[derive(Debug)]
struct To(&'static str);

impl Destination for To {
    fn place(&self, incoming: &Incoming) -> Result<Publishing, Misplaced> {
        if &incoming.payload[..] == b"misplaced" {
            return Err(Misplaced("nowhere".to_owned()));
        }
        Ok(Publishing {
            topic: Bytes::from(self.0),
            payload: incoming.payload.clone(),
            qos: incoming.qos,
            retain: false,
            properties: incoming.properties.clone(),
            expiry: None,
        })
    }
}

pub(crate) fn receive(to: &'static str) -> ReceiveOptions {
    ReceiveOptions {
        name: "central.in".to_owned(),
        session: Some("central.in/received".to_owned()),
        destination: Arc::new(To(to)),
        qos_max: QoS::AtLeastOnce,
    }
}

pub(crate) fn incoming(ticket: u64, payload: &str, id: Option<&str>, path: Option<&str>) -> Incoming {
    Incoming {
        lane: 0,
        ticket,
        place: Vec::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_in: None,
        id: id.map(Box::from),
        path: path.map(Box::from),
    }
}

#[test]
fn what_comes_in_is_acknowledged_when_it_is_here_and_says_where_it_came_from() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let mut follower = Follower::new(&inside, "commands/#").await;
        let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
        toy.with(|state| {
            state.outbound.extend((0..50).map(|n| incoming(n, &n.to_string(), None, Some("central"))))
        });
        for number in 0..50 {
            let got = follower.next().await;
            assert_eq!((got.topic.as_str(), &got.payload[..]), ("commands/a", number.to_string().as_bytes()));
            assert_eq!(&*got.properties.unwrap().user[0].1, "central;via=central");
        }
        let taken = toy.until(|state| (state.taken.len() == 50).then(|| state.taken.clone())).await;
        assert!(taken.iter().all(|(_, taken)| *taken == Taken::Yes));
        bridge.stop().await;
    });
}

/// The upstream's connection breaks again and again before its acknowledgements arrive: each message is published once.
#[test]
fn what_comes_again_under_its_id_is_published_once() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let mut follower = Follower::new(&inside, "commands/#").await;
        let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
        let id = |n: u64| format!("far/1/x/{n}");
        // Each comes twice in a row, under another ticket.
        toy.with(|state| {
            let twice = (0..40_u64).map(|n| incoming(n, &(n / 2).to_string(), Some(&id(n / 2)), Some("far")));
            state.outbound.extend(twice);
        });
        for number in 0..20 {
            assert_eq!(&follower.next().await.payload[..], number.to_string().as_bytes());
        }
        let taken = toy.until(|state| (state.taken.len() == 40).then(|| state.taken.clone())).await;
        assert!(taken.iter().all(|(_, taken)| *taken == Taken::Yes));
        let status = &bridge.status.receives()[0];
        assert_eq!(status.duplicates.load(Relaxed), 20);
        bridge.stop().await;
    });
}

/// A broker delivers what waits in a session as soon as it knows whose it is, which may be before the bridge counts as connected.
#[test]
fn what_comes_before_the_upstream_is_ready_is_acknowledged_as_well() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let mut follower = Follower::new(&inside, "commands/#").await;
        toy.with(|state| {
            state.is_eager = true;
            state.outbound.extend((0..50).map(|n| incoming(n, &n.to_string(), None, None)));
        });
        let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
        for number in 0..50 {
            assert_eq!(&follower.next().await.payload[..], number.to_string().as_bytes());
        }
        bridge.until_so("kept", |status| status.receives()[0].confirmed.load(Relaxed) == 50).await;
        toy.with(|state| state.is_eager = false);
        toy.until(|state| (state.taken.len() == 50).then_some(())).await;
        assert_eq!(toy.with(|state| state.connections.len()), 1);
        bridge.stop().await;
    });
}

#[test]
fn what_has_no_place_here_is_rejected_and_counted_and_circles_end_here() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let mut follower = Follower::new(&inside, "commands/#").await;
        let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
        toy.with(|state| {
            state.outbound.extend([
                incoming(1, "misplaced", None, None),
                incoming(2, "circle", None, Some("edge-1,central")),
                incoming(3, "hostile", None, Some("not a path/")),
                incoming(4, "good", None, None),
            ]);
        });
        assert_eq!(&follower.next().await.payload[..], b"good");
        let mut taken = toy.until(|state| (state.taken.len() == 4).then(|| state.taken.clone())).await;
        taken.sort_by(|one, other| one.0.cmp(&other.0));
        let expected = [
            ("circle", Taken::Yes),
            ("good", Taken::Yes),
            ("hostile", Taken::Never),
            ("misplaced", Taken::Never),
        ];
        assert_eq!(taken, expected.map(|(payload, taken)| (payload.to_owned(), taken)));
        let dropped = bridge.status.receives()[0].dropped();
        assert_eq!(dropped.get("misplaced"), Some(&1));
        assert_eq!(dropped.values().sum::<u64>(), 3);
        bridge.until(BridgeState::Live).await;
        bridge.stop().await;
    });
}

/// What an upstream cannot hand over is not lost without a word.
#[test]
fn what_an_upstream_drops_is_counted_at_its_receive() {
    with_gateway(async |inside| {
        let toy = Toy::new(1);
        let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
        let dropped = |lane, label| Report::Dropped { lane, label, reason: "nobody wants it".to_owned() };
        toy.with(|state| state.dropped.extend([dropped(0, "not_selected"), dropped(9, "no_room")]));
        let counted = |status: &BridgeStatus| status.receives()[0].dropped().into_iter().collect::<Vec<_>>();
        bridge.until_so("counted", |status| counted(status) == [("not_selected", 1)]).await;
        let problem = bridge.status.receives()[0].problem().map(|problem| problem.text);
        assert_eq!(problem.as_deref(), Some("nobody wants it"));
        bridge.stop().await;
    });
}

/// The gateway is killed at any moment, and the upstream, which has lost every acknowledgement, hands over everything again: each message is here once.
#[test]
fn what_was_received_before_a_kill_is_recognised_after_it() {
    let mut storage = Arc::new(MemoryStorage::new());
    let toy = Toy::new(1);
    const PORTION: u64 = 150;
    for round in 1..=4_u64 {
        let gateway = gateway(storage.clone());
        run(async {
            let inside = gateway.inside();
            if round == 1 {
                // Its session keeps everything that comes from now on.
                drop(Follower::new(&inside, "commands/#").await);
            }
            toy.with(|state| {
                let all = 0..round * PORTION;
                state.handed.clear();
                state.outbound =
                    all.map(|n| incoming(n, &n.to_string(), Some(&format!("far/1/x/{n}")), None)).collect();
                state.taken.clear();
            });
            let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
            // In the midst of what is new in this round.
            let some = (round - 1) * PORTION + PORTION / (round + 1);
            toy.until(|state| (state.taken.len() as u64 >= some).then_some(())).await;
            storage = Arc::new(storage.crash());
            bridge.stop().await;
        });
        gateway.stop();
    }
    let gateway = gateway(storage);
    run(async {
        let inside = gateway.inside();
        toy.with(|state| {
            let all = 0..4 * PORTION;
            state.handed.clear();
            state.outbound =
                all.map(|n| incoming(n, &n.to_string(), Some(&format!("far/1/x/{n}")), None)).collect();
            state.taken.clear();
        });
        let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
        toy.until(|state| (state.taken.len() as u64 == 4 * PORTION).then_some(())).await;
        let status = &bridge.status.receives()[0];
        let duplicates = status.duplicates.load(std::sync::atomic::Ordering::Relaxed);
        assert!(duplicates >= 3 * PORTION, "{duplicates}");
        bridge.stop().await;
        let mut link = Link::new(connect(&inside)().unwrap());
        let (mut all, wanted) = (Vec::new(), 4 * PORTION as usize);
        link.attach("follower", 1000, &[], false, &mut all).await.unwrap();
        while all.len() < wanted
            && let Event::Delivered(delivered) = timeout(PATIENCE, link.inbox.next()).await.unwrap().unwrap()
        {
            all.push(*delivered);
        }
        let number =
            |delivered: &Delivered| std::str::from_utf8(&delivered.payload).unwrap().parse().unwrap();
        let mut numbers: Vec<u64> = all.iter().map(number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..4 * PORTION).collect::<Vec<_>>());
    });
    gateway.stop();
}

/// The gateway has no room: the first one is tried alone until there is some, and then everything comes in its order.
#[test]
fn what_the_gateway_could_not_take_is_tried_alone_and_in_front_of_the_rest() {
    let storage = Arc::new(MemoryStorage::new());
    let gateway = gateway(storage.clone());
    run(async {
        let (toy, inside) = (Toy::new(1), gateway.inside());
        let mut follower = Follower::new(&inside, "commands/#").await;
        let bridge = AtWork::start(options(vec![], vec![receive("commands/a")]), toy.clone(), &inside);
        bridge.until(BridgeState::Live).await;
        storage.set_room(Err(NoRoom::Failing));
        toy.with(|state| state.outbound.extend((0..20).map(|n| incoming(n, &n.to_string(), None, None))));
        let retried = |status: &BridgeStatus| status.receives()[0].retried.load(Relaxed);
        bridge.until_so("tried three times", |status| retried(status) >= 3).await;
        let turned_away = bridge.status.receives()[0].turned_away.load(Relaxed);
        assert!(turned_away <= 20 + retried(&bridge.status), "one at a time: {turned_away}");
        assert!(retried(&bridge.status) < 20, "{}", retried(&bridge.status));
        storage.set_room(Ok(()));
        for number in 0..20 {
            assert_eq!(&follower.next().await.payload[..], number.to_string().as_bytes());
        }
        toy.until(|state| (state.taken.len() == 20).then_some(())).await;
        bridge.stop().await;
    });
    gateway.stop();
}

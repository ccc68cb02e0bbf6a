//! What the gateway tells of itself under `$SYS`.

use crate::{HOUR, MINUTE, QOS0, QOS1};
use std::time::Duration;
use tidegate_protocol::{RetainedDelivery, Subscribe, WillAction};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Got, Toy, session};

const INTERVAL: Duration = Duration::from_secs(10);

fn world_with_interval() -> World {
    let mut world = World::new(2);
    let now = world.now;
    world.node().set_system_interval(INTERVAL, now);
    world.run();
    world
}

fn with_retained(subscribe: &mut Subscribe<'_>) {
    subscribe.retained = RetainedDelivery::Always;
}

fn value(got: &[Got], topic: &str) -> Option<String> {
    got.iter().find(|got| got.topic == topic).map(|got| got.payload.clone())
}

fn watcher(world: &mut World, worker: usize) -> Toy {
    let watcher = world.attached(worker, session(&format!("watcher-{worker}")));
    watcher.subscribe_with(world, "$SYS/#", with_retained).unwrap();
    world.run();
    watcher
}

#[test]
fn a_new_subscriber_gets_the_present_values_marked_as_retained_and_nothing_is_stored() {
    let mut world = world_with_interval();
    world.advance(Duration::from_secs(3));
    let got = watcher(&mut world, 1).got();
    assert_eq!(value(&got, "$SYS/broker/uptime").as_deref(), Some("3 seconds"));
    assert_eq!(value(&got, "$SYS/broker/clients/connected").as_deref(), Some("1"));
    assert_eq!(value(&got, "$SYS/broker/subscriptions/count").as_deref(), Some("1"));
    assert!(got.iter().all(|got| got.retain && got.qos == 0));
    assert_eq!(world.node().gauges().retained_messages, 0);
}

#[test]
fn who_does_not_want_retained_messages_waits_for_the_interval() {
    let mut world = world_with_interval();
    let watcher = world.attached(0, session("watcher"));
    let never = |subscribe: &mut Subscribe<'_>| subscribe.retained = RetainedDelivery::Never;
    watcher.subscribe_with(&mut world, "$SYS/broker/uptime", never).unwrap();
    world.run();
    assert!(watcher.got().is_empty());
    world.advance(INTERVAL);
    let got = watcher.got();
    assert_eq!((got.len(), got[0].payload.as_str(), got[0].retain), (1, "10 seconds", false));
}

#[test]
fn every_interval_brings_every_topic_on_every_worker() {
    let mut world = world_with_interval();
    let watchers = [watcher(&mut world, 0), watcher(&mut world, 1)];
    let first: Vec<usize> = watchers.iter().map(|watcher| watcher.got().len()).collect();
    for round in 1..=3 {
        world.advance(INTERVAL);
        for (watcher, topics) in watchers.iter().zip(&first) {
            let got = watcher.got();
            assert_eq!(value(&got, "$SYS/broker/uptime"), Some(format!("{} seconds", 10 * round)));
            assert_eq!(got.len(), *topics);
            assert!(got.iter().all(|got| !got.retain));
        }
    }
}

#[test]
fn nothing_is_published_while_nobody_has_subscribed() {
    let mut world = world_with_interval();
    let bob = world.attached(1, session("bob"));
    // [MQTT-4.7.2-1]: a wildcard at the front does not select it.
    bob.subscribe_with(&mut world, "#", with_retained).unwrap();
    bob.subscribe_with(&mut world, "+/broker/uptime", with_retained).unwrap();
    world.advance(10 * INTERVAL);
    assert!(bob.got().is_empty());
    assert!((0..2).all(|worker| !world.has_mail(worker)));
}

#[test]
fn without_an_interval_nothing_is_told() {
    let mut world = World::new(1);
    let watcher = watcher(&mut world, 0);
    world.advance(HOUR);
    assert!(watcher.got().is_empty());
    let now = world.now;
    world.node().set_system_interval(INTERVAL, now);
    world.run();
    world.advance(INTERVAL);
    assert!(!watcher.got().is_empty());
    let now = world.now;
    world.node().set_system_interval(Duration::ZERO, now);
    world.run();
    world.advance(HOUR);
    assert!(watcher.got().is_empty());
}

#[test]
fn sessions_are_told_by_what_became_of_them() {
    let mut world = world_with_interval();
    let watcher = watcher(&mut world, 0);
    for (name, expiry) in [("short", MINUTE), ("long", HOUR), ("none", Duration::ZERO)] {
        let toy = world.attached(1, session(name).expiry(expiry));
        toy.leave(&mut world, WillAction::Discard);
    }
    let told = |world: &mut World| {
        watcher.got();
        world.advance(INTERVAL);
        let got = watcher.got();
        ["connected", "disconnected", "total", "expired"]
            .map(|name| value(&got, &format!("$SYS/broker/clients/{name}")).unwrap())
    };
    world.run();
    assert_eq!(told(&mut world), ["1", "2", "3", "0"]);
    world.advance(2 * MINUTE);
    assert_eq!(told(&mut world), ["1", "1", "2", "1"]);
    world.attached(1, session("long").expiry(HOUR));
    assert_eq!(told(&mut world), ["2", "0", "2", "1"]);
}

#[test]
fn an_offline_session_is_not_filled_with_old_values() {
    let mut world = world_with_interval();
    let watcher = world.attached(0, session("watcher").expiry(HOUR));
    watcher.subscribe_with(&mut world, "$SYS/#", |subscribe| subscribe.qos_max = QOS1).unwrap();
    watcher.leave(&mut world, WillAction::Discard);
    world.advance(INTERVAL);
    assert_eq!(world.node().gauges().queued_messages, 0);
}

#[test]
fn published_messages_are_told() {
    let mut world = world_with_interval();
    let watcher = watcher(&mut world, 1);
    let alice = world.attached(0, session("alice"));
    for _ in 0..3 {
        alice.publish(&mut world, "a", "four", QOS0).unwrap();
    }
    watcher.got();
    world.advance(INTERVAL);
    let got = watcher.got();
    assert_eq!(value(&got, "$SYS/broker/messages/received").as_deref(), Some("3"));
    assert_eq!(value(&got, "$SYS/broker/publish/bytes/received").as_deref(), Some("12"));
    // 18 a minute since ten seconds.
    assert_eq!(value(&got, "$SYS/broker/load/messages/received/1min").as_deref(), Some("2.76"));
}

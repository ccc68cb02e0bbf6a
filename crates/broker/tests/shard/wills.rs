//! Wills: at once, delayed, called off, and with the end of their session.

use crate::{HOUR, MINUTE, QOS1, assert_nothing_is_left};
use bytes::Bytes;
use std::time::Duration;
use tidegate_message::Topic;
use tidegate_protocol::{CloseReason, Will, WillAction};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, session};

fn will(delay: Duration) -> Will {
    let (topic, payload) = (Topic::parse(b"will").unwrap(), Bytes::from_static(b"gone"));
    Will { topic, payload, qos: QOS1, retain: false, properties: None, expiry: None, delay }
}

/// A world of two workers with a watcher on each.
fn watched() -> (World, [Toy; 2]) {
    let mut world = World::new(2);
    let watchers = [0, 1].map(|worker| world.attached(worker, session(["near", "far"][worker])));
    for watcher in &watchers {
        watcher.subscribe(&mut world, "will");
    }
    (world, watchers)
}

fn seen(world: &mut World, watchers: &[Toy; 2]) -> usize {
    world.run();
    let [near, far] = watchers.each_ref().map(|watcher| watcher.got().len());
    assert_eq!(near, far);
    near
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.1.1/3.1.2-8] [MQTT-3.1.1/3.1.2-10]
#[test]
fn a_will_is_published_at_once_when_the_connection_is_lost() {
    for worker in [0, 1] {
        let (mut world, watchers) = watched();
        let bob = world.attached(worker, session("bob").will(will(Duration::ZERO)));
        assert_eq!(seen(&mut world, &watchers), 0);
        bob.vanish(&mut world);
        assert_eq!(seen(&mut world, &watchers), 1);
        world.advance(2 * HOUR);
        assert_eq!(seen(&mut world, &watchers), 0);
    }
}

/// [MQTT-3.8.3-3]: a will is its client's own message, for a subscription that leaves those out.
#[test]
fn no_local_leaves_out_the_own_will() {
    for delay in [Duration::ZERO, MINUTE] {
        let (mut world, watchers) = watched();
        let bob = world.attached(0, session("bob").will(Will { retain: true, ..will(delay) }));
        bob.subscribe_with(&mut world, "will", |subscribe| subscribe.no_local = true).unwrap();
        bob.vanish(&mut world);
        world.advance(delay);
        assert_eq!(seen(&mut world, &watchers), 1);
        let bob = world.attached(1, session("bob"));
        world.run();
        assert_eq!(bob.got(), []);
    }
}

/// [MQTT-3.1.2-10] [MQTT-3.1.1/3.1.2-10]
#[test]
fn a_goodbye_discards_the_will() {
    let (mut world, watchers) = watched();
    let bob = world.attached(0, session("bob").will(will(Duration::ZERO)));
    bob.leave(&mut world, WillAction::Discard);
    world.advance(2 * HOUR);
    assert_eq!(seen(&mut world, &watchers), 0);
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-10] and MQTT 5.0 section 3.1.3.2.2
#[test]
fn a_delayed_will_waits_and_is_published_once() {
    for worker in [0, 1] {
        let (mut world, watchers) = watched();
        let bob = world.attached(worker, session("bob").will(will(MINUTE)));
        bob.vanish(&mut world);
        world.run();
        world.advance(MINUTE - Duration::from_millis(1));
        assert_eq!(seen(&mut world, &watchers), 0);
        world.advance(Duration::from_millis(1));
        assert_eq!(seen(&mut world, &watchers), 1);
        world.advance(2 * HOUR);
        assert_eq!(seen(&mut world, &watchers), 0);
    }
}

/// [MQTT-3.1.3-9]
#[test]
fn a_new_connection_in_time_calls_the_will_off() {
    let (mut world, watchers) = watched();
    let bob = world.attached(1, session("bob").will(will(MINUTE)));
    bob.vanish(&mut world);
    world.advance(MINUTE / 2);
    let bob = world.attached(0, session("bob"));
    world.advance(HOUR);
    bob.vanish(&mut world);
    world.advance(2 * HOUR);
    assert_eq!(seen(&mut world, &watchers), 0);
}

/// [MQTT-3.1.2-8] and MQTT 5.0 section 3.1.3.2.2: the end of the session does not wait for the delay.
#[test]
fn the_end_of_the_session_publishes_a_delayed_will() {
    let (mut world, watchers) = watched();
    let bob = world.attached(0, session("bob").expiry(MINUTE).will(will(HOUR)));
    bob.vanish(&mut world);
    world.advance(MINUTE);
    assert_eq!(seen(&mut world, &watchers), 1);
}

/// MQTT 5.0 section 3.1.3.2.2: a session without expiry ends with its connection, and its will is published then.
#[test]
fn a_session_that_ends_with_its_connection_publishes_its_will_at_once() {
    let (mut world, watchers) = watched();
    let bob = world.attached(0, session("bob").expiry(Duration::ZERO).will(will(HOUR)));
    bob.vanish(&mut world);
    assert_eq!(seen(&mut world, &watchers), 1);
}

/// MQTT 5.0 section 3.1.3.2.2: a clean start ends the session, and so publishes the will that waited.
#[test]
fn a_clean_start_publishes_the_will_of_the_session_that_it_ends() {
    let (mut world, watchers) = watched();
    let bob = world.attached(1, session("bob").will(will(HOUR)));
    bob.vanish(&mut world);
    world.attached(0, session("bob").clean());
    assert_eq!(seen(&mut world, &watchers), 1);
}

/// [MQTT-3.1.4-3] and MQTT 5.0 section 3.1.4: taking over is the end of a connection.
#[test]
fn a_take_over_publishes_an_undelayed_will_and_calls_a_delayed_one_off() {
    for (delay, expected) in [(Duration::ZERO, 1), (MINUTE, 0)] {
        for worker in [0, 1] {
            let (mut world, watchers) = watched();
            let first = world.attached(0, session("bob").will(will(delay)));
            let second = world.toy(worker);
            second.attach(&mut world, session("bob"));
            world.run();
            world.advance(HOUR);
            assert_eq!(first.link.ended(), Some(CloseReason::SessionTakenOver));
            assert_eq!(seen(&mut world, &watchers), expected, "{delay:?} worker {worker}");
        }
    }
}

/// [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT-3.1.1/3.1.2-16] [MQTT-3.1.1/3.1.2-17]
#[test]
fn only_a_retained_will_becomes_the_state_of_its_topic() {
    for retain in [false, true] {
        let (mut world, watchers) = watched();
        let bob = world.attached(0, session("bob").will(Will { retain, ..will(Duration::ZERO) }));
        bob.vanish(&mut world);
        assert_eq!(seen(&mut world, &watchers), 1);
        assert_eq!(world.node().gauges().retained_messages, usize::from(retain) as _);
    }
}

/// [MQTT-3.1.1/3.1.2-12] and MQTT 5.0 section 3.1.2.5
#[test]
fn a_connection_without_a_will_ends_in_silence() {
    let (mut world, watchers) = watched();
    let bob = world.attached(0, session("bob").will(will(Duration::ZERO)));
    bob.vanish(&mut world);
    assert_eq!(seen(&mut world, &watchers), 1);
    let bob = world.attached(1, session("bob"));
    bob.vanish(&mut world);
    world.advance(2 * HOUR);
    assert_eq!(seen(&mut world, &watchers), 0);
}

/// MQTT 5.0 section 3.1.3.2.4: a will's lifetime counts from its publication.
#[test]
fn the_expiry_of_a_will_counts_from_its_publication() {
    let mut world = World::new(1);
    let watcher = world.attached(0, session("watcher"));
    watcher.subscribe(&mut world, "will");
    watcher.vanish(&mut world);
    let bob = world.attached(0, session("bob").will(Will { expiry: Some(MINUTE), ..will(MINUTE) }));
    bob.vanish(&mut world);
    world.advance(MINUTE);
    world.advance(MINUTE / 2);
    let watcher = world.attached(0, session("watcher"));
    world.run();
    assert_eq!(watcher.got_payloads(), ["gone"]);
}

/// A session that receives its own will, because its subscription outlives the connection.
#[test]
fn a_session_can_receive_its_own_will() {
    let mut world = World::new(1);
    let bob = world.attached(0, session("bob").will(will(Duration::ZERO)));
    bob.subscribe(&mut world, "will");
    bob.vanish(&mut world);
    let bob = world.attached(0, session("bob"));
    world.run();
    assert_eq!(bob.got_payloads(), ["gone"]);
    world.end_everything(HOUR);
    assert_nothing_is_left(&world);
}

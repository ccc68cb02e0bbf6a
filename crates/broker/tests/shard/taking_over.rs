//! Two connections that want the same session, on one worker and on two.

use crate::{HOUR, QOS1, assert_nothing_is_left};
use tidegate_protocol::{Attachment, CloseReason, ConsumerId, Detach, WillAction};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::session;

/// [MQTT-3.1.4-3] [MQTT-3.1.1/3.1.4-2]
#[test]
fn a_second_connection_takes_the_session_over_on_the_same_worker() {
    let mut world = World::new(1);
    let first = world.attached(0, session("bob"));
    first.set_farewell(None, b"saved");
    let second = world.toy(0);
    let Attachment::Now(attached) = second.attach(&mut world, session("bob")) else { panic!() };
    assert_eq!(first.link.ended(), Some(CloseReason::SessionTakenOver));
    assert_eq!((attached.present, attached.saved), (true, vec![b"saved".to_vec()]));
    assert_eq!(world.shard(0).connection_count(), 1);
}

/// [MQTT-3.1.4-3] [MQTT-3.1.1/3.1.4-2]
#[test]
fn a_second_connection_takes_the_session_over_across_workers() {
    let mut world = World::new(2);
    let first = world.attached(0, session("bob"));
    first.set_farewell(None, b"saved");
    let second = world.toy(1);
    assert!(matches!(second.attach(&mut world, session("bob")), Attachment::Later));
    assert!(world.shard(1).is_waiting(second.link.key()) && !first.link.is_ended());
    world.run();
    let attached = second.take_reply().unwrap().unwrap();
    assert_eq!(first.link.ended(), Some(CloseReason::SessionTakenOver));
    assert_eq!((attached.present, attached.saved), (true, vec![b"saved".to_vec()]));
    assert!(!world.shard(1).is_waiting(second.link.key()));
}

/// [MQTT-4.4.0-1] [MQTT-4.6.0-6] [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/4.6.0-6]
#[test]
fn a_take_over_keeps_messages_and_order() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let first = world.attached(0, session("bob").credit(2));
        first.subscribe(&mut world, "a");
        for payload in ["1", "2", "3", "4"] {
            alice.publish(&mut world, "a", payload, QOS1).unwrap();
        }
        world.run();
        first.accept(&mut world, 1);
        let second = world.toy(worker);
        second.attach(&mut world, session("bob"));
        alice.publish(&mut world, "a", "5", QOS1).unwrap();
        world.run();
        alice.publish(&mut world, "a", "6", QOS1).unwrap();
        world.run();
        let got: Vec<_> = second.got().into_iter().map(|got| (got.payload, got.redelivered)).collect();
        let expected = [("2", true), ("3", true), ("4", false), ("5", false), ("6", false)];
        assert_eq!(got, expected.map(|(payload, again)| (payload.to_owned(), again)), "worker {worker}");
    }
}

/// MQTT 5.0 section 3.1.2.4: taking over with a clean start ends the session.
#[test]
fn a_clean_take_over_ends_the_session() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let first = world.attached(0, session("bob"));
        first.subscribe(&mut world, "a");
        let second = world.toy(worker);
        let answer = second.attach(&mut world, session("bob").clean());
        world.run();
        let present = match answer {
            Attachment::Now(attached) => attached.present,
            _ => second.take_reply().unwrap().unwrap().present,
        };
        let gauges = world.node().gauges();
        assert_eq!((present, gauges.sessions, gauges.subscriptions), (false, 1, 0));
    }
}

#[test]
fn a_claimant_that_closes_while_it_waits_leaves_the_session_free() {
    let mut world = World::new(2);
    let first = world.attached(0, session("bob"));
    let second = world.toy(1);
    second.attach(&mut world, session("bob"));
    second.vanish(&mut world);
    world.run();
    assert!(first.link.is_ended() && second.take_reply().is_none());
    let third = world.toy(1);
    assert!(
        matches!(third.attach(&mut world, session("bob")), Attachment::Now(attached) if attached.present)
    );
    world.end_everything(HOUR);
    assert_nothing_is_left(&world);
}

#[test]
fn two_claimants_at_once_end_with_one_holder() {
    for workers in [[1, 2], [1, 1], [2, 1]] {
        let mut world = World::new(3);
        let first = world.attached(0, session("bob"));
        let claimants = workers.map(|worker| world.toy(worker));
        for claimant in &claimants {
            assert!(matches!(claimant.attach(&mut world, session("bob")), Attachment::Later));
        }
        world.run();
        assert!(first.link.is_ended());
        let open = claimants.iter().filter(|claimant| !claimant.link.is_ended()).count();
        assert_eq!(open, 1, "{workers:?}");
        assert!(claimants.iter().all(|claimant| claimant.take_reply().unwrap().is_ok()));
        world.end_everything(HOUR);
        assert_nothing_is_left(&world);
    }
}

#[test]
fn a_holder_that_closes_by_itself_meanwhile_does_not_leave_the_claimant_waiting() {
    let mut world = World::new(2);
    let first = world.attached(0, session("bob"));
    let second = world.toy(1);
    second.attach(&mut world, session("bob"));
    first.vanish(&mut world);
    world.run();
    assert_eq!(first.link.ended(), Some(CloseReason::PeerClosed));
    assert!(second.take_reply().unwrap().unwrap().present);
}

#[test]
fn another_connection_that_takes_the_session_first_is_taken_over_in_turn() {
    let mut world = World::new(2);
    let first = world.attached(0, session("bob"));
    let second = world.toy(1);
    second.attach(&mut world, session("bob"));
    first.vanish(&mut world);
    let third = world.attached(0, session("bob"));
    world.run();
    assert_eq!(third.link.ended(), Some(CloseReason::SessionTakenOver));
    assert!(second.take_reply().unwrap().unwrap().present && !second.link.is_ended());
}

/// The contract of `Attachment::Later`: nothing is fed until the answer is there, and then it goes on by itself.
#[test]
fn a_waiting_claimant_is_fed_when_it_has_its_answer() {
    let mut world = World::new(2);
    let _first = world.attached(0, session("bob"));
    let second = world.toy(1);
    second.attach(&mut world, session("bob"));
    second.fail(&mut world, CloseReason::Disconnected);
    assert!(!second.link.is_ended());
    world.run();
    assert_eq!(second.link.ended(), Some(CloseReason::Disconnected));
    assert!(second.take_reply().unwrap().is_ok());
}

/// The limit of sessions does not count the one that is taken over.
#[test]
fn a_take_over_works_at_the_limit_of_sessions() {
    let mut world = World::with_limits(2, tidegate_broker::Limits { sessions: 1, ..Default::default() });
    world.attached(0, session("bob"));
    let second = world.toy(1);
    second.attach(&mut world, session("bob").clean());
    world.run();
    assert!(second.take_reply().unwrap().is_ok());
}

/// A session that was given up while somebody asked for it costs its former connection nothing: others of its sessions live on there.
#[test]
fn a_session_that_was_given_up_meanwhile_ends_no_connection() {
    let mut world = World::new(2);
    let holder = world.attached(0, session("first"));
    holder.attach(&mut world, session("second").consumer(1));
    let claimant = world.toy(1);
    assert!(matches!(claimant.attach(&mut world, session("second")), Attachment::Later));
    holder.ask(&mut world, |broker| {
        let (will, expiry, saved) = (WillAction::Publish, None, Vec::new());
        broker.detach(Detach { consumer: ConsumerId(1), will, expiry, saved });
    });
    world.run();
    assert!(claimant.take_reply().unwrap().unwrap().present);
    assert_eq!(holder.link.ended(), None);
}

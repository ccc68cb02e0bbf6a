//! Sessions come back, end at their time, and leave nothing behind.

use crate::{HOUR, Kept, MINUTE};
use std::time::Duration;
use tidegate_protocol::{Attachment, CloseReason, WillAction};
use tidegate_storage::Storage;
use tidegate_testkit::pair::toy::{Attaching, Toy, session};

/// Attaches a session and says whether it was there.
fn attach(kept: &mut Kept, worker: usize, attaching: Attaching) -> (Toy, bool) {
    let toy = kept.world.toy(worker);
    match toy.attach(&mut kept.world, attaching) {
        Attachment::Now(attached) => (toy, attached.present),
        other => panic!("the session is not free: {other:?}"),
    }
}

/// [MQTT-3.1.2-5] [MQTT-3.1.1/3.1.2-5]
#[test]
fn a_session_is_present_after_a_restart() {
    for worker in [0, 1] {
        let mut kept = Kept::new();
        attach(&mut kept, 0, session("ann"));
        let mut kept = kept.kill();
        assert_eq!((kept.sessions(), kept.world.node().gauges().sessions_attached), (1, 0));
        assert_eq!(kept.world.node().recovered().sessions, 1);
        let (_, present) = attach(&mut kept, worker, session("ann"));
        assert!(present && kept.world.node().gauges().sessions_attached == 1);
        assert!(!attach(&mut kept, worker, session("bob")).1);
    }
}

/// [MQTT-3.1.2-4] [MQTT-3.1.1/3.1.2-6]
#[test]
fn a_clean_start_after_a_restart_begins_anew_for_good() {
    let mut kept = Kept::new();
    let (ann, _) = attach(&mut kept, 0, session("ann"));
    ann.subscribe(&mut kept.world, "a/#");
    let mut kept = kept.kill();
    let (_, present) = attach(&mut kept, 1, session("ann").clean());
    assert!(!present);
    assert_eq!((kept.subscriptions(), kept.entries()), (0, 1));
    let mut kept = kept.kill();
    assert_eq!((kept.sessions(), kept.subscriptions()), (1, 0));
    assert!(attach(&mut kept, 0, session("ann")).1);
}

/// MQTT 5.0 section 3.1.2.11.2: a Session Expiry Interval of 0 ends the session with the connection.
#[test]
fn a_session_that_ends_with_its_connection_is_not_written() {
    let mut kept = Kept::new();
    let (ann, _) = attach(&mut kept, 0, session("ann").expiry(Duration::ZERO));
    ann.subscribe(&mut kept.world, "a");
    assert_eq!((kept.entries(), kept.storage.urgencies().len()), (0, 0));
    assert_eq!(kept.kill().sessions(), 0);
}

#[test]
fn the_time_of_a_session_goes_on_while_the_process_is_down() {
    let mut kept = Kept::new();
    let (ann, _) = attach(&mut kept, 0, session("ann"));
    ann.vanish(&mut kept.world);
    kept.advance(HOUR / 2);
    let mut kept = kept.kill_for(HOUR / 4);
    kept.advance(HOUR / 4 - MINUTE);
    assert_eq!(kept.sessions(), 1);
    kept.advance(2 * MINUTE);
    assert_eq!((kept.sessions(), kept.entries()), (0, 0));
    assert_eq!(kept.kill().sessions(), 0);
}

/// [MQTT-3.1.2-23]: what is over when the process comes back is nobody's session any more, also before anybody has looked.
#[test]
fn a_session_whose_time_is_over_is_not_resumed() {
    let mut kept = Kept::new();
    let (ann, _) = attach(&mut kept, 0, session("ann"));
    ann.vanish(&mut kept.world);
    let storage = kept.storage.restart();
    storage.advance_millis(2 * 3_600_000);
    let mut kept = Kept::on(storage);
    assert!(!attach(&mut kept, 1, session("ann")).1);
}

#[test]
fn a_session_that_was_attached_has_its_whole_time_from_the_restart_on() {
    let mut kept = Kept::new();
    attach(&mut kept, 0, session("ann"));
    // Twice: what the first start has decided is not decided anew.
    let kept = kept.kill_for(10 * HOUR);
    let mut kept = kept.kill_for(HOUR / 2);
    kept.advance(HOUR / 2 - MINUTE);
    assert_eq!(kept.sessions(), 1);
    kept.advance(MINUTE);
    assert_eq!(kept.sessions(), 0);
}

/// MQTT 5.0 section 3.14.2.2.2
#[test]
fn a_goodbye_changes_how_long_a_session_lives() {
    let mut kept = Kept::new();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| {
        let expiry = if name == "cid" { Duration::ZERO } else { HOUR };
        attach(&mut kept, 0, session(name).expiry(expiry)).0
    });
    cid.subscribe(&mut kept.world, "late");
    cid.join(&mut kept.world, "group", "later");
    ann.set_farewell(Some(Duration::ZERO), b"");
    bob.set_farewell(Some(3 * HOUR), b"");
    cid.set_farewell(Some(2 * HOUR), b"");
    [ann, bob, cid].iter().for_each(|toy| toy.leave(&mut kept.world, WillAction::Discard));
    let mut kept = kept.kill();
    assert_eq!((kept.sessions(), kept.subscriptions()), (2, 2));
    kept.advance(2 * HOUR);
    assert_eq!((kept.sessions(), kept.subscriptions()), (1, 0));
    kept.advance(HOUR);
    assert_eq!((kept.sessions(), kept.entries()), (0, 0));
}

/// Attaches a session and returns what its protocol had saved in it.
fn saved(kept: &mut Kept, worker: usize, name: &str) -> (Toy, Vec<Vec<u8>>) {
    let toy = kept.world.toy(worker);
    match toy.attach(&mut kept.world, session(name)) {
        Attachment::Now(attached) => (toy, attached.saved),
        other => panic!("the session is not free: {other:?}"),
    }
}

#[test]
fn what_a_protocol_has_left_comes_back() {
    let mut kept = Kept::new();
    let (ann, _) = attach(&mut kept, 0, session("ann"));
    ann.set_farewell(None, b"left");
    ann.vanish(&mut kept.world);
    let mut kept = kept.kill();
    let (ann, pieces) = saved(&mut kept, 1, "ann");
    assert_eq!((pieces, kept.entries()), (vec![b"left".to_vec()], 2));
    // It is kept until something else is.
    ann.vanish(&mut kept.world);
    assert_eq!(kept.entries(), 1);
    assert_eq!(saved(&mut kept.kill(), 0, "ann").1, Vec::<Vec<u8>>::new());
}

/// What was saved piece by piece comes back in that order; the whole takes the place of what came before.
#[test]
fn what_a_protocol_saves_while_it_is_attached_comes_back() {
    let mut kept = Kept::new();
    let (ann, _) = attach(&mut kept, 0, session("ann"));
    ann.save_more(&mut kept.world, b"a");
    ann.save(&mut kept.world, b"b");
    ann.save_more(&mut kept.world, b"c");
    let mut kept = kept.kill();
    assert_eq!(kept.entries(), 3);
    let (ann, pieces) = saved(&mut kept, 1, "ann");
    assert_eq!(pieces, [b"b", b"c"]);
    ann.save_more(&mut kept.world, b"d");
    assert_eq!(saved(&mut kept.kill(), 0, "ann").1, [b"b", b"c", b"d"]);
}

#[test]
fn a_session_that_is_not_kept_saves_nothing() {
    let mut kept = Kept::new();
    let (ann, _) = attach(&mut kept, 0, session("ann").expiry(Duration::ZERO));
    ann.save(&mut kept.world, b"a");
    assert_eq!(kept.entries(), 0);
}

#[test]
fn a_session_changes_hands_between_workers_without_a_gap() {
    let mut kept = Kept::new();
    attach(&mut kept, 0, session("ann")).0.subscribe(&mut kept.world, "a");
    let other = kept.world.toy(1);
    assert!(matches!(other.attach(&mut kept.world, session("ann")), Attachment::Later));
    kept.world.run();
    assert!(other.take_reply().unwrap().unwrap().present);
    // What the first connection left was written before what the second one began.
    let kept = kept.kill();
    assert_eq!((kept.sessions(), kept.subscriptions()), (1, 1));
}

#[test]
fn nothing_is_left_of_sessions_that_end() {
    let mut kept = Kept::new();
    for (worker, name) in [(0, "ann"), (1, "bob")] {
        let (toy, _) = attach(&mut kept, worker, session(name));
        toy.subscribe(&mut kept.world, "a/+");
        toy.join(&mut kept.world, "group", "b");
        toy.set_farewell(None, b"saved");
        toy.vanish(&mut kept.world);
        attach(&mut kept, 1 - worker, session(name)).0.fail(&mut kept.world, CloseReason::PeerClosed);
    }
    assert!(kept.entries() > 4);
    kept.advance(2 * HOUR);
    assert_eq!((kept.sessions(), kept.entries(), kept.storage.streams().len()), (0, 0, 1));
}

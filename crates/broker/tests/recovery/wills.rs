//! Wills that outlive the process: published once, at their time, or not at all.

use crate::{HOUR, Kept, MINUTE, QOS1};
use bytes::Bytes;
use std::time::Duration;
use tidegate_message::Topic;
use tidegate_protocol::{Will, WillAction};
use tidegate_testkit::pair::toy::{Attaching, session};

fn will(delay: Duration) -> Will {
    let (topic, payload) = (Topic::parse(b"will").unwrap(), Bytes::from_static(b"gone"));
    Will { topic, payload, qos: QOS1, retain: true, properties: None, expiry: None, delay }
}

/// A world in which somebody has attached like this.
fn with(attaching: Attaching) -> Kept {
    let mut kept = Kept::new();
    kept.world.attached(1, attaching);
    kept
}

/// How often the will was published by now: each time it was is seen by who has subscribed before, or is retained.
fn published(kept: &mut Kept) -> usize {
    kept.world.run();
    kept.world.node().gauges().retained_messages
}

/// [MQTT-3.1.2-8] [MQTT-3.1.1/3.1.2-8]: the end of the process ends the connection, and a session that was not to outlive that as well.
#[test]
fn a_will_is_published_after_the_process_has_ended() {
    for expiry in [Duration::ZERO, HOUR] {
        let mut kept = with(session("ann").expiry(expiry).will(will(Duration::ZERO))).kill();
        assert_eq!(kept.world.node().recovered().wills, 1);
        kept.advance(Duration::ZERO);
        assert_eq!(published(&mut kept), 1);
        // Once: nothing of it is left for the next start but what was retained.
        let kept = kept.kill();
        assert_eq!(kept.world.node().recovered().wills, 0);
    }
}

/// [MQTT-3.1.3-9] and MQTT 5.0 section 3.1.3.2.2: the delay begins when the connection is lost, which the restart finds out.
#[test]
fn the_delay_of_a_will_begins_with_the_restart_where_the_client_was_there() {
    let mut kept = with(session("ann").will(will(2 * MINUTE))).kill_for(HOUR / 2);
    kept.advance(MINUTE);
    assert_eq!(published(&mut kept), 0);
    let mut kept = kept.kill();
    kept.advance(MINUTE);
    assert_eq!(published(&mut kept), 1);
}

#[test]
fn a_will_that_came_due_while_the_process_was_down_is_published_at_the_start() {
    let mut kept = with(session("bob"));
    kept.world.attached(0, session("ann").will(will(MINUTE))).vanish(&mut kept.world);
    let mut kept = kept.kill_for(HOUR / 2);
    kept.advance(Duration::ZERO);
    assert_eq!((published(&mut kept), kept.sessions()), (1, 2));
}

/// [MQTT-3.1.3-9]: a client that comes back in time is not dead.
#[test]
fn a_client_that_comes_back_after_the_restart_takes_its_will_with_it() {
    let mut kept = with(session("ann").will(will(MINUTE))).kill();
    kept.world.attached(0, session("ann"));
    kept.advance(2 * MINUTE);
    assert_eq!(published(&mut kept), 0);
    assert_eq!(kept.kill().world.node().recovered().wills, 0);
}

/// [MQTT-3.1.2-10] [MQTT-3.1.1/3.1.2-10]
#[test]
fn a_goodbye_takes_the_will_out_of_the_store() {
    for expiry in [Duration::ZERO, HOUR] {
        let mut kept = Kept::new();
        let ann = kept.world.attached(0, session("ann").expiry(expiry).will(will(Duration::ZERO)));
        ann.leave(&mut kept.world, WillAction::Discard);
        let mut kept = kept.kill();
        kept.advance(Duration::ZERO);
        assert_eq!((published(&mut kept), kept.world.node().recovered().wills), (0, 0));
    }
}

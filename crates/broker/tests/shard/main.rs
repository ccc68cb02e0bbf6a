//! The broker as a whole, driven by toy machines with a fake clock: one behaviour a test.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod access;
mod answers;
mod batches;
mod bounded_by_disk;
mod credit;
mod delivery;
mod following;
mod following_changes;
mod forwarded;
mod full_disk;
mod group_order;
mod identity;
mod joining;
mod keep_last;
mod keeping;
mod keeping_groups;
mod kept_queues;
mod kept_retained;
mod limits;
mod live_first;
mod moving;
mod output;
mod overflow;
mod publishers;
mod queue_lifetime;
mod queue_policies;
mod queue_rights;
mod queue_room;
mod queues;
mod reconfiguring;
mod replies;
mod retained;
mod self_delivery;
mod sessions;
mod several_sessions;
mod sharing;
mod sharing_limits;
mod system;
mod taking_over;
mod throttling;
mod timers;
mod wills;
mod windows;
mod witness;

use std::time::Duration;
use tidegate_message::QoS;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const QOS0: QoS = QoS::AtMostOnce;
const QOS1: QoS = QoS::AtLeastOnce;
const QOS2: QoS = QoS::ExactlyOnce;

/// The node holds nothing any more.
fn assert_nothing_is_left(world: &tidegate_testkit::pair::World) {
    let gauges = world.node().gauges();
    let held = [gauges.sessions, gauges.subscriptions, gauges.queued_messages, gauges.queued_bytes];
    assert_eq!(held, [0; 4], "{gauges:?}");
}

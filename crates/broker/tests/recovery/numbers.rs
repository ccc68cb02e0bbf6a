//! No queue gives a number again that it gave before a restart, whether anything of it is left or not.

use crate::{Kept, MINUTE, QOS1};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_protocol::{DeliveryTag, Publish};
use tidegate_storage::{MemoryStorage, Storage, StreamId};
use tidegate_testkit::pair::toy::{Toy, session};

const QUEUE: &str = "$queue/jobs";
const QOS2: QoS = QoS::ExactlyOnce;

fn tags(toy: &Toy) -> Vec<u64> {
    toy.got().iter().map(|got| got.tag.unwrap()).collect()
}

fn publish(kept: &mut Kept, topic: &str, qos: QoS) {
    let publisher = kept.world.toy(1);
    publisher.publish(&mut kept.world, topic, "m", qos).unwrap();
    kept.world.run();
}

/// An acknowledgement that a client sends late is one of a message that it has had.
#[test]
fn a_late_acknowledgement_settles_nothing_new() {
    for qos in [QOS1, QOS2] {
        let mut kept = Kept::new();
        let ann = kept.world.attached(0, session("ann"));
        ann.subscribe(&mut kept.world, "a");
        publish(&mut kept, "a", qos);
        let before = tags(&ann);
        before.iter().for_each(|tag| ann.accept(&mut kept.world, *tag));
        kept.world.run();
        let mut kept = kept.kill();
        let ann = kept.world.attached(1, session("ann"));
        publish(&mut kept, "a", qos);
        let after = tags(&ann);
        assert!(before.len() == 1 && after.len() == 1 && before < after, "{before:?} {after:?}");
        before.iter().for_each(|tag| ann.accept(&mut kept.world, *tag));
        // It is there still.
        let mut kept = kept.kill();
        let ann = kept.world.attached(0, session("ann"));
        kept.world.run();
        assert_eq!(tags(&ann), after);
    }
}

/// [MQTT-4.4.0-1]: what is sent again has the identifier that it had, however many restarts there were while it was under way. It is derived from
/// the tag, so nothing that comes later may have taken it.
#[test]
fn what_is_under_way_over_restarts_has_identifiers_of_its_own() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann"));
    ann.subscribe(&mut kept.world, "a");
    for _ in 0..5 {
        publish(&mut kept, "a", QOS2);
        publish(&mut kept, "a", QOS2);
        kept = kept.kill();
    }
    let ann = kept.world.attached(0, session("ann"));
    kept.world.run();
    let tags = tags(&ann);
    assert_eq!(tags.len(), 10);
    let distance = |from: u64, to: u64| (to - from) % DeliveryTag::ROUND;
    for (at, tag) in tags.iter().enumerate() {
        // Two in each life; between lives there is room for what was settled without the client knowing it.
        let near = tags.iter().skip(at + 1).filter(|later| distance(*tag, **later) < 1000).count();
        assert_eq!(near, usize::from(at % 2 == 0), "{tags:?}");
    }
}

/// The same where nothing was kept under the tag: what a member gets of a group at level 1 is the group's.
#[test]
fn the_tag_of_a_delivery_without_an_entry_is_not_given_again() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann"));
    ann.subscribe(&mut kept.world, QUEUE);
    publish(&mut kept, QUEUE, QOS1);
    let before = tags(&ann);
    let mut kept = kept.kill();
    let ann = kept.world.attached(1, session("ann"));
    kept.world.run();
    let after = tags(&ann);
    assert!(before.len() == 1 && after.len() == 1 && before < after, "{before:?} {after:?}");
}

/// [MQTT-4.3.3-1]: a client may hold the identifier of a message that has expired at the gateway.
#[test]
fn the_tag_of_what_has_expired_is_not_given_again() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann"));
    ann.subscribe(&mut kept.world, "a");
    let publisher = kept.world.toy(1);
    let short = |publish: &mut Publish<'_>| publish.expiry = Some(MINUTE);
    publisher.publish_with(&mut kept.world, "a", "m", QOS2, short).unwrap();
    kept.world.run();
    let before = tags(&ann);
    let kept = kept.kill_for(2 * MINUTE);
    let mut kept = kept.kill_for(2 * MINUTE);
    let ann = kept.world.attached(0, session("ann"));
    publish(&mut kept, "a", QOS2);
    let after: Vec<u64> = tags(&ann).into_iter().filter(|tag| !before.contains(tag)).collect();
    assert!(before.len() == 1 && after.len() == 1 && before < after, "{before:?} {after:?}");
}

/// The places of a queue's messages rise over restarts, so that what a session has taken finds its own again.
#[test]
fn the_places_of_a_queue_rise_over_restarts() {
    let mut kept = Kept::new();
    let mut places = Vec::new();
    for _ in 0..3 {
        publish(&mut kept, QUEUE, QOS2);
        let streams = kept.storage.streams();
        places.extend(
            streams.iter().filter(|found| found.stream >= StreamId::FIRST_QUEUE).map(|found| found.last),
        );
        let ann = kept.world.attached(0, session("ann"));
        ann.subscribe(&mut kept.world, QUEUE);
        kept.world.run();
        tags(&ann).iter().for_each(|tag| ann.accept(&mut kept.world, *tag));
        ann.set_farewell(Some(Duration::ZERO), b"");
        ann.leave(&mut kept.world, tidegate_protocol::WillAction::Discard);
        kept.world.run();
        kept = kept.kill();
    }
    assert!(
        places.len() == 3 && places.is_sorted() && places[0] < places[1] && places[1] < places[2],
        "{places:?}"
    );
}

/// What the power takes with it has been seen as well.
#[test]
fn a_number_that_was_seen_and_lost_is_not_given_again() {
    let mut kept = Kept::on(MemoryStorage::manual());
    let ann = kept.world.attached(0, session("ann"));
    ann.subscribe(&mut kept.world, "a");
    kept.storage.sync_all();
    publish(&mut kept, "a", QOS1);
    let before = tags(&ann);
    let mut kept = Kept::on(kept.storage.crash());
    let ann = kept.world.attached(1, session("ann"));
    kept.world.run();
    publish(&mut kept, "a", QOS1);
    let after = tags(&ann);
    assert!(before.len() == 1 && after.len() == 1 && before < after, "{before:?} {after:?}");
}

/// One note for all queues, and none where nothing is kept.
#[test]
fn what_is_not_kept_is_not_noted() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann").expiry(Duration::ZERO));
    ann.subscribe(&mut kept.world, "a");
    publish(&mut kept, "a", QOS1);
    assert_eq!((tags(&ann).len(), kept.storage.streams().len()), (1, 0));
    for name in ["bob", "cid"] {
        kept.world.attached(0, session(name)).subscribe(&mut kept.world, "a");
    }
    publish(&mut kept, "a", QOS1);
    assert_eq!(kept.storage.summary(StreamId::GIVEN).map(|summary| summary.entries), Some(1));
}

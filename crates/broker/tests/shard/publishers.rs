//! Who has published a message, and when, for sessions that want to know.

use crate::{QOS0, QOS1, QOS2};
use std::sync::Arc;
use tidegate_broker::{Limits, Overflow};
use tidegate_message::{Publisher, Topic};
use tidegate_protocol::{Will, WillAction};
use tidegate_storage::MemoryStorage;
use tidegate_testkit::pair::toy::{message, session};
use tidegate_testkit::pair::{WALL_MILLIS, World};

fn publisher(user: Option<&str>, client_id: Option<&str>) -> Publisher {
    let [user, client_id] = [user, client_id].map(|text| text.map(Box::from));
    Publisher { client_id, user, published_at_millis: WALL_MILLIS, taken_at_millis: 0 }
}

/// Whether it goes straight into the output, waits, or is one of a batch; on the same worker and on another one.
#[test]
fn who_has_published_is_told_whoever_wants_to_know() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        let pump = world.toy_as(0, "plant", "pump-7");
        let forward = world.attached(worker, session("f").credit(2).wants_publisher());
        let other = world.attached(worker, session("other"));
        forward.subscribe(&mut world, "a");
        other.subscribe(&mut world, "#");
        for qos in [QOS0, QOS1, QOS2] {
            pump.publish(&mut world, "a", "x", qos).unwrap();
        }
        pump.ask(&mut world, |broker| broker.publish_all(&[message("a", "y", QOS1)])).unwrap();
        pump.publish(&mut world, "b", "for others only", QOS1).unwrap();
        world.run();
        forward.got().iter().filter_map(|got| got.tag).for_each(|tag| forward.accept(&mut world, tag));
        world.run();
        let expected = publisher(Some("plant"), Some("pump-7"));
        assert_eq!(forward.take_publishers(), vec![expected; 4]);
        world.toy(0).publish(&mut world, "a", "x", QOS0).unwrap();
        world.run();
        assert_eq!(forward.take_publishers(), [publisher(None, None)]);
    }
}

/// Where nobody wants it nothing is kept: `other` gets what `forward` does not.
#[test]
fn nothing_is_told_where_nobody_wants_it() {
    let mut world = World::new(1);
    let forward = world.attached(0, session("f").wants_publisher());
    let other = world.attached(0, session("other"));
    other.subscribe(&mut world, "a");
    forward.subscribe(&mut world, "b");
    world.toy_as(0, "plant", "pump-7").publish(&mut world, "a", "x", QOS1).unwrap();
    world.run();
    assert_eq!((other.got_payloads(), other.take_publishers()), (vec!["x".to_owned()], Vec::new()));
}

/// A session that is away wants it still, also before it has come back to the next process. How long something has waited goes on over the
/// restart, whatever the clock on the wall says.
#[test]
fn it_outlives_the_process_with_the_message() {
    let storage = Arc::new(MemoryStorage::new());
    let limits = Limits { queue_overflow: Overflow::DropNewest, ..Limits::default() };
    let mut world = World::on_storage(2, limits.clone(), storage.clone());
    let forward = world.attached(1, session("f").wants_publisher());
    forward.subscribe(&mut world, "a");
    forward.vanish(&mut world);
    let pump = world.toy_as(0, "plant", "pump-7");
    pump.publish(&mut world, "a", "1", QOS1).unwrap();
    world.run();
    let storage = Arc::new(storage.restart());
    storage.advance_millis(7_000);
    let mut world = World::on_storage(2, limits, storage.clone());
    world.run();
    world.toy_as(0, "plant", "pump-8").publish(&mut world, "a", "2", QOS1).unwrap();
    world.run();
    let backlog = world.node().backlog("toy", "f").unwrap();
    assert_eq!((backlog.oldest_waiting_millis, backlog.oldest_taken_at_millis), (Some(WALL_MILLIS), Some(0)));
    let forward = world.attached(0, session("f").wants_publisher());
    world.run();
    assert_eq!(forward.got_payloads(), ["1", "2"]);
    let expected = [("pump-7", 0), ("pump-8", 7_000)].map(|(client, taken_at_millis)| Publisher {
        taken_at_millis,
        ..publisher(Some("plant"), Some(client))
    });
    assert_eq!(forward.take_publishers(), expected);
}

/// A will is its client's.
#[test]
fn a_will_says_whose_it_is() {
    let mut world = World::new(1);
    let forward = world.attached(0, session("f").wants_publisher());
    forward.subscribe(&mut world, "a");
    let pump = world.toy_as(0, "plant", "pump-7");
    let (topic, payload) = (Topic::parse(b"a").unwrap(), "gone".into());
    let (qos, delay) = (QOS1, std::time::Duration::ZERO);
    let will = Will { topic, payload, qos, retain: false, properties: None, expiry: None, delay };
    pump.attach(&mut world, session("pump-7").will(will));
    pump.leave(&mut world, WillAction::Publish);
    world.run();
    assert_eq!(forward.take_publishers(), [publisher(Some("plant"), Some("pump-7"))]);
}

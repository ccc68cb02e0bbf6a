//! That named queues exist, and the end of the process.

use crate::{HOUR, MINUTE, QOS1};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::{Limits, QueuePolicy};
use tidegate_storage::{MemoryStorage, Storage, StreamId};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, filter, session};

/// A world on a store, with a publisher that leaves nothing behind itself.
fn world_on(storage: MemoryStorage) -> (World, Toy, Arc<MemoryStorage>) {
    let storage = Arc::new(storage);
    let mut world = World::on_storage(2, Limits::default(), storage.clone());
    world.run();
    let alice = world.attached(0, session("alice").expiry(Duration::ZERO));
    (world, alice, storage)
}

fn queues_on(storage: MemoryStorage) -> usize {
    world_on(storage).0.node().gauges().named_queues
}

fn entries(storage: &MemoryStorage) -> usize {
    storage.summary(StreamId::QUEUES).map_or(0, |summary| summary.entries)
}

/// Time passes for the gateway and for its store alike.
fn pass(world: &mut World, storage: &MemoryStorage, time: Duration) {
    storage.advance_millis(u64::try_from(time.as_millis()).unwrap());
    world.advance(time);
}

fn expiring_after(expires: Duration) -> Vec<QueuePolicy> {
    vec![QueuePolicy { queues: vec![filter("$queue/#")], expires, ..QueuePolicy::default() }]
}

#[test]
fn a_queue_outlives_the_process_until_it_has_ended() {
    let (mut world, alice, storage) = world_on(MemoryStorage::manual());
    alice.subscribe(&mut world, "$queue/a");
    storage.sync_all();
    alice.subscribe(&mut world, "$queue/b");
    assert_eq!((queues_on(storage.crash()), queues_on(storage.restart())), (1, 2));
    assert!(alice.unsubscribe(&mut world, "$queue/a"));
    pass(&mut world, &storage, 6 * MINUTE);
    assert_eq!((entries(&storage), queues_on(storage.restart())), (1, 1));
    alice.vanish(&mut world);
    pass(&mut world, &storage, 6 * MINUTE);
    assert_eq!((entries(&storage), queues_on(storage.restart())), (0, 0));
}

/// The time in which a queue was not used goes on where it stood, in the gateway or without it.
#[test]
fn the_time_without_use_counts_over_restarts() {
    let (mut world, alice, storage) = world_on(MemoryStorage::manual());
    alice.subscribe(&mut world, "$queue/a");
    assert!(alice.unsubscribe(&mut world, "$queue/a"));
    pass(&mut world, &storage, 2 * MINUTE);
    let storage = storage.restart();
    storage.advance_millis(120_000);
    let (mut world, _, storage) = world_on(storage);
    assert_eq!(world.node().gauges().named_queues, 1);
    pass(&mut world, &storage, MINUTE - Duration::from_secs(1));
    assert_eq!(world.node().gauges().named_queues, 1);
    pass(&mut world, &storage, Duration::from_secs(2));
    assert_eq!((world.node().gauges().named_queues, entries(&storage)), (0, 0));
}

/// A queue that was in use a moment ago has all its time left, however old it is; to within the minute in which its use is noted.
#[test]
fn the_last_use_is_noted_now_and_then() {
    let (mut world, alice, storage) = world_on(MemoryStorage::manual());
    world.set_queue_policies(expiring_after(24 * HOUR));
    alice.subscribe(&mut world, "$queue/a");
    for _ in 0..48 {
        pass(&mut world, &storage, HOUR);
    }
    assert_eq!(entries(&storage), 1);
    let (mut world, _, storage) = world_on(storage.restart());
    world.set_queue_policies(expiring_after(24 * HOUR));
    pass(&mut world, &storage, 24 * HOUR - 2 * MINUTE);
    assert_eq!(world.node().gauges().named_queues, 1);
    pass(&mut world, &storage, 2 * MINUTE);
    assert_eq!(world.node().gauges().named_queues, 0);
}

/// A queue that is made anew under the same name is another one, and the only one after a restart.
#[test]
fn a_queue_that_was_made_anew_is_the_one_that_comes_back() {
    let (mut world, alice, storage) = world_on(MemoryStorage::manual());
    for _ in 0..3 {
        alice.subscribe(&mut world, "$queue/a");
        assert!(alice.unsubscribe(&mut world, "$queue/a"));
        pass(&mut world, &storage, 6 * MINUTE);
    }
    alice.subscribe(&mut world, "$queue/a");
    assert_eq!((entries(&storage), queues_on(storage.restart())), (1, 1));
}

/// One that goes for another at the limit goes from the store as well, and more than may be come back.
#[test]
fn the_limit_counts_for_new_queues_only() {
    let storage = Arc::new(MemoryStorage::manual());
    let mut world = World::on_storage(1, Limits { queues: 2, ..Limits::default() }, storage.clone());
    let alice = world.attached(0, session("alice").expiry(Duration::ZERO));
    for name in ["a", "b", "c"] {
        let name = format!("$queue/{name}");
        alice.subscribe(&mut world, &name);
        assert!(alice.unsubscribe(&mut world, &name));
    }
    assert_eq!(entries(&storage), 2);
    let limits = Limits { queues: 1, ..Limits::default() };
    let mut world = World::on_storage(1, limits, Arc::new(storage.restart()));
    world.run();
    assert_eq!(world.node().gauges().named_queues, 2);
    let alice = world.attached(0, session("alice").expiry(Duration::ZERO));
    alice.publish(&mut world, "$queue/b", "x", QOS1).unwrap();
}

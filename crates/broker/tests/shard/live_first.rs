//! A consumer that takes newer deliveries before older ones: as a machine sees it.

use crate::{HOUR, QOS1, assert_nothing_is_left};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_protocol::{Backlog, DeliveryTag, Outcome, Settlement};
use tidegate_storage::MemoryStorage;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, Toy, session};

fn bridge(world: &mut World, worker: usize) -> Toy {
    let attaching = session("bridge").settlement(Settlement::Always).bounded_by_disk().with_backlog();
    let toy = world.attached(worker, attaching);
    toy.subscribe(world, "a");
    toy
}

fn publish(world: &mut World, publisher: &Toy, numbers: std::ops::Range<u32>) {
    for number in numbers {
        publisher.publish(world, "a", &number.to_string(), QOS1).unwrap();
    }
    world.run();
}

fn arrange(world: &mut World, toy: &Toy, backlog: Backlog) {
    toy.arrange(world, backlog);
    world.run();
}

/// What has come: the payload, and whether it is of the backlog.
fn got(toy: &Toy) -> Vec<(String, bool)> {
    toy.got().into_iter().map(|got| (got.payload, got.is_backlog)).collect()
}

fn live(numbers: impl IntoIterator<Item = u32>) -> Vec<(String, bool)> {
    numbers.into_iter().map(|number| (number.to_string(), false)).collect()
}

fn backlog(numbers: impl IntoIterator<Item = u32>) -> Vec<(String, bool)> {
    numbers.into_iter().map(|number| (number.to_string(), true)).collect()
}

/// From the same worker and from another one.
#[test]
fn live_messages_come_at_once_and_the_backlog_as_it_is_asked_for() {
    for publisher in [0, 1] {
        let mut world = World::on_storage(2, Limits::default(), Arc::new(MemoryStorage::new()));
        let toy = bridge(&mut world, 0);
        let alice = world.toy(publisher);
        publish(&mut world, &alice, 0..5);
        assert_eq!(got(&toy), []);
        arrange(&mut world, &toy, Backlog::Overtaken);
        publish(&mut world, &alice, 5..7);
        assert_eq!(got(&toy), live(5..7));
        arrange(&mut world, &toy, Backlog::More(2));
        assert_eq!(got(&toy), backlog(0..2));
        publish(&mut world, &alice, 7..8);
        assert_eq!(got(&toy), live(7..8));
        arrange(&mut world, &toy, Backlog::Grows);
        publish(&mut world, &alice, 8..10);
        arrange(&mut world, &toy, Backlog::More(4));
        assert_eq!(got(&toy), backlog([2, 3, 4, 8]));
        for tag in 1..=9 {
            toy.ask(&mut world, move |broker| broker.settle(SESSION, DeliveryTag(tag), Outcome::Accepted));
        }
        arrange(&mut world, &toy, Backlog::More(4));
        assert_eq!(got(&toy), backlog([9]));
        // Nothing waits any more, and three are still asked for.
        arrange(&mut world, &toy, Backlog::Overtaken);
        publish(&mut world, &alice, 10..11);
        assert_eq!(got(&toy), live([10]));
        toy.set_farewell(Some(Duration::ZERO), b"");
        toy.vanish(&mut world);
        world.end_everything(HOUR);
        assert_nothing_is_left(&world);
    }
}

/// The credit is for both parts.
#[test]
fn no_more_comes_than_there_is_credit_for() {
    let mut world = World::on_storage(1, Limits::default(), Arc::new(MemoryStorage::new()));
    let (toy, alice) = (bridge(&mut world, 0), world.toy(0));
    publish(&mut world, &alice, 0..8);
    arrange(&mut world, &toy, Backlog::Overtaken);
    arrange(&mut world, &toy, Backlog::More(7));
    assert_eq!(got(&toy), backlog(0..7));
    publish(&mut world, &alice, 8..20);
    assert_eq!(got(&toy), live(8..11));
    toy.accept(&mut world, 1);
    world.run();
    assert_eq!(got(&toy), live(11..12));
}

/// What its connection has left comes again first, as backlog and under its tags; what was live behind it.
#[test]
fn after_a_connection_everything_is_backlog() {
    let mut world = World::on_storage(2, Limits::default(), Arc::new(MemoryStorage::new()));
    let (toy, alice) = (bridge(&mut world, 0), world.toy(1));
    publish(&mut world, &alice, 0..3);
    arrange(&mut world, &toy, Backlog::Overtaken);
    publish(&mut world, &alice, 3..5);
    let before: Vec<_> = toy.got().into_iter().map(|got| (got.payload, got.tag)).collect();
    toy.vanish(&mut world);
    publish(&mut world, &alice, 5..6);
    let toy = bridge(&mut world, 1);
    assert_eq!(got(&toy), []);
    arrange(&mut world, &toy, Backlog::Overtaken);
    publish(&mut world, &alice, 6..7);
    assert_eq!(got(&toy), live(6..7));
    arrange(&mut world, &toy, Backlog::More(10));
    let again = toy.got();
    assert!(again.iter().all(|got| got.is_backlog));
    let tags: Vec<_> = again.iter().take(2).map(|got| (got.payload.clone(), got.tag)).collect();
    assert_eq!(tags, before);
    let rest: Vec<_> = again.into_iter().skip(2).map(|got| got.payload).collect();
    assert_eq!(rest, ["0", "1", "2", "5"]);
}

/// Of a backlog that is on the disk only as of one in memory.
#[test]
fn live_messages_overtake_a_backlog_that_is_on_the_disk() {
    let mut world = World::on_storage(2, Limits::default(), Arc::new(MemoryStorage::new()));
    let (toy, here, elsewhere) = (bridge(&mut world, 0), world.toy(0), world.toy(1));
    publish(&mut world, &here, 0..2000);
    assert!(world.node().gauges().queued_messages_on_disk > 0);
    arrange(&mut world, &toy, Backlog::Overtaken);
    publish(&mut world, &here, 2000..2002);
    publish(&mut world, &elsewhere, 2002..2004);
    assert_eq!(got(&toy), live(2000..2004));
    arrange(&mut world, &toy, Backlog::More(3));
    assert_eq!(got(&toy), backlog(0..3));
}

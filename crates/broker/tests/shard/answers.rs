//! Requests that may not be acknowledged before the disk has them.

use crate::QOS1;
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_protocol::{Answer, Attachment, CloseReason, ConsumerId, Refusal, Saved, Saving, WillAction};
use tidegate_storage::{MemoryStorage, Urgency};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, Toy, session};

const LATER: Answer = Answer::Later;

/// A world on a disk that a test lets come further.
fn world(workers: usize) -> (World, Arc<MemoryStorage>) {
    let storage = Arc::new(MemoryStorage::manual());
    (World::on_storage(workers, Limits::default(), storage.clone()), storage)
}

/// How many answers a toy has got since the last time; all of them good.
fn told(toy: &Toy) -> usize {
    let answers = toy.take_answers();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    answers.len()
}

/// Everything that a session asks for before stands on the disk.
fn settled(world: &mut World, storage: &MemoryStorage, toys: &[&Toy]) {
    storage.sync_all();
    world.run();
    toys.iter().for_each(|toy| drop(toy.take_answers()));
}

#[test]
fn nothing_is_acknowledged_before_the_disk_has_it() {
    let (mut world, storage) = world(1);
    let toy = world.attached(0, session("a"));
    assert_eq!(toy.save(&mut world, b"1"), LATER);
    assert_eq!(toy.subscribe(&mut world, "t").answer, LATER);
    storage.write_all();
    world.run();
    assert_eq!(told(&toy), 0);
    storage.sync_all();
    assert!(world.has_mail(0), "the storage wakes who waits for it");
    world.run();
    assert_eq!(told(&toy), 2);
    assert!(storage.urgencies().iter().all(|urgency| *urgency != Urgency::Written));
}

#[test]
fn nobody_is_woken_who_does_not_wait() {
    let (mut world, storage) = world(2);
    let toy = world.attached(1, session("a"));
    assert_eq!(toy.save(&mut world, b"1"), LATER);
    world.run();
    storage.sync_all();
    assert!(!world.has_mail(0) && world.has_mail(1));
    world.run();
    assert_eq!(told(&toy), 1);
    storage.sync_all();
    assert!(!world.has_mail(1));
}

/// A storage that has it at once still answers behind the request.
#[test]
fn an_answer_that_could_come_at_once_comes_behind_its_request() {
    let storage = Arc::new(MemoryStorage::new());
    let mut world = World::on_storage(1, Limits::default(), storage);
    let toy = world.attached(0, session("a"));
    let seen = toy.clone();
    let before = toy.ask(&mut world, move |broker| {
        assert_eq!(broker.save(SESSION, Saved::Whole(b"1"), Saving::Awaited), LATER);
        told(&seen)
    });
    assert_eq!((before, told(&toy)), (0, 1));
}

#[test]
fn without_a_store_or_a_session_that_survives_nothing_waits() {
    let mut alone = World::new(1);
    let toy = alone.attached(0, session("a"));
    assert_eq!(toy.subscribe(&mut alone, "t").answer, Answer::Now);
    assert_eq!(toy.save(&mut alone, b"1"), Answer::Now);
    let (mut world, _) = world(1);
    let toy = world.attached(0, session("a").expiry(Duration::ZERO));
    assert_eq!(toy.subscribe(&mut world, "t").answer, Answer::Now);
    assert_eq!(toy.publish(&mut world, "t", "x", QOS1).unwrap().answer, Answer::Now);
    // Nor does what nobody asks to be told of.
    let toy = world.attached(0, session("b"));
    let along =
        |broker: &mut dyn tidegate_protocol::Broker| broker.save(SESSION, Saved::More(b"1"), Saving::Along);
    assert_eq!(toy.ask(&mut world, along), Answer::Now);
    assert_eq!(told(&toy), 0);
}

/// Two sessions, the other one on this worker, that have asked for something to be kept.
fn both_save(world: &mut World, storage: &MemoryStorage, worker: usize) -> (Toy, Toy) {
    let (first, second) = (world.attached(0, session("a")), world.attached(worker, session("b")));
    settled(world, storage, &[&first, &second]);
    first.save(world, b"1");
    second.save(world, b"1");
    (first, second)
}

#[test]
fn each_connection_is_told_in_the_order_of_its_requests() {
    let (mut world, storage) = world(2);
    let (first, second) = both_save(&mut world, &storage, 1);
    storage.sync_all();
    first.save_more(&mut world, b"2");
    world.run();
    assert_eq!((told(&first), told(&second)), (1, 1));
    storage.set_failing(true);
    world.run();
    assert_eq!(first.take_answers(), [Err(Refusal::StoreFailing)]);
    assert!(second.take_answers().is_empty());
}

#[test]
fn what_a_failing_disk_does_not_keep_is_refused() {
    let (mut world, storage) = world(1);
    let toy = world.attached(0, session("a"));
    settled(&mut world, &storage, &[&toy]);
    toy.save(&mut world, b"1");
    storage.sync_all();
    toy.save(&mut world, b"2");
    storage.set_failing(true);
    world.run();
    assert_eq!(toy.take_answers(), [Ok(()), Err(Refusal::StoreFailing)]);
    // As long as that lasts everybody is refused, and at once.
    toy.save(&mut world, b"3");
    assert_eq!(toy.take_answers(), [Err(Refusal::StoreFailing)]);
    storage.set_failing(false);
    toy.save(&mut world, b"4");
    storage.sync_all();
    world.run();
    assert_eq!(told(&toy), 1);
}

#[test]
fn a_connection_that_ends_is_told_nothing_and_others_are() {
    let (mut world, storage) = world(1);
    let (first, second) = both_save(&mut world, &storage, 0);
    first.leave(&mut world, WillAction::Discard);
    // In its place, as far as the shard's table goes.
    let third = world.toy(0);
    storage.sync_all();
    world.run();
    assert_eq!((told(&first), told(&second), told(&third)), (0, 1, 0));
}

/// The machine of the claimant is in the middle of its own input when the other connection ends.
#[test]
fn a_connection_that_takes_another_one_over_is_told_of_what_it_asked_before() {
    let storage = Arc::new(MemoryStorage::new());
    let mut world = World::on_storage(1, Limits::default(), storage);
    let (first, second) = (world.attached(0, session("a")), world.attached(0, session("b")));
    first.set_farewell(None, b"kept");
    let attachment = second.ask(&mut world, |broker| {
        assert_eq!(broker.save(SESSION, Saved::Whole(b"1"), Saving::Awaited), LATER);
        broker.attach(tidegate_protocol::Attach {
            consumer: ConsumerId(1),
            protocol: "toy",
            client_id: "a",
            clean_start: false,
            expiry: Duration::from_secs(60),
            credit: 1,
            settlement: tidegate_protocol::Settlement::Always,
            will: None,
            limits: tidegate_protocol::SessionLimits::Usual,
            wants_publisher: false,
        })
    });
    assert!(matches!(attachment, Attachment::Now(attached) if attached.present));
    assert_eq!((first.link.ended(), told(&second)), (Some(CloseReason::SessionTakenOver), 1));
}

#[test]
fn who_is_owed_too_many_answers_is_not_read_from() {
    let (mut world, storage) = world(1);
    let toy = world.attached(0, session("a"));
    settled(&mut world, &storage, &[&toy]);
    for _ in 0..9_999 {
        assert_eq!(toy.save(&mut world, b"x"), LATER);
    }
    assert!(toy.can_ask(&mut world));
    toy.save(&mut world, b"x");
    assert!(!toy.can_ask(&mut world));
    world.arrive(&toy.link, b"?");
    world.run();
    // Nobody is blamed for a silence that is the gateway's.
    toy.set_timeout_silently(world.now);
    world.advance(Duration::from_secs(1));
    assert_eq!((told(&toy), toy.timeouts()), (0, 0));
    storage.sync_all();
    world.run();
    assert_eq!(told(&toy), 10_000);
    assert!(toy.can_ask(&mut world));
    assert_eq!(toy.save(&mut world, b"x"), LATER);
}

/// They could go at once, but each of them costs memory for as long as the disk takes.
#[test]
fn who_has_too_many_acknowledgements_behind_one_answer_is_not_read_from() {
    let (mut world, storage) = world(1);
    let toy = world.attached(0, session("a"));
    settled(&mut world, &storage, &[&toy]);
    assert_eq!(toy.save(&mut world, b"1"), LATER);
    toy.hold_back(9_999);
    assert!(toy.can_ask(&mut world));
    toy.hold_back(10_000);
    assert!(!toy.can_ask(&mut world));
    world.arrive(&toy.link, b"?");
    world.run();
    toy.set_timeout_silently(world.now);
    world.advance(Duration::from_secs(1));
    assert_eq!((told(&toy), toy.timeouts()), (0, 0));
    storage.sync_all();
    world.handle_mail(0);
    assert_eq!(told(&toy), 1);
    assert!(toy.can_ask(&mut world) && toy.is_read_again());
}

//! Publishers that are told what became of their messages where these were forwarded to.

use crate::{MINUTE, QOS0, QOS1, QOS2};
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::{Limits, Reconfiguration, TopicPolicies, TopicPolicy};
use tidegate_protocol::{Answer, DeliveryTag, Outcome, Refusal, Settlement};
use tidegate_storage::MemoryStorage;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SESSION, Toy, filter, message, session};

const NOT_FORWARDED: Result<(), Refusal> = Err(Refusal::NotForwarded);

/// A world in which `a/#` is answered when it was forwarded.
fn world_on(workers: usize, storage: &Arc<MemoryStorage>) -> World {
    let mut world = World::on_storage(workers, Limits::default(), storage.clone());
    world.reconfigure(answered_when_forwarded("a/#"));
    world
}

fn answered_when_forwarded(topics: &str) -> Reconfiguration {
    let policy =
        TopicPolicy { topics: vec![filter(topics)], awaits_forwards: true, ..TopicPolicy::default() };
    Reconfiguration {
        limits: Limits::default(),
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: Default::default(),
        topics: TopicPolicies(vec![policy]),
    }
}

fn world(workers: usize) -> World {
    world_on(workers, &Arc::new(MemoryStorage::new()))
}

fn forward(world: &mut World, worker: usize, name: &str) -> Toy {
    let forward = world.attached(worker, session(name).bounded_by_disk().credit(10_000));
    forward.subscribe(world, "a/#");
    world.run();
    forward.take_answers();
    forward
}

fn settle(world: &mut World, toy: &Toy, outcome: Outcome) {
    for tag in toy.got().iter().filter_map(|got| got.tag) {
        toy.ask(world, move |broker| broker.settle(SESSION, DeliveryTag(tag), outcome));
    }
    world.run();
}

fn publish(world: &mut World, toy: &Toy, topic: &str) {
    let published = toy.publish(world, topic, "x", QOS1).unwrap();
    assert_eq!(published.answer, Answer::Later);
    world.run();
}

/// Whatever workers they are on.
#[test]
fn a_publisher_is_told_when_every_forward_has_passed_its_message_on() {
    for (home, other) in [(0, 0), (1, 1), (0, 1)] {
        let mut world = world(2);
        let forwards = [forward(&mut world, home, "f"), forward(&mut world, other, "g")];
        let pump = world.toy(0);
        publish(&mut world, &pump, "a/1");
        for forward in &forwards {
            assert!(pump.take_answers().is_empty());
            settle(&mut world, forward, Outcome::Accepted);
        }
        assert_eq!(pump.take_answers(), [Ok(())]);
    }
}

/// The disk has to have it as well, for whoever else gets it.
#[test]
fn what_is_forwarded_before_it_is_on_the_disk_waits_for_that() {
    let storage = Arc::new(MemoryStorage::manual());
    let mut world = world_on(1, &storage);
    let forward = forward(&mut world, 0, "f");
    storage.sync_all();
    world.run();
    let pump = world.toy(0);
    publish(&mut world, &pump, "a/1");
    settle(&mut world, &forward, Outcome::Accepted);
    assert!(pump.take_answers().is_empty());
    storage.sync_all();
    world.run();
    assert_eq!(pump.take_answers(), [Ok(())]);
}

/// What no forward takes is answered as what is `synced`: other topics, other receivers, level 0, and nobody at all.
#[test]
fn what_no_forward_takes_does_not_wait_for_one() {
    let mut world = world(1);
    let forward = forward(&mut world, 0, "f");
    forward.subscribe(&mut world, "b");
    let other = world.attached(0, session("other"));
    other.subscribe(&mut world, "#");
    let pump = world.toy(0);
    pump.publish(&mut world, "b", "x", QOS1).unwrap();
    world.run();
    assert_eq!(pump.take_answers(), [Ok(())]);
    assert_eq!(pump.publish(&mut world, "a/1", "x", QOS0).unwrap().answer, Answer::Now);
    forward.unsubscribe(&mut world, "a/#");
    pump.publish(&mut world, "a/1", "x", QOS1).unwrap();
    world.run();
    assert_eq!(pump.take_answers(), [Ok(())]);
    other.unsubscribe(&mut world, "#");
    assert_eq!(pump.publish(&mut world, "a/1", "x", QOS1).unwrap().answer, Answer::Now);
}

/// In the order of its requests, and nobody else waits.
#[test]
fn other_publishers_are_answered_meanwhile() {
    let mut world = world(1);
    let forward = forward(&mut world, 0, "f");
    let keeper = world.attached(0, session("keeper"));
    keeper.subscribe(&mut world, "b");
    let (pump, other) = (world.toy(0), world.toy(0));
    for topic in ["a/1", "b"] {
        publish(&mut world, &pump, topic);
    }
    publish(&mut world, &other, "b");
    assert_eq!((pump.take_answers().len(), other.take_answers()), (0, vec![Ok(())]));
    settle(&mut world, &forward, Outcome::Accepted);
    assert_eq!(pump.take_answers(), [Ok(()), Ok(())]);
}

#[test]
fn a_message_that_is_refused_or_given_up_there_is_refused() {
    for outcome in [Outcome::Rejected, Outcome::GivenUp] {
        let mut world = world(1);
        let forwards = [forward(&mut world, 0, "f"), forward(&mut world, 0, "g")];
        let pump = world.toy(0);
        publish(&mut world, &pump, "a/1");
        settle(&mut world, &forwards[0], outcome);
        assert_eq!(pump.take_answers(), [NOT_FORWARDED], "{outcome:?}: nobody waits for the other one");
        settle(&mut world, &forwards[1], Outcome::Accepted);
        assert!(pump.take_answers().is_empty());
        assert_eq!(world.dropped("rejected"), u64::from(outcome == Outcome::Rejected));
    }
}

/// It has expired, or the forward is gone for good.
#[test]
fn a_message_that_is_dropped_on_its_way_is_refused() {
    let mut world = world(2);
    let f = forward(&mut world, 1, "f");
    f.vanish(&mut world);
    let pump = world.toy(0);
    pump.publish_with(&mut world, "a/1", "x", QOS1, |publish| publish.expiry = Some(MINUTE)).unwrap();
    publish(&mut world, &pump, "a/2");
    world.advance(2 * MINUTE);
    let f = world.attached(1, session("f").bounded_by_disk());
    world.run();
    assert_eq!(pump.take_answers(), [NOT_FORWARDED]);
    f.set_farewell(Some(Duration::ZERO), b"");
    f.leave(&mut world, tidegate_protocol::WillAction::Discard);
    world.run();
    assert_eq!(pump.take_answers(), [NOT_FORWARDED]);
}

/// However long it waits, in memory or on the disk only, and whoever else has gone meanwhile.
#[test]
fn a_forward_that_is_away_is_waited_for() {
    let mut world = world(2);
    let f = forward(&mut world, 1, "f");
    f.vanish(&mut world);
    let (pump, gone) = (world.toy(0), world.toy(0));
    for _ in 0..2_000 {
        for toy in [&pump, &gone] {
            toy.publish(&mut world, "a/1", "x", QOS1).unwrap();
        }
    }
    gone.vanish(&mut world);
    world.run();
    assert!(pump.take_answers().is_empty());
    let f = world.attached(0, session("f").bounded_by_disk().credit(10_000));
    world.run();
    settle(&mut world, &f, Outcome::Accepted);
    let answers = pump.take_answers();
    assert_eq!(answers.len(), 2_000);
    assert!(answers.iter().all(Result::is_ok));
}

/// A forward that settles what it had before the gateway began again has nobody to tell.
#[test]
fn who_waited_before_a_restart_is_not_waited_for() {
    let storage = Arc::new(MemoryStorage::new());
    let mut world = world_on(1, &storage);
    forward(&mut world, 0, "f").vanish(&mut world);
    let pump = world.toy(0);
    publish(&mut world, &pump, "a/1");
    let storage = Arc::new(storage.restart());
    let mut world = world_on(1, &storage);
    let f = world.attached(0, session("f").bounded_by_disk());
    let pump = world.toy(0);
    publish(&mut world, &pump, "a/2");
    settle(&mut world, &f, Outcome::Accepted);
    assert_eq!(pump.take_answers(), [Ok(())]);
    assert_eq!(world.node().backlog("toy", "f").map(|backlog| backlog.messages), Some(0));
}

/// One answer for all of them.
#[test]
fn a_batch_is_answered_when_all_of_it_has_been_passed_on() {
    let mut world = world(1);
    let forward = forward(&mut world, 0, "f");
    let pump = world.toy(0);
    let batch = [message("a/1", "1", QOS1), message("b", "2", QOS1), message("a/2", "3", QOS2)];
    let answer = pump.ask(&mut world, move |broker| broker.publish_all(&batch).unwrap());
    assert_eq!(answer, Answer::Later);
    world.run();
    let tags: Vec<u64> = forward.got().iter().filter_map(|got| got.tag).collect();
    assert_eq!(tags.len(), 2);
    for tag in tags {
        assert!(pump.take_answers().is_empty());
        forward.accept(&mut world, tag);
        world.run();
    }
    assert_eq!(pump.take_answers(), [Ok(())]);
}

/// Who takes it from a queue to which a forward belongs is who it was for; also where it becomes the taker's own.
#[test]
fn what_is_taken_from_a_queue_has_arrived() {
    let mut world = world(2);
    world.reconfigure(answered_when_forwarded("$queue/jobs"));
    let forward = world.attached(1, session("f").bounded_by_disk().credit(1));
    forward.subscribe(&mut world, "$queue/jobs");
    let worker = world.attached(0, session("worker").credit(1));
    worker.subscribe(&mut world, "$queue/jobs");
    world.run();
    let pump = world.toy(0);
    for _ in 0..2 {
        pump.publish(&mut world, "$queue/jobs", "x", QOS2).unwrap();
    }
    world.run();
    assert!(pump.take_answers().is_empty());
    settle(&mut world, &forward, Outcome::Accepted);
    settle(&mut world, &worker, Outcome::Accepted);
    assert_eq!(pump.take_answers(), [Ok(()), Ok(())]);
}

/// Who need not settle what it takes has it when it was sent, at once or after it has waited.
#[test]
fn what_is_taken_from_a_queue_without_settling_has_arrived() {
    let mut world = world(1);
    world.reconfigure(answered_when_forwarded("$queue/jobs"));
    let forward = world.attached(0, session("f").bounded_by_disk().credit(1));
    forward.subscribe(&mut world, "$queue/jobs");
    world.run();
    let pump = world.toy(0);
    for _ in 0..2 {
        publish(&mut world, &pump, "$queue/jobs");
    }
    let automatic = || session("automatic").settlement(Settlement::Automatic).credit(10);
    let worker = world.attached(0, automatic());
    worker.subscribe(&mut world, "$queue/jobs");
    world.run();
    assert_eq!(worker.got().len(), 1);
    settle(&mut world, &forward, Outcome::Accepted);
    assert_eq!(pump.take_answers(), [Ok(()), Ok(())]);
    forward.vanish(&mut world);
    publish(&mut world, &pump, "$queue/jobs");
    assert_eq!((worker.got().len(), pump.take_answers()), (1, vec![Ok(())]));
}

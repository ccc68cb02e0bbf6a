//! What waited in queues is there again, in its order and under its tags.

use crate::{HOUR, Kept, MINUTE, QOS1};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_protocol::{DeliveryTag, Outcome, Publish, WillAction};
use tidegate_storage::{MemoryStorage, Storage, StreamId};
use tidegate_testkit::pair::toy::{Got, SESSION, Toy, message, session};

const QUEUE: &str = "$queue/jobs";
const QOS2: QoS = QoS::ExactlyOnce;

fn publish(kept: &mut Kept, topic: &str, payloads: &[&str], qos: QoS) {
    for worker in 0..2 {
        let publisher = kept.world.toy(worker);
        for payload in payloads.iter().skip(worker).step_by(2) {
            publisher.publish(&mut kept.world, topic, payload, qos).unwrap();
            kept.world.run();
        }
    }
}

fn tagged(got: &[Got]) -> Vec<(u64, &str, bool)> {
    got.iter().map(|got| (got.tag.unwrap(), got.payload.as_str(), got.redelivered)).collect()
}

/// Messages in the streams of queues.
fn left(kept: &Kept) -> usize {
    let queues = kept.storage.streams().into_iter().filter(|found| found.stream >= StreamId::FIRST_QUEUE);
    queues.map(|found| found.entries).sum()
}

fn come_back(kept: &mut Kept, worker: usize, name: &str) -> Toy {
    let toy = kept.world.attached(worker, session(name).credit(3));
    kept.world.run();
    toy
}

/// [MQTT-4.4.0-1] [MQTT-3.1.1/4.4.0-1]: what may have been under way comes first, under its tag and marked as repeated; what was accepted
/// does not come.
#[test]
fn a_session_has_its_messages_again() {
    for qos in [QOS1, QOS2] {
        let mut kept = Kept::new();
        let ann = come_back(&mut kept, 1, "ann");
        ann.subscribe(&mut kept.world, "a");
        publish(&mut kept, "a", &["1", "2", "3", "4", "5", "6"], qos);
        let got = ann.got();
        assert_eq!(tagged(&got), [(1, "1", false), (2, "3", false), (3, "5", false)]);
        ann.accept(&mut kept.world, 2);
        let mut kept = kept.kill();
        let ann = come_back(&mut kept, 0, "ann");
        assert_eq!(tagged(&ann.got()), [(1, "1", true), (3, "5", true), (4, "2", true)]);
        for tag in [1, 3, 4] {
            ann.accept(&mut kept.world, tag);
        }
        kept.world.run();
        assert_eq!(tagged(&ann.got()), [(5, "4", true), (6, "6", true)]);
        publish(&mut kept, "a", &["7"], qos);
        let new = ann.got();
        assert!(matches!(tagged(&new)[..], [(7.., "7", false)]));
        for tag in [5, 6, new[0].tag.unwrap()] {
            ann.accept(&mut kept.world, tag);
        }
        assert_eq!((left(&kept), left(&kept.kill())), (0, 0));
    }
}

/// [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/3.3.1-1]: settlements that were lost with the power stand in front of what was
/// under way, however often the process ends before the session is resumed.
#[test]
fn what_was_under_way_is_known_over_several_ends() {
    let mut kept = Kept::on(MemoryStorage::manual());
    let ann = come_back(&mut kept, 0, "ann");
    ann.subscribe(&mut kept.world, "a");
    publish(&mut kept, "a", &["1", "2", "3", "4", "5", "6"], QOS1);
    kept.storage.sync_all();
    assert_eq!(ann.got().len(), 3);
    [1, 2, 3].into_iter().for_each(|tag| ann.accept(&mut kept.world, tag));
    kept.world.run();
    assert_eq!(tagged(&ann.got()).len(), 3);
    let mut kept = Kept::on(Kept::on(kept.storage.crash()).storage.restart());
    let ann = come_back(&mut kept, 1, "ann");
    let again = ann.got();
    assert_eq!(again.len(), 3);
    again.iter().for_each(|got| ann.accept(&mut kept.world, got.tag.unwrap()));
    kept.world.run();
    assert!([again, ann.got()].iter().all(|got| got.len() == 3 && got.iter().all(|got| got.redelivered)));
}

/// The same where the client had room for more when it got them than when it came last.
#[test]
fn what_was_under_way_is_known_with_less_credit() {
    let mut kept = Kept::new();
    let ann = come_back(&mut kept, 0, "ann");
    ann.subscribe(&mut kept.world, "a");
    publish(&mut kept, "a", &["1", "2", "3", "4"], QOS2);
    assert_eq!(ann.got().len(), 3);
    ann.vanish(&mut kept.world);
    kept.world.attached(1, session("ann").credit(1)).vanish(&mut kept.world);
    let mut kept = kept.kill();
    let ann = come_back(&mut kept, 1, "ann");
    assert_eq!(tagged(&ann.got()).iter().map(|(.., again)| *again).collect::<Vec<_>>(), [true; 3]);
}

/// MQTT 5.0 section 3.3.2.3.3, [MQTT-3.3.2-5]: what nobody had begun to receive, as far as is known, expires after the restart as before.
#[test]
fn what_only_may_have_been_under_way_expires() {
    let mut kept = Kept::new();
    let ann = come_back(&mut kept, 0, "ann");
    ann.subscribe(&mut kept.world, "a");
    ann.vanish(&mut kept.world);
    let publisher = kept.world.toy(0);
    publisher.ask(&mut kept.world, |broker| {
        let expiry = Some(MINUTE);
        broker.publish(&Publish { expiry, ..message("a", "short", QOS1) }).unwrap();
        broker.publish(&message("a", "long", QOS1)).unwrap();
    });
    let mut kept = kept.kill();
    kept.world.advance(2 * MINUTE);
    let ann = come_back(&mut kept, 0, "ann");
    assert_eq!(ann.got_payloads(), ["long"]);
    assert_eq!(kept.world.dropped("expired"), 1);
}

/// What was not on the disk is lost with the power, and nothing else is.
#[test]
fn what_was_on_the_disk_survives_the_power() {
    let mut kept = Kept::on(MemoryStorage::manual());
    let ann = come_back(&mut kept, 1, "ann");
    ann.subscribe(&mut kept.world, "a");
    ann.vanish(&mut kept.world);
    publish(&mut kept, "a", &["1", "2"], QOS1);
    kept.storage.sync_all();
    publish(&mut kept, "a", &["3"], QOS1);
    let mut kept = Kept::on(kept.storage.crash());
    let ann = come_back(&mut kept, 0, "ann");
    assert_eq!(ann.got_payloads(), ["1", "2"]);
}

/// A long queue comes back whole and in its order, though most of it stays on the disk until it is its turn.
#[test]
fn a_long_queue_comes_back_in_its_order() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann"));
    ann.subscribe(&mut kept.world, "a");
    ann.vanish(&mut kept.world);
    let publisher = kept.world.toy(1);
    for number in 0..3000 {
        publisher.publish(&mut kept.world, "a", &number.to_string(), QOS1).unwrap();
    }
    let mut kept = kept.kill();
    assert_eq!(kept.world.node().recovered().messages, 3000);
    let ann = kept.world.attached(1, session("ann").credit(100));
    for number in 0..3000 {
        kept.world.run();
        let got = ann.got();
        got.iter().for_each(|got| ann.accept(&mut kept.world, got.tag.unwrap()));
        let numbers: Vec<u64> = got.iter().map(|got| got.payload.parse().unwrap()).collect();
        assert!(numbers.is_sorted());
        if numbers.last() == Some(&2999) {
            assert_eq!((left(&kept), kept.world.node().gauges().queued_messages), (0, 0));
            return;
        }
        assert!(number < 2999, "the queue does not come to its end");
    }
}

/// [MQTT-3.3.2-5]: the time in which nothing runs counts.
#[test]
fn what_has_expired_meanwhile_does_not_come() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann"));
    ann.subscribe(&mut kept.world, "a");
    ann.vanish(&mut kept.world);
    let publisher = kept.world.toy(1);
    let short = |publish: &mut Publish<'_>| publish.expiry = Some(MINUTE);
    publisher.publish_with(&mut kept.world, "a", "1", QOS1, short).unwrap();
    publisher.publish(&mut kept.world, "a", "2", QOS1).unwrap();
    kept.world.run();
    let mut kept = kept.kill_for(2 * MINUTE);
    let ann = kept.world.attached(0, session("ann"));
    kept.world.run();
    assert_eq!(ann.got_payloads(), ["2"]);
    assert_eq!((left(&kept), kept.world.node().recovered().messages_expired), (1, 1));
    assert_eq!(kept.world.dropped("expired"), 1);
}

/// What a consumer of a queue had at level 1 is for whoever comes first, as often delivered as it was given back.
#[test]
fn a_queue_has_its_messages_again() {
    let mut kept = Kept::new();
    let ann = come_back(&mut kept, 0, "ann");
    ann.subscribe(&mut kept.world, QUEUE);
    let bob = come_back(&mut kept, 1, "bob");
    publish(&mut kept, QUEUE, &["1", "2", "3", "4"], QOS1);
    let got = ann.got();
    assert_eq!(got.len(), 3);
    ann.accept(&mut kept.world, got[0].tag.unwrap());
    let given_back = DeliveryTag(got[1].tag.unwrap());
    ann.ask(&mut kept.world, move |broker| broker.settle(SESSION, given_back, Outcome::Released));
    drop(bob);
    let mut kept = kept.kill();
    let bob = come_back(&mut kept, 1, "bob");
    bob.subscribe(&mut kept.world, QUEUE);
    kept.world.run();
    let got = bob.got();
    let mut payloads: Vec<_> = got.iter().map(|got| got.payload.as_str()).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, ["2", "3", "4"]);
    assert_eq!(got.iter().map(|got| got.attempt).max(), Some(2));
    got.iter().for_each(|got| bob.accept(&mut kept.world, got.tag.unwrap()));
    assert_eq!(left(&kept), 0);
}

/// [MQTT-4.8.2-4]: what a session has taken at level 2 comes to this session again, and goes back to the queue when the session ends.
#[test]
fn what_was_taken_at_level_2_stays_with_its_session_and_remembers_its_queue() {
    let mut kept = Kept::new();
    let ann = come_back(&mut kept, 0, "ann");
    ann.subscribe(&mut kept.world, QUEUE);
    publish(&mut kept, QUEUE, &["1", "2"], QOS2);
    let before: Vec<_> = ann.got().iter().map(|got| (got.tag, got.payload.clone())).collect();
    assert_eq!(before.len(), 2);
    let mut kept = kept.kill();
    let bob = come_back(&mut kept, 1, "bob");
    bob.subscribe(&mut kept.world, QUEUE);
    kept.world.run();
    assert_eq!(bob.got_payloads(), [""; 0]);
    let ann = come_back(&mut kept, 1, "ann");
    let again: Vec<_> = ann.got().iter().map(|got| (got.tag, got.payload.clone())).collect();
    assert_eq!(again, before);
    ann.accept(&mut kept.world, before[0].0.unwrap());
    ann.set_farewell(Some(Duration::ZERO), b"");
    ann.leave(&mut kept.world, WillAction::Discard);
    kept.world.run();
    assert_eq!(bob.got_payloads(), [before[1].1.as_str()]);
    kept.world.advance(HOUR);
}

/// What was on its way to a queue that is no more is not kept for ever.
#[test]
fn streams_without_a_queue_end() {
    let storage = MemoryStorage::new();
    let mut change = tidegate_storage::Change::default();
    change.append(&[(StreamId(5000), 1, b"")], b"");
    storage.append(&mut change, tidegate_storage::Urgency::Synced);
    let kept = Kept::on(storage);
    assert_eq!((left(&kept), kept.world.node().recovered().orphans), (0, 1));
}

/// What is published together survives together.
#[test]
fn a_batch_survives_as_a_whole_or_not_at_all() {
    for is_synced in [false, true] {
        let mut kept = Kept::on(MemoryStorage::manual());
        for (worker, name) in [(0, "ann"), (1, "bob")] {
            kept.world.attached(worker, session(name)).subscribe(&mut kept.world, "a");
        }
        kept.storage.sync_all();
        let publisher = kept.world.toy(0);
        publisher
            .ask(&mut kept.world, |broker| {
                broker.publish_all(&[message("a", "1", QOS1), message("a", "2", QOS2)]).map(drop)
            })
            .unwrap();
        if is_synced {
            kept.storage.sync_all();
        }
        let kept = Kept::on(kept.storage.crash());
        assert_eq!(left(&kept), if is_synced { 4 } else { 0 });
    }
}

/// MQTT 5.0 section 4.8.2: what members of a group had under way at level 1 is for any of them after the end of the process, once each.
#[test]
fn a_group_with_members_on_several_workers_has_its_messages_again() {
    let mut kept = Kept::new();
    let members = [(0, "ann"), (1, "bob"), (1, "cid")];
    let toys = members.map(|(worker, name)| {
        let toy = kept.world.attached(worker, session(name));
        toy.join(&mut kept.world, "group", "a");
        toy
    });
    publish(&mut kept, "a", &["1", "2", "3", "4", "5", "6"], QOS1);
    let got: Vec<_> = toys.iter().flat_map(|toy| toy.got().into_iter().map(move |got| (toy, got))).collect();
    assert_eq!(got.len(), 6);
    let (toy, accepted) = &got[0];
    toy.accept(&mut kept.world, accepted.tag.unwrap());
    let mut kept = kept.kill();
    let toys = members.map(|(worker, name)| kept.world.attached(1 - worker, session(name)));
    kept.world.run();
    let mut again: Vec<String> = toys.iter().flat_map(|toy| toy.got_payloads()).collect();
    again.sort_unstable();
    let mut expected: Vec<&str> = ["1", "2", "3", "4", "5", "6"].to_vec();
    expected.retain(|payload| *payload != accepted.payload);
    assert_eq!(again, expected);
}

/// So large that the first four of them are all that is taken into memory at the start.
fn large(number: usize) -> String {
    format!("{number}{}", "x".repeat(300_000))
}

fn publish_large(kept: &mut Kept, topic: &str, count: usize) {
    let publisher = kept.world.toy(0);
    for number in 1..=count {
        publisher.publish(&mut kept.world, topic, &large(number), QOS2).unwrap();
        kept.world.run();
    }
}

/// The tags of what has come, each with the number of its message.
fn numbered(toy: &Toy) -> Vec<(u64, u64)> {
    let number = |payload: &str| payload.trim_end_matches('x').parse().unwrap();
    toy.got().iter().map(|got| (got.tag.unwrap(), number(&got.payload))).collect()
}

/// [MQTT-4.3.3-1] [MQTT-3.1.1/4.3.3-1]: what a client has completed before it came again never comes again, however much stands before it.
#[test]
fn what_is_accepted_before_it_is_read_does_not_come() {
    for is_read in [false, true] {
        let mut kept = Kept::new();
        let ann = kept.world.attached(0, session("ann").credit(8));
        ann.subscribe(&mut kept.world, "a");
        publish_large(&mut kept, "a", 8);
        assert_eq!(numbered(&ann).len(), 8);
        let mut kept = kept.kill();
        kept.world.hold_reads();
        let ann = kept.world.attached(0, session("ann").credit(4));
        kept.world.run();
        assert_eq!(numbered(&ann), [(1, 1), (2, 2), (3, 3), (4, 4)]);
        if is_read {
            assert!(kept.world.read());
            kept.world.run();
        }
        ann.accept(&mut kept.world, 6);
        assert_eq!(left(&kept), 7);
        ann.vanish(&mut kept.world);
        let ann = kept.world.attached(1, session("ann").credit(8));
        let mut again = Vec::new();
        for _ in 0..4 {
            kept.world.run();
            again.extend(numbered(&ann));
            kept.world.read();
        }
        assert_eq!(again, [1, 2, 3, 4, 5, 7, 8].map(|number| (number, number)));
        again.iter().for_each(|(tag, _)| ann.accept(&mut kept.world, *tag));
        kept.world.run();
        assert_eq!((left(&kept), kept.world.dropped("damaged")), (0, 0));
        assert_eq!(kept.world.node().gauges().queued_messages, 0);
    }
}

/// [MQTT-4.8.2-4]: what a session has taken from a queue at level 2 is its own, and goes back when the session ends, however much stands before it.
#[test]
fn what_was_taken_remembers_its_queue_wherever_it_stands() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann").credit(10));
    ann.subscribe(&mut kept.world, QUEUE);
    publish_large(&mut kept, QUEUE, 6);
    let before = numbered(&ann);
    assert_eq!(before.len(), 6);
    let mut kept = kept.kill();
    let bob = kept.world.attached(1, session("bob").credit(10));
    bob.subscribe(&mut kept.world, QUEUE);
    let ann = kept.world.attached(1, session("ann").credit(10));
    kept.world.run();
    assert_eq!(numbered(&ann), before);
    // It is still the client's own when the connection is lost.
    ann.vanish(&mut kept.world);
    kept.world.run();
    assert_eq!(numbered(&bob), []);
    let ann = kept.world.attached(0, session("ann").credit(10));
    kept.world.run();
    assert_eq!(numbered(&ann), before);
    ann.set_farewell(Some(Duration::ZERO), b"");
    ann.leave(&mut kept.world, WillAction::Discard);
    kept.world.run();
    let back: Vec<u64> = numbered(&bob).into_iter().map(|(_, number)| number).collect();
    assert_eq!(back, [1, 2, 3, 4, 5, 6]);
}

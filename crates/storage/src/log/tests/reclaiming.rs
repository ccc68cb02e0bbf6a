//! Space comes back.

use super::clock::TestClock;
use super::crash_disk::CrashDisk;
use super::world::{self, ALL, NOON};
use crate::log::engine::Engine;
use crate::log::reclaim::More;
use crate::{Change, NoRoom, StreamId, Urgency};
use std::sync::Arc;

const QUEUE: StreamId = StreamId(2000);
const SEGMENT: u64 = 16 * 1024;

fn new() -> (CrashDisk, Arc<TestClock>, Engine) {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
    (disk, clock, engine)
}

/// Does everything that there is to do.
fn settle_down(engine: &Engine, clock: &TestClock) {
    for _ in 0..2000 {
        if engine.turn() == More::Later {
            clock.advance(50);
        }
    }
}

fn publish(engine: &Engine, number: u64, bytes: usize) {
    let mut change = Change::default();
    change.append(&[(QUEUE, number, b"n")], &vec![number as u8; bytes]);
    engine.append(&mut change, Urgency::Synced);
    engine.turn();
}

fn settle(engine: &Engine, number: u64) {
    let mut change = Change::default();
    change.settle(QUEUE, number);
    engine.append(&mut change, Urgency::Lazy);
    engine.turn();
}

/// Publishes until there is no room; the answer is the last number.
fn fill(engine: &Engine, from: u64, bytes: usize) -> u64 {
    let mut number = from;
    while world::room(engine, bytes).is_ok() {
        publish(engine, number, bytes);
        number += 1;
    }
    assert_eq!(world::room(engine, bytes), Err(NoRoom::Full));
    number - 1
}

#[test]
fn segments_in_which_nothing_lives_go_without_a_copy() {
    let (disk, clock, engine) = new();
    (1..=100).for_each(|number| publish(&engine, number, 1000));
    let before = engine.usage();
    (1..=100).for_each(|number| settle(&engine, number));
    settle_down(&engine, &clock);
    let after = engine.usage();
    // The one that is written to and the next one are left.
    assert_eq!((before.disk_bytes / SEGMENT >= 7, after.disk_bytes), (true, 2 * SEGMENT));
    assert!(after.written_bytes - before.written_bytes < 20_000, "{before:?} {after:?}");
    assert_eq!((after.live_bytes, disk.used() as u64 - 2 * SEGMENT < 100), (0, true));
}

#[test]
fn a_few_old_entries_do_not_hold_what_is_dead_behind_them() {
    let (_, clock, engine) = new();
    (1..=200).for_each(|number| publish(&engine, number, 1000));
    (1..=200).filter(|number| number % 50 != 0).for_each(|number| settle(&engine, number));
    let mut change = Change::default();
    change.amend(QUEUE, 50, b"noted");
    engine.append(&mut change, Urgency::Lazy);
    settle_down(&engine, &clock);
    assert!(engine.usage().disk_bytes <= 4 * SEGMENT, "{:?}", engine.usage());
    let left = engine.read(QUEUE, 0, ALL).unwrap();
    let left: Vec<_> = left.iter().map(|entry| (entry.number, &entry.note[..], entry.body[0])).collect();
    assert_eq!(left, [(50, &b"noted"[..], 50), (100, b"n", 100), (150, b"n", 150), (200, b"n", 200)]);
}

/// However full it is and in whatever order entries are settled: there is room again, and the limit holds.
#[test]
fn there_is_room_again_when_entries_are_settled() {
    for step in [1, 2, 3, 7] {
        let (disk, clock, engine) = new();
        let max = world::options().disk_bytes_max;
        let mut living: Vec<u64> = Vec::new();
        let mut next = 1;
        for _ in 0..6 {
            let last = fill(&engine, next, 300);
            living.extend(next..=last);
            assert!(last > next, "nothing fits after settling every {step}th");
            next = last + 1;
            // Half of what lives, in another order each time.
            let settled: Vec<u64> =
                living.iter().copied().skip(step % 3).step_by(step).take(living.len() / 2).collect();
            settled.iter().for_each(|number| settle(&engine, *number));
            living.retain(|number| !settled.contains(number));
            if step == 7 {
                let settled: Vec<u64> = living.split_off(living.len() / 2);
                settled.iter().for_each(|number| settle(&engine, *number));
            }
            settle_down(&engine, &clock);
            assert!(disk.used() as u64 <= max, "{} of {max}", disk.used());
        }
        let found: Vec<u64> = engine.read(QUEUE, 0, ALL).unwrap().iter().map(|entry| entry.number).collect();
        assert_eq!(found, living);
    }
}

/// What a message costs on the disk over its life, with queues that are as long as half of the limit.
#[test]
fn little_is_written_twice() {
    let (_, clock, engine) = new();
    for number in 1..=3000 {
        publish(&engine, number, 500);
        if number > 300 {
            settle(&engine, number - 300);
        }
        if number % 10 == 0 {
            clock.advance(100);
            while engine.turn() == More::Now {}
        }
    }
    let usage = engine.usage();
    assert!(usage.written_bytes < usage.appended_bytes * 13 / 10, "{usage:?}");
}

/// A body with several receivers is there as long as one of them has not settled it, and is copied once.
#[test]
fn a_body_stays_while_one_of_its_receivers_needs_it() {
    let (_, clock, engine) = new();
    let mut change = Change::default();
    let streams: Vec<StreamId> = (1..=8).map(|stream| StreamId(3000 + stream)).collect();
    let claims: Vec<_> = streams.iter().map(|stream| (*stream, 1, &b"c"[..])).collect();
    change.append(&claims, &[9; 8000]);
    engine.append(&mut change, Urgency::Synced);
    (1..=100).for_each(|number| publish(&engine, number, 1000));
    (1..=100).for_each(|number| settle(&engine, number));
    streams.iter().skip(2).for_each(|stream| change.settle(*stream, 1));
    engine.append(&mut change, Urgency::Synced);
    let before = engine.usage().written_bytes;
    settle_down(&engine, &clock);
    let copied = engine.usage().written_bytes - before;
    assert!((8000..12_000).contains(&copied), "{copied}");
    for stream in &streams[..2] {
        assert_eq!(engine.read(*stream, 0, ALL).unwrap()[0].body.len(), 8000);
    }
    assert!(engine.usage().disk_bytes <= 3 * SEGMENT);
}

/// A record that is larger than a segment has a larger one, which goes like any other.
#[test]
fn a_large_change_has_a_segment_of_its_own() {
    let (disk, clock, engine) = new();
    publish(&engine, 1, 100_000);
    publish(&engine, 2, 5000);
    assert!(engine.usage().disk_bytes > 100_000);
    let (reopened, _) = world::open(&disk.crash(1), &clock, &world::options()).unwrap();
    assert_eq!(world::entries(&reopened).len(), 2);
    settle(&engine, 1);
    settle_down(&engine, &clock);
    assert!(engine.usage().disk_bytes < 100_000);
    assert_eq!(world::entries(&engine).len(), 1);
}

/// Many restarts do not fill the disk: each goes on where the one before has ended, and nothing is written again.
#[test]
fn restarts_leave_nothing_behind() {
    let (disk, clock, engine) = new();
    fill(&engine, 1, 1000);
    engine.flush().unwrap();
    let (used, entries) = (disk.used(), world::entries(&engine).len());
    drop(engine);
    for _ in 0..20 {
        let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
        settle_down(&engine, &clock);
        engine.flush().unwrap();
        assert!(disk.used() <= used + SEGMENT as usize, "{} and {used}", disk.used());
        assert!(engine.usage().written_bytes < 20_000, "{:?}", engine.usage());
        assert_eq!(world::entries(&engine).len(), entries);
    }
}

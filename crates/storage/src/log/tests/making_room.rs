//! At the limit of the disk, with an owner that settles its oldest entries so that the newest can be kept.

use super::clock::TestClock;
use super::crash_disk::CrashDisk;
use super::world::{self, NOON};
use crate::log::LogOptions;
use crate::log::engine::Engine;
use crate::log::reclaim::More;
use crate::{Change, NoRoom, StreamId, Urgency};
use std::collections::VecDeque;
use std::sync::Arc;

const QUEUE: StreamId = StreamId(2000);
/// Publishers wait for nothing until so many of their messages are under way.
const IN_FLIGHT: u64 = 10;

/// A queue whose oldest messages give way.
struct Owner {
    disk: CrashDisk,
    clock: Arc<TestClock>,
    engine: Engine,
    /// The numbers of what lives.
    living: VecDeque<u64>,
    next: u64,
    /// How many were refused one after the other, at the most.
    refused_most: usize,
    /// The most bytes that the folder had.
    disk_most: usize,
    options: LogOptions,
}

impl Owner {
    fn new(options: LogOptions) -> Owner {
        let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
        let (engine, _) = world::open(&disk, &clock, &options).unwrap();
        let living = VecDeque::new();
        Owner { disk, clock, engine, living, next: 1, refused_most: 0, disk_most: 0, options }
    }

    fn restart(self) -> Owner {
        let (engine, _) = world::open(&self.disk, &self.clock, &self.options).unwrap();
        Owner { engine, ..self }
    }

    fn turn(&mut self) -> More {
        let more = self.engine.turn();
        self.disk_most = self.disk_most.max(self.disk.used());
        more
    }

    /// Settles the oldest in this change, until they make up for so many bytes.
    fn settle_oldest(&mut self, change: &mut Change, bytes: u64) {
        let mut freed = 0;
        while freed < bytes {
            let number = self.living.pop_front().expect("something that can be settled");
            let state = self.engine.state.lock();
            let place = state.index.stream(QUEUE).and_then(|stream| stream.place(number)).unwrap();
            freed += place.cost();
            change.settle(QUEUE, number);
        }
    }

    /// Publishes a message, with others under way; whether there was room.
    fn try_publish(&mut self, bytes: usize) -> bool {
        self.try_publish_together(1, bytes)
    }

    /// Publishes so many messages of so many bytes each at once; whether there was room.
    fn try_publish_together(&mut self, count: u64, bytes: usize) -> bool {
        let all_bytes = count as usize * bytes;
        let Ok(excess) = self.engine.state.lock().excess(all_bytes) else { return false };
        let mut change = Change::default();
        self.settle_oldest(&mut change, excess.min(2 * all_bytes as u64));
        for number in self.next..self.next + count {
            change.append(&[(QUEUE, number, b"n")], &vec![number as u8; bytes]);
            self.living.push_back(number);
        }
        self.engine.append(&mut change, Urgency::Synced);
        self.next += count;
        true
    }

    /// Publishes so many messages; who is refused tries again.
    fn publish(&mut self, count: u64, bytes: usize) {
        for sent in 0..count {
            let mut refused = 0;
            while !self.try_publish(bytes) {
                refused += 1;
                assert!(refused < 100, "message {} finds no room: {:?}", self.next, self.engine.usage());
                if self.turn() == More::Later {
                    self.clock.advance(10);
                }
            }
            self.refused_most = self.refused_most.max(refused);
            if sent % IN_FLIGHT == 0 {
                self.turn();
                self.clock.advance(1);
            }
        }
    }

    fn settle_down(&mut self) {
        for _ in 0..500 {
            if self.turn() == More::Later {
                self.clock.advance(50);
            }
        }
    }

    /// What it has is what the log has.
    fn check(&self) {
        let entries = world::entries(&self.engine);
        let numbers: VecDeque<u64> =
            entries.into_keys().filter(|(stream, _)| *stream == QUEUE).map(|(_, number)| number).collect();
        assert_eq!(numbers, self.living);
    }

    /// How often each byte was written since.
    fn written(&self, since: (u64, u64)) -> f64 {
        let (appended, written) = self.marks();
        (written - since.1) as f64 / (appended - since.0) as f64
    }

    fn marks(&self) -> (u64, u64) {
        let usage = self.engine.usage();
        (usage.appended_bytes, usage.written_bytes)
    }
}

/// Whatever the size of messages: for ever each one that comes makes as many bytes give way as it brings, nobody is refused for long, the
/// folder stays within its limit, and hardly anything is written twice, although there is something in every segment that stays.
#[test]
fn the_oldest_gives_way_for_ever() {
    for bytes in [20, 100, 300, 3000, 40_000] {
        let mut owner = Owner::new(world::options());
        let max = owner.options.disk_bytes_max as usize;
        let mut change = Change::default();
        let count = (max / bytes) as u64;
        for description in 0..20 {
            change.append(&[(StreamId::SESSIONS, description, b"")], b"a session");
            owner.engine.append(&mut change, Urgency::Lazy);
            owner.publish(count / 20, bytes);
        }
        assert!(owner.living.len() < count as usize, "{bytes}: nothing had to give way");
        let (since, before) = (owner.marks(), owner.living.len());
        owner.publish(5 * count, bytes);
        let live = owner.living.len();
        assert!(live * 20 > before * 19 && live * (bytes + 40) > max / 2, "{bytes}: {live} of {before}");
        assert!(owner.refused_most <= 5, "{bytes}: {} times refused", owner.refused_most);
        assert!(owner.disk_most <= max, "{bytes}: {} of {max}", owner.disk_most);
        let (written, max) = (owner.written(since), if bytes < 100 { 4.0 } else { 1.4 });
        assert!(written < max, "{bytes}: {written}");
        owner.check();
    }
}

/// What is under way together is one record, and where that does not fit an end of a segment stays unused. Copying wins nothing of that back, and
/// what is copied dies before its neighbours: whoever took it for dead would copy ever more, and refuse messages meanwhile.
#[test]
fn unused_ends_of_segments_are_not_copied_for() {
    const BYTES: usize = 2500;
    let segment_bytes = 128 * 1024;
    let max = 32 * segment_bytes;
    let mut owner = Owner::new(LogOptions { disk_bytes_max: max, segment_bytes, ..world::options() });
    let seed: u64 = 7;
    let mut random = seed;
    let mut since = None;
    while owner.next < 5 * max / BYTES as u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let batch = 1 + (random >> 40) % IN_FLIGHT;
        assert!(owner.try_publish_together(batch, BYTES), "seed {seed}: {} is refused", owner.next);
        owner.turn();
        owner.clock.advance(1);
        if since.is_none() && owner.next > 2 * max / BYTES as u64 {
            since = Some(owner.marks());
        }
    }
    let written = owner.written(since.expect("a full disk"));
    assert!(written < 1.1, "seed {seed}: {written}");
    assert!(owner.living.len() * BYTES > max as usize / 2, "{}", owner.living.len());
    assert!(owner.disk_most <= max as usize, "{}", owner.disk_most);
    owner.check();
}

/// Half of what there may be stays: it is copied once for each round through the log, and no more often.
#[test]
fn what_stays_is_not_copied_for_every_message() {
    let mut owner = Owner::new(world::options());
    let max = owner.options.disk_bytes_max;
    let mut change = Change::default();
    for number in 1..=max / 1000 * 3 / 8 {
        change.append(&[(StreamId(3000), number, b"")], &[1; 1000]);
        owner.engine.append(&mut change, Urgency::Synced);
        owner.turn();
    }
    owner.publish(max / 300, 300);
    let since = owner.marks();
    owner.publish(max / 300 * 4, 300);
    assert!(owner.written(since) < 3.0, "{}", owner.written(since));
    assert!(owner.disk_most <= max as usize, "{}", owner.disk_most);
    assert!(owner.refused_most <= 20, "{} times refused", owner.refused_most);
    owner.check();
}

/// What many receivers share is taken for less than it is until it is copied; that does not wedge anything.
#[test]
fn bodies_that_were_shared_give_way_as_well() {
    let mut owner = Owner::new(world::options());
    let max = owner.options.disk_bytes_max;
    let mut change = Change::default();
    for _ in 0..max / 1000 * 3 {
        let others: Vec<StreamId> = (0..15).map(|other| StreamId(3000 + other)).collect();
        let mut refused = 0;
        let excess = loop {
            match owner.engine.state.lock().excess(1000) {
                Ok(excess) => break excess,
                Err(room) => assert_eq!(room, NoRoom::Full),
            }
            refused += 1;
            assert!(refused < 100, "{:?}", owner.engine.usage());
            if owner.turn() == More::Later {
                owner.clock.advance(10);
            }
        };
        owner.settle_oldest(&mut change, excess.min(2000));
        let number = owner.next;
        let mut claims = vec![(QUEUE, number, &b"n"[..])];
        claims.extend(others.iter().map(|other| (*other, number, &b"n"[..])));
        change.append(&claims, &[7; 1000]);
        others.iter().for_each(|other| change.settle(*other, number));
        owner.engine.append(&mut change, Urgency::Synced);
        owner.living.push_back(number);
        owner.next += 1;
        owner.turn();
    }
    assert!(owner.disk_most <= max as usize && owner.living.len() as u64 > max / 1000 / 2);
    owner.check();
}

/// A limit below what lives throws nothing away and lets nothing grow, whatever is restarted; each message that comes makes more give way
/// than it brings, and in the end the limit holds.
#[test]
fn a_limit_below_what_lives_is_come_down_to() {
    let mut owner = Owner::new(world::options());
    let max = owner.options.disk_bytes_max;
    owner.publish(max / 300, 300);
    owner.settle_down();
    let (used, lived) = (owner.disk.used(), owner.living.len());
    owner.options.disk_bytes_max = max / 4;
    owner.engine.state.lock().limit_disk(0, max / 4);
    assert_eq!(world::room(&owner.engine, 1), Err(NoRoom::Full));
    owner.disk_most = 0;
    for _ in 0..10 {
        owner.settle_down();
        owner = owner.restart();
    }
    assert!(owner.living.len() == lived && owner.disk_most <= used + 16 * 1024, "{}", owner.disk_most);
    assert!(owner.engine.usage().written_bytes < 100_000, "{:?}", owner.engine.usage());
    owner.publish(max / 300, 300);
    owner.check();
    assert!(owner.disk_most <= used + 2 * 16 * 1024, "{} behind {used}", owner.disk_most);
    assert!(owner.disk.used() as u64 <= max / 4, "{}", owner.disk.used());
}

/// The same on a file system that is full before the limit is reached.
#[test]
fn on_a_full_file_system_the_oldest_gives_way_as_well() {
    let mut owner = Owner::new(LogOptions { disk_bytes_max: 64 * 16 * 1024, ..world::options() });
    let capacity = owner.disk.used() + 20 * 16 * 1024;
    owner.disk.set_capacity(capacity);
    owner.publish(2000, 500);
    let since = owner.living.len();
    owner.publish(2000, 500);
    assert!(owner.living.len() * 10 > since * 9 && since * 500 > capacity / 3, "{since}");
    assert!(!owner.engine.state.lock().progress().is_failing);
    owner.check();
}

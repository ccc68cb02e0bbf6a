//! A log without a thread, on a disk that a test can break, beside a model of what it should hold.

use super::clock::TestClock;
use super::crash_disk::{CrashDisk, Random};
use crate::log::engine::Engine;
use crate::log::open::{self, Ground};
use crate::log::{LogOptions, OpenError, OpenReport};
use crate::{Change, Lsn, NoRoom, Op, Ops, ReadMax, StreamId, Urgency};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) const KEY: u64 = 0x0123_4567_89ab_cdef;
pub(super) const NOON: u64 = 1_800_000_000_000;
pub(super) const ALL: ReadMax = ReadMax { entries: usize::MAX, bytes: usize::MAX };

/// What lives: the note and the body of each entry.
pub(super) type Entries = BTreeMap<(StreamId, u64), (Vec<u8>, Vec<u8>)>;

/// A store with thirty-two segments of the smallest size.
pub(super) fn options() -> LogOptions {
    LogOptions { segment_bytes: 0, ..LogOptions::new("", 32 * 16 * 1024) }
}

pub(super) fn open(
    disk: &CrashDisk,
    clock: &Arc<TestClock>,
    options: &LogOptions,
) -> Result<(Engine, OpenReport), OpenError> {
    let (disk, clock) = (Arc::new(disk.clone()), clock.clone());
    open::open(Ground { folder: PathBuf::new(), disk, clock, new_key: KEY }, options)
}

/// Whether messages of so many bytes can be kept.
pub(super) fn room(engine: &Engine, bytes: usize) -> Result<(), NoRoom> {
    match engine.excess(bytes)? {
        0 => Ok(()),
        _ => Err(NoRoom::Full),
    }
}

/// Everything that a log holds.
pub(super) fn entries(engine: &Engine) -> Entries {
    let streams = engine.state.lock().index.summaries();
    let mut found = Entries::new();
    for summary in streams {
        let entries = engine.read(summary.stream, 0, ALL).unwrap();
        let bytes: usize = entries.iter().map(|entry| entry.note.len() + entry.body.len()).sum();
        assert_eq!((summary.entries, summary.bytes), (entries.len(), bytes as u64), "{summary:?}");
        assert!(entries.is_sorted_by_key(|entry| entry.number));
        let keyed = entries
            .into_iter()
            .map(|entry| ((summary.stream, entry.number), (entry.note.to_vec(), entry.body.to_vec())));
        found.extend(keyed);
    }
    found
}

pub(super) fn apply(entries: &mut Entries, change: &[u8]) {
    for op in Ops::new(change).map(Result::unwrap) {
        match op {
            Op::Append { claims, body } => entries.extend(
                claims
                    .iter()
                    .map(|(stream, number, note)| ((stream, number), (note.to_vec(), body.to_vec()))),
            ),
            Op::Settle(stream, number) => drop(entries.remove(&(stream, number))),
            Op::Amend(stream, number, note) => {
                entries.entry((stream, number)).and_modify(|entry| entry.0 = note.to_vec());
            }
            Op::End(ended) => entries.retain(|(stream, _), _| *stream != ended),
        }
    }
}

/// Makes changes as a broker would: messages with several receivers, settled roughly in order.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) random: Random,
    next_number: u64,
    /// How many entries there are about.
    pub(super) size: usize,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Workload {
        Workload { random: Random(seed), next_number: 1, size: 60 }
    }

    fn stream(&mut self) -> StreamId {
        StreamId(2000 + self.random.below(4))
    }

    fn note(&mut self) -> Vec<u8> {
        let length = if self.random.percent(3) { 1500 } else { self.random.below(12) };
        (0..length).map(|_| self.random.next() as u8).collect()
    }

    fn body(&mut self) -> Vec<u8> {
        let length = match self.random.below(100) {
            0 => 20_000,
            1..6 => 4000,
            _ => self.random.below(400),
        };
        vec![self.random.next() as u8; length as usize]
    }

    fn publish(&mut self, change: &mut Change) {
        let body = self.body();
        let first = self.random.below(4);
        let receivers = 1 + self.random.below(4);
        let claims: Vec<_> = (first..first + receivers)
            .map(|receiver| (StreamId(2000 + receiver % 4), self.next_number, self.note()))
            .collect();
        self.next_number += 1;
        let claims: Vec<_> =
            claims.iter().map(|(stream, number, note)| (*stream, *number, &note[..])).collect();
        change.append(&claims, &body);
    }

    fn one_of(&mut self, entries: &Entries) -> Option<(StreamId, u64)> {
        let count = entries.len() as u64;
        let index = if self.random.percent(80) { 0 } else { self.random.below(count.max(1)) };
        let stream = self.stream();
        let oldest = entries.keys().filter(|(of, _)| *of == stream).nth(index as usize);
        oldest.or(entries.keys().next()).copied()
    }

    /// The next change, for a log with these entries.
    pub(super) fn change(&mut self, entries: &Entries) -> Change {
        let mut change = Change::default();
        for _ in 0..=self.random.below(3) {
            let one = self.one_of(entries);
            let settles = if entries.len() > self.size { 70 } else { 25 };
            match (self.random.below(100), one) {
                (0, _) => {
                    let stream = self.stream();
                    change.end(stream);
                }
                (1..10, Some((stream, number))) => {
                    let note = self.note();
                    change.amend(stream, number, &note);
                }
                (dice, Some((stream, number))) if dice < 10 + settles => change.settle(stream, number),
                _ => self.publish(&mut change),
            }
        }
        change
    }

    pub(super) fn urgency(&mut self) -> Urgency {
        [Urgency::Lazy, Urgency::Lazy, Urgency::Written, Urgency::Synced][self.random.below(4) as usize]
    }
}

/// What was appended, and what is known to be kept of it.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// What the log held when it was opened.
    pub(super) opened: Entries,
    /// Everything that was appended since, with its place in the order.
    pub(super) changes: Vec<(Lsn, Vec<u8>)>,
    /// What the log holds.
    pub(super) now: Entries,
}

impl Model {
    pub(super) fn opened(entries: Entries) -> Model {
        Model { now: entries.clone(), opened: entries, changes: Vec::new() }
    }

    /// Appends a change to the log and to the model.
    pub(super) fn append(&mut self, engine: &Engine, mut change: Change, urgency: Urgency) {
        let bytes = change.as_bytes().to_vec();
        apply(&mut self.now, &bytes);
        self.changes.push((engine.append(&mut change, urgency), bytes));
    }

    /// Finds what a log held after some of the changes: all that were synced at least, and in their order.
    pub(super) fn explain(&self, synced: Lsn, found: &Entries) -> Result<usize, String> {
        let kept = self.changes.partition_point(|(lsn, _)| *lsn <= synced);
        let mut expected = self.opened.clone();
        let mut last =
            Err(format!("{} entries are nothing that ever was, {kept} changes were synced", found.len()));
        for (count, change) in std::iter::once(None).chain(self.changes.iter().map(Some)).enumerate() {
            change.into_iter().for_each(|(_, bytes)| apply(&mut expected, bytes));
            if expected == *found {
                last = Ok(count);
                if count >= kept {
                    return last;
                }
            }
        }
        match last {
            Ok(count) => Err(format!("{count} changes are there, but {kept} were synced")),
            error => error,
        }
    }
}

/// Does steps of a workload.
pub(super) fn work(
    engine: &Engine,
    clock: &TestClock,
    workload: &mut Workload,
    model: &mut Model,
    steps: usize,
) {
    for _ in 0..steps {
        let change = workload.change(&model.now);
        let urgency = workload.urgency();
        model.append(engine, change, urgency);
        if workload.random.percent(40) {
            engine.turn();
        }
        if workload.random.percent(10) {
            clock.advance(workload.random.below(800));
        }
    }
}

/// A number for random tests, from the environment or the one that is always the same.
pub(super) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

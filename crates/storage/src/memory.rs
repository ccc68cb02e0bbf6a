//! A storage that keeps everything in memory: what the broker is tested with.
//!
//! Nothing moves by itself where it was made with [`MemoryStorage::manual`]: a test says when what was appended is written and synced,
//! and [`MemoryStorage::crash`] gives what a machine would find that lost everything that was not.

use crate::{
    Bell, Change, Entry, Lsn, NoRoom, Op, Ops, Progress, ReadError, ReadMax, Storage, StreamId,
    StreamSummary, Urgency, Usage,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, io};

/// Streams in memory.
pub struct MemoryStorage {
    state: Mutex<State>,
    bell: Mutex<Option<Bell>>,
    is_manual: bool,
}

#[derive(Default)]
struct State {
    streams: BTreeMap<StreamId, Stream>,
    /// Every change, in order.
    changes: Vec<Vec<u8>>,
    progress: Progress,
    room: Option<NoRoom>,
    live_bytes_max: Option<u64>,
    is_overfull: bool,
    time_millis: u64,
    urgencies: Vec<Urgency>,
    damaged: BTreeSet<(StreamId, u64)>,
    is_unreadable: bool,
    damaged_places: u64,
    /// What is taken and what there is.
    disk: Option<(u64, u64)>,
}

#[derive(Default)]
struct Stream {
    entries: BTreeMap<u64, (Bytes, Bytes)>,
    last: u64,
}

impl State {
    fn apply(&mut self, bytes: &[u8]) {
        for op in Ops::new(bytes).map_while(Result::ok) {
            match op {
                Op::Append { claims, body } => {
                    let body = Bytes::copy_from_slice(body);
                    for (stream, number, note) in claims.iter() {
                        let stream = self.streams.entry(stream).or_default();
                        stream.last = stream.last.max(number);
                        stream.entries.insert(number, (Bytes::copy_from_slice(note), body.clone()));
                    }
                }
                Op::Settle(stream, number) => {
                    self.streams.get_mut(&stream).map(|stream| stream.entries.remove(&number));
                }
                Op::Amend(stream, number, note) => {
                    let entry =
                        self.streams.get_mut(&stream).and_then(|stream| stream.entries.get_mut(&number));
                    entry.into_iter().for_each(|entry| entry.0 = Bytes::copy_from_slice(note));
                }
                Op::End(stream) => drop(self.streams.remove(&stream)),
            }
        }
    }

    fn last(&self) -> Lsn {
        Lsn(self.changes.len() as u64)
    }

    fn live_bytes(&self) -> u64 {
        self.streams.values().flat_map(|stream| stream.entries.values()).map(cost).sum()
    }
}

fn cost((note, body): &(Bytes, Bytes)) -> u64 {
    /// What an entry takes beside them, about as in a log.
    const OVERHEAD_BYTES: usize = 64;
    (OVERHEAD_BYTES + note.len() + body.len()) as u64
}

impl MemoryStorage {
    /// One that has synced whatever is appended at once.
    pub fn new() -> MemoryStorage {
        MemoryStorage { state: Mutex::default(), bell: Mutex::default(), is_manual: false }
    }

    /// One in which nothing is written or synced until somebody says so.
    pub fn manual() -> MemoryStorage {
        MemoryStorage { is_manual: true, ..MemoryStorage::new() }
    }

    /// Everything that was appended is written now.
    pub fn write_all(&self) {
        self.change_progress(|state| state.progress.written = state.last());
    }

    /// Everything that was appended is synced now.
    pub fn sync_all(&self) {
        self.change_progress(|state| {
            state.progress.written = state.last();
            state.progress.synced = state.last();
        });
    }

    /// The disk answers with errors from now on, or does no more.
    pub fn set_failing(&self, is_failing: bool) {
        self.change_progress(|state| state.progress.is_failing = is_failing);
    }

    /// There is no room from now on, or there is again.
    pub fn set_room(&self, room: Result<(), NoRoom>) {
        self.state.lock().room = room.err();
    }

    /// No more than this may live from now on, with a message.
    pub fn limit_live_bytes(&self, bytes: u64) {
        self.state.lock().live_bytes_max = Some(bytes);
    }

    /// So many bytes of the disk are taken from now on, of so many that there are.
    pub fn set_disk(&self, disk_bytes: u64, disk_bytes_max: u64) {
        self.state.lock().disk = Some((disk_bytes, disk_bytes_max));
    }

    /// Nothing more can wait for the disk from now on, or it can again.
    pub fn set_overfull(&self, is_overfull: bool) {
        self.state.lock().is_overfull = is_overfull;
    }

    /// An entry is not what was written from now on.
    pub fn damage(&self, stream: StreamId, number: u64) {
        self.state.lock().damaged.insert((stream, number));
    }

    /// An entry stood at a place that could not be read when the store was opened: it is not there, and nobody knows that it was.
    pub fn lose(&self, stream: StreamId, number: u64) {
        let mut state = self.state.lock();
        state.damaged_places += 1;
        state.streams.get_mut(&stream).map(|stream| stream.entries.remove(&number));
    }

    /// The disk answers whoever reads with an error from now on, or does no more.
    pub fn set_unreadable(&self, is_unreadable: bool) {
        self.state.lock().is_unreadable = is_unreadable;
    }

    /// The store's time goes on.
    pub fn advance_millis(&self, millis: u64) {
        self.state.lock().time_millis += millis;
    }

    /// What is left when the machine goes down now: what was synced. Another one of the same kind.
    pub fn crash(&self) -> MemoryStorage {
        let state = self.state.lock();
        let kept = state.changes.iter().take(usize::try_from(state.progress.synced.0).unwrap_or(usize::MAX));
        self.reopen(kept, state.time_millis)
    }

    /// What is left when the process ends now: everything that was appended. Another one of the same kind.
    pub fn restart(&self) -> MemoryStorage {
        let state = self.state.lock();
        self.reopen(state.changes.iter(), state.time_millis)
    }

    /// What was waited for after each change.
    pub fn urgencies(&self) -> Vec<Urgency> {
        self.state.lock().urgencies.clone()
    }

    fn reopen<'a>(&self, changes: impl Iterator<Item = &'a Vec<u8>>, time_millis: u64) -> MemoryStorage {
        let other = MemoryStorage { is_manual: self.is_manual, ..MemoryStorage::new() };
        let mut state = other.state.lock();
        for change in changes {
            state.apply(change);
            state.changes.push(change.clone());
        }
        state.time_millis = time_millis;
        let last = state.last();
        (state.progress.written, state.progress.synced) = (last, last);
        drop(state);
        other
    }

    fn change_progress(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.ring();
    }

    fn ring(&self) {
        if let Some(bell) = &*self.bell.lock() {
            bell();
        }
    }
}

impl Default for MemoryStorage {
    fn default() -> MemoryStorage {
        MemoryStorage::new()
    }
}

impl Storage for MemoryStorage {
    fn append(&self, change: &mut Change, urgency: Urgency) -> Lsn {
        let mut state = self.state.lock();
        if !change.is_empty() {
            state.apply(change.as_bytes());
            state.changes.push(change.as_bytes().to_vec());
            state.urgencies.push(urgency);
            change.clear();
        }
        let last = state.last();
        if self.is_manual {
            return last;
        }
        (state.progress.written, state.progress.synced) = (last, last);
        drop(state);
        self.ring();
        last
    }

    fn progress(&self) -> Progress {
        self.state.lock().progress
    }

    fn set_bell(&self, bell: Bell) {
        *self.bell.lock() = Some(bell);
    }

    fn excess(&self, bytes: usize) -> Result<u64, NoRoom> {
        let state = self.state.lock();
        match state.room {
            _ if state.progress.is_failing => Err(NoRoom::Failing),
            Some(NoRoom::Failing) => Err(NoRoom::Failing),
            Some(NoRoom::Full) => Ok(bytes as u64),
            None => Ok(state
                .live_bytes_max
                .map_or(0, |max| (state.live_bytes() + bytes as u64).saturating_sub(max))),
        }
    }

    fn costs(&self, stream: StreamId, from: u64, count: usize) -> Vec<(u64, u64)> {
        let state = self.state.lock();
        let entries = state.streams.get(&stream).into_iter().flat_map(|stream| stream.entries.range(from..));
        entries.take(count).map(|(number, entry)| (*number, cost(entry))).collect()
    }

    fn is_overfull(&self) -> bool {
        self.state.lock().is_overfull
    }

    fn read(&self, stream: StreamId, from: u64, max: ReadMax) -> Result<Vec<Entry>, ReadError> {
        let state = self.state.lock();
        if state.is_unreadable {
            return Err(io::Error::other("nothing can be read").into());
        }
        let (mut read, mut bytes) = (Vec::new(), 0);
        let entries = state.streams.get(&stream).into_iter().flat_map(|stream| stream.entries.range(from..));
        for (number, (note, body)) in entries {
            bytes += body.len();
            if !read.is_empty() && (read.len() >= max.entries || bytes > max.bytes) {
                break;
            }
            if state.damaged.contains(&(stream, *number)) {
                return Err(ReadError::Damaged { stream, number: *number });
            }
            read.push(Entry { number: *number, note: note.clone(), body: body.clone() });
        }
        Ok(read)
    }

    fn summary(&self, stream: StreamId) -> Option<StreamSummary> {
        self.streams().into_iter().find(|summary| summary.stream == stream)
    }

    fn streams(&self) -> Vec<StreamSummary> {
        let state = self.state.lock();
        let summary = |(stream, found): (&StreamId, &Stream)| {
            let size = |(note, body): &(Bytes, Bytes)| (note.len() + body.len()) as u64;
            Some(StreamSummary {
                stream: *stream,
                first: *found.entries.keys().next()?,
                last: found.last,
                entries: found.entries.len(),
                bytes: found.entries.values().map(size).sum(),
            })
        };
        state.streams.iter().filter_map(summary).collect()
    }

    fn usage(&self) -> Usage {
        let state = self.state.lock();
        let (disk_bytes, disk_bytes_max) = state.disk.unwrap_or((0, u64::MAX));
        Usage { damaged_places: state.damaged_places, disk_bytes, disk_bytes_max, ..Usage::default() }
    }

    fn time_millis(&self) -> u64 {
        self.state.lock().time_millis
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryStorage").field("progress", &self.progress()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: StreamId = StreamId(2000);

    fn numbers(storage: &MemoryStorage, from: u64, entries: usize) -> Vec<u64> {
        let read = storage.read(QUEUE, from, ReadMax { entries, bytes: usize::MAX }).unwrap();
        read.iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn a_crash_leaves_what_was_synced_and_a_restart_everything() {
        let storage = MemoryStorage::manual();
        let mut change = Change::default();
        for number in 1..=3 {
            change.append(&[(QUEUE, number, b"")], b"x");
            let lsn = storage.append(&mut change, Urgency::Synced);
            assert!(change.is_empty() && storage.progress().synced < lsn);
            if number == 2 {
                storage.sync_all();
                assert_eq!(storage.progress().synced, lsn);
            }
        }
        assert_eq!(numbers(&storage.crash(), 0, 9), [1, 2]);
        assert_eq!(numbers(&storage.restart(), 2, 9), [2, 3]);
        assert_eq!(numbers(&storage, 0, 2), [1, 2]);
    }

    #[test]
    fn what_is_damaged_is_named_and_does_not_hide_the_others() {
        let storage = MemoryStorage::new();
        let mut change = Change::default();
        (1..=3).for_each(|number| change.append(&[(QUEUE, number, b"")], b"x"));
        storage.append(&mut change, Urgency::Lazy);
        storage.damage(QUEUE, 2);
        let result = storage.read(QUEUE, 1, ReadMax { entries: 9, bytes: 9 });
        assert!(matches!(result, Err(ReadError::Damaged { stream: QUEUE, number: 2 })));
        assert_eq!((numbers(&storage, 1, 1), numbers(&storage, 3, 9)), (vec![1], vec![3]));
        storage.set_unreadable(true);
        assert!(matches!(storage.read(QUEUE, 3, ReadMax { entries: 9, bytes: 9 }), Err(ReadError::Disk(_))));
    }

    #[test]
    fn settled_entries_and_ended_streams_are_gone() {
        let storage = MemoryStorage::new();
        let mut change = Change::default();
        (1..=3).for_each(|number| change.append(&[(QUEUE, number, b"")], b"x"));
        change.settle(QUEUE, 1);
        change.amend(QUEUE, 2, b"again");
        storage.append(&mut change, Urgency::Lazy);
        let summary = storage.summary(QUEUE).unwrap();
        assert_eq!((summary.first, summary.last, summary.entries, summary.bytes), (2, 3, 2, 7));
        change.end(QUEUE);
        storage.append(&mut change, Urgency::Lazy);
        assert_eq!(storage.summary(QUEUE), None);
    }
}

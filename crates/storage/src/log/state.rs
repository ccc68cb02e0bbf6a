//! What the log knows at a moment, behind one short lock: the index, what is not on the disk yet, and who waits for what.

use super::buffer::{Buffer, Run, Seal};
use super::frame::{self, Kind, MARK_BYTES, Moment};
use super::index::Index;
use super::place::{self, Position};
use super::room::{self, Pressure};
use super::watch::{News, Watch};
use super::writer;
use crate::{Lsn, NoRoom, Progress, Shortage, Urgency, Usage};
use std::io;
use std::sync::Arc;

/// Half of what a place can tell apart.
const SEGMENTS_MAX: u64 = place::SEGMENTS_MAX / 2;
/// Nobody waits for it, but it is written when it has become this much.
const LAZY_BYTES: u64 = 1 << 20;
/// It is made to be on the disk when so much is not.
const UNSYNCED_BYTES: u64 = 8 << 20;
/// How often the time is written down where nothing else is written.
const MARK_MILLIS: u64 = 10_000;
/// After how long a disk that has answered with an error is asked again.
pub(super) const RETRY_MILLIS: u64 = 1000;
/// How often that time is doubled where the disk takes little and not what waits.
const DOUBLED_MAX: u32 = 5;
/// What waits for the disk at the most, settlements aside.
const BUFFER_BYTES_MAX: u64 = 64 << 20;

/// Everything that the lock protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) key: u64,
    pub(super) index: Index,
    pub(super) buffer: Buffer,
    /// The last change that was appended.
    pub(super) appended: u64,
    written: u64,
    synced: u64,
    /// The last change that somebody waits for.
    wanted_written: u64,
    wanted_synced: u64,
    /// How long something may stay unwritten for which nobody waits.
    lazy_millis: u64,
    /// Since when something is not on the disk.
    unsynced_since: Option<u64>,
    marked_at: u64,
    failing: Option<Failing>,
    /// Why the next segment could not be made ready.
    pub(super) no_spare: Option<NoRoom>,
    /// What finding the entries may take in memory before no more are taken.
    pub(super) index_bytes_max: usize,
    pub(super) watch: Watch,
    pub(super) usage: Usage,
    /// Whether space is being taken back.
    pub(super) is_reclaiming: bool,
    /// Nothing is copied before no more than this lives.
    pub(super) resting_until: Option<u64>,
    /// What the next segment takes, where it is ready.
    pub(super) spare_bytes: u64,
    pub(super) is_closing: bool,
}

/// The disk has answered with an error.
#[derive(Debug, Clone, Copy)]
struct Failing {
    retry_at: u64,
    /// How often what waits was copied for nothing since.
    copies: u32,
    room: NoRoom,
}

/// What the writer is to do.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) runs: Vec<Arc<Run>>,
    /// The last change in them.
    pub(super) lsn: u64,
    pub(super) sync: bool,
}

impl State {
    /// A log of this index that may take nothing yet.
    pub(super) fn new(key: u64, index: Index, lazy_millis: u64, now: u64) -> State {
        State {
            key,
            index,
            buffer: Buffer::default(),
            appended: 0,
            written: 0,
            synced: 0,
            wanted_written: 0,
            wanted_synced: 0,
            lazy_millis,
            unsynced_since: None,
            marked_at: now,
            failing: None,
            no_spare: None,
            index_bytes_max: usize::MAX,
            watch: Watch::default(),
            usage: Usage::default(),
            is_reclaiming: false,
            resting_until: None,
            spare_bytes: 0,
            is_closing: false,
        }
    }

    /// How much it may take on the disk, in files of which each takes so much at the most. Those that there are stay as they are.
    pub(super) fn limit_disk(&mut self, segment_bytes: u64, disk_bytes_max: u64) {
        let segment_bytes = room::segment_bytes(segment_bytes, disk_bytes_max);
        self.index.segments.set_segment_bytes(segment_bytes);
        self.usage.disk_bytes_max = disk_bytes_max.min(segment_bytes * SEGMENTS_MAX);
    }

    /// Takes a change over.
    pub(super) fn append(&mut self, change: &[u8], body_check: u32, urgency: Urgency, now: u64) -> Lsn {
        let at = self.begin_record(frame::record_bytes(change.len()) as u64);
        self.appended += 1;
        self.buffer.push(self.key, change, body_check, self.appended);
        self.index.apply(change, at);
        self.unsynced_since.get_or_insert(now);
        self.want(urgency);
        Lsn(self.appended)
    }

    /// Somebody waits for everything that was appended.
    pub(super) fn want(&mut self, urgency: Urgency) {
        match urgency {
            Urgency::Lazy => {}
            Urgency::Written => self.wanted_written = self.appended,
            Urgency::Synced => self.wanted_synced = self.appended,
        }
    }

    /// Takes room for a record, in a new segment where the present one has none.
    fn begin_record(&mut self, bytes: u64) -> Position {
        let segments = &mut self.index.segments;
        let begins_run = segments.open().is_none_or(|open| self.buffer.begins_run(open.number));
        let mark = if begins_run { MARK_BYTES as u64 } else { 0 };
        if segments.bytes_left() < mark + bytes {
            segments.begin(bytes);
        }
        let Some(open) = segments.open() else { return Position { segment: 0, offset: 0 } };
        if self.buffer.begins_run(open.number) {
            let at = Position { segment: open.number, offset: open.filled };
            open.filled += self.buffer.begin_run(at, self.appended);
        }
        let at = Position { segment: open.number, offset: open.filled };
        open.filled += bytes;
        at
    }

    /// Has the time written down with the next thing that is written.
    pub(super) fn mark(&mut self) {
        if self.buffer.waiting_bytes() == 0 {
            self.begin_record(0);
        }
    }

    fn must_sync(&self, now: u64) -> bool {
        let is_due = self.unsynced_since.is_some_and(|since| now >= since.saturating_add(self.lazy_millis));
        self.wanted_synced > self.synced || is_due || self.buffer.bytes() > UNSYNCED_BYTES
    }

    fn must_write(&self, now: u64) -> bool {
        self.must_sync(now) || self.wanted_written > self.written || self.buffer.waiting_bytes() > LAZY_BYTES
    }

    /// What the writer is to do now.
    pub(super) fn take_work(&mut self, now: u64, moment: Moment) -> Option<Work> {
        let is_marked = now < self.marked_at + MARK_MILLIS;
        if !self.must_write(now) && is_marked {
            return None;
        }
        self.mark();
        Some(Work { sync: self.must_sync(now), ..self.take(now, moment) })
    }

    /// Space comes back when a change is on the disk: nobody else may wait for that.
    pub(super) fn hurry(&mut self, lsn: u64) {
        if self.wanted_synced < lsn && self.pressure() != Pressure::None {
            self.want(Urgency::Synced);
        }
    }

    /// Everything that waits, to be synced.
    pub(super) fn take_all(&mut self, now: u64, moment: Moment) -> Work {
        self.mark();
        Work { sync: true, ..self.take(now, moment) }
    }

    fn take(&mut self, now: u64, moment: Moment) -> Work {
        let (key, segments) = (self.key, &self.index.segments);
        let seal = |number: u64| {
            let segment = segments.get(number);
            let synced = segment.map_or(0, |segment| segment.synced);
            let previous = segment.map_or((0, 0), |segment| segment.previous);
            Seal { key, synced, previous, moment }
        };
        let runs = self.buffer.take(seal);
        self.marked_at = now;
        Work { runs, lsn: self.appended, sync: false }
    }

    /// In how many milliseconds there is something to do, if nothing happens; nothing where it is now.
    pub(super) fn next_in_millis(&self, now: u64) -> Option<u64> {
        let due = match self.failing {
            Some(failing) => failing.retry_at,
            None if self.must_write(now) => return None,
            None => {
                let lazy = self.unsynced_since.map(|since| since.saturating_add(self.lazy_millis));
                let retry = self.no_spare.map(|_| now + RETRY_MILLIS);
                let mark = self.marked_at + MARK_MILLIS;
                lazy.into_iter().chain(retry).fold(mark, u64::min)
            }
        };
        due.checked_sub(now).filter(|millis| *millis > 0)
    }

    /// The operating system has everything up to a change; true where somebody has waited for that.
    pub(super) fn set_written(&mut self, lsn: u64) -> bool {
        let is_news = self.wanted_written > self.written;
        self.written = self.written.max(lsn);
        is_news
    }

    /// The disk has everything up to a change, which ends there.
    pub(super) fn set_synced(&mut self, lsn: u64, end: Position, now: u64) {
        if let Some(segment) = self.index.segments.get_mut(end.segment) {
            segment.synced = segment.synced.max(end.offset);
        }
        self.written = self.written.max(lsn);
        self.synced = self.synced.max(lsn);
        self.buffer.forget(lsn);
        self.unsynced_since = Some(now).filter(|_| self.appended > lsn);
        self.usage.syncs += 1;
    }

    /// The disk has answered with an error.
    pub(super) fn fail(&mut self, error: &io::Error, now: u64) {
        self.usage.errors += 1;
        self.watch.note_error(error.to_string());
        let copies = self.failing.map_or(0, |failing| failing.copies + 1);
        let retry_at = now + (RETRY_MILLIS << copies.min(DOUBLED_MAX));
        self.failing = Some(Failing { retry_at, copies, room: writer::no_room(error) });
    }

    /// The disk has answered with an error once more, before it was asked for anything that matters.
    pub(super) fn fail_again(&mut self, error: &io::Error, now: u64) {
        self.usage.errors += 1;
        self.watch.note_error(error.to_string());
        if let Some(failing) = &mut self.failing {
            (failing.retry_at, failing.room) = (now + RETRY_MILLIS, writer::no_room(error));
        }
    }

    /// The next segment is ready, or cannot be made so.
    pub(super) fn note_spare(&mut self, error: Option<&io::Error>) {
        self.no_spare = error.map(writer::no_room);
        if let Some(error) = error {
            self.usage.errors += 1;
            self.watch.note_error(error.to_string());
        }
    }

    /// The disk has taken everything that waited.
    pub(super) fn recover(&mut self) {
        self.failing = None;
    }

    /// Whether the disk is to be asked again, where it has answered with an error.
    pub(super) fn retry(&self, now: u64) -> Option<bool> {
        self.failing.map(|failing| now >= failing.retry_at)
    }

    /// Appends everything again that is not known to be on the disk, behind what is; the answer is the segments that were given up.
    ///
    /// After an error of a write or a sync nobody knows what of a file the disk has, and the next sync may say that all is well: so nothing
    /// of it is believed, and the records are written into another file.
    pub(super) fn relocate(&mut self) -> Vec<u64> {
        let given_up = self.index.segments.cut_off_unsynced();
        for run in self.buffer.take_back() {
            for record in run.records(self.key).filter(|record| record.kind == Kind::Change) {
                let to = self.begin_record(record.bytes.len() as u64);
                self.buffer.push(self.key, record.body, frame::body_check(record.body), self.appended);
                self.index.relocate(record.body, record.at, to);
            }
        }
        given_up
    }

    pub(super) fn progress(&self) -> Progress {
        let is_failing = self.failing.is_some();
        Progress { written: Lsn(self.written), synced: Lsn(self.synced), is_failing }
    }

    /// Whether everything up to a change is on the disk.
    pub(super) fn has_synced(&self, lsn: u64) -> bool {
        self.synced >= lsn
    }

    /// Why nothing can be kept while the disk answers with errors.
    pub(super) fn failing_room(&self) -> Option<NoRoom> {
        self.failing.map(|failing| failing.room)
    }

    /// Whether finding the entries takes as much memory as it may.
    pub(super) fn is_index_full(&self) -> bool {
        self.index.memory_bytes() >= self.index_bytes_max
    }

    /// What there is too little of, where messages find no room.
    pub(super) fn shortage(&self) -> Option<Shortage> {
        match self.failing_room().or(self.no_spare) {
            Some(NoRoom::Failing) => None,
            Some(NoRoom::Full) => Some(Shortage::FileSystem),
            None if self.is_index_full() => Some(Shortage::Memory),
            None => Some(Shortage::Limit),
        }
    }

    /// What is to be told of the store now.
    pub(super) fn next_news(&mut self, now: u64) -> Option<News> {
        let is_failing = self.failing.is_some() || self.no_spare == Some(NoRoom::Failing);
        self.watch.set_failing(is_failing);
        self.watch.next_news(now)
    }

    /// Whether so much is not on the disk yet that whoever appends should wait for it.
    pub(super) fn is_crowded(&self) -> bool {
        self.failing.is_none() && !self.is_closing && self.buffer.bytes() > BUFFER_BYTES_MAX
    }

    /// Whether so much waits for a disk that fails that nothing is to be added.
    pub(super) fn is_overfull(&self) -> bool {
        self.failing.is_some() && self.buffer.bytes() > BUFFER_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segments::Segments;

    #[test]
    fn what_nobody_waits_for_is_due_after_its_interval() {
        let moment = Moment { time_millis: 0, wall_millis: 0 };
        let mut state = State::new(1, Index::new(Segments::new(64 * 1024)), 50, 0);
        state.append(&[4, 1], frame::body_check(&[4, 1]), Urgency::Lazy, 100);
        assert_eq!((state.next_in_millis(120), state.take_work(149, moment).is_none()), (Some(30), true));
        assert!(state.take_work(150, moment).is_some_and(|work| work.sync));
    }
}

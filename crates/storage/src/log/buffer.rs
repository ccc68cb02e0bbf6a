//! What was appended and is not on the disk yet.
//!
//! Bytes stand here exactly as they will stand in the file, so a position is known as soon as something is appended, and what was
//! not written yet is read from here.

use super::frame::{self, Kind, MARK_BYTES, Mark, Moment, START_BYTES, Seat, Start};
use super::place::Position;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes that are written at one time: behind each other, in one segment.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// The last change that is in it.
    pub(super) lsn: u64,
}

/// One record of a run, and where it stands.
pub(super) struct Record<'a> {
    pub(super) at: Position,
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
    pub(super) bytes: &'a [u8],
}

impl Run {
    /// An empty one with room for the records that every run begins with.
    fn new(at: Position, lsn: u64) -> Run {
        let opening = if at.offset == 0 { START_BYTES + MARK_BYTES } else { MARK_BYTES };
        Run { segment: at.segment, offset: at.offset, bytes: vec![0; opening], lsn }
    }

    fn ends_at(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Writes the records with which it begins.
    fn seal(&mut self, seal: &Seal) {
        let mut opening = Vec::with_capacity(START_BYTES + MARK_BYTES);
        if self.offset == 0 {
            let (previous, previous_end) = seal.previous;
            Start { key: seal.key, previous, previous_end, moment: seal.moment }
                .write(&mut opening, self.segment);
        }
        let offset = self.offset + opening.len() as u64;
        let synced = seal.synced.max(offset - self.offset);
        let seat = Seat { key: seal.key, segment: self.segment, offset };
        Mark { synced, moment: seal.moment }.write(&mut opening, seat);
        self.bytes.iter_mut().zip(opening).for_each(|(slot, byte)| *slot = byte);
    }

    /// Its records, without what it begins with where that is not sealed yet.
    pub(super) fn records(&self, key: u64) -> impl Iterator<Item = Record<'_>> {
        let mut offset = self.offset;
        let opening = if self.offset == 0 { START_BYTES + MARK_BYTES } else { MARK_BYTES };
        let mut rest = self.bytes.get(opening..).unwrap_or_default();
        offset += opening as u64;
        std::iter::from_fn(move || {
            let header = frame::header(rest, Seat { key, segment: self.segment, offset })?;
            let (bytes, behind) = rest.split_at_checked(header.record_bytes())?;
            let at = Position { segment: self.segment, offset };
            let body = bytes.get(frame::HEADER_BYTES..frame::HEADER_BYTES + header.length)?;
            offset += bytes.len() as u64;
            rest = behind;
            Some(Record { at, kind: header.kind, body, bytes })
        })
    }

    /// The bytes of the record at an offset of its segment, and whatever follows.
    fn from(&self, at: Position) -> Option<&[u8]> {
        let skipped = at.offset.checked_sub(self.offset).filter(|_| self.segment == at.segment)?;
        self.bytes.get(usize::try_from(skipped).ok()?..).filter(|bytes| !bytes.is_empty())
    }
}

/// What is written at the front of a run when it is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal {
    pub(super) key: u64,
    /// Up to where its segment is synced.
    pub(super) synced: u64,
    /// What stands in front of its segment.
    pub(super) previous: (u64, u64),
    pub(super) moment: Moment,
}

/// What was appended and is not on the disk yet, in order.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Handed to the writer, and not known to be on the disk.
    taken: VecDeque<Arc<Run>>,
    /// What the writer gets next.
    waiting: VecDeque<Run>,
    taken_bytes: u64,
    waiting_bytes: u64,
}

impl Buffer {
    /// Whether a record that is appended to this segment now begins a run of its own, and so needs room for a mark.
    pub(super) fn begins_run(&self, segment: u64) -> bool {
        self.waiting.back().is_none_or(|run| run.segment != segment)
    }

    /// Begins a run at a position; the answer is how long it is so far.
    pub(super) fn begin_run(&mut self, at: Position, lsn: u64) -> u64 {
        let run = Run::new(at, lsn);
        let bytes = run.bytes.len() as u64;
        self.waiting_bytes += bytes;
        self.waiting.push_back(run);
        bytes
    }

    /// Puts a change behind the last run.
    pub(super) fn push(&mut self, key: u64, change: &[u8], body_check: u32, lsn: u64) {
        if let Some(run) = self.waiting.back_mut() {
            let seat = Seat { key, segment: run.segment, offset: run.ends_at() };
            let before = run.bytes.len();
            frame::write(&mut run.bytes, seat, Kind::Change, change, body_check);
            run.lsn = lsn;
            self.waiting_bytes += (run.bytes.len() - before) as u64;
        }
    }

    /// Hands everything that waits to the writer; `seal` knows what stands in front of a segment.
    pub(super) fn take(&mut self, seal: impl Fn(u64) -> Seal) -> Vec<Arc<Run>> {
        let runs = self.waiting.drain(..).map(|mut run| {
            run.seal(&seal(run.segment));
            Arc::new(run)
        });
        let runs: Vec<Arc<Run>> = runs.collect();
        self.taken.extend(runs.iter().cloned());
        self.taken_bytes += std::mem::take(&mut self.waiting_bytes);
        runs
    }

    /// Everything up to this change is on the disk.
    pub(super) fn forget(&mut self, lsn: u64) {
        while let Some(run) = self.taken.pop_front_if(|run| run.lsn <= lsn) {
            self.taken_bytes -= run.bytes.len() as u64;
        }
    }

    /// Everything that is not known to be on the disk, in order; it is not here any more.
    pub(super) fn take_back(&mut self) -> Vec<Arc<Run>> {
        let mut runs: Vec<Arc<Run>> = self.taken.drain(..).collect();
        runs.extend(self.waiting.drain(..).map(Arc::new));
        (self.taken_bytes, self.waiting_bytes) = (0, 0);
        runs
    }

    /// The bytes of the record at a position, and whatever follows, while they are here.
    pub(super) fn record(&self, at: Position) -> Option<&[u8]> {
        let taken = self.taken.iter().rev().find_map(|run| run.from(at));
        self.waiting.iter().find_map(|run| run.from(at)).or(taken)
    }

    /// Bytes that wait for the writer.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Bytes that are not known to be on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.waiting_bytes + self.taken_bytes
    }
}

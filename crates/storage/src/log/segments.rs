//! The segments of which the log consists, and how much of each is alive.

use super::disk::DiskFile;
use super::frame::{MARK_BYTES, START_BYTES};
use super::place::{Place, Position};
use std::collections::VecDeque;
use std::sync::Arc;

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Nothing until the first bytes are written.
    pub(super) file: Option<Arc<dyn DiskFile>>,
    /// What it takes on the disk.
    pub(super) bytes: u64,
    /// Where its last record ends, written or not.
    pub(super) filled: u64,
    /// Up to where the disk has it.
    pub(super) synced: u64,
    /// The number of the segment in front of it, and where that one ends.
    pub(super) previous: (u64, u64),
    pub(super) live_entries: u64,
    /// About what it would take to write what is alive again.
    pub(super) live_bytes: u64,
}

impl Segment {
    /// Whether the disk has all of it.
    pub(super) fn is_synced(&self) -> bool {
        self.synced == self.filled
    }

    /// What is left at its end because the next record did not fit, and would be left again where it was copied. Where that is more than half
    /// of it, something else has cut it short.
    fn wasted_bytes(&self) -> u64 {
        let left = self.bytes.saturating_sub(self.filled);
        if left <= self.bytes / 2 { left } else { 0 }
    }
}

/// All segments, the oldest first.
#[derive(Debug)]
pub(super) struct Segments {
    list: VecDeque<Segment>,
    /// Whether records may still go into the newest one.
    is_open: bool,
    /// What a new one takes.
    segment_bytes: u64,
    last_number: u64,
    live_bytes: u64,
    bytes: u64,
    /// What is left at the ends of those into which no records go.
    wasted_bytes: u64,
}

impl Segments {
    /// None yet; those that are opened have numbers above this one.
    pub(super) fn new(segment_bytes: u64) -> Segments {
        let list = VecDeque::new();
        Segments {
            list,
            is_open: false,
            segment_bytes,
            last_number: 0,
            live_bytes: 0,
            bytes: 0,
            wasted_bytes: 0,
        }
    }

    /// What a segment takes that is made for no large record.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// What those take that are begun from now on.
    pub(super) fn set_segment_bytes(&mut self, bytes: u64) {
        self.segment_bytes = bytes;
    }

    /// Takes over a segment from the disk, which is newer than the others and full.
    pub(super) fn push(&mut self, segment: Segment) {
        self.last_number = self.last_number.max(segment.number);
        self.live_bytes += segment.live_bytes;
        self.bytes += segment.bytes;
        self.wasted_bytes += self.list.back().map_or(0, Segment::wasted_bytes);
        self.list.push_back(segment);
    }

    /// Has records go into the newest one again, of which the disk has everything; the answer is its file, and where that goes on.
    pub(super) fn reopen_newest(&mut self) -> Option<(Arc<dyn DiskFile>, Position)> {
        let newest = self.list.back().filter(|newest| newest.is_synced() && newest.filled > 0)?;
        self.is_open = true;
        let end = Position { segment: newest.number, offset: newest.filled };
        Some((newest.file.clone()?, end))
    }

    /// Numbers up to this one are not given any more.
    pub(super) fn skip_numbers(&mut self, last: u64) {
        self.last_number = self.last_number.max(last);
    }

    /// Begins a segment that has room for a record of this size.
    pub(super) fn begin(&mut self, record_bytes: u64) -> Position {
        const PAGE_BYTES: u64 = 4096;
        let needed = START_BYTES as u64 + MARK_BYTES as u64 + record_bytes;
        self.last_number += 1;
        let segment = Segment {
            number: self.last_number,
            file: None,
            bytes: self.segment_bytes.max(needed.next_multiple_of(PAGE_BYTES)),
            filled: 0,
            synced: 0,
            previous: self.list.back().map_or((0, 0), |last| (last.number, last.filled)),
            live_entries: 0,
            live_bytes: 0,
        };
        self.push(segment);
        self.is_open = true;
        Position { segment: self.last_number, offset: 0 }
    }

    /// The segment into which records go.
    pub(super) fn open(&mut self) -> Option<&mut Segment> {
        self.list.back_mut().filter(|_| self.is_open)
    }

    pub(super) fn oldest(&self) -> Option<&Segment> {
        self.list.front()
    }

    pub(super) fn newest(&self) -> Option<&Segment> {
        self.list.back()
    }

    pub(super) fn oldest_number(&self) -> u64 {
        self.oldest().map_or(0, |segment| segment.number)
    }

    /// Takes the file of a segment in which nothing lives.
    pub(super) fn take_file(&mut self, number: u64) -> Option<Arc<dyn DiskFile>> {
        self.get_mut(number)?.file.take()
    }

    /// Takes the oldest one out.
    pub(super) fn pop_oldest(&mut self) -> Option<Segment> {
        let segment = self.list.pop_front()?;
        self.forget(&segment);
        if !self.list.is_empty() {
            self.wasted_bytes -= segment.wasted_bytes();
        }
        Some(segment)
    }

    fn forget(&mut self, segment: &Segment) {
        self.live_bytes -= segment.live_bytes;
        self.bytes -= segment.bytes;
    }

    /// Cuts off everything that is not known to be on the disk; the answer is the numbers of the segments of which nothing is left.
    pub(super) fn cut_off_unsynced(&mut self) -> Vec<u64> {
        self.is_open = false;
        let mut given_up = Vec::new();
        while let Some(last) = self.list.pop_back_if(|last| last.synced == 0) {
            self.forget(&last);
            self.wasted_bytes -= self.list.back().map_or(0, Segment::wasted_bytes);
            given_up.push(last.number);
        }
        if let Some(last) = self.list.back_mut() {
            last.filled = last.filled.min(last.synced);
        }
        given_up
    }

    pub(super) fn get(&self, number: u64) -> Option<&Segment> {
        self.list.get(self.place_of(number)?)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Segment> {
        let place = self.place_of(number)?;
        self.list.get_mut(place)
    }

    /// Numbers follow each other as long as no segment was given up: then the distance from the oldest is the place.
    fn place_of(&self, number: u64) -> Option<usize> {
        let distance = usize::try_from(number.checked_sub(self.oldest_number())?).ok()?;
        match self.list.get(distance) {
            Some(segment) if segment.number == number => Some(distance),
            _ => self.list.binary_search_by_key(&number, |segment| segment.number).ok(),
        }
    }

    /// An entry stands at a place from now on.
    pub(super) fn add(&mut self, place: Place) {
        let oldest = self.oldest_number();
        if let Some(segment) = self.get_mut(place.position(oldest).segment) {
            segment.live_entries += 1;
            segment.live_bytes += place.cost();
            self.live_bytes += place.cost();
        }
    }

    /// No entry stands there any more.
    pub(super) fn remove(&mut self, place: Place) {
        let oldest = self.oldest_number();
        if let Some(segment) = self.get_mut(place.position(oldest).segment) {
            segment.live_entries -= 1;
            segment.live_bytes -= place.cost();
            self.live_bytes -= place.cost();
        }
    }

    /// The segments from the oldest one on in which nothing lives, as far as they are on the disk and no records go into them.
    pub(super) fn dead(&self) -> impl Iterator<Item = &Segment> {
        let full = self.list.len().saturating_sub(1);
        self.list.iter().take(full).take_while(|segment| segment.live_entries == 0 && segment.is_synced())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// What those take on the disk into which no records go.
    pub(super) fn full_bytes(&self) -> u64 {
        self.bytes - self.newest().map_or(0, |newest| newest.bytes)
    }

    /// How much of that is dead.
    pub(super) fn full_dead_bytes(&self) -> u64 {
        let newest = self.newest().map_or(0, |newest| newest.live_bytes);
        self.full_bytes().saturating_sub(self.wasted_bytes + self.live_bytes - newest)
    }

    /// What is left at the ends of segments because no record fitted there.
    pub(super) fn wasted_bytes(&self) -> u64 {
        self.wasted_bytes
    }

    /// What all take on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is left in the one into which records go.
    pub(super) fn bytes_left(&self) -> u64 {
        self.list.back().filter(|_| self.is_open).map_or(0, |last| last.bytes - last.filled)
    }

    /// About what it would take to write everything that is alive again.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }
}

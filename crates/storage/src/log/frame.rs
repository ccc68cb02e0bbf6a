//! Records as they stand in a segment, and how they are found there again.
//!
//! ```text
//! record = header body padding        begins at a multiple of 8; the padding is zeros up to the next one
//! header = header check, 4 bytes      crc32 of the key, the segment's number, the record's offset, and the rest of the header
//!          body check, 4 bytes        crc32 of the body
//!          length, 4 bytes            of the body
//!          kind, 1 byte
//!          "TgR"
//! ```
//!
//! All numbers have a fixed length and begin with their lowest byte. The key is random for each store, so that nobody can publish a
//! message whose payload would be taken for a record when a damaged place is skipped; number and offset are in the check so that what a
//! file held before, or what was written to the wrong place, is not taken for a record either. The header has a check of its own: a
//! length that cannot be believed would make searching behind damage take the square of the time.

use std::ops::Range;

/// Where records begin.
pub(super) const ALIGNMENT: usize = 8;
/// What stands in front of each body.
pub(super) const HEADER_BYTES: usize = 16;
/// What a start takes.
pub(super) const START_BYTES: usize = HEADER_BYTES + 40;
/// What a mark takes.
pub(super) const MARK_BYTES: usize = HEADER_BYTES + 24;

const MAGIC: [u8; 3] = *b"TgR";

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first one of a segment.
    Start,
    /// How far the segment was synced when it was written, and when that was.
    Mark,
    /// A change.
    Change,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Kind::Start),
            2 => Some(Kind::Mark),
            3 => Some(Kind::Change),
            _ => None,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Kind::Start => 1,
            Kind::Mark => 2,
            Kind::Change => 3,
        }
    }
}

/// Where a record stands, as far as its check knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) key: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What is known of a record whose header is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) length: usize,
    body_check: u32,
}

impl Header {
    /// What the record takes with its padding.
    pub(super) fn record_bytes(&self) -> usize {
        record_bytes(self.length)
    }
}

/// What a record with a body of this length takes.
pub(super) fn record_bytes(length: usize) -> usize {
    (HEADER_BYTES + length).next_multiple_of(ALIGNMENT)
}

/// The check of a body, which does not depend on where it will stand.
pub(super) fn body_check(body: &[u8]) -> u32 {
    crc32fast::hash(body)
}

fn header_check(seat: Seat, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for number in [seat.key, seat.segment, seat.offset] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(rest);
    hasher.finalize()
}

/// Writes a record behind what stands in a buffer.
pub(super) fn write(out: &mut Vec<u8>, seat: Seat, kind: Kind, body: &[u8], body_check: u32) {
    let mut rest = [0; HEADER_BYTES - 4];
    // A change is bounded by the limits of what makes it, far below the four gigabytes that fit.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let [magic_0, magic_1, magic_2] = MAGIC;
    let fields = body_check.to_le_bytes().into_iter().chain(length);
    let fields = fields.chain([kind.byte(), magic_0, magic_1, magic_2]);
    rest.iter_mut().zip(fields).for_each(|(slot, byte)| *slot = byte);
    out.extend_from_slice(&header_check(seat, &rest).to_le_bytes());
    out.extend_from_slice(&rest);
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

/// The four bytes at an offset, as a number.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads a header; nothing where there is no sound one.
pub(super) fn header(bytes: &[u8], seat: Seat) -> Option<Header> {
    let header = bytes.get(..HEADER_BYTES)?;
    let (rest, magic) = (header.get(4..)?, header.get(13..)?);
    if magic != MAGIC || word(header, 0)? != header_check(seat, rest) {
        return None;
    }
    Some(Header {
        kind: Kind::from_byte(*header.get(12)?)?,
        length: usize::try_from(word(header, 8)?).ok()?,
        body_check: word(header, 4)?,
    })
}

/// What a record takes as its header says, which is not checked.
pub(super) fn claimed_bytes(record: &[u8]) -> usize {
    record_bytes(word(record, 8).map_or(0, |length| length as usize))
}

/// The body of the record with this header; nothing where it is not what was written.
pub(super) fn body(record: &[u8], header: Header) -> Option<&[u8]> {
    let padded = record.get(HEADER_BYTES..header.record_bytes())?;
    let (body, padding) = padded.split_at_checked(header.length)?;
    (body_check(body) == header.body_check && padding.iter().all(|byte| *byte == 0)).then_some(body)
}

/// What stands at a place of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A sound record, and where in the segment its body is.
    Record { offset: usize, kind: Kind, body: Range<usize> },
    /// Bytes that are none, up to the next sound header or the end; `claimed` is what a sound header at the front says that they are.
    Gap { range: Range<usize>, claimed: usize },
}

/// Goes through the bytes of a segment.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    /// Where the bytes begin.
    seat: Seat,
    offset: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8], key: u64, segment: u64) -> Scan<'a> {
        Scan::from(bytes, Seat { key, segment, offset: 0 })
    }

    /// Goes through bytes that begin in the midst of a segment, with a record.
    pub(super) fn from(bytes: &'a [u8], seat: Seat) -> Scan<'a> {
        Scan { bytes, seat, offset: 0 }
    }

    fn header_at(&self, offset: usize) -> Option<Header> {
        let seat = Seat { offset: self.seat.offset + offset as u64, ..self.seat };
        header(self.bytes.get(offset..)?, seat)
    }

    /// Where the next sound header is, from an offset on.
    fn resync(&self, from: usize) -> usize {
        let ends_at = self.bytes.len();
        let mut offsets = (from.min(ends_at)..ends_at).step_by(ALIGNMENT);
        offsets.find(|offset| self.header_at(*offset).is_some()).unwrap_or(ends_at)
    }

    fn gap(&mut self, claimed: usize, searched_from: usize) -> Found {
        let range = self.offset..self.resync(searched_from);
        self.offset = range.end;
        Found::Gap { range, claimed }
    }
}

impl Iterator for Scan<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let offset = self.offset;
        if offset >= self.bytes.len() {
            return None;
        }
        let Some(header) = self.header_at(offset) else {
            return Some(self.gap(0, offset + ALIGNMENT));
        };
        let ends_at = offset.saturating_add(header.record_bytes());
        if self.bytes.get(offset..).and_then(|record| body(record, header)).is_none() {
            // The header can be believed, so nothing begins inside. Where the end is cut off, something may.
            let is_whole = ends_at <= self.bytes.len();
            let from = if is_whole { ends_at } else { offset + ALIGNMENT };
            return Some(self.gap(header.record_bytes(), from));
        }
        self.offset = ends_at;
        let body = offset + HEADER_BYTES..offset + HEADER_BYTES + header.length;
        Some(Found::Record { offset, kind: header.kind, body })
    }
}

/// Takes numbers of eight bytes from the front.
fn numbers<const COUNT: usize>(body: &[u8]) -> Option<[u64; COUNT]> {
    let mut numbers = [0; COUNT];
    let (chunks, rest) = body.as_chunks::<8>();
    if chunks.len() != COUNT || !rest.is_empty() {
        return None;
    }
    numbers.iter_mut().zip(chunks).for_each(|(number, chunk)| *number = u64::from_le_bytes(*chunk));
    Some(numbers)
}

fn write_numbers<const COUNT: usize>(out: &mut Vec<u8>, seat: Seat, kind: Kind, numbers: [u64; COUNT]) {
    let body: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    write(out, seat, kind, &body, body_check(&body));
}

/// The store's time and the wall clock at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Moment {
    /// The store's time.
    pub(super) time_millis: u64,
    /// Milliseconds since 1970, or 0 where the clock could not be believed.
    pub(super) wall_millis: u64,
}

/// The first record of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// The key of the store.
    pub(super) key: u64,
    /// The segment in front of this one, 0 where there was none. What has a number between the two was given up.
    pub(super) previous: u64,
    /// Where that one ends: what stands behind is no part of the log.
    pub(super) previous_end: u64,
    pub(super) moment: Moment,
}

impl Start {
    pub(super) fn write(&self, out: &mut Vec<u8>, segment: u64) {
        let Moment { time_millis, wall_millis } = self.moment;
        let numbers = [self.key, self.previous, self.previous_end, time_millis, wall_millis];
        write_numbers(out, Seat { key: self.key, segment, offset: 0 }, Kind::Start, numbers);
    }

    /// Reads the start of a segment from its first bytes; the check is made with the key that it names.
    pub(super) fn read(bytes: &[u8], segment: u64) -> Option<Start> {
        let key = u64::from_le_bytes(*bytes.get(HEADER_BYTES..)?.first_chunk()?);
        let header = header(bytes, Seat { key, segment, offset: 0 })?;
        Start::parse(body(bytes, header).filter(|_| header.kind == Kind::Start)?)
    }

    /// Reads the body of a start.
    pub(super) fn parse(body: &[u8]) -> Option<Start> {
        let [key, previous, previous_end, time_millis, wall_millis] = numbers(body)?;
        Some(Start { key, previous, previous_end, moment: Moment { time_millis, wall_millis } })
    }
}

/// Stands in front of everything that is written at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Up to where the segment was known to be synced.
    pub(super) synced: u64,
    pub(super) moment: Moment,
}

impl Mark {
    pub(super) fn write(&self, out: &mut Vec<u8>, seat: Seat) {
        let Moment { time_millis, wall_millis } = self.moment;
        write_numbers(out, seat, Kind::Mark, [self.synced, time_millis, wall_millis]);
    }

    pub(super) fn read(body: &[u8]) -> Option<Mark> {
        let [synced, time_millis, wall_millis] = numbers(body)?;
        Some(Mark { synced, moment: Moment { time_millis, wall_millis } })
    }
}

//! Reads entries back: from what is not written yet, or from the files.

use super::buffer::Buffer;
use super::disk::DiskFile;
use super::frame::{self, HEADER_BYTES, Kind, Seat};
use super::index::Index;
use super::place::Position;
use crate::{Entry, Op, Ops, ReadError, ReadMax, StreamId};
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// How much is read at a time where entries lie close together.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Entries that are to be read, and everything that has to be known for that without the lock.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// Ascending by their numbers.
    entries: Vec<Wanted>,
    /// The records in which they stand, each once.
    records: Vec<Record>,
    /// What their bodies take.
    bodies_bytes: usize,
}

/// One entry that is to be read.
#[derive(Debug)]
struct Wanted {
    number: u64,
    /// The place of its record among the picked ones.
    record: usize,
    /// Its note, where that is not the one in its record.
    note: Option<Bytes>,
}

/// One record in which wanted entries stand.
#[derive(Debug)]
struct Record {
    at: Position,
    source: Source,
}

/// Where the bytes of a record are.
#[derive(Debug)]
enum Source {
    /// They were not known to be on the disk.
    Memory(Vec<u8>),
    /// A file that is written up to here.
    File(Arc<dyn DiskFile>, u64),
    /// A segment that has no file.
    Nowhere,
}

impl Picked {
    pub(super) fn pick(index: &Index, buffer: &Buffer, id: StreamId, from: u64, max: ReadMax) -> Picked {
        let mut picked = Picked::default();
        let Some(stream) = index.stream(id) else { return picked };
        let (oldest, mut bytes) = (index.segments.oldest_number(), 0);
        let mut known = HashMap::new();
        for (number, place) in stream.from(from) {
            bytes += place.body_bytes();
            let is_full = picked.entries.len() >= max.entries || bytes > max.bytes as u64;
            if is_full && !picked.entries.is_empty() {
                break;
            }
            let at = place.position(oldest);
            let record = match picked.entries.last().map(|last| last.record) {
                Some(last) if picked.records.get(last).is_some_and(|record| record.at == at) => last,
                // Entries of several workers alternate between their changes.
                _ => *known.entry(at).or_insert_with(|| {
                    picked.records.push(Record { at, source: Source::of(index, buffer, at) });
                    picked.records.len() - 1
                }),
            };
            let note = stream.note(number).map(Bytes::copy_from_slice);
            picked.entries.push(Wanted { number, record, note });
            picked.bodies_bytes += place.body_bytes() as usize;
        }
        picked
    }

    /// The place among the wanted ones of an entry that stands in this record; most likely it is the given one.
    fn place_of(&self, number: u64, record: usize, likely: usize) -> Option<usize> {
        let is_wanted = |wanted: &&Wanted| wanted.number == number && wanted.record == record;
        if self.entries.get(likely).filter(is_wanted).is_some() {
            return Some(likely);
        }
        let (first, last) = (self.entries.first()?.number, self.entries.last()?.number);
        if !(first..=last).contains(&number) {
            return None;
        }
        let place = self.entries.binary_search_by_key(&number, |wanted| wanted.number).ok()?;
        self.entries.get(place).filter(is_wanted).map(|_| place)
    }
}

impl Source {
    fn of(index: &Index, buffer: &Buffer, at: Position) -> Source {
        if let Some(bytes) = buffer.record(at) {
            let length = frame::claimed_bytes(bytes).min(bytes.len());
            return Source::Memory(bytes.get(..length).unwrap_or_default().to_vec());
        }
        let segment = index.segments.get(at.segment);
        match segment.and_then(|segment| Some((segment.file.clone()?, segment.filled))) {
            Some((file, end)) => Source::File(file, end),
            None => Source::Nowhere,
        }
    }
}

/// The record in which an answer has ended that has more behind it: most likely the next one goes on there, and a record may have thousands
/// of entries.
#[derive(Debug)]
pub(super) struct Left {
    stream: StreamId,
    at: Position,
    /// Its body, which was checked.
    change: Vec<u8>,
    end: End,
}

/// The offset in a change behind what was taken of it, and the number that was taken last.
type End = (usize, u64);

impl Left {
    /// Larger records are read again.
    const BYTES_MAX: usize = 1 << 20;
}

/// Reads what was picked; where an entry cannot be read, what is in front of it. `left` is what was left by the last time, and by this one.
pub(super) fn read(
    key: u64,
    stream: StreamId,
    picked: &Picked,
    left: &mut Option<Left>,
) -> Result<Vec<Entry>, ReadError> {
    let (mut contents, mut before) = (Contents::new(stream, picked), left.take());
    // One behind the other, so that a block has several.
    let mut records: Vec<(usize, &Record)> = picked.records.iter().enumerate().collect();
    records.sort_unstable_by_key(|(_, record)| record.at);
    let mut block = Block::default();
    for (place, record) in records {
        if let Some(before) = before.take_if(|before| contents.goes_on_in(before, place)) {
            let end = contents.take(&before.change, before.end.0, place);
            if contents.has_all_of(place) {
                *left = end.map(|end| Left { end, ..before });
                continue;
            }
        }
        let seat = Seat { key, segment: record.at.segment, offset: record.at.offset };
        match block.record_of(&record.source, seat) {
            Ok(bytes) => {
                let change = bytes.and_then(|bytes| change_of(bytes, seat)).unwrap_or_default();
                let end = contents.take(change, 0, place).filter(|_| change.len() <= Left::BYTES_MAX);
                *left = end.map(|end| Left { stream, at: record.at, change: change.to_vec(), end });
            }
            Err(error) => contents.failed.push((place, error)),
        }
    }
    contents.into_entries()
}

/// The body of a record; nothing where it is damaged.
fn change_of(bytes: &[u8], seat: Seat) -> Option<&[u8]> {
    let header = frame::header(bytes, seat).filter(|header| header.kind == Kind::Change)?;
    frame::body(bytes, header)
}

/// What was found of the wanted entries.
struct Contents<'a> {
    stream: StreamId,
    picked: &'a Picked,
    /// Notes and bodies, one behind the other, so that nothing else of what is read stays in memory.
    bytes: Vec<u8>,
    /// Where the note and the body of each entry are.
    places: Vec<Option<(Range<usize>, Range<usize>)>>,
    /// The records that the disk could not give, with its answer.
    failed: Vec<(usize, io::Error)>,
}

impl<'a> Contents<'a> {
    fn new(stream: StreamId, picked: &'a Picked) -> Contents<'a> {
        /// About what a note takes.
        const NOTE_BYTES: usize = 8;
        let bytes = Vec::with_capacity(picked.bodies_bytes + picked.entries.len() * NOTE_BYTES);
        Contents { stream, picked, bytes, places: vec![None; picked.entries.len()], failed: Vec::new() }
    }

    /// Whether what was left of a record most likely has what is wanted of this one.
    fn goes_on_in(&self, left: &Left, record: usize) -> bool {
        let is_it = self.picked.records.get(record).is_some_and(|record| record.at == left.at);
        let first = self.picked.entries.iter().find(|wanted| wanted.record == record);
        is_it && self.stream == left.stream && first.is_some_and(|first| first.number > left.end.1)
    }

    fn has_all_of(&self, record: usize) -> bool {
        let mut wanted = self.picked.entries.iter().zip(&self.places);
        wanted.all(|(wanted, place)| wanted.record != record || place.is_some())
    }

    /// Takes what is wanted of a record from an offset of its change on; where that has ended, unless it was with the change.
    fn take(&mut self, change: &[u8], offset: usize, record: usize) -> Option<End> {
        let (stream, mut likely, mut end) = (self.stream, 0, None);
        let mut ops = Ops::new(change.get(offset..)?);
        while let Some(Ok(op)) = ops.next() {
            let Op::Append { claims, body } = op else { continue };
            for (_, number, note) in claims.iter().filter(|(claimed, ..)| *claimed == stream) {
                let Some(place) = self.picked.place_of(number, record, likely) else { continue };
                let content = (self.keep(note), self.keep(body));
                self.places.get_mut(place).into_iter().for_each(|place| *place = Some(content.clone()));
                likely = place + 1;
                end = Some((change.len() - ops.bytes_left(), number));
            }
        }
        end.filter(|(offset, _)| *offset < change.len())
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// The entries up to the first one that was not found; an error where that is the first one.
    fn into_entries(self) -> Result<Vec<Entry>, ReadError> {
        let Contents { stream, picked, bytes, places, mut failed } = self;
        let (bytes, mut read) = (Bytes::from(bytes), Vec::with_capacity(places.len()));
        for (wanted, place) in picked.entries.iter().zip(places) {
            let number = wanted.number;
            match place {
                Some((note, body)) => {
                    let note = wanted.note.clone().unwrap_or_else(|| bytes.slice(note));
                    read.push(Entry { number, note, body: bytes.slice(body) });
                }
                None if !read.is_empty() => break,
                None => {
                    let failed = failed
                        .iter()
                        .position(|(record, _)| *record == wanted.record)
                        .map(|at| failed.swap_remove(at));
                    return Err(
                        failed.map_or(ReadError::Damaged { stream, number }, |(_, error)| error.into())
                    );
                }
            }
        }
        Ok(read)
    }
}

/// Bytes of a file that were read together.
#[derive(Debug, Default)]
struct Block {
    segment: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// The bytes of a record, and whatever follows; nothing where there is none.
    fn record_of<'a>(&'a mut self, source: &'a Source, seat: Seat) -> io::Result<Option<&'a [u8]>> {
        match source {
            Source::Memory(bytes) => Ok(Some(bytes)),
            Source::File(file, end) => self.record(&**file, *end, seat),
            Source::Nowhere => Ok(None),
        }
    }

    /// The bytes of a record, and whatever follows; nothing where its header is damaged.
    fn record(&mut self, file: &dyn DiskFile, end: u64, seat: Seat) -> io::Result<Option<&[u8]>> {
        if self.holds(seat).is_none_or(|bytes| bytes.len() < HEADER_BYTES) {
            self.load(file, seat, BLOCK_BYTES.min(end.saturating_sub(seat.offset)))?;
        }
        let Some(header) = self.holds(seat).and_then(|bytes| frame::header(bytes, seat)) else {
            return Ok(None);
        };
        let needed = header.record_bytes() as u64;
        if needed > end.saturating_sub(seat.offset) {
            return Ok(None);
        }
        if self.holds(seat).is_none_or(|bytes| (bytes.len() as u64) < needed) {
            self.load(file, seat, needed.max(BLOCK_BYTES).min(end.saturating_sub(seat.offset)))?;
        }
        Ok(self.holds(seat))
    }

    fn holds(&self, seat: Seat) -> Option<&[u8]> {
        let at = seat.offset.checked_sub(self.offset).filter(|_| self.segment == seat.segment)?;
        self.bytes.get(usize::try_from(at).ok()?..)
    }

    fn load(&mut self, file: &dyn DiskFile, seat: Seat, length: u64) -> io::Result<()> {
        (self.segment, self.offset) = (seat.segment, seat.offset);
        self.bytes.clear();
        self.bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        file.read_at(seat.offset, &mut self.bytes)
    }
}

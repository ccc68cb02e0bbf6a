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
use std::sync::Arc;

/// How much is read at a time where entries lie close together.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Entries that are to be read, and everything that has to be known for that without the lock.
#[derive(Debug, Default)]
pub(super) struct Picked {
    entries: Vec<(u64, Position, Option<Bytes>)>,
    /// Records that are not written yet.
    records: HashMap<Position, Vec<u8>>,
    /// The files of the others, and up to where they are written.
    files: HashMap<u64, (Arc<dyn DiskFile>, u64)>,
}

impl Picked {
    pub(super) fn pick(index: &Index, buffer: &Buffer, id: StreamId, from: u64, max: ReadMax) -> Picked {
        let mut picked = Picked::default();
        let Some(stream) = index.stream(id) else { return picked };
        let (oldest, mut bytes) = (index.segments.oldest_number(), 0);
        for (number, place) in stream.from(from) {
            bytes += place.body_bytes();
            let is_full = picked.entries.len() >= max.entries || bytes > max.bytes as u64;
            if is_full && !picked.entries.is_empty() {
                break;
            }
            let at = place.position(oldest);
            let note = stream.note(number).map(Bytes::copy_from_slice);
            picked.entries.push((number, at, note));
            picked.pick_record(index, buffer, at);
        }
        picked
    }

    fn pick_record(&mut self, index: &Index, buffer: &Buffer, at: Position) {
        if self.records.contains_key(&at) {
            return;
        }
        if let Some(bytes) = buffer.record(at) {
            let length = frame::claimed_bytes(bytes).min(bytes.len());
            self.records.insert(at, bytes.get(..length).unwrap_or_default().to_vec());
        } else if let Some(segment) = index.segments.get(at.segment)
            && let Some(file) = &segment.file
        {
            self.files.entry(at.segment).or_insert_with(|| (file.clone(), segment.filled));
        }
    }
}

/// Reads what was picked; where an entry cannot be read, what is in front of it.
pub(super) fn read(key: u64, stream: StreamId, picked: &Picked) -> Result<Vec<Entry>, ReadError> {
    let mut records = Records { key, picked, block: Block::default(), parsed: None };
    let mut read = Vec::with_capacity(picked.entries.len());
    for (number, at, note) in &picked.entries {
        match records.entry(stream, *number, *at) {
            Ok(Some((of_record, body))) => {
                let note = note.clone().unwrap_or(of_record);
                read.push(Entry { number: *number, note, body });
            }
            Ok(None) if read.is_empty() => return Err(ReadError::Damaged { stream, number: *number }),
            Err(error) if read.is_empty() => return Err(error.into()),
            Ok(None) | Err(_) => break,
        }
    }
    Ok(read)
}

/// The notes and bodies that a record has for one stream, by number.
type Parsed = HashMap<u64, (Bytes, Bytes)>;

struct Records<'a> {
    key: u64,
    picked: &'a Picked,
    block: Block,
    parsed: Option<(Position, Parsed)>,
}

impl Records<'_> {
    /// The note and the body of an entry; nothing where its record is damaged.
    fn entry(&mut self, stream: StreamId, number: u64, at: Position) -> io::Result<Option<(Bytes, Bytes)>> {
        if self.parsed.as_ref().is_none_or(|(parsed, _)| *parsed != at) {
            let seat = Seat { key: self.key, segment: at.segment, offset: at.offset };
            let bytes = match self.picked.records.get(&at) {
                Some(bytes) => Some(&bytes[..]),
                None => match self.picked.files.get(&at.segment) {
                    Some((file, end)) => self.block.record(&**file, *end, seat)?,
                    None => None,
                },
            };
            let Some(parsed) = bytes.and_then(|bytes| parse(bytes, seat, stream)) else { return Ok(None) };
            self.parsed = Some((at, parsed));
        }
        Ok(self.parsed.as_ref().and_then(|(_, parsed)| parsed.get(&number).cloned()))
    }
}

fn parse(bytes: &[u8], seat: Seat, wanted: StreamId) -> Option<Parsed> {
    let header = frame::header(bytes, seat).filter(|header| header.kind == Kind::Change)?;
    let mut parsed = Parsed::new();
    for op in Ops::new(frame::body(bytes, header)?) {
        let Op::Append { claims, body } = op.ok()? else { continue };
        for (_, number, note) in claims.into_iter().filter(|(stream, ..)| *stream == wanted) {
            parsed.insert(number, (Bytes::copy_from_slice(note), Bytes::copy_from_slice(body)));
        }
    }
    Some(parsed)
}

/// Bytes of a file that were read together.
#[derive(Debug, Default)]
struct Block {
    segment: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl Block {
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

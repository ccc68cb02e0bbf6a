//! The living entries of one stream, as the index knows them.

use super::place::Place;
use crate::{StreamId, StreamSummary};
use std::collections::BTreeMap;

/// How many numbers share a chunk.
const CHUNK_NUMBERS: u64 = 64;

/// The entries of one stream.
///
/// Numbers are given in order and mostly settled in order, so entries stand in chunks of 64 numbers: thirteen bytes for each in a long
/// queue, and a chunk goes with its last entry.
#[derive(Debug, Default)]
pub(super) struct Stream {
    chunks: BTreeMap<u64, Chunk>,
    /// Notes that are not in the entries' records.
    notes: BTreeMap<u64, Box<[u8]>>,
    /// What those are together.
    notes_bytes: usize,
    last: u64,
    entries: usize,
    bytes: u64,
}

/// Entries with neighbouring numbers: which, and their places in that order.
#[derive(Debug, Default)]
struct Chunk {
    present: u64,
    places: Vec<Place>,
}

impl Chunk {
    fn rank(&self, bit: u64) -> usize {
        (self.present & (bit - 1)).count_ones() as usize
    }

    fn get(&self, bit: u64) -> Option<&Place> {
        self.places.get(self.rank(bit)).filter(|_| self.present & bit != 0)
    }

    /// Puts an entry at its place; the answer is where it stood before.
    fn put(&mut self, bit: u64, place: Place) -> Option<Place> {
        let rank = self.rank(bit);
        match self.places.get_mut(rank).filter(|_| self.present & bit != 0) {
            Some(present) => Some(std::mem::replace(present, place)),
            None => {
                self.places.insert(rank, place);
                self.present |= bit;
                None
            }
        }
    }

    fn take(&mut self, bit: u64) -> Option<Place> {
        self.get(bit)?;
        let place = self.places.remove(self.rank(bit));
        self.present &= !bit;
        if self.places.len() < self.places.capacity() / 4 {
            self.places.shrink_to(self.places.len() * 2);
        }
        Some(place)
    }

    /// The numbers and places from a number on, of the chunk that begins with `first`.
    fn from(&self, first: u64, from: u64) -> impl Iterator<Item = (u64, Place)> {
        let numbers = (0..CHUNK_NUMBERS).filter(|index| self.present & (1 << index) != 0);
        let numbered = numbers.map(move |index| first + index).zip(self.places.iter().copied());
        numbered.skip_while(move |(number, _)| *number < from)
    }
}

/// The chunk of a number, and its bit there.
fn split(number: u64) -> (u64, u64) {
    (number / CHUNK_NUMBERS, 1 << (number % CHUNK_NUMBERS))
}

impl Stream {
    fn note_bytes(&self, number: u64, place: Place) -> u64 {
        let in_memory = || self.notes.get(&number).map_or(0, |note| note.len() as u64);
        place.note_bytes().unwrap_or_else(in_memory)
    }

    /// Puts an entry at its place; the answer is where it stood before.
    pub(super) fn put(&mut self, number: u64, place: Place, note: &[u8]) -> Option<Place> {
        let (key, bit) = split(number);
        let before = self.chunks.entry(key).or_default().put(bit, place);
        before.into_iter().for_each(|before| self.discount(number, before));
        if place.note_bytes().is_none() {
            self.set_note(number, note);
        }
        self.last = self.last.max(number);
        self.entries += 1;
        self.bytes += place.body_bytes() + note.len() as u64;
        before
    }

    /// Takes an entry away; the answer is where it stood.
    pub(super) fn remove(&mut self, number: u64) -> Option<Place> {
        let (key, bit) = split(number);
        let chunk = self.chunks.get_mut(&key)?;
        let place = chunk.take(bit)?;
        if chunk.places.is_empty() {
            self.chunks.remove(&key);
        }
        self.discount(number, place);
        Some(place)
    }

    /// An entry that stood at this place does not count any more.
    fn discount(&mut self, number: u64, place: Place) {
        self.entries -= 1;
        self.bytes -= place.body_bytes() + self.note_bytes(number, place);
        if !self.notes.is_empty() {
            self.notes_bytes -= self.notes.remove(&number).map_or(0, |note| note.len());
        }
    }

    fn set_note(&mut self, number: u64, note: &[u8]) {
        let before = self.notes.insert(number, note.into()).map_or(0, |before| before.len());
        self.notes_bytes = self.notes_bytes - before + note.len();
    }

    /// Puts another note on an entry; the answer is its place before and now.
    pub(super) fn amend(&mut self, number: u64, note: &[u8]) -> Option<(Place, Place)> {
        let before = self.place(number)?;
        let now = before.with_note_in_memory();
        self.bytes = self.bytes - self.note_bytes(number, before) + note.len() as u64;
        let (key, bit) = split(number);
        self.chunks.get_mut(&key)?.put(bit, now);
        self.set_note(number, note);
        Some((before, now))
    }

    pub(super) fn place(&self, number: u64) -> Option<Place> {
        let (key, bit) = split(number);
        self.chunks.get(&key)?.get(bit).copied()
    }

    /// The note of an entry, where it is not the one in its record.
    pub(super) fn note(&self, number: u64) -> Option<&[u8]> {
        self.notes.get(&number).map(|note| &**note)
    }

    /// The entries from a number on, in order.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = (u64, Place)> {
        let chunks = self.chunks.range(number / CHUNK_NUMBERS..);
        chunks.flat_map(move |(key, chunk)| chunk.from(key * CHUNK_NUMBERS, number))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(super) fn summary(&self, stream: StreamId) -> Option<StreamSummary> {
        let (first, _) = self.from(0).next()?;
        Some(StreamSummary { stream, first, last: self.last, entries: self.entries, bytes: self.bytes })
    }

    /// About what its entries take in memory; asked for with every change, so nothing is walked through.
    pub(super) fn memory_bytes(&self) -> usize {
        // A chunk in the tree has its key, its bits and its vector; a note has its key, its pointer and what the allocator adds.
        const CHUNK_BYTES: usize = 56;
        const NOTE_BYTES: usize = 48;
        let notes = self.notes.len() * NOTE_BYTES + self.notes_bytes;
        self.chunks.len() * CHUNK_BYTES + self.entries * size_of::<Place>() + notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::place::Position;
    use proptest::prelude::*;

    fn place(offset: u64, note: &[u8]) -> Place {
        Place::new(Position { segment: 1, offset: offset * 8 }, 1, note, b"body")
    }

    proptest! {
        #[test]
        fn a_stream_is_an_ordered_map(steps in proptest::collection::vec((0_u8..4, 0_u64..200), 0..300)) {
            let (mut stream, mut model) = (Stream::default(), BTreeMap::new());
            for (step, number) in steps {
                let note = vec![b'n'; if number % 7 == 0 { 1023 } else { (number % 5) as usize }];
                match step {
                    0 | 1 => {
                        let before = stream.put(number, place(number, &note), &note);
                        prop_assert_eq!(before.is_some(), model.insert(number, note).is_some());
                    }
                    2 => prop_assert_eq!(stream.remove(number).is_some(), model.remove(&number).is_some()),
                    _ => {
                        prop_assert_eq!(stream.amend(number, &note).is_some(), model.contains_key(&number));
                        model.entry(number).and_modify(|present| *present = note);
                    }
                }
                let bytes: usize = model.values().map(|note| note.len() + 4).sum();
                prop_assert_eq!((stream.entries, stream.bytes), (model.len(), bytes as u64));
                prop_assert_eq!(stream.is_empty(), model.is_empty());
                let notes: usize = stream.notes.values().map(|note| note.len()).sum();
                prop_assert_eq!(stream.notes_bytes, notes);
            }
            for from in [0, 63, 64, 65, 199, 1000] {
                let found: Vec<u64> = stream.from(from).map(|(number, _)| number).collect();
                let expected: Vec<u64> = model.range(from..).map(|(number, _)| *number).collect();
                prop_assert_eq!(found, expected);
            }
            for (number, place) in stream.from(0) {
                let note = stream.note(number).map_or(place.note_bytes(), |note| Some(note.len() as u64));
                prop_assert_eq!(note, model.get(&number).map(|note| note.len() as u64));
            }
        }
    }

    #[test]
    fn a_long_queue_takes_about_thirteen_bytes_an_entry() {
        let mut stream = Stream::default();
        for number in 0..64_000 {
            stream.put(number, place(number, b""), b"");
        }
        assert!(stream.memory_bytes() < 14 * 64_000, "{}", stream.memory_bytes());
        for number in 0..63_999 {
            stream.remove(number);
        }
        assert!(stream.memory_bytes() < 500);
    }
}

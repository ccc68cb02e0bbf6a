//! Which entries live, and where: what recovery builds from the records, and what every change changes.

use super::place::{Place, Position};
use super::segments::Segments;
use super::stream::Stream;
use crate::{Change, Op, Ops, StreamId, StreamSummary};
use std::collections::BTreeMap;

/// The living entries of all streams, and the segments in which they stand.
#[derive(Debug)]
pub(super) struct Index {
    streams: BTreeMap<StreamId, Stream>,
    /// What the entries of all of them take in memory.
    entries_bytes: usize,
    pub(super) segments: Segments,
}

impl Index {
    pub(super) fn new(segments: Segments) -> Index {
        Index { streams: BTreeMap::new(), entries_bytes: 0, segments }
    }

    /// Does what a change says that stands at a position; false where its bytes are no change.
    pub(super) fn apply(&mut self, change: &[u8], at: Position) -> bool {
        for op in Ops::new(change) {
            match op {
                Ok(Op::Append { claims, body }) => {
                    for (stream, number, note) in claims.iter() {
                        self.put(stream, number, Place::new(at, claims.len(), note, body), note);
                    }
                }
                Ok(Op::Settle(stream, number)) => self.settle(stream, number),
                Ok(Op::Amend(stream, number, note)) => self.amend(stream, number, note),
                Ok(Op::End(stream)) => self.end(stream),
                Err(_) => return false,
            }
        }
        true
    }

    fn put(&mut self, stream: StreamId, number: u64, place: Place, note: &[u8]) {
        let stream = self.streams.entry(stream).or_default();
        let before = counted(&mut self.entries_bytes, stream, |stream| stream.put(number, place, note));
        before.into_iter().for_each(|before| self.segments.remove(before));
        self.segments.add(place);
    }

    fn settle(&mut self, id: StreamId, number: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let place = counted(&mut self.entries_bytes, stream, |stream| stream.remove(number));
        place.into_iter().for_each(|place| self.segments.remove(place));
        if stream.is_empty() {
            self.streams.remove(&id);
        }
    }

    fn amend(&mut self, stream: StreamId, number: u64, note: &[u8]) {
        let Some(stream) = self.streams.get_mut(&stream) else { return };
        let places = counted(&mut self.entries_bytes, stream, |stream| stream.amend(number, note));
        if let Some((before, now)) = places {
            self.segments.remove(before);
            self.segments.add(now);
        }
    }

    fn end(&mut self, id: StreamId) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.entries_bytes -= stream.memory_bytes();
        stream.from(0).for_each(|(_, place)| self.segments.remove(place));
    }

    /// The entries of a change that stands at `from` stand at `to` from now on, where they live.
    pub(super) fn relocate(&mut self, change: &[u8], from: Position, to: Position) {
        for op in Ops::new(change).map_while(Result::ok) {
            let Op::Append { claims, body } = op else { continue };
            for (id, number, note) in claims.iter() {
                if !self.lives_at(id, number, from) {
                    continue;
                }
                let present = self.streams.get(&id).and_then(|stream| stream.note(number)).map(Box::from);
                let place = Place::new(to, claims.len(), note, body);
                self.put(id, number, place, note);
                // A note that was changed meanwhile stays what it is.
                present.into_iter().for_each(|note: Box<[u8]>| self.amend(id, number, &note));
            }
        }
    }

    /// Whether an entry lives, and in the record at this position.
    fn lives_at(&self, stream: StreamId, number: u64, at: Position) -> bool {
        let place = self.streams.get(&stream).and_then(|stream| stream.place(number));
        place.is_some_and(|place| place.is_at(at))
    }

    /// What is alive of the change that stands at this position, with the notes of today.
    pub(super) fn copy_living(&self, change: &[u8], at: Position, into: &mut Change) {
        for op in Ops::new(change).map_while(Result::ok) {
            let Op::Append { claims, body } = op else { continue };
            let living = claims.iter().filter_map(|(id, number, note)| {
                let stream = self.streams.get(&id).filter(|_| self.lives_at(id, number, at))?;
                Some((id, number, stream.note(number).unwrap_or(note)))
            });
            let living: Vec<_> = living.collect();
            if !living.is_empty() {
                into.append(&living, body);
            }
        }
    }

    pub(super) fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(&stream)
    }

    pub(super) fn summaries(&self) -> Vec<StreamSummary> {
        self.streams.iter().filter_map(|(id, stream)| stream.summary(*id)).collect()
    }

    /// About what finding the entries takes in memory. Publishers ask on a full disk, so it is kept as a sum.
    pub(super) fn memory_bytes(&self) -> usize {
        // Its own slot in a tree, and two trees.
        const STREAM_BYTES: usize = 160;
        self.streams.len() * STREAM_BYTES + self.entries_bytes
    }
}

/// Changes a stream, and with it the sum of what all of them take in memory.
fn counted<T>(sum: &mut usize, stream: &mut Stream, change: impl FnOnce(&mut Stream) -> T) -> T {
    let before = stream.memory_bytes();
    let result = change(stream);
    *sum = *sum - before + stream.memory_bytes();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_sum_is_what_the_streams_take(steps in proptest::collection::vec((0_u8..6, 0_u64..3, 0_u64..150), 0..200)) {
            let mut index = Index::new(Segments::new(64 * 1024));
            for (at, (step, stream, number)) in steps.into_iter().enumerate() {
                let (stream, note) = (StreamId(stream), vec![b'n'; if number % 7 == 0 { 1023 } else { 3 }]);
                let mut change = Change::default();
                match step {
                    0..=2 => change.append(&[(stream, number, &note)], b"body"),
                    3 => change.settle(stream, number),
                    4 => change.amend(stream, number, b"another note"),
                    _ => change.end(stream),
                }
                let at = Position { segment: 1, offset: at as u64 * 8 };
                let is_applied = index.apply(change.as_bytes(), at);
                prop_assert!(is_applied);
                let sum: usize = index.streams.values().map(Stream::memory_bytes).sum();
                prop_assert_eq!(index.entries_bytes, sum);
            }
        }
    }
}

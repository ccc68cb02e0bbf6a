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
    pub(super) segments: Segments,
}

impl Index {
    pub(super) fn new(segments: Segments) -> Index {
        Index { streams: BTreeMap::new(), segments }
    }

    /// Does what a change says that stands at a position; false where its bytes are no change.
    pub(super) fn apply(&mut self, change: &[u8], at: Position) -> bool {
        for op in Ops::new(change) {
            match op {
                Ok(Op::Append { claims, body }) => {
                    for (stream, number, note) in &claims {
                        self.put(*stream, *number, Place::new(at, claims.len(), note, body), note);
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
        let before = self.streams.entry(stream).or_default().put(number, place, note);
        before.into_iter().for_each(|before| self.segments.remove(before));
        self.segments.add(place);
    }

    fn settle(&mut self, id: StreamId, number: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.remove(number).into_iter().for_each(|place| self.segments.remove(place));
        if stream.is_empty() {
            self.streams.remove(&id);
        }
    }

    fn amend(&mut self, stream: StreamId, number: u64, note: &[u8]) {
        let stream = self.streams.get_mut(&stream);
        if let Some((before, now)) = stream.and_then(|stream| stream.amend(number, note)) {
            self.segments.remove(before);
            self.segments.add(now);
        }
    }

    fn end(&mut self, id: StreamId) {
        let Some(stream) = self.streams.remove(&id) else { return };
        stream.from(0).for_each(|(_, place)| self.segments.remove(place));
    }

    /// The entries of a change that stands at `from` stand at `to` from now on, where they live.
    pub(super) fn relocate(&mut self, change: &[u8], from: Position, to: Position) {
        for op in Ops::new(change).map_while(Result::ok) {
            let Op::Append { claims, body } = op else { continue };
            for (id, number, note) in &claims {
                if !self.lives_at(*id, *number, from) {
                    continue;
                }
                let present = self.streams.get(id).and_then(|stream| stream.note(*number)).map(Box::from);
                let place = Place::new(to, claims.len(), note, body);
                self.put(*id, *number, place, note);
                // A note that was changed meanwhile stays what it is.
                present.into_iter().for_each(|note: Box<[u8]>| self.amend(*id, *number, &note));
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
            let Op::Append { mut claims, body } = op else { continue };
            claims.retain_mut(|(id, number, note)| {
                let stream = self.streams.get(id).filter(|_| self.lives_at(*id, *number, at));
                let present = stream.and_then(|stream| stream.note(*number));
                *note = present.unwrap_or(note);
                stream.is_some()
            });
            if !claims.is_empty() {
                into.append(&claims, body);
            }
        }
    }

    pub(super) fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(&stream)
    }

    pub(super) fn summaries(&self) -> Vec<StreamSummary> {
        self.streams.iter().filter_map(|(id, stream)| stream.summary(*id)).collect()
    }

    /// About what finding the entries takes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.streams.values().map(Stream::memory_bytes).sum()
    }
}

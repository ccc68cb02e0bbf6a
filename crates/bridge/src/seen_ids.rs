//! What a receiving gateway has had already, so that it drops a message that an upstream hands it twice.
//!
//! For each stream there is a bounded number of blocks, of 64 neighbouring numbers and a bit for each. Numbers may come in any order and
//! from several places at once, which they do where live messages overtake a backlog. Memory is bounded by the number of streams and that of
//! blocks; each look takes constant time.
//!
//! What was forgotten, because other numbers or other streams came, counts as not seen: a duplicate is a nuisance, a message that is
//! dropped although nobody has had it is a loss. Whoever may publish to the upstream can invent ids: with enough of them the gateway forgets
//! others, and with the very id of a message that is still to come it has this message dropped. So an upstream is believed as far as its
//! own access rules go.
//!
//! A number is noted when its message is durable here, not when it arrives, because a crash in between would lose what the upstream then sends
//! again. What is to survive a restart is written by [`SeenIds::piece`] and [`SeenIds::write_all`] and read by [`SeenIds::restore_all`].

use crate::id::{self, IdError, StableId};
use crate::recent::Recent;

/// Numbers of a block, one for each bit of a word.
const BLOCK: u64 = 64;

/// The version of the layout that [`SeenIds::write`] writes.
const VERSION: u8 = 1;

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// Nothing: it is new, or too long ago to be remembered.
    New,
    /// It has been noted before.
    Seen,
}

/// Bytes are nothing that was written by [`SeenIds::write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeenIdsError {
    /// They are not of the form and version that are written here.
    #[error("what was seen of a stream is not in a form that is known")]
    Form,
    /// They are about no stream.
    #[error("what was seen of a stream does not name it: {0}")]
    Stream(#[from] IdError),
}

/// The ids that were noted, as far as they are remembered.
#[derive(Debug)]
pub struct SeenIds {
    blocks_max: usize,
    streams: Recent<String, Blocks>,
}

/// A block by its first number divided by the size of a block.
type Blocks = Recent<u64, u64>;

impl SeenIds {
    /// Remembers at most this many streams, and of each at most this many numbers: half of them at least, where they follow one another.
    /// 32,768 numbers take about 10 KiB.
    pub fn new(streams_max: usize, numbers_max: usize) -> SeenIds {
        SeenIds { blocks_max: numbers_max / BLOCK as usize, streams: Recent::new(streams_max) }
    }

    /// What is known of an id.
    pub fn look(&self, id: &StableId<'_>) -> Sighting {
        let (block, bit) = place(id.number());
        let word = self.streams.get(id.stream()).and_then(|blocks| blocks.get(&block));
        match word.is_some_and(|word| word & bit != 0) {
            true => Sighting::Seen,
            false => Sighting::New,
        }
    }

    /// Notes an id.
    pub fn note(&mut self, id: &StableId<'_>) {
        let (block, bit) = place(id.number());
        self.add(id.stream(), [(block, bit)]);
    }

    /// How many streams are remembered.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// One id, as bytes for a store.
    pub fn piece(id: &StableId<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        put_record(&mut out, id.stream(), &[place(id.number())]);
        out
    }

    /// What is remembered, as bytes for a store, but no more of them than this: of each stream as much as of any other, the newest of it.
    pub fn write_all(&self, bytes_max: usize) -> Vec<u8> {
        let share = bytes_max / self.streams.len().max(1);
        let mut out = Vec::new();
        // What is read last is taken for the newest.
        for streams in self.streams.newest_first().into_iter().rev() {
            for (name, blocks) in streams {
                let count = share.saturating_sub(HEAD_BYTES + name.len()) / BLOCK_BYTES;
                put_record(&mut out, name, &newest_of(blocks, count));
            }
        }
        out
    }

    /// Adds what was written by [`SeenIds::piece`] and [`SeenIds::write_all`], as far as it makes sense.
    pub fn restore_all(&mut self, bytes: &[u8]) -> Result<(), SeenIdsError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (length, behind) = rest.split_first_chunk().ok_or(SeenIdsError::Form)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| SeenIdsError::Form)?;
            let (record, behind) = behind.split_at_checked(length).ok_or(SeenIdsError::Form)?;
            self.restore(record)?;
            rest = behind;
        }
        Ok(())
    }

    /// What is remembered of the stream of this id, as bytes for a store; nothing where it is not remembered.
    pub fn write(&self, id: &StableId<'_>) -> Option<Vec<u8>> {
        let blocks = self.streams.get(id.stream())?;
        let name = id.stream().as_bytes();
        let mut bytes = vec![VERSION, u8::try_from(name.len()).ok()?];
        bytes.extend(name);
        for (block, word) in blocks.iter() {
            bytes.extend(block.to_be_bytes());
            bytes.extend(word.to_be_bytes());
        }
        Some(bytes)
    }

    /// Adds what was written to what is remembered.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), SeenIdsError> {
        let ([version, name_bytes], rest) = bytes.split_first_chunk().ok_or(SeenIdsError::Form)?;
        let (name, rest) = rest.split_at_checked(usize::from(*name_bytes)).ok_or(SeenIdsError::Form)?;
        let (pairs, more) = rest.as_chunks::<16>();
        if *version != VERSION || !more.is_empty() {
            return Err(SeenIdsError::Form);
        }
        let name = str::from_utf8(name).map_err(|_| SeenIdsError::Form)?;
        id::check_stream(name)?;
        self.add(name, pairs.iter().map(|pair| split(u128::from_be_bytes(*pair))));
        Ok(())
    }

    fn add(&mut self, stream: &str, bits: impl IntoIterator<Item = (u64, u64)>) {
        let make = || Recent::new(self.blocks_max);
        let add = |blocks: &mut Blocks| {
            for (block, bits) in bits {
                blocks.change(&block, || 0, |word| *word |= bits);
            }
        };
        self.streams.change(stream, make, add);
    }
}

/// What a record takes beside the name of its stream and the blocks, and what a block takes.
const HEAD_BYTES: usize = 6;
const BLOCK_BYTES: usize = 16;

/// Writes what is known of one stream, with its length in front.
fn put_record(out: &mut Vec<u8>, stream: &str, blocks: &[(u64, u64)]) {
    let name = stream.as_bytes();
    let Ok(name_bytes) = u8::try_from(name.len()) else { return };
    let length = 2 + name.len() + blocks.len() * BLOCK_BYTES;
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.extend([VERSION, name_bytes]);
    out.extend(name);
    for (block, word) in blocks {
        out.extend(block.to_be_bytes());
        out.extend(word.to_be_bytes());
    }
}

/// So many of the newest blocks, the oldest first.
fn newest_of(blocks: &Blocks, count: usize) -> Vec<(u64, u64)> {
    let half = |half: &std::collections::HashMap<u64, u64>| {
        let mut blocks: Vec<(u64, u64)> = half.iter().map(|(block, word)| (*block, *word)).collect();
        blocks.sort_unstable_by_key(|(block, _)| std::cmp::Reverse(*block));
        blocks
    };
    let mut newest: Vec<_> = blocks.newest_first().into_iter().flat_map(half).take(count).collect();
    newest.reverse();
    newest
}

/// The block in which a number stands, and its bit there.
fn place(number: u64) -> (u64, u64) {
    (number / BLOCK, 1 << (number % BLOCK))
}

/// The upper half and the lower one.
fn split(pair: u128) -> (u64, u64) {
    ((pair >> 64) as u64, pair as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StreamName;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// So many of the latest numbers are remembered for certain, where they follow one another: half, but for the block that has just begun.
    const CERTAIN: u64 = 448;

    fn seen_ids() -> SeenIds {
        SeenIds::new(8, 1024)
    }

    fn stream(name: &str) -> StreamName {
        StreamName::new("edge-1", 7, name).unwrap()
    }

    #[test]
    fn an_id_is_seen_once_it_was_noted_in_any_order() {
        let (mut seen, stream) = (seen_ids(), stream("s"));
        for number in [5, 9, 7, 0, 300, u64::MAX, u64::MAX - 1] {
            assert_eq!(seen.look(&stream.id(number)), Sighting::New);
            seen.note(&stream.id(number));
            assert_eq!(seen.look(&stream.id(number)), Sighting::Seen);
        }
        for number in [6, 8, 1, 299, u64::MAX - 2] {
            assert_eq!(seen.look(&stream.id(number)), Sighting::New);
        }
    }

    #[test]
    fn what_was_forgotten_counts_as_not_seen() {
        let (mut seen, stream) = (seen_ids(), stream("s"));
        (0..10_000).for_each(|number| seen.note(&stream.id(number)));
        assert_eq!(seen.look(&stream.id(0)), Sighting::New);
        assert_eq!(seen.look(&stream.id(10_000 - CERTAIN)), Sighting::Seen);
    }

    /// As a forward sends them in which live messages overtake a backlog of ten million.
    #[test]
    fn two_runs_of_numbers_of_one_stream_are_remembered_side_by_side() {
        let (mut seen, stream) = (seen_ids(), stream("s"));
        for step in 0..10_000 {
            seen.note(&stream.id(step));
            seen.note(&stream.id(10_000_000 + step));
        }
        for number in [10_000 - CERTAIN / 2, 10_010_000 - CERTAIN / 2] {
            assert_eq!(seen.look(&stream.id(number)), Sighting::Seen);
        }
    }

    #[test]
    fn one_number_out_of_the_way_makes_nothing_be_forgotten() {
        let (mut seen, stream) = (seen_ids(), stream("s"));
        seen.note(&stream.id(1));
        seen.note(&stream.id(u64::MAX));
        assert_eq!(seen.look(&stream.id(1)), Sighting::Seen);
    }

    #[test]
    fn streams_nodes_and_epochs_are_apart() {
        let mut seen = seen_ids();
        seen.note(&stream("s").id(1));
        let others = [("edge-1", 8, "s"), ("edge-2", 7, "s"), ("edge-1", 7, "t")];
        for (node, epoch, name) in others {
            let other = StreamName::new(node, epoch, name).unwrap();
            assert_eq!(seen.look(&other.id(1)), Sighting::New);
        }
    }

    #[test]
    fn a_flood_of_streams_takes_bounded_memory_and_keeps_the_one_in_use() {
        let (mut seen, busy) = (seen_ids(), stream("busy"));
        for number in 0..100 {
            seen.note(&busy.id(number));
            seen.note(&stream(&format!("flood-{number}")).id(0));
            assert!(seen.streams() <= 8);
        }
        assert_eq!(seen.look(&busy.id(0)), Sighting::Seen);
        assert_eq!(seen.look(&stream("flood-0").id(0)), Sighting::New);
    }

    #[test]
    fn what_was_seen_survives_a_restart() {
        let (mut before, stream) = (seen_ids(), stream("s"));
        for number in [3, 4, 100, u64::MAX] {
            before.note(&stream.id(number));
        }
        let bytes = before.write(&stream.id(0)).unwrap();
        let mut after = seen_ids();
        after.note(&stream.id(5));
        after.restore(&bytes).unwrap();
        for number in (0..200).chain([u64::MAX - 1, u64::MAX]) {
            let expected = if number == 5 { Sighting::Seen } else { before.look(&stream.id(number)) };
            assert_eq!(after.look(&stream.id(number)), expected);
        }
        assert_eq!(seen_ids().write(&stream.id(0)), None);
    }

    #[test]
    fn bytes_that_nobody_wrote_change_nothing() {
        let (mut seen, stream) = (seen_ids(), stream("s"));
        seen.note(&stream.id(1));
        let bytes = seen.write(&stream.id(1)).unwrap();
        let other_version = [&[2], &bytes[1..]].concat();
        let no_stream = [&[VERSION, 6][..], b"edge-1"].concat();
        let no_text = [VERSION, 1, 0xff];
        for wrong in [&[], &bytes[..1], &bytes[..10], &bytes[..bytes.len() - 1], &other_version, &no_text] {
            assert_eq!(seen.restore(wrong), Err(SeenIdsError::Form));
        }
        assert_eq!(seen.restore(&no_stream), Err(SeenIdsError::Stream(IdError::Parts)));
        assert_eq!((seen.streams(), seen.write(&stream.id(1))), (1, Some(bytes)));
    }

    proptest! {
        /// Compared with a set that forgets nothing: what was never noted is never taken for seen, and what was noted lately is.
        #[test]
        fn it_tells_what_a_set_would_tell(steps in proptest::collection::vec(0..2_000_u64, 1..400)) {
            let (mut seen, stream) = (seen_ids(), stream("s"));
            let (mut model, mut notes) = (HashSet::new(), Vec::new());
            for number in steps {
                let sighting = seen.look(&stream.id(number));
                prop_assert!(sighting == Sighting::New || model.contains(&number));
                if notes.iter().rev().take(8).any(|noted| *noted == number) {
                    prop_assert_eq!(sighting, Sighting::Seen);
                }
                seen.note(&stream.id(number));
                model.insert(number);
                notes.push(number);
            }
        }

        #[test]
        fn any_bytes_are_restored_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut seen = seen_ids();
            prop_assert_eq!(seen.restore(&bytes).is_ok(), seen.streams() == 1);
        }
    }
}

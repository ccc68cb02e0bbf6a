//! What happens to the streams at one moment, all of it or nothing.
//!
//! A change is written as bytes while it is made, and these are the bytes that stand on the disk:
//!
//! ```text
//! change   = op*
//! op       = 1 claims body          an entry in each claim's stream, all with this body
//!          | 2 stream number        the entry is settled
//!          | 3 stream number note   the entry has this note from now on
//!          | 4 stream               the stream ends with all its entries
//! claims   = count (stream number note)*
//! note     = length byte*
//! body     = length byte*
//! ```
//!
//! Every number is a variable-length integer (`record::Writer::number`).

use crate::StreamId;
use crate::record::{Reader, Writer};

const APPEND: u8 = 1;
const SETTLE: u8 = 2;
const AMEND: u8 = 3;
const END: u8 = 4;

/// What happens at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    bytes: Vec<u8>,
}

/// One part of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<'a> {
    /// Entries with one body.
    Append {
        /// The stream, the number and the note of each.
        claims: Claims<'a>,
        /// The body.
        body: &'a [u8],
    },
    /// An entry is settled.
    Settle(StreamId, u64),
    /// An entry has another note.
    Amend(StreamId, u64, &'a [u8]),
    /// A stream ends.
    End(StreamId),
}

/// The entries with one body: the stream, the number and the note of each. One at least where anything is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Claims<'a> {
    /// Reads claims that are whole.
    fn read(reader: &mut Reader<'a>) -> Result<Claims<'a>, Damaged> {
        let count = usize::try_from(reader.number()?).map_err(|_| Damaged)?;
        let bytes = reader.rest();
        for _ in 0..count {
            Claims::read_one(reader)?;
        }
        let length = bytes.len() - reader.rest().len();
        Ok(Claims { count, bytes: bytes.get(..length).unwrap_or_default() })
    }

    fn read_one(reader: &mut Reader<'a>) -> Result<(StreamId, u64, &'a [u8]), Damaged> {
        Ok((StreamId(reader.number()?), reader.number()?, reader.bytes()?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, u64, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        // They were read once, so that they can be read again.
        std::iter::from_fn(move || Claims::read_one(&mut reader).ok())
    }
}

/// Bytes that are no change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no record of this version")]
pub struct Damaged;

impl Change {
    /// Appends one entry to each claim's stream (stream, number, note), all with this body.
    pub fn append(&mut self, claims: &[(StreamId, u64, &[u8])], body: &[u8]) {
        let mut writer = Writer::new(&mut self.bytes);
        writer.byte(APPEND);
        writer.number(claims.len() as u64);
        for (stream, number, note) in claims {
            writer.number(stream.0);
            writer.number(*number);
            writer.bytes(note);
        }
        writer.bytes(body);
    }

    /// Settles an entry. One that is not there is not minded.
    pub fn settle(&mut self, stream: StreamId, number: u64) {
        let mut writer = Writer::new(&mut self.bytes);
        writer.byte(SETTLE);
        writer.number(stream.0);
        writer.number(number);
    }

    /// Puts another note on an entry. One that is not there is not minded.
    pub fn amend(&mut self, stream: StreamId, number: u64, note: &[u8]) {
        let mut writer = Writer::new(&mut self.bytes);
        writer.byte(AMEND);
        writer.number(stream.0);
        writer.number(number);
        writer.bytes(note);
    }

    /// Ends a stream with all its entries.
    pub fn end(&mut self, stream: StreamId) {
        let mut writer = Writer::new(&mut self.bytes);
        writer.byte(END);
        writer.number(stream.0);
    }

    /// Whether nothing happens.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties it and keeps its memory, up to a bound, for the next one.
    pub fn clear(&mut self) {
        const KEPT_BYTES: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }

    /// Its parts.
    pub fn ops(&self) -> Ops<'_> {
        Ops::new(&self.bytes)
    }
}

/// The parts of a change, read from bytes that may be anything; an error ends them.
#[derive(Debug, Clone)]
pub struct Ops<'a> {
    reader: Reader<'a>,
    has_ended: bool,
}

impl<'a> Ops<'a> {
    /// The parts of the change that these bytes are.
    pub fn new(bytes: &'a [u8]) -> Ops<'a> {
        Ops { reader: Reader::new(bytes), has_ended: false }
    }

    /// How many bytes were not read yet.
    pub(crate) fn bytes_left(&self) -> usize {
        self.reader.rest().len()
    }

    fn read(&mut self) -> Result<Op<'a>, Damaged> {
        let reader = &mut self.reader;
        let stream = |reader: &mut Reader<'a>| reader.number().map(StreamId);
        match reader.byte()? {
            APPEND => Ok(Op::Append { claims: Claims::read(reader)?, body: reader.bytes()? }),
            SETTLE => Ok(Op::Settle(stream(reader)?, reader.number()?)),
            AMEND => Ok(Op::Amend(stream(reader)?, reader.number()?, reader.bytes()?)),
            END => Ok(Op::End(stream(reader)?)),
            _ => Err(Damaged),
        }
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended || self.reader.is_empty() {
            return None;
        }
        let op = self.read();
        self.has_ended = op.is_err();
        Some(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_part_is_read_back() {
        let mut change = Change::default();
        change.append(&[(StreamId(2000), 7, b"n"), (StreamId(2001), u64::MAX, b"")], b"body");
        change.settle(StreamId(2000), 6);
        change.amend(StreamId(2000), 7, b"two");
        change.end(StreamId(9));
        let mut ops = change.ops().map(Result::unwrap);
        let Some(Op::Append { claims, body: b"body" }) = ops.next() else { panic!("no entries") };
        assert_eq!(claims.len(), 2);
        assert!(claims.iter().eq([(StreamId(2000), 7, &b"n"[..]), (StreamId(2001), u64::MAX, b"")]));
        assert_eq!(
            ops.collect::<Vec<_>>(),
            [Op::Settle(StreamId(2000), 6), Op::Amend(StreamId(2000), 7, b"two"), Op::End(StreamId(9)),]
        );
    }

    /// Cut anywhere, a change ends in an error and not in fewer parts, unless the cut is between two parts.
    #[test]
    fn a_cut_change_is_noticed() {
        let mut change = Change::default();
        change.append(&[(StreamId(2000), 300, b"note")], b"body");
        for cut in 1..change.as_bytes().len() {
            assert_eq!(Ops::new(&change.as_bytes()[..cut]).next(), Some(Err(Damaged)), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Ops::new(&bytes).count() <= bytes.len());
        }
    }
}

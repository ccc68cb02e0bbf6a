//! Where an entry stands, in twelve bytes.

/// What an entry costs beside its body and its note, about: its stream, its number, lengths, and its share of a record's header.
const OVERHEAD_BYTES: u64 = 32;

const SEGMENT_BITS: u32 = 20;
const OFFSET_BITS: u32 = 29;
const NOTE_BITS: u32 = 10;
const SHARE_BITS: u32 = 5;

/// Says that the note is in memory: it was changed since, or it is too long for its length to be told here.
const NOTE_IN_MEMORY: u64 = (1 << NOTE_BITS) - 1;

/// The most segments that there may be at a time: a place tells one by the lowest bits of its number.
pub(super) const SEGMENTS_MAX: u64 = 1 << SEGMENT_BITS;

/// The record in which an entry stands, and what of its size has to be known without reading it.
///
/// A place costs memory for each message that waits in a queue on the disk, so it is packed: the lowest bits of the segment's number, the
/// record's offset in units of eight bytes, the length of the note, and how many entries share the body, as a power of two rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    low: u32,
    high: u32,
    body_bytes: u32,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl Place {
    /// The place of one of `claims` entries with one body in a record.
    pub(super) fn new(at: Position, claims: usize, note: &[u8], body: &[u8]) -> Place {
        let share = u64::from(claims.max(1).ilog2()).min((1 << SHARE_BITS) - 1);
        let note = (note.len() as u64).min(NOTE_IN_MEMORY);
        let packed = (at.segment % SEGMENTS_MAX) << (OFFSET_BITS + NOTE_BITS + SHARE_BITS)
            | (at.offset / 8) << (NOTE_BITS + SHARE_BITS)
            | note << SHARE_BITS
            | share;
        let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        Place { low: packed as u32, high: (packed >> 32) as u32, body_bytes }
    }

    fn packed(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    fn field(self, above: u32, bits: u32) -> u64 {
        (self.packed() >> above) & ((1 << bits) - 1)
    }

    /// The record; `oldest` is the number of the oldest segment there is.
    pub(super) fn position(self, oldest: u64) -> Position {
        let segment = self.field(OFFSET_BITS + NOTE_BITS + SHARE_BITS, SEGMENT_BITS);
        let offset = self.field(NOTE_BITS + SHARE_BITS, OFFSET_BITS) * 8;
        Position { segment: oldest + segment.wrapping_sub(oldest) % SEGMENTS_MAX, offset }
    }

    /// Whether this is the record.
    pub(super) fn is_at(self, at: Position) -> bool {
        self.position(at.segment) == at
    }

    /// The length of the note, unless it is kept in memory.
    pub(super) fn note_bytes(self) -> Option<u64> {
        Some(self.field(SHARE_BITS, NOTE_BITS)).filter(|bytes| *bytes != NOTE_IN_MEMORY)
    }

    /// The same place, with a note that is kept in memory.
    pub(super) fn with_note_in_memory(self) -> Place {
        Place { low: self.low | (NOTE_IN_MEMORY << SHARE_BITS) as u32, ..self }
    }

    pub(super) fn body_bytes(self) -> u64 {
        u64::from(self.body_bytes)
    }

    /// About what it would take to write this entry again; entries with one body have equal shares of it.
    pub(super) fn cost(self) -> u64 {
        let share = self.field(0, SHARE_BITS);
        (self.body_bytes() >> share) + self.field(SHARE_BITS, NOTE_BITS) + OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_what_it_was_made_of() {
        let at = Position { segment: SEGMENTS_MAX + 3, offset: (1 << 32) - 8 };
        let place = Place::new(at, 9, &[0; 1022], &[0; 80]);
        for oldest in [4, SEGMENTS_MAX, SEGMENTS_MAX + 3] {
            assert_eq!(place.position(oldest), at, "{oldest}");
        }
        assert_eq!((place.note_bytes(), place.body_bytes()), (Some(1022), 80));
        assert_eq!(place.cost(), 80 / 8 + 1022 + OVERHEAD_BYTES);
        let place = place.with_note_in_memory();
        assert_eq!((place.note_bytes(), place.position(5)), (None, at));
        assert_eq!(Place::new(at, 1, &[0; 1023], b"").note_bytes(), None);
        assert_eq!(size_of::<Place>(), 12);
    }
}

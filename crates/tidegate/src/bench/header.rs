//! The first bytes of every payload: when the message was due, who sent it, and its number.
//!
//! ```text
//! 0        8           11          16
//! │ due    │ publisher │ sequence  │ filling up to the size asked for
//! ```
//!
//! All numbers are big-endian. `due` counts nanoseconds from the start of the load generator, so it means nothing to another process.

/// The bytes of a header: the smallest payload that can be measured.
pub(crate) const HEADER_BYTES: usize = 16;

/// How many publishers the header can tell apart.
pub(crate) const PUBLISHERS_MAX: u32 = 1 << PUBLISHER_BITS;

const PUBLISHER_BITS: u32 = 24;
const SEQUENCE_BITS: u32 = 40;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

/// What a payload says about its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The moment from which its latency counts, in nanoseconds since the start of the load generator.
    pub(crate) due: u64,
    /// The position of its publisher, below [`PUBLISHERS_MAX`].
    pub(crate) publisher: u32,
    /// Its number among the messages of this publisher, from 0; 40 bits.
    pub(crate) sequence: u64,
}

impl Header {
    /// Writes the header over the first bytes of a payload; does nothing where the payload is too short for it.
    pub(crate) fn write(self, payload: &mut [u8]) {
        let origin = u64::from(self.publisher) << SEQUENCE_BITS | self.sequence & SEQUENCE_MASK;
        if let Some((due, rest)) = payload.split_first_chunk_mut::<8>()
            && let Some((place, _)) = rest.split_first_chunk_mut::<8>()
        {
            *due = self.due.to_be_bytes();
            *place = origin.to_be_bytes();
        }
    }

    /// Reads the header of a payload; nothing where it is too short.
    pub(crate) fn read(payload: &[u8]) -> Option<Header> {
        let (due, rest) = payload.split_first_chunk::<8>()?;
        let origin = u64::from_be_bytes(*rest.first_chunk::<8>()?);
        // 64 bits less 40 leave 24, which fit.
        let publisher = (origin >> SEQUENCE_BITS) as u32;
        Some(Header { due: u64::from_be_bytes(*due), publisher, sequence: origin & SEQUENCE_MASK })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_header_is_read_back_at_every_edge() {
        for (due, publisher, sequence) in
            [(0, 0, 0), (1, 2, 3), (u64::MAX, PUBLISHERS_MAX - 1, SEQUENCE_MASK)]
        {
            let header = Header { due, publisher, sequence };
            let mut payload = [0xAA; HEADER_BYTES + 1];
            header.write(&mut payload);
            assert_eq!(Header::read(&payload), Some(header));
            assert_eq!(payload[HEADER_BYTES], 0xAA, "the filling is left alone");
        }
    }

    #[test]
    fn a_payload_without_room_has_no_header() {
        for length in 0..HEADER_BYTES {
            let mut payload = vec![7; length];
            Header { due: 1, publisher: 1, sequence: 1 }.write(&mut payload);
            assert_eq!(payload, vec![7; length]);
            assert_eq!(Header::read(&payload), None);
        }
    }
}

//! What a message of the soak carries: who sent it, which one it is, and bytes that show whether it arrived whole.

use crate::auditor::StreamId;

const MAGIC: [u8; 4] = *b"soak";
/// The smallest payload.
pub(crate) const STAMP_BYTES: usize = 16;

/// Names one publication: its stream (one client on one topic) and its place in it, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    /// Which client on which topic.
    pub(crate) stream: StreamId,
    /// Its place in the stream.
    pub(crate) sequence: u32,
}

impl Stamp {
    /// A payload of this size, at least [`STAMP_BYTES`].
    pub(crate) fn payload(self, bytes: usize) -> Vec<u8> {
        let bytes = bytes.max(STAMP_BYTES);
        let mut payload = Vec::with_capacity(bytes);
        payload.extend_from_slice(&MAGIC);
        payload.extend_from_slice(&self.stream.0.to_be_bytes());
        payload.extend_from_slice(&self.sequence.to_be_bytes());
        payload.extend_from_slice(&(bytes as u32).to_be_bytes());
        payload.extend((STAMP_BYTES..bytes).map(|at| self.filler(at)));
        payload
    }

    fn filler(self, at: usize) -> u8 {
        (self.stream.0 as usize ^ (self.sequence as usize).wrapping_mul(31) ^ at.wrapping_mul(7)) as u8
    }

    /// Reads a stamp back; nothing where a single byte is not as it was sent.
    pub(crate) fn read(payload: &[u8]) -> Option<Stamp> {
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?))
        };
        let stamp = Stamp { stream: StreamId(word(4)?), sequence: word(8)? };
        let is_whole = payload.starts_with(&MAGIC) && word(12)? as usize == payload.len();
        let rest = payload.iter().enumerate().skip(STAMP_BYTES);
        (is_whole && rest.into_iter().all(|(at, byte)| *byte == stamp.filler(at))).then_some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_and_every_change_is_noticed() {
        let stamp = Stamp { stream: StreamId(7), sequence: 70_000 };
        let payload = stamp.payload(40);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(Stamp::read(&stamp.payload(0)), Some(stamp));
        assert_eq!(Stamp::read(&payload[..39]), None);
        for at in (0..4).chain(12..40) {
            let mut broken = payload.clone();
            broken[at] ^= 1;
            assert_eq!(Stamp::read(&broken), None, "byte {at}");
        }
    }
}

//! What the MQTT machine keeps in a session between two connections, as bytes (MQTT 5.0 section 4.1).
//!
//! The messages themselves stay in the broker's queue; kept here are the packet identifiers under which the client knows
//! them, so that a message that is sent again is recognised ([MQTT-4.4.0-1]), and the identifiers of received QoS 2
//! messages whose PUBREL has not come. A durable store may bring these bytes back from anywhere, so every one is doubted.
//!
//! ```text
//! version = 1   u8
//! sent          u16 count, then for each: packet identifier u16, phase u8, tag u64
//! received      u16 count, then for each: packet identifier u16
//! ```
//! Phases: 1 PUBACK due, 2 PUBREC due, 3 PUBCOMP due, 4 PUBCOMP due and nothing to settle. Numbers are big-endian. A session without either is no bytes at all.

use crate::in_flight::{Entry, Phase};
use std::num::NonZeroU16;
use tidegate_protocol::{DeliveryTag, SavedState};

/// The first byte of the only form so far.
const FORM: u8 = 1;

/// The protocol's part of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Saved {
    /// Messages on their way to the client, oldest identifier first.
    pub(crate) sent: Vec<(NonZeroU16, Entry)>,
    /// Identifiers of QoS 2 messages from the client that it has not released, in no order.
    pub(crate) received: Vec<NonZeroU16>,
}

impl Saved {
    /// The bytes for the session.
    pub(crate) fn to_bytes(&self) -> SavedState {
        if self.sent.is_empty() && self.received.is_empty() {
            return SavedState::new();
        }
        let mut bytes = Vec::with_capacity(5 + self.sent.len() * 11 + self.received.len() * 2);
        bytes.push(FORM);
        bytes.extend_from_slice(&count(self.sent.len()));
        for (id, entry) in &self.sent {
            bytes.extend_from_slice(&id.get().to_be_bytes());
            bytes.push(phase_number(entry.phase));
            bytes.extend_from_slice(&entry.tag.0.to_be_bytes());
        }
        bytes.extend_from_slice(&count(self.received.len()));
        bytes.extend(self.received.iter().flat_map(|id| id.get().to_be_bytes()));
        bytes
    }

    /// Reads what was saved back: so far there is never more than one piece.
    pub(crate) fn from_pieces(pieces: &[SavedState]) -> Option<Saved> {
        match pieces {
            [] => Some(Saved::default()),
            [whole] => Saved::from_bytes(whole),
            _ => None,
        }
    }

    /// Reads the bytes back; nothing where any of them is not as [`Saved::to_bytes`] writes it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Saved> {
        if bytes.is_empty() {
            return Some(Saved::default());
        }
        let mut reader = Reader(bytes);
        if reader.number::<1>()? != u64::from(FORM) {
            return None;
        }
        let sent = (0..reader.number::<2>()?).map(|_| reader.entry()).collect::<Option<_>>()?;
        let received = (0..reader.number::<2>()?).map(|_| reader.id()).collect::<Option<_>>()?;
        reader.0.is_empty().then_some(Saved { sent, received })
    }
}

/// There are never more than 65 535 identifiers of either kind.
fn count(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn phase_number(phase: Phase) -> u8 {
    match phase {
        Phase::Unacknowledged => 1,
        Phase::Unreceived => 2,
        Phase::Uncompleted => 3,
        Phase::Orphaned => 4,
    }
}

/// Takes numbers from the front of bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number<const BYTES: usize>(&mut self) -> Option<u64> {
        let (front, rest) = self.0.split_first_chunk::<BYTES>()?;
        self.0 = rest;
        Some(front.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn id(&mut self) -> Option<NonZeroU16> {
        NonZeroU16::new(self.number::<2>()? as u16)
    }

    fn entry(&mut self) -> Option<(NonZeroU16, Entry)> {
        let id = self.id()?;
        let phase = match self.number::<1>()? {
            1 => Phase::Unacknowledged,
            2 => Phase::Unreceived,
            3 => Phase::Uncompleted,
            4 => Phase::Orphaned,
            _ => return None,
        };
        Some((id, Entry::new(DeliveryTag(self.number::<8>()?), phase)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Saved {
        let id = |number| NonZeroU16::new(number).unwrap();
        let entry = |tag, phase| Entry::new(DeliveryTag(tag), phase);
        Saved {
            sent: vec![
                (id(1), entry(10, Phase::Unacknowledged)),
                (id(2), entry(u64::MAX, Phase::Unreceived)),
                (id(65_534), entry(12, Phase::Uncompleted)),
                (id(65_535), entry(0, Phase::Orphaned)),
            ],
            received: vec![id(7), id(8)],
        }
    }

    #[test]
    fn what_was_saved_is_read_back() {
        assert_eq!(Saved::from_bytes(&example().to_bytes()), Some(example()));
        assert_eq!(Saved::default().to_bytes(), b"");
        assert_eq!(Saved::from_bytes(b""), Some(Saved::default()));
    }

    /// Cut off anywhere, or with any byte changed, the bytes are refused or read as something else; nothing breaks.
    #[test]
    fn damaged_bytes_are_survived() {
        let bytes = example().to_bytes();
        for end in 1..bytes.len() {
            assert_eq!(Saved::from_bytes(&bytes[..end]), None, "cut at {end}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 5, 0x7F, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let _ = Saved::from_bytes(&damaged);
            }
        }
        assert_eq!(Saved::from_bytes(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Saved::from_bytes(&[1, 0xFF, 0xFF]), None);
    }
}

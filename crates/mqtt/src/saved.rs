//! What the MQTT machine keeps in a session between two connections, as bytes (MQTT 5.0 section 4.1).
//!
//! The messages themselves stay in the broker's queue; kept here are the packet identifiers under which the client knows
//! them, so that a message that is sent again is recognised ([MQTT-4.4.0-1]), and the identifiers of received QoS 2
//! messages whose PUBREL has not come. A durable store may bring these bytes back from anywhere, so every one is doubted.
//!
//! ```text
//! form          u8: 1 everything in flight when the connection ended; 2 QoS 2 only, written while it lasted
//! sent          u16 count, then for each: packet identifier u16, phase u8, tag u64
//! received      u16 count, then for each: packet identifier u16
//! ```
//! Phases: 1 PUBACK due, 2 PUBREC due, 3 PUBCOMP due, 4 PUBCOMP due and nothing to settle. Numbers are big-endian. A session without
//! either is no bytes at all where it does not outlive the process.
//!
//! Where it does, steps may follow, each a piece of its own, so that the end of the process loses none:
//!
//! ```text
//! form = 3      u8
//! step          u8: 1 PUBLISH came, 2 PUBREL came, 3 PUBREC came, 4 the exchange is over
//! id            u16; with step 3 the tag u64 behind it
//! ```

use crate::in_flight::{Entry, Phase};
use crate::journal::Step;
use std::num::NonZeroU16;
use tidegate_protocol::{DeliveryTag, SavedState};

/// The first bytes of the forms.
const CLOSED: u8 = 1;
const OPEN: u8 = 2;
const STEP: u8 = 3;

/// The numbers of the steps.
const RECEIVED: u8 = 1;
const RELEASED: u8 = 2;
const ARRIVED: u8 = 3;
const ENDED: u8 = 4;

/// The protocol's part of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Saved {
    /// Messages on their way to the client, oldest identifier first.
    pub(crate) sent: Vec<(NonZeroU16, Entry)>,
    /// Identifiers of QoS 2 messages from the client that it has not released, in no order.
    pub(crate) received: Vec<NonZeroU16>,
    /// Whether the process has ended before the connection did, so that more may have been sent than stands here.
    pub(crate) is_interrupted: bool,
}

impl Saved {
    /// The bytes for a session whose connection ends. A durable one is told from one that was interrupted, also where it has nothing to say.
    pub(crate) fn to_bytes(&self, is_durable: bool) -> SavedState {
        match self.sent.is_empty() && self.received.is_empty() && !is_durable {
            true => SavedState::new(),
            false => self.to_form(CLOSED),
        }
    }

    /// The bytes for a session whose connection lasts.
    pub(crate) fn to_open_bytes(&self) -> SavedState {
        self.to_form(OPEN)
    }

    fn to_form(&self, form: u8) -> SavedState {
        let mut bytes = Vec::with_capacity(5 + self.sent.len() * 11 + self.received.len() * 2);
        bytes.push(form);
        bytes.extend_from_slice(&count(self.sent.len()));
        for (id, entry) in &self.sent {
            bytes.extend_from_slice(&id.get().to_be_bytes());
            bytes.push(phase_number(form, entry.phase));
            bytes.extend_from_slice(&entry.tag.0.to_be_bytes());
        }
        bytes.extend_from_slice(&count(self.received.len()));
        bytes.extend(self.received.iter().flat_map(|id| id.get().to_be_bytes()));
        bytes
    }

    /// The bytes of one step.
    pub(crate) fn step_to_bytes(step: Step) -> SavedState {
        let (number, id, tag) = match step {
            Step::Received(id) => (RECEIVED, id, None),
            Step::Released(id) => (RELEASED, id, None),
            Step::Arrived(id, tag) => (ARRIVED, id, Some(tag)),
            Step::Ended(id) => (ENDED, id, None),
        };
        let mut bytes = vec![STEP, number];
        bytes.extend_from_slice(&id.get().to_be_bytes());
        bytes.extend(tag.into_iter().flat_map(|tag| tag.0.to_be_bytes()));
        bytes
    }

    /// Reads what was saved back, oldest piece first. A piece that is not as it was written means nothing.
    pub(crate) fn from_pieces(pieces: &[SavedState], is_durable: bool) -> Saved {
        let mut saved = Saved { is_interrupted: is_durable, ..Saved::default() };
        for piece in pieces {
            match Saved::from_bytes(piece) {
                Some(whole) => saved = whole,
                None => saved.take(piece),
            }
        }
        saved
    }

    /// Takes one step.
    fn take(&mut self, piece: &[u8]) {
        let Some(step) = Reader(piece).step() else { return };
        self.is_interrupted = true;
        match step {
            Step::Received(id) if !self.received.contains(&id) => self.received.push(id),
            Step::Received(_) => {}
            Step::Released(id) => self.received.retain(|known| *known != id),
            Step::Arrived(id, tag) => {
                let arrived = Entry::new(tag, Phase::Uncompleted);
                match self.sent.iter_mut().find(|(known, _)| *known == id) {
                    Some((_, entry)) => *entry = arrived,
                    None => self.sent.push((id, arrived)),
                }
            }
            Step::Ended(id) => self.sent.retain(|(known, _)| *known != id),
        }
    }

    /// Reads a whole back; nothing where any byte is not as it was written.
    fn from_bytes(bytes: &[u8]) -> Option<Saved> {
        if bytes.is_empty() {
            return Some(Saved::default());
        }
        let mut reader = Reader(bytes);
        let is_interrupted = match reader.number::<1>()? as u8 {
            CLOSED => false,
            OPEN => true,
            _ => return None,
        };
        let sent = (0..reader.number::<2>()?).map(|_| reader.entry()).collect::<Option<_>>()?;
        let received = (0..reader.number::<2>()?).map(|_| reader.id()).collect::<Option<_>>()?;
        reader.0.is_empty().then_some(Saved { sent, received, is_interrupted })
    }
}

/// There are never more than 65 535 identifiers of either kind.
fn count(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn phase_number(form: u8, phase: Phase) -> u8 {
    match phase {
        Phase::Unacknowledged => 1,
        // While the connection lasts the whole takes the place of the step that says so, and PUBREL goes out when that step is kept: without
        // it the message would be sent to a client that has released it.
        Phase::Received if form == OPEN => 3,
        // Sent again, so that the client says again that it has it: its PUBREL has not gone out, and that it has said so is not kept yet.
        Phase::Unreceived | Phase::Received => 2,
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

    fn step(mut self) -> Option<Step> {
        if self.number::<1>()? as u8 != STEP {
            return None;
        }
        let (number, id) = (self.number::<1>()? as u8, self.id()?);
        let step = match number {
            RECEIVED => Step::Received(id),
            RELEASED => Step::Released(id),
            ARRIVED => Step::Arrived(id, DeliveryTag(self.number::<8>()?)),
            ENDED => Step::Ended(id),
            _ => return None,
        };
        self.0.is_empty().then_some(step)
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
            is_interrupted: false,
        }
    }

    #[test]
    fn what_was_saved_is_read_back() {
        for is_durable in [false, true] {
            assert_eq!(Saved::from_pieces(&[example().to_bytes(is_durable)], is_durable), example());
        }
        let open = Saved { is_interrupted: true, ..example() };
        assert_eq!(Saved::from_pieces(&[example().to_open_bytes()], true), open);
        assert_eq!(Saved::default().to_bytes(false), b"");
        assert_eq!(Saved::from_pieces(&[Saved::default().to_bytes(true)], true), Saved::default());
        assert_eq!(Saved::from_pieces(&[vec![]], false), Saved::default());
        // Nothing was said at the end of the last connection of a session that outlives the process.
        assert!(
            Saved::from_pieces(&[], true).is_interrupted && !Saved::from_pieces(&[], false).is_interrupted
        );
    }

    /// [MQTT-4.3.3-6]: the whole that is written while PUBREL waits for a step to be kept says what that step says, because it takes its place.
    #[test]
    fn the_whole_forgets_no_message_that_the_client_has() {
        let id = NonZeroU16::new(7).unwrap();
        let with = |phase| Saved { sent: vec![(id, Entry::new(DeliveryTag(9), phase))], ..Saved::default() };
        let read = |bytes| Saved::from_pieces(&[bytes], true).sent[0].1.phase;
        assert_eq!(read(with(Phase::Received).to_open_bytes()), Phase::Uncompleted);
        assert_eq!(read(with(Phase::Received).to_bytes(true)), Phase::Unreceived);
        assert_eq!(read(with(Phase::Unreceived).to_open_bytes()), Phase::Unreceived);
    }

    #[test]
    fn steps_are_taken_behind_the_whole() {
        let id = |number| NonZeroU16::new(number).unwrap();
        let steps = [
            Step::Received(id(9)),
            Step::Received(id(9)),
            Step::Released(id(7)),
            Step::Arrived(id(2), DeliveryTag(u64::MAX)),
            Step::Arrived(id(5), DeliveryTag(40)),
            Step::Ended(id(65_534)),
        ];
        let whole = [example().to_bytes(true)];
        let pieces: Vec<_> = whole.into_iter().chain(steps.map(Saved::step_to_bytes)).collect();
        let saved = Saved::from_pieces(&pieces, true);
        let sent: Vec<_> = saved.sent.iter().map(|(id, entry)| (id.get(), entry.phase)).collect();
        let expected = [
            (1, Phase::Unacknowledged),
            (2, Phase::Uncompleted),
            (65_535, Phase::Orphaned),
            (5, Phase::Uncompleted),
        ];
        assert_eq!((&sent[..], &saved.received[..]), (&expected[..], &[id(8), id(9)][..]));
        assert!(saved.is_interrupted);
        // Any byte may be another one, and any piece may be cut.
        for piece in &pieces[1..] {
            for end in 0..piece.len() {
                assert_eq!(Reader(&piece[..end]).step(), None);
                let mut damaged = piece.clone();
                damaged[end] ^= 0xFF;
                let _ = Saved::from_pieces(&[damaged], true);
            }
        }
    }

    /// Cut off anywhere, or with any byte changed, the bytes are refused or read as something else; nothing breaks.
    #[test]
    fn damaged_bytes_are_survived() {
        let bytes = example().to_bytes(true);
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

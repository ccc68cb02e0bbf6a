//! The packet identifiers that are in use towards the client, and how far each exchange has come.
//!
//! Identifiers are given out in sequence, so the table is a ring: the place of an identifier is its distance from the oldest
//! one in use. Any acknowledgement, in any order, costs one look at one place. A client that never acknowledges one message but
//! all others would stretch the ring; past its limit, identifiers from its middle are used again instead.

use crate::ack_timeout::SentAt;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use tidegate_protocol::DeliveryTag;

/// How many identifiers there are: 1 to 65 535.
const IDS: u32 = 65_535;

/// An empty ring gives its memory back beyond this many places (4 KiB).
const PLACES_KEPT: usize = 256;

/// How far the exchange of one message has come (MQTT 5.0 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// QoS 1: PUBLISH was sent, PUBACK is due.
    Unacknowledged,
    /// QoS 2: PUBLISH was sent, PUBREC is due.
    Unreceived,
    /// QoS 2: PUBREC came, and PUBREL waits until that is kept.
    Received,
    /// QoS 2: PUBREL was sent, PUBCOMP is due.
    Uncompleted,
    /// The same for a message that the broker does not have any more: nothing is settled by its PUBCOMP.
    Orphaned,
}

/// One message in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name at the broker; means nothing where it is orphaned.
    pub(crate) tag: DeliveryTag,
    /// How far it has come.
    pub(crate) phase: Phase,
    /// When the last packet was sent that the client has to answer; kept only where that matters.
    pub(crate) sent_at: SentAt,
}

impl Entry {
    /// A message that has not been sent on this connection.
    pub(crate) fn new(tag: DeliveryTag, phase: Phase) -> Entry {
        Entry { tag, phase, sent_at: SentAt::NOT_YET }
    }
}

/// The ring.
#[derive(Debug)]
pub(crate) struct InFlight {
    places: VecDeque<Option<Entry>>,
    /// The identifier of the first place.
    front: NonZeroU16,
    /// The most places that the ring may have for new messages, beside those that were restored.
    places_max: usize,
    /// The places that restored entries took. They may stay taken, whatever the window is now.
    restored: usize,
    /// Where the search for a free place in the middle goes on.
    cursor: usize,
}

impl InFlight {
    /// A ring for at most `window` messages at a time. It has twice the places, so that a search in the middle is short.
    pub(crate) fn new(window: u16) -> InFlight {
        let places_max = (usize::from(window) * 2).min(IDS as usize);
        InFlight { places: VecDeque::new(), front: NonZeroU16::MIN, places_max, restored: 0, cursor: 0 }
    }

    /// A ring with the entries of an earlier connection. An identifier that comes twice is not used twice: false, and nothing changes.
    pub(crate) fn restore(&mut self, id: NonZeroU16, entry: Entry) -> bool {
        if self.places.is_empty() {
            self.front = id;
        }
        let at = self.place_of(id);
        if at >= self.places.len() {
            self.places.resize(at + 1, None);
        }
        match self.places.get_mut(at) {
            Some(place @ None) => *place = Some(entry),
            _ => return false,
        }
        self.restored = self.places.len();
        true
    }

    /// Takes an identifier for a message; nothing when all are in use.
    pub(crate) fn insert(&mut self, entry: Entry) -> Option<NonZeroU16> {
        if self.places.len() < (self.places_max + self.restored).min(IDS as usize) {
            self.places.push_back(Some(entry));
            return Some(self.id_at(self.places.len() - 1));
        }
        let count = self.places.len();
        let at = (0..count)
            .map(|step| (self.cursor + step) % count)
            .find(|&at| self.places.get(at) == Some(&None))?;
        self.cursor = at + 1;
        *self.places.get_mut(at)? = Some(entry);
        Some(self.id_at(at))
    }

    /// The entry of an identifier that is in use.
    pub(crate) fn get_mut(&mut self, id: NonZeroU16) -> Option<&mut Entry> {
        let at = self.place_of(id);
        self.places.get_mut(at)?.as_mut()
    }

    /// Frees an identifier, which may be given out again, and returns what it stood for.
    pub(crate) fn remove(&mut self, id: NonZeroU16) -> Option<Entry> {
        let at = self.place_of(id);
        let entry = self.places.get_mut(at)?.take();
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.front = next(self.front);
        }
        if self.places.is_empty() && self.places.capacity() > PLACES_KEPT {
            self.places = VecDeque::new();
        }
        entry
    }

    /// The messages in flight, oldest identifier first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NonZeroU16, Entry)> + '_ {
        let places = self.places.iter().enumerate();
        places.filter_map(|(at, place)| place.map(|entry| (self.id_at(at), entry)))
    }

    /// How far an identifier is behind the first one.
    fn place_of(&self, id: NonZeroU16) -> usize {
        let distance = u32::from(id.get()) + IDS - u32::from(self.front.get());
        (distance % IDS) as usize
    }

    /// The identifier of a place.
    fn id_at(&self, at: usize) -> NonZeroU16 {
        let distance = (at % IDS as usize) as u32;
        let number = (u32::from(self.front.get()) - 1 + distance) % IDS + 1;
        u16::try_from(number).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
    }
}

/// The identifier behind this one; 1 comes after 65 535, because 0 is none ([MQTT-2.2.1-4]).
fn next(id: NonZeroU16) -> NonZeroU16 {
    id.checked_add(1).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u64) -> Entry {
        Entry::new(DeliveryTag(tag), Phase::Unacknowledged)
    }

    fn id(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    /// [MQTT-2.2.1-4]: identifiers are never 0, also after 65 535.
    #[test]
    fn identifiers_follow_each_other_around_the_end() {
        let mut ring = InFlight::new(10);
        for round in 0..3_u64 {
            for expected in 1..=65_535 {
                assert_eq!(ring.insert(entry(round)), Some(id(expected)));
                assert_eq!(ring.remove(id(expected)), Some(entry(round)));
            }
        }
        assert_eq!(ring.iter().count(), 0);
    }

    #[test]
    fn acknowledgements_come_in_any_order() {
        let mut ring = InFlight::new(10);
        let ids: Vec<_> = (0..5).map(|tag| ring.insert(entry(tag)).unwrap()).collect();
        for at in [3, 0, 4, 2, 1] {
            assert_eq!(ring.remove(ids[at]), Some(entry(at as u64)));
            assert_eq!(ring.remove(ids[at]), None);
        }
        assert_eq!(ring.insert(entry(9)), Some(id(6)));
    }

    /// [MQTT-2.2.1-4]: an identifier in use is not given out.
    #[test]
    fn one_stuck_message_does_not_stretch_the_ring() {
        let mut ring = InFlight::new(4);
        let stuck = ring.insert(entry(0)).unwrap();
        for tag in 1..100_000 {
            let taken = ring.insert(entry(tag)).unwrap();
            assert_ne!(taken, stuck);
            ring.remove(taken);
        }
        assert!(ring.places.len() <= 8);
        let all: Vec<_> = (0..7).map(|tag| ring.insert(entry(tag)).unwrap()).collect();
        assert_eq!(ring.insert(entry(7)), None);
        assert!(!all.contains(&stuck));
    }

    #[test]
    fn restored_identifiers_keep_their_entries() {
        let mut ring = InFlight::new(1);
        for (number, tag) in [(65_534, 1), (65_535, 2), (2, 3)] {
            assert!(ring.restore(id(number), entry(tag)));
        }
        assert!(!ring.restore(id(2), entry(4)));
        let kept: Vec<_> = ring.iter().map(|(id, entry)| (id.get(), entry.tag.0)).collect();
        assert_eq!(kept, [(65_534, 1), (65_535, 2), (2, 3)]);
        let new: Vec<_> = (5..9).map(|tag| ring.insert(entry(tag)).map(NonZeroU16::get)).collect();
        assert_eq!(new, [Some(3), Some(4), Some(1), None]);
    }
}

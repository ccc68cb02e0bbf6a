//! Which packet identifier a message to the client gets.
//!
//! Of a session that ends with the process they follow each other. Of one that outlives it they are derived from the delivery's tag, which
//! the store keeps: so a message that is sent again after a crash has the identifier that the client may know it by, and nobody had
//! to write that down before it was sent. Only where that identifier is in use still, 65 535 messages later, the next free one is taken.

use crate::in_flight::{Entry, InFlight};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU16;
use tidegate_protocol::DeliveryTag;

/// So much room is kept for identifiers although few are in use.
const KEPT: usize = 256;

/// By the identifier. Which ones are in use is the gateway's choice, so no peer can make them collide.
type ById = HashMap<NonZeroU16, Entry, BuildHasherDefault<Spread>>;

/// Spreads identifiers, which mostly follow each other.
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u16(u16::from(*byte)));
    }

    fn write_u16(&mut self, id: u16) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The identifiers in use, and what they stand for.
#[derive(Debug)]
pub(crate) enum Identifiers {
    /// One after the other.
    InSequence(InFlight),
    /// By the tag.
    ByTag(ById),
}

impl Identifiers {
    /// None in use, and at most `window` at a time.
    pub(crate) fn new(window: u16, is_durable: bool) -> Identifiers {
        match is_durable {
            true => Identifiers::ByTag(ById::default()),
            false => Identifiers::InSequence(InFlight::new(window)),
        }
    }

    /// Whether they are derived from tags, which are the same message for ever.
    pub(crate) fn are_by_tag(&self) -> bool {
        matches!(self, Identifiers::ByTag(_))
    }

    /// Takes up an entry of an earlier connection; false, and nothing happens, where its identifier is in use.
    pub(crate) fn restore(&mut self, id: NonZeroU16, entry: Entry) -> bool {
        match self {
            Identifiers::InSequence(ring) => ring.restore(id, entry),
            Identifiers::ByTag(entries) => {
                let is_free = !entries.contains_key(&id);
                entries.entry(id).or_insert(entry);
                is_free
            }
        }
    }

    /// Takes an identifier for a message; nothing when all are in use.
    #[inline]
    pub(crate) fn insert(&mut self, entry: Entry) -> Option<NonZeroU16> {
        match self {
            Identifiers::InSequence(ring) => ring.insert(entry),
            Identifiers::ByTag(entries) => {
                let id = free_from(entries, derived(entry.tag))?;
                entries.insert(id, entry);
                Some(id)
            }
        }
    }

    /// The entry of an identifier that is in use.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: NonZeroU16) -> Option<&mut Entry> {
        match self {
            Identifiers::InSequence(ring) => ring.get_mut(id),
            Identifiers::ByTag(entries) => entries.get_mut(&id),
        }
    }

    /// Frees an identifier, and returns what it stood for.
    #[inline]
    pub(crate) fn remove(&mut self, id: NonZeroU16) -> Option<Entry> {
        match self {
            Identifiers::InSequence(ring) => ring.remove(id),
            Identifiers::ByTag(entries) => {
                let entry = entries.remove(&id);
                if entries.capacity() > KEPT && entries.len() < entries.capacity() / 8 {
                    entries.shrink_to(2 * entries.len());
                }
                entry
            }
        }
    }

    /// The messages in flight, oldest first.
    pub(crate) fn entries(&self) -> Vec<(NonZeroU16, Entry)> {
        match self {
            Identifiers::InSequence(ring) => ring.iter().collect(),
            Identifiers::ByTag(entries) => {
                let mut entries: Vec<_> = entries.iter().map(|(id, entry)| (*id, *entry)).collect();
                entries.sort_by_key(|(_, entry)| entry.tag);
                entries
            }
        }
    }
}

/// The identifier of a tag ([MQTT-2.2.1-4]: never 0).
fn derived(tag: DeliveryTag) -> NonZeroU16 {
    let number = tag.0.wrapping_sub(1) % DeliveryTag::ROUND + 1;
    u16::try_from(number).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
}

/// The first identifier from this one on that is free, around the end.
fn free_from(entries: &ById, wanted: NonZeroU16) -> Option<NonZeroU16> {
    let mut id = wanted;
    for _ in 0..=entries.len() {
        if !entries.contains_key(&id) {
            return Some(id);
        }
        id = id.checked_add(1).unwrap_or(NonZeroU16::MIN);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_flight::Phase;

    fn entry(tag: u64) -> Entry {
        Entry::new(DeliveryTag(tag), Phase::Unreceived)
    }

    /// [MQTT-2.2.1-4]: identifiers are never 0 and none that is in use is given out.
    #[test]
    fn the_tag_says_the_identifier_as_long_as_it_is_free() {
        let mut identifiers = Identifiers::new(1, true);
        let taken = [1, 2, 65_535, 65_536, 131_070, 65_537, 0, u64::MAX]
            .map(|tag| identifiers.insert(entry(tag)).map(NonZeroU16::get));
        assert_eq!(taken[..4], [Some(1), Some(2), Some(65_535), Some(3)]);
        assert!(taken[4..].iter().all(|id| *id > Some(3) && *id < Some(65_535)), "{taken:?}");
        let first = NonZeroU16::MIN;
        assert_eq!(identifiers.remove(first).map(|entry| entry.tag), Some(DeliveryTag(1)));
        assert_eq!(identifiers.insert(entry(65_536)), Some(first));
        assert!(!identifiers.restore(first, entry(7)));
    }

    #[test]
    fn no_identifier_is_given_out_where_all_are_in_use() {
        let mut identifiers = Identifiers::new(1, true);
        for tag in 1..=65_535 {
            assert_eq!(identifiers.insert(entry(tag)).map(|id| u64::from(id.get())), Some(tag));
        }
        assert_eq!(identifiers.insert(entry(65_536)), None);
        assert_eq!(identifiers.entries().len(), 65_535);
    }
}

//! The numbers of messages that were published and not yet acknowledged: MQTT packet identifiers, STOMP receipts.

use std::num::NonZeroU16;

/// A bit for every identifier; 8 KiB, had only by publishers that are acknowledged.
#[derive(Debug)]
pub(crate) struct InFlight {
    taken: Vec<u64>,
    count: u32,
    last: u16,
}

impl InFlight {
    /// Nothing in flight.
    pub(crate) fn new() -> InFlight {
        InFlight { taken: Vec::new(), count: 0, last: 0 }
    }

    /// How many are in flight; at most 65535.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The next identifier that is free, in ascending order; nothing where all are in flight.
    pub(crate) fn take(&mut self) -> Option<NonZeroU16> {
        if self.count >= u32::from(u16::MAX) {
            return None;
        }
        self.taken.resize(1 << 10, 0);
        loop {
            self.last = self.last.wrapping_add(1);
            let Some(identifier) = NonZeroU16::new(self.last) else { continue };
            if self.change(identifier, |word, bit| word | bit) {
                self.count += 1;
                return Some(identifier);
            }
        }
    }

    /// Whether this identifier is in flight.
    pub(crate) fn contains(&self, identifier: NonZeroU16) -> bool {
        let (word, bit) = place(identifier);
        self.taken.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Frees an identifier and says whether it was in flight: a broker may acknowledge what was never sent.
    pub(crate) fn settle(&mut self, identifier: NonZeroU16) -> bool {
        let was_taken = self.change(identifier, |word, bit| word & !bit);
        self.count -= u32::from(was_taken);
        was_taken
    }

    /// Changes one word and says whether it is another one now.
    fn change(&mut self, identifier: NonZeroU16, change: impl FnOnce(u64, u64) -> u64) -> bool {
        let (index, bit) = place(identifier);
        let Some(word) = self.taken.get_mut(index) else { return false };
        let before = std::mem::replace(word, change(*word, bit));
        before != *word
    }
}

fn place(identifier: NonZeroU16) -> (usize, u64) {
    let number = usize::from(identifier.get());
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-2.2.1-3]: an identifier that is in use is not used again.
    #[test]
    fn an_identifier_in_flight_is_passed_over() {
        let mut in_flight = InFlight::new();
        let first = in_flight.take().unwrap();
        for _ in 0..u16::MAX - 1 {
            let other = in_flight.take().unwrap();
            assert_ne!(other, first);
            assert!(in_flight.settle(other));
        }
        assert_eq!((first.get(), in_flight.count()), (1, 1));
        assert_eq!(in_flight.take().map(NonZeroU16::get), Some(2), "1 is still in flight");
    }

    #[test]
    fn all_identifiers_can_be_in_flight_and_no_more() {
        let mut in_flight = InFlight::new();
        assert!((0..u16::MAX).all(|_| in_flight.take().is_some()));
        assert_eq!(in_flight.take(), None);
        assert!(in_flight.settle(NonZeroU16::MAX));
        assert_eq!(in_flight.take(), Some(NonZeroU16::MAX));
    }

    #[test]
    fn what_was_never_sent_cannot_be_settled() {
        let mut in_flight = InFlight::new();
        assert!(!in_flight.settle(NonZeroU16::MIN));
        let identifier = in_flight.take().unwrap();
        assert!(in_flight.contains(identifier));
        assert!(in_flight.settle(identifier));
        assert!(!in_flight.settle(identifier));
        assert_eq!(in_flight.count(), 0);
    }
}

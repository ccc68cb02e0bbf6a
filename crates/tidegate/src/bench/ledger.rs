//! Which messages of which publishers one subscriber has seen: what is new, what came twice, what came late.
//!
//! A publisher costs 24 bytes, however many messages it sends: beside the highest number that was seen there are bits for the 128
//! numbers below it. A message that is later than that cannot be told from a duplicate and is counted as one, so that a loss is never
//! hidden behind it.

use std::ops::Range;

/// How far below the highest number a late message is still recognised as new.
const LATE_MAX: u64 = 128;

/// What one receipt was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// Higher than all numbers before it.
    New,
    /// Not seen before, but a higher number was.
    Late,
    /// Seen before, or so late that nobody knows.
    Duplicate,
    /// From a publisher that this subscriber does not listen to.
    Foreign,
}

/// What one subscriber has seen of all its publishers.
#[derive(Debug)]
pub(crate) struct Ledger {
    first: u32,
    seen: Vec<Seen>,
}

/// What has been seen of one publisher.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// One more than the highest number.
    next: u64,
    /// Bit `n` stands for the number `next - 1 - n`.
    recent: [u64; 2],
}

impl Ledger {
    /// An empty ledger for these publishers.
    pub(crate) fn new(publishers: Range<u32>) -> Ledger {
        Ledger { first: publishers.start, seen: vec![Seen::default(); publishers.len()] }
    }

    /// Enters a receipt.
    pub(crate) fn enter(&mut self, publisher: u32, sequence: u64) -> Receipt {
        let place = publisher.checked_sub(self.first).and_then(|place| self.seen.get_mut(place as usize));
        match place {
            Some(seen) => seen.enter(sequence),
            None => Receipt::Foreign,
        }
    }
}

impl Seen {
    fn enter(&mut self, sequence: u64) -> Receipt {
        if sequence >= self.next {
            self.shift((sequence - self.next).saturating_add(1));
            self.next = sequence.saturating_add(1);
            self.set(0);
            return Receipt::New;
        }
        let age = self.next - 1 - sequence;
        match age < LATE_MAX && self.set(age) {
            true => Receipt::Late,
            false => Receipt::Duplicate,
        }
    }

    /// Makes room for this many higher numbers.
    fn shift(&mut self, count: u64) {
        let bits = match u32::try_from(count) {
            Ok(count) => self.bits().checked_shl(count).unwrap_or(0),
            Err(_) => 0,
        };
        self.keep(bits);
    }

    /// Sets a bit and says whether it was clear.
    fn set(&mut self, age: u64) -> bool {
        let (bits, bit) = (self.bits(), 1_u128 << (age % LATE_MAX));
        self.keep(bits | bit);
        bits & bit == 0
    }

    fn bits(&self) -> u128 {
        let [low, high] = self.recent;
        u128::from(high) << 64 | u128::from(low)
    }

    fn keep(&mut self, bits: u128) {
        // Each half is cut off on purpose; two words instead of one keep the entry at 24 bytes.
        self.recent = [bits as u64, (bits >> 64) as u64];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ordered_messages_are_new() {
        let mut ledger = Ledger::new(0..1);
        assert!((0..1000).all(|sequence| ledger.enter(0, sequence) == Receipt::New));
    }

    #[test]
    fn a_gap_that_is_filled_later_is_late_once() {
        let mut ledger = Ledger::new(0..1);
        assert_eq!(ledger.enter(0, 0), Receipt::New);
        assert_eq!(ledger.enter(0, 3), Receipt::New);
        assert_eq!(ledger.enter(0, 1), Receipt::Late);
        assert_eq!(ledger.enter(0, 1), Receipt::Duplicate);
        assert_eq!(ledger.enter(0, 3), Receipt::Duplicate);
        assert_eq!(ledger.enter(0, 2), Receipt::Late);
    }

    #[test]
    fn what_is_too_late_to_tell_is_no_proof_of_a_delivery() {
        let mut ledger = Ledger::new(0..1);
        assert_eq!(ledger.enter(0, LATE_MAX), Receipt::New);
        assert_eq!(ledger.enter(0, 1), Receipt::Late);
        assert_eq!(ledger.enter(0, 0), Receipt::Duplicate);
    }

    #[test]
    fn publishers_are_told_apart() {
        let mut ledger = Ledger::new(5..7);
        assert_eq!(ledger.enter(4, 0), Receipt::Foreign);
        assert_eq!(ledger.enter(5, 0), Receipt::New);
        assert_eq!(ledger.enter(6, 0), Receipt::New);
        assert_eq!(ledger.enter(7, 0), Receipt::Foreign);
        assert_eq!(ledger.enter(u32::MAX, 0), Receipt::Foreign);
    }

    /// Compared with a set that remembers everything, on numbers that jump about within reach.
    #[test]
    fn random_receipts_agree_with_a_full_record() {
        let mut state = 0x5EED_u64;
        let (mut ledger, mut record, mut highest) = (Ledger::new(0..1), HashSet::new(), 0);
        for step in 0..100_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let sequence = (step / 3 + (state >> 33) % 60).max(highest - 100.min(highest));
            let expected = match (record.insert(sequence), sequence >= highest) {
                (false, _) => Receipt::Duplicate,
                (true, true) => Receipt::New,
                (true, false) => Receipt::Late,
            };
            highest = highest.max(sequence + 1);
            assert_eq!(ledger.enter(0, sequence), expected, "step {step} of seed 0x5EED");
        }
    }

    #[test]
    fn the_highest_number_of_all_does_not_overflow() {
        let mut ledger = Ledger::new(0..1);
        assert_eq!(ledger.enter(0, u64::MAX), Receipt::New);
        assert_eq!(ledger.enter(0, 0), Receipt::Duplicate);
    }
}

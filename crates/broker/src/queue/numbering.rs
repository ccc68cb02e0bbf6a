//! The numbers of a queue's entries in the store.
//!
//! Taken by whichever worker writes an entry, so that what one publisher sends is numbered in its order; what several send may come in
//! another order than that of the numbers. Those of a queue that is kept are remembered ([`Numbering`]).

use super::Queue;
use crate::numbering::{Numbering, Series};
use crate::queued::Queued;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidegate_protocol::DeliveryTag;

/// More than are under way at a time, and such that the multiples come near a whole round late.
const IDENTIFIERS_LEFT_OUT: u64 = 25_000;

impl Queue {
    /// Numbers begin here, unless they have begun above it.
    pub(crate) fn number_from(&self, number: u64) {
        self.next_number.fetch_max(number, Ordering::Relaxed);
    }

    /// What comes next has a number behind these, and a short identifier far from those of what has come last: some of that may be under way,
    /// and of some only the identifier is still known, to the client.
    pub(crate) fn leave_out(&self, numbers_before: u64) {
        let next = self.next_number.load(Ordering::Relaxed).saturating_add(IDENTIFIERS_LEFT_OUT);
        let rounds = numbers_before.saturating_sub(next).div_ceil(DeliveryTag::ROUND);
        self.number_from(next.saturating_add(rounds.saturating_mul(DeliveryTag::ROUND)));
    }

    /// It is a group's, whose numbers are the places in its order: they begin here, or behind what earlier processes may have given.
    pub(crate) fn number_places_from(&self, place: u64) {
        self.first_place.store(place, Ordering::Relaxed);
        let given = self.numbering.get().map_or(0, |numbering| numbering.first(Series::Groups));
        self.number_from(place.saturating_add(given));
    }

    /// Has its numbers remembered, as far as it is kept itself.
    pub(crate) fn remember_numbers(&self, numbering: &Arc<Numbering>) {
        self.numbering.get_or_init(|| numbering.clone());
    }

    /// It is kept from now on, with the numbers that it has given.
    pub(crate) fn note_numbers(&self) {
        self.note_number(self.next_number.load(Ordering::Relaxed));
    }

    fn note_number(&self, number: u64) {
        let Some(numbering) = self.numbering.get() else { return };
        match self.first_place.load(Ordering::Relaxed) {
            0 => numbering.give(Series::Sessions, number),
            first => numbering.give(Series::Groups, number.saturating_sub(first)),
        }
    }

    /// The next number; nothing where there is no store.
    pub(crate) fn take_number(&self) -> Option<NonZeroU64> {
        if !self.is_numbered() {
            return None;
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        if self.survives() || self.has_entries() {
            self.note_number(number);
        }
        NonZeroU64::new(number)
    }

    /// Whether there are numbers, and so a store.
    pub(crate) fn is_numbered(&self) -> bool {
        self.next_number.load(Ordering::Relaxed) != 0
    }

    /// An entry is written into its stream.
    pub(crate) fn note_entry(&self) {
        if !self.has_entries() {
            self.has_entries.store(true, Ordering::Relaxed);
            self.note_numbers();
        }
    }

    /// Whether its stream may have entries.
    pub(crate) fn has_entries(&self) -> bool {
        self.has_entries.load(Ordering::Relaxed)
    }

    /// Appends a delivery that an earlier process has left, in front of what is on the disk only.
    pub(crate) fn restore(&self, queued: Queued) {
        let weight = queued.weight_bytes();
        let mut waiting = self.waiting.lock();
        waiting.bytes += weight;
        self.total.add(weight);
        waiting.deliveries.push_back(queued);
    }

    /// How many deliveries wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Takes out what groups have given to its consumer and the consumer has not seen.
    pub(crate) fn take_unseen_shared(&self) -> Vec<Queued> {
        let mut waiting = self.waiting.lock();
        let is_unseen = |queued: &Queued| queued.group.is_some() && queued.tag.is_none();
        if !waiting.deliveries.iter().any(is_unseen) {
            return Vec::new();
        }
        let all = std::mem::take(&mut waiting.deliveries);
        let (unseen, kept): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(is_unseen);
        waiting.deliveries = kept;
        let freed: usize = unseen.iter().map(Queued::weight_bytes).sum();
        waiting.bytes -= freed;
        self.total.subtract(unseen.len(), freed);
        unseen.into()
    }

    /// Appends a delivery that was accepted elsewhere before, so that no limit turns it away; gives it back where the queue has ended.
    pub(crate) fn append(&self, queued: Queued) -> Result<(), Queued> {
        let weight = queued.weight_bytes();
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Err(queued);
        }
        waiting.bytes += weight;
        self.total.add(weight);
        waiting.deliveries.push_back(queued);
        Ok(())
    }
}

//! The part of a long queue that is on the disk only: which entries those are, and what is read of them.
//!
//! ```text
//!            asked            answered, entries found
//!   resting ───────► reading ─────────────────────────► resting
//!      ▲                │ answered, nothing found
//!      └────────────────┘ (asked again later; after a few times what was not found is given up)
//! ```
//!
//! Entries are taken by their numbers: what is read beside them belongs to somebody else, a delivery that is still in a letter or one
//! that was delivered and not settled. So a message is neither lost nor delivered twice, whatever has been written between the question
//! and the answer.

use super::conflation::Scope;
use super::numbers::{Known, Numbers};
use std::collections::BTreeSet;
use tidegate_storage::ReadMax;

/// Answers in which nothing was found, after which the front is given up. Whoever appends an entry writes it at the end of the event, so
/// that it may not be there yet when its number is.
const FRUITLESS_MAX: u32 = 5;

/// What is to be read of a queue's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Which question of this queue it is; an answer to an older one is of no use.
    pub(crate) question: u64,
    /// The first number.
    pub(crate) from: u64,
    /// How much at a time.
    pub(crate) max: ReadMax,
    /// What for.
    pub(crate) aim: Aim,
}

/// What something is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// To wait in memory from then on.
    Window,
    /// To see which of it something newer of the same topic has made worthless.
    Conflation(Scope),
}

/// What becomes of an entry that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits in memory from now on.
    Waits,
    /// It was given up for a newer one while it was on the disk.
    GivenUp,
    /// It is somebody else's.
    Foreign,
}

/// Deliveries of one queue that are on the disk only.
#[derive(Debug, Default)]
pub(super) struct Tail {
    numbers: Numbers,
    bytes: usize,
    /// How many of the oldest are to be thrown away when they have been read, and their bytes.
    given_up: usize,
    given_up_bytes: usize,
    /// The question that is under way.
    reading: Option<u64>,
    /// Answers without any entry, one behind the other.
    fruitless: u32,
    /// What was settled before it was read, of what an earlier process has left: it is counted until it is known not to be there.
    settled: BTreeSet<u64>,
}

impl Tail {
    /// What an earlier process has left: so many entries between these numbers.
    pub(super) fn left_by_earlier(first: u64, last: u64, entries: u64, bytes: usize) -> Tail {
        Tail { numbers: Numbers::between(first, last, entries), bytes, ..Tail::default() }
    }

    /// How many deliveries wait in it.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.numbers.len()).unwrap_or(usize::MAX).saturating_sub(self.given_up)
    }

    /// What they would weigh in memory, as far as that is known.
    pub(super) fn bytes(&self) -> usize {
        self.bytes - self.given_up_bytes
    }

    /// Whether there is nothing to read.
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.len() == 0
    }

    /// The lowest number. Everything in memory that has a place or a number stands before it.
    pub(super) fn first(&self) -> Option<u64> {
        self.numbers.first()
    }

    /// The highest number.
    pub(super) fn last(&self) -> Option<u64> {
        self.numbers.last()
    }

    /// What remembering the numbers takes.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.numbers.heap_bytes()
    }

    /// A delivery of this weight stays on the disk. One that is known already is not counted twice.
    pub(super) fn append(&mut self, number: u64, weight: usize) -> bool {
        let is_new = self.numbers.insert(number);
        self.bytes += if is_new { weight } else { 0 };
        is_new
    }

    /// Gives the oldest delivery up for a newer one. Returns about what it weighs; nothing where there is none.
    pub(super) fn give_up_oldest(&mut self) -> Option<usize> {
        let weight = self.bytes().checked_div(self.len())?;
        self.given_up += 1;
        self.given_up_bytes += weight;
        Some(weight)
    }

    /// Whether something in it has to be read so that it can be thrown away.
    pub(super) fn has_given_up(&self) -> bool {
        self.given_up > 0
    }

    /// What is to be read next; nothing while it is being read, or where nothing is there.
    pub(super) fn ask(&mut self, question: u64, max: ReadMax) -> Option<Ask> {
        let from = self.first().filter(|_| self.reading.is_none())?;
        self.reading = Some(question);
        Some(Ask { question, from, max, aim: Aim::Window })
    }

    /// What is to be looked at next, from behind this number on; as [`Tail::ask`].
    pub(super) fn ask_to_look(
        &mut self,
        question: u64,
        behind: u64,
        max: ReadMax,
        scope: Scope,
    ) -> Option<Ask> {
        let first = self.first().filter(|_| self.reading.is_none())?;
        self.reading = Some(question);
        let from = first.max(behind.saturating_add(1));
        Some(Ask { question, from, max, aim: Aim::Conflation(scope) })
    }

    /// Such a look is over. Returns whether it is the one that is under way.
    pub(super) fn note_look(&mut self, ask: &Ask) -> bool {
        self.reading.take_if(|question| *question == ask.question).is_some()
    }

    /// These numbers, ascending, are all that the stream has from this one on up to the last of them.
    pub(super) fn resolve(&mut self, from: u64, found: &[u64]) {
        self.numbers.resolve(from, found);
    }

    /// Whether it is known that a delivery is in it.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.numbers.contains(number)
    }

    /// Whether an entry of this number, which lives, is in it.
    pub(super) fn covers(&self, number: u64) -> bool {
        self.numbers.covers(number)
    }

    /// Throws deliveries away, ascending by number, that weigh so much together.
    pub(super) fn throw_away(&mut self, numbers: &[u64], bytes: usize) {
        self.numbers.remove_all(numbers);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.mend();
    }

    /// Whether something is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// A question is answered. Returns whether it is the one that is under way; the answer of another one is of no use.
    pub(super) fn note_answer(&mut self, ask: &Ask) -> bool {
        let is_present = self.reading == Some(ask.question);
        if is_present {
            self.reading = None;
            self.fruitless += 1;
        }
        is_present
    }

    /// The answer was of no use, which says nothing about what there is.
    pub(super) fn forget_answer(&mut self) {
        self.fruitless = self.fruitless.saturating_sub(1);
    }

    /// One is settled by whoever has had it from an earlier process, and is not to come. Returns whether it may have been in the tail.
    pub(super) fn settle_early(&mut self, number: u64) -> bool {
        match self.numbers.knows(number) {
            Known::No => false,
            Known::Perhaps => self.settled.insert(number),
            Known::Yes => {
                self.forget(number);
                true
            }
        }
    }

    /// Takes one out whose weight nobody knows.
    fn forget(&mut self, number: u64) {
        let average = self.average();
        if self.numbers.remove(number) {
            self.bytes = self.bytes.saturating_sub(average);
            self.mend();
        }
    }

    fn average(&self) -> usize {
        self.bytes.checked_div(usize::try_from(self.numbers.len()).unwrap_or(usize::MAX)).unwrap_or(0)
    }

    /// Takes an entry that was read, of this weight where it could be read. They come ascending.
    pub(super) fn take(&mut self, number: u64, weight: Option<usize>) -> Fate {
        let average = self.average();
        self.numbers.pass(number);
        if self.settled.remove(&number) {
            // It was read before it was settled.
            self.forget(number);
            return Fate::Foreign;
        }
        if !self.numbers.remove(number) {
            return Fate::Foreign;
        }
        self.fruitless = 0;
        let weight = weight.unwrap_or(average);
        self.bytes = self.bytes.saturating_sub(weight);
        let fate = match self.given_up_bytes.checked_div(self.given_up) {
            None => Fate::Waits,
            Some(weight) => {
                self.given_up -= 1;
                self.given_up_bytes -= weight;
                Fate::GivenUp
            }
        };
        self.mend();
        fate
    }

    /// An answer has been taken in, which went up to this number, or to the end of the stream. Returns how many entries should have been
    /// there and were not.
    pub(super) fn end_answer(&mut self, ask: &Ask, last: Option<u64>) -> usize {
        self.numbers.pass(last.unwrap_or(u64::MAX));
        if self.fruitless >= FRUITLESS_MAX {
            self.fruitless = 0;
            let found = last.filter(|last| *last > ask.from);
            self.numbers.give_up_below(found.unwrap_or(u64::MAX));
        }
        self.forget_settled(last.unwrap_or(u64::MAX));
        let mut missing = usize::try_from(self.numbers.take_missing()).unwrap_or(usize::MAX);
        // What was settled is not there, and nobody misses it.
        while missing > 0 && self.settled.pop_first().is_some() {
            missing -= 1;
        }
        self.mend();
        if self.is_empty() {
            self.settled.clear();
        }
        missing
    }

    /// Everything up to this number was read: what was settled early and seems to be there still is not.
    fn forget_settled(&mut self, last: u64) {
        let is_there = |number: &u64| self.numbers.knows(*number) == Known::Yes;
        let gone: Vec<u64> = self.settled.range(..=last).copied().filter(is_there).collect();
        for number in gone {
            self.settled.remove(&number);
            self.forget(number);
        }
    }

    /// Whether an answer has brought nothing, so that the next question should wait a while.
    pub(super) fn is_fruitless(&self) -> bool {
        self.fruitless > 0
    }

    /// What is given up and what it weighs is never more than there is.
    fn mend(&mut self) {
        if self.is_empty() {
            self.bytes = 0;
        }
        self.given_up = self.given_up.min(usize::try_from(self.numbers.len()).unwrap_or(usize::MAX));
        self.given_up_bytes = if self.given_up == 0 { 0 } else { self.given_up_bytes.min(self.bytes) };
    }
}

#[cfg(test)]
mod tests;

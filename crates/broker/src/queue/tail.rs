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
            self.settled.clear();
        }
        self.given_up = self.given_up.min(usize::try_from(self.numbers.len()).unwrap_or(usize::MAX));
        self.given_up_bytes = if self.given_up == 0 { 0 } else { self.given_up_bytes.min(self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const MAX: ReadMax = ReadMax { entries: 4, bytes: 1000 };

    #[derive(Debug, Clone)]
    enum Step {
        /// An entry this far behind the last one, with this weight, which is the tail's or somebody else's.
        Append {
            gap: u64,
            weight: usize,
            is_foreign: bool,
        },
        Ask,
        Answer,
        GiveUp,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let append = (1_u64..3, 1_usize..9, 0..4).prop_map(|(gap, weight, kind)| Step::Append {
            gap,
            weight,
            is_foreign: kind == 0,
        });
        let step =
            prop_oneof![4 => append, 2 => Just(Step::Ask), 2 => Just(Step::Answer), 1 => Just(Step::GiveUp)];
        proptest::collection::vec(step, 0..200)
    }

    #[derive(Default)]
    struct Model {
        tail: Tail,
        /// Everything in the stream, and which of it is the tail's.
        disk: BTreeMap<u64, usize>,
        mine: BTreeSet<u64>,
        last: u64,
        given_up: usize,
        question: u64,
        asked: Option<Ask>,
        taken: Vec<u64>,
    }

    impl Model {
        fn answer(&mut self) -> Result<(), TestCaseError> {
            let Some(ask) = self.asked.take() else { return Ok(()) };
            prop_assert!(self.tail.note_answer(&ask) && !self.tail.note_answer(&ask));
            let read: Vec<_> =
                self.disk.range(ask.from..).take(ask.max.entries).map(|(n, w)| (*n, *w)).collect();
            for (number, weight) in &read {
                let expected = match self.mine.remove(number) {
                    false => Fate::Foreign,
                    true if self.given_up > 0 => Fate::GivenUp,
                    true => Fate::Waits,
                };
                self.given_up -= usize::from(expected == Fate::GivenUp);
                prop_assert_eq!(self.tail.take(*number, Some(*weight)), expected);
                if expected != Fate::Foreign {
                    self.disk.remove(number);
                    self.taken.push(*number);
                }
            }
            prop_assert_eq!(self.tail.end_answer(&ask, read.last().map(|(number, _)| *number)), 0);
            Ok(())
        }

        fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
            match step {
                Step::Append { gap, weight, is_foreign } => {
                    self.last += gap;
                    self.disk.insert(self.last, weight);
                    if !is_foreign {
                        self.mine.insert(self.last);
                        prop_assert!(self.tail.append(self.last, weight));
                    }
                }
                Step::Ask => {
                    self.question += 1;
                    let asked = self.tail.ask(self.question, MAX);
                    prop_assert_eq!(asked.is_some(), self.asked.is_none() && !self.mine.is_empty());
                    self.asked = self.asked.or(asked);
                }
                Step::Answer => self.answer()?,
                Step::GiveUp => {
                    let is_possible = self.mine.len() > self.given_up;
                    prop_assert_eq!(self.tail.give_up_oldest().is_some(), is_possible);
                    self.given_up += usize::from(is_possible);
                }
            }
            Ok(())
        }

        fn check(&self) -> Result<(), TestCaseError> {
            prop_assert_eq!(self.tail.len(), self.mine.len() - self.given_up);
            prop_assert_eq!(self.tail.first(), self.mine.first().copied());
            let weight: usize = self.mine.iter().map(|number| self.disk[number]).sum();
            prop_assert!(self.tail.bytes() <= weight);
            prop_assert!(self.given_up > 0 || self.tail.bytes() == weight);
            prop_assert!(self.taken.is_sorted());
            Ok(())
        }
    }

    proptest! {
        /// Every entry comes out once and in order, whatever stands between them.
        #[test]
        fn gives_what_was_put_in(steps in steps()) {
            let mut model = Model::default();
            for step in steps {
                model.step(step)?;
                model.check()?;
            }
            for _ in 0..model.disk.len() + 1 {
                model.step(Step::Ask)?;
                model.step(Step::Answer)?;
            }
            prop_assert!(model.mine.is_empty() && model.tail.is_empty());
        }
    }

    #[test]
    fn the_answer_to_an_earlier_question_is_of_no_use() {
        let mut tail = Tail::default();
        tail.append(1, 10);
        let first = tail.ask(1, MAX).unwrap();
        assert_eq!(tail.ask(2, MAX), None);
        let mut tail = Tail::default();
        tail.append(2, 10);
        let second = tail.ask(2, MAX).unwrap();
        assert!(!tail.note_answer(&first) && tail.is_reading() && tail.note_answer(&second));
    }

    /// An entry that is not there at first may be written a moment later; one that never comes must not hold up the others for ever.
    #[test]
    fn what_is_never_found_is_given_up() {
        let mut tail = Tail::default();
        assert!([1, 2, 7].map(|number| tail.append(number, 10)).into_iter().all(|is_new| is_new));
        for round in 1..=FRUITLESS_MAX {
            let ask = tail.ask(u64::from(round), MAX).unwrap();
            assert!(tail.note_answer(&ask));
            assert_eq!(tail.take(5, Some(10)), Fate::Foreign);
            assert_eq!(tail.end_answer(&ask, Some(5)), if round == FRUITLESS_MAX { 2 } else { 0 });
        }
        assert_eq!((tail.first(), tail.len()), (Some(7), 1));
    }

    #[test]
    fn what_an_earlier_process_has_left_is_found_by_reading() {
        let mut tail = Tail::left_by_earlier(10, 19, 4, 400);
        assert!(!tail.append(19, 5) && tail.append(20, 100));
        let ask = tail.ask(1, MAX).unwrap();
        assert!(ask.from == 10 && tail.note_answer(&ask));
        for number in [11, 15, 16] {
            assert_eq!(tail.take(number, Some(100)), Fate::Waits);
        }
        assert_eq!((tail.end_answer(&ask, Some(16)), tail.len(), tail.bytes()), (0, 2, 200));
        let ask = tail.ask(2, MAX).unwrap();
        assert!(ask.from == 17 && tail.note_answer(&ask));
        // Number 19, or another one, should have been there.
        assert_eq!(tail.take(20, Some(100)), Fate::Waits);
        assert_eq!((tail.end_answer(&ask, Some(20)), tail.len(), tail.bytes()), (1, 0, 0));
    }

    /// What was settled before it was read does not come, is not missed, and holds nothing up, whether its number was known or not.
    #[test]
    fn what_is_settled_before_it_is_read_does_not_come() {
        for (last, settled) in [(14, 10), (14, 12), (14, 14), (19, 12)] {
            let mut tail = Tail::left_by_earlier(10, last, 5, 500);
            assert!(tail.settle_early(settled) && !tail.settle_early(settled) && !tail.settle_early(9));
            let ask = tail.ask(1, ReadMax { entries: 9, bytes: 1000 }).unwrap();
            assert!(tail.note_answer(&ask));
            let left: Vec<u64> = (10..=14).filter(|number| *number != settled).collect();
            for number in &left {
                assert_eq!(tail.take(*number, Some(100)), Fate::Waits, "{settled} of {last}");
            }
            let missing = tail.end_answer(&ask, None);
            assert_eq!((missing, tail.len(), tail.bytes()), (0, 0, 0), "{settled} of {last}");
        }
    }

    #[test]
    fn what_is_settled_while_it_is_read_does_not_come() {
        for last in [14, 19] {
            let mut tail = Tail::left_by_earlier(10, last, 5, 500);
            let ask = tail.ask(1, ReadMax { entries: 9, bytes: 1000 }).unwrap();
            assert!(tail.settle_early(12) && tail.note_answer(&ask));
            let fates = (10..=14).map(|number| tail.take(number, Some(100)));
            let foreign: Vec<_> = fates.map(|fate| fate == Fate::Foreign).collect();
            assert_eq!(foreign, [false, false, true, false, false]);
            assert_eq!((tail.end_answer(&ask, None), tail.len(), tail.bytes()), (0, 0, 0));
        }
    }
}

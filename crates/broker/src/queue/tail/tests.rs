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
        let read: Vec<_> = self.disk.range(ask.from..).take(ask.max.entries).map(|(n, w)| (*n, *w)).collect();
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

proptest! {
    /// Of what an earlier process has left, and of which some is settled before it is read, the rest comes, once and in order.
    #[test]
    fn whatever_is_settled_early_the_rest_comes(
        left in proptest::collection::btree_set(10_u64..40, 1..20),
        portion in 1_usize..5,
        early in proptest::collection::vec((0_usize..20, 10_u64..40), 0..20),
    ) {
        let (first, last) = (*left.first().unwrap(), *left.last().unwrap());
        let count = left.len() as u64;
        let mut tail = Tail::left_by_earlier(first, last, count, left.len() * 100);
        let (mut disk, mut taken) = (left.clone(), Vec::new());
        for round in 0..left.len() + 1 {
            for (_, number) in early.iter().filter(|(at, _)| *at == round) {
                if disk.remove(number) {
                    prop_assert!(tail.settle_early(*number));
                }
            }
            prop_assert!(tail.len() >= disk.len());
            let Some(ask) = tail.ask(round as u64, ReadMax { entries: portion, bytes: 1000 }) else { break };
            prop_assert!(tail.note_answer(&ask));
            let read: Vec<u64> = disk.range(ask.from..).take(portion).copied().collect();
            for number in &read {
                prop_assert_eq!(tail.take(*number, Some(100)), Fate::Waits);
                disk.remove(number);
            }
            taken.extend(&read);
            prop_assert_eq!(tail.end_answer(&ask, read.last().copied()), 0);
        }
        let settled = early.iter().map(|(_, number)| *number).filter(|number| left.contains(number));
        let gone: BTreeSet<u64> = settled.filter(|number| !taken.contains(number)).collect();
        prop_assert!(taken.is_sorted() && disk.is_empty() && tail.is_empty());
        prop_assert_eq!(taken.len(), left.len() - gone.len());
    }
}

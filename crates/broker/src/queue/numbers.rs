//! A set of the numbers of entries that takes no memory to speak of, because numbers follow each other: ranges of them.
//!
//! Of what stood in a stream before the process began only the first number, the last one and how many there are is known. Such a range
//! is loose: which numbers of it exist is found out while it is read from the front.

use std::collections::VecDeque;

/// Numbers that are in the set, from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    /// How many there are, at the most: of what a loose range should have some may be gone.
    count: u64,
    /// Whether only reading tells which they are.
    is_loose: bool,
}

/// Whether a number is in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Yes,
    /// Only reading tells.
    Perhaps,
    No,
}

impl Range {
    /// All numbers from one to another.
    fn full(first: u64, last: u64) -> Range {
        Range { first, last, count: (last - first).saturating_add(1), is_loose: false }
    }
}

/// A set of numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Ascending and apart from each other; none is empty.
    ranges: VecDeque<Range>,
    count: u64,
    /// How many should have been in loose ranges and were not.
    missing: u64,
}

impl Numbers {
    /// So many numbers between these two, both of which may be among them.
    pub(super) fn between(first: u64, last: u64, count: u64) -> Numbers {
        let full = Range::full(first, last.max(first));
        let count = count.min(full.count);
        let range = Range { count, is_loose: count < full.count, ..full };
        Numbers { ranges: (count > 0).then_some(range).into_iter().collect(), count, missing: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// The lowest one, or a lower one where the first range is loose.
    pub(super) fn first(&self) -> Option<u64> {
        self.ranges.front().map(|range| range.first)
    }

    /// The highest one.
    pub(super) fn last(&self) -> Option<u64> {
        self.ranges.back().map(|range| range.last)
    }

    /// Whether one is in, as far as that is known.
    pub(super) fn knows(&self, number: u64) -> Known {
        let at = self.ranges.partition_point(|range| range.last < number);
        match self.ranges.get(at).filter(|range| range.first <= number) {
            None => Known::No,
            Some(range) if range.is_loose => Known::Perhaps,
            Some(_) => Known::Yes,
        }
    }

    /// Puts one in that is not in. Returns whether it was not.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.last < number);
        if self.ranges.get(at).is_some_and(|range| range.first <= number) {
            return false;
        }
        self.count += 1;
        let before = at.checked_sub(1).filter(|before| self.ends_before(*before, number));
        let is_before_next =
            self.ranges.get(at).is_some_and(|next| !next.is_loose && next.first - 1 == number);
        match (before.and_then(|before| self.ranges.get_mut(before)), is_before_next) {
            (Some(range), false) => {
                range.last = number;
                range.count += 1;
            }
            (None, false) => self.ranges.insert(at, Range::full(number, number)),
            (None, true) => {
                if let Some(next) = self.ranges.get_mut(at) {
                    next.first = number;
                    next.count += 1;
                }
            }
            (Some(_), true) => self.join(at),
        }
        true
    }

    fn ends_before(&self, at: usize, number: u64) -> bool {
        self.ranges.get(at).is_some_and(|range| !range.is_loose && range.last + 1 == number)
    }

    /// Joins a range with the one before it, from which one number has separated it.
    fn join(&mut self, at: usize) {
        if let Some(next) = self.ranges.remove(at)
            && let Some(range) = self.ranges.get_mut(at.saturating_sub(1))
        {
            range.last = next.last;
            range.count += next.count + 1;
        }
    }

    /// Takes one out that was read. Returns whether it was in. What a loose range says to be before it is not there, because reading is
    /// from the front.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.last < number);
        let Some(range) = self.ranges.get_mut(at).filter(|range| range.first <= number) else { return false };
        self.count -= 1;
        range.count -= 1;
        if range.is_loose && range.count > range.last - number {
            // Some of what should have been before it is gone.
            let gone = range.count - (range.last - number);
            self.missing += gone;
            self.count -= gone;
            range.count -= gone;
        }
        if range.count == 0 {
            self.ranges.remove(at);
        } else if range.is_loose || number == range.first {
            range.first = number + 1;
        } else if number == range.last {
            range.last -= 1;
        } else {
            let behind = Range::full(number + 1, range.last);
            range.last = number - 1;
            range.count -= behind.count;
            self.ranges.insert(at + 1, behind);
        }
        true
    }

    /// Whether a number that exists is in.
    pub(super) fn covers(&self, number: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.last < number);
        self.ranges.get(at).is_some_and(|range| range.first <= number)
    }

    /// Whether it is known that a number is in. What a loose range has is not known.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.knows(number) == Known::Yes
    }

    /// These numbers, ascending, are all that was found from this one on up to the last of them. So far as that is in a loose range, it is
    /// known from now on what is there.
    pub(super) fn resolve(&mut self, from: u64, found: &[u64]) {
        let Some(to) = found.last().copied() else { return };
        let at = self.ranges.partition_point(|range| range.last < from);
        let Some(loose) = self.ranges.get(at).copied().filter(|range| range.is_loose && range.first <= to)
        else {
            return;
        };
        let mut known = Numbers::default();
        for number in found.iter().filter(|number| (loose.first..=loose.last).contains(*number)) {
            known.insert(*number);
        }
        let left = loose.count.saturating_sub(known.count);
        let left_there = if to < loose.last { left.min(loose.last - to) } else { 0 };
        if left_there > 0 {
            known.ranges.push_back(Range { first: to + 1, count: left_there, ..loose });
        }
        self.count = self.count - loose.count + known.count + left_there;
        self.missing += left - left_there;
        let behind = self.ranges.split_off(at);
        self.ranges.append(&mut known.ranges);
        self.ranges.extend(behind.into_iter().skip(1));
    }

    /// Takes these numbers out, ascending, as far as it is known that they are in: in one go, however many there are.
    pub(super) fn remove_all(&mut self, numbers: &[u64]) {
        let mut left = numbers.iter().copied().peekable();
        let mut ranges = VecDeque::with_capacity(self.ranges.len());
        for mut range in std::mem::take(&mut self.ranges) {
            while left.next_if(|number| *number < range.first).is_some() {}
            while let Some(number) = left.next_if(|number| *number <= range.last && !range.is_loose) {
                self.count -= 1;
                let before = number - range.first;
                if before > 0 {
                    ranges.push_back(Range::full(range.first, number - 1));
                }
                range = Range { first: number + 1, count: range.count - before - 1, ..range };
                if range.count == 0 {
                    break;
                }
            }
            if range.count > 0 {
                ranges.push_back(range);
            }
        }
        self.ranges = ranges;
    }

    /// Everything below this number was read: what loose ranges have there is missing.
    pub(super) fn pass(&mut self, number: u64) {
        while let Some(range) = self.ranges.front().filter(|range| range.is_loose && range.last < number) {
            self.missing += range.count;
            self.count -= range.count;
            self.ranges.pop_front();
        }
    }

    /// Gives up what the first range has below this number.
    pub(super) fn give_up_below(&mut self, number: u64) {
        let Some(range) = self.ranges.front_mut().filter(|range| range.first < number) else { return };
        let left = if range.last < number { 0 } else { range.count.min(range.last - number + 1) };
        let gone = range.count - left;
        (range.first, range.count) = (number, left);
        self.count -= gone;
        self.missing += gone;
        if left == 0 {
            self.ranges.pop_front();
        }
    }

    /// How many there should have been and were not, since this was asked last.
    pub(super) fn take_missing(&mut self) -> u64 {
        std::mem::take(&mut self.missing)
    }

    /// What the set takes.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<Range>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Whatever comes and goes: it is a set, with as few ranges as there are gaps.
        #[test]
        fn behaves_as_a_set(steps in proptest::collection::vec((any::<bool>(), 1_u64..40), 0..200)) {
            let (mut numbers, mut model) = (Numbers::default(), BTreeSet::new());
            for (inserts, number) in steps {
                match inserts {
                    true => prop_assert_eq!(numbers.insert(number), model.insert(number)),
                    false => prop_assert_eq!(numbers.remove(number), model.remove(&number)),
                }
                prop_assert_eq!(numbers.len(), model.len() as u64);
                prop_assert_eq!((numbers.first(), numbers.last()), (model.first().copied(), model.last().copied()));
                let beginnings = model.iter().filter(|number| !model.contains(&(**number - 1))).count();
                prop_assert_eq!(numbers.ranges.len(), beginnings);
            }
        }

        /// A loose range that is read from the front gives exactly what is there, whatever comes behind it.
        #[test]
        fn a_loose_range_is_what_is_read_from_it(
            there in proptest::collection::btree_set(10_u64..40, 1..20),
            more in proptest::collection::btree_set(40_u64..60, 0..10),
        ) {
            let (first, last) = (*there.first().unwrap(), *there.last().unwrap());
            let mut numbers = Numbers::between(first, last, there.len() as u64);
            for number in &more {
                prop_assert!(numbers.insert(*number) && !numbers.insert(*number));
            }
            for (left, number) in (1..=there.len() + more.len()).rev().zip(there.iter().chain(&more)) {
                prop_assert_eq!(numbers.len(), left as u64);
                prop_assert!(numbers.first().unwrap() <= *number);
                prop_assert!(numbers.remove(*number), "{}", number);
            }
            prop_assert_eq!((numbers.len(), numbers.first()), (0, None));
        }
    }

    proptest! {
        /// Whatever is taken out together: it is as if it were taken out one by one.
        #[test]
        fn many_are_taken_out_as_one_by_one(
            there in proptest::collection::btree_set(1_u64..60, 0..50),
            gone in proptest::collection::btree_set(1_u64..60, 0..50),
        ) {
            let (mut numbers, mut one_by_one) = (Numbers::default(), Numbers::default());
            for number in &there {
                prop_assert!(numbers.insert(*number) && one_by_one.insert(*number));
            }
            numbers.remove_all(&gone.iter().copied().collect::<Vec<_>>());
            for number in &gone {
                one_by_one.remove(*number);
            }
            prop_assert_eq!(&numbers.ranges, &one_by_one.ranges);
            prop_assert_eq!(numbers.len(), one_by_one.len());
            prop_assert!((1..60).all(|n| numbers.contains(n) == (there.contains(&n) && !gone.contains(&n))));
        }

        /// A loose range of which a part was looked at beforehand gives what is there, but for what was taken out of that part.
        #[test]
        fn what_was_found_in_a_loose_range_can_be_taken_out(
            there in proptest::collection::btree_set(10_u64..40, 1..20),
            portions in proptest::collection::vec(1_usize..6, 0..6),
            gone in proptest::collection::btree_set(10_u64..40, 0..20),
        ) {
            let (first, last) = (*there.first().unwrap(), *there.last().unwrap());
            let mut numbers = Numbers::between(first, last, there.len() as u64);
            prop_assert!(numbers.insert(40));
            let mut from = first;
            for count in portions {
                let found: Vec<u64> = there.range(from..).take(count).copied().collect();
                numbers.resolve(from, &found);
                prop_assert!(found.iter().all(|number| numbers.contains(*number)));
                from = found.last().map_or(from, |last| last + 1);
            }
            let gone: Vec<u64> = gone.range(..from).filter(|number| there.contains(number)).copied().collect();
            numbers.remove_all(&gone);
            let left: Vec<u64> = there.iter().filter(|number| !gone.contains(number)).copied().collect();
            prop_assert_eq!(numbers.len(), left.len() as u64 + 1);
            for number in left {
                prop_assert!(numbers.first().unwrap() <= number && numbers.remove(number), "{}", number);
            }
            prop_assert!(numbers.remove(40));
            prop_assert_eq!((numbers.len(), numbers.take_missing()), (0, 0));
        }
    }

    #[test]
    fn what_should_be_there_and_is_not_is_counted() {
        let mut numbers = Numbers::between(10, 20, 5);
        numbers.insert(30);
        assert!(numbers.remove(12) && numbers.remove(30));
        numbers.pass(20);
        assert_eq!((numbers.len(), numbers.take_missing()), (4, 0));
        numbers.pass(21);
        assert_eq!((numbers.len(), numbers.first(), numbers.take_missing()), (0, None, 4));
        let mut numbers = Numbers::between(10, 20, 5);
        assert!(numbers.remove(20));
        assert_eq!((numbers.len(), numbers.first(), numbers.take_missing()), (0, None, 4));
    }

    #[test]
    fn the_front_is_given_up_up_to_anywhere() {
        let mut numbers = Numbers::default();
        (1..=5).chain(8..=9).for_each(|number| assert!(numbers.insert(number)));
        numbers.give_up_below(3);
        assert_eq!((numbers.first(), numbers.len(), numbers.take_missing()), (Some(3), 5, 2));
        numbers.give_up_below(9);
        assert_eq!((numbers.first(), numbers.len(), numbers.take_missing()), (Some(8), 2, 3));
        let mut numbers = Numbers::between(10, 20, 5);
        numbers.give_up_below(18);
        assert_eq!((numbers.first(), numbers.len(), numbers.take_missing()), (Some(18), 3, 2));
    }

    #[test]
    fn a_million_numbers_in_a_row_take_one_range() {
        let mut numbers = Numbers::default();
        (1..=1_000_000).for_each(|number| assert!(numbers.insert(number)));
        assert!(numbers.ranges.len() == 1 && numbers.heap_bytes() < 1024);
    }
}

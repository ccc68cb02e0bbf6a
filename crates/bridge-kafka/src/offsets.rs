//! How far a receive has come in each partition: an offset is committed only behind everything that is settled in front of it.
//!
//! Plain bookkeeping: it knows tickets, partitions and offsets, and no client library. What was handed over and belongs to a partition that
//! was taken away is forgotten: whoever has the partition now receives it again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// A partition of a topic.
pub(crate) type Place = (Arc<str>, i32);

/// See the module.
#[derive(Debug)]
pub(crate) struct Offsets {
    partitions: BTreeMap<Place, Progress>,
    /// Of what is not settled: where it came from, and its number there.
    tickets: HashMap<u64, (Place, u64)>,
    next_ticket: u64,
}

#[derive(Debug, Default)]
struct Progress {
    /// What was handed over, in its order, from the first that is not settled: its offset, and whether it is settled.
    handed: VecDeque<(i64, bool)>,
    /// The number of the first of them.
    first_number: u64,
    /// Where to go on after a restart.
    position: Option<i64>,
    is_committed: bool,
}

impl Offsets {
    /// Nothing yet; tickets begin with this one.
    pub(crate) fn new(first_ticket: u64) -> Offsets {
        Offsets { partitions: BTreeMap::new(), tickets: HashMap::new(), next_ticket: first_ticket }
    }

    /// How many are not settled.
    pub(crate) fn unsettled(&self) -> usize {
        self.tickets.len()
    }

    /// A record is handed over; the answer is its ticket.
    pub(crate) fn hand_over(&mut self, topic: &str, partition: i32, offset: i64) -> u64 {
        let place = self.place(topic, partition);
        let progress = self.partitions.entry(place.clone()).or_default();
        let number = progress.first_number + progress.handed.len() as u64;
        progress.handed.push_back((offset, false));
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(ticket, (place, number));
        ticket
    }

    /// One copy of the name for all records of a topic.
    fn place(&self, topic: &str, partition: i32) -> Place {
        let known = self.partitions.keys().map(|(name, _)| name).find(|name| ***name == *topic);
        (known.cloned().unwrap_or_else(|| topic.into()), partition)
    }

    /// A record is settled. A ticket of a partition that was taken away means nothing.
    pub(crate) fn settle(&mut self, ticket: u64) {
        let Some((place, number)) = self.tickets.remove(&ticket) else { return };
        let Some(progress) = self.partitions.get_mut(&place) else { return };
        let index = usize::try_from(number - progress.first_number).unwrap_or(usize::MAX);
        if let Some((_, is_settled)) = progress.handed.get_mut(index) {
            *is_settled = true;
        }
        while let Some((offset, true)) = progress.handed.front().copied() {
            progress.handed.pop_front();
            progress.first_number += 1;
            progress.position = Some(offset + 1);
            progress.is_committed = false;
        }
    }

    /// The positions that are to be committed; each is given once.
    pub(crate) fn take_commits(&mut self) -> Vec<(Place, i64)> {
        let mut commits = Vec::new();
        for (place, progress) in &mut self.partitions {
            if let (Some(position), false) = (progress.position, progress.is_committed) {
                progress.is_committed = true;
                commits.push((place.clone(), position));
            }
        }
        commits
    }

    /// A commit has failed: all of them are given again.
    pub(crate) fn note_uncommitted(&mut self) {
        self.partitions.values_mut().for_each(|progress| progress.is_committed = false);
    }

    /// All partitions were taken away.
    pub(crate) fn forget(&mut self) {
        self.partitions.clear();
        self.tickets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(offsets: &mut Offsets) -> Vec<(String, i32, i64)> {
        let taken = offsets.take_commits();
        taken.into_iter().map(|((topic, partition), at)| (topic.to_string(), partition, at)).collect()
    }

    #[test]
    fn a_commit_waits_for_the_lowest_that_is_not_settled() {
        let mut offsets = Offsets::new(0);
        let tickets: Vec<_> = [10, 11, 13].map(|offset| offsets.hand_over("t", 0, offset)).into();
        offsets.settle(tickets[1]);
        offsets.settle(tickets[2]);
        assert_eq!(commits(&mut offsets), []);
        offsets.settle(tickets[0]);
        assert_eq!(commits(&mut offsets), [("t".to_owned(), 0, 14)]);
        assert_eq!(commits(&mut offsets), []);
        assert_eq!(offsets.unsettled(), 0);
    }

    #[test]
    fn partitions_go_on_by_themselves() {
        let mut offsets = Offsets::new(1 << 48);
        let first = offsets.hand_over("t", 0, 5);
        let second = offsets.hand_over("t", 1, 7);
        offsets.settle(second);
        assert_eq!(commits(&mut offsets), [("t".to_owned(), 1, 8)]);
        assert_eq!((first, offsets.unsettled()), (1 << 48, 1));
    }

    #[test]
    fn what_was_taken_away_is_never_committed() {
        let mut offsets = Offsets::new(0);
        let ticket = offsets.hand_over("t", 0, 5);
        offsets.forget();
        // The same partition comes back, from where it was committed.
        offsets.hand_over("t", 0, 5);
        offsets.settle(ticket);
        assert_eq!((commits(&mut offsets), offsets.unsettled()), (vec![], 1));
    }

    #[test]
    fn a_commit_that_failed_is_made_again() {
        let mut offsets = Offsets::new(0);
        let ticket = offsets.hand_over("t", 0, 5);
        offsets.settle(ticket);
        assert_eq!(commits(&mut offsets).len(), 1);
        offsets.note_uncommitted();
        assert_eq!(commits(&mut offsets), [("t".to_owned(), 0, 6)]);
    }

    #[test]
    fn settling_twice_changes_nothing() {
        let mut offsets = Offsets::new(0);
        let tickets = [1, 2].map(|offset| offsets.hand_over("t", 0, offset));
        offsets.settle(tickets[0]);
        offsets.settle(tickets[0]);
        assert_eq!(commits(&mut offsets), [("t".to_owned(), 0, 2)]);
    }
}

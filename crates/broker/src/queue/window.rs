//! How a long queue lives: a window of it in memory, and behind that a tail of which only the disk has the messages.
//!
//! ```text
//!   next ◄── window (memory) ◄── tail (disk) ◄── new deliveries
//!            └ what has no entry and came behind the tail waits in memory for its turn
//! ```
//!
//! While something older may be under way to a former home nothing is read: it may have to stand in front of what would be found.
//!
//! Whatever stands in memory and has a number is older than the tail, or its publisher has nothing in the tail: what one publisher sends
//! has ascending numbers and comes in their order. When the window runs low, its home asks for more (`reading.rs`); the answer is put
//! behind it. What a member of a group leaves comes back into memory, and so does what a session has to repeat.

use super::conflation::LastValues;
use super::tail::{Ask, Fate, Tail};
use super::{Queue, Waiting};
use crate::budget::{Room, TotalBytes};
use crate::entry::{ChangePlace, Entry};
use crate::queued::Queued;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use tidegate_storage::{ReadMax, StreamId};

/// Deliveries in memory, and their bytes, beyond which what is kept stays on the disk.
pub(super) const WINDOW: ReadMax = ReadMax { entries: 512, bytes: 1 << 20 };
/// What is read at a time, when no more than as much is left.
const READ: ReadMax = ReadMax { entries: 256, bytes: 512 << 10 };
/// The same where all queues together have no room for that: so that they come to their end nevertheless.
const READ_IN_NEED: ReadMax = ReadMax { entries: 8, bytes: 64 << 10 };

/// What stands behind the window of a long queue.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) tail: Tail,
    /// Deliveries without an entry, each with the number behind which it came.
    behind: VecDeque<(u64, Queued)>,
    /// The change that has appended the newest entry: when the disk has that, it has all of them.
    newest: Option<ChangePlace>,
    /// The memory that is set aside for what is being read.
    room: Option<Room>,
    /// The newest of each topic, where there was no room for more.
    pub(super) last_values: Option<Box<LastValues>>,
}

/// What an answer has brought beside what waits in memory from now on.
#[derive(Debug, Default)]
pub(crate) struct TakenIn {
    /// What was to be thrown away when it has been read.
    pub(crate) given_up: Vec<Queued>,
    /// What could not be read.
    pub(crate) damaged: Vec<u64>,
    /// How many entries should have been there and were not.
    pub(crate) missing: usize,
    /// Whether nothing was found, so that asking again makes sense in a while only.
    pub(crate) is_fruitless: bool,
}

impl Rest {
    /// How many deliveries of it are in memory.
    pub(super) fn behind(&self) -> usize {
        self.behind.len()
    }

    fn on_disk(&self) -> (usize, usize) {
        (self.tail.len(), self.tail.bytes())
    }

    fn is_over(&self) -> bool {
        self.tail.is_empty() && self.behind.is_empty() && !self.tail.is_reading()
    }

    /// The oldest delivery without an entry, where everything before it is below this number.
    fn pop_behind(&mut self, number: u64) -> Option<Queued> {
        self.behind.front().filter(|(after, _)| *after < number)?;
        self.behind.pop_front().map(|(_, queued)| queued)
    }
}

impl Waiting {
    /// What is on the disk only: how many deliveries, and what they would weigh.
    pub(super) fn on_disk(&self) -> (usize, usize) {
        self.rest.as_ref().map_or((0, 0), |rest| rest.on_disk())
    }

    /// What everything in it weighs, or would weigh in memory.
    pub(super) fn all_bytes(&self) -> usize {
        self.bytes + self.on_disk().1
    }

    /// The lowest number that is on the disk only.
    pub(super) fn tail_first(&self) -> Option<u64> {
        self.rest.as_ref()?.tail.first()
    }

    /// How many deliveries can be taken before something has to be read.
    fn window_len(&self) -> usize {
        let before = self.tail_first().unwrap_or(u64::MAX);
        self.deliveries.len() + self.grouped.as_ref().map_or(0, |grouped| grouped.len_before(before))
    }

    /// The number under which a new delivery stays on the disk only; nothing where it belongs into memory.
    fn number_on_disk(&self, queued: &Queued, total: &TotalBytes) -> Option<u64> {
        let number = queued.entry.as_ref().filter(|_| queued.can_stay_on_disk())?.number.get();
        let stays = match self.tail_first() {
            Some(first) => number > first,
            None => {
                let (count, weight) = (self.window_len(), queued.weight_bytes());
                count >= WINDOW.entries
                    || (count > 0 && self.backlog_bytes() + weight > WINDOW.bytes)
                    || !total.has_room(weight)
            }
        };
        stays.then_some(number)
    }

    /// How much is to be read now; nothing where enough is in memory.
    fn wanted(&self, total: &TotalBytes) -> Option<ReadMax> {
        let (rest, count) = (self.rest.as_ref().filter(|_| self.held.is_empty())?, self.window_len());
        let max = if total.has_room(READ.bytes) { READ } else { READ_IN_NEED };
        let is_low = count <= max.entries && self.backlog_bytes() <= WINDOW.bytes - READ.bytes;
        (is_low || count <= READ_IN_NEED.entries || rest.tail.has_given_up()).then_some(max)
    }

    /// Gives up the oldest delivery of the tail; returns about what it weighs.
    pub(super) fn give_up_oldest(&mut self) -> Option<usize> {
        self.rest.as_mut()?.tail.give_up_oldest()
    }

    /// Whether an entry of this number is on the disk only.
    pub(super) fn has_in_tail(&self, number: u64) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.tail.covers(number))
    }

    /// Takes an entry of the queue with this number out of the tail, without reading it.
    pub(super) fn take_from_tail(&mut self, queue: u64, number: u64) -> Option<Entry> {
        let rest = self.rest.as_mut()?;
        if rest.tail.take(number, None) == Fate::Foreign {
            return None;
        }
        let entry = Entry::recovered(StreamId(queue), NonZeroU64::new(number)?);
        Some(Entry { change: rest.newest.clone(), ..entry })
    }

    /// Takes out the oldest delivery that stands behind the tail.
    pub(super) fn pop_behind(&mut self) -> Option<Queued> {
        self.rest.as_mut()?.pop_behind(u64::MAX)
    }

    /// Takes out everything that stands behind the tail, and forgets the tail.
    pub(super) fn take_behind(&mut self) -> impl Iterator<Item = Queued> + use<> {
        let rest = self.rest.take();
        rest.into_iter().flat_map(|rest| rest.behind).map(|(_, queued)| queued)
    }

    pub(super) fn put_behind_window(&mut self, queued: Queued) {
        match self.rest.as_mut().and_then(|rest| Some((rest.tail.last()?, rest))) {
            Some((last, rest)) if queued.entry.is_none() => rest.behind.push_back((last, queued)),
            _ => self.deliveries.push_back(queued),
        }
    }
}

impl Queue {
    /// Whether something of it is on the disk only.
    pub(crate) fn has_tail(&self) -> bool {
        self.has_tail.load(Ordering::Relaxed)
    }

    /// Puts a delivery behind everything: into memory, or nowhere because the disk has it.
    pub(super) fn put_last(&self, waiting: &mut Waiting, queued: Queued) {
        if !self.keep_on_disk(waiting, &queued) {
            let weight = queued.weight_bytes();
            waiting.bytes += weight;
            self.total.add(weight);
            waiting.put_behind_window(queued);
        }
    }

    /// Leaves a delivery to the tail where that is its place. Returns whether it was.
    pub(super) fn keep_on_disk(&self, waiting: &mut Waiting, queued: &Queued) -> bool {
        let number = waiting.number_on_disk(queued, &self.total);
        let Some((entry, number)) = queued.entry.as_ref().zip(number) else { return false };
        self.append_to_tail(waiting, entry, number, queued.weight_bytes());
        true
    }

    /// Leaves a delivery of this weight, which nobody has made yet, to the tail, where something is in there before it. Returns whether it was:
    /// if not, nothing has happened, and [`Queue::push`] says what is to.
    pub(crate) fn leave_on_disk(&self, entry: &Entry, weight: usize) -> bool {
        if !self.has_tail() {
            return false;
        }
        let (mut waiting, number) = (self.waiting.lock(), entry.number.get());
        // What goes before a backlog does not belong behind it.
        let is_behind = waiting.live.is_none() && waiting.tail_first().is_some_and(|first| number > first);
        if !is_behind || waiting.has_ended || !self.has_room_on_disk(&waiting, weight) {
            return false;
        }
        waiting.note_attempt();
        self.append_to_tail(&mut waiting, entry, number, weight);
        true
    }

    fn append_to_tail(&self, waiting: &mut Waiting, entry: &Entry, number: u64, weight: usize) {
        let before = waiting.on_disk();
        let rest = waiting.rest.get_or_insert_default();
        rest.tail.append(number, weight);
        rest.newest.clone_from(&entry.change);
        self.total.change_on_disk(before, rest.on_disk());
        self.has_tail.store(true, Ordering::Relaxed);
    }

    /// Gives up the oldest delivery of the tail for a newer one. Returns whether there was any.
    pub(super) fn give_up_on_disk(&self, waiting: &mut Waiting) -> bool {
        let before = waiting.on_disk();
        let is_given_up = waiting.give_up_oldest().is_some();
        self.total.change_on_disk(before, waiting.on_disk());
        is_given_up
    }

    /// So many entries between these two numbers are on the disk, since before the process began.
    pub(crate) fn keep_tail(&self, first: u64, last: u64, entries: u64, bytes: usize) {
        let mut waiting = self.waiting.lock();
        let before = waiting.on_disk();
        let rest = waiting.rest.get_or_insert_default();
        rest.tail = Tail::left_by_earlier(first, last, entries, bytes);
        self.total.change_on_disk(before, rest.on_disk());
        self.has_tail.store(true, Ordering::Relaxed);
    }

    /// A delivery that an earlier process has left and that nobody has read yet is settled. Returns whether it may be on the disk.
    pub(crate) fn settle_on_disk(&self, number: u64) -> bool {
        let mut waiting = self.waiting.lock();
        let Some(mut rest) = waiting.rest.take() else { return false };
        let before = rest.on_disk();
        let is_settled = rest.tail.settle_early(number);
        self.total.change_on_disk(before, rest.on_disk());
        self.put_rest(&mut waiting, rest);
        is_settled
    }

    /// What is to be read now; nothing while something is being read, and where enough is in memory.
    pub(crate) fn next_ask(&self) -> Option<Ask> {
        if !self.has_tail() {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let question = waiting.questions + 1;
        let ask = match waiting.wanted(&self.total) {
            Some(max) => self.ask_for_window(&mut waiting, question, max)?,
            None if waiting.held.is_empty() => waiting.rest.as_mut()?.next_look(question)?,
            None => return None,
        };
        waiting.questions = question;
        Some(ask)
    }

    fn ask_for_window(&self, waiting: &mut Waiting, question: u64, max: ReadMax) -> Option<Ask> {
        let rest = waiting.rest.as_mut()?;
        let ask = rest.tail.ask(question, max)?;
        let room = rest.room.insert(self.room());
        room.take(max.bytes.min(rest.tail.bytes()));
        Some(ask)
    }

    /// Takes in what was read: deliveries by their numbers, ascending; none where one could not be read.
    pub(crate) fn take_in(&self, ask: &Ask, entries: Vec<(u64, Option<Queued>)>) -> TakenIn {
        let mut waiting = self.waiting.lock();
        let mut taken = TakenIn::default();
        let Some(mut rest) = waiting.rest.take() else { return taken };
        if rest.tail.note_answer(ask) {
            rest.room = None;
            if !waiting.held.is_empty() {
                rest.tail.forget_answer();
                waiting.rest = Some(rest);
                return taken;
            }
            let before = rest.on_disk();
            let last = entries.last().map(|(number, _)| *number);
            for (number, queued) in entries {
                let fate = rest.tail.take(number, queued.as_ref().map(Queued::weight_bytes));
                match (fate, queued) {
                    (Fate::Foreign, _) => {}
                    (_, None) => taken.damaged.push(number),
                    (Fate::GivenUp, Some(queued)) => taken.given_up.push(queued),
                    (Fate::Waits, Some(queued)) => self.put_read(&mut waiting, &mut rest, number, queued),
                }
            }
            taken.missing = rest.tail.end_answer(ask, last);
            taken.is_fruitless = rest.tail.is_fruitless();
            self.total.change_on_disk(before, rest.on_disk());
        }
        self.put_rest(&mut waiting, rest);
        taken
    }

    /// Puts back what stands behind the window, as far as anything does.
    pub(super) fn put_rest(&self, waiting: &mut Waiting, mut rest: Box<Rest>) {
        if rest.tail.is_empty() {
            waiting.deliveries.extend(std::mem::take(&mut rest.behind).into_iter().map(|(_, queued)| queued));
        }
        match rest.is_over() {
            true => self.has_tail.store(false, Ordering::Relaxed),
            false => waiting.rest = Some(rest),
        }
    }

    fn put_read(&self, waiting: &mut Waiting, rest: &mut Rest, number: u64, queued: Queued) {
        while let Some(older) = rest.pop_behind(number) {
            waiting.deliveries.push_back(older);
        }
        let entry = queued.entry.map(|entry| Entry { change: rest.newest.clone(), ..entry });
        let queued = Queued { entry, ..queued };
        match queued.place == 0 || queued.group.is_some() {
            true => {
                let weight = queued.weight_bytes();
                waiting.bytes += weight;
                self.total.add(weight);
                waiting.deliveries.push_back(queued);
            }
            false => self.put(waiting, queued),
        }
    }
}

#[cfg(test)]
mod tests;

//! Requests that were taken and may not be acknowledged yet, because the disk does not have what was kept of them.
//!
//! ```text
//! request ──► Unanswered of its connection ── commit ──► place in the store ── progress ──► Connection::handle_answer
//!             (in the order of the requests)             (in the order of the places)
//! ```
//!
//! The place of a request is that of the change of its event. The storage rings when it has come further, and wakes only the workers that
//! wait for it. Each connection is answered in the order of its requests, so one that waits for more holds up those behind it, but never
//! another connection. Whoever ends meanwhile forgets what it was to be told. Where the topic says so a message has to have left the gateway
//! besides ([`Passage`]).

use super::{Shard, SlotKey};
use crate::passage::{Passage, Progress as Passed};
use crate::sessions::Holder;
use std::collections::VecDeque;
use std::time::Instant;
use tidegate_protocol::{Answer, Refusal};
use tidegate_storage::{Lsn, Progress, Urgency};

/// Requests of one connection that may be unanswered before nothing more is read from it, and acknowledgements that may wait in its
/// machine.
pub(super) const UNANSWERED_MAX: usize = 10_000;

/// What a connection is still to be told, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    runs: VecDeque<Run>,
    count: usize,
}

/// Requests of one event that wait for the same.
#[derive(Debug)]
struct Run {
    /// Nothing until the event is over.
    place: Option<Lsn>,
    urgency: Urgency,
    count: usize,
    /// What one request waits for besides.
    passage: Option<Passage>,
}

/// What many requests are told alike.
#[derive(Debug)]
struct Told {
    answer: Result<(), Refusal>,
    count: usize,
}

/// Who waits on this worker, and for what.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Those whose requests have no place yet.
    fresh: Vec<SlotKey>,
    /// By their place, ascending.
    written: VecDeque<(Lsn, SlotKey)>,
    synced: VecDeque<(Lsn, SlotKey)>,
    /// Those that something may be told.
    due: VecDeque<SlotKey>,
    progress: Progress,
    /// Whether it is to be looked how far the storage has come.
    is_to_look: bool,
    is_answering: bool,
}

impl Unanswered {
    /// Whether no more may be read that could ask for something.
    pub(super) fn are_too_many(&self) -> bool {
        self.count >= UNANSWERED_MAX
    }

    fn push(&mut self, urgency: Urgency, passage: Option<Passage>) {
        self.count += 1;
        let joins = |run: &Run| run.place.is_none() && run.urgency == urgency && run.passage.is_none();
        match self.runs.back_mut().filter(|run| passage.is_none() && joins(run)) {
            Some(run) => run.count += 1,
            None => self.runs.push_back(Run { place: None, urgency, count: 1, passage }),
        }
    }

    /// Gives the requests of this event their place. Returns what they wait for.
    fn place(&mut self, place: Lsn) -> impl Iterator<Item = Urgency> + '_ {
        let fresh = self.runs.iter_mut().rev().take_while(|run| run.place.is_none());
        fresh.map(move |run| {
            run.place = Some(place);
            run.urgency
        })
    }

    /// Takes from the front what can be told now.
    fn take(&mut self, progress: &Progress) -> Option<Told> {
        let run = self.runs.front()?;
        let answer = match run.place? {
            place if place <= reached(progress, run.urgency) => run.passed()?,
            _ if progress.is_failing => Err(Refusal::StoreFailing),
            _ => return None,
        };
        let run = self.runs.pop_front()?;
        self.count -= run.count;
        Some(Told { answer, count: run.count })
    }
}

impl Run {
    /// Whether its message has left the gateway, where that is waited for; nothing while it is not known.
    fn passed(&self) -> Option<Result<(), Refusal>> {
        match self.passage.as_ref().map_or(Passed::Arrived, Passage::progress) {
            Passed::UnderWay => None,
            Passed::Arrived => Some(Ok(())),
            Passed::GivenUp => Some(Err(Refusal::NotForwarded)),
        }
    }
}

impl Answers {
    /// Something was decided that this connection, if it is still there, waits for.
    pub(super) fn call(&mut self, holder: Holder) {
        self.due.push_back(SlotKey { slot: holder.slot, connection: holder.connection });
        self.look();
    }

    /// The storage may have come further.
    pub(super) fn look(&mut self) {
        self.is_to_look = true;
    }

    /// Whether somebody waits for the place of this event.
    pub(super) fn are_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    fn is_waiting(&self) -> bool {
        !self.written.is_empty() || !self.synced.is_empty()
    }

    /// Finds those that something can be told.
    fn note_progress(&mut self, progress: Progress) {
        self.progress = progress;
        for (waiting, urgency) in [(&mut self.written, Urgency::Written), (&mut self.synced, Urgency::Synced)]
        {
            let up_to = if progress.is_failing { Lsn(u64::MAX) } else { reached(&progress, urgency) };
            while let Some((_, key)) = waiting.pop_front_if(|(place, _)| *place <= up_to) {
                self.due.push_back(key);
            }
        }
    }
}

/// How far what is waited for has come.
fn reached(progress: &Progress, urgency: Urgency) -> Lsn {
    match urgency {
        Urgency::Lazy | Urgency::Written => progress.written,
        Urgency::Synced => progress.synced,
    }
}

impl Shard {
    /// When a request of this connection may be acknowledged for which so much has to be waited.
    #[inline]
    pub(super) fn answer_after(&mut self, slot: usize, urgency: Urgency) -> Answer {
        match urgency == Urgency::Lazy || self.node.keeper.is_none() {
            true => Answer::Now,
            false => self.answer_later(slot, urgency, None),
        }
    }

    /// The same for a message that may have to leave the gateway first.
    pub(super) fn answer_behind(
        &mut self,
        slot: usize,
        urgency: Urgency,
        passage: Option<Passage>,
    ) -> Answer {
        match passage.filter(Passage::is_watching) {
            None => self.answer_after(slot, urgency),
            passage => self.answer_later(slot, urgency, passage),
        }
    }

    #[inline(never)]
    fn answer_later(&mut self, slot: usize, urgency: Urgency, passage: Option<Passage>) -> Answer {
        let Some(here) = self.slots.get_mut(slot) else { return Answer::Now };
        let key = SlotKey { slot, connection: here.connection };
        here.unanswered.get_or_insert_default().push(urgency, passage);
        self.keeping.urgency = self.keeping.urgency.max(urgency);
        if self.answers.fresh.last() != Some(&key) {
            self.answers.fresh.push(key);
        }
        Answer::Later
    }

    /// The changes of this event have this place, and so have the requests that wait for it.
    pub(super) fn place_requests(&mut self, place: Lsn) {
        for key in self.answers.fresh.drain(..) {
            let open = self.slots.get_mut(key.slot).filter(|slot| slot.connection == key.connection);
            let Some(unanswered) = open.and_then(|slot| slot.unanswered.as_mut()) else { continue };
            for urgency in unanswered.place(place) {
                match urgency {
                    Urgency::Lazy | Urgency::Written => self.answers.written.push_back((place, key)),
                    Urgency::Synced => self.answers.synced.push_back((place, key)),
                }
            }
        }
        self.answers.look();
    }

    /// Tells connections what has become of their requests, as far as that is known.
    pub(super) fn answer_requests(&mut self, now: Instant) {
        // A connection that ends because of its answer comes by here again.
        if self.answers.is_answering || !self.answers.is_to_look {
            return;
        }
        self.answers.is_answering = true;
        let mut away = VecDeque::new();
        while let Some(key) = self.next_to_answer() {
            match self.is_machine_away(key) {
                true => away.push_back(key),
                false => self.answer(key, now),
            }
        }
        self.answers.is_answering = false;
        self.answers.is_to_look = !away.is_empty();
        self.answers.due = away;
    }

    /// Whether a connection is in the middle of its own input, as one is that has just ended another connection. Its turn comes behind that.
    fn is_machine_away(&self, key: SlotKey) -> bool {
        self.is_open(key) && self.slots.get(key.slot).is_some_and(|slot| slot.machine.is_none())
    }

    fn next_to_answer(&mut self) -> Option<SlotKey> {
        let answers = &mut self.answers;
        if answers.due.is_empty() && std::mem::take(&mut answers.is_to_look) && answers.is_waiting() {
            let keeper = self.node.keeper.as_ref()?;
            let mailbox = self.node.mailboxes.get(usize::from(self.worker))?;
            // First: what the storage reaches behind the question makes it ring.
            mailbox.ring_for_storage();
            answers.note_progress(keeper.storage().progress());
            if !answers.is_waiting() && self.keeping.holding.is_empty() {
                mailbox.do_not_ring_for_storage();
            }
        }
        answers.due.pop_front()
    }

    /// Tells one connection what can be told now.
    fn answer(&mut self, key: SlotKey, now: Instant) {
        let progress = self.answers.progress;
        let Some(here) = self.slots.get_mut(key.slot).filter(|slot| slot.connection == key.connection) else {
            return;
        };
        let was_owed_too_much = here.is_owed_too_much();
        let Some(unanswered) = &mut here.unanswered else { return };
        let told: Vec<Told> = std::iter::from_fn(|| unanswered.take(&progress)).collect();
        if told.is_empty() {
            return;
        }
        let handled = self.with_machine(key.slot, now, |machine, context| {
            let mut answers = told.iter().flat_map(|told| std::iter::repeat_n(told.answer, told.count));
            answers.try_for_each(|answer| machine.handle_answer(answer, context))
        });
        match handled {
            Some(Err(close)) => self.close(key, &close, now),
            _ => self.finish_event(Some(key.slot), now),
        }
        let still_open = self.slots.get_mut(key.slot).filter(|slot| slot.connection == key.connection);
        let read_again = still_open.filter(|slot| was_owed_too_much && !slot.is_owed_too_much());
        if let Some(outlet) = read_again.and_then(|slot| slot.outlet.as_mut()) {
            outlet.resume();
        }
    }
}

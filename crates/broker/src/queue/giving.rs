//! What gives way on a full disk: of the deliveries that are kept, those that have waited longest.
//!
//! First they are looked at, by the numbers of their entries, and taken out when it is known that they are enough. What a peer may have
//! stays, and so does what is not kept, because the disk gains nothing by it. Of the tail of a long queue only the numbers are known, and the
//! store knows what each takes: so it can go without being read, where nobody needs the message any more.

use super::{Queue, Waiting};
use crate::entry::Entry;
use crate::queued::Queued;
use tidegate_storage::{Storage, StreamId};

/// An entry that can give way, and about how many bytes of the store are its.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Oldest {
    stream: StreamId,
    number: u64,
    pub(crate) bytes: u64,
}

/// What has given way.
#[derive(Debug, Default)]
pub(crate) struct GivenWay {
    /// What was in memory.
    pub(crate) deliveries: Vec<Queued>,
    /// What was on the disk only.
    pub(crate) on_disk: Vec<Entry>,
}

impl GivenWay {
    pub(crate) fn len(&self) -> usize {
        self.deliveries.len() + self.on_disk.len()
    }
}

/// How much of a queue may give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What is in memory.
    Window,
    /// What is on the disk only as well.
    Tail,
}

impl Waiting {
    /// Deliveries in memory that stand in front and may be dropped, the oldest first.
    fn droppable(&self) -> impl Iterator<Item = &Queued> {
        let (kept, _) = self.kept();
        let before = self.tail_first().unwrap_or(u64::MAX);
        let grouped = self.grouped.iter().flat_map(move |grouped| grouped.before(before));
        self.deliveries.iter().skip(kept).chain(grouped)
    }

    fn take_kept(&mut self, oldest: Oldest) -> Option<Queued> {
        let is_it = |queued: &Queued| {
            let entry = queued.entry.as_ref();
            entry.is_some_and(|entry| entry.stream == oldest.stream && entry.number.get() == oldest.number)
        };
        let (kept, _) = self.kept();
        if let Some(at) = self.deliveries.iter().skip(kept).position(is_it) {
            return self.deliveries.remove(kept + at);
        }
        self.grouped.as_mut()?.take_first(is_it)
    }
}

impl Queue {
    /// Up to so many entries that may give way, the oldest first.
    pub(crate) fn oldest_kept(&self, storage: &dyn Storage, count: usize, depth: Depth) -> Vec<Oldest> {
        let (entries, tail_first) = {
            let mut waiting = self.waiting.lock();
            self.put_live_behind(&mut waiting);
            let entries = waiting.droppable().filter_map(|queued| queued.entry.as_ref());
            let entries: Vec<_> =
                entries.take(count).map(|entry| (entry.stream, entry.number.get())).collect();
            (entries, waiting.tail_first())
        };
        let in_memory = entries.into_iter().filter_map(|(stream, number)| {
            let (_, bytes) =
                storage.costs(stream, number, 1).into_iter().find(|(found, _)| *found == number)?;
            Some(Oldest { stream, number, bytes })
        });
        let mut oldest: Vec<Oldest> = in_memory.collect();
        let mut from = tail_first.filter(|_| depth == Depth::Tail);
        while let Some(number) = from.filter(|_| oldest.len() < count) {
            let stream = StreamId(self.id);
            let found = storage.costs(stream, number, count);
            from = found.last().and_then(|(last, _)| last.checked_add(1));
            let waiting = self.waiting.lock();
            let found = found.into_iter().filter(|(number, _)| waiting.has_in_tail(*number));
            oldest.extend(found.map(|(number, bytes)| Oldest { stream, number, bytes }));
        }
        oldest
    }

    /// Takes these out, as far as they are still there.
    pub(crate) fn give_way(&self, oldest: &[Oldest]) -> GivenWay {
        let mut waiting = self.waiting.lock();
        let (mut given, before) = (GivenWay::default(), waiting.on_disk());
        for oldest in oldest {
            match waiting.take_kept(*oldest) {
                Some(queued) => {
                    self.forget(&mut waiting, &queued);
                    given.deliveries.push(queued);
                }
                None => given.on_disk.extend(waiting.take_from_tail(self.id, oldest.number)),
            }
        }
        self.total.change_on_disk(before, waiting.on_disk());
        if let Some(rest) = waiting.rest.take() {
            self.put_rest(&mut waiting, rest);
        }
        given
    }
}

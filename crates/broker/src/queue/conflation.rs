//! Of what waits, only the newest message of each topic is left: what becomes of a long queue where its disk or its own limit is full, and
//! the last values are worth more than those before them.
//!
//! What is in memory is looked through from the newest delivery to the oldest one. What is on the disk only is looked at from the oldest to
//! the newest, a portion at a time, by the thread that reads (`reading.rs`); of each topic a name of a few bytes, its newest number and
//! its weight are remembered, and nothing of its messages. As long as the queue has anything on the disk only, the next look goes on where
//! the last one has ended: so each delivery is looked at once, however often there is no room.
//!
//! What may be with a consumer already stays, and so do messages of topics that nobody wants to be treated so. What is kept in the store
//! gives way only to what is kept as well.

use super::tail::Ask;
use super::window::Rest;
use super::{Queue, Waiting};
use crate::budget::Room;
use crate::queued::Queued;
use crate::topic_policy::TopicTerms;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::LazyLock;
use tidegate_message::Topic;
use tidegate_storage::ReadMax;

/// What is looked at at a time.
const LOOK: ReadMax = ReadMax { entries: 1024, bytes: 1 << 20 };
/// Topics of one queue that are told apart, and for how many memory is taken at a time.
const TOPICS: usize = 1 << 18;
const TOPICS_AT_A_TIME: usize = 1 << 10;
/// What one topic takes, with what its table has in reserve.
const TOPIC_BYTES: usize = 2 * size_of::<(TopicKey, Newest)>();
/// After how many attempts what is in memory is looked through again: a part of how many deliveries that are.
const ATTEMPTS_SHARE: usize = 16;

/// So many deliveries in memory are looked through for each one that finds the queue full.
const LOOKED_THROUGH_AT_ONCE: usize = 1024;

/// Names a topic in eight bytes, which nobody outside can choose: of two topics with the same ones the older message would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TopicKey(u64);

impl TopicKey {
    pub(crate) fn of(topic: &Topic) -> TopicKey {
        static SEED: LazyLock<std::hash::RandomState> = LazyLock::new(Default::default);
        TopicKey(SEED.hash_one(topic.as_str()))
    }
}

/// Which topics this is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Those whose policy says so.
    ByPolicy,
    /// All.
    Everything,
}

/// The same with the policies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lens<'a> {
    ByPolicy(&'a TopicTerms),
    Everything,
}

impl<'a> Lens<'a> {
    pub(crate) fn new(scope: Scope, terms: &'a TopicTerms) -> Lens<'a> {
        match scope {
            Scope::ByPolicy => Lens::ByPolicy(terms),
            Scope::Everything => Lens::Everything,
        }
    }

    fn scope(self) -> Scope {
        match self {
            Lens::ByPolicy(_) => Scope::ByPolicy,
            Lens::Everything => Scope::Everything,
        }
    }

    /// How a topic is named; nothing where its messages are left alone.
    pub(crate) fn key(self, topic: &Topic) -> Option<TopicKey> {
        let is_meant = match self {
            Lens::ByPolicy(terms) => terms.keeps_last(topic),
            Lens::Everything => true,
        };
        is_meant.then(|| TopicKey::of(topic))
    }
}

/// An entry that was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    /// Its topic and what it weighs; nothing where it is left alone.
    pub(crate) value: Option<(TopicKey, usize)>,
}

/// What was thrown away because something newer waits.
#[derive(Debug, Default)]
pub(crate) struct Superseded {
    /// What was in memory.
    pub(crate) queued: Vec<Queued>,
    /// The numbers of what was on the disk only, ascending.
    pub(crate) on_disk: Vec<u64>,
    on_disk_bytes: usize,
}

impl Superseded {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.queued.len() + self.on_disk.len()
    }

    /// What gives room back in the store, as it would weigh in memory.
    pub(crate) fn kept_bytes(&self) -> usize {
        let kept = self.queued.iter().filter(|queued| queued.entry.is_some());
        self.on_disk_bytes + kept.map(Queued::weight_bytes).sum::<usize>()
    }
}

/// The newest delivery of a topic on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Newest {
    number: u64,
    weight: u32,
}

/// What is known of the part of a queue that is on the disk only.
#[derive(Debug)]
pub(super) struct LastValues {
    scope: Scope,
    newest: HashMap<TopicKey, Newest, RandomState>,
    /// Everything up to this number was looked at, and is to be up to the other one.
    seen: u64,
    wanted: u64,
    room: Room,
}

impl LastValues {
    fn new(scope: Scope, room: Room) -> LastValues {
        LastValues { scope, newest: HashMap::default(), seen: 0, wanted: 0, room }
    }

    /// Whether there is something to look at.
    fn is_looking(&self) -> bool {
        self.seen < self.wanted
    }

    /// Takes notice of a delivery. Returns that one of two that something newer has made worthless. Where there is no memory for one more topic
    /// its deliveries are left alone.
    fn note(&mut self, key: TopicKey, newest: Newest) -> Option<Newest> {
        if let Some(known) = self.newest.get_mut(&key) {
            let older = if known.number < newest.number { std::mem::replace(known, newest) } else { newest };
            return (older.number != known.number).then_some(older);
        }
        if self.has_memory() {
            self.newest.insert(key, newest);
        }
        None
    }

    fn has_memory(&mut self) -> bool {
        let count = self.newest.len();
        let is_used_up = self.room.bytes() / TOPIC_BYTES <= count;
        count < TOPICS && (!is_used_up || self.room.claim(TOPICS_AT_A_TIME * TOPIC_BYTES).is_ok())
    }

    /// Whether the disk has something newer of a topic.
    fn has_newer(&self, key: TopicKey, number: u64) -> bool {
        self.newest.get(&key).is_some_and(|newest| newest.number > number)
    }
}

/// One look through what is in memory, from the newest delivery on.
struct Pass<'a> {
    lens: Lens<'a>,
    on_disk: Option<&'a LastValues>,
    seen: HashSet<TopicKey, RandomState>,
    seen_kept: HashSet<TopicKey, RandomState>,
}

impl<'a> Pass<'a> {
    fn new(lens: Lens<'a>, rest: Option<&'a Rest>) -> Pass<'a> {
        let on_disk = rest.and_then(|rest| rest.last_values.as_deref());
        Pass { lens, on_disk, seen: HashSet::default(), seen_kept: HashSet::default() }
    }

    /// Takes notice of one that is newer than everything.
    fn see(&mut self, queued: &Queued) {
        let key = TopicKey::of(&queued.message.topic);
        self.seen.insert(key);
        if queued.entry.is_some() {
            self.seen_kept.insert(key);
        }
    }

    fn is_superseded(&mut self, queued: &Queued) -> bool {
        let Some(key) = self.lens.key(&queued.message.topic).filter(|_| !queued.may_be_under_way()) else {
            return false;
        };
        let is_seen = !self.seen.insert(key);
        match &queued.entry {
            None => is_seen,
            Some(entry) => {
                let number = entry.number.get();
                !self.seen_kept.insert(key) || self.on_disk.is_some_and(|found| found.has_newer(key, number))
            }
        }
    }

    /// The places of those that something newer has made worthless, the newest first.
    fn superseded(&mut self, deliveries: &VecDeque<Queued>) -> Vec<usize> {
        let newest_first = deliveries.iter().enumerate().rev();
        newest_first.filter(|(_, queued)| self.is_superseded(queued)).map(|(at, _)| at).collect()
    }
}

/// Takes deliveries out at these places, the last one first.
fn take_out(deliveries: &mut VecDeque<Queued>, mut places: Vec<usize>, gone: &mut Vec<Queued>) {
    if places.is_empty() {
        return;
    }
    for (at, queued) in std::mem::take(deliveries).into_iter().enumerate() {
        match places.pop_if(|next| *next == at) {
            Some(_) => gone.push(queued),
            None => deliveries.push_back(queued),
        }
    }
}

impl Queued {
    /// Whether somebody may have it, or a group has given it to this queue: then it is not for the queue to throw it away.
    fn may_be_under_way(&self) -> bool {
        self.tag.is_some() || self.group.is_some()
    }
}

impl Waiting {
    /// One more delivery comes, or finds no room.
    pub(super) fn note_attempt(&mut self) {
        self.attempts_left = self.attempts_left.saturating_sub(1);
    }

    /// Throws away what is in memory and was made worthless, by this one too if there is one.
    fn conflate_memory(&mut self, lens: Lens<'_>, arriving: Option<&Queued>) -> Vec<Queued> {
        let mut pass = Pass::new(lens, self.rest.as_deref());
        arriving.into_iter().for_each(|arriving| pass.see(arriving));
        let mut gone = Vec::new();
        let places = pass.superseded(&self.deliveries);
        take_out(&mut self.deliveries, places, &mut gone);
        if let Some(grouped) = &mut self.grouped {
            gone.extend(grouped.take_out(|queued| pass.is_superseded(queued)));
        }
        gone
    }

    /// What is in memory and becomes worthless when this one comes: how many deliveries, and what they weigh.
    fn superseded_by(&self, arriving: &Queued) -> (usize, usize) {
        let mut pass = Pass::new(Lens::Everything, self.rest.as_deref());
        pass.see(arriving);
        let grouped = self.grouped.iter().flat_map(|grouped| grouped.newest_first());
        let all = self.deliveries.iter().rev().chain(grouped);
        let superseded = all.filter(|queued| pass.is_superseded(queued));
        superseded.fold((0, 0), |(count, bytes), queued| (count + 1, bytes + queued.weight_bytes()))
    }

    /// Takes out what is in memory of one topic and kept.
    fn take_topic(&mut self, topic: &Topic) -> Vec<Queued> {
        let is_meant = |queued: &Queued| {
            queued.entry.is_some() && !queued.may_be_under_way() && queued.message.topic == *topic
        };
        let newest_first = self.deliveries.iter().enumerate().rev();
        let places = newest_first.filter(|(_, queued)| is_meant(queued)).map(|(at, _)| at).collect();
        let mut gone = Vec::new();
        take_out(&mut self.deliveries, places, &mut gone);
        let grouped = self.grouped.as_mut();
        gone.extend(grouped.into_iter().flat_map(|grouped| grouped.take_out(is_meant)));
        gone
    }

    /// What waits in memory of one topic and is kept weighs.
    fn topic_bytes(&self, topic: &Topic) -> usize {
        let grouped = self.grouped.iter().flat_map(|grouped| grouped.newest_first());
        let all = self.deliveries.iter().chain(grouped).filter(|queued| queued.message.topic == *topic);
        let meant = all.filter(|queued| queued.entry.is_some() && !queued.may_be_under_way());
        meant.map(Queued::weight_bytes).sum()
    }
}

impl Rest {
    /// Has what is on the disk only looked at, as far as that has not been done.
    fn want_look(&mut self, scope: Scope, room: impl FnOnce() -> Room) {
        let Some(last) = self.tail.last() else { return };
        // What was looked at for some topics has to be looked at again for all.
        let known = self.last_values.take_if(|known| known.scope >= scope);
        let known =
            self.last_values.insert(known.unwrap_or_else(|| Box::new(LastValues::new(scope, room()))));
        known.wanted = last;
    }

    /// What is to be looked at next; nothing where something is being read, or everything that is wanted was looked at.
    pub(super) fn next_look(&mut self, question: u64) -> Option<Ask> {
        let known = self.last_values.as_deref().filter(|known| known.is_looking())?;
        if self.tail.has_given_up() {
            return None;
        }
        self.tail.ask_to_look(question, known.seen, LOOK, known.scope)
    }

    /// The newest of a topic that is on the disk only, as far as that is known.
    fn newest(&self, key: TopicKey) -> Option<Newest> {
        let newest = self.last_values.as_ref()?.newest.get(&key)?;
        (self.tail.contains(newest.number) && !self.tail.has_given_up()).then_some(*newest)
    }

    fn throw_away(&mut self, mut older: Vec<Newest>, gone: &mut Superseded) {
        older.retain(|older| self.tail.contains(older.number));
        older.sort_unstable_by_key(|older| older.number);
        gone.on_disk_bytes = older.iter().map(|older| older.weight as usize).sum();
        gone.on_disk = older.iter().map(|older| older.number).collect();
        self.tail.throw_away(&gone.on_disk, gone.on_disk_bytes);
    }

    /// Takes in what was looked at. Returns whether that was the last of it.
    fn take_in_look(&mut self, ask: &Ask, seen: &[Seen], gone: &mut Superseded) -> bool {
        let numbers: Vec<u64> = seen.iter().map(|seen| seen.number).collect();
        self.tail.resolve(ask.from, &numbers);
        let Some(known) = self.last_values.as_deref_mut() else { return false };
        known.seen = numbers.last().copied().unwrap_or(known.wanted);
        let mine = seen.iter().filter(|seen| self.tail.contains(seen.number));
        let valued = mine.filter_map(|seen| seen.value.map(|value| (seen.number, value)));
        let older = valued.filter_map(|(number, (key, weight))| {
            known.note(key, Newest { number, weight: u32::try_from(weight).unwrap_or(u32::MAX) })
        });
        let older = older.collect();
        let is_over = !known.is_looking();
        self.throw_away(older, gone);
        is_over
    }
}

impl Queue {
    /// There is no room for one more: throws away what is in memory and was made worthless, and has what is on the disk only looked at. Not for
    /// each attempt, so that a queue in which every topic is another one costs little.
    pub(crate) fn conflate(&self, lens: Lens<'_>) -> Superseded {
        let mut waiting = self.waiting.lock();
        if waiting.attempts_left > 0 {
            waiting.note_attempt();
            return Superseded::default();
        }
        self.reduce(&mut waiting, lens)
    }

    /// As [`Queue::conflate`], each time: for whoever does not ask again and again.
    pub(crate) fn conflate_now(&self, lens: Lens<'_>) -> Superseded {
        self.reduce(&mut self.waiting.lock(), lens)
    }

    fn reduce(&self, waiting: &mut Waiting, lens: Lens<'_>) -> Superseded {
        self.put_live_behind(waiting);
        if let Some(rest) = &mut waiting.rest {
            rest.want_look(lens.scope(), || self.room());
        }
        let queued = waiting.conflate_memory(lens, None);
        waiting.attempts_left = waiting.in_memory() / ATTEMPTS_SHARE;
        queued.iter().for_each(|queued| self.forget(waiting, queued));
        Superseded { queued, ..Superseded::default() }
    }

    /// There is no room in the queue for one more: throws away what it makes worthless, and what was before, if there is room then. `fits` says
    /// whether so many deliveries fewer in memory, of such weight, leave room. What is on the disk only is looked at.
    pub(super) fn give_way_to(
        &self,
        waiting: &mut Waiting,
        arriving: &Queued,
        fits: impl FnOnce(&Waiting, usize, usize) -> bool,
    ) -> Option<Vec<Queued>> {
        if waiting.attempts_left > 0 {
            return None;
        }
        waiting.attempts_left = waiting.in_memory().saturating_sub(LOOKED_THROUGH_AT_ONCE) / ATTEMPTS_SHARE;
        if let Some(rest) = &mut waiting.rest {
            rest.want_look(Scope::Everything, || self.room());
        }
        let (count, bytes) = waiting.superseded_by(arriving);
        if !fits(waiting, count, bytes) {
            return None;
        }
        let gone = waiting.conflate_memory(Lens::Everything, Some(arriving));
        gone.iter().for_each(|queued| self.forget(waiting, queued));
        Some(gone)
    }

    /// Takes in what was looked at of what is on the disk only.
    pub(crate) fn take_in_look(&self, ask: &Ask, seen: &[Seen], lens: Lens<'_>) -> Superseded {
        let (mut waiting, mut gone) = (self.waiting.lock(), Superseded::default());
        let before = waiting.on_disk();
        let is_held = !waiting.held.is_empty();
        let Some(rest) = waiting.rest.as_deref_mut() else { return gone };
        let is_of_use = rest.tail.note_look(ask) && !is_held && !rest.tail.has_given_up();
        if is_of_use && rest.take_in_look(ask, seen, &mut gone) {
            gone.queued = waiting.conflate_memory(lens, None);
            gone.queued.iter().for_each(|queued| self.forget(&mut waiting, queued));
        }
        self.note_thrown_away(&mut waiting, before);
        gone
    }

    /// What a message of this topic would give room for that takes the place of those before it.
    pub(crate) fn bytes_before(&self, topic: &Topic) -> usize {
        let waiting = self.waiting.lock();
        let newest = waiting.rest.as_ref().and_then(|rest| rest.newest(TopicKey::of(topic)));
        waiting.topic_bytes(topic) + newest.map_or(0, |newest| newest.weight as usize)
    }

    /// Throws away what a message of this topic takes the place of.
    pub(crate) fn take_before(&self, topic: &Topic) -> Superseded {
        let (mut waiting, mut gone) = (self.waiting.lock(), Superseded::default());
        let before = waiting.on_disk();
        gone.queued = waiting.take_topic(topic);
        gone.queued.iter().for_each(|queued| self.forget(&mut waiting, queued));
        if let Some(rest) = &mut waiting.rest {
            let newest = rest.newest(TopicKey::of(topic));
            rest.throw_away(newest.into_iter().collect(), &mut gone);
        }
        self.note_thrown_away(&mut waiting, before);
        gone
    }

    fn note_thrown_away(&self, waiting: &mut Waiting, before: (usize, usize)) {
        self.total.change_on_disk(before, waiting.on_disk());
        if let Some(rest) = waiting.rest.take() {
            self.put_rest(waiting, rest);
        }
    }
}

#[cfg(test)]
mod tests;

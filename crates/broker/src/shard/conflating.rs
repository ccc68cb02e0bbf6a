//! A full disk, where the policy of a topic has its newest message take the place of those before it; and full queues that do the same
//! (`queue/conflation.rs`).
//!
//! On a full disk in three steps. What has no room has the queues of its receivers looked through: what was made worthless there already goes, in memory
//! at once and on the disk as soon as the reader has looked. Then it is taken if that, or what it takes the place of itself, makes up for
//! it; like any message that others give way for it goes into what the store holds in reserve. And only when it is written, and in the same
//! change, goes what it takes the place of: so nobody loses a last value for a message that was refused in the end.

use super::Shard;
use super::burying::Death;
use super::publication::Publication;
use crate::Overflow;
use crate::queue::{Aim, Lens, Queue, Superseded};
use crate::reading::{Asker, Looked};
use crate::route::{Route, RouteEntry};
use crate::topic_policy::DiskFull;
use smallvec::SmallVec;
use std::sync::Arc;
use tidegate_protocol::Refusal;
use tidegate_storage::StreamId;

impl RouteEntry {
    fn asker(&self) -> Asker {
        match &self.shared {
            Some(shared) => Asker::Group(shared.group.clone()),
            None => Asker::Own(self.queue.clone()),
        }
    }
}

impl Asker {
    fn conflate(&self, lens: Lens<'_>) -> Superseded {
        match self {
            Asker::Own(queue) => queue.conflate(lens),
            Asker::Group(group) => group.conflate(lens),
        }
    }
}

impl Shard {
    /// Whoever keeps a message.
    pub(super) fn keepers_of(route: &Route, publication: &Publication<'_>) -> SmallVec<[RouteEntry; 4]> {
        let keepers = route.receivers_known().filter(|(receiver, _)| receiver.keeps(publication));
        keepers.map(|(receiver, _)| receiver.clone()).collect()
    }

    /// There is no room on the disk for a message. Throws away what something newer has made worthless with those who keep it; returns whether
    /// that, and what it takes the place of, makes up for it. It may be half as large again as the latter: values differ in length.
    pub(super) fn conflate_on_disk(&mut self, route: &Route, publication: &Publication<'_>) -> bool {
        let terms = self.node.router.topic_terms();
        let lens = Lens::ByPolicy(&terms);
        let (mut freed, mut before) = (0, 0);
        for receiver in Shard::keepers_of(route, publication) {
            let asker = receiver.asker();
            let superseded = asker.conflate(lens);
            freed += superseded.kept_bytes();
            before += receiver.queue.bytes_before(&route.topic);
            self.give_up_superseded(&asker, &superseded);
        }
        freed + before + before / 2 >= publication.queued_bytes()
    }

    /// A message is written for these who keep it: where the disk is full and its policy says so, in the place of those before it.
    pub(super) fn replace_on_disk(&mut self, route: &Route, publication: &Publication<'_>) {
        if route.policy.disk_full != DiskFull::KeepLast
            || self.check_store(Some(publication.queued_bytes())) != Err(Refusal::StoreFull)
        {
            return;
        }
        for receiver in Shard::keepers_of(route, publication) {
            let superseded = match &receiver.shared {
                Some(shared) => shared.group.take_before(&route.topic),
                None => receiver.queue.take_before(&route.topic),
            };
            self.give_up_superseded(&receiver.asker(), &superseded);
        }
    }

    /// What becomes of what gives way in a queue that is full, but for named queues.
    pub(super) fn giving_way(&self) -> Death {
        match self.limits.queue_overflow {
            Overflow::KeepLast => Death::Superseded,
            Overflow::DropOldest | Overflow::DropNewest | Overflow::Disconnect => Death::Overflow,
        }
    }

    /// A queue has no room for a message of a batch. Throws away what something newer has made worthless, where full queues do that.
    pub(super) fn conflate_full(&mut self, receiver: &RouteEntry) {
        if self.limits.queue_overflow == Overflow::KeepLast {
            let asker = receiver.asker();
            let superseded = asker.conflate(Lens::Everything);
            self.give_up_superseded(&asker, &superseded);
        }
    }

    /// A consumer wants of what waits for it the last values only. What is on the disk is looked at as far as that has not been done before.
    pub(super) fn keep_last_values(&mut self, queue: Arc<Queue>) {
        let superseded = queue.conflate_now(Lens::Everything);
        self.give_up_superseded(&Asker::Own(queue), &superseded);
    }

    /// Takes in what was looked at of a queue.
    pub(super) fn take_looked(&mut self, asker: Asker, looked: &Looked) {
        let Aim::Conflation(scope) = looked.ask.aim else { return };
        let terms = self.node.router.topic_terms();
        let lens = Lens::new(scope, &terms);
        let superseded = match &asker {
            Asker::Own(queue) => queue.take_in_look(&looked.ask, &looked.seen, lens),
            Asker::Group(group) => group.take_in_look(looked, lens),
        };
        self.give_up_superseded(&asker, &superseded);
        self.asking.push(asker);
    }

    /// Settles and counts what was made worthless. Not as dead letters: something newer has come in its place.
    fn give_up_superseded(&mut self, asker: &Asker, superseded: &Superseded) {
        self.settle_entries(&superseded.queued);
        self.settle_numbers(asker.queue(), &superseded.on_disk);
        self.metrics.count_dropped("superseded", superseded.len());
        match asker {
            Asker::Own(queue) => self.read_ahead(queue),
            Asker::Group(group) => self.read_ahead_in(group),
        }
        if !superseded.on_disk.is_empty() {
            self.wake_for(asker);
        }
    }

    /// What a consumer waits for may not have to be read any more.
    fn wake_for(&mut self, asker: &Asker) {
        match asker {
            Asker::Own(queue) => self.wake_anywhere(queue),
            Asker::Group(group) => self.offer(group),
        }
    }

    /// Settles entries that were read from the store, and so were handed over.
    fn settle_numbers(&mut self, queue: &Arc<Queue>, numbers: &[u64]) {
        let stream = StreamId(queue.id);
        numbers.iter().for_each(|number| self.keeping.settle_number(stream, *number));
    }
}

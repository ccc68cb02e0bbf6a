//! The sessions come back: their queues, what they have subscribed, what their protocols have saved, their wills.
//!
//! One pass over the entries is enough, because a session's own entry stands before those of its things.

use super::contents::PRESUMED_MAX;
use super::{LastConsumer, Recovery, RecoveryError, session_key};
use crate::access::Clearance;
use crate::filters::Share;
use crate::group::{GroupName, Member};
use crate::queue::Queue;
use crate::reply;
use crate::route::{Grant, Subscription};
use crate::sessions::{HeldWill, Restored, SessionKey};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use tidegate_storage::record::{
    Description, SavedPart, SavedRecord, SessionNote, SessionPhase, SessionRecord, SubscriptionRecord,
    WillRecord,
};
use tidegate_storage::{Damaged, Entry, StreamId};

/// What was read so far, by the numbers of the sessions' queues.
#[derive(Default)]
struct Read {
    sessions: HashMap<u64, Restored, RandomState>,
    by_key: HashMap<SessionKey, u64, RandomState>,
    /// Wills whose sessions ended with the process.
    left: Vec<(u64, HeldWill)>,
}

impl Recovery<'_> {
    pub(super) fn recover_sessions(&mut self) -> Result<(), RecoveryError> {
        let mut read = Read::default();
        self.for_each_entry(StreamId::SESSIONS, |recovery, entry| {
            recovery.take_description(entry, &mut read)
        })?;
        let now = self.now;
        for mut restored in read.sessions.into_values() {
            self.found.sessions += 1;
            if let SessionPhase::Attached = restored.phase {
                restored.give_up(now);
                self.note_given_up(&restored);
            }
            self.node.sessions.restore(restored);
        }
        for (queue, will) in read.left {
            self.node.sessions.leave_will(will, queue, now);
        }
        Ok(())
    }

    fn take_description(&mut self, entry: &Entry, read: &mut Read) -> Result<(), Damaged> {
        let number = NonZeroU64::new(entry.number).ok_or(Damaged)?;
        match Description::read(&entry.body)? {
            Description::Session(record) => {
                self.take_session(number, record, SessionNote::read(&entry.note)?, read);
            }
            Description::Subscription(record) => self.take_subscription(number, &record, read),
            Description::Saved(record) => self.take_saved(number, record, read),
            Description::Will(record) => self.take_will(number, *record, read),
        }
        Ok(())
    }

    fn take_session(
        &mut self,
        number: NonZeroU64,
        record: SessionRecord,
        note: SessionNote,
        read: &mut Read,
    ) {
        self.note_id(record.queue);
        let Some(key) = session_key(self.node, &record.protocol, &record.client_id) else {
            self.found.foreign_sessions += 1;
            self.foreign.insert(record.queue);
            return;
        };
        // The end of an earlier session of this name, on another worker, did not reach the disk before the beginning of this one.
        if let Some(superseded) = read.by_key.insert(key.clone(), record.queue) {
            self.end_superseded(superseded, read);
        }
        let SessionNote { identity, expiry, credit, settlement, limits, wants_publisher, phase } = note;
        let was_attached = phase == SessionPhase::Attached;
        let queue = self.queue(record.queue, Some(LastConsumer { credit, settlement, was_attached }));
        queue.set_identity(identity);
        queue.set_survives(true);
        queue.set_limits(limits);
        queue.set_wants_publisher(wants_publisher);
        let (ends_at, will_at) = match phase {
            SessionPhase::Attached => (None, None),
            SessionPhase::Detached { ends_at_millis, will_at_millis } => (
                ends_at_millis.and_then(|millis| self.moment(millis)),
                will_at_millis.and_then(|millis| self.moment(millis)),
            ),
        };
        let (entry, saved, will) = (number, Vec::new(), None);
        // As many as are taken for under way now have to be known as such if the next end comes before a client.
        let credit = if was_attached { credit.max(PRESUMED_MAX) } else { credit };
        let restored =
            Restored { key, queue, entry, expiry, credit, settlement, phase, saved, will, ends_at, will_at };
        read.sessions.insert(record.queue, restored);
    }

    fn end_superseded(&mut self, queue: u64, read: &mut Read) {
        let Some(session) = read.sessions.remove(&queue) else { return };
        let saved = session.saved.iter().map(|(number, _)| *number);
        let entries = session.queue.filters().entries().into_iter().chain(saved).chain([session.entry]);
        entries.for_each(|number| self.note_orphan(StreamId::SESSIONS, number.get()));
        let groups = self.node.router.forget(&session.queue);
        groups.iter().for_each(|group| drop(self.queues.remove(&group.queue.id)));
        session.queue.end();
        self.queues.remove(&queue);
        read.left.extend(session.will.map(|will| (queue, will)));
    }

    fn take_subscription(&mut self, number: NonZeroU64, record: &SubscriptionRecord, read: &Read) {
        let group = record.group;
        group.into_iter().for_each(|group| self.note_id(group));
        if self.foreign.contains(&record.queue) {
            self.foreign.extend(group);
            return;
        }
        let session = read.sessions.get(&record.queue).filter(|_| !reply::concerns(&record.filter));
        let Some(queue) = session.map(|session| session.queue.clone()) else {
            return self.note_orphan(StreamId::SESSIONS, number.get());
        };
        let before = match (&record.share, group) {
            (None, None) => self.subscribe_again(number, record, &queue),
            _ => self.join_again(number, record, &queue),
        };
        match before {
            Some(before) => self.note_orphan(StreamId::SESSIONS, before.get()),
            None => self.found.subscriptions += 1,
        }
    }

    /// Returns the entry that this one takes the place of.
    fn subscribe_again(
        &mut self,
        number: NonZeroU64,
        record: &SubscriptionRecord,
        queue: &Arc<Queue>,
    ) -> Option<NonZeroU64> {
        let subscription = Subscription {
            queue: queue.clone(),
            group: None,
            qos_max: record.qos_max,
            no_local: record.no_local,
            retain_as_published: record.retain_as_published,
            subscription_id: record.subscription_id,
            clearance: Clearance::default(),
            since: 0,
        };
        self.node.router.restore(&record.filter, subscription);
        queue.filters().set_entry(&record.filter, number)
    }

    fn join_again(
        &mut self,
        number: NonZeroU64,
        record: &SubscriptionRecord,
        queue: &Arc<Queue>,
    ) -> Option<NonZeroU64> {
        let name = match &record.share {
            Some(share) => GroupName::shared(share, &record.filter),
            None => GroupName::queue(&record.filter),
        };
        let grant = Grant {
            qos: record.qos_max,
            retain_as_published: record.retain_as_published,
            subscription_ids: record.subscription_id.into_iter().collect(),
        };
        let id = record.group.unwrap_or_else(|| self.node.next_id());
        let member = Member { queue: queue.clone(), grant: grant.clone() };
        let group = self.node.router.restore_member(&name, member, || self.queue(id, None));
        if group.is_named_queue() {
            self.node.post(group.queue.address().worker, crate::mailbox::Letter::LookAtQueue(group.clone()));
        }
        let before = queue.filters().remove_share(&name).and_then(|share| share.entry);
        queue.filters().set_share(Share { group, grant, entry: Some(number) });
        before
    }

    fn take_saved(&mut self, number: NonZeroU64, record: SavedRecord, read: &mut Read) {
        if self.foreign.contains(&record.queue) {
            return;
        }
        let Some(session) = read.sessions.get_mut(&record.queue) else {
            return self.note_orphan(StreamId::SESSIONS, number.get());
        };
        if record.part == SavedPart::Whole {
            let before = std::mem::take(&mut session.saved);
            before.iter().for_each(|(number, _)| self.note_orphan(StreamId::SESSIONS, number.get()));
        }
        session.saved.push((number, record.bytes));
    }

    fn take_will(&mut self, number: NonZeroU64, record: WillRecord, read: &mut Read) {
        self.note_id(record.queue);
        if self.foreign.contains(&record.queue) {
            return;
        }
        self.found.wills += 1;
        let will = HeldWill::restored(record.will, record.identity, number, self.node.total.clone());
        match read.sessions.get_mut(&record.queue) {
            Some(session) => {
                let before = session.will.replace(will).and_then(|will| will.entry());
                before.into_iter().for_each(|before| self.note_orphan(StreamId::SESSIONS, before.get()));
            }
            None => read.left.push((record.queue, will)),
        }
    }

    /// Says in the store when a session ends that was attached, so that another restart does not begin its time anew.
    fn note_given_up(&mut self, session: &Restored) {
        let millis = |at: Option<std::time::Instant>| {
            let left = at?.saturating_duration_since(self.now).as_millis();
            Some(self.now_millis.saturating_add(u64::try_from(left).ok()?))
        };
        let phase = SessionPhase::Detached {
            ends_at_millis: millis(session.ends_at),
            will_at_millis: millis(session.will_at),
        };
        let Some(identity) = session.queue.identity() else { return };
        let Restored { expiry, credit, settlement, .. } = *session;
        let (limits, wants_publisher) = (session.queue.limits(), session.queue.wants_publisher());
        let mut note = Vec::new();
        SessionNote { identity, expiry, credit, settlement, limits, wants_publisher, phase }.write(&mut note);
        self.change.amend(StreamId::SESSIONS, session.entry.get(), &note);
    }
}

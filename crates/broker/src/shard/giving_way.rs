//! A full disk, where the policy of a topic has what has waited longest make room for the newest message.
//!
//! First it is looked at: what lives decides how much has to go, and whether it is enough is known before anything is taken. It goes when the
//! message is with those who keep it, so that nobody loses something for a message that is refused. Each of them gives the same
//! number of deliveries, because what they keep of one message stands on the disk once. No more goes for a message than twice what it
//! brings: where the limit was lowered, it is come down to step by step.

use super::Shard;
use super::burying::Death;
use super::publication::Publication;
use crate::queue::{Depth, Oldest, Queue};
use crate::route::{Route, RouteEntry};
use crate::topic_policy::DiskFull;
use tidegate_protocol::Refusal;
use tidegate_storage::{NoRoom, Storage};

/// The part of the disk's budget that messages leave alone where others give way for them: the store needs it to throw things away.
const LEFT_ALONE: u64 = 32;

/// What messages that are about to be kept need, and what gives way for them.
#[derive(Debug, Default)]
pub(super) struct GivingWay {
    /// What they take on the disk.
    bytes: usize,
    /// What is freed for them.
    freed: u64,
    from: Vec<(RouteEntry, Vec<Oldest>)>,
}

impl GivingWay {
    /// What gives way in a queue already.
    fn given_by(&self, queue: &Queue) -> usize {
        let given = self.from.iter().filter(|(giver, _)| giver.queue.id == queue.id);
        given.map(|(_, oldest)| oldest.len()).sum()
    }
}

/// Goes through what may give way at one receiver.
struct Look<'a> {
    receiver: &'a RouteEntry,
    depth: Depth,
    known: Vec<Oldest>,
    has_more: bool,
    begin: usize,
    at: usize,
}

impl<'a> Look<'a> {
    fn new(receiver: &'a RouteEntry, giving: &GivingWay) -> Look<'a> {
        let depth = receiver.shared.as_ref().map_or(Depth::Tail, |shared| shared.group.depth());
        let begin = giving.given_by(&receiver.queue);
        Look { receiver, depth, known: Vec::new(), has_more: true, begin, at: begin }
    }

    fn next(&mut self, storage: &dyn Storage) -> Option<Oldest> {
        const FIRST: usize = 8;
        if self.at >= self.known.len() && self.has_more {
            let count = FIRST.max(self.at * 4);
            self.known = self.receiver.queue.oldest_kept(storage, count, self.depth);
            self.has_more = self.known.len() >= count;
        }
        let next = self.known.get(self.at).copied()?;
        self.at += 1;
        Some(next)
    }

    fn found(self) -> Option<(RouteEntry, Vec<Oldest>)> {
        let found = self.known.get(self.begin..self.at).filter(|found| !found.is_empty())?;
        Some((self.receiver.clone(), found.to_vec()))
    }
}

impl Shard {
    /// Whether the store has room for a message behind those that are to be kept with it, if anybody on its route keeps it; where its policy
    /// says so, with what gives way for it.
    #[inline]
    pub(super) fn check_kept(
        &mut self,
        route: &Route,
        publication: &Publication<'_>,
        giving: &mut GivingWay,
    ) -> Result<(), Refusal> {
        match self.is_kept(route, publication) {
            true => self.check_room_for(route, publication, giving),
            false => Ok(()),
        }
    }

    #[inline(never)]
    fn check_room_for(
        &mut self,
        route: &Route,
        publication: &Publication<'_>,
        giving: &mut GivingWay,
    ) -> Result<(), Refusal> {
        let Some(keeper) = &self.node.keeper else { return Ok(()) };
        let (storage, bytes) = (&**keeper.storage(), publication.kept_bytes());
        giving.bytes += bytes;
        let excess = match storage.excess(giving.bytes + self.keeping.change.as_bytes().len()) {
            Ok(excess) => Some(excess.saturating_sub(giving.freed + self.keeping.freed_bytes)),
            Err(NoRoom::Full) => None,
            Err(NoRoom::Failing) => return Err(Refusal::StoreFailing),
        };
        let has_room = match (route.policy.disk_full, excess) {
            (_, Some(0)) => true,
            (DiskFull::Reject, _) | (DiskFull::DropOldest, None) => false,
            (DiskFull::DropOldest, Some(excess)) => {
                self.look_for_room(route, publication, excess.min(2 * bytes as u64), storage, giving)
            }
            // What was made worthless goes in any case: that costs nobody anything.
            (DiskFull::KeepLast, _) => {
                let before = (giving.bytes - bytes + self.keeping.change.as_bytes().len()) as u64;
                self.conflate_on_disk(route, publication) && self.has_reserve(before)
            }
        };
        if has_room { Ok(()) } else { Err(Refusal::StoreFull) }
    }

    /// Whether a part of what the store holds in reserve is left for a message that others give way for, behind so many bytes that the store does
    /// not have yet.
    fn has_reserve(&self, before_bytes: u64) -> bool {
        self.node.keeper.as_ref().is_some_and(|keeper| {
            let usage = keeper.storage().usage();
            usage.disk_bytes + before_bytes + usage.disk_bytes_max / LEFT_ALONE <= usage.disk_bytes_max
        })
    }

    /// Looks at what has waited longest with those who keep a message, in turns. Returns whether so much can give way.
    fn look_for_room(
        &self,
        route: &Route,
        publication: &Publication<'_>,
        wanted_bytes: u64,
        storage: &dyn Storage,
        giving: &mut GivingWay,
    ) -> bool {
        let keepers = route.receivers_known().map(|(receiver, _)| receiver);
        let keepers = keepers.filter(|receiver| receiver.keeps(publication));
        let mut looks: Vec<Look<'_>> = keepers.map(|receiver| Look::new(receiver, giving)).collect();
        let mut found_bytes = 0;
        while found_bytes < wanted_bytes {
            let turn = looks.iter_mut().filter_map(|look| look.next(storage));
            match turn.map(|oldest| oldest.bytes).sum::<u64>() {
                0 => return false,
                bytes => found_bytes += bytes,
            }
        }
        giving.freed += found_bytes;
        giving.from.extend(looks.into_iter().filter_map(Look::found));
        true
    }

    /// Has it give way: the messages are with those who keep them.
    #[inline]
    pub(super) fn give_way(&mut self, giving: GivingWay) {
        if !giving.from.is_empty() {
            self.take_what_gives_way(giving);
        }
    }

    #[inline(never)]
    fn take_what_gives_way(&mut self, giving: GivingWay) {
        self.keeping.freed_bytes += giving.freed;
        for (receiver, oldest) in giving.from {
            let given = match &receiver.shared {
                Some(shared) => shared.group.give_way(&oldest),
                None => receiver.queue.give_way(&oldest),
            };
            given.on_disk.iter().for_each(|entry| self.keeping.settle(entry));
            self.metrics.count_dropped("disk_full", given.on_disk.len());
            // What was the session's own has nowhere to go as a dead letter, and is settled and counted there as well.
            self.bury(Death::DiskFull, given.deliveries);
            match &receiver.shared {
                Some(shared) => self.read_ahead_in(&shared.group),
                None => self.read_ahead(&receiver.queue),
            }
        }
    }
}

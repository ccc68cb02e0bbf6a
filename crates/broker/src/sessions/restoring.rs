//! Sessions as they come back from the durable store: nobody holds them.

use super::kept::Kept;
use super::{HeldWill, Left, Session, SessionKey, Sessions};
use crate::budget::{Room, TotalBytes};
use crate::queue::Queue;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tidegate_message::Origin;
use tidegate_protocol::{Identity, SavedState, Settlement, Will};
use tidegate_storage::record::SessionPhase;

/// A session as it was found.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) key: SessionKey,
    pub(crate) queue: Arc<Queue>,
    pub(crate) entry: NonZeroU64,
    pub(crate) expiry: Duration,
    pub(crate) credit: u32,
    pub(crate) settlement: Settlement,
    pub(crate) phase: SessionPhase,
    /// Pieces with their entries, oldest first.
    pub(crate) saved: Vec<(NonZeroU64, SavedState)>,
    pub(crate) will: Option<HeldWill>,
    pub(crate) ends_at: Option<Instant>,
    pub(crate) will_at: Option<Instant>,
}

impl Restored {
    /// A connection held it when the process ended: it is given up at this moment.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.ends_at = now.checked_add(self.expiry);
        self.will_at = self.will.as_ref().and_then(|will| now.checked_add(will.will.delay));
    }
}

impl HeldWill {
    /// A will as it was found; it was accepted before, so that no limit turns it away.
    pub(crate) fn restored(
        will: Will,
        identity: Arc<Identity>,
        entry: NonZeroU64,
        total: Arc<TotalBytes>,
    ) -> HeldWill {
        let mut room = Room::new(total);
        room.take(HeldWill::weight_bytes(&will));
        HeldWill { will: Box::new(will), identity, entry: Some(entry), _room: room }
    }
}

impl Sessions {
    /// Puts a session in, whatever the limits say; what is due in it is on the agenda from now on.
    pub(crate) fn restore(&self, restored: Restored) {
        let Restored { key, queue, entry, expiry, credit, settlement, saved, will, ends_at, will_at, .. } =
            restored;
        let (entries, saved): (_, Vec<SavedState>) = saved.into_iter().unzip();
        let saved_bytes = saved.iter().map(Vec::len).sum();
        let kept = Kept { entry, saved: entries, saved_bytes };
        let will_at = will_at.filter(|_| will.is_some());
        let mut session = Session {
            queue,
            holder: None,
            is_leaving: false,
            expiry,
            credit,
            settlement,
            saved,
            will,
            kept: Some(Box::new(kept)),
            due: None,
            ends_at,
            will_at,
        };
        let mut shard = self.shard(&key).lock();
        self.reschedule(&key, &mut session, [ends_at, will_at].into_iter().flatten().min());
        shard.insert(key, session);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Has a will published whose session is gone, the one of this queue.
    pub(crate) fn leave_will(&self, will: HeldWill, queue: u64, now: Instant) {
        self.agenda.lock().left.push(Left { since: now, will, origin: Origin(queue) });
    }
}

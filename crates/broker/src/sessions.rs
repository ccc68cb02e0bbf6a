//! The sessions: who holds each, what each keeps between two connections, and what is due when nobody holds it.
//!
//! A sharded map, so that clients that come and go on different workers seldom meet at a lock. Nothing here routes or sends: the
//! worker does what the answers say.

mod kept;
mod listing;
mod restoring;

pub(crate) use kept::Scribe;
pub(crate) use restoring::Restored;

use crate::Limits;
use crate::budget::{QueueFull, Room};
use crate::queue::Queue;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use kept::Kept;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tidegate_message::Origin;
use tidegate_protocol::{Identity, Saved, SavedState, SessionLimits, Settlement, Will, WillAction};

const SHARDS: usize = 16;

/// Names a session: two protocols never share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    protocol: &'static str,
    client_id: Arc<str>,
}

impl SessionKey {
    pub(crate) fn new(protocol: &'static str, client_id: &str) -> SessionKey {
        SessionKey { protocol, client_id: Arc::from(client_id) }
    }
}

/// The connection that holds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) worker: u8,
    pub(crate) slot: usize,
    pub(crate) connection: u64,
}

#[derive(Debug)]
struct Session {
    queue: Arc<Queue>,
    holder: Option<Holder>,
    /// Whether its holder has given it up in an event that has not been handed to the store yet: until then no other worker gets it, whose
    /// changes could come first.
    is_leaving: bool,
    expiry: Duration,
    /// How many unsettled deliveries its consumer may have, or might have had, and which it settles.
    credit: u32,
    settlement: Settlement,
    /// Pieces, oldest first.
    saved: Vec<SavedState>,
    will: Option<HeldWill>,
    kept: Option<Box<Kept>>,
    /// The moment at which something is due while nobody holds it: the will's delay or the session's end.
    due: Option<Instant>,
    ends_at: Option<Instant>,
    will_at: Option<Instant>,
}

/// A will, and the bytes that it takes of what all queues may hold.
#[derive(Debug)]
pub(crate) struct HeldWill {
    /// Boxed, because most sessions have none and all have room for one.
    pub(crate) will: Box<Will>,
    /// Who published it.
    pub(crate) identity: Arc<Identity>,
    /// Its entry in the durable store.
    entry: Option<NonZeroU64>,
    _room: Room,
}

impl HeldWill {
    /// Holds a will, unless there is no room for it.
    pub(crate) fn new(will: Will, identity: Arc<Identity>, mut room: Room) -> Result<HeldWill, QueueFull> {
        room.claim(HeldWill::weight_bytes(&will))?;
        Ok(HeldWill { will: Box::new(will), identity, entry: None, _room: room })
    }

    fn weight_bytes(will: &Will) -> usize {
        let properties = will.properties.as_ref().map_or(0, |properties| properties.heap_bytes());
        size_of::<Will>() + will.topic.as_str().len() + will.payload.len() + properties
    }
}

/// What a connection wants of a session.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) key: SessionKey,
    pub(crate) holder: Holder,
    pub(crate) identity: Arc<Identity>,
    pub(crate) clean_start: bool,
    pub(crate) expiry: Duration,
    pub(crate) credit: u32,
    pub(crate) settlement: Settlement,
    pub(crate) will: Option<HeldWill>,
    pub(crate) limits: SessionLimits,
    pub(crate) wants_publisher: bool,
}

/// What became of a claim.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The session is held. `ended` is what a clean start has ended.
    Held { queue: Arc<Queue>, present: bool, saved: Vec<SavedState>, expiry: Duration, ended: Option<Ended> },
    /// Another connection holds it and has to be closed first; the claim comes back.
    HeldBy(Holder, Claim),
    /// It belongs to another user.
    Foreign,
    /// There are as many sessions as may be.
    Full,
}

/// A session that is no more: its queue has to be forgotten, its will published.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) queue: Arc<Queue>,
    pub(crate) will: Option<HeldWill>,
}

/// How a connection gives a session up.
#[derive(Debug)]
pub(crate) struct Farewell {
    pub(crate) will: WillAction,
    /// How long the session lives from now, where that changes.
    pub(crate) expiry: Option<Duration>,
    pub(crate) saved: SavedState,
    /// How many deliveries its client may have under way, which may be more than its last connection had credit for.
    pub(crate) under_way: usize,
}

impl Farewell {
    /// That of a machine which has said nothing.
    pub(crate) fn silent() -> Farewell {
        Farewell { will: WillAction::Publish, expiry: None, saved: SavedState::new(), under_way: 0 }
    }
}

/// What is due after a release or a passing of time.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// With the origin of what the session's client publishes, because a will is its client's ([MQTT-3.8.3-3]).
    pub(crate) will: Option<(HeldWill, Origin)>,
    pub(crate) ended: Option<Ended>,
}

/// All sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    shards: [Mutex<HashMap<SessionKey, Session, RandomState>>; SHARDS],
    hasher: RandomState,
    count: AtomicUsize,
    attached: AtomicUsize,
    count_max: AtomicUsize,
    expiry_max: Mutex<Duration>,
    /// Locked after a shard, never before.
    agenda: Mutex<Agenda>,
}

/// When something is due.
#[derive(Debug, Default)]
struct Agenda {
    moments: BTreeSet<(Instant, SessionKey)>,
    /// Wills that sessions have left behind which ended with an earlier process.
    left: Vec<Left>,
}

/// A will without a session.
#[derive(Debug)]
struct Left {
    since: Instant,
    will: HeldWill,
    origin: Origin,
}

impl Sessions {
    pub(crate) fn new(limits: &Limits) -> Sessions {
        Sessions {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            count: AtomicUsize::new(0),
            attached: AtomicUsize::new(0),
            count_max: limits.sessions.into(),
            expiry_max: Mutex::new(limits.session_expiry_max),
            agenda: Mutex::default(),
        }
    }

    /// Puts other limits in place of these, for what is claimed and released from now on.
    pub(crate) fn limit(&self, limits: &Limits) {
        self.count_max.store(limits.sessions, Ordering::Relaxed);
        *self.expiry_max.lock() = limits.session_expiry_max;
    }

    /// To be asked before a shard is locked: its lock is taken alone.
    fn expiry_max(&self) -> Duration {
        *self.expiry_max.lock()
    }

    /// How long a session with these limits outlives its connection that asks for this; as [`Sessions::expiry_max`].
    fn expiry_within(&self, limits: SessionLimits, expiry: Duration) -> Duration {
        match limits {
            SessionLimits::Usual => expiry.min(self.expiry_max()),
            SessionLimits::Disk => expiry,
        }
    }

    /// How many sessions exist, held or not.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many of them a connection holds.
    pub(crate) fn attached(&self) -> usize {
        self.attached.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &SessionKey) -> &Mutex<HashMap<SessionKey, Session, RandomState>> {
        let [first, ..] = &self.shards;
        self.shards.get(self.hasher.hash_one(key) as usize % SHARDS).unwrap_or(first)
    }

    /// Gives the session to the claimant, if nobody holds it. `new_queue` is called where a new session begins.
    ///
    /// A user's session is no other's: neither its messages nor its end. Only where the credentials of its user do not count
    /// any more, which `is_current` tells, does it end for the claimant. One whose time is over ends as well.
    pub(crate) fn claim(
        &self,
        mut claim: Claim,
        now: Instant,
        is_current: impl FnOnce(&Identity) -> bool,
        new_queue: impl FnOnce() -> Arc<Queue>,
        scribe: Option<&mut Scribe<'_>>,
    ) -> Claimed {
        claim.expiry = self.expiry_within(claim.limits, claim.expiry);
        let mut shard = self.shard(&claim.key).lock();
        let owner = shard.get(&claim.key).and_then(|session| session.queue.identity());
        if let Some(owner) = owner.filter(|owner| owner.user.is_some() && owner.user != claim.identity.user) {
            if is_current(&owner) {
                return Claimed::Foreign;
            }
            claim.clean_start = true;
        }
        match shard.get_mut(&claim.key) {
            Some(session) if session.is_held_against(claim.holder) => {
                Claimed::HeldBy(session.holder.unwrap_or(claim.holder), claim)
            }
            Some(session) if !claim.clean_start && !session.is_over(now) => {
                self.count_attached(session.attached_by());
                self.resume(session, claim, scribe)
            }
            existing => {
                let held_by = existing.as_ref().and_then(|session| session.attached_by());
                let mut scribe = scribe;
                let ended = existing.map(|session| self.end(&claim.key, session, scribe.as_deref_mut()));
                if ended.is_none() && !self.count_one_more(claim.limits) {
                    return Claimed::Full;
                }
                self.count_attached(held_by);
                let (key, queue, expiry) = (claim.key.clone(), new_queue(), claim.expiry);
                queue.set_survives(!expiry.is_zero());
                queue.set_limits(claim.limits);
                queue.set_wants_publisher(claim.wants_publisher);
                queue.set_identity(claim.identity.clone());
                let mut session = Session::held(queue.clone(), claim);
                scribe.into_iter().for_each(|scribe| session.keep_attached(&key, scribe));
                shard.insert(key, session);
                Claimed::Held { queue, present: false, saved: Vec::new(), expiry, ended }
            }
        }
    }

    /// Gives a session that nobody holds to a claimant.
    fn resume(&self, session: &mut Session, claim: Claim, mut scribe: Option<&mut Scribe<'_>>) -> Claimed {
        self.reschedule(&claim.key, session, None);
        let Claim {
            key, holder, identity, expiry, credit, settlement, will, limits, wants_publisher, ..
        } = claim;
        let before = std::mem::replace(&mut session.will, will);
        before.into_iter().for_each(|will| will.forget(scribe.as_deref_mut()));
        (session.holder, session.is_leaving) = (Some(holder), false);
        (session.expiry, session.credit, session.settlement) = (expiry, credit, settlement);
        session.queue.set_identity(identity);
        session.queue.set_limits(limits);
        session.queue.set_wants_publisher(wants_publisher);
        scribe.into_iter().for_each(|scribe| session.keep_attached(&key, scribe));
        let saved = std::mem::take(&mut session.saved);
        Claimed::Held { queue: session.queue.clone(), present: true, saved, expiry, ended: None }
    }

    /// Takes out of a session what has to be forgotten with it.
    fn end(&self, key: &SessionKey, session: &mut Session, scribe: Option<&mut Scribe<'_>>) -> Ended {
        self.reschedule(key, session, None);
        session.forget(scribe);
        Ended { queue: session.queue.clone(), will: session.will.take() }
    }

    fn count_one_more(&self, limits: SessionLimits) -> bool {
        let count_max = match limits {
            SessionLimits::Usual => self.count_max.load(Ordering::Relaxed),
            SessionLimits::Disk => usize::MAX,
        };
        let below = |count: usize| (count < count_max).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_ok()
    }

    /// A session is held from now on, that was held by this connection before.
    fn count_attached(&self, before: Option<Holder>) {
        self.attached.fetch_add(usize::from(before.is_none()), Ordering::Relaxed);
    }

    /// Keeps a piece of what a session's protocol wants back. Nothing happens where the connection does not hold it, or it is not kept.
    pub(crate) fn save(&self, key: &SessionKey, holder: Holder, saved: Saved<'_>, scribe: &mut Scribe<'_>) {
        let mut shard = self.shard(key).lock();
        if let Some(session) = shard.get_mut(key).filter(|session| session.attached_by() == Some(holder)) {
            session.keep_saved(saved, scribe);
        }
    }

    /// Takes the session from its holder. Returns what has to be done now; the rest is put on the agenda.
    ///
    /// Where there is a store, no other worker gets it before [`Sessions::free`].
    pub(crate) fn release(
        &self,
        key: &SessionKey,
        holder: Holder,
        farewell: Farewell,
        now: Instant,
        mut scribe: Option<&mut Scribe<'_>>,
    ) -> Due {
        let expiry_max = self.expiry_max();
        let mut shard = self.shard(key).lock();
        let Some(session) = shard.get_mut(key).filter(|session| session.attached_by() == Some(holder)) else {
            return Due::default();
        };
        session.is_leaving = scribe.is_some();
        session.holder = Some(holder).filter(|_| session.is_leaving);
        self.attached.fetch_sub(1, Ordering::Relaxed);
        session.expiry = farewell.expiry.unwrap_or(session.expiry);
        if session.queue.limits() == SessionLimits::Usual {
            session.expiry = session.expiry.min(expiry_max);
        }
        session.queue.set_survives(!session.expiry.is_zero());
        session.credit = session.credit.max(u32::try_from(farewell.under_way).unwrap_or(u32::MAX));
        if farewell.will == WillAction::Discard {
            session.will.take().into_iter().for_each(|will| will.forget(scribe.as_deref_mut()));
        }
        session.ends_at = now.checked_add(session.expiry);
        session.will_at = session.will.as_ref().and_then(|will| now.checked_add(will.will.delay));
        let due = self.settle_due(key, &mut shard, now, scribe.as_deref_mut());
        if let Some(session) = shard.get_mut(key).filter(|_| due.ended.is_none()) {
            if let Some(scribe) = scribe {
                session.keep(key, scribe);
                session.keep_saved(Saved::Whole(&farewell.saved), scribe);
            }
            session.saved = Some(farewell.saved).filter(|saved| !saved.is_empty()).into_iter().collect();
        }
        due
    }

    /// Lets every worker have a session that this holder has given up.
    pub(crate) fn free(&self, key: &SessionKey, holder: Holder) {
        let mut shard = self.shard(key).lock();
        let leaving = |session: &&mut Session| session.is_leaving && session.holder == Some(holder);
        if let Some(session) = shard.get_mut(key).filter(leaving) {
            (session.holder, session.is_leaving) = (None, false);
        }
    }

    /// Does what is due in one session that nobody is attached to.
    fn settle_due(
        &self,
        key: &SessionKey,
        shard: &mut HashMap<SessionKey, Session, RandomState>,
        now: Instant,
        scribe: Option<&mut Scribe<'_>>,
    ) -> Due {
        let Some(session) = shard.get_mut(key) else { return Due::default() };
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if session.is_over(now) {
            // The will's delay ends with the session ([MQTT-3.1.3-9] and section 3.1.3.2.2).
            let ended = self.end(key, session, scribe);
            shard.remove(key);
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Due { will: None, ended: Some(ended) };
        }
        let will = if is_due(session.will_at) { session.will.take() } else { None };
        let will = will.map(|will| (will, Origin(session.queue.id)));
        if will.is_some() {
            session.will_at = None;
        }
        let next = [session.ends_at, session.will_at].into_iter().flatten().min();
        self.reschedule(key, session, next);
        Due { will, ended: None }
    }

    fn reschedule(&self, key: &SessionKey, session: &mut Session, due: Option<Instant>) {
        if session.due == due {
            return;
        }
        let mut agenda = self.agenda.lock();
        if let Some(old) = session.due {
            agenda.moments.remove(&(old, key.clone()));
        }
        if let Some(due) = due {
            agenda.moments.insert((due, key.clone()));
        }
        session.due = due;
    }

    /// The queue of a session.
    pub(crate) fn queue(&self, key: &SessionKey) -> Option<Arc<Queue>> {
        self.shard(key).lock().get(key).map(|session| session.queue.clone())
    }

    /// The queues of the sessions that nobody holds.
    pub(crate) fn unheld(&self) -> Vec<Arc<Queue>> {
        let of_shard = |shard: &Mutex<HashMap<SessionKey, Session, RandomState>>| {
            let unheld = |session: &&Session| session.attached_by().is_none();
            shard.lock().values().filter(unheld).map(|session| session.queue.clone()).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of_shard).collect()
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let agenda = self.agenda.lock();
        let first = agenda.moments.first().map(|(at, _)| *at);
        agenda.left.last().map(|left| left.since).into_iter().chain(first).min()
    }

    /// Does one thing that is due at `now`; nothing when nothing is.
    pub(crate) fn take_due(&self, now: Instant, scribe: Option<&mut Scribe<'_>>) -> Option<Due> {
        let key = {
            let mut agenda = self.agenda.lock();
            if let Some(Left { will, origin, .. }) = agenda.left.pop() {
                return Some(Due { will: Some((will, origin)), ended: None });
            }
            agenda.moments.first().filter(|(at, _)| *at <= now).map(|(_, key)| key.clone())?
        };
        let mut shard = self.shard(&key).lock();
        // It may have been claimed since the agenda was read.
        let is_unheld = shard.get(&key).is_some_and(|session| session.holder.is_none());
        Some(if is_unheld { self.settle_due(&key, &mut shard, now, scribe) } else { Due::default() })
    }
}

impl Session {
    fn held(queue: Arc<Queue>, claim: Claim) -> Session {
        let Claim { holder, expiry, credit, settlement, will, .. } = claim;
        Session {
            queue,
            holder: Some(holder),
            is_leaving: false,
            expiry,
            credit,
            settlement,
            saved: Vec::new(),
            will,
            kept: None,
            due: None,
            ends_at: None,
            will_at: None,
        }
    }

    /// The connection that has it and has not given it up.
    fn attached_by(&self) -> Option<Holder> {
        self.holder.filter(|_| !self.is_leaving)
    }

    /// Whether a claimant has to wait for another connection, or for what that has left to be handed to the store.
    fn is_held_against(&self, claimant: Holder) -> bool {
        self.holder.is_some_and(|holder| match self.is_leaving {
            true => holder.worker != claimant.worker,
            false => holder != claimant,
        })
    }

    /// Whether its time was over before somebody came back.
    fn is_over(&self, now: Instant) -> bool {
        self.attached_by().is_none() && self.ends_at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests;

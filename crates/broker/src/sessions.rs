//! The sessions: who holds each, what each keeps between two connections, and what is due when nobody holds it.
//!
//! A sharded map, so that clients that come and go on different workers seldom meet at a lock. Nothing here routes or sends: the
//! worker does what the answers say.

use crate::Limits;
use crate::budget::{QueueFull, Room};
use crate::queue::Queue;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tidegate_message::Origin;
use tidegate_protocol::{Identity, SAVED_BYTES_MAX, SAVED_PIECES_MAX, Saved, SavedState, Will, WillAction};

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
    expiry: Duration,
    /// Pieces, oldest first.
    saved: Vec<SavedState>,
    will: Option<HeldWill>,
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
    _room: Room,
}

impl HeldWill {
    /// Holds a will, unless there is no room for it.
    pub(crate) fn new(will: Will, identity: Arc<Identity>, mut room: Room) -> Result<HeldWill, QueueFull> {
        let properties = will.properties.as_ref().map_or(0, |properties| properties.heap_bytes());
        room.claim(size_of::<Will>() + will.topic.as_str().len() + will.payload.len() + properties)?;
        Ok(HeldWill { will: Box::new(will), identity, _room: room })
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
    pub(crate) will: Option<HeldWill>,
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
    /// Moments at which something is due. Locked after a shard, never before.
    agenda: Mutex<BTreeSet<(Instant, SessionKey)>>,
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
    /// any more, which `is_current` tells, does it end for the claimant.
    pub(crate) fn claim(
        &self,
        mut claim: Claim,
        is_current: impl FnOnce(&Identity) -> bool,
        new_queue: impl FnOnce() -> Arc<Queue>,
    ) -> Claimed {
        claim.expiry = claim.expiry.min(self.expiry_max());
        let mut shard = self.shard(&claim.key).lock();
        let owner = shard.get(&claim.key).and_then(|session| session.queue.identity());
        if let Some(owner) = owner.filter(|owner| owner.user.is_some() && owner.user != claim.identity.user) {
            if is_current(&owner) {
                return Claimed::Foreign;
            }
            claim.clean_start = true;
        }
        match shard.get_mut(&claim.key) {
            Some(Session { holder: Some(holder), .. }) if *holder != claim.holder => {
                Claimed::HeldBy(*holder, claim)
            }
            Some(session) if !claim.clean_start => {
                self.count_attached(session.holder);
                self.reschedule(&claim.key, session, None);
                session.holder = Some(claim.holder);
                session.expiry = claim.expiry;
                session.will = claim.will;
                session.queue.set_identity(claim.identity);
                // They stay: should the process end before the session is released, nothing else would say what they say.
                let saved = session.saved.clone();
                Claimed::Held {
                    queue: session.queue.clone(),
                    present: true,
                    saved,
                    expiry: claim.expiry,
                    ended: None,
                }
            }
            existing => {
                let held_by = existing.as_ref().and_then(|session| session.holder);
                let ended = existing.map(|session| {
                    self.reschedule(&claim.key, session, None);
                    Ended { queue: session.queue.clone(), will: session.will.take() }
                });
                if ended.is_none() && !self.count_one_more() {
                    return Claimed::Full;
                }
                self.count_attached(held_by);
                let queue = new_queue();
                queue.set_survives(!claim.expiry.is_zero());
                queue.set_identity(claim.identity);
                let expiry = claim.expiry;
                shard.insert(claim.key, Session::held(queue.clone(), claim.holder, expiry, claim.will));
                Claimed::Held { queue, present: false, saved: Vec::new(), expiry, ended }
            }
        }
    }

    fn count_one_more(&self) -> bool {
        let below = |count: usize| (count < self.count_max.load(Ordering::Relaxed)).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_ok()
    }

    /// A session is held from now on, that was held by this connection before.
    fn count_attached(&self, before: Option<Holder>) {
        self.attached.fetch_add(usize::from(before.is_none()), Ordering::Relaxed);
    }

    /// Keeps what a session's protocol wants back. Nothing happens where the connection does not hold it.
    pub(crate) fn save(&self, key: &SessionKey, holder: Holder, saved: Saved<'_>) {
        let mut shard = self.shard(key).lock();
        let Some(session) = shard.get_mut(key).filter(|session| session.holder == Some(holder)) else {
            return;
        };
        match saved {
            Saved::Whole(piece) => session.saved = vec![piece.to_vec()],
            Saved::More(piece) => {
                let bytes = session.saved.iter().map(Vec::len).sum::<usize>() + piece.len();
                let has_room = session.saved.len() < SAVED_PIECES_MAX && bytes <= SAVED_BYTES_MAX;
                debug_assert!(has_room, "a machine writes the whole before its pieces are too many");
                session.saved.extend(has_room.then(|| piece.to_vec()));
            }
        }
    }

    /// Takes the session from its holder. Returns what has to be done now; the rest is put on the agenda.
    pub(crate) fn release(
        &self,
        key: &SessionKey,
        holder: Holder,
        will: WillAction,
        expiry: Option<Duration>,
        saved: SavedState,
        now: Instant,
    ) -> Due {
        let expiry_max = self.expiry_max();
        let mut shard = self.shard(key).lock();
        let Some(session) = shard.get_mut(key).filter(|session| session.holder == Some(holder)) else {
            return Due::default();
        };
        session.holder = None;
        self.attached.fetch_sub(1, Ordering::Relaxed);
        session.saved = Some(saved).filter(|saved| !saved.is_empty()).into_iter().collect();
        session.expiry = expiry.unwrap_or(session.expiry).min(expiry_max);
        session.queue.set_survives(!session.expiry.is_zero());
        if will == WillAction::Discard {
            session.will = None;
        }
        session.ends_at = now.checked_add(session.expiry);
        session.will_at = session.will.as_ref().and_then(|will| now.checked_add(will.will.delay));
        self.settle_due(key, &mut shard, now)
    }

    /// Does what is due in one session that nobody holds.
    fn settle_due(
        &self,
        key: &SessionKey,
        shard: &mut HashMap<SessionKey, Session, RandomState>,
        now: Instant,
    ) -> Due {
        // It may have been claimed since the agenda was read.
        let Some(session) = shard.get_mut(key).filter(|session| session.holder.is_none()) else {
            return Due::default();
        };
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(session.ends_at) {
            // The will's delay ends with the session ([MQTT-3.1.3-9] and section 3.1.3.2.2).
            let ended = Ended { queue: session.queue.clone(), will: session.will.take() };
            self.reschedule(key, session, None);
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
            agenda.remove(&(old, key.clone()));
        }
        if let Some(due) = due {
            agenda.insert((due, key.clone()));
        }
        session.due = due;
    }

    /// The queues of the sessions that nobody holds.
    pub(crate) fn unheld(&self) -> Vec<Arc<Queue>> {
        let of_shard = |shard: &Mutex<HashMap<SessionKey, Session, RandomState>>| {
            let unheld = |session: &&Session| session.holder.is_none();
            shard.lock().values().filter(unheld).map(|session| session.queue.clone()).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of_shard).collect()
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.agenda.lock().first().map(|(at, _)| *at)
    }

    /// Does one thing that is due at `now`; nothing when nothing is.
    pub(crate) fn take_due(&self, now: Instant) -> Option<Due> {
        let key = {
            let agenda = self.agenda.lock();
            agenda.first().filter(|(at, _)| *at <= now).map(|(_, key)| key.clone())?
        };
        let mut shard = self.shard(&key).lock();
        Some(self.settle_due(&key, &mut shard, now))
    }
}

impl Session {
    fn held(queue: Arc<Queue>, holder: Holder, expiry: Duration, will: Option<HeldWill>) -> Session {
        let (saved, due, ends_at, will_at) = (Vec::new(), None, None, None);
        Session { queue, holder: Some(holder), expiry, saved, will, due, ends_at, will_at }
    }
}

#[cfg(test)]
mod tests;

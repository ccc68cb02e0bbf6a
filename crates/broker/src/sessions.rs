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
use tidegate_protocol::{Identity, SavedState, Will, WillAction};

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
    saved: SavedState,
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
    Held { queue: Arc<Queue>, present: bool, saved: SavedState, expiry: Duration, ended: Option<Ended> },
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
                let saved = std::mem::take(&mut session.saved);
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
                Claimed::Held { queue, present: false, saved: SavedState::new(), expiry, ended }
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
        session.saved = saved;
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
        let (saved, due, ends_at, will_at) = (SavedState::new(), None, None, None);
        Session { queue, holder: Some(holder), expiry, saved, will, due, ends_at, will_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::TotalBytes;
    use bytes::Bytes;
    use tidegate_message::{QoS, Topic};
    use tidegate_protocol::{CredentialStamp, Proof};

    const MINUTE: Duration = Duration::from_secs(60);

    fn holder(connection: u64) -> Holder {
        Holder { worker: 0, slot: 0, connection }
    }

    fn key() -> SessionKey {
        SessionKey::new("mqtt", "device")
    }

    fn will(delay: Duration) -> HeldWill {
        let (topic, payload) = (Topic::parse(b"will").unwrap(), Bytes::new());
        let will = Will {
            topic,
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            expiry: None,
            delay,
        };
        let room = Room::new(Arc::new(TotalBytes::new(&Limits::default())));
        HeldWill::new(will, identity(None), room).unwrap()
    }

    fn identity(user: Option<&str>) -> Arc<Identity> {
        let proof = user.map_or(Proof::Nothing, |_| Proof::Credentials(CredentialStamp(1)));
        let (user, listener) = (user.map(Box::from), Arc::default());
        Arc::new(Identity { user, client_id: None, listener, proof })
    }

    fn claim(
        sessions: &Sessions,
        connection: u64,
        clean_start: bool,
        expiry: Duration,
        will: Option<HeldWill>,
    ) -> Claimed {
        claim_as(sessions, connection, None, clean_start, expiry, will)
    }

    fn claim_as(
        sessions: &Sessions,
        connection: u64,
        user: Option<&str>,
        clean_start: bool,
        expiry: Duration,
        will: Option<HeldWill>,
    ) -> Claimed {
        let (key, identity) = (key(), identity(user));
        let claim = Claim { key, holder: holder(connection), identity, clean_start, expiry, will };
        let is_current = |identity: &Identity| identity.user.as_deref() != Some("gone");
        sessions.claim(claim, is_current, || {
            Arc::new(Queue::new(connection, 0, Arc::new(TotalBytes::new(&Limits::default()))))
        })
    }

    fn release(sessions: &Sessions, connection: u64, will: WillAction, now: Instant) -> Due {
        sessions.release(&key(), holder(connection), will, None, vec![1], now)
    }

    /// [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.1/3.1.2-4] [MQTT-3.1.1/3.1.2-6]
    #[test]
    fn a_session_comes_back_unless_the_start_is_clean() {
        let (sessions, now) = (Sessions::new(&Limits::default()), Instant::now());
        assert!(matches!(claim(&sessions, 1, false, MINUTE, None), Claimed::Held { present: false, .. }));
        assert!(release(&sessions, 1, WillAction::Publish, now).ended.is_none());
        let Claimed::Held { present, saved, queue, .. } = claim(&sessions, 2, false, MINUTE, None) else {
            panic!()
        };
        assert_eq!((present, saved, queue.id), (true, vec![1], 1));
        release(&sessions, 2, WillAction::Publish, now);
        let Claimed::Held { present, saved, queue, ended, .. } = claim(&sessions, 3, true, MINUTE, None)
        else {
            panic!()
        };
        assert_eq!((present, saved, queue.id, ended.unwrap().queue.id), (false, vec![], 3, 1));
        assert_eq!(sessions.len(), 1);
    }

    /// MQTT 5.0 section 5.4.2: a client identifier alone opens nobody else's session, and ends none.
    #[test]
    fn a_session_belongs_to_its_user() {
        let sessions = Sessions::new(&Limits::default());
        claim_as(&sessions, 1, Some("ann"), false, MINUTE, None);
        for clean_start in [false, true] {
            assert!(matches!(
                claim_as(&sessions, 2, Some("bob"), clean_start, MINUTE, None),
                Claimed::Foreign
            ));
            assert!(matches!(claim(&sessions, 2, clean_start, MINUTE, None), Claimed::Foreign));
        }
        release(&sessions, 1, WillAction::Publish, Instant::now());
        assert!(matches!(claim_as(&sessions, 2, Some("bob"), true, MINUTE, None), Claimed::Foreign));
        let Claimed::Held { present: true, .. } = claim_as(&sessions, 3, Some("ann"), false, MINUTE, None)
        else {
            panic!()
        };
    }

    /// What is left of a user that is gone is nobody's, and nobody gets it.
    #[test]
    fn a_session_of_a_removed_user_ends_for_the_next_one() {
        let sessions = Sessions::new(&Limits::default());
        claim_as(&sessions, 1, Some("gone"), false, MINUTE, None);
        release(&sessions, 1, WillAction::Publish, Instant::now());
        let Claimed::Held { present: false, saved, ended: Some(ended), .. } =
            claim_as(&sessions, 2, Some("bob"), false, MINUTE, None)
        else {
            panic!()
        };
        assert_eq!((saved, ended.queue.id), (vec![], 1));
    }

    /// [MQTT-4.5.0-1]: the last connection of a session keeps nothing for another one, but is not there yet when it has claimed it.
    #[test]
    fn a_session_that_is_claimed_for_the_last_time_is_expecting_until_its_consumer_is_there() {
        let (sessions, now) = (Sessions::new(&Limits::default()), Instant::now());
        claim(&sessions, 1, false, MINUTE, None);
        release(&sessions, 1, WillAction::Publish, now);
        let Claimed::Held { queue, present: true, .. } = claim(&sessions, 2, false, Duration::ZERO, None)
        else {
            panic!()
        };
        assert!(queue.is_expecting());
        queue.set_consumer(0, Some(0));
        queue.set_survives(false);
        assert!(queue.is_expecting());
        queue.set_consumer(0, None);
        assert!(!queue.is_expecting());
    }

    /// [MQTT-3.1.4-3] [MQTT-3.1.1/3.1.4-2]
    #[test]
    fn a_second_holder_is_told_who_is_in_the_way() {
        let sessions = Sessions::new(&Limits::default());
        claim(&sessions, 1, false, MINUTE, None);
        let Claimed::HeldBy(other, _) = claim(&sessions, 2, true, MINUTE, None) else { panic!() };
        assert_eq!(other, holder(1));
    }

    /// [MQTT-3.1.2-23] and MQTT 5.0 section 3.1.2.11.2
    #[test]
    fn a_session_ends_with_its_expiry_and_not_before() {
        let (sessions, now) = (Sessions::new(&Limits::default()), Instant::now());
        claim(&sessions, 1, false, MINUTE, None);
        release(&sessions, 1, WillAction::Publish, now);
        assert_eq!(sessions.next_due(), Some(now + MINUTE));
        assert!(sessions.take_due(now + MINUTE / 2).is_none());
        assert!(sessions.take_due(now + MINUTE).unwrap().ended.is_some());
        assert_eq!((sessions.len(), sessions.next_due()), (0, None));
        claim(&sessions, 2, false, Duration::ZERO, None);
        assert!(release(&sessions, 2, WillAction::Publish, now).ended.is_some());
        assert_eq!(sessions.len(), 0);
    }

    /// [MQTT-3.1.3-9]: the will waits for its delay, and a new connection to the session calls it off.
    #[test]
    fn a_delayed_will_waits_and_can_be_called_off() {
        let (sessions, now) = (Sessions::new(&Limits::default()), Instant::now());
        claim(&sessions, 1, false, MINUTE, Some(will(MINUTE / 2)));
        assert!(release(&sessions, 1, WillAction::Publish, now).will.is_none());
        claim(&sessions, 2, false, MINUTE, Some(will(MINUTE / 2)));
        assert_eq!(sessions.next_due(), None);
        release(&sessions, 2, WillAction::Publish, now);
        let due = sessions.take_due(now + MINUTE / 2).unwrap();
        assert!(due.will.is_some() && due.ended.is_none());
        assert!(sessions.take_due(now + MINUTE).unwrap().ended.unwrap().will.is_none());
    }

    /// MQTT 5.0 section 3.1.3.2.2: the session's end does not wait for the will's delay.
    #[test]
    fn a_session_that_ends_publishes_its_will() {
        let (sessions, now) = (Sessions::new(&Limits::default()), Instant::now());
        claim(&sessions, 1, false, MINUTE, Some(will(2 * MINUTE)));
        release(&sessions, 1, WillAction::Publish, now);
        assert!(sessions.take_due(now + MINUTE).unwrap().ended.unwrap().will.is_some());
        claim(&sessions, 2, false, MINUTE, Some(will(MINUTE)));
        assert!(release(&sessions, 2, WillAction::Discard, now).will.is_none());
        let Claimed::Held { ended, .. } = claim(&sessions, 3, true, MINUTE, None) else { panic!() };
        assert!(ended.unwrap().will.is_none());
    }

    #[test]
    fn a_will_takes_room_until_it_is_gone() {
        let limits = Limits { queued_bytes_total: 1 << 10, ..Limits::default() };
        let total = Arc::new(TotalBytes::new(&limits));
        let bytes = || total.size().1;
        let held = HeldWill::new(*will(MINUTE).will, identity(None), Room::new(total.clone())).unwrap();
        assert!(bytes() > 0);
        let large = Will { payload: Bytes::from(vec![0; 1 << 10]), ..*will(MINUTE).will };
        let large = HeldWill::new(large, identity(None), Room::new(total.clone()));
        assert_eq!(large.err(), Some(QueueFull));
        drop(held);
        assert_eq!(bytes(), 0);
    }

    #[test]
    fn new_sessions_are_refused_at_the_limit() {
        let sessions = Sessions::new(&Limits { sessions: 0, ..Limits::default() });
        assert!(matches!(claim(&sessions, 1, false, MINUTE, None), Claimed::Full));
    }
}

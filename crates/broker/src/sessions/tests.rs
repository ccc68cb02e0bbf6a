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
    let will =
        Will { topic, payload, qos: QoS::AtMostOnce, retain: false, properties: None, expiry: None, delay };
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
    let (credit, settlement, limits) = (10, Settlement::AboveAtMostOnce, SessionLimits::Usual);
    let holder = holder(connection);
    let wants_publisher = false;
    let claim = Claim {
        key,
        holder,
        identity,
        clean_start,
        expiry,
        credit,
        settlement,
        will,
        limits,
        wants_publisher,
    };
    let is_current = |identity: &Identity| identity.user.as_deref() != Some("gone");
    let new_queue = || Arc::new(Queue::new(connection, 0, Arc::new(TotalBytes::new(&Limits::default()))));
    // Nobody of these comes back to a session whose time is over.
    sessions.claim(claim, Instant::now(), is_current, new_queue, None)
}

fn release(sessions: &Sessions, connection: u64, will: WillAction, now: Instant) -> Due {
    sessions.release(
        &key(),
        holder(connection),
        Farewell { will, saved: vec![1], ..Farewell::silent() },
        now,
        None,
    )
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
    assert_eq!((present, saved, queue.id), (true, vec![vec![1]], 1));
    release(&sessions, 2, WillAction::Publish, now);
    let Claimed::Held { present, saved, queue, ended, .. } = claim(&sessions, 3, true, MINUTE, None) else {
        panic!()
    };
    assert_eq!((present, saved, queue.id, ended.unwrap().queue.id), (false, Vec::<SavedState>::new(), 3, 1));
    assert_eq!(sessions.len(), 1);
}

/// MQTT 5.0 section 5.4.2: a client identifier alone opens nobody else's session, and ends none.
#[test]
fn a_session_belongs_to_its_user() {
    let sessions = Sessions::new(&Limits::default());
    claim_as(&sessions, 1, Some("ann"), false, MINUTE, None);
    for clean_start in [false, true] {
        assert!(matches!(claim_as(&sessions, 2, Some("bob"), clean_start, MINUTE, None), Claimed::Foreign));
        assert!(matches!(claim(&sessions, 2, clean_start, MINUTE, None), Claimed::Foreign));
    }
    release(&sessions, 1, WillAction::Publish, Instant::now());
    assert!(matches!(claim_as(&sessions, 2, Some("bob"), true, MINUTE, None), Claimed::Foreign));
    let Claimed::Held { present: true, .. } = claim_as(&sessions, 3, Some("ann"), false, MINUTE, None) else {
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
    assert_eq!((saved, ended.queue.id), (Vec::<SavedState>::new(), 1));
}

/// [MQTT-4.5.0-1]: the last connection of a session keeps nothing for another one, but is not there yet when it has claimed it.
#[test]
fn a_session_that_is_claimed_for_the_last_time_is_expecting_until_its_consumer_is_there() {
    let (sessions, now) = (Sessions::new(&Limits::default()), Instant::now());
    claim(&sessions, 1, false, MINUTE, None);
    release(&sessions, 1, WillAction::Publish, now);
    let Claimed::Held { queue, present: true, .. } = claim(&sessions, 2, false, Duration::ZERO, None) else {
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
    assert!(sessions.take_due(now + MINUTE / 2, None).is_none());
    assert!(sessions.take_due(now + MINUTE, None).unwrap().ended.is_some());
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
    let due = sessions.take_due(now + MINUTE / 2, None).unwrap();
    assert!(due.will.is_some() && due.ended.is_none());
    assert!(sessions.take_due(now + MINUTE, None).unwrap().ended.unwrap().will.is_none());
}

/// MQTT 5.0 section 3.1.3.2.2: the session's end does not wait for the will's delay.
#[test]
fn a_session_that_ends_publishes_its_will() {
    let (sessions, now) = (Sessions::new(&Limits::default()), Instant::now());
    claim(&sessions, 1, false, MINUTE, Some(will(2 * MINUTE)));
    release(&sessions, 1, WillAction::Publish, now);
    assert!(sessions.take_due(now + MINUTE, None).unwrap().ended.unwrap().will.is_some());
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

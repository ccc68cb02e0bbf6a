//! What becomes of messages that several clients share: each is with one of them at a time, until one has accepted it.
//!
//! The store knows all of it as it was when it was synced last. What a session has begun with at level 2 is its own whatever happens, because
//! it is not given to the session before the disk has it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use tidegate_message::QoS;
use tidegate_testkit::pair::toy::Got;

/// What has become of each message, by what names it.
pub(crate) struct Fates<Key>(BTreeMap<Key, Fate>);

struct Fate {
    qos: QoS,
    /// Whether somebody has to get it.
    is_owed: bool,
    /// The client that has it now.
    holder: Option<usize>,
    /// The session that has begun with it at level 2, and the tag that it knows it by.
    bound_to: Option<(usize, u64)>,
    /// How often a client has seen it, as far as the broker can know it.
    received: u32,
    /// How often it came back.
    returned: u32,
    is_accepted: bool,
    /// Whether it was forgotten with the process, as it may be.
    is_gone: bool,
    /// What the disk has of it: how often it came back, and whether it was accepted.
    kept: Option<(u32, bool)>,
}

impl<Key: Ord + Copy + Debug> Fates<Key> {
    pub(crate) fn new() -> Fates<Key> {
        Fates(BTreeMap::new())
    }

    fn at(&mut self, key: Key) -> &mut Fate {
        self.0.get_mut(&key).unwrap_or_else(|| panic!("nobody published {key:?}"))
    }

    /// A message is published for those who share it.
    pub(crate) fn publish(&mut self, key: Key, qos: QoS, is_owed: bool) {
        let fate = Fate {
            qos,
            is_owed,
            holder: None,
            bound_to: None,
            received: 0,
            returned: 0,
            is_accepted: false,
            is_gone: false,
            kept: None,
        };
        self.0.insert(key, fate);
    }

    /// A client has received it, with a session that may come back for it or without one. Returns whether it has to settle it.
    pub(crate) fn receive(&mut self, key: Key, client: usize, got: &Got, has_session: bool) -> bool {
        let fate = self.at(key);
        assert!(!fate.is_gone, "forgotten with the process: {got:?} at {client}");
        assert!(!fate.is_accepted, "accepted already: {got:?} at {client}");
        assert_eq!(fate.holder, None, "somebody has it: {got:?} at {client}");
        fate.received += 1;
        let Some(tag) = got.tag else {
            fate.is_accepted = true;
            return false;
        };
        if let Some(bound) = fate.bound_to {
            assert_eq!(bound, (client, tag), "begun with at level 2: {got:?} at {client}");
            assert!(got.redelivered, "not marked as repeated: {got:?} at {client}");
        }
        fate.holder = Some(client);
        if got.qos == QoS::ExactlyOnce.number() && has_session {
            fate.bound_to = Some((client, tag));
        }
        true
    }

    /// Checks that a delivery which comes next says how often the message was delivered.
    pub(crate) fn check_attempt(&mut self, key: Key, got: &Got) {
        let received = self.at(key).received;
        assert!(got.attempt > received, "delivered {received} times before: {got:?}");
    }

    /// Its holder is done with it.
    pub(crate) fn accept(&mut self, key: Key) {
        let fate = self.at(key);
        (fate.holder, fate.is_accepted) = (None, true);
    }

    /// Its holder has given it back, or lost its connection.
    pub(crate) fn give_back(&mut self, key: Key) {
        let fate = self.at(key);
        fate.holder = None;
        fate.returned += u32::from(fate.bound_to.is_none());
    }

    /// The session of a client has ended: what it had begun with at level 2 is not owed to anybody any more, or goes to others.
    pub(crate) fn unbind(&mut self, client: usize, goes_to_others: bool) {
        for fate in self.0.values_mut().filter(|fate| fate.bound_to.is_some_and(|(of, _)| of == client)) {
            fate.bound_to = None;
            fate.is_owed &= goes_to_others;
        }
    }

    /// What is not accepted yet of what somebody has to get.
    pub(crate) fn missing(&self) -> Vec<Key> {
        let is_missing = |fate: &Fate| fate.is_owed && !fate.is_accepted && !fate.is_gone;
        self.0.iter().filter(|(_, fate)| is_missing(fate)).map(|(key, _)| *key).collect()
    }

    /// The level at which it was published.
    pub(crate) fn qos(&self, key: Key) -> QoS {
        self.0[&key].qos
    }

    /// The disk has everything.
    pub(crate) fn sync(&mut self) {
        for fate in self.0.values_mut().filter(|fate| fate.qos > QoS::AtMostOnce) {
            fate.kept = Some((fate.returned, fate.is_accepted));
        }
    }

    /// The process ends, and leaves what the disk has.
    pub(crate) fn end(&mut self) {
        for fate in self.0.values_mut() {
            fate.holder = None;
            match fate.kept {
                None => fate.is_gone = true,
                Some((returned, is_accepted)) => {
                    (fate.received, fate.returned, fate.is_accepted) = (returned, returned, is_accepted);
                }
            }
        }
    }
}

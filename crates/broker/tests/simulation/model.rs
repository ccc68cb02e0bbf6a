//! What the clients may and must receive, without workers, letters, queues or outputs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;
use tidegate_message::{QoS, Topic, TopicFilter};
use tidegate_testkit::pair::toy::Got;

/// One published message: the connection that published it, and its position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) publisher: u64,
    pub(crate) position: u64,
}

impl Id {
    pub(crate) fn payload(self) -> String {
        format!("{}.{}", self.publisher, self.position)
    }

    fn parse(payload: &str) -> Id {
        let (publisher, position) = payload.split_once('.').expect("a payload of this test");
        Id { publisher: publisher.parse().unwrap(), position: position.parse().unwrap() }
    }
}

/// A session as its client sees it.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) subscriptions: HashMap<TopicFilter, QoS>,
    /// How often it has subscribed.
    pub(crate) subscribed: usize,
    /// When it ends, while nobody is attached.
    pub(crate) ends_at: Option<Instant>,
    /// What it may receive: everything that matched when it was published.
    allowed: BTreeSet<Id>,
    /// What it must receive and has not received, with the step in which it was published.
    pub(crate) expected: BTreeMap<Id, usize>,
    /// Received and not settled, by tag.
    pub(crate) unsettled: BTreeMap<u64, String>,
    settled: BTreeSet<Id>,
    /// Settled, but a loss of power could undo it.
    unsure: Vec<Id>,
    /// The tags of what was unsettled when the process ended.
    tags: HashMap<String, u64>,
    received: BTreeSet<Id>,
    last: HashMap<(u64, String), u64>,
}

/// What one connection of a session has received.
#[derive(Debug, Default)]
pub(crate) struct Reception {
    /// Unsettled deliveries of an earlier connection that have to come again first.
    owed: BTreeMap<u64, String>,
    /// Tags that the connection received and has not settled.
    pub(crate) open: BTreeSet<u64>,
    received: BTreeSet<Id>,
    last_repeated: u64,
    has_new: bool,
}

impl Session {
    /// The level at which the session receives a topic.
    pub(crate) fn level(&self, topic: &Topic) -> Option<QoS> {
        let matching = self.subscriptions.iter().filter(|(filter, _)| filter.matches(topic));
        matching.map(|(_, qos)| *qos).max()
    }

    /// A message that matches is published.
    pub(crate) fn publish(&mut self, id: Id, qos: QoS, step: usize) {
        self.allowed.insert(id);
        if qos > QoS::AtMostOnce {
            self.expected.insert(id, step);
        }
    }

    /// Messages published since this step may be under way still, so a change of subscriptions may catch up with them.
    pub(crate) fn excuse_since(&mut self, step: usize) {
        self.expected.retain(|_, published| *published < step);
    }

    /// A connection attaches.
    pub(crate) fn attach(&mut self) -> Reception {
        self.ends_at = None;
        Reception { owed: self.unsettled.clone(), ..Reception::default() }
    }

    pub(crate) fn settle(&mut self, reception: &mut Reception, tag: u64) {
        reception.open.remove(&tag);
        if let Some(payload) = self.unsettled.remove(&tag).filter(|payload| !payload.starts_with('r')) {
            self.settled.insert(Id::parse(&payload));
            self.unsure.push(Id::parse(&payload));
        }
    }

    /// What was settled is on the disk.
    pub(crate) fn sync(&mut self) {
        self.unsure.clear();
    }

    /// The process has ended, and what is in `lost` was not on the disk. What was received and not settled has to come again, and what is
    /// not settled on the disk may.
    pub(crate) fn crash(&mut self, lost: Option<&BTreeSet<Id>>, step: usize) {
        if let Some(lost) = lost {
            for id in &self.unsure {
                self.settled.remove(id);
            }
            self.expected.retain(|id, _| !lost.contains(id));
        }
        self.unsure.clear();
        self.tags.clear();
        for (tag, payload) in std::mem::take(&mut self.unsettled) {
            // A retained message under way is not repeated: its subscriber gets the next one.
            if payload.starts_with('r') {
                continue;
            }
            let id = Id::parse(&payload);
            if lost.is_none_or(|lost| !lost.contains(&id)) {
                self.expected.insert(id, step);
            }
            self.tags.insert(payload, tag);
        }
    }

    /// The client has received a delivery: checks everything that can be said about it.
    pub(crate) fn receive(&mut self, reception: &mut Reception, got: &Got, credit: u32) {
        let name = if got.retain { format!("r{}", got.payload) } else { got.payload.clone() };
        match got.tag {
            Some(tag) => self.receive_tagged(reception, got, tag, &name),
            None => assert!(reception.owed.is_empty(), "{got:?} overtakes {:?}", reception.owed),
        }
        assert!(reception.open.len() <= credit as usize, "more unsettled deliveries than credit: {got:?}");
        match got.retain {
            false => self.receive_live(reception, got),
            // Where there was one subscription, what was published since is live; that it is nothing else is checked there.
            true if self.subscribed == 1 => assert!(
                !self.allowed.contains(&Id::parse(&got.payload)),
                "published after the subscription was made: {got:?}"
            ),
            true => {}
        }
    }

    fn receive_tagged(&mut self, reception: &mut Reception, got: &Got, tag: u64, name: &str) {
        match reception.owed.remove(&tag) {
            Some(owed) => {
                assert_eq!(owed, name, "another message under the same tag");
                assert!(got.redelivered, "not marked as repeated: {got:?}");
            }
            None => {
                assert!(!self.unsettled.contains_key(&tag), "tag {tag} is in use: {got:?}");
                assert!(
                    got.redelivered || reception.owed.is_empty(),
                    "{got:?} overtakes {:?}",
                    reception.owed
                );
            }
        }
        match got.redelivered {
            true => {
                assert!(!reception.has_new, "repeated after a new delivery: {got:?}");
                assert!(tag > reception.last_repeated, "repeated out of order: {got:?}");
                reception.last_repeated = tag;
            }
            false => reception.has_new = true,
        }
        if let Some(before) = self.tags.remove(name) {
            assert_eq!(tag, before, "another tag than before the end of the process: {got:?}");
        }
        reception.open.insert(tag);
        self.unsettled.insert(tag, name.to_owned());
    }

    fn receive_live(&mut self, reception: &mut Reception, got: &Got) {
        let id = Id::parse(&got.payload);
        assert!(self.allowed.contains(&id), "no subscription matched when it was published: {got:?}");
        assert!(reception.received.insert(id), "twice in one connection: {got:?}");
        assert!(!self.settled.contains(&id), "settled already: {got:?}");
        self.expected.remove(&id);
        if self.received.insert(id) {
            let last = self.last.entry((id.publisher, got.topic.clone())).or_default();
            assert!(*last < id.position, "{got:?} after {last} of the same publisher and topic");
            *last = id.position;
        }
    }
}

//! What the streams of queues are called: a session's by its protocol and its client, a group's and a named queue's as clients subscribe
//! to them.

use crate::Contents;
use crate::entries::{Entries, Problem};
use crate::queues::QueueKind;
use std::collections::BTreeMap;
use tidegate_storage::record::{Description, QueueRecord, SessionRecord, SubscriptionRecord};
use tidegate_storage::{Entry, StreamId};

/// The names of all queues in a store, and how many things describe them.
#[derive(Debug, Default)]
pub struct Names {
    by_stream: BTreeMap<StreamId, (QueueKind, Box<str>)>,
    pub(crate) subscriptions: usize,
    pub(crate) wills: usize,
    /// Descriptions that cannot be read.
    pub(crate) unreadable: usize,
}

impl Names {
    /// Reads every description in a store. What cannot be read has no name.
    pub fn read(contents: &dyn Contents) -> Names {
        let mut names = Names::default();
        for entry in Entries::of(contents, StreamId::SESSIONS) {
            match entry.and_then(|entry| described(&entry)) {
                Ok(description) => names.add(description),
                Err(_) => names.unreadable += 1,
            }
        }
        for entry in Entries::of(contents, StreamId::QUEUES) {
            match entry.map(|entry| QueueRecord::read(&entry.body)) {
                Ok(Ok(queue)) => names.name(queue.queue, QueueKind::Named, queue.topic.as_str().to_owned()),
                _ => names.unreadable += 1,
            }
        }
        names
    }

    fn add(&mut self, description: Description) {
        match description {
            Description::Session(session) => {
                self.name(session.queue, QueueKind::Session, session_name(&session));
            }
            Description::Subscription(subscription) => {
                self.subscriptions += 1;
                if let Some(group) = subscription.group {
                    let (kind, name) = group_name(&subscription);
                    self.name(group, kind, name);
                }
            }
            Description::Will(_) => self.wills += 1,
            Description::Saved(_) => {}
        }
    }

    fn name(&mut self, queue: u64, kind: QueueKind, name: String) {
        self.by_stream.insert(StreamId(queue), (kind, name.into()));
    }

    /// The stream of the queue of this name.
    pub fn stream(&self, name: &str) -> Option<StreamId> {
        self.by_stream.iter().find(|(_, (_, known))| **known == *name).map(|(stream, _)| *stream)
    }

    /// Whether something describes the queue of a stream.
    pub(crate) fn has(&self, stream: StreamId) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// What a stream is and how it is called; its number where nobody describes it.
    pub(crate) fn of(&self, stream: StreamId) -> (QueueKind, String) {
        match self.by_stream.get(&stream) {
            Some((kind, name)) => (*kind, name.to_string()),
            None => (QueueKind::Unknown, format!("stream {}", stream.0)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, QueueKind, &str)> {
        self.by_stream.iter().map(|(stream, (kind, name))| (*stream, *kind, &**name))
    }

    pub(crate) fn count(&self, kind: QueueKind) -> usize {
        self.by_stream.values().filter(|(known, _)| *known == kind).count()
    }
}

/// The description that an entry is.
pub(crate) fn described(entry: &Entry) -> Result<Description, Problem> {
    let unreadable = |_| Problem::Record { stream: StreamId::SESSIONS, number: entry.number };
    Description::read(&entry.body).map_err(unreadable)
}

pub(crate) fn session_name(session: &SessionRecord) -> String {
    format!("{}:{}", session.protocol, session.client_id)
}

pub(crate) fn group_name(subscription: &SubscriptionRecord) -> (QueueKind, String) {
    let filter = subscription.filter.as_str();
    match &subscription.share {
        Some(share) => (QueueKind::Group, format!("$share/{share}/{filter}")),
        None => (QueueKind::Named, filter.to_owned()),
    }
}

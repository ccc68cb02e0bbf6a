//! Where retained state and the live stream join: a new subscription gets each message by one of the two ways, never by both or none.
//!
//! A message is retained together with the generation of the route by which it is distributed, and only while no newer generation
//! exists. So all who subscribed with that generation or an earlier one are in the route, and get it live; a search for one who
//! subscribed with a later generation finds it, because it was there before that search could begin; and leaves out what the
//! subscription gets live, because its generation says so.

use super::Router;
use crate::retained::{Author, Change, Entries, Found, Full, Search, Swept};
use crate::ring::Ring;
use crate::route::Route;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, Topic, TopicFilter};
use tidegate_storage::{Storage, StreamId, Urgency};

/// Why a message was not retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRetained {
    /// There is no room for it.
    Full,
    /// The subscriptions have changed since its route was looked up: it has to take another one.
    RouteIsOld,
}

impl From<Full> for NotRetained {
    fn from(Full: Full) -> NotRetained {
        NotRetained::Full
    }
}

/// A ring with the workers that are to be told of what went into it, one bit each.
pub(crate) type Watched = (Arc<Ring>, u64);

/// What retaining a message has changed.
#[derive(Debug)]
pub(crate) struct Retained {
    pub(crate) change: Change,
    pub(crate) entries: Entries,
    /// The workers that are to be told of what went into the ring, one bit each.
    pub(crate) watchers: u64,
}

impl Router {
    /// Retains a message that is going to be distributed by a route of this generation, or clears its topic. It goes into the ring of the
    /// route at the same moment.
    pub(crate) fn retain(
        &self,
        message: &Arc<Message>,
        generation: u64,
        ring: Option<&Ring>,
        author: Author<'_>,
        now: Instant,
    ) -> Result<Retained, NotRetained> {
        let mut retained = self.retained.write();
        // Asked in here: whoever makes a newer generation behind this line searches when this lock is free again.
        if self.generation() != generation {
            return Err(NotRetained::RouteIsOld);
        }
        let change = retained.store(message, generation, author, now)?;
        let entries = retained.entries(message, &change, author);
        Ok(Retained { change, entries, watchers: ring.map_or(0, |ring| ring.append(message)) })
    }

    /// Retains what asks for it of messages that are published together, and puts those whose route has a ring into it, in their order; or
    /// does nothing, and says which of them is the reason. Returns what the durable store has to be told, in their order, and the rings.
    pub(crate) fn keep_all(
        &self,
        batch: &[(&Arc<Message>, &Route)],
        author: Author<'_>,
        now: Instant,
    ) -> Result<(Vec<Entries>, Vec<Watched>), (usize, NotRetained)> {
        let mut retained = self.retained.write();
        let generation = self.generation();
        let is_old =
            |(message, route): &(&Arc<Message>, &Route)| message.retain && route.generation != generation;
        if let Some(at) = batch.iter().position(is_old) {
            return Err((at, NotRetained::RouteIsOld));
        }
        let mut changes = Vec::new();
        for (at, (message, _)) in batch.iter().enumerate().filter(|(_, (message, _))| message.retain) {
            match retained.store(message, generation, author, now) {
                Ok(change) => changes.push((*message, change)),
                Err(full) => {
                    // The last one first: each knows what stood in its place before it.
                    changes.into_iter().rev().for_each(|(message, change)| retained.undo(message, change));
                    return Err((at, full.into()));
                }
            }
        }
        let entries =
            changes.iter().map(|(message, change)| retained.entries(message, change, author)).collect();
        let append = |(message, route): &(&Arc<Message>, &Route)| {
            let ring = route.ring.clone()?;
            let watchers = ring.append(message);
            Some((ring, watchers))
        };
        Ok((entries, batch.iter().filter_map(append).collect()))
    }

    /// Undoes what a message has changed that nobody received in the end. Returns the message that stands in its place again, and what the
    /// durable store has to be told.
    pub(crate) fn take_back(
        &self,
        message: &Arc<Message>,
        change: Change,
        author: Author<'_>,
    ) -> (Option<Arc<Message>>, Entries) {
        self.retained.write().take_back(message, change, author)
    }

    /// What a worker has told the durable store is there: has what this leaves settled, before anybody else can say that it is handed over too.
    pub(crate) fn note_handed_over(
        &self,
        numbers: impl Iterator<Item = (Topic, NonZeroU64)>,
        storage: &dyn Storage,
    ) {
        let mut retained = self.retained.write();
        let mut change = tidegate_storage::Change::default();
        for (topic, number) in numbers {
            let settled = retained.note_handed_over(&topic, number);
            settled.into_iter().for_each(|number| change.settle(StreamId::RETAINED, number.get()));
        }
        if !change.is_empty() {
            storage.append(&mut change, Urgency::Lazy);
        }
    }

    /// Whether a topic has a retained message.
    pub(crate) fn retains(&self, topic: &Topic) -> bool {
        self.retained.read().has(topic)
    }

    /// Looks at so many messages behind a topic for those that have expired.
    pub(crate) fn sweep_retained(&self, behind: Option<&Topic>, count: usize, now: Instant) -> Swept {
        self.retained.write().sweep(behind, count, now)
    }

    /// Takes an entry of the durable store in, the lower numbers first. Returns what is to be settled of it and of an older one.
    pub(crate) fn restore_retained(&self, number: NonZeroU64, found: Found) -> [Option<NonZeroU64>; 2] {
        self.retained.write().restore(number, found)
    }

    /// Begins a search for the retained messages that a filter selects, for a subscription that began with this generation; nothing
    /// where there clearly are none.
    pub(crate) fn search_retained(&self, filter: &TopicFilter, since: u64, now: Instant) -> Option<Search> {
        let retained = self.retained.read();
        let mut probe = retained.search(filter, since);
        let is_found = !retained.find(&mut probe, 1, now).is_empty();
        (is_found || !probe.is_over()).then(|| retained.search(filter, since))
    }

    /// Takes one step of such a search, which may find nothing although there is more.
    pub(crate) fn find_retained(&self, search: &mut Search, count: usize, now: Instant) -> Vec<Arc<Message>> {
        self.retained.read().find(search, count, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::access::Clearance;
    use crate::budget::TotalBytes;
    use crate::queue::Queue;
    use crate::route::Subscription;
    use bytes::Bytes;
    use std::collections::HashSet;
    use tidegate_message::{Origin, QoS};

    const AUTHOR: Author<'_> = Author { worker: 0, keeper: None };

    /// What is published, the first before anybody subscribes.
    const WHOLE: [&str; 5] = ["0", "1", "2", "", "3"];
    const FILTERS: [&str; 3] = ["a/b", "a/+", "#"];

    fn message(payload: &str) -> Arc<Message> {
        Arc::new(Message {
            topic: Topic::parse(b"a/b").unwrap(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: None,
            expires_at: None,
            origin: Origin(7),
            publisher: None,
        })
    }

    fn subscription(queue: &Arc<Queue>) -> Subscription {
        Subscription {
            queue: queue.clone(),
            group: None,
            qos_max: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            subscription_id: None,
            clearance: Clearance::default(),
            since: 0,
        }
    }

    /// A publisher that is stopped between any two of its steps: the route, the attempt to retain, the distribution.
    enum Publisher {
        Idle,
        Routed { generation: u64 },
        Retained { generation: u64 },
    }

    /// What the two of them do, one step at a time; the subscriber subscribes, begins its search and goes on with it.
    struct Meeting {
        router: Router,
        queue: Arc<Queue>,
        publisher: Publisher,
        /// What the publisher has still to publish, the next one last.
        unpublished: Vec<&'static str>,
        filter: TopicFilter,
        /// How many were published when it subscribed.
        missed: usize,
        since: Option<u64>,
        search: Option<Search>,
        live: Vec<String>,
        found: Vec<String>,
    }

    impl Meeting {
        fn new(filter: &str) -> Meeting {
            let total = Arc::new(TotalBytes::new(&Limits::default()));
            let router = Router::new(&Limits::default(), false);
            router.retain(&message("0"), router.generation(), None, AUTHOR, Instant::now()).unwrap();
            Meeting {
                router,
                queue: Arc::new(Queue::new(1, 0, total)),
                publisher: Publisher::Idle,
                unpublished: WHOLE.iter().skip(1).rev().copied().collect(),
                filter: TopicFilter::parse(filter.as_bytes()).unwrap(),
                missed: 0,
                since: None,
                search: None,
                live: Vec::new(),
                found: Vec::new(),
            }
        }

        fn publisher_steps(&mut self) {
            let Some(payload) = self.unpublished.last() else { return };
            let topic = message(payload).topic.clone();
            self.publisher = match self.publisher {
                Publisher::Idle => Publisher::Routed { generation: self.router.route(topic, 0).generation },
                Publisher::Routed { generation } => {
                    match self.router.retain(&message(payload), generation, None, AUTHOR, Instant::now()) {
                        Ok(_) => Publisher::Retained { generation },
                        Err(NotRetained::RouteIsOld) => Publisher::Idle,
                        Err(NotRetained::Full) => panic!("there is room"),
                    }
                }
                Publisher::Retained { generation } => {
                    let receivers = self.router.receivers(&topic, generation);
                    self.live.extend(receivers.iter().map(|_| (*payload).to_owned()));
                    self.unpublished.pop();
                    Publisher::Idle
                }
            };
        }

        fn subscriber_steps(&mut self) {
            let now = Instant::now();
            match (self.since, &mut self.search) {
                (None, _) => {
                    let since = self.router.subscribe(&self.filter, subscription(&self.queue)).unwrap().since;
                    self.since = Some(since);
                    let is_stored = matches!(self.publisher, Publisher::Retained { .. });
                    self.missed = WHOLE.len() - 1 - self.unpublished.len() + usize::from(is_stored);
                }
                (Some(since), None) => {
                    let search = self.router.search_retained(&self.filter, since, now);
                    self.search = Some(search.unwrap_or_else(|| Search::over(&self.filter)));
                }
                (Some(_), Some(search)) => {
                    let found = self.router.find_retained(search, 1, now);
                    let payload =
                        |message: &Arc<Message>| String::from_utf8(message.payload.to_vec()).unwrap();
                    self.found.extend(found.iter().map(payload));
                }
            }
        }
    }

    /// [MQTT-3.3.1-9]: wherever the two meet, the state and what is live afterwards are a run of the publications without a gap.
    #[test]
    fn every_message_reaches_a_new_subscription_by_one_way() {
        const STEPS: usize = 12;
        let mut outcomes = HashSet::new();
        for (order, filter) in (0..1_u32 << STEPS).flat_map(|order| FILTERS.map(|filter| (order, filter))) {
            let mut meeting = Meeting::new(filter);
            for step in 0..STEPS {
                match order >> step & 1 {
                    0 => meeting.publisher_steps(),
                    _ => meeting.subscriber_steps(),
                }
            }
            // Both complete what they have begun.
            (0..3).for_each(|_| meeting.subscriber_steps());
            while !meeting.unpublished.is_empty() {
                meeting.publisher_steps();
            }
            let got: Vec<&str> = meeting.found.iter().chain(&meeting.live).map(String::as_str).collect();
            let (state, behind) = WHOLE.split_at(meeting.missed + 1);
            let state = state.last().filter(|state| !state.is_empty());
            let with_state: Vec<&str> = state.into_iter().chain(behind).copied().collect();
            // The state may have been replaced before it was found, by what came live.
            let is_whole = got == with_state || !behind.is_empty() && got == behind;
            assert!(is_whole, "{filter} {order:b}: {got:?} instead of {with_state:?}");
            outcomes.insert((meeting.found.len(), meeting.live.len()));
        }
        // The subscriber came before, between and behind all messages.
        assert!(
            outcomes.is_superset(&HashSet::from([(0, 4), (1, 4), (1, 3), (1, 2), (0, 1), (1, 0)])),
            "{outcomes:?}"
        );
    }
}

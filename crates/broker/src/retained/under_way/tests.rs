//! Workers that hand over what they have changed in any order, and a process that may end at any moment.

use crate::Limits;
use crate::keeping::Keeper;
use crate::retained::{Author, Entries, Found};
use crate::router::Router;
use bytes::Bytes;
use proptest::prelude::*;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, Origin, QoS, Topic, TopicFilter};
use tidegate_storage::record::MessageRecord;
use tidegate_storage::{Change, MemoryStorage, ReadMax, Storage, StreamId, Urgency};

const WORKERS: usize = 3;
const TOPICS: [&str; 2] = ["a", "b"];
const ALL: ReadMax = ReadMax { entries: usize::MAX, bytes: usize::MAX };

#[derive(Debug, Clone)]
enum Step {
    Retain { worker: usize, topic: usize, is_clear: bool, is_refused: bool },
    HandOver { worker: usize },
}

/// What a worker has changed in its present event.
#[derive(Default)]
struct Event {
    change: Change,
    numbers: Vec<(Topic, NonZeroU64)>,
    /// The effects of the model that it stands for.
    effects: Vec<(usize, usize)>,
}

/// What became of a topic, one after the other: its payload, and whether the store knows.
type Effects = Vec<(Option<String>, bool)>;

struct Run {
    router: Router,
    storage: Arc<MemoryStorage>,
    keeper: Keeper,
    events: Vec<Event>,
    effects: [Effects; 2],
    written: usize,
}

fn message(topic: &str, payload: &str) -> Arc<Message> {
    Arc::new(Message {
        topic: Topic::parse(topic.as_bytes()).unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: None,
        expires_at: None,
        origin: Origin(0),
        publisher: None,
    })
}

impl Run {
    fn new() -> Run {
        let storage = Arc::new(MemoryStorage::new());
        Run {
            router: Router::new(&Limits::default(), true),
            keeper: Keeper::new(storage.clone()),
            storage,
            events: std::iter::repeat_with(Event::default).take(WORKERS).collect(),
            effects: Default::default(),
            written: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Retain { worker, topic, is_clear, is_refused } => {
                self.retain(worker, topic, is_clear, is_refused);
            }
            Step::HandOver { worker } => self.hand_over(worker),
        }
    }

    fn retain(&mut self, worker: usize, topic: usize, is_clear: bool, is_refused: bool) {
        self.written += 1;
        let payload = if is_clear { String::new() } else { self.written.to_string() };
        let (message, now) = (message(TOPICS[topic], &payload), Instant::now());
        let author = Author { worker: worker as u8, keeper: Some(&self.keeper) };
        let retained = self.router.retain(&message, self.router.generation(), None, author, now).unwrap();
        let event = &mut self.events[worker];
        event.write(Some(&message), &retained.entries, now);
        if is_refused {
            // Nobody is told of a change: nothing is promised.
            let (restored, entries) = self.router.take_back(&message, retained.change, author);
            return event.write(restored.as_ref(), &entries, now);
        }
        event.effects.push((topic, self.effects[topic].len()));
        self.effects[topic].push((Some(payload).filter(|payload| !payload.is_empty()), false));
    }

    fn hand_over(&mut self, worker: usize) {
        let Event { mut change, numbers, effects } = std::mem::take(&mut self.events[worker]);
        self.storage.append(&mut change, Urgency::Lazy);
        self.router.note_handed_over(numbers.into_iter(), &*self.storage);
        effects.into_iter().for_each(|(topic, effect)| self.effects[topic][effect].1 = true);
    }

    /// What another process finds is not older than anything that was handed over.
    fn check(&self) {
        let found = found_on(&self.storage);
        for (topic, effects) in TOPICS.iter().zip(&self.effects) {
            let found = found.iter().find(|message| message.topic.as_str() == *topic);
            let found = found.map(|message| String::from_utf8(message.payload.to_vec()).unwrap());
            let newest = effects.iter().rposition(|(_, is_handed_over)| *is_handed_over);
            let possible = &effects[newest.unwrap_or(0)..];
            let is_new = possible.iter().any(|(payload, _)| *payload == found);
            assert!(is_new || newest.is_none() && found.is_none(), "{topic}: {found:?} of {effects:?}");
        }
    }

    /// When everything is handed over, the store has what is retained and nothing else.
    fn complete(mut self) {
        for worker in 0..WORKERS {
            self.hand_over(worker);
            self.check();
        }
        let found = found_on(&self.storage);
        assert_eq!(self.storage.read(StreamId::RETAINED, 0, ALL).unwrap().len(), found.len());
        assert_eq!(found, in_memory(&self.router));
    }
}

impl Event {
    fn write(&mut self, message: Option<&Arc<Message>>, entries: &Entries, now: Instant) {
        if let Some((message, number)) = message.zip(entries.number) {
            if entries.is_entry {
                let mut record = Vec::new();
                MessageRecord::write(&**message, now, 0, &mut record);
                self.change.append(&[(StreamId::RETAINED, number.get(), b"")], &record);
            }
            self.numbers.push((message.topic.clone(), number));
        }
        entries.settled.iter().for_each(|number| self.change.settle(StreamId::RETAINED, number.get()));
    }
}

fn in_memory(router: &Router) -> Vec<Arc<Message>> {
    let filter = TopicFilter::parse(b"#").unwrap();
    let search = router.search_retained(&filter, u64::MAX, Instant::now());
    search.map_or(Vec::new(), |mut search| router.find_retained(&mut search, 100, Instant::now()))
}

fn found_on(storage: &MemoryStorage) -> Vec<Arc<Message>> {
    let router = Router::new(&Limits::default(), true);
    for entry in storage.read(StreamId::RETAINED, 0, ALL).unwrap() {
        let message = MessageRecord::read(&entry.body).unwrap().message;
        let found = match message.payload.is_empty() {
            true => Found::Nothing(message.topic),
            false => Found::Message(message),
        };
        router.restore_retained(NonZeroU64::new(entry.number).unwrap(), found);
    }
    in_memory(&router)
}

fn any_step() -> impl Strategy<Value = Step> {
    let retain = (0..WORKERS, 0..TOPICS.len(), prop::bool::weighted(0.4), prop::bool::weighted(0.2));
    prop_oneof![
        3 => retain.prop_map(|(worker, topic, is_clear, is_refused)| Step::Retain { worker, topic, is_clear, is_refused }),
        2 => (0..WORKERS).prop_map(|worker| Step::HandOver { worker }),
    ]
}

proptest! {
    /// [MQTT-3.3.1-5] [MQTT-3.3.1-6]: nothing that was replaced or cleared comes back.
    #[test]
    fn what_was_handed_over_is_not_undone_by_what_is_older(steps in prop::collection::vec(any_step(), 0..40)) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
            run.check();
        }
        run.complete();
    }
}

//! Reading back what queues have on the disk only: away from the workers, because a read may wait for the disk and a worker may not.
//!
//! A queue asks when little of it is left in memory. It has one question under way at the most, so that all of them together are no
//! more than there are queues. The answer goes by letter to the home of the queue. What is not the one that the queue waits for any more
//! is of no use there (`queue/tail.rs`).
//!
//! [`StoreReader`] is the thread that does this. Without one, whoever owns the node calls [`Node::read_for_queues`].

use crate::group::Group;
use crate::mailbox::Letter;
use crate::node::Node;
use crate::queue::{Aim, Ask, Lens, Queue, Seen};
use crate::queued::Queued;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate_storage::record::{DeliveryNote, MessageRecord};
use tidegate_storage::{Entry, ReadError, Storage, StreamId};
use tracing::error;

/// How long a question rests that the disk could not answer, or to which nothing was found.
const REST: Duration = Duration::from_secs(1);
/// Answers to others, after which it has rested long enough where there is always something to do.
const ANSWERS_BEFORE_RETRY: u32 = 1024;

/// Who wants to read.
#[derive(Debug, Clone)]
pub(crate) enum Asker {
    /// A queue with one consumer.
    Own(Arc<Queue>),
    /// A group with its queue.
    Group(Arc<Group>),
}

impl Asker {
    /// The queue that runs low.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        match self {
            Asker::Own(queue) => queue,
            Asker::Group(group) => &group.queue,
        }
    }
}

/// What is to be read for somebody.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) asker: Asker,
    pub(crate) ask: Ask,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) ask: Ask,
    /// Ascending by number.
    pub(crate) entries: Vec<FoundEntry>,
}

/// What was seen of a queue, where nothing is to come into memory.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) ask: Ask,
    /// Ascending by number.
    pub(crate) seen: Vec<Seen>,
}

impl Looked {
    fn new(found: &Found, lens: Lens<'_>) -> Looked {
        let see = |entry: &FoundEntry| {
            // What a session has taken from a group may be under way to it, wherever it stands ([MQTT-4.8.2-4]).
            let content = entry.content.as_ref().filter(|(_, note)| !is_taken(note));
            let value = content.and_then(|(MessageRecord { message, .. }, _)| {
                Some((lens.key(&message.topic)?, size_of::<Queued>() + message.weight_bytes()))
            });
            Seen { number: entry.number, value }
        };
        Looked { ask: found.ask, seen: found.entries.iter().map(see).collect() }
    }
}

fn is_taken(note: &[u8]) -> bool {
    DeliveryNote::read(note).is_ok_and(|note| note.taken_from.is_some())
}

/// One entry of a queue's stream.
#[derive(Debug)]
pub(crate) struct FoundEntry {
    pub(crate) number: u64,
    /// What it is, and what was noted of it; nothing where that cannot be read.
    pub(crate) content: Option<(MessageRecord, Bytes)>,
}

impl FoundEntry {
    /// Reads an entry that stands behind another one, of which most have the same topic.
    fn new(stream: StreamId, entry: Entry, before: Option<&FoundEntry>) -> FoundEntry {
        let topic = before.and_then(|before| Some(&before.content.as_ref()?.0.message.topic));
        let record = MessageRecord::read_after(&entry.body, topic);
        let content = record.ok().map(|record| (record, entry.note));
        if content.is_none() {
            return FoundEntry::damaged(stream, entry.number);
        }
        FoundEntry { number: entry.number, content }
    }

    fn damaged(stream: StreamId, number: u64) -> FoundEntry {
        error!(stream = stream.0, number, "a message in the store is damaged and is left out");
        FoundEntry { number, content: None }
    }
}

/// The questions that wait for somebody to read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    work: Mutex<Work>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    asked: VecDeque<Question>,
    resting: Vec<Question>,
    answered_since_retry: u32,
    has_ended: bool,
}

impl Work {
    fn retry(&mut self) {
        self.answered_since_retry = 0;
        self.asked.extend(self.resting.drain(..));
    }

    fn next(&mut self) -> Option<Question> {
        let question = self.asked.pop_front()?;
        self.answered_since_retry += u32::from(!self.resting.is_empty());
        if self.answered_since_retry >= ANSWERS_BEFORE_RETRY {
            self.retry();
        }
        Some(question)
    }
}

impl Reading {
    /// Has this read as soon as it is its turn.
    pub(crate) fn ask(&self, question: Question) {
        self.work.lock().asked.push_back(question);
        self.more.notify_one();
    }

    /// Has this read after a while.
    pub(crate) fn ask_later(&self, question: Question) {
        self.work.lock().resting.push(question);
        self.more.notify_one();
    }

    /// The next question, waited for; nothing where there will be none.
    fn wait(&self) -> Option<Question> {
        let mut work = self.work.lock();
        while !work.has_ended {
            if let Some(question) = work.next() {
                return Some(question);
            }
            if work.resting.is_empty() {
                self.more.wait(&mut work);
            } else if self.more.wait_for(&mut work, REST).timed_out() {
                work.retry();
            }
        }
        None
    }

    fn end(&self) {
        self.work.lock().has_ended = true;
        self.more.notify_one();
    }
}

impl Node {
    /// Reads everything that queues have asked for, on the calling thread. Returns whether that was anything.
    pub fn read_for_queues(&self) -> bool {
        let next = || self.keeper.as_ref()?.reading.work.lock().next();
        let answered = std::iter::from_fn(next).map(|question| self.answer(question));
        answered.count() > 0
    }

    /// Has everything read again that the disk could not answer: as if some time had passed.
    pub fn retry_reads(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.reading.work.lock().retry();
        }
    }

    fn answer(&self, question: Question) {
        let Some(keeper) = &self.keeper else { return };
        let stream = StreamId(question.asker.queue().id);
        match read(keeper.storage().as_ref(), stream, &question.ask) {
            Ok(found) => {
                let (asker, home) = (question.asker.clone(), question.asker.queue().address().worker);
                self.post(home, self.letter_of(asker, found));
            }
            Err(error) => {
                error!(stream = stream.0, number = question.ask.from, %error, "the store cannot be read");
                keeper.reading.ask_later(question);
            }
        }
    }
}

impl Node {
    fn letter_of(&self, asker: Asker, found: Found) -> Letter {
        match found.ask.aim {
            Aim::Window => Letter::Found(asker, found),
            Aim::Conflation(scope) => {
                let terms = self.router.topic_terms();
                Letter::Looked(asker, Looked::new(&found, Lens::new(scope, &terms)))
            }
        }
    }
}

/// The thread that reads for the queues of a node. It ends when this goes.
#[derive(Debug)]
pub struct StoreReader {
    node: Arc<Node>,
    thread: Option<JoinHandle<()>>,
}

impl StoreReader {
    /// Starts the thread; none where the node has no store.
    pub fn start(node: &Arc<Node>) -> io::Result<StoreReader> {
        let reads_for = node.clone();
        let run = move || {
            while let Some(question) = reads_for.keeper.as_ref().and_then(|keeper| keeper.reading.wait()) {
                reads_for.answer(question);
            }
        };
        let thread = match node.keeper.is_some() {
            true => Some(std::thread::Builder::new().name("store-reader".into()).spawn(run)?),
            false => None,
        };
        Ok(StoreReader { node: node.clone(), thread })
    }
}

impl Drop for StoreReader {
    fn drop(&mut self) {
        self.node.keeper.iter().for_each(|keeper| keeper.reading.end());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that reads the store has failed");
        }
    }
}

/// Reads what a queue has asked for. A damaged entry ends the answer, behind everything that stands before it.
fn read(storage: &dyn Storage, stream: StreamId, ask: &Ask) -> io::Result<Found> {
    let (mut from, mut max, mut bytes) = (ask.from, ask.max, 0);
    let mut found = Found { ask: *ask, entries: Vec::new() };
    loop {
        match storage.read(stream, from, max) {
            Err(ReadError::Disk(error)) => return Err(error),
            Err(ReadError::Damaged { number, .. }) if max.entries <= 1 || number <= from => {
                found.entries.push(FoundEntry::damaged(stream, number.max(from)));
                return Ok(found);
            }
            // Whether those before it could be read is not said, so they are read one by one.
            Err(ReadError::Damaged { .. }) => max.entries = 1,
            Ok(entries) => {
                let last = entries.last().map(|last| last.number);
                bytes += entries.iter().map(|entry| entry.body.len()).sum::<usize>();
                found.entries.reserve(entries.len());
                for entry in entries {
                    let entry = FoundEntry::new(stream, entry, found.entries.last());
                    found.entries.push(entry);
                }
                let is_full = found.entries.len() >= ask.max.entries || bytes >= ask.max.bytes;
                let Some(last) = last.filter(|_| max.entries <= 1 && !is_full) else { return Ok(found) };
                from = last.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_storage::{Change, MemoryStorage, ReadMax, Urgency};

    const STREAM: StreamId = StreamId(2000);

    fn storage() -> MemoryStorage {
        let (storage, mut change) = (MemoryStorage::new(), Change::default());
        let topic = tidegate_message::Topic::parse(b"t").unwrap();
        let message = tidegate_message::Message {
            topic,
            payload: Bytes::from_static(b"payload"),
            qos: tidegate_message::QoS::AtLeastOnce,
            retain: false,
            properties: None,
            expires_at: None,
            origin: tidegate_message::Origin(0),
            publisher: None,
        };
        let mut body = Vec::new();
        MessageRecord::write(&message, std::time::Instant::now(), 0, &mut body);
        for number in 1..=9 {
            let body = if number == 8 { &b"nothing"[..] } else { &body };
            change.append(&[(STREAM, number, b"")], body);
        }
        storage.append(&mut change, Urgency::Lazy);
        storage
    }

    /// [MQTT-4.8.2-4]: a newer message of its topic makes nothing worthless that a session has taken from a group.
    #[test]
    fn what_was_taken_from_a_group_is_left_alone() {
        let (storage, mut change) = (storage(), Change::default());
        let body = storage.read(STREAM, 1, ReadMax { entries: 1, bytes: 1 }).unwrap().remove(0).body;
        for (number, taken_from) in [(10, Some((StreamId(3000), 1))), (11, None)] {
            let (qos, mut note) = (tidegate_message::QoS::ExactlyOnce, Vec::new());
            let delivery =
                DeliveryNote { qos, retain: false, subscription_ids: vec![], attempt: 1, taken_from };
            delivery.write(&mut note);
            change.append(&[(STREAM, number, &note)], &body);
        }
        storage.append(&mut change, Urgency::Lazy);
        let ask = Ask { question: 1, from: 10, max: ReadMax { entries: 9, bytes: 1000 }, aim: Aim::Window };
        let entries = storage.read(STREAM, 10, ask.max).unwrap();
        let entries = entries.into_iter().map(|entry| FoundEntry::new(STREAM, entry, None)).collect();
        let looked = Looked::new(&Found { ask, entries }, Lens::Everything);
        let is_left: Vec<_> = looked.seen.iter().map(|seen| (seen.number, seen.value.is_none())).collect();
        assert_eq!(is_left, [(10, true), (11, false)]);
    }

    fn found(storage: &MemoryStorage, from: u64, entries: usize) -> Vec<(u64, bool)> {
        let ask = Ask { question: 1, from, max: ReadMax { entries, bytes: 1000 }, aim: Aim::Window };
        let found = read(storage, STREAM, &ask).unwrap();
        found.entries.iter().map(|entry| (entry.number, entry.content.is_some())).collect()
    }

    #[test]
    fn a_damaged_entry_is_found_behind_those_before_it() {
        let storage = storage();
        storage.damage(STREAM, 4);
        assert_eq!(found(&storage, 1, 2), [(1, true), (2, true)]);
        assert_eq!(found(&storage, 2, 20), [(2, true), (3, true), (4, false)]);
        assert_eq!(found(&storage, 4, 20), [(4, false)]);
        assert_eq!(found(&storage, 5, 3), [(5, true), (6, true), (7, true)]);
        assert_eq!(found(&storage, 10, 20), []);
    }

    /// The storage says that it is what was written; what was written is no message.
    #[test]
    fn what_is_no_message_is_damaged() {
        assert_eq!(found(&storage(), 7, 20), [(7, true), (8, false), (9, true)]);
    }

    #[test]
    fn what_the_disk_cannot_answer_is_asked_again() {
        let storage = storage();
        storage.set_unreadable(true);
        let ask = Ask { question: 1, from: 1, max: ReadMax { entries: 1, bytes: 1 }, aim: Aim::Window };
        assert!(read(&storage, STREAM, &ask).is_err());
        storage.set_unreadable(false);
        assert!(read(&storage, STREAM, &ask).is_ok());
    }
}

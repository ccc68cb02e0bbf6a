//! How workers reach each other: one mailbox each, rung once per batch.

use crate::entry::Claims;
use crate::group::Group;
use crate::queue::Queue;
use crate::reading::{Asker, Found, Looked};
use crate::router::Moved;
use crate::sessions::{Holder, SessionKey};
use crate::shard::parcel::Parcel;
use parking_lot::Mutex;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use tidegate_message::Message;
use tidegate_protocol::{Denial, Verified};

/// Letters that may wait before publishers of other workers are told to pause.
const LETTERS_MARK: usize = 16_384;
/// Bytes of messages that may wait before publishers of other workers are told to pause.
const BYTES_MARK: usize = 8 << 20;

/// What one worker tells another.
#[derive(Debug)]
pub(crate) enum Letter {
    /// Deliver this to the receivers that were at home with you in that generation; room is reserved for it in this queue, and what is
    /// kept of it was written into the store for those of them that are named.
    Deliver { message: Arc<Message>, generation: u64, reserved: Option<NonZeroU64>, claims: Option<Claims> },
    /// The same for several small messages.
    Parcel(Parcel),
    /// Something was put into the queue of one of your consumers.
    Wake(Arc<Queue>),
    /// The replay ring of this number has more for those of your consumers that had read everything.
    RingHasMore(u64),
    /// The group has something for one of your consumers, which is a member of it.
    Offer { group: Arc<Group>, member: Arc<Queue> },
    /// This queue has moved: tell its old home when you have sent it everything older.
    Moved(Arc<Queue>, Moved),
    /// You, its old home, have everything older from one more worker.
    Passed(Arc<Queue>, Moved),
    /// Close the connection that holds this session; then tell the claimant.
    GiveUp { key: SessionKey, held_by: Holder, claimant: Holder },
    /// Something is due earlier among the sessions that nobody holds.
    LookAtAgenda,
    /// Look at this queue, which is at home with you: it may be new, and something in it may expire sooner than what you know of.
    LookAtQueue(Arc<Group>),
    /// This queue has ended: tell its home when you have sent it everything that you had for it. Its home forgets it.
    QueueEnded(Arc<Group>),
    /// This was read for a queue that was at home with you then.
    Found(Asker, Found),
    /// The part of a queue that is on the disk only was looked at.
    Looked(Asker, Looked),
    /// One more worker has nothing under way to a queue that was at home with you.
    NothingUnderWay(Arc<Group>),
    /// The node has other rules: take them over, and look at your connections again.
    Reconfigured,
    /// The session that you claimed is free now.
    GivenUp { claimant: Holder },
    /// It is known what became of a message for which one of your connections waits.
    Decided(Holder),
    /// What became of the credentials of one of your connections.
    Authenticated { holder: Holder, answer: Result<Verified, Denial> },
}

impl Letter {
    fn weight_bytes(&self) -> usize {
        match self {
            Letter::Deliver { message, .. } => message.weight_bytes(),
            Letter::Parcel(parcel) => parcel.weight_bytes(),
            _ => 0,
        }
    }

    /// How many letters it stands for.
    fn count(&self) -> usize {
        match self {
            Letter::Parcel(parcel) => parcel.len(),
            _ => 1,
        }
    }
}

/// Wakes a worker that may be asleep; called from other workers' threads.
pub type Bell = Box<dyn Fn() + Send + Sync>;

/// A worker's bell, and whether the worker wants to hear of the storage. Apart from the mailbox, because the storage has it as well.
pub(crate) struct Ringer {
    bell: Bell,
    awaits_storage: AtomicBool,
}

impl Ringer {
    /// The storage has come further. Called by its own thread.
    pub(crate) fn note_progress(&self) {
        // Behind the progress, as the worker asks for it behind saying that it waits: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.awaits_storage.swap(false, Ordering::SeqCst) {
            (self.bell)();
        }
    }
}

/// The letters that wait for one worker.
pub(crate) struct Mailbox {
    ringer: Arc<Ringer>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    letters: Vec<Letter>,
    count: usize,
    bytes: usize,
}

impl Mailbox {
    pub(crate) fn new(bell: Bell) -> Mailbox {
        let ringer = Arc::new(Ringer { bell, awaits_storage: AtomicBool::new(false) });
        Mailbox { ringer, waiting: Mutex::default() }
    }

    /// What the storage rings.
    pub(crate) fn ringer(&self) -> Arc<Ringer> {
        self.ringer.clone()
    }

    /// Has the worker woken when the storage comes further than it is from now on.
    pub(crate) fn ring_for_storage(&self) {
        self.ringer.awaits_storage.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Nobody of the worker waits for the storage any more.
    pub(crate) fn do_not_ring_for_storage(&self) {
        self.ringer.awaits_storage.store(false, Ordering::SeqCst);
    }

    /// Appends a batch in order and leaves `letters` empty. Rings only where the worker has nothing to read yet.
    pub(crate) fn post(&self, letters: &mut Vec<Letter>) {
        let mut waiting = self.waiting.lock();
        let was_empty = waiting.letters.is_empty();
        waiting.count += letters.iter().map(Letter::count).sum::<usize>();
        waiting.bytes += letters.iter().map(Letter::weight_bytes).sum::<usize>();
        waiting.letters.append(letters);
        drop(waiting);
        if was_empty {
            (self.ringer.bell)();
        }
    }

    /// Takes everything; `empty` becomes the next place to write to.
    pub(crate) fn take(&self, empty: Vec<Letter>) -> Vec<Letter> {
        let mut waiting = self.waiting.lock();
        (waiting.count, waiting.bytes) = (0, 0);
        std::mem::replace(&mut waiting.letters, empty)
    }

    /// Whether so much waits that whoever publishes into it should pause.
    pub(crate) fn is_pressed(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.count > LETTERS_MARK || waiting.bytes > BYTES_MARK
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mailbox").field("letters", &self.waiting.lock().letters.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tidegate_message::{Origin, Properties, QoS, Topic};

    /// A message can be all properties: what the mark counts is what the letters hold.
    #[test]
    fn properties_press_as_payloads_do() {
        let mailbox = Mailbox::new(Box::new(|| {}));
        let user = vec![("name".into(), "x".repeat(BYTES_MARK).into())];
        let message = Arc::new(Message {
            topic: Topic::parse(b"t").unwrap(),
            payload: Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Some(Box::new(Properties { user, ..Properties::default() })),
            expires_at: None,
            origin: Origin(0),
            publisher: None,
        });
        mailbox.post(&mut vec![Letter::Deliver { message, generation: 1, reserved: None, claims: None }]);
        assert!(mailbox.is_pressed());
        mailbox.take(Vec::new());
        assert!(!mailbox.is_pressed());
    }

    #[test]
    fn rings_once_per_batch() {
        let rung = Arc::new(AtomicUsize::new(0));
        let counter = rung.clone();
        let mailbox = Mailbox::new(Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        let letter = || Letter::GivenUp { claimant: Holder { worker: 0, slot: 0, connection: 0 } };
        mailbox.post(&mut vec![letter(), letter()]);
        mailbox.post(&mut vec![letter()]);
        assert_eq!((rung.load(Ordering::Relaxed), mailbox.take(Vec::new()).len()), (1, 3));
        mailbox.post(&mut vec![letter()]);
        assert_eq!(rung.load(Ordering::Relaxed), 2);
    }
}

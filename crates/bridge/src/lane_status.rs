//! What one forward or receive of a bridge counts, and what is known of how it fares.

use crate::dead_letter::shortened;
use crate::rate::Rate;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// What one forward or receive counts.
#[derive(Debug, Default)]
pub struct LaneStatus {
    /// Its name: that of its session for a forward.
    pub name: String,
    /// Messages that are safe at the other side: confirmed by the upstream, or kept here.
    pub confirmed: AtomicU64,
    /// Messages that came from the upstream, those that came again among them.
    pub received: AtomicU64,
    /// Messages that were sent again.
    pub retried: AtomicU64,
    /// Times that a message was not taken for the moment: by the upstream of a forward, by the gateway of a receive.
    pub turned_away: AtomicU64,
    /// Messages that came in again and were recognised.
    pub duplicates: AtomicU64,
    /// Messages that became dead letters, and are kept here.
    pub dead_letters: AtomicU64,
    /// Messages in memory that are not settled.
    pub in_flight: AtomicU64,
    /// Whether its link to the gateway stands, with its session where it has one.
    is_attached: AtomicBool,
    /// Whether what waited is on its way.
    is_draining: AtomicBool,
    is_rejected: AtomicBool,
    is_unanswered: AtomicBool,
    /// Messages that the upstream refused for good, by the reason.
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Messages that were thrown away, by the reason.
    dropped: Mutex<BTreeMap<&'static str, u64>>,
    waiting_since: Mutex<Option<Instant>>,
    oldest_held_at_millis: Mutex<Option<u64>>,
    problem: Mutex<Option<Problem>>,
    rates: Mutex<Rates>,
}

#[derive(Debug, Default)]
struct Rates {
    /// Of messages that are confirmed, or received.
    done: Rate,
    /// Of what waits.
    backlog: Rate,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What, in words and without secrets; of a long text the beginning.
    pub text: String,
    /// When.
    pub at: Instant,
}

impl Problem {
    pub(crate) fn new(text: &str, at: Instant) -> Problem {
        Problem { text: shortened(text).to_owned(), at }
    }
}

/// A link of a lane that stands for as long as this lives, however the task ends that has it.
#[derive(Debug)]
pub(crate) struct Attached(Arc<LaneStatus>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.is_attached.store(false, Ordering::Relaxed);
    }
}

impl LaneStatus {
    pub(crate) fn new(name: String) -> Arc<LaneStatus> {
        Arc::new(LaneStatus { name, ..LaneStatus::default() })
    }

    pub(crate) fn count(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self, reason: &'static str) {
        *self.refused.lock().entry(reason).or_default() += 1;
    }

    pub(crate) fn count_dropped(&self, reason: &'static str) {
        *self.dropped.lock().entry(reason).or_default() += 1;
    }

    pub(crate) fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Relaxed);
    }

    pub(crate) fn set_rejected(&self, is_rejected: bool) {
        self.is_rejected.store(is_rejected, Ordering::Relaxed);
    }

    /// Whether something was sent over the connection that stands and has no verdict.
    pub(crate) fn set_unanswered(&self, is_unanswered: bool) {
        self.is_unanswered.store(is_unanswered, Ordering::Relaxed);
    }

    pub(crate) fn is_unanswered(&self) -> bool {
        self.is_unanswered.load(Ordering::Relaxed)
    }

    pub(crate) fn set_waiting_since(&self, since: Option<Instant>) {
        *self.waiting_since.lock() = since;
    }

    /// When the oldest message that it has in memory was published, in the time of the gateway.
    pub(crate) fn set_oldest_held(&self, taken_at_millis: Option<u64>) {
        *self.oldest_held_at_millis.lock() = taken_at_millis;
    }

    pub(crate) fn oldest_held_at_millis(&self) -> Option<u64> {
        *self.oldest_held_at_millis.lock()
    }

    pub(crate) fn note_problem(&self, text: &str) {
        *self.problem.lock() = Some(Problem::new(text, Instant::now()));
    }

    pub(crate) fn attach(self: &Arc<Self>) -> Attached {
        self.is_attached.store(true, Ordering::Relaxed);
        Attached(self.clone())
    }

    /// Whether its link to the gateway stands: from then on nothing is missed.
    pub fn is_attached(&self) -> bool {
        self.is_attached.load(Ordering::Relaxed)
    }

    /// Whether what waited during an outage is on its way.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Whether the other side takes no messages, and says so.
    pub fn is_rejected(&self) -> bool {
        self.is_rejected.load(Ordering::Relaxed)
    }

    /// Since when nothing has come of what is under way; nothing where nothing is. Time without a connection does not count.
    pub fn waiting_since(&self) -> Option<Instant> {
        *self.waiting_since.lock()
    }

    /// How many messages are done with and how many wait, about once a second.
    pub(crate) fn sample(&self, done: u64, backlog: u64, now: Instant) {
        let mut rates = self.rates.lock();
        rates.done.observe(done as f64, now);
        rates.backlog.observe(backlog as f64, now);
    }

    /// How many messages are done with in a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.rates.lock().done.per_second().unwrap_or(0.0).max(0.0)
    }

    /// In how many seconds a backlog of so many messages is gone: while what waited is on its way by how fast it becomes less, else by how fast
    /// messages leave.
    pub(crate) fn drained_in_seconds(&self, backlog: u64) -> Option<f64> {
        if backlog == 0 {
            return Some(0.0);
        }
        let rates = self.rates.lock();
        let per_second = match self.is_draining() {
            true => -rates.backlog.per_second()?,
            false => rates.done.per_second()?,
        };
        // Slower than one in a quarter of an hour is not at all.
        (per_second > 0.001).then(|| backlog as f64 / per_second)
    }

    /// What went wrong last.
    pub fn problem(&self) -> Option<Problem> {
        self.problem.lock().clone()
    }

    /// What the upstream refused for good, by the reason.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().clone()
    }

    /// What was thrown away, by the reason.
    pub fn dropped(&self) -> BTreeMap<&'static str, u64> {
        self.dropped.lock().clone()
    }
}

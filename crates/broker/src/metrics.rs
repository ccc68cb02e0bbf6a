//! What a worker counts.
//!
//! Each worker owns its counters and is the only one who writes them, so counting is a plain add; whoever reads sums over
//! the workers. Reasons are fixed words, never text from a peer.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_protocol::Start;

/// A number that one worker writes and anybody reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only from the worker that owns the counter.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Takes away; only from the worker that owns the counter.
    pub fn subtract(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(count), Ordering::Relaxed);
    }

    /// The number as it stands.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by quality of service.
#[derive(Debug, Default)]
pub struct ByQoS([Counter; 3]);

impl ByQoS {
    /// The counter of one level.
    pub fn at(&self, qos: QoS) -> &Counter {
        let [zero, one, two] = &self.0;
        match qos {
            QoS::AtMostOnce => zero,
            QoS::AtLeastOnce => one,
            QoS::ExactlyOnce => two,
        }
    }
}

/// What one worker counts for one protocol.
#[derive(Debug, Default)]
pub struct ProtocolMetrics {
    /// Connections that began to speak the protocol.
    pub opened: Counter,
    /// Connections that are open.
    pub open: Counter,
    /// Messages published by clients.
    pub received: ByQoS,
    /// Payload bytes published by clients.
    pub received_bytes: ByQoS,
    /// Messages delivered to clients.
    pub sent: ByQoS,
    /// Payload bytes delivered to clients.
    pub sent_bytes: ByQoS,
    /// Bytes read from sockets, after TLS and WebSocket.
    pub wire_in_bytes: Counter,
    /// Bytes handed to the transport, before TLS and WebSocket.
    pub wire_out_bytes: Counter,
    /// Times that a client was not read from because it published too fast.
    pub throttled: Counter,
    /// How long that was, all clients together.
    pub throttled_microseconds: Counter,
    closed: Mutex<BTreeMap<&'static str, u64>>,
    logins_refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl ProtocolMetrics {
    /// Counts the end of a connection.
    pub fn count_close(&self, reason: &'static str) {
        *self.closed.lock().entry(reason).or_default() += 1;
    }

    /// Counts a client that was not let in.
    pub fn count_login_refused(&self, reason: &'static str) {
        *self.logins_refused.lock().entry(reason).or_default() += 1;
    }

    /// Clients that were not let in, by reason.
    pub fn logins_refused(&self) -> BTreeMap<&'static str, u64> {
        self.logins_refused.lock().clone()
    }

    /// Ended connections by reason.
    pub fn closed(&self) -> BTreeMap<&'static str, u64> {
        self.closed.lock().clone()
    }
}

/// What clients asked for and may not, by what it was.
#[derive(Debug, Default)]
pub struct Denials {
    /// Messages that were not routed.
    pub publish: Counter,
    /// Wills that were refused or not published.
    pub will: Counter,
    /// Subscriptions that were refused or taken away.
    pub subscribe: Counter,
    /// Deliveries that waited until their receiver might not have them any more.
    pub receive: Counter,
}

/// Consumers that began to follow a replay ring, by where they began.
#[derive(Debug, Default)]
pub struct Resumes {
    /// Now, because they were new.
    pub began: Counter,
    /// Behind the last message that their client had.
    pub continued: Counter,
    /// Now, because what follows the last message that their client had is gone.
    pub gap: Counter,
}

impl Resumes {
    /// The counter of one beginning.
    pub fn at(&self, start: Start) -> &Counter {
        match start {
            Start::Began => &self.began,
            Start::Continued => &self.continued,
            Start::Gap => &self.gap,
        }
    }
}

/// What one worker counts.
#[derive(Debug)]
pub struct WorkerMetrics {
    /// By protocol, in the order of [`crate::NodeOptions::protocols`].
    pub protocols: Vec<ProtocolMetrics>,
    /// Topics that were found in the connection's or the worker's cache.
    pub route_cache_hits: Counter,
    /// Topics that had to be looked up in the tree.
    pub route_cache_misses: Counter,
    /// Sessions that ended because nobody claimed them in time.
    pub sessions_expired: Counter,
    /// Deliveries of messages that a consumer had before.
    pub redeliveries: Counter,
    /// Time from reading a message to handing its last copy to the socket, on the way that does not wait in a queue.
    pub latency: Histogram,
    /// What was refused because clients may not do it.
    pub denied: Denials,
    /// Consumers that began to follow a replay ring.
    pub resumes: Resumes,
    /// Times that a consumer was overtaken by the ring that it follows, so that it misses messages.
    pub replay_overruns: Counter,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
    dead_letters: Mutex<BTreeMap<&'static str, u64>>,
}

impl WorkerMetrics {
    pub(crate) fn new(protocols: usize) -> WorkerMetrics {
        WorkerMetrics {
            protocols: std::iter::repeat_with(ProtocolMetrics::default).take(protocols).collect(),
            route_cache_hits: Counter::default(),
            route_cache_misses: Counter::default(),
            sessions_expired: Counter::default(),
            redeliveries: Counter::default(),
            latency: Histogram::default(),
            denied: Denials::default(),
            resumes: Resumes::default(),
            replay_overruns: Counter::default(),
            dropped: Mutex::default(),
            dead_letters: Mutex::default(),
        }
    }

    /// Counts a message that died in a named queue and is published elsewhere.
    pub fn count_dead_letter(&self, reason: &'static str) {
        *self.dead_letters.lock().entry(reason).or_default() += 1;
    }

    /// Messages that died in named queues and were published elsewhere, by reason.
    pub fn dead_letters(&self) -> BTreeMap<&'static str, u64> {
        self.dead_letters.lock().clone()
    }

    /// Counts deliveries that will not happen.
    pub fn count_dropped(&self, reason: &'static str, count: usize) {
        if count > 0 {
            *self.dropped.lock().entry(reason).or_default() += count as u64;
        }
    }

    /// Deliveries that did not happen, by reason.
    pub fn dropped(&self) -> BTreeMap<&'static str, u64> {
        self.dropped.lock().clone()
    }
}

/// Upper bounds of the histogram's buckets in microseconds; one more bucket takes the rest.
pub const LATENCY_BUCKETS_MICROSECONDS: [u64; 14] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000];

/// A histogram of durations with fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; LATENCY_BUCKETS_MICROSECONDS.len() + 1],
    sum_microseconds: Counter,
}

impl Histogram {
    /// Counts `count` observations of the same duration.
    pub fn observe(&self, duration: Duration, count: u64) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BUCKETS_MICROSECONDS.partition_point(|&bound| bound < microseconds);
        if let Some(counter) = self.buckets.get(bucket) {
            counter.add(count);
            self.sum_microseconds.add(microseconds.saturating_mul(count));
        }
    }

    /// Observations per bucket, the last one without a bound.
    pub fn buckets(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Counter::get)
    }

    /// The sum of all observations in microseconds.
    pub fn sum_microseconds(&self) -> u64 {
        self.sum_microseconds.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_the_bucket_that_bounds_them() {
        let histogram = Histogram::default();
        for (microseconds, count) in [(0, 1), (10, 1), (11, 2), (2_000_000, 3)] {
            histogram.observe(Duration::from_micros(microseconds), count);
        }
        let buckets: Vec<u64> = histogram.buckets().collect();
        assert_eq!((buckets[0], buckets[1], buckets[14]), (2, 2, 3));
        assert_eq!(histogram.sum_microseconds(), 10 + 22 + 6_000_000);
    }
}

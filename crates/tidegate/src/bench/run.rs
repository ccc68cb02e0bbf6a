//! What all connections, workers and the control of one run share.

use super::failure::Failure;
use super::flow::Flow;
use super::plan::{Plan, Role};
use super::tally::Tally;
use hdrhistogram::CreationError;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Connections are opened and subscribed.
    Opening,
    /// Messages are sent and received.
    Running,
    /// Everybody says goodbye.
    Closing,
}

/// Connections that failed.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// How many.
    pub(crate) count: u64,
    /// What happened to the first one.
    pub(crate) first: Option<Failure>,
}

/// Where the broker listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// For publishers.
    pub(crate) publish: SocketAddr,
    /// For subscribers.
    pub(crate) subscribe: SocketAddr,
}

/// One run.
#[derive(Debug)]
pub(crate) struct Run {
    /// What is to be done.
    pub(crate) plan: Plan,
    addresses: Addresses,
    /// Eight hexadecimal digits that keep topics and client ids of two runs apart.
    pub(crate) name: String,
    /// One for each publisher.
    pub(crate) flows: Vec<Flow>,
    /// One for each worker.
    pub(crate) tallies: Vec<Mutex<Tally>>,
    /// Where the run stands.
    pub(crate) phase: watch::Sender<Phase>,
    /// Rings when a connection is ready or has failed.
    pub(crate) changed: Notify,
    /// Rings at Ctrl-C.
    pub(crate) interrupt: Notify,
    ready: AtomicU32,
    failures: Mutex<Failures>,
    epoch: Instant,
    start: AtomicU64,
    measured_start: AtomicU64,
    end: AtomicU64,
}

impl Run {
    /// A run in its first phase.
    pub(crate) fn new(plan: Plan, addresses: Addresses) -> Result<Run, CreationError> {
        let receivers = plan.layout.receivers(plan.subscribers);
        let tallies = (0..plan.threads).map(|_| Tally::new(!plan.quiet).map(Mutex::new));
        Ok(Run {
            name: name(),
            flows: (0..plan.publishers).map(|_| Flow::new(receivers)).collect(),
            tallies: tallies.collect::<Result<_, _>>()?,
            phase: watch::Sender::new(Phase::Opening),
            changed: Notify::new(),
            interrupt: Notify::new(),
            ready: AtomicU32::new(0),
            failures: Mutex::default(),
            epoch: Instant::now(),
            start: AtomicU64::new(u64::MAX),
            measured_start: AtomicU64::new(u64::MAX),
            end: AtomicU64::new(u64::MAX),
            plan,
            addresses,
        })
    }

    /// Where connections of this role go.
    pub(crate) fn address(&self, role: Role) -> SocketAddr {
        match role {
            Role::Publisher => self.addresses.publish,
            Role::Subscriber => self.addresses.subscribe,
        }
    }

    /// Nanoseconds since the run was made. All times below are such numbers.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment of such a number.
    pub(crate) fn instant(&self, time: u64) -> Instant {
        self.epoch + Duration::from_nanos(time)
    }

    /// When the first message is due.
    pub(crate) fn start(&self) -> u64 {
        self.start.load(Ordering::Relaxed)
    }

    /// When the measured time begins.
    pub(crate) fn measured_start(&self) -> u64 {
        self.measured_start.load(Ordering::Relaxed)
    }

    /// When the measured time ends and nothing more is due.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// Whether a moment is within the measured time.
    pub(crate) fn is_measured(&self, time: u64) -> bool {
        (self.measured_start()..self.end()).contains(&time)
    }

    /// Begins the second phase.
    pub(crate) fn begin(&self) {
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let start = self.now();
        let measured = start.saturating_add(nanoseconds(self.plan.warmup));
        self.start.store(start, Ordering::Relaxed);
        self.measured_start.store(measured, Ordering::Relaxed);
        self.end.store(measured.saturating_add(nanoseconds(self.plan.duration)), Ordering::Relaxed);
        self.phase.send_replace(Phase::Running);
    }

    /// Ends the measured time now.
    pub(crate) fn cut_short(&self) {
        self.end.fetch_min(self.now(), Ordering::Relaxed);
    }

    /// Says that one more connection is ready.
    pub(crate) fn count_ready(&self) {
        self.ready.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Whether all connections are ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst) >= self.connections()
    }

    /// Connections of both kinds.
    pub(crate) fn connections(&self) -> u32 {
        self.plan.publishers.saturating_add(self.plan.subscribers)
    }

    /// Says that a connection failed.
    pub(crate) fn fail(&self, failure: Failure) {
        let mut failures = self.failures.lock();
        failures.count += 1;
        failures.first.get_or_insert(failure);
        self.changed.notify_one();
    }

    /// How many connections have failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.lock().count
    }

    /// Hands the failures out.
    pub(crate) fn take_failures(&self) -> Failures {
        std::mem::take(&mut self.failures.lock())
    }

    /// Waits until the run has come to this phase.
    pub(crate) async fn reached(&self, phase: Phase) {
        // Fails only where the sender is gone, and that is here.
        let _ = self.phase.subscribe().wait_for(|current| *current >= phase).await;
    }
}

/// Different for two processes at one time, and for one process id at two times.
fn name() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64);
    let mixed = (time ^ u64::from(std::process::id()) << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{:08x}", mixed >> 32)
}

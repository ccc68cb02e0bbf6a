//! What a bridge tells of itself, without embellishment: `live` means that the upstream has answered a moment ago.
//!
//! ```text
//! connecting ─► live ◄─► draining      everything that is confirmed arrives upstream
//!     ▲          │
//!     │          ├─► stalled           nothing was confirmed for too long although a connection stands
//!     │          └─► rejecting         the upstream takes no messages now
//!     └──────────┘
//! ```

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The state of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeState {
    /// No connection to the upstream, or none to the gateway itself.
    Connecting,
    /// The upstream has answered within the time that is allowed, and nothing waits but what came just now.
    Live,
    /// The same, and what waited during an outage is on its way.
    Draining,
    /// A connection stands, and the upstream has not answered for too long.
    Stalled,
    /// The upstream does not take messages now, and says so.
    Rejecting,
    /// It was told to end.
    Stopped,
}

impl BridgeState {
    /// All of them, for metrics.
    pub const ALL: [BridgeState; 6] = [
        BridgeState::Connecting,
        BridgeState::Live,
        BridgeState::Draining,
        BridgeState::Stalled,
        BridgeState::Rejecting,
        BridgeState::Stopped,
    ];

    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            BridgeState::Connecting => "connecting",
            BridgeState::Live => "live",
            BridgeState::Draining => "draining",
            BridgeState::Stalled => "stalled",
            BridgeState::Rejecting => "rejecting",
            BridgeState::Stopped => "stopped",
        }
    }
}

/// What a bridge counts and knows; shared with whoever asks.
#[derive(Debug)]
pub struct BridgeStatus {
    name: Arc<str>,
    kind: &'static str,
    stalled_after: Duration,
    forwards: Vec<Arc<LaneStatus>>,
    receives: Vec<Arc<LaneStatus>>,
    connection: Mutex<ConnectionStatus>,
}

/// The connection to the upstream.
#[derive(Debug, Clone, Default)]
pub struct ConnectionStatus {
    /// The address to which it stands, or is tried.
    pub address: String,
    /// Since when it stands; nothing where it does not.
    pub ready_since: Option<Instant>,
    /// When the upstream has answered last.
    pub answered_at: Option<Instant>,
    /// How often it was lost or could not be had.
    pub failures: u64,
    /// Why it was lost last.
    pub last_error: Option<String>,
    has_stopped: bool,
}

/// What one forward or receive counts.
#[derive(Debug, Default)]
pub struct LaneStatus {
    /// Its name: that of its session for a forward.
    pub name: String,
    /// Messages that are safe at the other side: confirmed by the upstream, or kept here.
    pub confirmed: AtomicU64,
    /// Messages that were sent again.
    pub retried: AtomicU64,
    /// Messages that came in again and were recognised.
    pub duplicates: AtomicU64,
    /// Messages that became dead letters.
    pub dead_letters: AtomicU64,
    /// Messages in memory that are not settled.
    pub in_flight: AtomicU64,
    /// Whether its link to the gateway stands, with its session where it has one.
    is_attached: AtomicBool,
    /// Whether what waited is on its way.
    is_draining: AtomicBool,
    is_rejected: AtomicBool,
    /// Messages that were thrown away, by the reason.
    dropped: Mutex<BTreeMap<&'static str, u64>>,
}

impl LaneStatus {
    pub(crate) fn new(name: String) -> Arc<LaneStatus> {
        Arc::new(LaneStatus { name, ..LaneStatus::default() })
    }

    pub(crate) fn count(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
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

    pub(crate) fn set_attached(&self, is_attached: bool) {
        self.is_attached.store(is_attached, Ordering::Relaxed);
    }

    /// Whether its link to the gateway stands: from then on nothing is missed.
    pub fn is_attached(&self) -> bool {
        self.is_attached.load(Ordering::Relaxed)
    }

    /// Whether what waited during an outage is on its way.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// What was thrown away, by the reason.
    pub fn dropped(&self) -> BTreeMap<&'static str, u64> {
        self.dropped.lock().clone()
    }
}

impl BridgeStatus {
    /// The status of a bridge that has not begun. It is stalled where the upstream has not answered for `stalled_after`.
    pub fn new(
        name: Arc<str>,
        kind: &'static str,
        stalled_after: Duration,
        forwards: impl IntoIterator<Item = String>,
        receives: impl IntoIterator<Item = String>,
    ) -> Arc<BridgeStatus> {
        Arc::new(BridgeStatus {
            name,
            kind,
            stalled_after,
            forwards: forwards.into_iter().map(LaneStatus::new).collect(),
            receives: receives.into_iter().map(LaneStatus::new).collect(),
            connection: Mutex::default(),
        })
    }

    /// The bridge's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The kind of its upstream.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its forwards, in the order of the configuration.
    pub fn forwards(&self) -> &[Arc<LaneStatus>] {
        &self.forwards
    }

    /// Its receives, in the order of the configuration.
    pub fn receives(&self) -> &[Arc<LaneStatus>] {
        &self.receives
    }

    /// What is known of the connection.
    pub fn connection(&self) -> ConnectionStatus {
        self.connection.lock().clone()
    }

    /// The state at this moment.
    pub fn state(&self, now: Instant) -> BridgeState {
        let connection = self.connection.lock();
        let lanes = || self.forwards.iter().chain(&self.receives);
        let is_silent = |at: Instant| now.saturating_duration_since(at) > self.stalled_after;
        match (connection.has_stopped, connection.ready_since) {
            (true, _) => BridgeState::Stopped,
            (false, None) => BridgeState::Connecting,
            _ if lanes().any(|lane| !lane.is_attached()) => BridgeState::Connecting,
            (false, Some(since)) if is_silent(connection.answered_at.unwrap_or(since)) => {
                BridgeState::Stalled
            }
            _ if lanes().any(|lane| lane.is_rejected.load(Ordering::Relaxed)) => BridgeState::Rejecting,
            _ if lanes().any(|lane| lane.is_draining()) => BridgeState::Draining,
            _ => BridgeState::Live,
        }
    }

    pub(crate) fn note_trying(&self, address: String) {
        let mut connection = self.connection.lock();
        (connection.address, connection.ready_since) = (address, None);
    }

    pub(crate) fn note_ready(&self, now: Instant) {
        let mut connection = self.connection.lock();
        connection.ready_since = Some(now);
        connection.answered_at = Some(now);
    }

    pub(crate) fn note_answer(&self, now: Instant) {
        self.connection.lock().answered_at = Some(now);
    }

    pub(crate) fn note_lost(&self, why: Option<String>) {
        let mut connection = self.connection.lock();
        connection.ready_since = None;
        if let Some(why) = why {
            connection.failures += 1;
            connection.last_error = Some(why);
        }
    }

    pub(crate) fn note_stopped(&self) {
        self.connection.lock().has_stopped = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_live_only_as_long_as_its_upstream_answers() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let status = BridgeStatus::new("central".into(), "toy", 10 * second, ["a".to_owned()], []);
        assert_eq!(status.state(start), BridgeState::Connecting);
        status.note_ready(start);
        assert_eq!(status.state(start), BridgeState::Connecting, "its session is not there yet");
        status.forwards()[0].set_attached(true);
        assert_eq!(status.state(start + 10 * second), BridgeState::Live);
        assert_eq!(status.state(start + 11 * second), BridgeState::Stalled);
        status.note_answer(start + 11 * second);
        assert_eq!(status.state(start + 11 * second), BridgeState::Live);
        status.forwards()[0].set_draining(true);
        assert_eq!(status.state(start + 11 * second), BridgeState::Draining);
        status.forwards()[0].set_rejected(true);
        assert_eq!(status.state(start + 11 * second), BridgeState::Rejecting);
        status.note_lost(Some("gone".to_owned()));
        assert_eq!(status.state(start + 11 * second), BridgeState::Connecting);
        assert_eq!(status.connection().last_error.as_deref(), Some("gone"));
        status.note_stopped();
        assert_eq!(status.state(start), BridgeState::Stopped);
    }
}

//! What a bridge tells of itself, without embellishment: `live` means that the upstream has answered a moment ago.
//!
//! ```text
//! connecting ─► live ◄─► draining      everything that is confirmed arrives upstream
//!     ▲          │
//!     │          ├─► stalled           the upstream says nothing for too long, or nothing comes of what is under way
//!     │          └─► rejecting         the upstream takes no messages
//!     └──────────┘
//! ```
//!
//! Whoever asks brings the time along, so that a bridge that has died on the way does not go on looking as it did when it was alive.

use crate::lane_status::{LaneStatus, Problem};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The state of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BridgeState {
    /// No connection to the upstream, or none to the gateway itself.
    Connecting,
    /// The upstream has answered within the time that is allowed, and nothing waits but what came just now.
    Live,
    /// The same, and what waited during an outage is on its way.
    Draining,
    /// A connection stands, and the upstream has not answered for too long, or nothing has come of what is under way for as long.
    Stalled,
    /// The upstream does not take messages now and says so, or has refused the last ones for good, one after the other.
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

    /// Whether everything is as it should be: what is published arrives.
    pub fn is_moving(self) -> bool {
        matches!(self, BridgeState::Live | BridgeState::Draining)
    }

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
    /// Which one that is of those that are configured, from 0.
    pub address_number: usize,
    /// Since when it stands; nothing where it does not.
    pub ready_since: Option<Instant>,
    /// When the upstream has answered last.
    pub answered_at: Option<Instant>,
    /// How often it was lost or could not be had.
    pub failures: u64,
    /// Why it was lost last.
    pub last_error: Option<Problem>,
    has_stopped: bool,
}

impl BridgeStatus {
    /// The status of a bridge that has not begun. It is stalled where the upstream has not answered for `stalled_after`, or where nothing has
    /// come of what is under way.
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
        let is_too_long = |since: Instant| now.saturating_duration_since(since) > self.stalled_after;
        match (connection.has_stopped, connection.ready_since) {
            (true, _) => BridgeState::Stopped,
            (false, None) => BridgeState::Connecting,
            _ if lanes().any(|lane| !lane.is_attached()) => BridgeState::Connecting,
            (false, Some(since)) if is_too_long(connection.answered_at.unwrap_or(since)) => {
                BridgeState::Stalled
            }
            _ if lanes().any(|lane| lane.is_rejected()) => BridgeState::Rejecting,
            _ if lanes().any(|lane| lane.waiting_since().is_some_and(is_too_long)) => BridgeState::Stalled,
            _ if lanes().any(|lane| lane.is_draining()) => BridgeState::Draining,
            _ => BridgeState::Live,
        }
    }

    pub(crate) fn note_trying(&self, number: usize, address: String) {
        let mut connection = self.connection.lock();
        (connection.address_number, connection.address, connection.ready_since) = (number, address, None);
    }

    pub(crate) fn note_ready(&self, now: Instant) {
        let mut connection = self.connection.lock();
        connection.ready_since = Some(now);
        connection.answered_at = Some(now);
    }

    pub(crate) fn note_answer(&self, now: Instant) {
        self.connection.lock().answered_at = Some(now);
    }

    pub(crate) fn note_lost(&self, why: Option<Problem>) {
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

    const SECOND: Duration = Duration::from_secs(1);

    fn status() -> Arc<BridgeStatus> {
        BridgeStatus::new("central".into(), "toy", 10 * SECOND, ["a".to_owned()], [])
    }

    #[test]
    fn a_bridge_is_live_only_as_long_as_its_upstream_answers() {
        let (start, status) = (Instant::now(), status());
        assert_eq!(status.state(start), BridgeState::Connecting);
        status.note_ready(start);
        assert_eq!(status.state(start), BridgeState::Connecting, "its session is not there yet");
        let attached = status.forwards()[0].attach();
        assert_eq!(status.state(start + 10 * SECOND), BridgeState::Live);
        assert_eq!(status.state(start + 11 * SECOND), BridgeState::Stalled);
        status.note_answer(start + 11 * SECOND);
        assert_eq!(status.state(start + 11 * SECOND), BridgeState::Live);
        status.forwards()[0].set_draining(true);
        assert_eq!(status.state(start + 11 * SECOND), BridgeState::Draining);
        status.forwards()[0].set_rejected(true);
        assert_eq!(status.state(start + 11 * SECOND), BridgeState::Rejecting);
        status.forwards()[0].set_rejected(false);
        drop(attached);
        assert_eq!(status.state(start + 11 * SECOND), BridgeState::Connecting, "its session is gone");
        let _attached = status.forwards()[0].attach();
        status.note_lost(Some(Problem::new("gone", start)));
        assert_eq!(status.state(start + 11 * SECOND), BridgeState::Connecting);
        assert_eq!(status.connection().last_error.map(|problem| problem.text), Some("gone".to_owned()));
        status.note_stopped();
        assert_eq!(status.state(start), BridgeState::Stopped);
    }

    /// To answer questions is not to take messages.
    #[test]
    fn a_bridge_is_stalled_where_its_upstream_answers_and_nothing_comes_of_its_messages() {
        let (start, status) = (Instant::now(), status());
        status.note_ready(start);
        let _attached = status.forwards()[0].attach();
        status.forwards()[0].set_waiting_since(Some(start));
        for (seconds, state) in [(10, BridgeState::Live), (11, BridgeState::Stalled)] {
            let now = start + seconds * SECOND;
            status.note_answer(now);
            assert_eq!(status.state(now), state);
        }
        status.forwards()[0].set_waiting_since(None);
        assert_eq!(status.state(start + 11 * SECOND), BridgeState::Live);
    }
}

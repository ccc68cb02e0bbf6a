//! The bridges that run, for whoever asks how they fare: metrics, HTTP, and `$SYS`.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{BridgeReports, BridgeStatus, Now, PROTOCOL, Waiting};
use tidegate_broker::Node;

/// How often rates go on.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// See the module. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster(Arc<Mutex<Vec<Arc<BridgeStatus>>>>);

impl Roster {
    /// These run now.
    pub(super) fn set(&self, statuses: Vec<Arc<BridgeStatus>>) {
        *self.0.lock() = statuses;
    }

    /// What each of them has to tell at this moment.
    pub(crate) fn reports(&self, node: &Node) -> BridgeReports {
        let instant = Instant::now();
        let now = Now { instant, gateway_millis: node.time_millis(instant) };
        let report = |status: Arc<BridgeStatus>| status.report(now, |session| waiting(node, session));
        BridgeReports { bridges: self.statuses().into_iter().map(report).collect() }
    }

    /// The same as topics under `$SYS`.
    pub(crate) fn system_topics(&self, node: &Node) -> Vec<(String, String)> {
        self.reports(node).bridges.iter().flat_map(|bridge| bridge.system_topics()).collect()
    }

    /// Has the rates go on, for ever.
    pub(super) async fn sample(&self, node: &Node) {
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            for status in self.statuses() {
                status.sample(now, |session| waiting(node, session));
            }
        }
    }

    /// Nobody is asked anything with the lock held.
    fn statuses(&self) -> Vec<Arc<BridgeStatus>> {
        self.0.lock().clone()
    }
}

/// What waits in the session of a forward; nothing before there is one.
fn waiting(node: &Node, session: &str) -> Waiting {
    let backlog = node.backlog(PROTOCOL, session).unwrap_or_default();
    Waiting {
        messages: backlog.messages as u64,
        bytes: backlog.bytes as u64,
        oldest_taken_at_millis: backlog.oldest_taken_at_millis,
    }
}

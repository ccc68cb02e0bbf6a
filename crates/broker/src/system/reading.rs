//! The counters at one moment: what `/metrics` exposes, summed over workers and protocols.

use crate::metrics::{ByQoS, Counter, ProtocolMetrics};
use crate::node::{Gauges, Node};
use tidegate_message::QoS;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) opened: u64,
    pub(crate) connected: u64,
    pub(crate) expired: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) wire_in_bytes: u64,
    pub(crate) wire_out_bytes: u64,
    pub(crate) gauges: Gauges,
}

impl Reading {
    pub(crate) fn of(node: &Node) -> Reading {
        let workers = node.metrics();
        let protocols = || workers.iter().flat_map(|worker| &worker.protocols);
        let count =
            |read: fn(&ProtocolMetrics) -> &Counter| sum(protocols().map(|metrics| read(metrics).get()));
        let by_qos = |read: fn(&ProtocolMetrics) -> &ByQoS| {
            sum(protocols().flat_map(|metrics| QoS::ALL.map(|qos| read(metrics).at(qos).get())))
        };
        Reading {
            opened: count(|metrics| &metrics.opened),
            connected: count(|metrics| &metrics.open),
            expired: sum(workers.iter().map(|worker| worker.sessions_expired.get())),
            received: by_qos(|metrics| &metrics.received),
            sent: by_qos(|metrics| &metrics.sent),
            dropped: sum(workers.iter().flat_map(|worker| worker.dropped().into_values())),
            received_bytes: by_qos(|metrics| &metrics.received_bytes),
            sent_bytes: by_qos(|metrics| &metrics.sent_bytes),
            wire_in_bytes: count(|metrics| &metrics.wire_in_bytes),
            wire_out_bytes: count(|metrics| &metrics.wire_out_bytes),
            gauges: node.gauges(),
        }
    }
}

/// Counters wrap around, and so does their sum.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::wrapping_add)
}

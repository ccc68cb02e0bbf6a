//! Limits that another limit makes pointless. Nothing breaks, so these are warnings.

use crate::findings::{Findings, item, join};
use crate::schema::Config;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let limits = &config.limits;
    if limits.queued_bytes > limits.queued_bytes_total {
        let message = format!(
            "`queued_bytes` ({}) is never reached: all queues together may hold {}",
            limits.queued_bytes, limits.queued_bytes_total
        );
        findings.warning("limits.queued_bytes", message, None);
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        let Some(own) = listener.max_connections.filter(|own| *own > limits.connections) else { continue };
        let message = format!(
            "`max_connections` ({own}) is never reached: `limits.connections` is {}",
            limits.connections
        );
        findings.warning(&join(&item("listener", index), "max_connections"), message, None);
    }
}

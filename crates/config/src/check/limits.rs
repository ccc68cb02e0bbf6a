//! Limits that another limit makes pointless, and parts that do not fit into the whole.

use tidegate_message::ByteSize;

use crate::findings::{Findings, Part, item, join};
use crate::schema::{Config, PARTS_OF_MEMORY};

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    check_memory(config, findings);
    let limits = &config.limits;
    // With a store most of a long queue is on the disk.
    let in_memory = config.data_dir.is_none() && findings.is_set("limits.queued_bytes");
    if in_memory && limits.queued_bytes > limits.queued_bytes_total {
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

/// What is set by itself counts as it is set, so the whole can only be kept by whoever sets it.
fn check_memory(config: &Config, findings: &mut Findings<'_>) {
    let memory = config.limits.memory;
    let parts = PARTS_OF_MEMORY.iter().zip(config.limits.parts_of_memory());
    let rings = config.rings.iter().map(|ring| ring.bytes);
    let total = parts
        .clone()
        .map(|(_, part)| part)
        .chain(rings.clone())
        .fold(0_u64, |sum, part| sum.saturating_add(part.bytes()));
    let is_unclear = findings.is_reported("limits.memory");
    if total <= memory.bytes() || !findings.is_set("limits.memory") || is_unclear {
        return;
    }
    let mut named: Vec<String> = parts.map(|((name, _), part)| format!("`{name}` ({part})")).collect();
    let rings = rings.fold(0_u64, |sum, ring| sum.saturating_add(ring.bytes()));
    if rings > 0 {
        named.push(format!("replay rings ({})", ByteSize::from_bytes(rings)));
    }
    let message = format!("`memory` ({memory}) is less than its parts together: {}", named.join(", "));
    let suggestion = "raise it, or lower what is set beside it".to_owned();
    findings.error("limits.memory", Part::Value, message, Some(suggestion));
}

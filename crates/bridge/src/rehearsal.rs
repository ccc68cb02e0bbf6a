//! What a bridge would send for a message, without a gateway and without a connection.
//!
//! The way is that of a message that is sent: the same filters, the same path, id and envelope, the same code of the upstream.

use crate::bridge::BridgeOptions;
use crate::link::Delivered;
use crate::packing::Packing;
use crate::upstream::{Rendered, Upstream, Verdict};
use crate::{ForwardOptions, NameError};
use std::time::Instant;
use tidegate_message::QoS;

/// What one forward would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// Which one, in the order of the configuration.
    pub lane: usize,
    /// The form of the message's stable id; its position is a number that the gateway gives.
    pub id: String,
    /// What the upstream would get, or why it would get nothing.
    pub sent: Result<Rendered, Unsent>,
}

/// Why nothing would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// In a word, as metrics have it.
    pub label: &'static str,
    /// In words.
    pub reason: String,
    /// Whether it would become a dead letter, where there is a place for those; else it is dropped.
    pub is_refused: bool,
}

/// What each forward would send that takes a message from this topic. The level is that of the publisher.
pub fn rehearse(
    options: &BridgeOptions,
    upstream: &dyn Upstream,
    message: &Delivered,
) -> Result<Vec<Rehearsal>, NameError> {
    let packings = Packing::all(options)?;
    let matching = options.forwards.iter().zip(&packings).filter_map(|(forward, packing)| {
        let qos = message.qos.min(granted(forward, message)?);
        Some((packing, Delivered { qos, ..message.clone() }))
    });
    let rehearsed = matching.map(|(packing, delivered)| Rehearsal {
        lane: packing.lane,
        id: packing.id(&delivered),
        sent: render(packing, upstream, &delivered),
    });
    Ok(rehearsed.collect())
}

/// The highest level at which a forward takes the message; nothing where none of its filters selects it.
fn granted(forward: &ForwardOptions, message: &Delivered) -> Option<QoS> {
    let matching = forward.filters.iter().filter(|(filter, _)| filter.matches(&message.topic));
    matching.map(|(_, qos_max)| *qos_max).max()
}

fn render(packing: &Packing, upstream: &dyn Upstream, delivered: &Delivered) -> Result<Rendered, Unsent> {
    packing.may_leave(delivered).map_err(|(label, reason)| Unsent { label, reason, is_refused: false })?;
    let refused = |label, reason| Unsent { label, reason, is_refused: true };
    let outgoing = packing.outgoing(delivered, false, Instant::now());
    let outgoing = outgoing.map_err(|error| refused("not_expressible", error.to_string()))?;
    upstream.render(&outgoing).map_err(|verdict| match verdict {
        Verdict::Never { label, reason } => refused(label, reason),
        Verdict::NotNow(reason) => refused("not_now", reason),
        Verdict::Confirmed | Verdict::Expired => {
            refused("not_expressible", "nothing is to be sent".to_owned())
        }
    })
}

//! Bridges between a gateway without listeners and an upstream that misbehaves.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod ending;
mod forwarded;
mod forwarding;
mod last_values;
mod receiving;
mod rehearsing;
mod states;
mod toy;

use tidegate_bridge::ForwardOptions;

/// A forward that holds little at a time, so that a test sees several portions.
pub(crate) fn forward(filter: &str) -> ForwardOptions {
    ForwardOptions { in_flight_max: 16, ..tidegate_bridging::forward("central.0", filter) }
}

//! Bridges between a gateway without listeners and a real RabbitMQ, which starts once for all tests that leave it alone.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod central;
mod edge;
mod faults;
mod forwarding;
mod receiving;

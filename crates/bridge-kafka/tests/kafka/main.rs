//! Bridges between a gateway without listeners and Kafka: the client library's mock cluster for what a healthy server does not do,
//! and real servers.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cluster;
mod forwarding;
mod gateway;
mod receiving;
mod servers;

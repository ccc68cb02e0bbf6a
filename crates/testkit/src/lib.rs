//! Tools for tests; no part of the gateway depends on this crate outside its tests.
//!
//! [`script`] runs one protocol's state machine by hand: bytes, deliveries, replies and a fake clock go in, output and
//! recorded requests come out. [`pair`] connects several machines to a real broker. [`random`] is the seeded source that random
//! tests draw from, and [`patience`] what a test has with threads. [`proxy`] stands between two programs and gives them a bad link, and [`servers`] starts other people's servers;
//! nothing else here opens a socket.

// A tool for tests may stop on the first surprise, as the tests themselves may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod pair;
pub mod patience;
pub mod proxy;
pub mod random;
pub mod script;
pub mod servers;

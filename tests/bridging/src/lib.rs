//! A gateway without listeners and a bridge at work on it, for the tests of every kind of upstream; nothing else uses this crate.
//!
//! [`with_gateway`] runs a test with a gateway in this process, [`AtWork`] is a bridge to whatever upstream the test brings along,
//! [`publish`] is a device and [`Follower`] an application. What the upstream is, and what goes wrong there, is up to the test.

// A tool for tests may stop on the first surprise, as the tests themselves may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod at_work;
mod clients;
mod gateway;

use std::time::Duration;

pub use at_work::{AtWork, forward, options};
pub use clients::{Follower, property, publish, publish_for, publish_with};
pub use gateway::{connect, gateway, gateway_with_topics, run, with_gateway};

/// How long a test waits for one thing before it fails. Generous, because a busy machine is no bug.
pub const PATIENCE: Duration = Duration::from_secs(120);

//! A clock that a test moves.

use crate::log::time::Clock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug)]
pub(in crate::log) struct TestClock {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl TestClock {
    /// One whose wall clock says this.
    pub(in crate::log) fn at(wall_millis: u64) -> TestClock {
        TestClock { wall: AtomicU64::new(wall_millis), monotonic: AtomicU64::new(0) }
    }

    /// Time passes.
    pub(in crate::log) fn advance(&self, millis: u64) {
        self.wall.fetch_add(millis, Relaxed);
        self.monotonic.fetch_add(millis, Relaxed);
    }

    /// The wall clock is set.
    pub(in crate::log) fn set_wall(&self, millis: u64) {
        self.wall.store(millis, Relaxed);
    }
}

impl Clock for TestClock {
    fn wall_millis(&self) -> u64 {
        self.wall.load(Relaxed)
    }

    fn monotonic_millis(&self) -> u64 {
        self.monotonic.load(Relaxed)
    }
}

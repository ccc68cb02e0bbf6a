//! Whether the gateway wants traffic: set by whoever starts and stops it, read by `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A stage in the life of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Not every listener accepts yet; `/readyz` answers 503.
    Starting = 0,
    /// Every listener accepts; `/readyz` answers 200.
    Ready = 1,
    /// Listeners close and clients are sent away; `/readyz` answers 503.
    Stopping = 2,
}

impl Stage {
    /// The stage as a lower-case word, as `/readyz` says it.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Starting => "starting",
            Stage::Ready => "ready",
            Stage::Stopping => "stopping",
        }
    }
}

/// The stage, shared: clones see what any of them sets. Begins as [`Stage::Starting`].
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// Enters a stage; `/readyz` answers accordingly from now on.
    pub fn set(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Release);
    }

    /// The stage that was entered last.
    pub fn stage(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            number if number == Stage::Starting as u8 => Stage::Starting,
            number if number == Stage::Ready as u8 => Stage::Ready,
            _ => Stage::Stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every clone sees the stage, and it begins as starting.
    #[test]
    fn clones_share_the_stage() {
        let readiness = Readiness::default();
        let clone = readiness.clone();
        assert_eq!(clone.stage(), Stage::Starting);
        for stage in [Stage::Ready, Stage::Stopping, Stage::Starting] {
            readiness.set(stage);
            assert_eq!(clone.stage(), stage);
        }
    }
}

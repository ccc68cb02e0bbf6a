//! How long a test waits for threads that it does not schedule itself.

use std::time::{Duration, Instant};

/// Generous, because a busy machine is no bug: what is lost never comes, and what is late comes.
const LONGEST: Duration = Duration::from_secs(120);

/// Notices that nothing has moved for so long that it never will.
#[derive(Debug)]
pub struct Patience {
    since: Instant,
}

impl Patience {
    /// Something moves now.
    pub fn new() -> Patience {
        Patience { since: Instant::now() }
    }

    /// Something may have moved; fails where nothing has for too long, and says what was there by then.
    pub fn note(&mut self, has_moved: bool, so_far: impl FnOnce() -> String) {
        if has_moved {
            self.since = Instant::now();
        }
        assert!(self.since.elapsed() < LONGEST, "nothing moves any more: {}", so_far());
    }
}

impl Default for Patience {
    fn default() -> Patience {
        Patience::new()
    }
}

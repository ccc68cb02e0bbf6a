//! Log lines that clients cause: so many a second, and then a number.
//!
//! One line for each connection that goes wrong is what an operator wants, until ten thousand go wrong in a second.

use std::cell::Cell;
use std::time::{Duration, Instant};
use tracing::info;

/// Lines a second and worker.
const LINES_MAX: u32 = 20;
const SPAN: Duration = Duration::from_secs(1);

/// What one worker may still write about its clients in this second.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    since: Cell<Option<Instant>>,
    written: Cell<u32>,
    left_out: Cell<u64>,
}

impl Notices {
    /// Whether one more line may be written. What is left out is counted, and told with the next line.
    pub(crate) fn allow(&self, now: Instant) -> bool {
        if self.since.get().is_none_or(|since| now.saturating_duration_since(since) >= SPAN) {
            self.since.set(Some(now));
            self.written.set(0);
            match self.left_out.take() {
                0 => {}
                count => info!(count, "lines about further connections were left out"),
            }
        }
        let allowed = self.written.get() < LINES_MAX;
        match allowed {
            true => self.written.set(self.written.get() + 1),
            false => self.left_out.set(self.left_out.get() + 1),
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_lines() {
        let (notices, now) = (Notices::default(), Instant::now());
        let allowed = |at: Instant| (0..100).filter(|_| notices.allow(at)).count();
        assert_eq!([allowed(now), allowed(now + SPAN / 2), allowed(now + SPAN)], [20, 0, 20]);
        assert_eq!(notices.left_out.get(), 80);
    }
}

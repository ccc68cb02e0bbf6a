//! A line in the log for a denial, now and then: a client that is denied a thousand times a second is told of once a second.

use std::time::{Duration, Instant};

/// The least time between two lines of one worker.
const INTERVAL: Duration = Duration::from_secs(1);

/// When the next line may be written, and how many were not.
#[derive(Debug, Default)]
pub(crate) struct DenialLog {
    next_at: Option<Instant>,
    silent: u64,
}

impl DenialLog {
    /// Notes a denial. Where a line may be written: how many denials before it had none.
    pub(crate) fn note(&mut self, now: Instant) -> Option<u64> {
        if self.next_at.is_some_and(|at| now < at) {
            self.silent += 1;
            return None;
        }
        self.next_at = now.checked_add(INTERVAL);
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_rest_is_counted() {
        let (mut log, now) = (DenialLog::default(), Instant::now());
        let half = INTERVAL / 2;
        let lines = [now, now, now + half, now + INTERVAL, now + INTERVAL + half].map(|at| log.note(at));
        assert_eq!(lines, [Some(0), None, None, Some(2), None]);
    }
}

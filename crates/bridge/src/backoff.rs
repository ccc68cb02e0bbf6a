//! How long to wait before the next attempt: twice as long each time, up to a limit, and never the same for all.

use std::time::Duration;

/// The waits between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOptions {
    /// The first wait.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Default for RetryOptions {
    fn default() -> RetryOptions {
        RetryOptions { first: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }
}

/// Counts attempts that have failed.
#[derive(Debug)]
pub(crate) struct Backoff {
    options: RetryOptions,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(options: RetryOptions) -> Backoff {
        Backoff { options, failures: 0 }
    }

    /// One attempt has succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// One more has failed; the answer is how long to wait. `random` is any number: it takes up to a quarter off, so that a fleet that lost the same
    /// upstream does not come back all at once.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let doubled = self.options.first.saturating_mul(1_u32 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.min(self.options.longest.max(self.options.first));
        let quarters = u32::try_from(random % 1000).unwrap_or(0);
        wait - wait / 4 * quarters / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_to_their_limit_and_begin_anew_after_a_success() {
        let options = RetryOptions { first: Duration::from_secs(1), longest: Duration::from_secs(5) };
        let mut backoff = Backoff::new(options);
        let waits = [(); 5].map(|()| backoff.next(0).as_secs());
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        backoff.reset();
        let wait = backoff.next(999);
        assert!(wait < Duration::from_secs(1) && wait > Duration::from_millis(740), "{wait:?}");
    }

    #[test]
    fn any_number_of_failures_is_counted() {
        let mut backoff =
            Backoff::new(RetryOptions { first: Duration::from_secs(3600), longest: Duration::MAX });
        assert!((0..100).all(|_| backoff.next(0) >= Duration::from_secs(3600)));
    }
}

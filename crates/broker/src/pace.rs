//! A rate with a burst of one second: who takes more than is there owes it, and rests until the debt is gone.
//!
//! What has been asked for is always given, so that nothing is lost; what comes next waits. One moment is all the state.

use std::time::{Duration, Instant};

/// What may be owed before a rest, and so what may be taken at once after a pause.
const BURST: Duration = Duration::from_secs(1);

/// So much a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    per_second: u64,
    /// When everything that was taken would have been given at this rate.
    paid_at: Instant,
}

impl Pace {
    /// A rate that nobody has taken anything of. Less than 1 a second counts as 1.
    pub fn new(per_second: u64, now: Instant) -> Pace {
        Pace { per_second: per_second.max(1), paid_at: now }
    }

    /// Takes `count`, whether there is room for it or not.
    pub fn take(&mut self, count: u64, now: Instant) {
        let nanoseconds = u128::from(count) * 1_000_000_000 / u128::from(self.per_second);
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let paid_at = self.paid_at.max(now);
        self.paid_at = paid_at.checked_add(cost).unwrap_or(paid_at);
    }

    /// Until when nothing more may be taken; nothing where something may be taken now.
    pub fn rests_until(&self, now: Instant) -> Option<Instant> {
        let until = self.paid_at.checked_sub(BURST)?;
        (until >= now).then(|| until + Duration::from_nanos(1))
    }

    /// Goes on at another rate. What is owed stays owed.
    pub fn change(&mut self, per_second: u64) {
        self.per_second = per_second.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many of 1000 wishes are granted in this time.
    fn granted(pace: &mut Pace, from: Instant, time: Duration) -> u64 {
        let mut count = 0;
        for step in 0..1000 {
            let now = from + time * step / 1000;
            if pace.rests_until(now).is_none() {
                pace.take(1, now);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn a_burst_of_one_second_and_then_the_rate() {
        let now = Instant::now();
        let mut pace = Pace::new(10, now);
        let at_once = (0..100).take_while(|_| {
            let may = pace.rests_until(now).is_none();
            pace.take(u64::from(may), now);
            may
        });
        assert_eq!(at_once.count(), 10);
        assert_eq!(granted(&mut pace, now, 10 * SECOND), 100);
    }

    #[test]
    fn what_was_taken_in_one_piece_is_rested_for() {
        let now = Instant::now();
        let mut pace = Pace::new(100, now);
        pace.take(1000, now);
        let until = pace.rests_until(now).unwrap();
        assert!(until.duration_since(now) >= 9 * SECOND && until.duration_since(now) < 10 * SECOND);
        assert_eq!(pace.rests_until(until), None);
    }

    #[test]
    fn a_long_pause_saves_no_more_than_a_second() {
        let now = Instant::now();
        let mut pace = Pace::new(10, now);
        let later = now + 1000 * SECOND;
        assert_eq!(granted(&mut pace, later, Duration::ZERO), 10);
    }
}

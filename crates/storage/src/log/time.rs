//! The store's own time: milliseconds that never go back and go on over restarts.
//!
//! While the process runs it follows the monotonic clock. How long the process was away is told by the wall clock, as far as it can be
//! believed: a box without a battery clock starts in the past and is set right later. Then the time away is added at that moment, once.
//! What the clock says before is not written down, or the next start would take the jump for time away a second time.

use super::frame::Moment;
use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A wall clock that says less has never been set.
const PLAUSIBLE_MILLIS: u64 = 1_735_689_600_000; // 2025-01-01

/// Where the log takes the time from.
pub(super) trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970, as the operating system believes.
    fn wall_millis(&self) -> u64;
    /// Milliseconds since any moment; never goes back.
    fn monotonic_millis(&self) -> u64;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub(super) struct SystemClock {
    began: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { began: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall_millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The store's time since it was opened.
#[derive(Debug)]
pub(super) struct StoreTime {
    /// The store's time when the monotonic clock said `opened_monotonic`, without time that was added later.
    opened: u64,
    opened_monotonic: u64,
    /// What the wall clock said last before the store was opened, while the present one is behind that.
    ahead: Option<u64>,
}

impl StoreTime {
    /// Goes on from the last moment that was written down.
    pub(super) fn resume(last: Moment, clock: &dyn Clock) -> StoreTime {
        let wall = clock.wall_millis();
        let knows_when = last.wall_millis >= PLAUSIBLE_MILLIS;
        let away = if knows_when { wall.saturating_sub(last.wall_millis) } else { 0 };
        StoreTime {
            opened: last.time_millis.saturating_add(away),
            opened_monotonic: clock.monotonic_millis(),
            ahead: Some(last.wall_millis).filter(|last| knows_when && wall < *last),
        }
    }

    /// The present moment, as it is written down.
    pub(super) fn moment(&mut self, clock: &dyn Clock) -> Moment {
        let elapsed = clock.monotonic_millis().saturating_sub(self.opened_monotonic);
        let wall = clock.wall_millis();
        if let Some(ahead) = self.ahead
            && let Some(away) = wall.checked_sub(elapsed).and_then(|opened| opened.checked_sub(ahead))
        {
            self.opened = self.opened.saturating_add(away);
            self.ahead = None;
        }
        let wall_millis = match self.ahead {
            Some(ahead) => ahead.saturating_add(elapsed),
            None if wall < PLAUSIBLE_MILLIS => 0,
            None => wall,
        };
        Moment { time_millis: self.opened.saturating_add(elapsed), wall_millis }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::clock::TestClock;

    const NEW_YEAR: u64 = PLAUSIBLE_MILLIS;

    fn moment(time_millis: u64, wall_millis: u64) -> Moment {
        Moment { time_millis, wall_millis }
    }

    #[test]
    fn the_time_away_is_added_when_the_clock_can_tell_it() {
        let clock = TestClock::at(NEW_YEAR + 5000);
        let mut time = StoreTime::resume(moment(100, NEW_YEAR + 2000), &clock);
        assert_eq!(time.moment(&clock), moment(3100, NEW_YEAR + 5000));
        clock.advance(10);
        assert_eq!(time.moment(&clock), moment(3110, NEW_YEAR + 5010));
    }

    #[test]
    fn a_clock_that_is_set_while_the_store_is_open_changes_nothing() {
        let clock = TestClock::at(NEW_YEAR + 5000);
        let mut time = StoreTime::resume(moment(100, NEW_YEAR + 5000), &clock);
        clock.set_wall(NEW_YEAR + 1_000_000);
        assert_eq!(time.moment(&clock).time_millis, 100);
        clock.set_wall(NEW_YEAR);
        clock.advance(1);
        assert_eq!(time.moment(&clock), moment(101, NEW_YEAR + 1));
    }

    /// A box without a battery clock: it starts in 1970, runs for ten seconds, and is then told the time.
    #[test]
    fn the_time_away_is_added_once_when_a_late_clock_is_set_right() {
        let clock = TestClock::at(0);
        let mut time = StoreTime::resume(moment(100, NEW_YEAR), &clock);
        clock.advance(10_000);
        let before = time.moment(&clock);
        assert_eq!(before, moment(10_100, NEW_YEAR + 10_000));
        clock.set_wall(NEW_YEAR + 70_000);
        assert_eq!(time.moment(&clock), moment(70_100, NEW_YEAR + 70_000));
        clock.set_wall(NEW_YEAR + 700_000);
        assert_eq!(time.moment(&clock).time_millis, 70_100);
        // Started again before the clock was right, what was written down still tells the time away.
        let later = TestClock::at(NEW_YEAR + 70_000);
        assert_eq!(StoreTime::resume(before, &later).moment(&later).time_millis, 70_100);
    }

    #[test]
    fn a_clock_that_was_never_set_says_nothing_about_the_time_away() {
        let clock = TestClock::at(5000);
        let written = StoreTime::resume(Moment::default(), &clock).moment(&clock);
        assert_eq!(written, moment(0, 0));
        let later = TestClock::at(NEW_YEAR);
        assert_eq!(StoreTime::resume(written, &later).moment(&later), moment(0, NEW_YEAR));
    }
}

//! When each message is due in an open loop.
//!
//! All publishers together keep one rate: message `n` of the whole run is due `n / rate` seconds after its start, and publisher
//! `p` of `P` sends the messages `p`, `p + P`, `p + 2P` and so on. So the load is even, however many publishers share it.

/// The moments at which one publisher's messages are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Messages per second of all publishers.
    rate: u64,
    publishers: u64,
    publisher: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Schedule {
    /// The share of publisher number `publisher` of `publishers` in `rate` messages per second; a rate of 0 counts as 1.
    pub(crate) fn new(rate: u64, publishers: u32, publisher: u32) -> Schedule {
        Schedule { rate: rate.max(1), publishers: publishers.into(), publisher: publisher.into() }
    }

    /// When message number `sequence` of this publisher is due, in nanoseconds after the start.
    pub(crate) fn due(&self, sequence: u64) -> u64 {
        let number = sequence.saturating_mul(self.publishers).saturating_add(self.publisher);
        let (seconds, rest) = (number / self.rate, number % self.rate);
        // `rest` is below the rate, and the rate has a limit, so only the seconds can overflow.
        seconds.saturating_mul(SECOND).saturating_add(rest.saturating_mul(SECOND) / self.rate)
    }

    /// How many messages of this publisher are due before `time`, in nanoseconds after the start.
    pub(crate) fn due_before(&self, time: u64) -> u64 {
        let whole = (time / SECOND).saturating_mul(self.rate);
        let (mut low, mut high) =
            (0, whole.saturating_add((time % SECOND).saturating_mul(self.rate) / SECOND + 2));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.due(middle) < time {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publishers_share_the_rate_evenly() {
        let mut moments = Vec::new();
        for publisher in 0..3 {
            let schedule = Schedule::new(1000, 3, publisher);
            moments.extend((0..100).map(|sequence| schedule.due(sequence)));
        }
        moments.sort_unstable();
        let expected: Vec<u64> = (0..300).map(|number| number * 1_000_000).collect();
        assert_eq!(moments, expected);
    }

    #[test]
    fn no_rounding_error_grows() {
        let schedule = Schedule::new(3, 1, 0);
        assert_eq!(schedule.due(1), 333_333_333);
        assert_eq!(schedule.due(3 * 86_400), 86_400 * SECOND);
    }

    #[test]
    fn what_is_due_before_a_moment_is_counted_exactly() {
        for (rate, publishers, publisher) in [(1, 1, 0), (5000, 1, 0), (7, 3, 2), (1_000_000, 10, 9)] {
            let schedule = Schedule::new(rate, publishers, publisher);
            for time in [0, 1, SECOND / 2, SECOND, SECOND + 1, 10 * SECOND] {
                let count = schedule.due_before(time);
                assert!(count == 0 || schedule.due(count - 1) < time, "{schedule:?} {time}");
                assert!(schedule.due(count) >= time, "{schedule:?} {time}");
            }
        }
    }

    #[test]
    fn the_far_end_of_time_does_not_overflow() {
        let schedule = Schedule::new(1, 1_000_000, 999_999);
        assert_eq!(schedule.due(u64::MAX), u64::MAX);
    }
}

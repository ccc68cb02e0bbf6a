//! Load averages: how many a minute, weighted by an exponential with one, five and fifteen minutes.
//!
//! After a time constant 63 % of an average are younger than it. Intervals may have any length: what happened in one is spread evenly
//! over it, so that two short intervals with the same rate say what one long one says.

use super::reading::Reading;
use std::time::{Duration, Instant};

const MINUTE_SECONDS: f64 = 60.0;

/// The windows, with their names in topics.
pub(crate) const WINDOWS: [(&str, Duration); 3] = [
    ("1min", Duration::from_secs(60)),
    ("5min", Duration::from_secs(300)),
    ("15min", Duration::from_secs(900)),
];

/// A counter whose load is told.
pub(crate) struct Load {
    /// The topic's levels below `load`.
    pub(crate) name: &'static str,
    /// What is counted; completes "the number of … a minute".
    #[cfg(test)]
    pub(crate) what: &'static str,
    pub(crate) read: fn(&Reading) -> u64,
}

macro_rules! loads {
    ($($name:literal, $what:literal, $field:ident;)*) => {
        /// Every counter whose load is told.
        pub(crate) const LOADS: [Load; 8] = [$(
            Load { name: $name, #[cfg(test)] what: $what, read: |reading| reading.$field },
        )*];
    };
}

loads! {
    "connections", "accepted connections", opened;
    "messages/received", "messages published by clients", received;
    "messages/sent", "messages delivered to clients", sent;
    "publish/received", "messages published by clients", received;
    "publish/sent", "messages delivered to clients", sent;
    "publish/dropped", "deliveries that did not happen", dropped;
    "bytes/received", "bytes read from clients", wire_in_bytes;
    "bytes/sent", "bytes written to clients", wire_out_bytes;
}

/// An average of each counter over each window.
pub(crate) type PerMinute = [[f64; WINDOWS.len()]; LOADS.len()];

/// The averages, and the counters when they were last looked at.
#[derive(Debug)]
pub(crate) struct LoadAverages {
    seen_at: Instant,
    seen: [u64; LOADS.len()],
    averages: PerMinute,
}

impl LoadAverages {
    /// Averages of nothing since for ever.
    pub(crate) fn new(now: Instant) -> LoadAverages {
        LoadAverages { seen_at: now, seen: [0; LOADS.len()], averages: PerMinute::default() }
    }

    /// Takes in what has happened since the last look.
    pub(crate) fn observe(&mut self, reading: &Reading, now: Instant) {
        let seconds = now.saturating_duration_since(self.seen_at).as_secs_f64();
        if seconds == 0.0 {
            return;
        }
        self.seen_at = now;
        let rows = LOADS.iter().zip(&mut self.seen).zip(&mut self.averages);
        for ((load, seen), averages) in rows {
            let count = (load.read)(reading);
            let rate = count.wrapping_sub(*seen) as f64 * MINUTE_SECONDS / seconds;
            *seen = count;
            for ((_, window), average) in WINDOWS.iter().zip(averages) {
                *average = rate + (*average - rate) * (-seconds / window.as_secs_f64()).exp();
            }
        }
    }

    /// How many a minute, by counter and window.
    pub(crate) fn per_minute(&self) -> PerMinute {
        self.averages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Gauges;

    fn reading(received: u64) -> Reading {
        Reading {
            opened: 0,
            connected: 0,
            expired: 0,
            received,
            sent: 0,
            dropped: 0,
            received_bytes: 0,
            sent_bytes: 0,
            wire_in_bytes: 0,
            wire_out_bytes: 0,
            gauges: Gauges::default(),
        }
    }

    /// Feeds a number of intervals, each with `count` messages, and returns the averages of received messages.
    fn averages_after(intervals: &[(u64, u64)]) -> [f64; 3] {
        let (mut now, mut total) = (Instant::now(), 0);
        let mut loads = LoadAverages::new(now);
        for (seconds, count) in intervals {
            now += Duration::from_secs(*seconds);
            total += count;
            loads.observe(&reading(total), now);
        }
        loads.per_minute()[1]
    }

    fn assert_close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-6 * right.abs().max(1.0), "{left} is not {right}");
    }

    #[test]
    fn a_steady_rate_becomes_the_average() {
        let [one, five, fifteen] = averages_after(&[(10, 20); 6000]);
        [one, five, fifteen].into_iter().for_each(|average| assert_close(average, 120.0));
    }

    #[test]
    fn an_average_has_63_percent_of_a_new_rate_after_its_time_constant() {
        let part = 1.0 - (-1.0_f64).exp();
        assert_close(averages_after(&[(10, 10); 6])[0], 60.0 * part);
        assert_close(averages_after(&[(10, 10); 30])[1], 60.0 * part);
        assert_close(averages_after(&[(10, 10); 90])[2], 60.0 * part);
    }

    #[test]
    fn a_rate_that_ends_decays() {
        let mut intervals = vec![(10, 10); 6000];
        intervals.extend([(10, 0); 6]);
        assert_close(averages_after(&intervals)[0], 60.0 * (-1.0_f64).exp());
    }

    #[test]
    fn the_length_of_the_intervals_does_not_matter() {
        let (short, long) = (averages_after(&[(1, 3); 120]), averages_after(&[(120, 360)]));
        short.into_iter().zip(long).for_each(|(short, long)| assert_close(short, long));
    }

    #[test]
    fn a_counter_that_wraps_around_is_no_flood() {
        let mut now = Instant::now();
        let mut loads = LoadAverages::new(now);
        for total in [u64::MAX - 1, 4] {
            now += Duration::from_secs(3600);
            loads.observe(&reading(total), now);
        }
        assert_close(loads.per_minute()[1][0], 0.1);
    }

    #[test]
    fn the_same_moment_twice_changes_nothing() {
        assert_eq!(averages_after(&[(10, 10), (0, 5)]), averages_after(&[(10, 10)]));
    }
}

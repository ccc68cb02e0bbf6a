//! The line per second while a run goes on, and how numbers are written for people.

use hdrhistogram::Histogram;
use std::time::Duration;

/// What was known a second ago.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    sent: u64,
    received: u64,
    seconds: f64,
}

impl Progress {
    /// The line for the time since the last call. `sent` and `received` count from the start, as `elapsed` does.
    pub(crate) fn line(
        &mut self,
        elapsed: Duration,
        sent: u64,
        received: u64,
        latency: &Histogram<u64>,
    ) -> String {
        let seconds = elapsed.as_secs_f64();
        let span = (seconds - self.seconds).max(0.001);
        let rate = |now: u64, before: u64| quantity(now.saturating_sub(before) as f64 / span);
        let line = format!(
            "{seconds:>6.1} s   sent {:>7}/s   received {:>7}/s   p50 {:>8}   p99 {:>8}",
            rate(sent, self.sent),
            rate(received, self.received),
            time(latency.value_at_quantile(0.5)),
            time(latency.value_at_quantile(0.99)),
        );
        *self = Progress { sent, received, seconds };
        line
    }
}

/// A number with three to four digits and its thousands, as in `1.23 M`.
pub(crate) fn quantity(number: f64) -> String {
    match number {
        n if n < 1e3 => format!("{n:.0}"),
        n if n < 1e6 => format!("{:.1} k", n / 1e3),
        n if n < 1e9 => format!("{:.2} M", n / 1e6),
        n => format!("{:.2} G", n / 1e9),
    }
}

/// Nanoseconds as people read them, as in `12.3 ms`.
pub(crate) fn time(nanoseconds: u64) -> String {
    match nanoseconds as f64 {
        n if n < 1e6 => format!("{:.0} us", n / 1e3),
        n if n < 1e7 => format!("{:.2} ms", n / 1e6),
        n if n < 1e9 => format!("{:.1} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_difference_to_the_one_before() {
        let mut latency = crate::bench::tally::histogram().unwrap();
        latency.record(2_000_000).unwrap();
        let mut progress = Progress::default();
        progress.line(Duration::from_secs(1), 1000, 500, &latency);
        let line = progress.line(Duration::from_secs(3), 5000, 1_000_500, &latency);
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words,
            "3.0 s sent 2.0 k/s received 500.0 k/s p50 2.00 ms p99 2.00 ms".split(' ').collect::<Vec<_>>()
        );
    }

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!([quantity(7.0), quantity(12_345.0), quantity(2e6)], ["7", "12.3 k", "2.00 M"]);
        assert_eq!([time(900), time(45_600), time(1_234_000)], ["1 us", "46 us", "1.23 ms"]);
        assert_eq!([time(12_345_678), time(2_500_000_000)], ["12.3 ms", "2.50 s"]);
    }
}

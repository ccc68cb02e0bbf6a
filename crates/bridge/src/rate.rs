//! How fast a number changes: an average over about the last ten seconds, in which what is older weighs less and less.

use std::time::Instant;

/// After so many seconds a new rate is for 63 % in the average.
const WINDOW_SECONDS: f64 = 10.0;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    last: Option<(f64, Instant)>,
    weighted: f64,
    /// How much of an average there is: less than one in the first seconds.
    weight: f64,
}

impl Rate {
    /// The number is this now. To be told about once a second.
    pub(crate) fn observe(&mut self, number: f64, now: Instant) {
        let Some((before, at)) = self.last else {
            self.last = Some((number, now));
            return;
        };
        let seconds = now.saturating_duration_since(at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let kept = (-seconds / WINDOW_SECONDS).exp();
        self.weighted = self.weighted * kept + (number - before) / seconds * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
        self.last = Some((number, now));
    }

    /// By how much it grows in a second; nothing before it was observed twice.
    pub(crate) fn per_second(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.weighted / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn after(rate: &mut Rate, start: Instant, numbers: impl IntoIterator<Item = (u64, f64)>) -> f64 {
        for (second, number) in numbers {
            rate.observe(number, start + Duration::from_secs(second));
        }
        rate.per_second().unwrap()
    }

    #[test]
    fn a_rate_is_known_after_a_second_and_follows_what_changes() {
        let (start, mut rate) = (Instant::now(), Rate::default());
        rate.observe(500.0, start);
        assert_eq!(rate.per_second(), None);
        let is_about = |rate: f64, expected: f64| (rate - expected).abs() < 0.01 * expected.abs().max(1.0);
        let steady = after(&mut rate, start, [(1, 600.0)]);
        assert!(is_about(steady, 100.0), "{steady}");
        let steady = after(&mut rate, start, (2..60).map(|second| (second, 500.0 + 100.0 * second as f64)));
        assert!(is_about(steady, 100.0), "{steady}");
        let standing = after(&mut rate, start, (60..160).map(|second| (second, 6400.0)));
        assert!(is_about(standing, 0.0), "{standing}");
        let falling = after(&mut rate, start, (160..260).map(|second| (second, 6400.0 - second as f64)));
        assert!(is_about(falling, -1.0), "{falling}");
    }
}

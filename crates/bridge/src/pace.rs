//! How fast a backlog is drained: messages and bytes in a second.
//!
//! A bucket of one tenth of a second for each: what is due is allowed, and what came faster has to wait. `now` is passed in.

use std::time::{Duration, Instant};

/// A limit; nothing where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaceOptions {
    /// Messages in a second, at least one.
    pub messages_per_second: Option<u64>,
    /// Bytes of payload in a second, at least one.
    pub bytes_per_second: Option<u64>,
}

/// What may be sent when.
#[derive(Debug)]
pub(crate) struct Pace {
    options: PaceOptions,
    /// Until when what was sent so far takes, at this pace.
    messages_until: Option<Instant>,
    bytes_until: Option<Instant>,
}

/// What may be ahead of its time.
const BURST: Duration = Duration::from_millis(100);

impl Pace {
    pub(crate) fn new(options: PaceOptions) -> Pace {
        Pace { options, messages_until: None, bytes_until: None }
    }

    /// The moment from which the next message may be sent; nothing where it may now.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        let latest = self.messages_until.max(self.bytes_until)?;
        let at = latest.checked_sub(BURST)?;
        (at > now).then_some(at)
    }

    /// A message of so many bytes was sent.
    pub(crate) fn note(&mut self, bytes: usize, now: Instant) {
        let PaceOptions { messages_per_second, bytes_per_second } = self.options;
        self.messages_until = messages_per_second.map(|rate| later(self.messages_until, 1, rate, now));
        self.bytes_until = bytes_per_second.map(|rate| later(self.bytes_until, bytes as u64, rate, now));
    }
}

/// The end of what was sent, with more of it at this rate.
fn later(until: Option<Instant>, amount: u64, rate: u64, now: Instant) -> Instant {
    let takes = Duration::from_nanos(amount.saturating_mul(1_000_000_000) / rate.max(1));
    until.map_or(now, |until| until.max(now)) + takes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many messages of so many bytes leave within a second.
    fn sent_in_a_second(options: PaceOptions, bytes: usize) -> usize {
        let (start, mut pace, mut sent) = (Instant::now(), Pace::new(options), 0);
        let mut now = start;
        while now < start + Duration::from_secs(1) {
            match pace.next_at(now) {
                Some(at) => now = at,
                None => {
                    pace.note(bytes, now);
                    sent += 1;
                }
            }
        }
        sent
    }

    #[test]
    fn the_lower_of_both_limits_counts() {
        let messages = PaceOptions { messages_per_second: Some(200), bytes_per_second: None };
        assert!((200..=221).contains(&sent_in_a_second(messages, 1_000_000)));
        let both = PaceOptions { bytes_per_second: Some(1000), ..messages };
        assert!((10..=12).contains(&sent_in_a_second(both, 100)));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let (mut pace, now) = (Pace::new(PaceOptions::default()), Instant::now());
        (0..1000).for_each(|_| pace.note(1 << 30, now));
        assert_eq!(pace.next_at(now), None);
    }

    /// A message larger than a second's worth leaves, and what follows waits for as long as it takes.
    #[test]
    fn a_large_message_is_paid_for_behind_it() {
        let (mut pace, now) = (
            Pace::new(PaceOptions { messages_per_second: None, bytes_per_second: Some(10) }),
            Instant::now(),
        );
        assert_eq!(pace.next_at(now), None);
        pace.note(100, now);
        assert_eq!(pace.next_at(now), Some(now + Duration::from_secs(10) - BURST));
    }
}

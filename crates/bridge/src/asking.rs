//! How much of its backlog a forward asks for that lets newer messages go first.
//!
//! Half of what may be on its way is for the backlog, the other half for what is live, so that neither waits for the other: at least one message
//! each. What was asked for and has not come counts like what is held. Bytes are told by what has come lately, so they are kept about.
//!
//! A live message leaves at once, and is answered behind what has left before it. So where the upstream is slow less than half is asked for: as much as
//! it answers for within [`STANDING_MAX`], beside the time that it takes for one message alone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much is asked for at first, when nothing is known of how large messages are.
const FIRST: u32 = 16;
/// How long a message of the backlog may wait at the upstream for those before it, in the mean: so long does a live one wait as well.
const STANDING_MAX: Duration = Duration::from_millis(40);
/// Never less than so many are on their way: an upstream whose answers are late for other reasons still gets something to do.
const WINDOW_MIN: u32 = 32;
/// With how many a connection begins, about which nothing is known.
const WINDOW_FIRST: u32 = 64;

/// What was asked for, and what may be.
#[derive(Debug)]
pub(crate) struct Asking {
    messages_max: u32,
    bytes_max: usize,
    asked: u32,
    /// What a message has weighed lately.
    each_bytes: usize,
    window: Window,
    /// What was sent of the backlog and is younger than what was answered last: tickets ascend.
    sent: VecDeque<(u64, Instant)>,
}

/// How many messages may be on their way, from how long the upstream takes to answer: what stands there grows with what is sent ahead, and the
/// time that it takes for one message alone does not. Looked at in rounds of as many answers as are on their way, and by their mean, so that one
/// answer that is late by accident changes little.
#[derive(Debug)]
struct Window {
    messages: u32,
    /// The quickest answer over this connection.
    least: Duration,
    answers: u32,
    took: Duration,
}

impl Window {
    fn new(messages_max: u32) -> Window {
        let messages = messages_max.min(WINDOW_FIRST);
        Window { messages, least: Duration::MAX, answers: 0, took: Duration::ZERO }
    }

    fn note(&mut self, took: Duration, messages_max: u32) {
        self.least = self.least.min(took);
        (self.answers, self.took) = (self.answers + 1, self.took + took);
        if self.answers < self.messages {
            return;
        }
        let stands_too_long = self.took / self.answers > self.least + STANDING_MAX;
        self.messages = match stands_too_long {
            true => (self.messages / 4 * 3).max(WINDOW_MIN),
            false => self.messages + self.messages / 8 + 1,
        }
        .min(messages_max);
        (self.answers, self.took) = (0, Duration::ZERO);
    }
}

impl Asking {
    /// For a forward that may have so many messages on their way, and about so many bytes.
    pub(crate) fn new(in_flight_max: u32, in_flight_bytes_max: usize) -> Asking {
        let messages_max = (in_flight_max / 2).max(1);
        Asking {
            messages_max,
            bytes_max: in_flight_bytes_max / 2,
            asked: 0,
            each_bytes: 0,
            window: Window::new(messages_max),
            sent: VecDeque::new(),
        }
    }

    /// How many messages may be with the forward at a time, live ones and others.
    pub(crate) fn credit(in_flight_max: u32) -> u32 {
        in_flight_max.max(2)
    }

    /// The bytes that are left for live ones.
    pub(crate) fn live_bytes_max(in_flight_bytes_max: usize) -> usize {
        in_flight_bytes_max - in_flight_bytes_max / 2
    }

    /// Whether something was asked for and has not come.
    pub(crate) fn is_open(&self) -> bool {
        self.asked > 0
    }

    /// A message of this weight has come.
    pub(crate) fn note_came(&mut self, bytes: usize) {
        self.asked = self.asked.saturating_sub(1);
        self.each_bytes = match self.each_bytes {
            0 => bytes,
            before => (before * 7 + bytes) / 8,
        };
    }

    /// A message of the backlog is sent.
    pub(crate) fn note_sent(&mut self, ticket: u64, now: Instant) {
        self.sent.push_back((ticket, now));
        // What was turned away is sent again under another ticket.
        if self.sent.len() > 2 * self.messages_max as usize {
            self.sent.pop_front();
        }
    }

    /// The upstream has answered for a message. Of those that are answered out of their order some are passed over.
    pub(crate) fn note_answered(&mut self, ticket: u64, now: Instant) {
        while let Some((sent, at)) = self.sent.pop_front_if(|(sent, _)| *sent <= ticket) {
            if sent == ticket {
                self.window.note(now.saturating_duration_since(at), self.messages_max);
            }
        }
    }

    /// What was known of how long the upstream takes is worth nothing any more: the connection is another one.
    pub(crate) fn forget_answers(&mut self) {
        self.window = Window::new(self.messages_max);
        self.sent.clear();
    }

    /// How many more to ask for, while so many of them are held; nothing where that is not worth a word.
    pub(crate) fn next(&mut self, held: usize, held_bytes: usize) -> Option<u32> {
        let open = u32::try_from(held).unwrap_or(u32::MAX).saturating_add(self.asked);
        let bytes_left = self.bytes_max.saturating_sub(held_bytes);
        let by_bytes = match bytes_left.checked_div(self.each_bytes) {
            None => FIRST.saturating_sub(self.asked),
            Some(count) => u32::try_from(count).unwrap_or(u32::MAX).saturating_sub(self.asked),
        };
        let count = self.window.messages.saturating_sub(open).min(by_bytes);
        // One may always come, however large.
        let count = if open == 0 { count.max(1) } else { count };
        let is_worth_it = count > 0 && (self.asked == 0 || count >= self.window.messages / 8);
        is_worth_it.then(|| {
            self.asked += count;
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_may_be_on_its_way_is_asked_for_and_more_as_it_leaves() {
        let mut asking = Asking::new(100, 1 << 20);
        assert_eq!(asking.next(0, 0), Some(16), "nothing is known of their size");
        assert_eq!(asking.next(0, 0), None);
        (0..16).for_each(|_| asking.note_came(100));
        assert_eq!(asking.next(16, 1600), Some(34));
        (0..34).for_each(|_| asking.note_came(100));
        assert!(!asking.is_open());
        assert_eq!(asking.next(50, 5000), None);
        assert_eq!(asking.next(49, 4900), Some(1));
    }

    #[test]
    fn large_messages_are_asked_for_one_by_one() {
        let mut asking = Asking::new(1000, 1000);
        assert_eq!(asking.next(0, 0), Some(16));
        (0..16).for_each(|_| asking.note_came(10_000));
        assert_eq!(asking.next(16, 160_000), None);
        assert_eq!(asking.next(1, 10_000), None);
        assert_eq!(asking.next(0, 0), Some(1));
        assert_eq!(asking.next(0, 0), None);
    }

    /// What is on its way to an upstream that takes so many messages a millisecond and is so far away, which answers for one alone first.
    fn settled(per_millisecond: u32, way: Duration) -> u32 {
        let mut window = Window::new(500);
        window.note(way, 500);
        for _ in 0..20_000 {
            window.note(way.max(Duration::from_millis(1) * window.messages / per_millisecond), 500);
        }
        window.messages
    }

    #[test]
    fn a_slow_upstream_has_no_more_on_its_way_than_it_answers_for_soon() {
        assert!((30..=60).contains(&settled(1, Duration::from_millis(5))));
        assert!((75..=120).contains(&settled(2, Duration::from_millis(10))));
    }

    #[test]
    fn neither_a_fast_upstream_nor_one_that_is_far_away_is_kept_waiting() {
        assert_eq!(settled(100, Duration::from_millis(1)), 500);
        assert_eq!(settled(100, Duration::from_millis(300)), 500);
    }

    #[test]
    fn one_answer_that_is_late_by_accident_changes_nothing() {
        let mut window = Window::new(500);
        for answer in 0..10_000 {
            let took = if answer % 250 == 7 { Duration::from_secs(1) } else { Duration::from_millis(2) };
            window.note(took, 500);
        }
        assert_eq!(window.messages, 500);
    }

    #[test]
    fn one_of_each_may_always_be_on_its_way() {
        let mut asking = Asking::new(1, 1024);
        assert_eq!((Asking::credit(1), asking.next(0, 0), asking.next(0, 0)), (2, Some(1), None));
    }
}

//! How much of its backlog a forward asks for that lets newer messages go first.
//!
//! Half of what may be on its way is for the backlog, the other half for what is live, so that neither waits for the other: at least one message
//! each. What was asked for and has not come counts like what is held. Bytes are told by what has come lately, so they are kept about.

/// How much is asked for at first, when nothing is known of how large messages are.
const FIRST: u32 = 16;

/// What was asked for, and what may be.
#[derive(Debug)]
pub(crate) struct Asking {
    messages_max: u32,
    bytes_max: usize,
    asked: u32,
    /// What a message has weighed lately.
    each_bytes: usize,
}

impl Asking {
    /// For a forward that may have so many messages on their way, and about so many bytes.
    pub(crate) fn new(in_flight_max: u32, in_flight_bytes_max: usize) -> Asking {
        Asking {
            messages_max: (in_flight_max / 2).max(1),
            bytes_max: in_flight_bytes_max / 2,
            asked: 0,
            each_bytes: 0,
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

    /// How many more to ask for, while so many of them are held; nothing where that is not worth a word.
    pub(crate) fn next(&mut self, held: usize, held_bytes: usize) -> Option<u32> {
        let open = u32::try_from(held).unwrap_or(u32::MAX).saturating_add(self.asked);
        let bytes_left = self.bytes_max.saturating_sub(held_bytes);
        let by_bytes = match bytes_left.checked_div(self.each_bytes) {
            None => FIRST.saturating_sub(self.asked),
            Some(count) => u32::try_from(count).unwrap_or(u32::MAX).saturating_sub(self.asked),
        };
        let count = self.messages_max.saturating_sub(open).min(by_bytes);
        // One may always come, however large.
        let count = if open == 0 { count.max(1) } else { count };
        let is_worth_it = count > 0 && (self.asked == 0 || count >= self.messages_max / 8);
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

    #[test]
    fn one_of_each_may_always_be_on_its_way() {
        let mut asking = Asking::new(1, 1024);
        assert_eq!((Asking::credit(1), asking.next(0, 0), asking.next(0, 0)), (2, Some(1), None));
    }
}

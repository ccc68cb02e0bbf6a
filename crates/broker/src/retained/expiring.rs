//! Retained messages that have expired: a look at some of them now and then, and at all of them when room is needed.

use super::{RetainedMessages, earlier};
use std::num::NonZeroU64;
use std::ops::Bound;
use std::time::Instant;
use tidegate_message::Topic;

/// What a look at some of the messages has found.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Entries that are to be settled.
    pub(crate) settled: Vec<NonZeroU64>,
    /// The topic behind which the search goes on; nothing at its end.
    pub(crate) next: Option<Topic>,
}

impl RetainedMessages {
    /// Looks at so many messages behind a topic, and takes those out that have expired, with what else is to be settled for that reason.
    pub(crate) fn sweep(&mut self, behind: Option<&Topic>, count: usize, now: Instant) -> Swept {
        let mut swept = Swept::default();
        if behind.is_none() {
            if self.first_expiry.is_none_or(|first| now < first) {
                swept.settled.append(&mut self.expired);
                return swept;
            }
            self.next_expiry = None;
        }
        let from = behind.map_or(Bound::Unbounded, |topic| Bound::Excluded(topic.as_str()));
        let mut expired: Vec<Topic> = Vec::new();
        let mut next_expiry = self.next_expiry;
        for (at, kept) in self.messages.range::<str, _>((from, Bound::Unbounded)).take(count).enumerate() {
            match kept.message.is_expired(now) {
                true => expired.push(kept.message.topic.clone()),
                false => next_expiry = earlier(next_expiry, kept.message.expires_at),
            }
            swept.next = (at + 1 == count).then(|| kept.message.topic.clone());
        }
        self.next_expiry = next_expiry;
        for topic in expired {
            let number = self.remove(&topic).and_then(|kept| kept.number);
            self.expired.extend(number);
        }
        swept.settled.append(&mut self.expired);
        if swept.next.is_none() {
            self.first_expiry = self.next_expiry;
        }
        swept
    }

    /// Looks at every message, and so only when one may have expired: at the limit each message that finds no room asks.
    pub(super) fn remove_expired(&mut self, now: Instant) {
        if self.first_expiry.is_none_or(|first| now < first) {
            return;
        }
        let mut first_expiry = None;
        self.bytes = 0;
        self.messages.retain(|kept| {
            let is_alive = !kept.message.is_expired(now);
            if is_alive {
                first_expiry = earlier(first_expiry, kept.message.expires_at);
                self.bytes += kept.weight_bytes();
            } else {
                self.expired.extend(kept.number);
            }
            is_alive
        });
        (self.first_expiry, self.next_expiry) = (first_expiry, first_expiry);
    }
}

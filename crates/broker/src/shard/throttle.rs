//! How fast one client may publish: what it has sent is always taken, and then it is not read from until the time is up.
//!
//! So nothing is lost and nothing is refused; the client notices by its own socket filling up. While it is not read from it cannot
//! be blamed for silence either, so its timers wait as long.

use super::slot::Slot;
use super::{Shard, SlotKey};
use crate::pace::Pace;
use std::time::{Duration, Instant};

/// How fast one client may publish; no limit where nothing is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishLimits {
    /// Messages in a second, with a burst of one second.
    pub messages_per_second: Option<u64>,
    /// Bytes of topics and payloads in a second, with a burst of one second.
    pub bytes_per_second: Option<u64>,
}

/// What one connection has published of late.
#[derive(Debug, Default)]
pub(crate) struct PublishPace {
    messages: Option<Pace>,
    bytes: Option<Pace>,
    /// Until when it rests because its protocol says so.
    slowed_until: Option<Instant>,
}

impl PublishPace {
    /// Counts one message. Apart from its caller, which most messages pass without a pace.
    #[inline(never)]
    pub(super) fn take(&mut self, bytes: usize, now: Instant) {
        if let Some(messages) = &mut self.messages {
            messages.take(1, now);
        }
        if let Some(pace) = &mut self.bytes {
            pace.take(bytes as u64, now);
        }
    }

    fn rests_until(&self, now: Instant) -> Option<Instant> {
        let paces = [&self.messages, &self.bytes];
        let slowed_until = self.slowed_until.filter(|until| *until > now);
        paces.into_iter().flatten().filter_map(|pace| pace.rests_until(now)).chain(slowed_until).max()
    }
}

impl Shard {
    /// Sets how fast a connection may publish.
    pub fn limit_publishing(&mut self, key: SlotKey, limits: PublishLimits, now: Instant) {
        let pace = |rate: Option<u64>| rate.map(|rate| Pace::new(rate, now));
        let (messages, bytes) = (pace(limits.messages_per_second), pace(limits.bytes_per_second));
        if let Some(slot) = self.slots.get_mut(key.slot).filter(|slot| slot.connection == key.connection) {
            slot.pace = (messages.is_some() || bytes.is_some())
                .then(|| Box::new(PublishPace { messages, bytes, slowed_until: None }));
        }
    }

    /// Until when a connection must not be fed, because it publishes faster than it may.
    pub fn rests_until(&self, key: SlotKey, now: Instant) -> Option<Instant> {
        let slot = self.slots.get(key.slot).filter(|slot| slot.connection == key.connection)?;
        slot.rests_until(now)
    }

    /// Counts a rest that begins now.
    pub fn count_rest(&self, key: SlotKey, until: Instant, now: Instant) {
        let slot = self.slots.get(key.slot).filter(|slot| slot.connection == key.connection);
        if let Some(counters) = slot.and_then(|slot| self.metrics.protocols.get(slot.protocol)) {
            let time = until.saturating_duration_since(now);
            counters.throttled.add(1);
            counters.throttled_microseconds.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }
}

impl Slot {
    /// Lets the connection rest for a while, whatever its pace.
    pub(super) fn rest(&mut self, time: Duration, now: Instant) {
        self.pace.get_or_insert_default().slowed_until = now.checked_add(time);
    }

    /// Until when the connection must not be fed.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.pace.as_ref().and_then(|pace| pace.rests_until(now))
    }
}

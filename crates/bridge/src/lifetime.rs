//! Until when a message that a forward holds is of use: its own lifetime, which goes on while it waits, and the age that the forward allows.

use crate::link::Delivered;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The clock by which the gateway knows when messages came, in milliseconds. It goes on over a restart, unlike an [`Instant`].
#[derive(Clone)]
pub struct GatewayClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl GatewayClock {
    /// A clock that is read by this.
    pub fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> GatewayClock {
        GatewayClock(Arc::new(read))
    }

    fn millis(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for GatewayClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("GatewayClock").field(&self.millis()).finish()
    }
}

/// Why a message is given up that was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Useless {
    /// Its lifetime is over.
    Expired,
    /// It has waited for longer than the forward lets messages wait.
    TooOld,
    /// A newer one of its topic waits, and only the last one is wanted.
    Superseded,
}

impl Useless {
    /// One word for metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Useless::Expired => "expired",
            Useless::TooOld => "max_age",
            Useless::Superseded => "superseded",
        }
    }
}

/// From when on a message is not sent any more, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) why: Useless,
}

/// What one forward knows of how long its messages are of use.
#[derive(Debug, Clone)]
pub(crate) struct Lifetime {
    /// For how long a message may have waited that is sent.
    pub(crate) max_age: Option<Duration>,
    pub(crate) clock: GatewayClock,
}

impl Lifetime {
    /// The deadline of a delivery that comes now, if it has one.
    pub(crate) fn deadline(&self, delivered: &Delivered, now: Instant) -> Option<Deadline> {
        let expired = delivered.expires_at.map(|at| Deadline { at, why: Useless::Expired });
        let too_old = self.too_old_at(delivered, now).map(|at| Deadline { at, why: Useless::TooOld });
        expired.into_iter().chain(too_old).min_by_key(|deadline| deadline.at)
    }

    /// The age of a message counts from when it was taken, and goes on over a restart. Where that is not known it counts from now: what was retained
    /// here before the forward was new has not waited for it.
    fn too_old_at(&self, delivered: &Delivered, now: Instant) -> Option<Instant> {
        let max_age = self.max_age?;
        let age = delivered.publisher.as_ref().map_or(Duration::ZERO, |publisher| {
            Duration::from_millis(self.clock.millis().saturating_sub(publisher.taken_at_millis))
        });
        now.checked_add(max_age.saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tidegate_message::{Publisher, QoS, Topic};
    use tidegate_protocol::DeliveryTag;

    const HOUR: Duration = Duration::from_secs(3600);

    fn delivered(taken_at_millis: Option<u64>, expires_at: Option<Instant>) -> Delivered {
        let (client_id, user) = (None, None);
        let publisher = taken_at_millis.map(|taken_at_millis| {
            Box::new(Publisher { client_id, user, published_at_millis: 0, taken_at_millis })
        });
        Delivered {
            tag: DeliveryTag(1),
            topic: Topic::parse(b"t").unwrap(),
            payload: Bytes::new(),
            properties: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            redelivered: false,
            attempt: 1,
            expires_at,
            publisher,
            is_backlog: false,
        }
    }

    /// Before and behind a restart a message has the same age; its own lifetime counts where it ends earlier.
    #[test]
    fn the_age_of_a_message_counts_from_when_the_gateway_took_it() {
        let gateway = Arc::new(AtomicU64::new(5_000));
        let read = gateway.clone();
        let clock = GatewayClock::new(move || read.load(Ordering::Relaxed));
        let lifetime = Lifetime { max_age: Some(HOUR), clock: clock.clone() };
        let now = Instant::now();
        let deadline = |taken: Option<u64>, expires_at| {
            let deadline = lifetime.deadline(&delivered(taken, expires_at), now)?;
            Some((deadline.at, deadline.why.label()))
        };
        assert_eq!(deadline(Some(5_000), None), Some((now + HOUR, "max_age")));
        gateway.store(5_000 + 1_800_000, Ordering::Relaxed);
        assert_eq!(deadline(Some(5_000), None), Some((now + HOUR / 2, "max_age")));
        assert_eq!(deadline(Some(5_000), Some(now + HOUR / 4)), Some((now + HOUR / 4, "expired")));
        assert_eq!(deadline(Some(5_000), Some(now + HOUR)), Some((now + HOUR / 2, "max_age")));
        gateway.store(5_000 + 36_000_000, Ordering::Relaxed);
        assert_eq!(deadline(Some(5_000), None), Some((now, "max_age")));
        assert_eq!(deadline(None, None), Some((now + HOUR, "max_age")), "nobody knows when it came");
        let endless = Lifetime { max_age: None, clock };
        assert_eq!(endless.deadline(&delivered(Some(5_000), None), now), None);
    }
}

//! What a member of a group takes out of the group's queue.

use super::grouped::EXPIRED_PER_LOOK;
use super::{Popped, Queue};
use crate::entry::ChangePlace;
use crate::queued::{Queued, needs_settling};
use std::time::Instant;
use tidegate_message::QoS;
use tidegate_protocol::Settlement;

/// How a member of a group looks for its next delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberLook<'a> {
    pub(crate) has_credit: bool,
    pub(crate) settlement: Settlement,
    pub(crate) taker: Taker<'a>,
    pub(crate) now: Instant,
}

/// What becomes of a delivery at level 2 in the hands of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taker<'a> {
    /// It stays the group's in the store, if it is there.
    Passing,
    /// It becomes the member's own with the change of this place, or with one that has none yet.
    Owner(Option<&'a ChangePlace>),
}

impl Taker<'_> {
    /// Whether the group's entry could be in the store behind that of the member: then it would be there twice after a crash in between,
    /// once for the member, and once for everybody.
    fn is_too_early(self, queued: &Queued, level: QoS) -> bool {
        let Taker::Owner(place) = self else { return false };
        queued.qos.min(level) == QoS::ExactlyOnce
            && queued.entry.as_ref().is_some_and(|entry| !entry.is_before(place))
    }
}

impl Queue {
    /// Takes the next delivery for a member that receives at this level at the most; returns also what had expired before it.
    pub(crate) fn pop_for_member(&self, level: QoS, look: MemberLook<'_>) -> (Popped, Vec<Queued>) {
        let MemberLook { has_credit, settlement, taker, now } = look;
        let mut waiting = self.waiting.lock();
        let mut expired = Vec::new();
        loop {
            if !waiting.is_front_in_memory() {
                return (Popped::Held, expired);
            }
            let Some(next) = waiting.grouped().first() else {
                return (Popped::Empty, expired);
            };
            if expired.len() == EXPIRED_PER_LOOK {
                return (Popped::Searching, expired);
            }
            let is_expired = next.message.is_expired(now);
            if !is_expired && !has_credit && needs_settling(settlement, next.qos.min(level)) {
                return (Popped::NeedsCredit, expired);
            }
            if !is_expired && taker.is_too_early(next, level) {
                return (Popped::Early, expired);
            }
            let Some(queued) = waiting.grouped().pop_first() else { return (Popped::Empty, expired) };
            self.forget(&mut waiting, &queued);
            match is_expired {
                true => expired.push(queued),
                false => return (Popped::Delivery(queued), expired),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::budget::TotalBytes;
    use crate::entry::Entry;
    use std::num::NonZeroU64;
    use std::sync::Arc;
    use tidegate_message::{Message, Origin, Topic};
    use tidegate_storage::{Lsn, StreamId};

    const TOPIC: &str = "$queue/jobs";

    /// A queue with one message, whose entry is appended by this change.
    fn queue(change: &ChangePlace) -> Queue {
        let queue = Queue::new(7, 0, Arc::new(TotalBytes::new(&Limits::default())));
        let message = Message {
            topic: Topic::parse(TOPIC.as_bytes()).unwrap(),
            payload: bytes::Bytes::new(),
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: None,
            expires_at: None,
            origin: Origin(0),
            publisher: None,
        };
        let entry = Entry { stream: StreamId(7), number: NonZeroU64::MIN, change: Some(change.clone()) };
        let queued = Queued { entry: Some(entry), ..Queued::unassigned(Arc::new(message), 1) };
        queue.take_back(vec![queued]).unwrap();
        queue
    }

    fn pop(queue: &Queue, level: QoS, taker: Taker<'_>) -> Popped {
        let settlement = Settlement::AboveAtMostOnce;
        let look = MemberLook { has_credit: true, settlement, taker, now: Instant::now() };
        queue.pop_for_member(level, look).0
    }

    /// [MQTT-4.3.3-1] [MQTT-4.8.2-4]: what becomes a member's own is never in the store for the member before it is there for the group.
    #[test]
    fn nobody_owns_what_is_not_in_the_hands_of_the_store() {
        let (change, own) = (ChangePlace::new(), ChangePlace::new());
        let queue_of_other = queue(&change);
        for place in [None, Some(&own)] {
            let popped = pop(&queue_of_other, QoS::ExactlyOnce, Taker::Owner(place));
            assert!(matches!(popped, Popped::Early), "{popped:?}");
        }
        change.set(Lsn(3));
        let popped = pop(&queue_of_other, QoS::ExactlyOnce, Taker::Owner(None));
        assert!(matches!(popped, Popped::Delivery(_)), "{popped:?}");
    }

    /// What its own worker appends in the same event goes in with it, and at level 1 nothing moves.
    #[test]
    fn what_does_not_move_before_its_entry_is_taken_at_once() {
        let (change, own) = (ChangePlace::new(), ChangePlace::new());
        for (change, level, taker) in [
            (&own, QoS::ExactlyOnce, Taker::Owner(Some(&own))),
            (&change, QoS::AtLeastOnce, Taker::Owner(Some(&own))),
            (&change, QoS::ExactlyOnce, Taker::Passing),
        ] {
            let popped = pop(&queue(change), level, taker);
            assert!(matches!(popped, Popped::Delivery(_)), "{popped:?}");
        }
    }
}

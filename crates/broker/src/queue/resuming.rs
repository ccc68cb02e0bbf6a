//! Deliveries that an earlier connection left unsettled: they stand at the front of the queue and come again under their tags.

use super::Queue;
use crate::entry::Entry;
use crate::queued::Queued;
use std::num::NonZeroU64;
use tidegate_protocol::DeliveryTag;

impl Queue {
    /// How many deliveries at the front come again under their tags, and the last of these tags.
    pub(crate) fn resuming(&self) -> (usize, Option<DeliveryTag>) {
        let waiting = self.waiting.lock();
        let tags = waiting.deliveries.iter().map_while(|queued| queued.tag);
        tags.fold((0, None), |(count, _), tag| (count + 1, Some(tag)))
    }

    /// Takes out the delivery with the entry of this number, which was read and has not come yet.
    pub(crate) fn take_numbered(&self, number: NonZeroU64) -> Option<Queued> {
        let is_it = |entry: &Entry| entry.number == number && entry.stream.0 == self.id;
        let mut waiting = self.waiting.lock();
        let mut deliveries = waiting.deliveries.iter();
        let at = deliveries.position(|queued| queued.entry.as_ref().is_some_and(is_it))?;
        let queued = waiting.deliveries.remove(at)?;
        self.forget(&mut waiting, &queued);
        Some(queued)
    }

    /// Takes out the one of the first `count` deliveries that has this tag: its peer has answered before it came again.
    pub(crate) fn take_resuming(&self, tag: DeliveryTag, count: usize) -> Option<Queued> {
        let mut waiting = self.waiting.lock();
        let at = waiting.deliveries.iter().take(count).position(|queued| queued.tag == Some(tag))?;
        let queued = waiting.deliveries.remove(at)?;
        self.forget(&mut waiting, &queued);
        Some(queued)
    }
}

//! The deliveries of one consumer that it has not settled.
//!
//! They stand in the order of their tags, in which nearly all of them come. Most are settled from the front; what is settled elsewhere
//! leaves a mark that goes when the front reaches it, or when there are too many marks: one old delivery must not stretch the list.

use crate::budget::Room;
use crate::queued::Queued;
use slab::Slab;
use std::collections::VecDeque;
use tidegate_protocol::DeliveryTag;

/// Marks of settled deliveries that may stand between unsettled ones, beside as many as there are unsettled ones.
const SETTLED_MARKS_MAX: usize = 1024;

/// Unsettled deliveries, ascending by their tags.
#[derive(Debug)]
pub(super) struct Unsettled {
    entries: VecDeque<Held>,
    count: usize,
    /// Those that may come again. Apart from the list, because the deliveries of most sessions do not, and then it is small and quick.
    kept: Slab<Queued>,
    /// What these take.
    room: Room,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    tag: DeliveryTag,
    state: State,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy)]
enum State {
    /// It is unsettled and may come again: its place among those that are kept.
    Kept(usize),
    /// It is unsettled, and nothing could be done with it later.
    Passing,
    /// Only the mark is left.
    Settled,
}

impl Held {
    fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled)
    }
}

impl Unsettled {
    pub(super) fn new(room: Room) -> Unsettled {
        Unsettled { entries: VecDeque::new(), count: 0, kept: Slab::new(), room }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// What those weigh that may come again.
    pub(super) fn bytes(&self) -> usize {
        self.room.bytes()
    }

    /// Adds a delivery that was made under this tag, with the delivery itself where it may come again.
    pub(super) fn push(&mut self, tag: DeliveryTag, kept: Option<Queued>) {
        if self.entries.len() >= 2 * self.count + SETTLED_MARKS_MAX {
            self.entries.retain(|held| !held.is_settled());
        }
        self.count += 1;
        let state = kept.map_or(State::Passing, |queued| self.keep(queued));
        self.insert(Held { tag, state });
    }

    fn keep(&mut self, queued: Queued) -> State {
        self.room.take(queued.weight_bytes());
        State::Kept(self.kept.insert(queued))
    }

    fn insert(&mut self, held: Held) {
        if self.entries.back().is_none_or(|last| last.tag < held.tag) {
            return self.entries.push_back(held);
        }
        match self.entries.binary_search_by_key(&held.tag, |held| held.tag) {
            Err(at) => self.entries.insert(at, held),
            // The mark of one that was given back and comes again.
            Ok(at) => {
                if let Some(known) = self.entries.get_mut(at) {
                    *known = held;
                }
            }
        }
    }

    /// Takes out the delivery of a tag, with itself where it was kept; nothing where none is unsettled under it.
    pub(super) fn remove(&mut self, tag: DeliveryTag) -> Option<Option<Queued>> {
        let at = self.place_of(tag)?;
        let held = self.entries.get_mut(at).filter(|held| !held.is_settled())?;
        let state = std::mem::replace(&mut held.state, State::Settled);
        self.count -= 1;
        while self.entries.front().is_some_and(Held::is_settled) {
            self.entries.pop_front();
        }
        match state {
            State::Kept(place) => Some(self.give_up(place)),
            State::Passing | State::Settled => Some(None),
        }
    }

    fn give_up(&mut self, place: usize) -> Option<Queued> {
        let queued = self.kept.try_remove(place)?;
        self.room.give_back(queued.weight_bytes());
        Some(queued)
    }

    /// Tags follow each other as long as no mark was thrown away and none was skipped: then the distance from the first is the place.
    fn place_of(&self, tag: DeliveryTag) -> Option<usize> {
        let first = self.entries.front()?.tag;
        let distance = usize::try_from(tag.0.checked_sub(first.0)?).ok()?;
        match self.entries.get(distance) {
            Some(held) if held.tag == tag => Some(distance),
            _ => self.entries.binary_search_by_key(&tag, |held| held.tag).ok(),
        }
    }

    /// Takes out everything: those that were kept, ascending by their tags.
    pub(super) fn take(&mut self) -> Vec<(DeliveryTag, Queued)> {
        self.count = 0;
        let entries = std::mem::take(&mut self.entries);
        let kept = entries.into_iter().filter_map(|held| match held.state {
            State::Kept(place) => Some((held.tag, self.give_up(place)?)),
            State::Passing | State::Settled => None,
        });
        kept.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::budget::TotalBytes;
    use bytes::Bytes;
    use std::sync::Arc;
    use tidegate_message::{Message, Origin, QoS, Topic};

    fn unsettled() -> Unsettled {
        Unsettled::new(Room::new(Arc::new(TotalBytes::new(&Limits::default()))))
    }

    fn queued() -> Queued {
        let message = Message {
            topic: Topic::parse(b"t").unwrap(),
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            expires_at: None,
            origin: Origin(0),
            publisher: None,
        };
        Queued::unassigned(Arc::new(message), 0)
    }

    #[test]
    fn one_stuck_delivery_does_not_stretch_the_list() {
        let mut unsettled = unsettled();
        for tag in 1..=200_000 {
            unsettled.push(DeliveryTag(tag), None);
            assert!(tag == 1 || unsettled.remove(DeliveryTag(tag)).is_some());
        }
        assert!(unsettled.count == 1 && unsettled.entries.len() <= SETTLED_MARKS_MAX + 2);
        assert!(unsettled.remove(DeliveryTag(1)).is_some() && unsettled.entries.is_empty());
    }

    /// What several publishers send is numbered where it is published, and may come in another order.
    #[test]
    fn takes_tags_in_any_order_and_gives_back_ascending_what_it_has_kept() {
        let mut unsettled = unsettled();
        [5, 9, 3, 7].into_iter().for_each(|tag| unsettled.push(DeliveryTag(tag), Some(queued())));
        unsettled.push(DeliveryTag(4), None);
        assert!(unsettled.remove(DeliveryTag(7)).is_some() && unsettled.remove(DeliveryTag(7)).is_none());
        unsettled.push(DeliveryTag(7), Some(queued()));
        assert!(unsettled.remove(DeliveryTag(9)).is_some_and(|kept| kept.is_some()));
        assert_eq!((unsettled.len(), unsettled.bytes()), (4, 3 * queued().weight_bytes()));
        let tags: Vec<u64> = unsettled.take().iter().map(|(tag, _)| tag.0).collect();
        assert_eq!(tags, [3, 5, 7]);
        assert_eq!((unsettled.len(), unsettled.bytes(), unsettled.kept.len()), (0, 0, 0));
    }

    #[test]
    fn settles_in_any_order_and_each_tag_once() {
        let mut unsettled = unsettled();
        (1..=4).for_each(|tag| unsettled.push(DeliveryTag(tag), None));
        assert!(unsettled.remove(DeliveryTag(3)).is_some());
        assert!(unsettled.remove(DeliveryTag(3)).is_none() && unsettled.remove(DeliveryTag(9)).is_none());
        assert_eq!((unsettled.count, unsettled.entries.len()), (3, 4));
        assert!(unsettled.remove(DeliveryTag(1)).is_some() && unsettled.remove(DeliveryTag(2)).is_some());
        assert_eq!((unsettled.count, unsettled.entries.len()), (1, 1));
    }
}

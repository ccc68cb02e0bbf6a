//! The topic aliases that the gateway has set towards the client (MQTT 5.0 section 3.3.2.3.4).
//!
//! The table has a place for each alias, and the hash of a topic says which few places it may have. A topic takes a free one when
//! it comes first, is given the place's alias when it comes again, and is left out of the packets from then on. A topic that
//! finds its places taken wears the least used holder down instead, so a topic that is not sent any more makes room, and one that
//! is sent often stays. A few comparisons a message, one reference a place, and nothing to keep in order.

use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroU16;
use tidegate_message::Topic;

/// How many foreign topics a place withstands at most before it changes hands.
const USES_MAX: u8 = 15;

/// How many places a topic may have.
const CHOICES: usize = 4;

/// A topic of this length or less is not longer than the property that would stand for it.
const SHORT_TOPIC_BYTES: usize = 3;

/// How a topic stands in a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicForm {
    /// As it is.
    Whole,
    /// As it is, beside an alias that it is to have from now on.
    Set(NonZeroU16),
    /// Left out: the client knows its alias.
    Alone(NonZeroU16),
}

/// Topics by alias, 1 first.
#[derive(Debug)]
pub(crate) struct SentAliases {
    /// As many as aliases are allowed, once a topic has come.
    places: Vec<Place>,
    maximum: NonZeroU16,
    /// Where the last topic stood; the next one is often the same.
    last: usize,
    hasher: RandomState,
}

#[derive(Debug, Clone, Default)]
struct Place {
    topic: Option<Topic>,
    /// How often the topic came lately.
    uses: u8,
    /// Whether the client was told.
    is_set: bool,
}

impl SentAliases {
    /// An empty table for aliases from 1 to `maximum`, the smaller of what the client and the listener allow; nothing where that is none.
    pub(crate) fn new(maximum: u16) -> Option<Box<SentAliases>> {
        let maximum = NonZeroU16::new(maximum)?;
        Some(Box::new(SentAliases { places: Vec::new(), maximum, last: 0, hasher: RandomState::default() }))
    }

    /// How the topic is to stand in the next packet. [`TopicForm::Set`] becomes true by [`SentAliases::confirm`].
    pub(crate) fn form_of(&mut self, topic: &Topic) -> TopicForm {
        if topic.as_str().len() <= SHORT_TOPIC_BYTES {
            return TopicForm::Whole;
        }
        if self.places.is_empty() {
            self.places.resize(usize::from(self.maximum.get()), Place::default());
        }
        match self.place_of(topic) {
            Some(at) => self.form_at(at),
            None => TopicForm::Whole,
        }
    }

    /// Where the topic stands, if it stood there before. One that is new takes a place, or wears the holder of one down.
    fn place_of(&mut self, topic: &Topic) -> Option<usize> {
        if self.use_place(self.last, topic) {
            return Some(self.last);
        }
        let count = self.places.len();
        // The upper half of the hash as a fraction of the places: a division would cost more than the rest.
        let first = (((self.hasher.hash_one(topic.as_str()) >> 32) * count as u64) >> 32) as usize;
        let own = (first..first + CHOICES.min(count)).map(|at| if at < count { at } else { at - count });
        if let Some(at) = own.clone().find(|at| self.use_place(*at, topic)) {
            self.last = at;
            return Some(at);
        }
        let weakest = own.min_by_key(|&at| self.places.get(at).map_or(0, |place| place.uses))?;
        let place = self.places.get_mut(weakest)?;
        match place.uses.checked_sub(1) {
            Some(uses) => place.uses = uses,
            None => *place = Place { topic: Some(topic.clone()), uses: 1, is_set: false },
        }
        None
    }

    /// Whether the place is the topic's; then it is used once more.
    #[inline]
    fn use_place(&mut self, at: usize, topic: &Topic) -> bool {
        match self.places.get_mut(at) {
            Some(place) if place.topic.as_ref() == Some(topic) => {
                place.uses = USES_MAX.min(place.uses + 1);
                true
            }
            _ => false,
        }
    }

    fn form_at(&self, at: usize) -> TopicForm {
        let alias = u16::try_from(at + 1).ok().and_then(NonZeroU16::new);
        match (alias, self.places.get(at).is_some_and(|place| place.is_set)) {
            (Some(alias), true) => TopicForm::Alone(alias),
            (Some(alias), false) => TopicForm::Set(alias),
            (None, _) => TopicForm::Whole,
        }
    }

    /// The packet that sets the alias has been written.
    pub(crate) fn confirm(&mut self, alias: NonZeroU16) {
        if let Some(place) = self.places.get_mut(usize::from(alias.get()) - 1) {
            place.is_set = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::parse(text.as_bytes()).unwrap()
    }

    fn alias(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    #[test]
    fn a_topic_is_given_its_alias_when_it_comes_again() {
        let mut aliases = SentAliases::new(1).unwrap();
        assert_eq!(aliases.form_of(&topic("a/b/c")), TopicForm::Whole);
        assert_eq!(aliases.form_of(&topic("a/b/c")), TopicForm::Set(alias(1)));
        // It was not written.
        assert_eq!(aliases.form_of(&topic("a/b/c")), TopicForm::Set(alias(1)));
        aliases.confirm(alias(1));
        assert_eq!(aliases.form_of(&topic("a/b/c")), TopicForm::Alone(alias(1)));
        assert_eq!(aliases.form_of(&topic("abc")), TopicForm::Whole);
    }

    #[test]
    fn a_topic_that_comes_no_more_makes_room() {
        let mut aliases = SentAliases::new(1).unwrap();
        for _ in 0..100 {
            aliases.form_of(&topic("often"));
        }
        aliases.confirm(alias(1));
        assert_eq!(aliases.form_of(&topic("seldom")), TopicForm::Whole);
        assert_eq!(aliases.form_of(&topic("often")), TopicForm::Alone(alias(1)));
        let forms: Vec<_> = (0..20).map(|_| aliases.form_of(&topic("later"))).collect();
        let (waiting, told) = forms.split_at(usize::from(USES_MAX) + 1);
        assert!(waiting.iter().all(|form| *form == TopicForm::Whole));
        assert!(told.iter().all(|form| *form == TopicForm::Set(alias(1))));
    }

    /// Each table hashes in its own way, so it is asked of many together.
    #[test]
    fn most_aliases_are_used_where_there_are_topics_enough() {
        let topics: Vec<Topic> = (0..16).map(|number| topic(&format!("topic/{number}"))).collect();
        let mut left_out = 0;
        for _ in 0..100 {
            let mut aliases = SentAliases::new(16).unwrap();
            for topic in topics.iter().cycle().take(1600) {
                match aliases.form_of(topic) {
                    TopicForm::Set(alias) => aliases.confirm(alias),
                    TopicForm::Alone(_) => left_out += 1,
                    TopicForm::Whole => {}
                }
            }
        }
        assert!(left_out > 100_000, "only {left_out} of 160,000");
    }

    #[test]
    fn aliases_stay_within_the_maximum() {
        assert!(SentAliases::new(0).is_none());
        let mut aliases = SentAliases::new(5).unwrap();
        for number in 0..10_000 {
            let topic = topic(&format!("topic/{}", number / 2));
            if let TopicForm::Set(alias) | TopicForm::Alone(alias) = aliases.form_of(&topic) {
                assert!(alias.get() <= 5);
                aliases.confirm(alias);
            }
        }
        assert_eq!(aliases.places.len(), 5);
    }
}

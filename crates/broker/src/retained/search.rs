//! A search through the retained messages in steps: each looks at a bounded number of them and remembers where it stopped.
//!
//! So a subscription to a million retained messages holds the lock for no longer than one to a hundred, and takes them out as fast as
//! its socket takes them. What was distributed by a route that the new subscription stands in is left out: it comes as a live message.
//!
//! The topics are in the order of their bytes. Where the filter says that nothing up to some other topic can match, the search goes
//! there at once instead of looking at everything in between.

use super::{Kept, RetainedMessages};
use std::collections::btree_set::Range;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{FilterLevel, Message, Topic, TopicFilter};

/// Messages that one step looks at.
const STEP_MAX: usize = 1024;
/// Places to look at one by one before looking for a place from the top of the tree.
const NEAR: usize = 8;

/// A search that goes on where it stopped.
#[derive(Debug)]
pub(crate) struct Search {
    filter: TopicFilter,
    place: Place,
    /// The generation with which the subscription began: what was distributed with it or a later one is a live message.
    since: u64,
}

/// Where a search goes on.
#[derive(Debug)]
enum Place {
    /// At the first topic that is not below this text.
    From(Box<str>),
    /// At the first topic behind this one.
    Behind(Topic),
    End,
}

/// What a filter says about one topic, and about those behind it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Selected,
    /// Not selected; the next one may be.
    Next,
    /// Not selected, and neither is anything below this text.
    From(String),
    /// Not selected, and neither is anything behind it.
    Nowhere,
}

impl Search {
    /// A search that finds nothing.
    pub(crate) fn over(filter: &TopicFilter) -> Search {
        Search { filter: filter.clone(), place: Place::End, since: 0 }
    }

    /// The filter whose messages are searched for.
    pub(crate) fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// Whether nothing more can be found.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.place, Place::End)
    }
}

impl Kept {
    /// The message, where it was distributed before the subscription began and is worth something now.
    fn for_search(&self, search: &Search, now: Instant) -> Option<Arc<Message>> {
        let is_found = self.generation < search.since && !self.message.is_expired(now);
        is_found.then(|| self.message.clone())
    }
}

impl RetainedMessages {
    /// Begins a search for what the filter selects, for a subscription that began with this generation.
    pub(crate) fn search(&self, filter: &TopicFilter, since: u64) -> Search {
        let is_name = |level: &&str| !matches!(*level, "+" | "#");
        let names: Vec<&str> = filter.as_str().split('/').take_while(is_name).collect();
        let place = Place::From(names.join("/").into());
        Search { filter: filter.clone(), place, since }
    }

    /// Takes one step: finds up to `count` further messages. Fewer, or none, do not mean that the search is over.
    pub(crate) fn find(&self, search: &mut Search, count: usize, now: Instant) -> Vec<Arc<Message>> {
        let mut found = Vec::new();
        let mut range = match &search.place {
            Place::From(text) => self.from(Bound::Included(text)),
            Place::Behind(topic) => self.from(Bound::Excluded(topic.as_str())),
            Place::End => return found,
        };
        let mut last = None;
        for _ in 0..STEP_MAX {
            if found.len() == count {
                break;
            }
            let next = range.next();
            let verdict = next.map_or(Verdict::Nowhere, |kept| judge(&search.filter, &kept.message.topic));
            match verdict {
                Verdict::Selected => found.extend(next.and_then(|kept| kept.for_search(search, now))),
                Verdict::Next => {}
                Verdict::From(text) => range = self.forward(range, &text),
                Verdict::Nowhere => {
                    search.place = Place::End;
                    return found;
                }
            }
            last = next;
        }
        search.place = last.map_or(Place::End, |kept| Place::Behind(kept.message.topic.clone()));
        found
    }

    fn from(&self, bound: Bound<&str>) -> Range<'_, Kept> {
        self.messages.range::<str, _>((bound, Bound::Unbounded))
    }

    /// Moves on to the first topic that is not below the text.
    fn forward<'a>(&'a self, mut range: Range<'a, Kept>, text: &str) -> Range<'a, Kept> {
        for _ in 0..NEAR {
            let mut next = range.clone();
            match next.next() {
                Some(kept) if kept.topic() < text => range = next,
                _ => return range,
            }
        }
        self.from(Bound::Included(text))
    }
}

/// Decides level by level up to the first `#`.
fn judge(filter: &TopicFilter, topic: &Topic) -> Verdict {
    // [MQTT-4.7.2-1]; `%` is the character behind `$`.
    if topic.is_reserved() && !filter.as_str().starts_with('$') {
        return Verdict::From("%".to_owned());
    }
    let text = topic.as_str();
    let mut levels = filter.levels();
    // The front of the topic that the last `+` ends: where the levels behind it are exhausted, the next value of that level comes.
    let mut last_one: Option<&str> = None;
    let mut start = 0;
    for name in topic.levels() {
        let end = start + name.len();
        match levels.next() {
            Some(FilterLevel::Many) => return behind_many(filter, topic, levels.next().is_none()),
            // Everything below has too many levels.
            None => return text.get(..start.saturating_sub(1)).map_or(Verdict::Next, behind),
            Some(FilterLevel::One) => last_one = text.get(..end),
            Some(FilterLevel::Name(wanted)) if wanted == name => {}
            Some(FilterLevel::Name(wanted)) => {
                let target = format!("{}{wanted}", text.get(..start).unwrap_or_default());
                let below = format!("{target}/");
                return match last_one {
                    _ if *text < *target => Verdict::From(target),
                    _ if *text < *below => Verdict::From(below),
                    Some(front) => behind(front),
                    None => Verdict::Nowhere,
                };
            }
        }
        start = end + 1;
    }
    match levels.next() {
        None => Verdict::Selected,
        Some(FilterLevel::Many) => behind_many(filter, topic, levels.next().is_none()),
        Some(_) => Verdict::Next,
    }
}

/// `#` at the end selects everything; in the middle of a filter each topic has to be looked at.
fn behind_many(filter: &TopicFilter, topic: &Topic, is_last: bool) -> Verdict {
    if is_last || filter.matches(topic) { Verdict::Selected } else { Verdict::Next }
}

/// Behind everything that begins with this text and `/`, whose next character in the order of bytes is `0`.
fn behind(front: &str) -> Verdict {
    Verdict::From(format!("{front}0"))
}

#[cfg(test)]
mod tests;

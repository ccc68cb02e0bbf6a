//! Who publishes on which topic, and who receives it.

use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// How publishers and subscribers are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layout {
    /// Each publisher has topics of its own and one subscriber.
    Pairs,
    /// Each publisher has topics of its own; every subscriber gets all of them by a wildcard.
    FanIn,
    /// All publishers share their topics; every subscriber gets all of them.
    FanOut,
}

/// The first level of every topic of the load generator.
const ROOT: &str = "tidegate-bench";

impl Layout {
    /// The topic of a publisher's messages number `slot`, `slot + topics` and so on. `run` keeps two runs apart.
    pub(crate) fn topic(self, run: &str, publisher: u32, slot: u32) -> String {
        let publisher = match self {
            Layout::Pairs | Layout::FanIn => publisher,
            Layout::FanOut => 0,
        };
        format!("{ROOT}/{run}/{publisher}/{slot}")
    }

    /// The one filter of a subscriber. It has no wildcard where it need not have one.
    pub(crate) fn filter(self, run: &str, subscriber: u32, topics: u32) -> String {
        let slot: &dyn fmt::Display = if topics == 1 { &0 } else { &"+" };
        match self {
            Layout::Pairs => format!("{ROOT}/{run}/{subscriber}/{slot}"),
            Layout::FanIn => format!("{ROOT}/{run}/+/{slot}"),
            Layout::FanOut => format!("{ROOT}/{run}/0/{slot}"),
        }
    }

    /// Whom of `publishers` a subscriber hears.
    pub(crate) fn sources(self, subscriber: u32, publishers: u32) -> Range<u32> {
        match self {
            Layout::Pairs => subscriber..subscriber.saturating_add(1),
            Layout::FanIn | Layout::FanOut => 0..publishers,
        }
    }

    /// How many of `subscribers` receive each message.
    pub(crate) fn receivers(self, subscribers: u32) -> u32 {
        match self {
            Layout::Pairs => 1,
            Layout::FanIn | Layout::FanOut => subscribers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{Topic, TopicFilter};

    /// What a subscriber expects is what its filter matches, and nothing else.
    #[test]
    fn each_filter_matches_the_topics_of_its_sources() {
        for layout in [Layout::Pairs, Layout::FanIn, Layout::FanOut] {
            for topics in [1, 2] {
                for (publisher, slot, subscriber) in (0..8).map(|n| (n & 1, n >> 1 & (topics - 1), n >> 2)) {
                    let topic = layout.topic("run", publisher, slot);
                    let filter = layout.filter("run", subscriber, topics);
                    let matches = filter_matches(&filter, &topic);
                    let expected = layout.sources(subscriber, 2).contains(&publisher);
                    assert_eq!(matches, expected, "{layout:?}: {filter} {topic}");
                }
            }
        }
    }

    fn filter_matches(filter: &str, topic: &str) -> bool {
        TopicFilter::parse(filter.as_bytes()).unwrap();
        Topic::parse(topic.as_bytes()).unwrap();
        let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
        filter.len() == topic.len() && filter.iter().zip(&topic).all(|(f, t)| *f == "+" || f == t)
    }

    #[test]
    fn every_delivery_has_a_receiver_that_expects_it() {
        for layout in [Layout::Pairs, Layout::FanIn, Layout::FanOut] {
            let expected: usize = (0..3).map(|subscriber| layout.sources(subscriber, 3).len()).sum();
            assert_eq!(expected, 3 * layout.receivers(3) as usize, "{layout:?}");
        }
    }
}

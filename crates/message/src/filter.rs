//! A topic filter: a pattern of levels that selects topics.
//!
//! `+` stands for exactly one level, `#` for any number of levels, none included. MQTT allows `#` only at the end; AMQP
//! allows it anywhere, so the broker's matching does too, and each protocol's parser is as strict as its specification.

use crate::Topic;
use crate::pattern::compare::{self, Shape};
use crate::queue_name::queue_name;
use crate::topic::{TopicError, check_text};
use std::fmt;
use std::sync::Arc;

/// A validated filter; a clone is one reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

/// One level of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterLevel<'a> {
    /// Matches the level with this very name.
    Name(&'a str),
    /// `+`: matches one level, whatever it is.
    One,
    /// `#`: matches any number of levels, none included.
    Many,
}

/// Why bytes are not a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Empty, too long, not UTF-8 or with U+0000: the same rules as for a topic.
    #[error(transparent)]
    Text(#[from] TopicError),
    /// [MQTT-4.7.1-1]
    #[error("`#` must be the last level of the filter")]
    ManyNotLast,
    /// [MQTT-4.7.1-1] [MQTT-4.7.1-2]
    #[error("a wildcard must stand alone in its level")]
    WildcardInName,
}

impl TopicFilter {
    /// Checks and copies a filter by MQTT's rules: `#` only as the last level (MQTT 5.0 section 4.7.1).
    pub fn parse_mqtt(bytes: &[u8]) -> Result<TopicFilter, FilterError> {
        let filter = TopicFilter::parse(bytes)?;
        let many_first = filter.levels().position(|level| level == FilterLevel::Many);
        match many_first {
            Some(at) if at + 1 != filter.levels().count() => Err(FilterError::ManyNotLast),
            _ => Ok(filter),
        }
    }

    /// Checks and copies a filter in the canonical text form, where `#` may be any level (AMQP 0-9-1 section 3.1.3.3).
    pub fn parse(bytes: &[u8]) -> Result<TopicFilter, FilterError> {
        let text = check_text(bytes)?;
        let wildcard_in_name = |level: &str| level.len() > 1 && level.contains(['+', '#']);
        match text.split('/').any(wildcard_in_name) {
            true => Err(FilterError::WildcardInName),
            false => Ok(TopicFilter(Arc::from(text))),
        }
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels in order; there is at least one.
    pub fn levels(&self) -> impl Iterator<Item = FilterLevel<'_>> {
        self.0.split('/').map(|level| match level {
            "+" => FilterLevel::One,
            "#" => FilterLevel::Many,
            name => FilterLevel::Name(name),
        })
    }

    /// Whether the filter has no wildcard and so selects one topic only.
    pub fn is_exact(&self) -> bool {
        self.levels().all(|level| matches!(level, FilterLevel::Name(_)))
    }

    /// The name of the queue that the filter addresses, which may have wildcards or be empty; `None` for any other filter.
    pub fn queue_name(&self) -> Option<&str> {
        queue_name(&self.0)
    }

    /// The one topic that the filter selects; `None` where it has a wildcard.
    pub fn exact_topic(&self) -> Option<Topic> {
        self.is_exact().then(|| Topic::of_filter(self.0.clone()))
    }

    /// Whether this filter selects the topic. For one pair; the broker matches many filters at once with its tree.
    pub fn matches(&self, topic: &Topic) -> bool {
        if topic.is_reserved() && !self.0.starts_with('$') {
            return false;
        }
        let filter: Vec<FilterLevel<'_>> = self.levels().collect();
        let levels: Vec<&str> = topic.levels().collect();
        matches_levels(&filter, &levels)
    }
}

impl From<&Topic> for TopicFilter {
    /// The filter that selects this topic only.
    fn from(topic: &Topic) -> TopicFilter {
        TopicFilter(topic.text())
    }
}

impl TopicFilter {
    /// Whether it selects every topic that the other selects. This one has `#` at its end only ([`TopicFilter::parse_mqtt`]).
    pub fn covers(&self, other: &TopicFilter) -> bool {
        let same = |one: &&str, another: &&str| one == another;
        compare::covers(&self.shapes(), &other.shapes(), same, |name| name.starts_with('$'))
    }

    /// Whether some topic is selected by both. With `#` before the end of one the answer may be yes where it is no.
    pub fn overlaps(&self, other: &TopicFilter) -> bool {
        let same = |one: &&str, another: &&str| one == another;
        let reserved = (self.0.starts_with('$'), other.0.starts_with('$'));
        compare::overlaps(&self.shapes(), &other.shapes(), same, reserved)
    }

    pub(crate) fn shapes(&self) -> Vec<Shape<&str>> {
        let shape = |level| match level {
            FilterLevel::Name(name) => Shape::Name(name),
            FilterLevel::One => Shape::One,
            FilterLevel::Many => Shape::Many,
        };
        self.levels().map(shape).collect()
    }
}

/// Greedy matching with one point to fall back to, as for `*` in file names: at most filter times levels steps.
fn matches_levels(filter: &[FilterLevel<'_>], levels: &[&str]) -> bool {
    let (mut at, mut level) = (0, 0);
    let mut fallback: Option<(usize, usize)> = None;
    loop {
        match (filter.get(at), levels.get(level)) {
            (Some(FilterLevel::Many), _) => {
                fallback = Some((at, level));
                at += 1;
            }
            (Some(FilterLevel::One), Some(_)) => (at, level) = (at + 1, level + 1),
            (Some(FilterLevel::Name(name)), Some(other)) if name == other => {
                (at, level) = (at + 1, level + 1)
            }
            (None, None) => return true,
            (_, _) => match fallback {
                Some((many, taken)) if taken < levels.len() => {
                    fallback = Some((many, taken + 1));
                    (at, level) = (many + 1, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::parse(filter.as_bytes()).unwrap().matches(&Topic::parse(topic.as_bytes()).unwrap())
    }

    /// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-3.1.1/4.7.1-2] [MQTT-3.1.1/4.7.1-3]
    #[test]
    fn refuses_what_is_no_filter() {
        let cases = [
            ("a/#/b", FilterError::ManyNotLast),
            ("a/b#", FilterError::WildcardInName),
            ("a+/b", FilterError::WildcardInName),
            ("++", FilterError::WildcardInName),
            ("", FilterError::Text(TopicError::Empty)),
            ("a\0", FilterError::Text(TopicError::Null)),
        ];
        for (text, expected) in cases {
            assert_eq!(TopicFilter::parse_mqtt(text.as_bytes()), Err(expected), "{text:?}");
        }
    }

    /// MQTT 5.0 sections 4.7.1.2 and 4.7.1.3: the specification's own examples.
    #[test]
    fn matches_as_the_specification_says() {
        let cases = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "a/b/c", true),
            ("a/b", "a/B", false),
            ("a", "a/", false),
            ("é/+", "é/x", true),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    /// [MQTT-4.7.2-1] [MQTT-3.1.1/4.7.2-1]
    #[test]
    fn leading_wildcard_does_not_match_reserved_topics() {
        assert!(!matches("#", "$SYS/uptime"));
        assert!(!matches("+/uptime", "$SYS/uptime"));
        assert!(matches("$SYS/#", "$SYS/uptime"));
    }

    /// AMQP 0-9-1 section 3.1.3.3: `#` stands for zero or more words, anywhere.
    #[test]
    fn many_may_stand_in_the_middle() {
        assert!(matches("a/#/z", "a/z"));
        assert!(matches("a/#/z", "a/b/z/c/z"));
        assert!(!matches("a/#/z", "a/b/z/c"));
        assert!(matches("#/b/#/d", "a/b/c/d"));
    }

    #[test]
    fn filters_are_compared_by_the_topics_that_they_select() {
        let filter = |text: &str| TopicFilter::parse(text.as_bytes()).unwrap();
        let cases = [
            ("plant/#", "plant", true, true),
            ("plant/#", "plant/+/temperature", true, true),
            ("plant/+", "plant/#", false, true),
            ("plant/+/x", "plant/1/#", false, true),
            ("plant/1", "plant/2", false, false),
            ("#", "+/a", true, true),
            ("#", "$SYS/a", false, false),
            ("+", "#", false, true),
            ("a/b", "a/b", true, true),
        ];
        for (one, other, covers, overlaps) in cases {
            assert_eq!(filter(one).covers(&filter(other)), covers, "{one} covers {other}");
            assert_eq!(filter(one).overlaps(&filter(other)), overlaps, "{one} overlaps {other}");
        }
    }
}

//! Destinations and canonical topics: `/topic/a/b/c` is the topic `a/b/c`, and back.
//!
//! The mapping is a bijection between `/topic/…` and all topics, whatever their levels. Queues have no destination here yet.

use crate::codec::{Version, push_escaped};
use crate::reason::Fault;
use tidegate_message::{Topic, TopicFilter};

/// What every supported destination begins with.
const TOPIC_PREFIX: &str = "/topic/";

/// Where clients of other brokers expect answers. Not destinations of this version, so they are carried, not translated.
const FOREIGN_PREFIXES: [&str; 3] = ["/queue/", "/temp-queue/", "/temp-topic/"];

/// The canonical text of a SEND's destination; the broker checks it.
pub(crate) fn topic_of(destination: &str) -> Result<&str, Fault> {
    destination.strip_prefix(TOPIC_PREFIX).ok_or(Fault::UnsupportedDestination)
}

/// The filter of a SUBSCRIBE's destination; `+` stands for one level and `#` for any number of levels, anywhere.
pub(crate) fn filter_of(destination: &str) -> Result<TopicFilter, Fault> {
    TopicFilter::parse(topic_of(destination)?.as_bytes()).map_err(Fault::InvalidFilter)
}

/// Appends the destination of a topic, escaped as a header's value.
pub(crate) fn push_destination(buffer: &mut Vec<u8>, version: Version, topic: &Topic) {
    buffer.extend_from_slice(TOPIC_PREFIX.as_bytes());
    push_escaped(buffer, version, topic.as_str());
}

/// The canonical text of a SEND's `reply-to`: a topic, or whatever else it is, unchanged.
pub(crate) fn reply_topic_of(reply_to: &str) -> &str {
    match reply_to.strip_prefix(TOPIC_PREFIX) {
        Some(topic) if !topic.is_empty() => topic,
        _ => reply_to,
    }
}

/// Appends the `reply-to` of a canonical text, escaped as a header's value.
pub(crate) fn push_reply_destination(buffer: &mut Vec<u8>, version: Version, reply_to: &str) {
    if !FOREIGN_PREFIXES.iter().any(|prefix| reply_to.starts_with(prefix)) {
        buffer.extend_from_slice(TOPIC_PREFIX.as_bytes());
    }
    push_escaped(buffer, version, reply_to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_topics_are_destinations() {
        assert_eq!(topic_of("/topic/a/b"), Ok("a/b"));
        assert_eq!(topic_of("/topic//a/"), Ok("/a/"));
        for destination in ["/queue/a", "/temp-queue/a", "/topic", "topic/a", "a/b", "/Topic/a", ""] {
            assert_eq!(topic_of(destination), Err(Fault::UnsupportedDestination), "{destination:?}");
        }
        assert!(matches!(filter_of("/topic/"), Err(Fault::InvalidFilter(_))));
        assert!(matches!(filter_of("/topic/a#"), Err(Fault::InvalidFilter(_))));
        assert_eq!(filter_of("/topic/a/+/#").map(|filter| filter.to_string()), Ok("a/+/#".to_owned()));
    }

    #[test]
    fn foreign_reply_destinations_are_carried_as_they_are() {
        for (header, canonical) in
            [("/topic/a/b", "a/b"), ("/temp-queue/x", "/temp-queue/x"), ("/queue/q", "/queue/q")]
        {
            let mut printed = Vec::new();
            push_reply_destination(&mut printed, Version::V1_2, canonical);
            assert_eq!((reply_topic_of(header), &*printed), (canonical, header.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn a_printed_topic_is_parsed_back(text in "[a-z/$é ]{1,20}") {
            let topic = Topic::parse(text.as_bytes()).unwrap();
            let mut printed = Vec::new();
            push_destination(&mut printed, Version::V1_2, &topic);
            let destination = String::from_utf8(printed).unwrap();
            prop_assert_eq!(topic_of(&destination), Ok(&*text));
        }
    }
}

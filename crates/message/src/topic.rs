//! A topic: the address that a message is published to.
//!
//! A topic is a list of levels; its text form joins them with `/`. Two topics are the same exactly when their text is the
//! same. How many levels a listener accepts is a limit of the broker, not of the vocabulary.

use crate::queue_name::queue_name;
use std::fmt;
use std::sync::Arc;

/// The longest topic or filter in bytes, because MQTT writes the length in 16 bits (MQTT 5.0 section 1.5.4).
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// A validated topic name; a clone is one reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Why bytes are not a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// [MQTT-4.7.3-1]
    #[error("the topic is empty")]
    Empty,
    /// [MQTT-4.7.3-3]
    #[error("the topic has {bytes} bytes; the limit is {TOPIC_BYTES_MAX}")]
    TooLong {
        /// The length that was offered, in bytes.
        bytes: usize,
    },
    /// [MQTT-1.5.4-1]
    #[error("the topic is not valid UTF-8")]
    NotUtf8,
    /// [MQTT-4.7.3-2]
    #[error("the topic contains the character U+0000")]
    Null,
    /// [MQTT-3.3.2-2]
    #[error("the topic contains the wildcard `{0}`")]
    Wildcard(char),
}

impl Topic {
    /// Checks and copies a topic in its canonical text form.
    pub fn parse(bytes: &[u8]) -> Result<Topic, TopicError> {
        let text = check_text(bytes)?;
        match memchr::memchr2(b'+', b'#', bytes).and_then(|at| bytes.get(at)) {
            Some(&wildcard) => Err(TopicError::Wildcard(char::from(wildcard))),
            None => Ok(Topic(Arc::from(text))),
        }
    }

    /// The topic with the text of a filter that has no wildcard.
    pub(crate) fn of_filter(text: Arc<str>) -> Topic {
        Topic(text)
    }

    pub(crate) fn text(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The canonical text, levels joined with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels in order; there is at least one, and a level may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The name of the queue that the topic addresses, empty where a name is missing; `None` for any other topic.
    pub fn queue_name(&self) -> Option<&str> {
        queue_name(&self.0)
    }

    /// Whether the topic begins with `$`, which a leading wildcard does not match ([MQTT-4.7.2-1]).
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// What topics and filters have in common: length, UTF-8, no U+0000.
pub(crate) fn check_text(bytes: &[u8]) -> Result<&str, TopicError> {
    match bytes.len() {
        0 => return Err(TopicError::Empty),
        length if length > TOPIC_BYTES_MAX => return Err(TopicError::TooLong { bytes: length }),
        _ => {}
    }
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| TopicError::NotUtf8)?;
    match memchr::memchr(0, bytes) {
        Some(_) => Err(TopicError::Null),
        None => Ok(text),
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.7.3-1] to [MQTT-4.7.3-3], [MQTT-4.7.0-1] [MQTT-3.3.2-2] [MQTT-1.5.4-1], [MQTT-3.1.1/4.7.3-1] to
    /// [MQTT-3.1.1/4.7.3-3], [MQTT-3.1.1/4.7.1-1] [MQTT-3.1.1/3.3.2-2] [MQTT-3.1.1/1.5.3-1]
    #[test]
    fn refuses_what_is_no_topic() {
        let cases: [(&[u8], TopicError); 6] = [
            (b"", TopicError::Empty),
            (b"a/\0", TopicError::Null),
            (b"a/+/c", TopicError::Wildcard('+')),
            (b"a/#", TopicError::Wildcard('#')),
            (b"\xff", TopicError::NotUtf8),
            (&[b'a'; 65_536], TopicError::TooLong { bytes: 65_536 }),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Topic::parse(bytes), Err(expected));
        }
    }

    /// [MQTT-4.7.3-4] [MQTT-3.1.1/4.7.3-4]: topics are kept as they are; empty levels and spaces count.
    #[test]
    fn keeps_empty_levels_and_unicode() {
        let topic = Topic::parse("/a b//é/".as_bytes()).unwrap();
        assert_eq!(topic.levels().collect::<Vec<_>>(), ["", "a b", "", "é", ""]);
        assert!(!topic.is_reserved());
        assert!(Topic::parse(b"$SYS/x").unwrap().is_reserved());
    }
}

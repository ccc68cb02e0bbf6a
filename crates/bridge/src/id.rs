//! The stable id of a forwarded message: who numbered it, and which number it has there.
//!
//! ```text
//! edge-1/5f3a9c0b77e1d204/central.telemetry/4711
//! node   epoch            stream            number
//! ```
//!
//! A message that is sent again, after a lost confirm or a crash, has the id that it had before, because the number is its position in what is
//! forwarded. So whoever has seen an id has seen the message. Two forwards of one node are two streams. The epoch belongs to the store
//! that gives the numbers: a node that has lost its disk begins a new one, with a number that it has never had (in practice a random one),
//! and what it forwards then is never taken for what it had forwarded before. Within an epoch and a stream, numbers ascend in the order of
//! the messages; there may be gaps.
//!
//! Each id has one text and each text is one id, so that an upstream may compare texts. Where it travels is said by [`ID_PROPERTY`].

use crate::name::{self, NAME_BYTES_MAX, NameError};
use std::fmt;

/// The longest id in bytes: two names, 16 digits of the epoch, 20 of the number, and what stands between. A short string of AMQP 0-9-1
/// (255 bytes) holds it.
pub const ID_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + 16 + 20 + 3;

/// The user property or header that carries the id where the upstream's protocol has no place for it of its own.
pub const ID_PROPERTY: &str = "tidegate-id";

/// What numbers the messages of one forward: node, epoch and stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamName(Box<str>);

/// The id of one message; borrows the name of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StableId<'a> {
    stream: &'a str,
    number: u64,
}

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Longer than any id.
    #[error("an id has at most {ID_BYTES_MAX} bytes, not {bytes}")]
    TooLong {
        /// What was offered, in bytes.
        bytes: usize,
    },
    /// There are not four parts.
    #[error("an id has four parts: node/epoch/stream/number")]
    Parts,
    /// The node's or the stream's name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The epoch is not a hexadecimal number of 64 bits in its shortest form, in lower case.
    #[error("the epoch is not a hexadecimal number of 64 bits without leading zeros")]
    Epoch,
    /// The number is not a decimal number of 64 bits in its shortest form.
    #[error("the number is not a decimal number of 64 bits without leading zeros")]
    Number,
}

impl StreamName {
    /// The name of what this node numbers under this name in this epoch.
    pub fn new(node: &str, epoch: u64, stream: &str) -> Result<StreamName, NameError> {
        let (node, stream) = (name::check(node)?, name::check(stream)?);
        Ok(StreamName(format!("{node}/{epoch:x}/{stream}").into()))
    }

    /// The id of the message with this number.
    pub fn id(&self, number: u64) -> StableId<'_> {
        StableId { stream: &self.0, number }
    }

    /// The three parts, joined with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> StableId<'a> {
    /// Reads an id; takes no memory.
    pub fn parse(text: &'a str) -> Result<StableId<'a>, IdError> {
        if text.len() > ID_BYTES_MAX {
            return Err(IdError::TooLong { bytes: text.len() });
        }
        let (stream, number) = text.rsplit_once('/').ok_or(IdError::Parts)?;
        check_stream(stream)?;
        let number = shortest(number, 10).ok_or(IdError::Number)?;
        Ok(StableId { stream, number })
    }

    /// The node that gave the id.
    pub fn node(&self) -> &'a str {
        self.stream.split_once('/').map_or(self.stream, |(node, _)| node)
    }

    /// What numbers it: node, epoch and stream, joined with `/`.
    pub fn stream(&self) -> &'a str {
        self.stream
    }

    /// Its number within the stream.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for StableId<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.stream, self.number)
    }
}

/// Checks node, epoch and stream.
pub(crate) fn check_stream(text: &str) -> Result<(), IdError> {
    let (node, rest) = text.split_once('/').ok_or(IdError::Parts)?;
    let (epoch, stream) = rest.split_once('/').ok_or(IdError::Parts)?;
    if stream.contains('/') {
        return Err(IdError::Parts);
    }
    name::check(node)?;
    shortest(epoch, 16).ok_or(IdError::Epoch)?;
    name::check(stream)?;
    Ok(())
}

/// A number that is written as it would be printed: the standard library reads `+7`, `007` and `AB` as well.
fn shortest(text: &str, radix: u32) -> Option<u64> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (radix == 16 && matches!(byte, b'a'..=b'f'));
    let is_shortest = text == "0" || !text.starts_with('0');
    (is_shortest && text.as_bytes().iter().all(is_digit)).then(|| u64::from_str_radix(text, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_names_node_epoch_stream_and_number() {
        let stream = StreamName::new("edge-1", 0x5f3a_9c0b_77e1_d204, "central.telemetry").unwrap();
        let id = stream.id(4711);
        assert_eq!(id.to_string(), "edge-1/5f3a9c0b77e1d204/central.telemetry/4711");
        assert_eq!((id.node(), id.number()), ("edge-1", 4711));
        assert_eq!(id.stream(), stream.as_str());
    }

    #[test]
    fn the_longest_id_is_as_long_as_the_limit_says() {
        let name = "n".repeat(NAME_BYTES_MAX);
        let stream = StreamName::new(&name, u64::MAX, &name).unwrap();
        let text = stream.id(u64::MAX).to_string();
        assert_eq!(text.len(), ID_BYTES_MAX);
        assert_eq!(StableId::parse(&text), Ok(stream.id(u64::MAX)));
        assert_eq!(StableId::parse(&format!("{text}0")), Err(IdError::TooLong { bytes: ID_BYTES_MAX + 1 }));
    }

    #[test]
    fn what_is_no_name_makes_no_stream() {
        assert_eq!(StreamName::new("a/b", 1, "s"), Err(NameError::Character('/')));
        assert_eq!(StreamName::new("a", 1, ""), Err(NameError::Length { bytes: 0 }));
    }

    #[test]
    fn texts_that_are_no_ids_are_told_apart() {
        let long = format!("{}/1/s/1", "n".repeat(65));
        let cases = [
            ("", IdError::Parts),
            ("edge-1", IdError::Parts),
            ("edge-1/1/s", IdError::Parts),
            ("edge-1/1/s/t/1", IdError::Parts),
            ("/1/s/1", IdError::Name(NameError::Length { bytes: 0 })),
            (&long, IdError::Name(NameError::Length { bytes: 65 })),
            ("edge 1/1/s/1", IdError::Name(NameError::Character(' '))),
            ("edge-1/1/s\n/1", IdError::Name(NameError::Character('\n'))),
            ("edge-1//s/1", IdError::Epoch),
            ("edge-1/01/s/1", IdError::Epoch),
            ("edge-1/AB/s/1", IdError::Epoch),
            ("edge-1/+1/s/1", IdError::Epoch),
            ("edge-1/10000000000000000/s/1", IdError::Epoch),
            ("edge-1/1/s/", IdError::Number),
            ("edge-1/1/s/-1", IdError::Number),
            ("edge-1/1/s/+1", IdError::Number),
            ("edge-1/1/s/01", IdError::Number),
            ("edge-1/1/s/18446744073709551616", IdError::Number),
            ("edge-1/1/s/1 ", IdError::Number),
        ];
        for (text, expected) in cases {
            assert_eq!(StableId::parse(text), Err(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_id_comes_back_from_its_text(
            node in "[A-Za-z0-9._-]{1,64}",
            epoch in any::<u64>(),
            stream in "[A-Za-z0-9._-]{1,64}",
            number in any::<u64>(),
        ) {
            let stream = StreamName::new(&node, epoch, &stream).unwrap();
            let text = stream.id(number).to_string();
            prop_assert_eq!(StableId::parse(&text), Ok(stream.id(number)));
        }

        /// Two texts are never one id: whatever is read is printed as it was.
        #[test]
        fn a_text_is_an_id_in_one_form_only(text in "[a-f0-9+]{1,3}/[0-9a-fA-F+]{1,4}/[a-z0-9]{1,2}/[0-9+]{1,4}") {
            if let Ok(id) = StableId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn any_text_is_read_without_harm(text in ".{0,200}") {
            let _ = StableId::parse(&text);
        }
    }
}

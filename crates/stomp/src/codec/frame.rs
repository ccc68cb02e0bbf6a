//! A frame that borrows from the bytes it was found in.

use super::Command;
use smallvec::SmallVec;
use std::borrow::Cow;

/// How many headers are kept without an allocation; an ordinary SEND has fewer.
const HEADERS_INLINE: usize = 8;

/// One frame; everything in it borrows from the stream, but for header texts that had escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the frame is for.
    pub command: Command,
    /// The headers, unescaped.
    pub headers: Headers<'a>,
    /// The body, without the NUL behind it; empty where there is none.
    pub body: &'a [u8],
}

/// One header, unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name; not empty, case-sensitive.
    pub name: Cow<'a, str>,
    /// The value; spaces at its ends belong to it ([STOMP-1.2/STOMP Frames]).
    pub value: Cow<'a, str>,
}

/// The headers of a frame in their order, repeated ones included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers<'a>(SmallVec<[Header<'a>; HEADERS_INLINE]>);

impl<'a> Headers<'a> {
    /// The value of a header; of a repeated one the first ([STOMP-1.2/Repeated Header Entries]).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|header| header.name == name).map(|header| &*header.value)
    }

    /// All headers in order, as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|header| (&*header.name, &*header.value))
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a header; the decoder has counted them already.
    pub(super) fn push(&mut self, header: Header<'a>) {
        self.0.push(header);
    }
}

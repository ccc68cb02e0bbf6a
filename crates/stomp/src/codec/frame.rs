//! A frame that borrows from the bytes it was found in.

use super::Command;
use smallvec::SmallVec;
use std::borrow::Cow;

/// How many headers are kept without an allocation; an ordinary SEND has fewer.
const HEADERS_INLINE: usize = 8;

/// One frame; everything in it borrows from the stream, but for headers that had escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the frame is for.
    pub command: Command,
    /// The headers, unescaped.
    pub headers: Headers<'a>,
    /// The body, without the NUL behind it; empty where there is none.
    pub body: &'a [u8],
}

/// The headers of a frame in their order, repeated ones included, unescaped. Names are not empty and case-sensitive; spaces at the ends of
/// values belong to them ([STOMP-1.2/STOMP Frames]).
///
/// One text and the places in it, because a frame is handed on several times and a pair of texts for each header would be four times as large.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    text: Cow<'a, str>,
    places: SmallVec<[Place; HEADERS_INLINE]>,
}

/// Where a header stands in the text: its name, one character, its value. In bytes; no head is larger than what 32 bits can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    start: u32,
    name_end: u32,
    end: u32,
}

impl<'a> Headers<'a> {
    /// The headers whose places were found, in the text that they were found in.
    pub(super) fn within(self, text: &'a str) -> Headers<'a> {
        Headers { text: Cow::Borrowed(text), ..self }
    }

    /// The value of a header; of a repeated one the first ([STOMP-1.2/Repeated Header Entries]).
    pub fn get(&self, name: &str) -> Option<&str> {
        let text = self.text.as_bytes();
        let is_wanted = |place: &&Place| {
            place.name_bytes() == name.len()
                && text.get(place.start as usize..place.name_end as usize) == Some(name.as_bytes())
        };
        self.places.iter().find(is_wanted).map(|place| self.value(*place))
    }

    /// All headers in order, as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|place| (self.name(*place), self.value(*place)))
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Appends a header that stands in the text, one character between its name and its value. The decoder has counted it already.
    pub(super) fn push_place(&mut self, start: usize, name_bytes: usize, value_bytes: usize) {
        let name_end = start + name_bytes;
        let [start, name_end, end] = [start, name_end, name_end + 1 + value_bytes].map(|at| at as u32);
        self.places.push(Place { start, name_end, end });
    }

    /// Appends a header that does not stand in the text like this.
    pub(super) fn push_copy(&mut self, name: &str, value: &str) {
        let text = self.text.to_mut();
        let start = text.len();
        text.extend([name, ":", value]);
        self.push_place(start, name.len(), value.len());
    }

    fn name(&self, place: Place) -> &str {
        self.text.get(place.start as usize..place.name_end as usize).unwrap_or_default()
    }

    fn value(&self, place: Place) -> &str {
        self.text.get(place.name_end as usize + 1..place.end as usize).unwrap_or_default()
    }
}

impl Place {
    fn name_bytes(self) -> usize {
        (self.name_end - self.start) as usize
    }
}

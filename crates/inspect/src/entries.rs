//! All entries of a stream, a page at a time; what cannot be read is told and does not end the walk.

use crate::Contents;
use std::vec::IntoIter;
use tidegate_storage::{Entry, ReadError, ReadMax, StreamId};

/// How much of a stream is in memory at a time.
const PAGE: ReadMax = ReadMax { entries: 256, bytes: 1 << 20 };

/// Something in a store that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The disk, or an entry whose bytes are others than those that were written.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// An entry that is no record of this version.
    #[error("entry {number} of stream {stream} is no record of this version", stream = stream.0)]
    Record {
        /// The stream.
        stream: StreamId,
        /// The entry.
        number: u64,
    },
}

/// Walks through a stream.
pub(crate) struct Entries<'s> {
    contents: &'s dyn Contents,
    stream: StreamId,
    /// Where the next page begins; nothing when there is none.
    next: Option<u64>,
    page: IntoIter<Entry>,
}

impl<'s> Entries<'s> {
    pub(crate) fn of(contents: &'s dyn Contents, stream: StreamId) -> Entries<'s> {
        Entries { contents, stream, next: Some(0), page: Vec::new().into_iter() }
    }

    /// The next page; what is wrong with it otherwise.
    fn turn(&mut self, from: u64) -> Option<ReadError> {
        match self.contents.read(self.stream, from, PAGE) {
            Ok(page) => {
                self.next = page.last().and_then(|last| last.number.checked_add(1));
                self.page = page.into_iter();
                None
            }
            Err(error) => {
                self.next = match error {
                    ReadError::Damaged { number, .. } => number.max(from).checked_add(1),
                    ReadError::Disk(_) => None,
                };
                Some(error)
            }
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.next() {
                return Some(Ok(entry));
            }
            let from = self.next?;
            if let Some(error) = self.turn(from) {
                return Some(Err(Problem::Read(error)));
            }
        }
    }
}

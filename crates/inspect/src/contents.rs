//! What is looked at: a store that somebody has open, or the files of one that nobody has.

use tidegate_storage::{Entry, ReadError, ReadMax, StoppedLog, Storage, StreamId, StreamSummary, Usage};

/// A store, as far as it is read.
pub trait Contents {
    /// Living entries of a stream in ascending order, from this number on.
    fn read(&self, stream: StreamId, from: u64, max: ReadMax) -> Result<Vec<Entry>, ReadError>;

    /// All streams with living entries, ascending.
    fn streams(&self) -> Vec<StreamSummary>;

    /// What is known of one stream; nothing where it has no living entries.
    fn summary(&self, stream: StreamId) -> Option<StreamSummary>;

    /// What it takes.
    fn usage(&self) -> Usage;

    /// Whether the disk answers with errors.
    fn is_failing(&self) -> bool;

    /// Milliseconds of the store's own time.
    fn time_millis(&self) -> u64;
}

/// A store that somebody has open.
#[derive(Debug, Clone, Copy)]
pub struct Open<'s>(pub &'s dyn Storage);

impl Contents for Open<'_> {
    fn read(&self, stream: StreamId, from: u64, max: ReadMax) -> Result<Vec<Entry>, ReadError> {
        self.0.read(stream, from, max)
    }

    fn streams(&self) -> Vec<StreamSummary> {
        self.0.streams()
    }

    fn summary(&self, stream: StreamId) -> Option<StreamSummary> {
        self.0.summary(stream)
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn is_failing(&self) -> bool {
        self.0.is_failing()
    }

    fn time_millis(&self) -> u64 {
        self.0.time_millis()
    }
}

impl Contents for StoppedLog {
    fn read(&self, stream: StreamId, from: u64, max: ReadMax) -> Result<Vec<Entry>, ReadError> {
        StoppedLog::read(self, stream, from, max)
    }

    fn streams(&self) -> Vec<StreamSummary> {
        StoppedLog::streams(self)
    }

    fn summary(&self, stream: StreamId) -> Option<StreamSummary> {
        StoppedLog::streams(self).into_iter().find(|summary| summary.stream == stream)
    }

    fn usage(&self) -> Usage {
        StoppedLog::usage(self)
    }

    fn is_failing(&self) -> bool {
        false
    }

    fn time_millis(&self) -> u64 {
        StoppedLog::time_millis(self)
    }
}

//! A log that nobody has open, for whoever only looks.

use super::buffer::Buffer;
use super::damage::{OpenError, OpenReport};
use super::open;
use super::reading::{self, Picked};
use super::recovery::Recovered;
use crate::{Entry, ReadError, ReadMax, StreamId, StreamSummary, Usage};
use std::fs::File;
use std::path::Path;

/// A log as it is on the disk. Nothing is changed, and by nobody else meanwhile; what is damaged is left out and reported.
#[derive(Debug)]
pub struct StoppedLog {
    recovered: Recovered,
    /// What the file that is made ready for the next segment takes.
    spare_bytes: u64,
    /// Locked while it is looked at.
    _lock: Option<File>,
}

impl StoppedLog {
    /// Reads the log of a data folder.
    pub fn open(folder: &Path) -> Result<StoppedLog, OpenError> {
        let folder = open::log_folder(folder);
        let lock = open::lock_for_reading(&folder)?;
        let ground = open::real_ground(&folder);
        let recovered = open::read_only(&ground)?;
        Ok(StoppedLog { recovered, spare_bytes: open::spare_bytes(&ground), _lock: lock })
    }

    /// What reading it has found.
    pub fn report(&self) -> &OpenReport {
        &self.recovered.report
    }

    /// As [`Storage::read`](crate::Storage::read).
    pub fn read(&self, stream: StreamId, from: u64, max: ReadMax) -> Result<Vec<Entry>, ReadError> {
        let picked = Picked::pick(&self.recovered.index, &Buffer::default(), stream, from, max);
        reading::read(self.recovered.key, stream, &picked, &mut None)
    }

    /// As [`Storage::streams`](crate::Storage::streams).
    pub fn streams(&self) -> Vec<StreamSummary> {
        self.recovered.index.summaries()
    }

    /// As [`Storage::usage`](crate::Storage::usage), without a limit.
    pub fn usage(&self) -> Usage {
        let segments = &self.recovered.index.segments;
        let (disk_bytes, live_bytes) = (segments.bytes() + self.spare_bytes, segments.live_bytes());
        let index_bytes = self.recovered.index.memory_bytes();
        Usage { disk_bytes, live_bytes, index_bytes, ..Usage::default() }
    }

    /// The store's time when it was written to last.
    pub fn time_millis(&self) -> u64 {
        self.recovered.last.time_millis
    }
}

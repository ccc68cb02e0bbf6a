//! The storage on a disk: one log for everything, in segments of equal size.
//!
//! ```text
//! append ─► State (one short lock): index of living entries, buffer ──► Writer (one thread): write, sync, bell
//!                    ▲                                                     │
//! read ──────────────┘ ◄──────────── segments: files 0000000001.seg … ◄────┘
//! ```
//!
//! Whatever is appended is copied into a buffer whose bytes stand in the file later, so its position is known and the index is right at
//! once. The writer takes what has gathered, writes it, and syncs it where somebody waits for that: many changes share one sync. Changes
//! are told apart by their checks when the log is read again; what was not synced when the machine went down is cut off there, and what
//! is damaged is named.
//!
//! Neighbours: [`frame`] is a record, [`chain`] the order of the files, [`recovery`] reads them, [`index`] knows what lives. The format
//! is described byte by byte in `docs/reference/storage-format.md`. Nothing here knows what an entry means.

mod buffer;
mod chain;
mod damage;
mod disk;
mod engine;
mod frame;
mod index;
mod names;
mod open;
mod place;
mod reading;
mod reclaim;
mod recovery;
mod room;
mod segments;
mod state;
mod stopped;
mod stream;
#[cfg(test)]
mod tests;
mod time;
mod watch;
mod writer;

pub use damage::{Damage, DamageKind, OpenError, OpenReport, TornTail};
pub use open::Inspection;
pub use recovery::SegmentReport;
pub use stopped::StoppedLog;
pub use watch::{News, Watcher};

use crate::{
    Bell, Change, Entry, Lsn, NoRoom, Progress, ReadError, ReadMax, Storage, StreamId, StreamSummary,
    Urgency, Usage,
};
use engine::Engine;
use parking_lot::Mutex;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Where a log is, and how much of it there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The data folder. The log is in its folder `log`; both are made where they are not there.
    pub folder: PathBuf,
    /// The most bytes that it may take on the disk, with what is kept free to be able to make room.
    pub disk_bytes_max: u64,
    /// What one file takes. Less where the limit is below thirty-two of them, and more for a single change that is larger.
    pub segment_bytes: u64,
    /// How long something may stay unwritten for which nobody waits.
    pub lazy_interval: Duration,
    /// Whether what is damaged is left out and reported, instead of being an error.
    pub skip_damaged: bool,
}

impl LogOptions {
    /// What one file takes where nobody says otherwise.
    pub const SEGMENT_BYTES: u64 = 16 << 20;
    /// How long something waits for which nobody waits, where nobody says otherwise.
    pub const LAZY_INTERVAL: Duration = Duration::from_secs(1);

    /// A log in this data folder that may take so much.
    pub fn new(folder: impl Into<PathBuf>, disk_bytes_max: u64) -> LogOptions {
        LogOptions {
            folder: folder.into(),
            disk_bytes_max,
            segment_bytes: LogOptions::SEGMENT_BYTES,
            lazy_interval: LogOptions::LAZY_INTERVAL,
            skip_damaged: false,
        }
    }
}

/// The storage on a disk.
#[derive(Debug)]
pub struct Log {
    engine: Arc<Engine>,
    thread: Mutex<Option<JoinHandle<()>>>,
    segment_bytes: u64,
    /// Locked while it is open.
    _lock: File,
}

impl Log {
    /// Opens a log, or makes a new one.
    pub fn open(options: &LogOptions) -> Result<(Log, OpenReport), OpenError> {
        let folder = open::make_folders(&options.folder)?;
        let lock = open::lock(&folder)?;
        let (engine, report) = open::open(open::real_ground(&folder), options)?;
        let engine = Arc::new(engine);
        let writer = engine.clone();
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|source| OpenError::Disk { path: folder, source })?;
        let segment_bytes = options.segment_bytes;
        Ok((Log { engine, thread: Mutex::new(Some(thread)), segment_bytes, _lock: lock }, report))
    }

    /// Verifies every record of a log that nobody has open, and changes nothing.
    pub fn inspect(folder: impl Into<PathBuf>) -> Result<Inspection, OpenError> {
        let folder = open::log_folder(&folder.into());
        let _lock = open::lock_for_reading(&folder)?;
        let recovered = open::read_only(&open::real_ground(&folder))?;
        Ok(Inspection { segments: recovered.segments, report: recovered.report })
    }

    /// From now on it may take so many bytes on the disk. What lives stays; files that are begun are as large as this limit wants them.
    pub fn limit_disk(&self, disk_bytes_max: u64) {
        self.engine.state.lock().limit_disk(self.segment_bytes, disk_bytes_max);
    }

    /// From now on no more messages are taken while finding the entries takes so many bytes of memory.
    pub fn limit_index(&self, index_bytes_max: usize) {
        self.engine.state.lock().index_bytes_max = index_bytes_max;
    }

    /// What its records are sealed with, which no other store has. Whoever knows it can forge records in payloads: it is shown to nobody.
    pub fn key(&self) -> u64 {
        self.engine.state.lock().key
    }

    /// Has somebody told what becomes of the store, in place of the present one; at once, where there is something to tell already.
    pub fn set_watcher(&self, watcher: Watcher) {
        self.engine.set_watcher(watcher);
    }

    /// Writes and syncs everything and ends the thread. What is appended afterwards is not kept.
    pub fn close(&self) -> std::io::Result<()> {
        let Some(thread) = self.thread.lock().take() else { return Ok(()) };
        self.engine.close();
        // A thread that has panicked has nothing more to tell.
        thread.join().ok();
        self.engine.flush()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        self.close().ok();
    }
}

impl Storage for Log {
    fn append(&self, change: &mut Change, urgency: Urgency) -> Lsn {
        self.engine.append(change, urgency)
    }

    fn progress(&self) -> Progress {
        self.engine.state.lock().progress()
    }

    fn set_bell(&self, bell: Bell) {
        self.engine.set_bell(bell);
    }

    fn excess(&self, bytes: usize) -> Result<u64, NoRoom> {
        self.engine.excess(bytes)
    }

    fn costs(&self, stream: StreamId, from: u64, count: usize) -> Vec<(u64, u64)> {
        let state = self.engine.state.lock();
        let entries = state.index.stream(stream).into_iter().flat_map(|stream| stream.from(from));
        entries.take(count).map(|(number, place)| (number, place.cost())).collect()
    }

    fn is_overfull(&self) -> bool {
        self.engine.state.lock().is_overfull()
    }

    fn read(&self, stream: StreamId, from: u64, max: ReadMax) -> Result<Vec<Entry>, ReadError> {
        self.engine.read(stream, from, max)
    }

    fn summary(&self, stream: StreamId) -> Option<StreamSummary> {
        let state = self.engine.state.lock();
        state.index.stream(stream).and_then(|found| found.summary(stream))
    }

    fn streams(&self) -> Vec<StreamSummary> {
        self.engine.state.lock().index.summaries()
    }

    fn usage(&self) -> Usage {
        self.engine.usage()
    }

    fn time_millis(&self) -> u64 {
        self.engine.moment().time_millis
    }
}

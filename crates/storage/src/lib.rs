//! What outlives the process: streams of entries behind one seam, [`Storage`].
//!
//! A stream is an ordered list of entries with one owner: the queue of a session, a named queue, the retained messages, the
//! descriptions of all sessions. An entry has a number within its stream, given by the owner and never given twice, a short note,
//! and a body. One body can stand in many streams and is kept once. An entry lives from the [`Change`] that appends it until one that
//! settles it, or that ends its stream.
//!
//! A change is all or nothing, whatever happens while it is on its way to the disk. Changes reach the disk in the order in which they
//! were appended, so that whoever waits for one of them has all before it as well.
//!
//! What an entry means is said by [`record`]: the one place where the broker's things become bytes.

mod change;
mod log;
mod memory;
pub mod record;

pub use change::{Change, Claims, Damaged, Op, Ops};
pub use log::{
    Damage, DamageKind, Inspection, Log, LogOptions, News, OpenError, OpenReport, SegmentReport, StoppedLog,
    TornTail, Watcher,
};
pub use memory::MemoryStorage;

use bytes::Bytes;

/// Names a stream. Those below [`StreamId::FIRST_QUEUE`] have a fixed meaning, the others are queues, by the number of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl StreamId {
    /// What the sessions are: who they belong to, what they have subscribed, what their protocols have left in them.
    pub const SESSIONS: StreamId = StreamId(1);
    /// The retained messages.
    pub const RETAINED: StreamId = StreamId(2);
    /// Which named queues exist.
    pub const QUEUES: StreamId = StreamId(3);
    /// Which numbers queues may have given.
    pub const GIVEN: StreamId = StreamId(4);
    /// The lowest number of a queue's stream.
    pub const FIRST_QUEUE: StreamId = StreamId(1024);
}

/// A place in the order of all changes: whoever has waited for one has everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// What somebody waits for after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Urgency {
    /// Nobody waits: it is written with the next change that somebody waits for, or after a while.
    #[default]
    Lazy,
    /// That the operating system has it: it survives the end of the process, not that of the machine.
    Written,
    /// That the disk has it.
    Synced,
}

/// How far the storage has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Everything up to here is with the operating system.
    pub written: Lsn,
    /// Everything up to here is on the disk.
    pub synced: Lsn,
    /// Whether the disk has answered with an error and what was appended since cannot be kept. It is tried again; meanwhile
    /// [`Storage::room`] says no.
    pub is_failing: bool,
}

/// There is no room for more messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// `limits.disk` is reached, the file system is full, or the index has taken its part of the memory.
    #[error("the disk is full, or its limit is reached")]
    Full,
    /// The disk answers with errors.
    #[error("the disk cannot be written to")]
    Failing,
}

/// What messages are refused for where there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// `limits.disk` is reached.
    Limit,
    /// The file system is full.
    FileSystem,
    /// The index of what is on the disk has taken its part of the memory.
    Memory,
}

/// An entry as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in its stream.
    pub number: u64,
    /// What its owner has noted, with the last change of that.
    pub note: Bytes,
    /// What it is.
    pub body: Bytes,
}

/// What is known of a stream without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSummary {
    /// Which.
    pub stream: StreamId,
    /// The lowest number of a living entry.
    pub first: u64,
    /// The highest number that an entry of it has ever had, as far as that is still known.
    pub last: u64,
    /// Living entries.
    pub entries: usize,
    /// Bytes of their bodies and notes; a body that stands in several streams counts in each.
    pub bytes: u64,
}

/// How much is read at a time: up to whichever comes first, but one entry at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadMax {
    /// Entries.
    pub entries: usize,
    /// Bytes of bodies.
    pub bytes: usize,
}

/// Entries could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk answers with an error.
    #[error("the store cannot be read: {0}")]
    Disk(#[from] std::io::Error),
    /// An entry is not what was written. The others of its stream can be read from the number behind it on.
    #[error("entry {number} of stream {stream} is damaged", stream = stream.0)]
    Damaged {
        /// The stream.
        stream: StreamId,
        /// The entry.
        number: u64,
    },
}

/// What the storage takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes on the disk, with what is dead and not given back yet.
    pub disk_bytes: u64,
    /// The most that there may be.
    pub disk_bytes_max: u64,
    /// What messages were refused for, where that was in the last half minute.
    pub short_of: Option<Shortage>,
    /// Bytes of what is alive.
    pub live_bytes: u64,
    /// Bytes of memory that finding the entries takes.
    pub index_bytes: usize,
    /// Bytes that were handed in since the start.
    pub appended_bytes: u64,
    /// Bytes that were written since the start, with what was moved to make room.
    pub written_bytes: u64,
    /// How often the disk was made to keep what was written.
    pub syncs: u64,
    /// Errors of the disk since the start.
    pub errors: u64,
    /// Places that were damaged when it was opened, and are left out.
    pub damaged_places: u64,
}

/// Called by the storage's own thread when [`Storage::progress`] has changed; short, and calls nothing of the storage.
pub type Bell = Box<dyn Fn() + Send + Sync>;

/// Keeps streams over the end of the process.
pub trait Storage: Send + Sync + std::fmt::Debug {
    /// Takes a change over, which is empty afterwards. It is in force at once for whoever reads, and kept when [`Storage::progress`] has
    /// come to the answer. An empty change is answered with the last place.
    fn append(&self, change: &mut Change, urgency: Urgency) -> Lsn;

    /// How far it has come.
    fn progress(&self) -> Progress;

    /// Puts a bell in place of the present one.
    fn set_bell(&self, bell: Bell);

    /// How much of what lives has to be settled before so many bytes more can be kept: nothing where there is room. An error where settling
    /// does not help now: the disk fails, or what was settled has not come back as space yet, which takes a moment.
    fn excess(&self, bytes: usize) -> Result<u64, NoRoom>;

    /// Whether so many bytes more can be kept. What is appended without asking is taken nevertheless: settlements and what describes
    /// sessions have room of their own.
    fn room(&self, bytes: usize) -> Result<(), NoRoom> {
        match self.excess(bytes)? {
            0 => Ok(()),
            _ => Err(NoRoom::Full),
        }
    }

    /// The numbers of living entries of a stream in ascending order, from this one on, and about what each is of [`Usage::live_bytes`].
    fn costs(&self, stream: StreamId, from: u64, count: usize) -> Vec<(u64, u64)>;

    /// Whether nothing more can be taken of what is appended without asking: while the disk fails it waits in memory, which has an end.
    /// Settlements are taken even so, of which there are no more than entries.
    fn is_overfull(&self) -> bool;

    /// Whether messages are refused because the disk answers with errors.
    fn is_failing(&self) -> bool {
        self.progress().is_failing || self.room(0) == Err(NoRoom::Failing)
    }

    /// Reads living entries of a stream in ascending order, from this number on. May wait for the disk.
    fn read(&self, stream: StreamId, from: u64, max: ReadMax) -> Result<Vec<Entry>, ReadError>;

    /// What is known of one stream; nothing where it has no living entries.
    fn summary(&self, stream: StreamId) -> Option<StreamSummary>;

    /// All streams with living entries, ascending.
    fn streams(&self) -> Vec<StreamSummary>;

    /// What it takes.
    fn usage(&self) -> Usage;

    /// Milliseconds of the store's own time, which never goes back and goes on over restarts as far as the clock can be believed. Deadlines
    /// are kept in it.
    fn time_millis(&self) -> u64;
}

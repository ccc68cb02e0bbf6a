//! What is wrong with a store, so that an operator can be told.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Bytes that were on the disk once and are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// How many bytes cannot be used because of that.
    pub bytes: u64,
    /// What is wrong with them.
    pub kind: DamageKind,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DamageKind {
    /// A check does not fit.
    #[error("are not what was written")]
    Changed,
    /// The file ends before what was written does.
    #[error("are missing")]
    Missing,
    /// The checks fit, but this version does not know what it means.
    #[error("mean nothing to this version")]
    Unknown,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { file, offset, bytes, kind } = self;
        write!(formatter, "{file}: {bytes} bytes from {offset} on {kind}")
    }
}

/// What was written last, and was not on the disk as a whole when the machine went down. Nobody was told that it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: String,
    /// From where on nothing is used.
    pub offset: u64,
    /// How many bytes of what cannot be used were found.
    pub bytes: u64,
}

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system says no.
    #[error("{path}: {source}", path = path.display())]
    Disk {
        /// What it says no to.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{path}: the store is in use by another process", path = path.display())]
    InUse {
        /// The file that is locked.
        path: PathBuf,
    },
    /// There is something else in the folder.
    #[error("{path}: this file does not belong into a store", path = path.display())]
    Foreign {
        /// What is there.
        path: PathBuf,
    },
    /// There are segments, but nothing says which format they have.
    #[error("{path}: the file that names the format is missing, but there are segments", path = path.display())]
    NoFormat {
        /// What is missing.
        path: PathBuf,
    },
    /// There is no store.
    #[error("{path}: there is no store here", path = path.display())]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// Another version has written it, or something else has.
    #[error("{path}: the format is `{found}`, and this version reads `{expected}`", path = path.display())]
    Format {
        /// The file that names the format.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// Something that was on the disk is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(Damage),
}

/// What opening a store has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Segments that were read.
    pub segments: usize,
    /// Records that were read.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What was not yet kept when the machine went down.
    pub torn_tail: Option<TornTail>,
    /// What is damaged, where the store was to be opened all the same; the first ones.
    pub damage: Vec<Damage>,
    /// How many places are damaged.
    pub damaged_places: u64,
}

impl OpenReport {
    /// Counts a damaged place, and remembers it while there are few.
    pub(super) fn add_damage(&mut self, damage: Damage) {
        const REMEMBERED_MAX: usize = 1000;
        self.damaged_places += 1;
        if self.damage.len() < REMEMBERED_MAX {
            self.damage.push(damage);
        }
    }
}

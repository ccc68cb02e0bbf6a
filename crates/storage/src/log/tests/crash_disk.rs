//! A disk in memory that loses what it may lose.
//!
//! What was not synced when the power goes is there in parts: any piece of any write, in any order, and any of the names that were
//! changed. An error of a sync leaves the disk with parts as well, and the sync after it says that all is well, as those of real systems do.

use crate::log::disk::{Access, Disk, DiskFile};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// Random numbers that are the same for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// As a process sees it.
    seen: Vec<u8>,
    /// As the disk has it for certain.
    durable: Vec<u8>,
    /// What was written since.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
    Rename(String, String),
}

type Names = BTreeMap<String, usize>;

fn apply(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Set(name, inode) => drop(names.insert(name.clone(), *inode)),
        NameChange::Remove(name) => drop(names.remove(name)),
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The power goes at this operation, which is done in part.
    PowerLoss {
        at: u64,
    },
    /// So many operations fail from this one on.
    Error {
        at: u64,
        count: u64,
        kind: ErrorKind,
    },
}

#[derive(Debug, Clone)]
struct State {
    inodes: Vec<Inode>,
    seen: Names,
    durable: Names,
    pending: Vec<NameChange>,
    operations: u64,
    fault: Fault,
    random: Random,
    /// How many bytes there are.
    capacity: usize,
    /// What reading is answered with.
    read_error: Option<ErrorKind>,
}

/// The disk.
#[derive(Clone)]
pub(super) struct CrashDisk {
    state: Arc<Mutex<State>>,
}

struct CrashFile {
    state: Arc<Mutex<State>>,
    inode: usize,
}

/// What becomes of an operation.
enum Fate {
    Done,
    /// It is done in part, and this is the answer.
    Part(io::Error),
}

impl State {
    fn fate(&mut self) -> Fate {
        let operation = self.operations;
        self.operations += 1;
        match self.fault {
            Fault::PowerLoss { at } if operation >= at => Fate::Part(ErrorKind::BrokenPipe.into()),
            Fault::Error { at, count, kind } if (at..at + count).contains(&operation) => {
                Fate::Part(kind.into())
            }
            _ => Fate::Done,
        }
    }

    /// Whether the power is gone already: then nothing is done at all.
    fn is_off(&self) -> bool {
        matches!(self.fault, Fault::PowerLoss { at } if self.operations > at + 1)
    }

    fn used(&self) -> usize {
        let inodes: BTreeSet<usize> = self.seen.values().copied().collect();
        inodes.into_iter().map(|inode| self.inodes[inode].seen.len()).sum()
    }

    /// Has the disk keep any parts of what was written to a file.
    fn tear(&mut self, inode: usize) {
        let State { inodes, random, .. } = self;
        let Inode { durable, pending, .. } = &mut inodes[inode];
        let piece = [8, 64, 512, 4096][random.below(4) as usize];
        let kept_percent = [0, 50, 90, 100][random.below(4) as usize];
        for (offset, bytes) in pending.drain(..) {
            let mut at = 0;
            while at < bytes.len() {
                let ends_at = ((offset + at) / piece * piece + piece - offset).min(bytes.len());
                if random.percent(kept_percent) {
                    durable[offset + at..offset + ends_at].copy_from_slice(&bytes[at..ends_at]);
                }
                at = ends_at;
            }
        }
    }

    /// Has the disk keep any of the names that were changed.
    fn tear_names(&mut self) {
        let kept_percent = [0, 50, 100][self.random.below(3) as usize];
        for change in std::mem::take(&mut self.pending) {
            if self.random.percent(kept_percent) {
                apply(&mut self.durable, &change);
            }
        }
    }

    fn change_names(&mut self, change: NameChange) {
        apply(&mut self.seen, &change);
        self.pending.push(change);
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.seen.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl CrashDisk {
    pub(super) fn new(seed: u64) -> CrashDisk {
        let state = State {
            inodes: Vec::new(),
            seen: Names::new(),
            durable: Names::new(),
            pending: Vec::new(),
            operations: 0,
            fault: Fault::None,
            random: Random(seed),
            capacity: usize::MAX,
            read_error: None,
        };
        CrashDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// What goes wrong from now on; operations are counted from now on as well.
    pub(super) fn set_fault(&self, fault: Fault) {
        let mut state = self.state.lock();
        (state.fault, state.operations) = (fault, 0);
    }

    pub(super) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// How many bytes there are from now on.
    pub(super) fn set_capacity(&self, bytes: usize) {
        self.state.lock().capacity = bytes;
    }

    pub(super) fn used(&self) -> usize {
        self.state.lock().used()
    }

    /// Nothing can be read from now on, or everything again.
    pub(super) fn set_read_error(&self, error: Option<ErrorKind>) {
        self.state.lock().read_error = error;
    }

    /// The disk as it would be if the power went now and came back.
    pub(super) fn crash(&self, seed: u64) -> CrashDisk {
        let mut left = self.state.lock().clone();
        left.random = Random(seed);
        (0..left.inodes.len()).for_each(|inode| left.tear(inode));
        left.tear_names();
        for inode in &mut left.inodes {
            inode.seen = inode.durable.clone();
        }
        let seen = left.durable.clone();
        let left = State { seen, fault: Fault::None, operations: 0, capacity: usize::MAX, ..left };
        CrashDisk { state: Arc::new(Mutex::new(left)) }
    }

    /// The disk as another process finds it after the end of this one.
    pub(super) fn kill(&self) -> CrashDisk {
        let left = State { fault: Fault::None, ..self.state.lock().clone() };
        CrashDisk { state: Arc::new(Mutex::new(left)) }
    }

    /// The files as a process sees them.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state.lock();
        state.seen.iter().map(|(name, inode)| (name.clone(), state.inodes[*inode].seen.clone())).collect()
    }

    /// A disk with these files.
    pub(super) fn with_files(files: &BTreeMap<String, Vec<u8>>) -> CrashDisk {
        let disk = CrashDisk::new(0);
        let mut state = disk.state.lock();
        for (name, bytes) in files {
            let inode = state.inodes.len();
            state.inodes.push(Inode { seen: bytes.clone(), durable: bytes.clone(), pending: Vec::new() });
            state.seen.insert(name.clone(), inode);
            state.durable.insert(name.clone(), inode);
        }
        drop(state);
        disk
    }
}

impl fmt::Debug for CrashDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CrashDisk")
    }
}

impl fmt::Debug for CrashFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CrashFile({})", self.inode)
    }
}

impl Disk for CrashDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().seen.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let fate = state.fate();
        if state.is_off() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let bytes = usize::try_from(bytes).unwrap();
        let is_full = state.used() + bytes > state.capacity;
        let length = match (&fate, is_full) {
            (Fate::Done, false) => bytes,
            _ => state.random.below(bytes as u64 + 1) as usize,
        };
        let inode = state.inodes.len();
        let zeros = vec![0; length.min(state.capacity.saturating_sub(state.used()))];
        state.inodes.push(Inode { seen: zeros.clone(), durable: zeros, pending: Vec::new() });
        state.change_names(NameChange::Set(name.to_owned(), inode));
        match fate {
            Fate::Part(error) => Err(error),
            Fate::Done if is_full => Err(ErrorKind::StorageFull.into()),
            Fate::Done => Ok(Arc::new(CrashFile { state: self.state.clone(), inode })),
        }
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.state.lock().inode(name)?;
        Ok(Arc::new(CrashFile { state: self.state.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.inode(from)?;
        let fate = state.fate();
        let is_done = matches!(fate, Fate::Done) || (!state.is_off() && state.random.percent(50));
        if is_done {
            state.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        }
        match fate {
            Fate::Done => Ok(()),
            Fate::Part(error) => Err(error),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.inode(name)?;
        let fate = state.fate();
        let is_done = matches!(fate, Fate::Done) || (!state.is_off() && state.random.percent(50));
        if is_done {
            state.change_names(NameChange::Remove(name.to_owned()));
        }
        match fate {
            Fate::Done => Ok(()),
            Fate::Part(error) => Err(error),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.fate() {
            Fate::Done => {
                state.durable = state.seen.clone();
                state.pending.clear();
                Ok(())
            }
            Fate::Part(error) => Err(error),
        }
    }
}

impl DiskFile for CrashFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.state.lock().inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        state.read_error.map_or(Ok(()), |kind| Err(io::Error::from(kind)))?;
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.inodes[self.inode].seen.get(offset..offset + into.len());
        into.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let fate = state.fate();
        if state.is_off() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let kept = match &fate {
            Fate::Done => bytes.len(),
            Fate::Part(_) => state.random.below(bytes.len() as u64 + 1) as usize,
        };
        let offset = usize::try_from(offset).unwrap();
        let inode = &mut state.inodes[self.inode];
        inode.seen[offset..offset + kept].copy_from_slice(&bytes[..kept]);
        inode.pending.push((offset, bytes[..kept].to_vec()));
        match fate {
            Fate::Done => Ok(()),
            Fate::Part(error) => Err(error),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.fate() {
            Fate::Done => {
                let Inode { seen, durable, pending } = &mut state.inodes[self.inode];
                for (offset, bytes) in pending.drain(..) {
                    durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                debug_assert_eq!(seen.len(), durable.len());
                Ok(())
            }
            Fate::Part(error) => {
                if !state.is_off() {
                    state.tear(self.inode);
                }
                Err(error)
            }
        }
    }
}

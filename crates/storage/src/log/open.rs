//! Opens a store: the lock, the format, what was written, and where this process goes on.

use super::damage::{OpenError, OpenReport};
use super::disk::{Access, Disk, DiskFile, FILE_MODE, Folder};
use super::engine::Engine;
use super::recovery::{self, Reading, Recovered, SegmentReport, Tail};
use super::room::{self, SEGMENT_BYTES_MIN};
use super::state::State;
use super::time::{Clock, StoreTime};
use super::writer::{self, Writer};
use super::{LogOptions, names};
use crate::NoRoom;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FORMAT: &str = "tidegate store 1";
/// Messages are for nobody else on the machine.
const FOLDER_MODE: u32 = 0o700;
/// No format file of any version is longer.
const FORMAT_BYTES_MAX: u64 = 4096;

/// What the log stands on.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// The folder of the log, for messages.
    pub(super) folder: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    /// The key of a store that is made now.
    pub(super) new_key: u64,
}

impl Ground {
    fn error(&self, name: &str) -> impl Fn(io::Error) -> OpenError {
        disk_error(self.folder.join(name))
    }
}

fn disk_error(path: PathBuf) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Disk { path: path.clone(), source }
}

/// The folder of the log in a data folder.
pub(super) fn log_folder(data_folder: &Path) -> PathBuf {
    data_folder.join("log")
}

/// Makes the folders that are not there, but not those above the data folder: a disk that is not mounted would be filled in its place.
pub(super) fn make_folders(data_folder: &Path) -> Result<PathBuf, OpenError> {
    let folder = log_folder(data_folder);
    for path in [data_folder, &folder] {
        match DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(disk_error(path.to_owned())(error));
            }
            _ => {}
        }
    }
    // Where this fails, the first sync of the log's own folder says so.
    File::open(data_folder).and_then(|data| data.sync_all()).map_err(disk_error(data_folder.to_owned()))?;
    Ok(folder)
}

/// Takes the lock, which is held while the file is open.
pub(super) fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(names::LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = file.map_err(disk_error(path.clone()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(OpenError::Disk { path, source }),
    }
}

/// Takes the lock together with others who only read; nothing where nobody has ever locked the store.
pub(super) fn lock_for_reading(folder: &Path) -> Result<Option<File>, OpenError> {
    let path = folder.join(names::LOCK);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(disk_error(path.clone()))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(OpenError::Disk { path, source }),
    }
}

/// The folder on the disk.
pub(super) fn real_ground(folder: &Path) -> Ground {
    let disk = Arc::new(Folder::new(folder));
    let clock = Arc::new(super::time::SystemClock::default());
    // Random for each one that is made, which is what a key has to be: unknown to whoever sends messages.
    let new_key = RandomState::new().build_hasher().finish();
    Ground { folder: folder.to_owned(), disk, clock, new_key }
}

/// The format file of a store with this key.
fn format_text(key: u64) -> String {
    let text = format!("{FORMAT}\nkey {key:016x}\n");
    let check = crc32fast::hash(text.as_bytes());
    format!("{text}check {check:08x}\n")
}

/// The key in a format file.
fn parse_format(text: &str) -> Option<u64> {
    let key = text.lines().nth(1)?.strip_prefix("key ")?;
    let key = u64::from_str_radix(key, 16).ok()?;
    (format_text(key) == text).then_some(key)
}

/// Reads the key of the store; nothing where there is no store yet.
fn read_format(ground: &Ground) -> Result<Option<u64>, OpenError> {
    let names = ground.disk.list().map_err(ground.error(""))?;
    let known = [names::SPARE, names::LOCK, names::FORMAT, names::FORMAT_NEW, "lost+found"];
    let is_foreign = |name: &&String| names::number(name).is_none() && !known.contains(&name.as_str());
    if let Some(name) = names.iter().find(is_foreign) {
        return Err(OpenError::Foreign { path: ground.folder.join(name) });
    }
    let path = ground.folder.join(names::FORMAT);
    if !names.iter().any(|name| name == names::FORMAT) {
        let has_segments = names.iter().any(|name| names::number(name).is_some());
        return if has_segments { Err(OpenError::NoFormat { path }) } else { Ok(None) };
    }
    let error = ground.error(names::FORMAT);
    let file = ground.disk.open(names::FORMAT, Access::Read).map_err(&error)?;
    let length = file.bytes().map_err(&error)?.min(FORMAT_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_at(0, &mut bytes).map_err(&error)?;
    let text = String::from_utf8_lossy(&bytes);
    let found = || text.lines().collect::<Vec<_>>().join(", ");
    parse_format(&text).map(Some).ok_or_else(|| OpenError::Format { path, found: found(), expected: FORMAT })
}

/// Writes the format file of a new store, under a name that is not taken for one until it is on the disk as a whole.
fn write_format(ground: &Ground) -> Result<u64, OpenError> {
    let write = || {
        let text = format_text(ground.new_key);
        let file = ground.disk.create(names::FORMAT_NEW, text.len() as u64)?;
        file.write_at(0, text.as_bytes())?;
        file.sync()?;
        ground.disk.rename(names::FORMAT_NEW, names::FORMAT)?;
        ground.disk.sync_folder()
    };
    write().map_err(ground.error(names::FORMAT))?;
    Ok(ground.new_key)
}

/// Opens a store for writing.
pub(super) fn open(ground: Ground, options: &LogOptions) -> Result<(Engine, OpenReport), OpenError> {
    let key = match read_format(&ground)? {
        Some(key) => key,
        None => write_format(&ground)?,
    };
    let segment_bytes = room::segment_bytes(options.segment_bytes, options.disk_bytes_max);
    let recovered = read_segments(&ground, key, Access::Write, options.skip_damaged, segment_bytes)?;
    settle_disk(&ground, &recovered)?;
    let now = ground.clock.monotonic_millis();
    let time = StoreTime::resume(recovered.last, &*ground.clock);
    let lazy_millis = u64::try_from(options.lazy_interval.as_millis()).unwrap_or(u64::MAX);
    let mut state = State::new(key, recovered.index, lazy_millis, now);
    state.limit_disk(options.segment_bytes, options.disk_bytes_max);
    state.usage.damaged_places = recovered.report.damaged_places;
    let mut writer = Writer::new(ground.disk.clone(), segment_bytes);
    writer.adopt_spare();
    // What is damaged is looked at again at the next start as it is now.
    if recovered.report.damaged_places == 0
        && let Some((file, end)) = state.index.segments.reopen_newest()
    {
        writer.go_on(file, end);
    }
    state.spare_bytes = writer.spare_bytes();
    let engine = Engine::new(state, writer, time, ground.clock.clone());
    match engine.flush() {
        // Where the disk is full, room may be made by whoever takes messages away.
        Err(error) if writer::no_room(&error) != NoRoom::Full => return Err(ground.error("")(error)),
        _ => engine.make_ready(),
    }
    Ok((engine, recovered.report))
}

fn read_segments(
    ground: &Ground,
    key: u64,
    access: Access,
    skip_damaged: bool,
    segment_bytes: u64,
) -> Result<Recovered, OpenError> {
    let reading = Reading { folder: &ground.folder, access, skip_damaged, segment_bytes, key };
    recovery::recover(&*ground.disk, reading)
}

/// Has the disk keep what was read before anything is built on it. After the end of a process, what it wrote may be in the memory of the
/// operating system only; after an error of the disk a sync would not even write it, so it is written again where it stands.
fn settle_disk(ground: &Ground, recovered: &Recovered) -> Result<(), OpenError> {
    for number in &recovered.given_up {
        let name = names::segment(*number);
        ground.disk.remove(&name).map_err(ground.error(&name))?;
    }
    if let Some(Tail { at, bytes, torn_to }) = &recovered.tail
        && let Some(file) = recovered.index.segments.newest().and_then(|newest| newest.file.as_ref())
    {
        let end = at.offset + bytes.len() as u64;
        let write = || {
            file.write_at(at.offset, bytes)?;
            wipe(&**file, end, *torn_to)?;
            file.sync()
        };
        write().map_err(ground.error(&names::segment(at.segment)))?;
    }
    ground.disk.sync_folder().map_err(ground.error(""))
}

/// Takes away what was cut off: what is written in its place would otherwise be followed by records that are sound and no part of the log.
fn wipe(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut offset = from;
    while offset < to {
        let left = usize::try_from(to - offset).unwrap_or(usize::MAX);
        let piece = ZEROS.get(..left.min(ZEROS.len())).unwrap_or(&ZEROS);
        file.write_at(offset, piece)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// What a store that nobody has open consists of, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Its files, the oldest first.
    pub segments: Vec<SegmentReport>,
    /// What reading them has found.
    pub report: OpenReport,
}

/// Reads a store without changing anything; what is damaged is left out.
pub(super) fn read_only(ground: &Ground) -> Result<Recovered, OpenError> {
    let no_store = || OpenError::NoStore { path: ground.folder.clone() };
    let key = read_format(ground)?.ok_or_else(no_store)?;
    read_segments(ground, key, Access::Read, true, SEGMENT_BYTES_MIN)
}

/// What the file takes that is made ready for the next segment; nothing where there is none.
pub(super) fn spare_bytes(ground: &Ground) -> u64 {
    ground.disk.open(names::SPARE, Access::Read).and_then(|file| file.bytes()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_file_is_taken_as_it_was_written_only() {
        let text = format_text(0xfeed);
        assert_eq!(parse_format(&text), Some(0xfeed));
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1;
            assert_eq!(parse_format(str::from_utf8(&bytes).unwrap()), None, "{index}");
        }
    }
}

//! The log in a real folder.

use crate::{Change, Log, LogOptions, NoRoom, OpenError, ReadMax, StoppedLog, Storage, StreamId, Urgency};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

const QUEUE: StreamId = StreamId(2000);
const ALL: ReadMax = ReadMax { entries: usize::MAX, bytes: usize::MAX };

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("tidegate-log-{}-{name}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        Scratch(path)
    }

    fn options(&self) -> LogOptions {
        LogOptions { segment_bytes: 64 * 1024, ..LogOptions::new(&self.0, 64 << 20) }
    }

    fn open(&self) -> Log {
        Log::open(&self.options()).unwrap().0
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            fs::read_dir(self.0.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("0"));
        paths.sort();
        paths
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn append(log: &Log, number: u64, body: &[u8]) {
    let mut change = Change::default();
    change.append(&[(QUEUE, number, b"note")], body);
    log.append(&mut change, Urgency::Synced);
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_appended_is_there_when_the_log_is_opened_again() {
    let scratch = Scratch::new("again");
    let log = scratch.open();
    let mut change = Change::default();
    (1..=2000_u64).for_each(|number| append(&log, number, &[number as u8; 100]));
    (1..=1000).for_each(|number| change.settle(QUEUE, number));
    change.amend(QUEUE, 1001, b"other");
    change.append(&[(QUEUE, 2001, b""), (StreamId(2001), 1, b"two")], &[7; 300_000]);
    log.append(&mut change, Urgency::Lazy);
    let entries = log.read(QUEUE, 0, ALL).unwrap();
    assert_eq!(entries.len(), 1001);
    let streams = log.streams();
    drop(log);

    let (log, report) = Log::open(&scratch.options()).unwrap();
    assert_eq!((report.torn_tail, report.damaged_places), (None, 0));
    assert_eq!((log.read(QUEUE, 0, ALL).unwrap(), log.streams()), (entries, streams));
    let first = log.read(QUEUE, 0, ReadMax { entries: 1, bytes: 0 }).unwrap();
    assert_eq!(
        (first[0].number, &first[0].note[..], &first[0].body[..]),
        (1001, &b"other"[..], &[233; 100][..])
    );
    assert!(matches!(StoppedLog::open(&scratch.0), Err(OpenError::InUse { .. })));
    let entries = log.read(QUEUE, 0, ALL).unwrap();
    drop(log);
    let stopped = StoppedLog::open(&scratch.0).unwrap();
    assert!(matches!(Log::open(&scratch.options()), Err(OpenError::InUse { .. })));
    assert_eq!(stopped.read(QUEUE, 0, ALL).unwrap(), entries);
}

#[test]
fn the_bell_rings_when_what_was_waited_for_is_synced() {
    let scratch = Scratch::new("bell");
    let log = scratch.open();
    let (sender, receiver) = mpsc::channel();
    log.set_bell(Box::new(move || sender.send(()).unwrap_or_default()));
    let mut change = Change::default();
    change.append(&[(QUEUE, 1, b"")], b"body");
    let lsn = log.append(&mut change, Urgency::Synced);
    while log.progress().synced < lsn {
        receiver.recv().unwrap();
    }
}

#[test]
fn a_store_that_is_open_is_not_opened_twice() {
    let scratch = Scratch::new("lock");
    let log = scratch.open();
    assert!(matches!(Log::open(&scratch.options()), Err(OpenError::InUse { .. })));
    drop(log);
    drop(scratch.open());
}

#[test]
fn a_folder_that_is_no_store_is_not_touched() {
    let scratch = Scratch::new("foreign");
    let options = LogOptions { folder: scratch.0.join("not/there"), ..scratch.options() };
    assert!(matches!(Log::open(&options), Err(OpenError::Disk { path, .. }) if path == options.folder));
    assert!(matches!(StoppedLog::open(&scratch.0), Err(OpenError::Disk { .. })));
    drop(scratch.open());
    let format = scratch.0.join("log/format");
    let text = fs::read_to_string(&format).unwrap();
    fs::write(&format, text.replace("store 1", "store 2")).unwrap();
    let error = Log::open(&scratch.options()).unwrap_err().to_string();
    assert!(error.contains("tidegate store 2") && error.contains("tidegate store 1"), "{error}");
    fs::remove_file(&format).unwrap();
    assert!(matches!(Log::open(&scratch.options()), Err(OpenError::NoFormat { .. })));
    fs::write(&format, text).unwrap();
    fs::write(scratch.0.join("log/photo.jpg"), "").unwrap();
    assert!(
        matches!(Log::open(&scratch.options()), Err(OpenError::Foreign { path }) if path.ends_with("photo.jpg"))
    );
}

#[test]
fn damage_is_named_and_left_out_only_when_that_is_said() {
    let scratch = Scratch::new("damage");
    let log = scratch.open();
    (1..=3).for_each(|number| append(&log, number, &[number as u8; 1000]));
    drop(log);
    let segment = &scratch.segments()[0];
    let at = fs::read(segment).unwrap().windows(1000).position(|window| window == [2; 1000]).unwrap();
    flip(segment, at + 500);
    let error = Log::open(&scratch.options()).unwrap_err();
    let OpenError::Damaged(damage) = &error else { panic!("{error}") };
    let range = damage.offset..damage.offset + damage.bytes;
    assert!(range.contains(&(at as u64 + 500)) && damage.bytes < 1100, "{damage}");
    assert_eq!(Log::inspect(&scratch.0).unwrap().report.damage, std::slice::from_ref(damage));

    let (log, report) = Log::open(&LogOptions { skip_damaged: true, ..scratch.options() }).unwrap();
    assert_eq!((report.damaged_places, &report.damage[..]), (1, std::slice::from_ref(damage)));
    let numbers: Vec<u64> = log.read(QUEUE, 0, ALL).unwrap().iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 3]);
}

#[test]
fn the_limit_of_the_disk_can_change() {
    let scratch = Scratch::new("limit");
    let log = scratch.open();
    append(&log, 1, &[7; 100_000]);
    log.limit_disk(128 * 1024);
    assert_eq!((log.room(1), log.usage().disk_bytes_max), (Err(NoRoom::Full), 128 * 1024));
    log.limit_disk(64 << 20);
    assert_eq!(log.room(1), Ok(()));
}

/// What is kept is for nobody else on the machine; a folder that was there keeps what its owner has set.
#[test]
fn nobody_else_reads_what_is_kept() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let scratch = Scratch::new("mode");
    let log = scratch.open();
    append(&log, 1, &[7; 100_000]);
    drop(log);
    assert_eq!((mode(&scratch.0), mode(&scratch.0.join("log"))), (0o700, 0o700));
    for entry in fs::read_dir(scratch.0.join("log")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o750)).unwrap();
    drop(scratch.open());
    assert_eq!(mode(&scratch.0), 0o750);
}

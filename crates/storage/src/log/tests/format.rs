//! The format on the disk: the bytes on the page, and a store that an earlier version has written.

use super::clock::TestClock;
use super::crash_disk::CrashDisk;
use super::world::{self, Entries, NOON};
use crate::{Change, StreamId, Urgency};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const QUEUE: StreamId = StreamId(2000);
const OTHER: StreamId = StreamId(2001);
const BEGIN: &str = "<!-- bytes: begin -->\n";
const END: &str = "<!-- bytes: end -->";

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// A file without the zeros behind its last record.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let filled = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..filled.next_multiple_of(8).min(bytes.len())]
}

fn hex_dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let readable: String =
            bytes.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect();
        writeln!(text, "{:06x}  {:<47}  {readable}", line * 16, hex.join(" ")).unwrap();
    }
    text
}

/// The example on the page is what the log writes.
#[test]
fn the_page_shows_the_bytes_that_are_written() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
    clock.advance(5);
    let mut change = Change::default();
    change.append(&[(QUEUE, 7, b"to A"), (OTHER, 4, b"to B")], b"hello");
    change.settle(QUEUE, 6);
    engine.append(&mut change, Urgency::Synced);
    engine.turn();
    let files = disk.files();
    let (format, segment) = (&files["format"], trimmed(&files["0000000001.seg"]));
    let shown = format!(
        "`log/format`:\n\n```text\n{}```\n\n`log/0000000001.seg`, without the zeros behind:\n\n```text\n{}```\n",
        hex_dump(format),
        hex_dump(segment)
    );
    let page_path = path("../../docs/reference/storage-format.md");
    let page = fs::read_to_string(&page_path).unwrap();
    let (front, rest) = page.split_once(BEGIN).unwrap();
    let (present, behind) = rest.split_once(END).unwrap();
    if is_update() {
        fs::write(&page_path, format!("{front}{BEGIN}{shown}{END}{behind}")).unwrap();
    } else {
        assert_eq!(present, shown, "run with UPDATE=1");
    }
}

/// Everything that there is in a store: several receivers, notes that were changed, streams that ended, two processes, and a segment
/// whose oldest entries were copied.
fn write_store() -> CrashDisk {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let mut change = Change::default();
    for process in 0..2 {
        let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
        for number in 1 + process * 20..=20 + process * 20 {
            change.append(&[(QUEUE, number, b"q"), (OTHER, number, b"")], &vec![number as u8; 700]);
            change.append(&[(StreamId::SESSIONS, number, b"")], b"a session");
            engine.append(&mut change, Urgency::Synced);
            engine.turn();
            clock.advance(1000);
        }
        change.amend(QUEUE, 19 + process * 20, b"delivered once");
        change.settle(QUEUE, 20);
        (1..15).for_each(|number| change.settle(QUEUE, number + process * 20));
        change.append(&[(StreamId(2002), 1, b"")], b"gone");
        change.end(StreamId(2002));
        engine.append(&mut change, Urgency::Lazy);
        engine.flush().unwrap();
        clock.advance(60_000);
    }
    disk
}

fn expected() -> Entries {
    let mut expected = Entries::new();
    for number in 1..=40_u64 {
        let body = vec![number as u8; 700];
        expected.insert((StreamId::SESSIONS, number), (Vec::new(), b"a session".to_vec()));
        expected.insert((OTHER, number), (Vec::new(), body.clone()));
        let is_settled = number < 15 || number == 20 || (21..35).contains(&number);
        let note = if number == 19 || number == 39 { &b"delivered once"[..] } else { b"q" };
        if !is_settled {
            expected.insert((QUEUE, number), (note.to_vec(), body));
        }
    }
    expected
}

/// The bytes in `tests/store-1` were written by the first version with this format. They are never written again: a later version that
/// cannot open them cannot be installed over an earlier one.
#[test]
fn a_store_of_the_first_version_is_opened() {
    let folder = path("tests/store-1");
    if is_update() && !folder.exists() {
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in write_store().files().into_iter().filter(|(name, _)| name != "spare.seg") {
            fs::write(folder.join(name), trimmed(&bytes)).unwrap();
        }
    }
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        files.insert(entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    }
    let clock = Arc::new(TestClock::at(NOON + 300_000));
    let (engine, report) = world::open(&CrashDisk::with_files(&files), &clock, &world::options()).unwrap();
    assert_eq!((report.damaged_places, report.torn_tail), (0, None));
    assert_eq!(world::entries(&engine), expected());
    // Forty seconds and a minute had passed when it was written last.
    assert_eq!(engine.moment().time_millis, 300_000);
}

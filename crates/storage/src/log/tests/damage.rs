//! Bytes that change on the disk.

use super::clock::TestClock;
use super::crash_disk::CrashDisk;
use super::world::{self, Model, NOON, Workload};
use crate::log::{LogOptions, OpenError};
use crate::{Change, StreamId, Urgency};
use std::collections::BTreeMap;
use std::sync::Arc;

const QUEUE: StreamId = StreamId(2000);

type Files = BTreeMap<String, Vec<u8>>;

/// A store that was closed, with several segments.
fn store(steps: usize) -> (Files, Model) {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
    let (mut workload, mut model) = (Workload::new(5), Model::default());
    world::work(&engine, &clock, &mut workload, &mut model, steps);
    engine.flush().unwrap();
    (disk.files(), model)
}

fn skipping() -> LogOptions {
    LogOptions { skip_damaged: true, ..world::options() }
}

/// Opens a store with one bit changed. It is either said, or nothing has changed; skipping it never ends in a panic and is always counted.
fn open_with_flip(files: &Files, model: &Model, name: &str, offset: usize) -> Outcome {
    let mut files = files.clone();
    files.get_mut(name).unwrap()[offset] ^= 1 << (offset % 8);
    let clock = Arc::new(TestClock::at(NOON));
    match world::open(&CrashDisk::with_files(&files), &clock, &world::options()) {
        Ok((engine, report)) => {
            assert_eq!(world::entries(&engine), model.now, "{name}, {offset}");
            assert_eq!(report.damaged_places, 0, "{name}, {offset}");
            Outcome::Nothing
        }
        Err(OpenError::Damaged(damage)) => {
            let range = damage.offset..damage.offset + damage.bytes;
            assert!(damage.file == name && range.contains(&(offset as u64)), "{name}, {offset}: {damage}");
            let (engine, report) = world::open(&CrashDisk::with_files(&files), &clock, &skipping()).unwrap();
            assert_eq!((report.damaged_places, &report.damage[0]), (1, &damage), "{name}, {offset}");
            world::entries(&engine);
            Outcome::Damaged
        }
        Err(OpenError::Format { .. }) => Outcome::Format,
        Err(error) => panic!("{name}, {offset}: {error}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Nothing,
    Damaged,
    Format,
}

/// Where the last byte of a file is that is not zero.
fn filled(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn a_changed_bit_anywhere_is_said_or_does_not_matter() {
    let (files, model) = store(5);
    let mut outcomes = BTreeMap::<Outcome, u32>::new();
    for (name, bytes) in &files {
        let ends_at = filled(bytes);
        for offset in 0..ends_at {
            let outcome = open_with_flip(&files, &model, name, offset);
            // What is written last only says that everything in front of it was synced.
            let is_last_mark = offset + 48 >= ends_at;
            assert!(outcome != Outcome::Nothing || is_last_mark, "{name}, {offset} of {ends_at}");
            *outcomes.entry(outcome).or_default() += 1;
        }
        let behind = ends_at + 100;
        if behind < bytes.len() {
            assert_eq!(open_with_flip(&files, &model, name, behind), Outcome::Nothing);
        }
    }
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
}

#[test]
fn a_segment_that_is_gone_or_cut_is_said() {
    let (files, _) = store(300);
    let names: Vec<&String> = files.keys().filter(|name| name.starts_with('0')).collect();
    assert!(names.len() > 3, "{names:?}");
    let clock = Arc::new(TestClock::at(NOON));
    let open = |files: &Files, options: &LogOptions| {
        let opened = world::open(&CrashDisk::with_files(files), &clock, options);
        opened.map(|(_, report)| report.damaged_places)
    };
    let mut without = files.clone();
    without.remove(names[1]);
    assert!(
        matches!(open(&without, &world::options()), Err(OpenError::Damaged(damage)) if damage.file == *names[1])
    );
    assert!(open(&without, &skipping()).unwrap() >= 1);
    let mut cut = files.clone();
    cut.get_mut(names[1]).unwrap().truncate(5000);
    assert!(
        matches!(open(&cut, &world::options()), Err(OpenError::Damaged(damage)) if damage.file == *names[1])
    );
    assert!(open(&cut, &skipping()).unwrap() >= 1);
    let mut empty = files.clone();
    empty.get_mut(names[1]).unwrap().clear();
    assert!(open(&empty, &world::options()).is_err());
    assert!(open(&empty, &skipping()).unwrap() >= 1);
}

/// A message whose payload looks like records is not taken for records when the place in front of it is skipped.
#[test]
fn a_payload_is_never_taken_for_records() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
    // Everything that somebody can know who has a store of the same version: records from the same places under another key.
    let mut other = Change::default();
    (1..=9).for_each(|number| other.append(&[(StreamId(9999), number, b"")], &[7; 99]));
    let mut forged = Vec::new();
    for offset in (0..16_384).step_by(8) {
        let seat = crate::log::frame::Seat { key: 1, segment: 1, offset };
        let check = crate::log::frame::body_check(other.as_bytes());
        crate::log::frame::write(&mut forged, seat, crate::log::frame::Kind::Change, other.as_bytes(), check);
        forged.truncate(7000);
    }
    let mut change = Change::default();
    change.append(&[(QUEUE, 1, b"")], &forged);
    engine.append(&mut change, Urgency::Synced);
    change.append(&[(QUEUE, 2, b"")], b"behind");
    engine.append(&mut change, Urgency::Synced);
    engine.flush().unwrap();
    let mut files = disk.files();
    files.get_mut("0000000001.seg").unwrap()[500] ^= 1;
    let (engine, report) = world::open(&CrashDisk::with_files(&files), &clock, &skipping()).unwrap();
    assert_eq!(report.damaged_places, 1);
    let found: Vec<_> = world::entries(&engine).into_keys().collect();
    assert_eq!(found, [(QUEUE, 2)]);
}

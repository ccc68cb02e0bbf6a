//! The disk answers with errors, or is full.

use super::clock::TestClock;
use super::crash_disk::{CrashDisk, Fault, Random};
use super::world::{self, Model, NOON, Workload};
use crate::log::engine::Engine;
use crate::log::{LogOptions, News};
use crate::{Change, NoRoom, ReadError, Shortage, StreamId, Urgency};
use std::io::ErrorKind;
use std::sync::{Arc, mpsc};

const QUEUE: StreamId = StreamId(2000);

/// Time goes on until the log is sound again.
fn mend(engine: &Engine, clock: &TestClock) {
    for turn in 0..40 {
        clock.advance(1000);
        engine.turn();
        if turn > 10 && !engine.state.lock().progress().is_failing {
            return;
        }
    }
    panic!("the log does not get sound again");
}

/// One error or several at each operation in turn: nothing that was synced is lost, nothing that was appended is lost while the process
/// lives, and when the disk works again, so does the log.
#[test]
fn every_operation_fails_once() {
    let rounds = world::number("TIDEGATE_CRASH_ROUNDS", 1);
    let seed = world::number("TIDEGATE_CRASH_SEED", 1);
    println!("TIDEGATE_CRASH_SEED={seed} TIDEGATE_CRASH_ROUNDS={rounds}");
    for seed in seed..seed + rounds {
        let mut at = 0;
        loop {
            let mut random = Random(seed << 32 | at);
            let kind = if random.percent(50) { ErrorKind::StorageFull } else { ErrorKind::Other };
            let context = format!("seed {seed}, operation {at}: {kind}");
            let (disk, clock) = (CrashDisk::new(random.next()), Arc::new(TestClock::at(NOON)));
            let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
            let count = [1, 1, 2, 5][random.below(4) as usize];
            disk.set_fault(Fault::Error { at, count, kind });
            let (mut workload, mut model) = (Workload::new(seed), Model::default());
            world::work(&engine, &clock, &mut workload, &mut model, 60);
            assert_eq!(world::entries(&engine), model.now, "{context}");
            let is_over = disk.operations() <= at;
            let synced = engine.state.lock().progress().synced;
            let crashed = disk.crash(random.next());
            let (reopened, report) = world::open(&crashed, &clock, &world::options()).unwrap();
            assert_eq!(report.damaged_places, 0, "{context}");
            model
                .explain(synced, &world::entries(&reopened))
                .unwrap_or_else(|what| panic!("{context}: {what}"));

            mend(&engine, &clock);
            world::work(&engine, &clock, &mut workload, &mut model, 20);
            assert_eq!(world::entries(&engine), model.now, "{context}");
            engine.flush().unwrap();
            let (reopened, report) =
                world::open(&disk.crash(random.next()), &clock, &world::options()).unwrap();
            assert_eq!(report.damaged_places, 0, "{context}");
            assert_eq!(world::entries(&reopened), model.now, "{context}");
            if is_over {
                break;
            }
            at += 1;
        }
    }
}

fn append(engine: &Engine, number: u64) -> crate::Lsn {
    let mut change = Change::default();
    change.append(&[(QUEUE, number, b"")], &[1; 100]);
    engine.append(&mut change, Urgency::Synced)
}

#[test]
fn while_the_disk_fails_nothing_is_acknowledged_and_everything_can_be_read() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
    append(&engine, 1);
    engine.turn();
    disk.set_fault(Fault::Error { at: 1, count: 100, kind: ErrorKind::Other });
    let lsn = append(&engine, 2);
    engine.turn();
    let progress = engine.state.lock().progress();
    assert!(progress.is_failing && progress.synced < lsn && progress.written >= lsn);
    assert_eq!(world::room(&engine, 1), Err(NoRoom::Failing));
    append(&engine, 3);
    let mut change = Change::default();
    change.amend(QUEUE, 2, b"changed meanwhile");
    engine.append(&mut change, Urgency::Lazy);
    let found = world::entries(&engine);
    assert_eq!(found.len(), 3);
    // It is not asked again before a second has passed.
    let operations = disk.operations();
    engine.turn();
    assert_eq!(disk.operations(), operations);
    disk.set_fault(Fault::None);
    clock.advance(1000);
    engine.turn();
    let progress = engine.state.lock().progress();
    assert!(!progress.is_failing && progress.synced > lsn);
    assert_eq!(
        (found[&(QUEUE, 2)].0.as_slice(), &world::entries(&engine)),
        (&b"changed meanwhile"[..], &found)
    );
    assert_eq!(world::room(&engine, 1), Ok(()));
    assert!(engine.usage().errors > 0);
}

/// What is settled while the disk is full makes room, and what was acknowledged before is still there.
#[test]
fn a_full_disk_takes_settlements_and_comes_back_by_itself() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    // The limit is far away: it is the disk that is full.
    let options = LogOptions { disk_bytes_max: 1 << 30, ..world::options() };
    let (engine, _) = world::open(&disk, &clock, &options).unwrap();
    disk.set_capacity(disk.used() + 10 * 16 * 1024);
    let mut number = 0;
    while world::room(&engine, 100).is_ok() {
        number += 1;
        append(&engine, number);
        engine.turn();
        clock.advance(1);
        assert!(number < 10_000);
    }
    assert_eq!(world::room(&engine, 100), Err(NoRoom::Full));
    assert!(!engine.state.lock().progress().is_failing);
    let mut change = Change::default();
    for settled in 1..=number - 5 {
        change.settle(QUEUE, settled);
        engine.append(&mut change, Urgency::Lazy);
        engine.turn();
        clock.advance(10);
    }
    for _ in 0..50 {
        engine.turn();
        clock.advance(100);
    }
    assert_eq!(world::room(&engine, 100), Ok(()));
    let (reopened, _) = world::open(&disk.crash(1), &clock, &options).unwrap();
    assert_eq!(world::entries(&reopened).len(), 5);
}

/// An error of reading is the reader's; nothing is thrown away because of it, and copying goes on when the disk does.
#[test]
fn what_cannot_be_read_now_is_there_later() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
    for number in 1..=700 {
        append(&engine, number);
        engine.turn();
    }
    disk.set_read_error(Some(ErrorKind::Other));
    assert!(matches!(engine.read(QUEUE, 0, world::ALL), Err(ReadError::Disk(_))));
    assert!(world::open(&disk.crash(1), &clock, &world::options()).is_err());
    let mut change = Change::default();
    (1..700).filter(|number| number % 40 != 0).for_each(|number| change.settle(QUEUE, number));
    engine.append(&mut change, Urgency::Synced);
    let before = engine.usage();
    for _ in 0..20 {
        engine.turn();
        clock.advance(1000);
    }
    let meanwhile = engine.usage();
    assert!(meanwhile.errors > before.errors && meanwhile.disk_bytes >= before.disk_bytes);
    disk.set_read_error(None);
    for _ in 0..200 {
        engine.turn();
        clock.advance(100);
    }
    assert!(engine.usage().disk_bytes < before.disk_bytes / 2);
    assert_eq!(world::entries(&engine).len(), 18);
}

/// A store that was filled, until it could make no next segment, and the power went; and how many messages are in it. The last of them
/// were torn, or not.
fn filled(seed: u64) -> (CrashDisk, Arc<TestClock>, u64) {
    let (disk, clock) = (CrashDisk::new(seed), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &roomy()).unwrap();
    disk.set_capacity(disk.used() + 8 * 16 * 1024);
    let mut number = 0;
    while world::room(&engine, 100).is_ok() {
        number += 1;
        append(&engine, number);
        engine.turn();
    }
    assert_eq!(world::room(&engine, 100), Err(NoRoom::Full));
    let used = disk.used();
    disk.set_fault(Fault::PowerLoss { at: 1 });
    for lost in 1..20 {
        append(&engine, number + lost);
    }
    engine.turn();
    let crashed = disk.crash(seed);
    crashed.set_capacity(used);
    (crashed, clock, number)
}

/// The limit is far away: it is the disk that is full.
fn roomy() -> LogOptions {
    LogOptions { disk_bytes_max: 1 << 30, ..world::options() }
}

fn settle(engine: &Engine, numbers: std::ops::RangeInclusive<u64>) {
    let mut change = Change::default();
    numbers.for_each(|number| change.settle(QUEUE, number));
    engine.append(&mut change, Urgency::Synced);
}

/// A start on a full disk keeps what it is told, and what is settled then makes room: nobody has to help from outside.
#[test]
fn a_store_on_a_full_disk_is_opened_and_drained() {
    for seed in 0..10 {
        let (disk, clock, last) = filled(seed);
        for start in 0..3 {
            let (engine, report) = world::open(&disk, &clock, &roomy()).unwrap();
            assert_eq!(report.damaged_places, 0);
            assert!(!engine.state.lock().progress().is_failing, "seed {seed}, start {start}");
            assert_eq!(world::room(&engine, 1), Err(NoRoom::Full));
            let found = world::entries(&engine).len() as u64;
            assert!(found >= last - start, "seed {seed}, start {start}: {found} of {last}");
            // Each start has settled one more, and the next one finds that.
            settle(&engine, start + 1..=start + 1);
            engine.turn();
        }
        let (engine, _) = world::open(&disk, &clock, &roomy()).unwrap();
        settle(&engine, 1..=last - 5);
        for _ in 0..50 {
            engine.turn();
            clock.advance(100);
        }
        assert_eq!(world::room(&engine, 100), Ok(()), "seed {seed}");
        engine.flush().unwrap();
    }
}

/// The power goes at every operation of a start that has to go on in the newest segment, and nothing of what was torn before comes back.
#[test]
fn the_power_goes_while_the_newest_segment_is_continued() {
    for seed in 0..6 {
        let (full, clock, _) = filled(seed);
        let before = world::entries(&world::open(&full.crash(seed), &clock, &roomy()).unwrap().0);
        for at in 0..10 {
            let disk = full.kill();
            let used = disk.used();
            disk.set_fault(Fault::PowerLoss { at });
            let mut settled = before.clone();
            let mut synced = false;
            if let Ok((engine, _)) = world::open(&disk, &clock, &roomy()) {
                settle(&engine, 1..=1);
                engine.turn();
                settled.remove(&(QUEUE, 1));
                synced = engine.state.lock().progress().synced >= crate::Lsn(1);
            }
            let disk = disk.crash(seed ^ at << 32);
            disk.set_capacity(used);
            let (engine, report) = world::open(&disk, &clock, &roomy()).unwrap();
            assert_eq!(report.damaged_places, 0, "seed {seed}, operation {at}");
            let found = world::entries(&engine);
            assert!(found == settled || (!synced && found == before), "seed {seed}, operation {at}");
        }
    }
}

/// Where the last byte is somebody else's, the store is opened all the same, says that it keeps nothing, and goes on when there is room.
#[test]
fn a_store_that_finds_no_byte_goes_on_when_there_is_room() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &roomy()).unwrap();
    disk.set_capacity(disk.used());
    let mut number = 0;
    while !engine.state.lock().progress().is_failing {
        number += 1;
        append(&engine, number);
        engine.turn();
    }
    let disk = disk.crash(1);
    disk.set_capacity(disk.used());
    let (engine, _) = world::open(&disk, &clock, &roomy()).unwrap();
    let found = world::entries(&engine);
    assert_eq!(found.len() as u64, number - 1);
    append(&engine, number);
    engine.turn();
    assert!(engine.state.lock().progress().is_failing);
    assert_eq!(world::room(&engine, 1), Err(NoRoom::Full));
    disk.set_capacity(usize::MAX);
    mend(&engine, &clock);
    assert_eq!(world::room(&engine, 1), Ok(()));
    assert_eq!(world::entries(&engine).len() as u64, number);
}

/// A disk that may not be written to is said when the store is opened, with the name of the file.
#[test]
fn a_read_only_disk_is_an_error_with_a_name() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    drop(world::open(&disk, &clock, &world::options()).unwrap());
    for at in 0..3 {
        disk.set_fault(Fault::Error { at, count: 1000, kind: ErrorKind::ReadOnlyFilesystem });
        let error = world::open(&disk, &clock, &world::options()).unwrap_err().to_string();
        assert!(error.contains("read-only"), "{error}");
    }
}

/// What waits is copied to another place where it is tried to be written: not each second, while nothing at all can be written.
#[test]
fn a_disk_that_fails_is_asked_with_something_small() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
    let newest = |engine: &Engine| engine.state.lock().index.segments.newest().unwrap().number;
    disk.set_fault(Fault::Error { at: 0, count: 1 << 40, kind: ErrorKind::Other });
    append(&engine, 1);
    engine.turn();
    let before = newest(&engine);
    for _ in 0..100 {
        clock.advance(1000);
        engine.turn();
    }
    assert_eq!(newest(&engine), before);
    // It takes what is small and nothing else: then it is asked less and less often.
    let mut tried = 0;
    for _ in 0..300 {
        disk.set_fault(Fault::Error { at: 5, count: 1 << 40, kind: ErrorKind::Other });
        let before = newest(&engine);
        clock.advance(1000);
        engine.turn();
        tried += u32::from(newest(&engine) > before);
    }
    assert!((5..20).contains(&tried), "{tried}");
    disk.set_fault(Fault::None);
    mend(&engine, &clock);
    assert_eq!(world::entries(&engine).len(), 1);
}

/// What is appended without asking while the disk fails waits in memory, and whoever appends is told when that is enough.
#[test]
fn what_waits_for_a_disk_that_fails_is_bounded() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &roomy()).unwrap();
    disk.set_fault(Fault::Error { at: 0, count: 1 << 40, kind: ErrorKind::Other });
    append(&engine, 1);
    engine.turn();
    let mut taken = 0;
    while !engine.state.lock().is_overfull() {
        let mut change = Change::default();
        change.append(&[(StreamId::SESSIONS, 1, b"")], &[1; 1 << 20]);
        engine.append(&mut change, Urgency::Lazy);
        taken += 1;
        assert!(taken < 100);
    }
    assert!(taken > 10);
    disk.set_fault(Fault::None);
    mend(&engine, &clock);
    assert!(!engine.state.lock().is_overfull());
}

/// A disk may hold more entries than there is memory for finding them.
#[test]
fn the_index_has_an_end() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &roomy()).unwrap();
    engine.state.lock().index_bytes_max = 10_000;
    let mut number = 0;
    while world::room(&engine, 100).is_ok() {
        number += 1;
        append(&engine, number);
        engine.turn();
    }
    assert!((500..1000).contains(&number), "{number}");
    assert_eq!(
        (world::room(&engine, 100), engine.usage().short_of),
        (Err(NoRoom::Full), Some(Shortage::Memory))
    );
    assert!(engine.usage().index_bytes >= 10_000);
    settle(&engine, 1..=number / 2);
    assert_eq!(world::room(&engine, 100), Ok(()));
}

#[test]
fn whoever_watches_is_told_when_messages_are_refused_and_when_the_disk_fails() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
    let (sender, news) = mpsc::channel();
    engine.set_watcher(Box::new(move |news| sender.send(news).unwrap()));
    let mut number = 0;
    while world::room(&engine, 1000).is_ok() {
        number += 1;
        append(&engine, number);
        engine.turn();
    }
    engine.turn();
    assert_eq!(news.try_iter().collect::<Vec<_>>(), [News::Full(Shortage::Limit)]);
    assert_eq!(engine.usage().short_of, Some(Shortage::Limit));
    disk.set_fault(Fault::Error { at: 0, count: 1000, kind: ErrorKind::ReadOnlyFilesystem });
    settle(&engine, 1..=number);
    for _ in 0..10 {
        engine.turn();
        clock.advance(1000);
    }
    let failing = News::Failing { error: std::io::Error::from(ErrorKind::ReadOnlyFilesystem).to_string() };
    assert_eq!(news.try_iter().collect::<Vec<_>>(), [failing]);
    disk.set_fault(Fault::None);
    for _ in 0..100 {
        engine.turn();
        clock.advance(1000);
    }
    assert_eq!((world::room(&engine, 1000), engine.usage().short_of), (Ok(()), None));
    assert_eq!(news.try_iter().collect::<Vec<_>>(), [News::Recovered]);
}

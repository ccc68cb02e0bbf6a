//! The power goes at every operation of the disk.

use super::clock::TestClock;
use super::crash_disk::{CrashDisk, Fault, Random};
use super::world::{self, Entries, Model, NOON, Workload};
use crate::log::engine::Engine;
use crate::log::frame::MARK_BYTES;
use crate::{Change, Lsn, StreamId, Urgency};
use std::sync::Arc;

const STEPS: usize = 150;

/// Does the same workload every time, until the power goes at an operation; the answer is what it leaves.
fn run(seed: u64, fault: Fault) -> (CrashDisk, Model, Lsn) {
    let at = if let Fault::PowerLoss { at } = fault { at } else { 0 };
    let (disk, clock) = (CrashDisk::new(seed << 32 | at), Arc::new(TestClock::at(NOON)));
    let mut workload = Workload::new(seed);
    disk.set_fault(fault);
    let mut model = Model::default();
    // The power may go while the store is made.
    let Ok((engine, _)) = world::open(&disk, &clock, &world::options()) else {
        return (disk, model, Lsn(0));
    };
    world::work(&engine, &clock, &mut workload, &mut model, STEPS);
    let synced = engine.state.lock().progress().synced;
    (disk, model, synced)
}

/// Opens what a crash has left and says what it is.
fn explain(disk: &CrashDisk, model: &Model, synced: Lsn, context: &str) -> (Engine, Entries) {
    let clock = Arc::new(TestClock::at(NOON + 1_000_000));
    let opened = world::open(disk, &clock, &world::options());
    let (engine, report) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(report.damaged_places, 0, "{context}");
    let found = world::entries(&engine);
    if let Err(what) = model.explain(synced, &found) {
        panic!("{context}: {what}");
    }
    (engine, found)
}

/// Whatever is kept of what was not synced: the log holds what it held after some change, and everything that was synced.
#[test]
fn the_power_goes_at_every_operation() {
    let rounds = world::number("TIDEGATE_CRASH_ROUNDS", 1);
    let seed = world::number("TIDEGATE_CRASH_SEED", 1);
    println!("TIDEGATE_CRASH_SEED={seed} TIDEGATE_CRASH_ROUNDS={rounds}");
    for seed in seed..seed + rounds {
        let (disk, ..) = run(seed, Fault::None);
        let operations = disk.operations();
        assert!(operations > 30, "seed {seed}: {operations}");
        for at in 0..operations {
            let (disk, model, synced) = run(seed, Fault::PowerLoss { at });
            for tear in 0..2 {
                let context = format!("seed {seed}, operation {at} of {operations}, tear {tear}");
                drop(explain(&disk.crash(seed ^ tear << 32 ^ at), &model, synced, &context));
            }
        }
    }
}

/// A store that crashes again and again, at any moment, its own opening included.
#[test]
fn the_power_goes_again_and_again() {
    let rounds = world::number("TIDEGATE_CRASH_ROUNDS", 1) * 4;
    let seed = world::number("TIDEGATE_CRASH_SEED", 1);
    println!("TIDEGATE_CRASH_SEED={seed} TIDEGATE_CRASH_ROUNDS={rounds}");
    for seed in seed..seed + rounds {
        let mut random = Random(seed);
        let mut workload = Workload::new(seed);
        let (mut disk, clock) = (CrashDisk::new(seed), Arc::new(TestClock::at(NOON)));
        let (mut model, mut synced) = (Model::default(), Lsn(0));
        for crash in 0..20 {
            let context = format!("seed {seed}, crash {crash}");
            disk.set_fault(Fault::PowerLoss { at: random.below(150) });
            if let Ok((engine, report)) = world::open(&disk, &clock, &world::options()) {
                assert_eq!(report.damaged_places, 0, "{context}");
                let found = world::entries(&engine);
                model.explain(synced, &found).unwrap_or_else(|what| panic!("{context}: {what}"));
                model = Model::opened(found);
                world::work(&engine, &clock, &mut workload, &mut model, 200);
                synced = engine.state.lock().progress().synced;
            }
            // The process alone may be gone: then what it wrote is seen, and still not on the disk.
            disk = if random.percent(30) { disk.kill() } else { disk.crash(random.next()) };
            clock.advance(1000);
        }
        let (engine, found) = explain(&disk, &model, synced, &format!("seed {seed}, at the end"));
        engine.flush().unwrap();
        assert_eq!(world::entries(&engine), found);
    }
}

/// What was cut off at the end stays away, although the next process writes in the same file, up to where a sound record of it begins.
#[test]
fn a_record_behind_a_torn_one_does_not_come_back() {
    let (disk, clock) = (CrashDisk::new(1), Arc::new(TestClock::at(NOON)));
    let append = |engine: &Engine, number: u64, bytes: usize, urgency: Urgency| {
        let mut change = Change::default();
        change.append(&[(StreamId(2000), number, b"")], &vec![number as u8; bytes]);
        engine.append(&mut change, urgency);
    };
    let (engine, _) = world::open(&disk, &clock, &world::options()).unwrap();
    append(&engine, 1, 1000, Urgency::Synced);
    engine.turn();
    // Opening writes two marks, and what is appended then begins with one.
    append(&engine, 2, 1000 + 3 * MARK_BYTES, Urgency::Written);
    append(&engine, 3, 1000, Urgency::Written);
    engine.turn();
    let mut files = disk.files();
    let segment = files.get_mut("0000000001.seg").unwrap();
    let torn = segment.windows(1000).position(|window| window == [2; 1000]).unwrap();
    segment[torn + 500] ^= 1;
    let disk = CrashDisk::with_files(&files);
    for (opening, present) in [vec![1], vec![1, 4], vec![1, 4]].into_iter().enumerate() {
        let (engine, report) = world::open(&disk, &clock, &world::options()).unwrap();
        let numbers: Vec<u64> = world::entries(&engine).into_keys().map(|(_, number)| number).collect();
        assert_eq!((numbers, report.torn_tail.is_some()), (present, opening == 0));
        if opening == 0 {
            append(&engine, 4, 1000, Urgency::Synced);
            engine.turn();
        }
    }
}

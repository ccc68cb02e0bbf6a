//! What the log on the disk does: a million messages in, out, and found again. Run with `cargo bench -p tidegate-storage`, on the disk
//! that is to be measured (`TIDEGATE_BENCH_FOLDER`, the folder for temporary files where that is not set).

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and may stop"
)]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use tidegate_storage::{Change, Log, LogOptions, Lsn, ReadMax, Storage, StreamId, Urgency};

const MESSAGES: u64 = 1_000_000;
const BATCH: u64 = 100;
const BODY: [u8; 200] = [b'x'; 200];
const QUEUE: StreamId = StreamId(2000);
const DISK_BYTES_MAX: u64 = 4 << 30;

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that stays is in nobody's way.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn main() {
    let parent = std::env::var_os("TIDEGATE_BENCH_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = Scratch(parent.join(format!("tidegate-bench-{}", std::process::id())));
    long_queue(&folder.0.join("long"));
    short_queue(&folder.0.join("short"));
    single(&folder.0.join("single"));
}

fn open(folder: &Path) -> (Log, Receiver<()>) {
    std::fs::create_dir_all(folder).expect("a folder for the bench");
    let (log, _) = Log::open(&LogOptions::new(folder, DISK_BYTES_MAX)).expect("a log");
    let (sender, bell) = channel();
    // The other end is gone when the log is closed.
    log.set_bell(Box::new(move || sender.send(()).unwrap_or_default()));
    (log, bell)
}

fn wait(log: &Log, bell: &Receiver<()>, lsn: Lsn) {
    while log.progress().synced < lsn {
        bell.recv().expect("the log rings");
    }
}

fn report(what: &str, began: Instant, count: u64) {
    let seconds = began.elapsed().as_secs_f64();
    println!("{what:<58} {seconds:>8.2} s {:>12.0} /s", count as f64 / seconds);
}

/// Everything in, everything found again, everything out.
fn long_queue(folder: &Path) {
    let (log, bell) = open(folder);
    let (began, mut change) = (Instant::now(), Change::default());
    for number in 1..=MESSAGES {
        change.append(&[(QUEUE, number, b"")], &BODY);
        if number % BATCH == 0 {
            let lsn = log.append(&mut change, Urgency::Synced);
            wait(&log, &bell, lsn);
        }
    }
    report("append 1 M x 200 B, a sync for each 100", began, MESSAGES);
    print_usage("after appending", &log);
    drop(log);

    let began = Instant::now();
    let (log, bell) = open(folder);
    report("open again", began, MESSAGES);
    let (began, mut next) = (Instant::now(), 1);
    while next <= MESSAGES {
        let max = ReadMax { entries: BATCH as usize, bytes: usize::MAX };
        for entry in log.read(QUEUE, next, max).expect("entries") {
            change.settle(QUEUE, entry.number);
            next = entry.number + 1;
        }
        let lsn = log.append(&mut change, Urgency::Synced);
        wait(&log, &bell, lsn);
    }
    report("read and settle in order, a sync for each 100", began, MESSAGES);
    drop(log);
    let (log, _) = open(folder);
    print_usage("after draining", &log);
}

/// What is written for a message that is settled soon, in a queue beside which 20 000 others wait for long.
fn short_queue(folder: &Path) {
    let (log, bell) = open(folder);
    let (began, mut change) = (Instant::now(), Change::default());
    (1..=20_000).for_each(|number| change.append(&[(StreamId(2001), number, b"")], &BODY));
    log.append(&mut change, Urgency::Lazy);
    for number in 1..=MESSAGES {
        change.append(&[(QUEUE, number, b"")], &BODY);
        if number > 1000 {
            change.settle(QUEUE, number - 1000);
        }
        if number % BATCH == 0 {
            let lsn = log.append(&mut change, Urgency::Synced);
            wait(&log, &bell, lsn);
        }
    }
    report("append and settle behind 20 000 that stay", began, MESSAGES);
    print_usage("at the end", &log);
}

/// One message, one sync.
fn single(folder: &Path) {
    const SINGLE: u64 = 2_000;
    let (log, bell) = open(folder);
    let before = log.usage().syncs;
    let (began, mut change) = (Instant::now(), Change::default());
    for number in 1..=SINGLE {
        change.append(&[(QUEUE, number, b"")], &BODY);
        let lsn = log.append(&mut change, Urgency::Synced);
        wait(&log, &bell, lsn);
    }
    report("append one by one, a sync for each", began, SINGLE);
    println!("{:<58} {:>8.2} syncs each", "", (log.usage().syncs - before) as f64 / SINGLE as f64);
}

fn print_usage(when: &str, log: &Log) {
    let usage = log.usage();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{when:<58} {:>8.0} MiB on the disk, index {:.1} MiB, written {:.2} bytes for each of payload, {} syncs",
        mib(usage.disk_bytes),
        mib(usage.index_bytes as u64),
        usage.written_bytes as f64 / (MESSAGES * BODY.len() as u64) as f64,
        usage.syncs,
    );
}

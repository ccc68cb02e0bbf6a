//! The real binary, killed again and again under load of both protocols and all levels: what it had acknowledged arrives.
//!
//! `CRASH_ROUNDS=100` makes many more rounds, `CRASH_SEED=…` brings the clients and moments of a seed back.

use tidegate_soak::{CrashOptions, crash};

use crate::harness::{Scratch, number_in, seed_in};

/// Kills in each round; one round by default.
const KILLS: u64 = 4;

/// Nothing that was acknowledged is lost, QoS 2 comes once, order is kept, retained messages are the last ones, sessions stand, wills are published when they
/// have to be and not otherwise, and what was settled stays away, whenever SIGKILL comes.
#[test]
fn what_was_acknowledged_survives_being_killed() {
    let scratch = Scratch::new();
    let options = CrashOptions {
        program: env!("CARGO_BIN_EXE_tidegate").into(),
        folder: scratch.folder().join("gateway"),
        seed: seed_in("CRASH_SEED"),
        rounds: number_in("CRASH_ROUNDS").unwrap_or(1) as usize,
        kills: number_in("CRASH_KILLS").unwrap_or(KILLS) as usize,
    };
    println!("CRASH_SEED={}", options.seed);
    let report = crash(&options, |line| println!("{line}")).expect("the gateway starts");
    println!("{report}");
    assert_eq!(report.violation_count(), 0, "{report}");
    let (left_behind, withdrawn) = report.will_counts();
    assert!(left_behind > 0 && withdrawn > 0, "no will was proven: {report}");
    assert!(report.kept_count() > 100, "too little was owed to prove anything: {report}");
}

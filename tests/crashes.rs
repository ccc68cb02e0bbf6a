//! The real binary, killed again and again under load of both protocols and all levels: what it had acknowledged arrives.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_soak::{CrashOptions, crash};

use crate::harness::Scratch;

/// Kills in each round; one round by default.
const KILLS: u64 = 4;

/// `CRASH_ROUNDS=100` for many more, `CRASH_SEED=…` to bring the same clients and moments back.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

/// Nothing that was acknowledged is lost, QoS 2 comes once, order is kept, retained messages are the last ones, sessions stand, wills are published when they
/// have to be and not otherwise, and what was settled stays away, whenever SIGKILL comes.
#[test]
fn what_was_acknowledged_survives_being_killed() {
    let scratch = Scratch::new();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let options = CrashOptions {
        program: env!("CARGO_BIN_EXE_tidegate").into(),
        folder: scratch.folder().join("gateway"),
        seed: number("CRASH_SEED").unwrap_or_else(clock),
        rounds: number("CRASH_ROUNDS").unwrap_or(1) as usize,
        kills: number("CRASH_KILLS").unwrap_or(KILLS) as usize,
    };
    println!("CRASH_SEED={}", options.seed);
    let report = crash(&options, |line| println!("{line}")).expect("the gateway starts");
    println!("{report}");
    assert_eq!(report.violation_count(), 0, "{report}");
    let (left_behind, withdrawn) = report.will_counts();
    assert!(left_behind > 0 && withdrawn > 0, "no will was proven: {report}");
    assert!(report.kept_count() > 100, "too little was owed to prove anything: {report}");
}

//! A few seconds of the soak, so that it keeps working and the gateway keeps passing. `tests/soak` runs for minutes or hours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_soak::{Options, Where, run};

/// Clients that come, go, drop their sockets and take sessions over get what they are owed, in order and as often as its level
/// allows, and leave nothing behind.
#[test]
fn misbehaving_clients_get_what_they_are_owed() {
    let options = Options {
        gateway: Where::Spawn { program: env!("CARGO_BIN_EXE_tidegate").into(), workers: 2 },
        duration: Duration::from_secs(10),
        round: Duration::from_secs(5),
        seed: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64),
        devices: 150,
        services: 10,
        pace: Duration::from_millis(300),
        may_share: false,
    };
    println!("seed {}", options.seed);
    let report = run(&options, |line| println!("{line}")).expect("the gateway starts");
    assert_eq!(report.violation_count(), 0, "{report}");
    assert!(report.kept_count() > 100, "too little was owed to prove anything: {report}");
}

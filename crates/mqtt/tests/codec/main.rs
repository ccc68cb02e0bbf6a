//! The codec against tables of vectors, against itself, against other people's codecs, and against random bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod fields;
mod oracles;
mod random;
mod refusals;
mod round_trip;
mod samples;
mod unwritable;
mod vectors;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use tidegate_mqtt::codec::{DecodeError, PACKET_BYTES_MAX, Packet, Version, decode};

/// The two versions that differ in nearly everything.
const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// And the one that differs from 3.1.1 in little.
const ALL_VERSIONS: [Version; 3] = [Version::V31, Version::V3, Version::V5];

/// The seed of all random tests, printed by each.
const SEED: u64 = 0x7469_6465_6761_7465;

/// Decodes without a limit.
fn decode_all(bytes: &[u8], version: Version) -> Result<Option<(Packet<'_>, usize)>, DecodeError> {
    decode(bytes, version, PACKET_BYTES_MAX)
}

/// Runs a property with values drawn from a seeded source.
fn check<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    println!("seed {SEED:#x}");
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&SEED.to_be_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    if let Err(failure) = runner.run(strategy, test) {
        panic!("{failure}");
    }
}

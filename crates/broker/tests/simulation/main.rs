//! A seeded random life of a whole node, against a simple model of what each client may and must receive.
//!
//! `TIDEGATE_SEED` repeats one run, `TIDEGATE_ROUNDS` says how many there are. Clients come, go, are taken over, subscribe,
//! publish, settle and stop reading in any order; workers read their mail and flush when chance says so; time passes.
//! [`model`] knows nothing of workers: what it says holds wherever a session lives.

// A test may stop on the first surprise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod client;
mod crashing;
mod driver;
mod fates;
mod live_first;
mod model;
mod queues;
mod retained;
mod run;
mod several;
mod sharing;
mod store;
mod windows;

use driver::live;
use tidegate_broker::Limits;

const ROUNDS: u64 = 60;
const STEPS: usize = 800;

fn simulate(test: u64, limits: fn() -> Limits) {
    live(test, ROUNDS, STEPS, |seed| run::Run::new(seed, limits()));
}

/// [MQTT-4.5.0-1] [MQTT-4.3.2-4] [MQTT-4.4.0-1] [MQTT-4.6.0-6] [MQTT-3.1.1/3.1.2-5] [MQTT-3.1.1/4.3.2-2]
/// [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/4.6.0-6]
#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    simulate(1, Limits::default);
}

/// The same with outputs that are full after a few messages.
#[test]
fn nothing_is_lost_doubled_or_out_of_order_with_small_outputs() {
    simulate(2, || Limits { output_bytes: 120, ..Limits::default() });
}

/// The same with a store: chance ends the process or takes the power away, and what was acknowledged is there again.
/// [MQTT-4.4.0-1] [MQTT-3.1.1/4.4.0-1]
#[test]
fn what_was_acknowledged_survives_the_end_of_the_process() {
    live(12, ROUNDS / 3, STEPS, |seed| run::Run::on_storage(seed, Limits::default()));
}

/// Where queues are full, what is missing is counted.
#[test]
fn what_is_missing_is_counted() {
    simulate(3, || Limits { output_bytes: 200, queued_messages: 8, ..Limits::default() });
}

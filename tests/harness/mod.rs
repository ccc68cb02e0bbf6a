//! What every end-to-end test needs: a running gateway, client programs with a deadline, certificates.
//!
//! Nothing here sleeps. A wait is a wait for a line, an answer or an end, and each has the same generous deadline, after
//! which the test fails with everything that the program had printed.

mod certificates;
mod clients;
mod gateway;
mod http;
mod mqtt;
mod program;
mod websocket;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use certificates::{Authority, Identity};
pub(crate) use clients::{
    example, mosquitto_pub, mosquitto_sub, node, python, received, subscribed_mosquitto, tool,
};
pub(crate) use gateway::{Gateway, Scratch, run_tidegate, set_password, tidegate};
pub(crate) use http::{get, metric_sum};
pub(crate) use mqtt::{Answer, MqttClient, Session};
pub(crate) use program::{Ended, Program};
pub(crate) use websocket::{Frame, WebSocket, frame, tcp, upgrade};

/// How long a test waits for one thing before it fails. Generous, because a busy machine is no bug.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The top folder of the project.
pub(crate) fn project_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A number that whoever runs the tests has given in this variable.
pub(crate) fn number_in(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

/// A seed that was given in this variable, or one of the moment.
pub(crate) fn seed_in(variable: &str) -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    number_in(variable).unwrap_or_else(clock)
}

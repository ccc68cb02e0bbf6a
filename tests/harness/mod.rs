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
use std::time::Duration;

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

//! What a run is told on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the gateway is.
#[derive(Debug, Clone)]
pub enum Where {
    /// The program to start, with this many workers.
    Spawn {
        /// The gateway's program.
        program: PathBuf,
        /// Its `workers`.
        workers: usize,
    },
    /// One that runs already. Only what the clients see is audited there, unless its HTTP port is told.
    Running {
        /// Its MQTT listener.
        mqtt: SocketAddr,
        /// Its STOMP listener.
        stomp: Option<SocketAddr>,
        /// Its HTTP port.
        http: Option<SocketAddr>,
    },
}

/// One run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the gateway is.
    pub gateway: Where,
    /// How long clients churn, all rounds together; drains come on top.
    pub duration: Duration,
    /// How long they churn in one round.
    pub round: Duration,
    /// Decides what each client does.
    pub seed: u64,
    /// MQTT clients.
    pub devices: usize,
    /// STOMP clients.
    pub services: usize,
    /// Time between two acts of a client, on average.
    pub pace: Duration,
    /// Whether shared subscriptions are part of it.
    pub may_share: bool,
}

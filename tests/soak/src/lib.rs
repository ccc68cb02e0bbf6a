//! A long run of thousands of misbehaving clients against the real gateway, with an auditor that checks every message.
//!
//! ```text
//! device (MQTT 3.1 to 5.0) ─┐  what it asks for, sends and receives       ┌─ owed: never arrived, out of order, twice
//! device …                  ├──────────────────────────────► Auditor ────┤  phantom: to the wrong client, with wrong bytes
//! service (STOMP)          ─┘                                             └─ gauges and memory that do not come back
//! ```
//!
//! A run is a number of rounds. In each the clients first *churn*: connect, subscribe, publish, drop their sockets, take their own
//! sessions over, leave wills behind. Then they *drain*: everybody whose session survives comes back, and all that is owed has to
//! arrive. Then they *leave*: sessions end, retained messages are cleared, and the gateway has to be as empty as before.
//!
//! [`crash`] is another run beside it: fewer clients, whose sessions all survive, and a gateway that is killed again and again.
//!
//! [`bridge_faults`] is a third one: a gateway with a bridge over a bad link, and what is acknowledged on either side of it.
//!
//! The seed determines what each client does, not how the machine interleaves it: a seed brings back the kind of a failure, and
//! often the failure. Everything runs on one thread beside the gateway's own process.

// A tool for tests may stop on the first surprise, as the tests themselves may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod auditor;
mod bridge;
mod crash;
mod device;
mod gateway;
mod life;
mod options;
mod report;
mod roster;
mod run;
mod service;
mod stamp;
mod violations;
mod wire;
mod world;

pub use bridge::{
    Arrival, BridgeFaults, BridgeReport, Inbox, Letter, Mosquitto, Outbox, Upstream, bridge_faults,
    mosquitto_bridge_faults,
};
pub use crash::{CrashOptions, CrashReport, crash};
pub use gateway::GatewayError;
pub use options::{Options, Where};
pub use report::Report;
pub use run::run;

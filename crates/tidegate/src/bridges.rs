//! Bridges: from the configuration to tasks that forward and receive, and what a reload makes of them.
//!
//! All bridges run on one thread with a runtime of their own, so that what an upstream does never holds up a worker. A bridge whose part of the
//! configuration is another than before is ended and begun again; the others, and all clients, notice nothing.

mod envelopes;
mod files;
mod kafka;
mod kinds;
mod mqtt;
mod password;
mod rabbitmq;
mod rehearsing;
mod roster;
mod running;
mod show;
mod tls;

pub(crate) use kinds::{check_entries, upstream};
pub(crate) use rehearsing::{BridgeCommand, run};
pub(crate) use roster::Roster;
pub(crate) use running::Bridges;
pub(crate) use show::{Show, show};

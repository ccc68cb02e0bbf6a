//! What all clients of a run share: the auditor, the world, where the gateway is, which phase it is, and who has done its part.

use crate::auditor::Auditor;
use crate::world::World;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::sync::watch;

/// What everybody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Come, go, publish, subscribe.
    Churn,
    /// Come back, receive what is owed, and be quiet.
    Drain,
    /// End every session.
    Leave,
}

/// How far a client is with a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On its way.
    Busy,
    /// Everything that it has sent is acknowledged, and it expects nothing more.
    Quiet,
}

/// What was counted of connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Accepted by the gateway.
    pub(crate) opened: Cell<u64>,
    /// Ended with a goodbye, by dropping the socket, by taking the session over.
    pub(crate) ended: [Cell<u64>; 3],
    /// That resumed a session.
    pub(crate) resumed: Cell<u64>,
    /// Open now.
    pub(crate) open: Cell<usize>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Roster {
    /// The auditor.
    pub(crate) auditor: RefCell<Auditor>,
    /// The topics and filters.
    pub(crate) world: Rc<World>,
    /// The MQTT listener.
    pub(crate) mqtt: SocketAddr,
    /// Whether the gateway knows shared subscriptions.
    pub(crate) may_share: bool,
    /// Milliseconds between two acts of a client, on average.
    pub(crate) pace_milliseconds: usize,
    /// The phase.
    pub(crate) phases: watch::Receiver<Phase>,
    /// How far each client is with it.
    pub(crate) standings: Vec<Cell<Standing>>,
    /// Counts.
    pub(crate) connections: Connections,
}

impl Roster {
    /// Whether every client has done its part of the phase.
    pub(crate) fn is_quiet(&self) -> bool {
        self.standings.iter().all(|standing| standing.get() == Standing::Quiet)
    }

    /// How many clients have not.
    pub(crate) fn busy_count(&self) -> usize {
        self.standings.iter().filter(|standing| standing.get() == Standing::Busy).count()
    }

    /// How many connections are open.
    pub(crate) fn open_connections(&self) -> u64 {
        self.connections.open.get() as u64
    }

    /// A connection has been accepted.
    pub(crate) fn count_open(&self) {
        add(&self.connections.opened, 1);
        self.connections.open.set(self.connections.open.get() + 1);
    }

    /// A connection has ended.
    pub(crate) fn count_end(&self, how: usize) {
        add(&self.connections.ended[how], 1);
        self.connections.open.set(self.connections.open.get() - 1);
    }
}

/// Adds to a count.
pub(crate) fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

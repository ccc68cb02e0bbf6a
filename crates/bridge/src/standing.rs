//! How the upstream's connection stands, as the forwards and receives of a bridge see it.
//!
//! ```text
//!             it has answered            the bridge ends it             it has ended
//!  ┌──────┐──────────────────►┌──────┐──────────────────►┌────────┐──────────────────► Gone
//!  │ Gone │                   │ Open │                   │ Ending │
//!  └──────┘◄──────────────────└──────┘                   └────────┘
//!              it is lost
//! ```
//!
//! What was sent counts as lost when the connection is gone, and not before: the last verdicts and settlements of one that ends in order are
//! what saves messages from coming twice.

use crate::upstream::Order;
use tokio::sync::mpsc;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) enum Standing {
    /// There is none, or it has not answered yet.
    #[default]
    Gone,
    /// It takes orders.
    Open(Way),
    /// The one of this number takes no new ones: what it was asked for before is finished.
    Ending(u64),
}

/// The way to a connection. It ends when nobody has it any more.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) orders: mpsc::Sender<Order>,
    /// Another connection has another number.
    pub(crate) number: u64,
}

impl Standing {
    /// The way to it, where it takes orders.
    pub(crate) fn way(&self) -> Option<&Way> {
        match self {
            Standing::Open(way) => Some(way),
            Standing::Gone | Standing::Ending(_) => None,
        }
    }

    /// The number of the connection that may still say something.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Standing::Gone => None,
            Standing::Open(way) => Some(way.number),
            Standing::Ending(number) => Some(*number),
        }
    }
}

//! The HTTP side: health, readiness, metrics, what bridges tell, looking into the store, and the pages that the binary hands in.
//!
//! [`AdminServer::bind`] opens the port, [`Bound::serve`] answers on a thread of its own, so that a slow scrape never delays a
//! worker. It reads the broker's counters and never changes anything. It knows no protocol, opens no client listener, reads no
//! configuration, and its own connections appear in no metric.

mod bridges;
mod families;
mod metrics;
mod pages;
mod process;
mod readiness;
#[cfg(test)]
mod reference;
mod routes;
mod server;
mod store;

pub use bridges::BridgeSource;
pub use pages::Pages;
pub use readiness::{Readiness, Stage};
pub use server::{AdminServer, BindError, Bound, ServeError};

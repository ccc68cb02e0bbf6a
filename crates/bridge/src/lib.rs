//! What every bridge to an upstream shares, whatever the upstream speaks.
//!
//! ```text
//! name       the names of nodes, streams and bridges as they travel
//! id         the stable id of a forwarded message
//! seen_ids   what a receiving gateway has had already
//! ```
//!
//! Nothing in these modules reads a socket, a clock, a disk or a configuration: they are functions of what they are given.

mod id;
mod name;
mod recent;
mod seen_ids;

pub use id::{ID_BYTES_MAX, ID_PROPERTY, IdError, StableId, StreamName};
pub use name::{NAME_BYTES_MAX, NameError};
pub use seen_ids::{SeenIds, SeenIdsError, Sighting};

//! What every bridge to an upstream shares, whatever the upstream speaks.
//!
//! ```text
//! name       the names of nodes, streams and bridges as they travel
//! id         the stable id of a forwarded message
//! seen_ids   what a receiving gateway has had already
//! path       the guard against loops: which nodes a message has been forwarded by
//! ```
//!
//! Nothing in these modules reads a socket, a clock, a disk or a configuration: they are functions of what they are given.

mod id;
mod name;
mod path;
mod recent;
mod seen_ids;

pub use id::{ID_BYTES_MAX, ID_PROPERTY, IdError, StableId, StreamName};
pub use name::{NAME_BYTES_MAX, NameError};
pub use path::{HOPS_MAX_DEFAULT, Loop, LoopGuard, PATH_BYTES_MAX, PATH_PROPERTY, Path, PathError};
pub use seen_ids::{SeenIds, SeenIdsError, Sighting};

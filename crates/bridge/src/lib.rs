//! What every bridge to an upstream shares, whatever the upstream speaks.
//!
//! ```text
//! link       a client that lives in this process: how bridges publish here, and receive what they forward
//! name       the names of nodes, streams and bridges as they travel
//! id         the stable id of a forwarded message
//! seen_ids   what a receiving gateway has had already
//! path       the guard against loops: which nodes a message has been forwarded by
//! ```
//!
//! Nothing but `link` awaits anything, and it only its pipe; nothing reads a socket, a clock, a disk or a configuration: they are functions of what they are given.

mod id;
mod link;
mod name;
mod path;
mod recent;
mod seen_ids;

pub use id::{ID_BYTES_MAX, ID_PROPERTY, IdError, StableId, StreamName};
pub use link::{
    BadFrame, Delivered, Event, Inbox, Link, LinkError, LinkProtocol, LinkRefusal, Matched, Outbox, PROTOCOL,
    Publishing,
};
pub use name::{NAME_BYTES_MAX, NameError};
pub use path::{HOPS_MAX_DEFAULT, Loop, LoopGuard, PATH_BYTES_MAX, PATH_PROPERTY, Path, PathError};
pub use seen_ids::{SeenIds, SeenIdsError, Sighting};

//! What every bridge to an upstream shares, whatever the upstream speaks.
//!
//! ```text
//! link       a client that lives in this process: how bridges publish here, and receive what they forward
//! upstream   the seam to the client library of one kind of upstream
//! name       the names of nodes, streams and bridges as they travel
//! id         the stable id of a forwarded message
//! seen_ids   what a receiving gateway has had already
//! facts      what is known of a message that crosses a bridge
//! template   target fields with variables in them
//! envelope   payloads with what is known of their message around them
//! path       the guard against loops: which nodes a message has been forwarded by
//! ```
//!
//! Names, ids, paths, templates and envelopes are functions of what they are given: they read no clock, and await nothing.

mod envelope;
mod facts;
mod id;
mod link;
mod moment;
mod name;
mod path;
mod recent;
mod seen_ids;
mod template;
mod upstream;

pub use envelope::{CloudEvent, CloudEvents, Envelope, OpenError, Parts, PayloadForm, SealError};
pub use facts::Facts;
pub use id::{ID_BYTES_MAX, ID_PROPERTY, IdError, StableId, StreamName};
pub use link::{
    BadFrame, Delivered, Event, Inbox, Link, LinkError, LinkProtocol, LinkRefusal, Matched, Outbox, PROTOCOL,
    Publishing,
};
pub use name::{NAME_BYTES_MAX, NameError};
pub use path::{HOPS_MAX_DEFAULT, Loop, LoopGuard, PATH_BYTES_MAX, PATH_PROPERTY, Path, PathError};
pub use seen_ids::{SeenIds, SeenIdsError, Sighting};
pub use template::{
    Absence, Form, RenderError, TEMPLATE_BYTES_MAX, Template, TemplateError, TemplateErrorKind, Vocabulary,
    Word,
};
pub use upstream::{Incoming, Line, Lost, Order, Outgoing, Report, Taken, Upstream, Verdict};

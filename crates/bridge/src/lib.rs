//! What every bridge to an upstream shares, whatever the upstream speaks.
//!
//! ```text
//! link       a client that lives in this process: how bridges publish here, and receive what they forward
//! bridge     one bridge: connection, fail-over, and its forwards and receives
//! destination  where received messages go here
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

mod asking;
mod backoff;
mod bridge;
mod dead_letter;
mod destination;
mod envelope;
mod facts;
mod flight;
mod forward;
mod header_names;
mod id;
mod known_ids;
mod lane_status;
mod last_values;
mod lifetime;
mod link;
mod moment;
mod name;
mod outbound;
mod pace;
mod packing;
mod path;
mod patience;
mod place;
mod rate;
mod receive;
mod recent;
mod rehearsal;
mod report;
mod seen_ids;
mod settling;
mod standing;
mod status;
mod system;
mod template;
mod ticket;
mod upstream;

pub use backoff::RetryOptions;
pub use bridge::{Bridge, BridgeOptions};
pub use dead_letter::{BRIDGE_PROPERTY, DETAIL_PROPERTY, REASON_PROPERTY, TOPIC_PROPERTY};
pub use destination::TopicDestination;
pub use envelope::{CloudEvents, Envelope, OpenError, Parts, PayloadForm, SealError};
pub use facts::Facts;
pub use forward::{Connect, ForwardOptions, ForwardOrder, Keep};
pub use header_names::HeaderNames;
pub use id::{ID_BYTES_MAX, ID_PROPERTY, IdError, StableId, StreamName};
pub use lane_status::{LaneStatus, Problem};
pub use lifetime::GatewayClock;
pub use link::{
    BadFrame, Delivered, Event, Inbox, Link, LinkError, LinkProtocol, LinkRefusal, Matched, Outbox, PROTOCOL,
    Publishing,
};
pub use name::{NAME_BYTES_MAX, NameError};
pub use pace::PaceOptions;
pub use path::{HOPS_MAX_DEFAULT, Loop, LoopGuard, PATH_BYTES_MAX, PATH_PROPERTY, Path, PathError};
pub use place::{Place, PlaceError, percent_decoded};
pub use receive::{Destination, Misplaced, ReceiveOptions};
pub use rehearsal::{Rehearsal, Unsent, rehearse};
pub use report::{BridgeReport, BridgeReports, ForwardReport, Now, ReceiveReport, Said, Waiting};
pub use seen_ids::{SeenIds, SeenIdsError, Sighting};
pub use status::{BridgeState, BridgeStatus, ConnectionStatus};
pub use template::{
    Absence, Form, RenderError, TEMPLATE_BYTES_MAX, Template, TemplateError, TemplateErrorKind, Vocabulary,
    Word,
};
pub use ticket::{first_ticket, lane_of, number_of};
pub use upstream::{
    Incoming, Line, Lost, Order, Outgoing, Rendered, Report, Taken, UNSETTLED_MAX, Upstream, Verdict,
};

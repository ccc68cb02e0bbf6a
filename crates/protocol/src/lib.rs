//! The contract between a protocol and the rest of the gateway.
//!
//! A protocol is a [`Protocol`], registered once, that opens a [`Connection`] for each client: a pure state machine without
//! socket, clock, lock or `async`. Bytes, deliveries, late replies and time go in; bytes (into an [`Output`]) and requests (to
//! a [`Broker`]) come out. The same machine runs under the driver, under a test with a fake clock, and under a fuzzer.
//!
//! ```text
//!            handle_bytes ──► ┌────────────┐ ──► Output (bytes for the peer)
//!         handle_delivery ──► │ Connection │
//!            handle_reply ──► │            │ ──► Broker (authenticate, attach, subscribe, publish, settle, ...)
//!           handle_answer ──► │            │
//!          handle_timeout ──► │            │
//!            handle_close ──► └────────────┘ ──► next_timeout
//! ```
//!
//! What differs between protocols (packet layouts, reason codes, acknowledgement modes, quirks) lives behind this contract
//! and nowhere else. ARCHITECTURE.md shows how each method of AMQP 0-9-1 becomes one of these requests.

mod authenticate;
mod close;
mod connection;
mod delivery;
mod output;
mod request;
mod resuming;

pub use authenticate::{
    Authenticate, Authenticated, Authentication, CredentialStamp, Denial, Evidence, Exchange, Identity,
    Proof, Step, Verified,
};
pub use close::{Close, CloseReason, FaultKind};
pub use connection::{Connection, Context, MessageKind, Peer, Protocol, Recognition};
pub use delivery::{Delivery, DeliveryTag, Refused, SubscriptionIds};
pub use output::{Encoded, Layout, Output};
pub use request::{
    Answer, Attach, Attached, Attachment, Backlog, Broker, Consume, ConsumerId, Detach, Outcome, Publish,
    Published, Refusal, Reply, RetainedDelivery, SAVED_BYTES_MAX, SAVED_PIECES_MAX, Saved, SavedState,
    Saving, SessionLimits, Settlement, Subscribe, Subscribed, Will, WillAction,
};
pub use resuming::{Follow, Following, Position, ResumeToken, Start, StateDelivery};

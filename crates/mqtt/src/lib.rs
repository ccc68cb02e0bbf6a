//! MQTT 3.1, 3.1.1 and 5.0: codec and state machine of a server.
//!
//! ```text
//! bytes ──► codec ──► connection ──► connect                          (awaiting CONNECT, attaching)
//!                         ├────────► authenticating                   (awaiting proof: a password that is checked, AUTH)
//!                         │
//!                         └────────► connected ──► inbound            PUBLISH, PUBREL from the client; topic aliases
//!                                        ├───────► outbound           deliveries (sending, sent_aliases); PUBACK, PUBREC, PUBCOMP; packet
//!                                        │                            identifiers; ack_timeout
//!                                        ├───────► subscriptions      SUBSCRIBE, UNSUBSCRIBE
//!                                        └───────► late               acknowledgements that wait for the disk; journal of QoS 2
//! ```
//!
//! [`Mqtt`] is the factory that a listener registers; everything behind it is private. `reason` is the one mapping between the
//! broker's refusals, the ends of connections and reason codes; `wire` writes every answer; `saved` is what a session
//! keeps of the protocol between two connections. [`codec`] is of use to clients as well.
//!
//! Queues, retained messages, wills and sessions are not here: they are the broker's.

pub mod codec;

mod ack_timeout;
mod aliases;
mod authenticating;
mod connect;
mod connected;
mod connection;
mod identifiers;
mod in_flight;
mod inbound;
mod journal;
mod late;
mod options;
mod outbound;
mod protocol;
mod reason;
mod reauthenticating;
mod saved;
mod sending;
mod sent_aliases;
mod subscriptions;
mod wire;

pub use options::{DeniedPublish, MqttOptions, OPTION_NAMES, ReceiveMaximumPolicy};
pub use protocol::Mqtt;

pub(crate) use protocol::PROTOCOL_NAME;

/// The one consumer of an MQTT connection: its session.
pub(crate) const CONSUMER: tidegate_protocol::ConsumerId = tidegate_protocol::ConsumerId(0);

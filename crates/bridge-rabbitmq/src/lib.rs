//! RabbitMQ as the upstream of a bridge, over AMQP 0-9-1 and the client library `lapin`.
//!
//! ```text
//! address     where it is, and as whom
//! options     what a bridge to it is told, and what is wrong with it
//! wire        one connection, TCP or TLS
//! declare     exchanges, queues and bindings
//! outbound    a message of the gateway becomes one of AMQP
//! inbound     and back
//! headers     user properties and headers
//! publisher   one forward: publishes, confirms, returns, channels that close
//! confirms    what is on its way
//! subscriber  one receive: deliveries and acknowledgements
//! refusal     what RabbitMQ says no with
//! upstream    the parts of a connection together
//! ```
//!
//! Reconnecting, failing over, pacing, dead letters and health are the bridge's ([`tidegate_bridge::Bridge`]). The library writes the payload of
//! every message that comes back unroutable to the log under the target [`LOG_TARGET`]: whoever starts the log has to leave that target out.

mod address;
mod confirms;
mod declare;
mod headers;
mod inbound;
mod options;
mod outbound;
mod publisher;
mod refusal;
mod subscriber;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop on the first surprise"
)]
mod test_support;
mod upstream;
mod wire;

pub use address::{AddressError, RabbitMqAddress};
pub use options::{
    Argument, Binding, Declarations, Exchange, Finding, ForwardTarget, Login, Persistence, Queue,
    RabbitMqOptions, ReceiveSource,
};
pub use upstream::RabbitMq;

/// Under which the library logs, payloads among it.
pub const LOG_TARGET: &str = "lapin";

//! STOMP 1.0, 1.1 and 1.2 on the server's side: the codec, the state machine of one client, and the options of its listener.
//!
//! [`Stomp`] is the factory that the gateway registers. Its machines are behind the contract of `tidegate-protocol`: bytes,
//! deliveries and time go in; bytes and requests come out. The codec is public for clients of our own: benchmark, tests, fuzzers.
//! docs/reference/stomp.md has the destinations, the headers of every frame, and what is refused.

pub mod codec;

mod acknowledge;
mod answers;
mod connection;
mod durable;
mod heart_beat;
mod message;
mod names;
mod opening;
mod options;
mod protocol;
mod reason;
mod receipts;
mod resuming;
mod send;
mod standard_headers;
mod subscribe;
mod subscriptions;
#[cfg(test)]
mod tests;
mod transactions;
mod virtual_host;

pub use names::TopicSeparator;
pub use options::StompOptions;
pub use protocol::Stomp;
pub use virtual_host::VirtualHost;

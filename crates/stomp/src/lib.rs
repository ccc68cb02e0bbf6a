//! STOMP 1.0, 1.1 and 1.2 on the server's side: the codec, the state machine of one client, and the options of its listener.
//!
//! [`Stomp`] is the factory that the gateway registers. Its machines are behind the contract of `tidegate-protocol`: bytes,
//! deliveries and time go in; bytes and requests come out. The codec is public for clients of our own: benchmark, tests, fuzzers.
//! Transactions and destinations other than `/topic/…` are refused with an ERROR that says so.
//!
//! # Headers
//!
//! | header | in SEND | in MESSAGE |
//! |---|---|---|
//! | `destination` | `/topic/a/b` | the same |
//! | `qos` | `0`, `1` (default), `2` | the level of the delivery |
//! | `persistent` | `false` is `qos:0` | |
//! | `retain` | `true` keeps the message for later subscribers, an empty body clears it | |
//! | `retained`, `redelivered` | without meaning, not carried | `true` where it is so |
//! | `expiration` | lifetime in milliseconds | what remains of it |
//! | `content-type`, `reply-to` | carried | carried |
//! | `correlation-id` | text, or base64 with `correlation-id-encoding:base64` | the same |
//! | `payload-format` | `text`: the body is UTF-8 text; `binary`: it is not | the same |
//! | `message-id`, `subscription`, `ack` | without meaning, not carried | as the specification says |
//! | any other one | a user property | a user property; `user-` in front where its name is in this table |
//!
//! SUBSCRIBE knows `prefetch-count` (unsettled messages with `ack:client` and `ack:client-individual`) and `retained:false`
//! (no retained messages) beside the standard headers.

pub mod codec;

mod acknowledge;
mod connection;
mod destination;
mod heart_beat;
mod message;
mod opening;
mod options;
mod protocol;
mod reason;
mod send;
mod standard_headers;
mod subscribe;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use options::StompOptions;
pub use protocol::Stomp;

//! The state machine against the specification: each test is a script that reads like one of its sequence diagrams.
//!
//! A client sends packets and receives packets; what the machine asks of the broker is compared as well. No socket, no
//! sleep: the clock moves by hand. The packets are written by the codec, whose own tests prove their bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod acknowledging_late;
mod answers;
mod authenticating;
mod client;
mod connecting;
mod delivering;
mod ending;
mod exchanges;
mod hostile;
mod identifiers;
mod late;
mod packets;
mod pair;
mod payload_format;
mod publishing;
mod receive_maximum;
mod resuming;
mod sent_aliases;
mod subscribing;
mod version_3_1;

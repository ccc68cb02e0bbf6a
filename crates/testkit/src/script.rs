//! Runs one state machine by hand, as a test's script says: the layer-2 tests of every protocol.
//!
//! A [`Harness`] plays the driver for one [`Connection`](tidegate_protocol::Connection) with a clock that only the test
//! moves; a [`RecordingBroker`] writes down every request as a [`Request`] that can be compared, and answers as the test
//! told it to; a [`Parcel`] is a delivery that owns its parts. All of it is the same for every protocol.

mod broker;
mod harness;
mod parcel;
mod request;

pub use broker::{REPLY_PREFIX, RecordingBroker};
pub use harness::{Harness, Transcript, peer, same_at_every_split};
pub use parcel::{Parcel, parcel};
pub use request::{Evidence, Request};

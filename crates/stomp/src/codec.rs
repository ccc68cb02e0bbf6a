//! STOMP frames to and from bytes, in all versions and both directions: what a server reads and writes, and what a client does.
//!
//! [`Decoder`] finds one frame at a time at the front of a stream and lends it out as a [`Frame`] that borrows from the
//! stream; [`encode`] appends a frame to a buffer. What a frame means, and whether it may come now, is not decided here.

mod command;
mod decoder;
mod encoder;
mod escape;
mod frame;
mod head;
mod search;
#[cfg(test)]
mod tests;
mod version;

pub use command::Command;
pub use decoder::{DecodeError, Decoded, Decoder, FrameLimits};
pub use encoder::{EncodeError, encode};
pub use frame::{Frame, Headers};
pub use version::Version;

pub(crate) use encoder::{end_with_body, push_decimal, push_header, push_raw_header};
pub(crate) use escape::push_escaped;

//! The server's side of WebSocket (RFC 6455), as pure state machines: bytes in, bytes and events out.
//!
//! - [`Handshake`] reads the HTTP request of a client and writes the answer, once per connection.
//! - [`Decoder`] takes the frames off a connection: it unmasks in the driver's read buffer, so that the protocol above
//!   sees one contiguous stream of bytes and does not know that there is a WebSocket below.
//! - [`encode_frame_header`], [`encode_pong`] and [`encode_close`] write frames.
//!
//! The framing is our own because every message of a browser passes it. There is no extension (permessage-deflate is
//! declined by not naming it), no client's side, no timer and no socket here.

mod decoder;
mod encode;
mod error;
mod frame;
mod goodbye;
mod handshake;
mod mask;
mod refusal;
mod utf8;

#[cfg(test)]
mod differential;

pub use decoder::{Decoded, Decoder, DecoderOptions, End, PeerClose, TextPolicy};
pub use encode::{FrameHeader, encode_close, encode_frame_header, encode_pong, push_frame_header};
pub use error::WebSocketError;
pub use frame::{CloseCode, Opcode};
pub use goodbye::close_code;
pub use handshake::{Accepted, Handshake, HandshakeOptions};
pub use refusal::{HandshakeError, Refusal};

//! The streaming decoder of a client's frames: it turns the driver's read buffer, in place, into the bytes of the
//! messages within it.
//!
//! ```text
//!             header complete             all of the payload
//! Header ----------------------> Data -----------------------> Header
//!    |  \----------------------> Control --------------------> Header
//!    |                              |  (a close)
//!    |  an error, anywhere          v
//!    \---------------------------> Ended   (whatever else comes is ignored)
//! ```
//!
//! Every byte that is handed in is consumed. What is kept between two calls is a cut header (14 bytes at most), the
//! payload of a cut control frame (125 at most) and a cut character of text (3 at most): never payload, so that an idle
//! connection costs no buffer. The boundaries of messages are dropped: MQTT ([MQTT-6.0.0-2]) and STOMP both bring their
//! own framing.

use super::encode::{encode_close, encode_empty_close};
use super::frame::{HEADER_BYTES_MAX, Header};
use super::mask::unmask;
use super::utf8::Utf8Stream;
use super::{CloseCode, Opcode, WebSocketError};

/// Whether the sub-protocol takes text frames beside binary ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPolicy {
    /// Text ends the connection with 1003: MQTT is binary ([MQTT-6.0.0-1]).
    Refuse,
    /// Text is taken, and is checked to be UTF-8: STOMP.
    Accept,
}

/// What the listener and the sub-protocol ask of the frames.
#[derive(Clone, Copy, Debug)]
pub struct DecoderOptions {
    /// The longest message, over all of its fragments, in bytes; checked when a frame announces itself.
    pub message_bytes_max: u64,
    /// Whether text frames are taken.
    pub text: TextPolicy,
}

/// What one call of [`Decoder::decode_in_place`] found, in the order in which it is to be handled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// So many bytes at the front of the input are now payload of the data frames. They come before `end`.
    pub data_len: usize,
    /// The payload of the most recent ping, to be answered with [`super::encode_pong`]. Earlier ones of the same call
    /// need no answer (RFC 6455 section 5.5.3), so that a flood of pings costs one pong per read.
    pub ping: Option<Vec<u8>>,
    /// The client's frames have ended; nothing that follows is looked at.
    pub end: Option<End>,
}

/// Why the client's frames have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The client sent a close frame.
    Closed(PeerClose),
    /// The client broke the rules.
    Failed(WebSocketError),
}

/// A client's close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerClose {
    /// `None`: the frame was empty.
    pub code: Option<CloseCode>,
    /// Up to 123 bytes of text, meant for a log; a client may have written anything into it.
    pub reason: String,
}

impl End {
    /// Appends the close frame that answers: the client's own code (RFC 6455 section 5.5.1), or that of the error.
    pub fn encode_close(&self, out: &mut Vec<u8>) {
        match self {
            Self::Closed(PeerClose { code: Some(code), .. }) => encode_close(out, *code, ""),
            Self::Closed(PeerClose { code: None, .. }) => encode_empty_close(out),
            Self::Failed(error) => {
                encode_close(out, error.close_code(), &format!("{}: {error}", error.label()));
            }
        }
    }
}

/// One connection's incoming frames.
#[derive(Debug)]
pub struct Decoder {
    options: DecoderOptions,
    state: State,
    /// The masking key of the frame being read, turned to fit its next byte.
    mask: [u8; 4],
    cut_header: CutHeader,
    /// The payload of the control frame being read, unmasked.
    control_payload: Vec<u8>,
    message: Option<Message>,
    has_seen_text: bool,
    text: Utf8Stream,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Data { remaining: u64, is_final: bool },
    Control { opcode: Opcode, remaining: usize },
    Ended,
}

/// The data message that has begun and is not at its end.
#[derive(Clone, Copy, Debug)]
struct Message {
    is_text: bool,
    /// The payloads that its frames have announced so far.
    bytes: u64,
}

impl Decoder {
    /// A decoder for a connection whose handshake has just ended.
    pub fn new(options: DecoderOptions) -> Self {
        Self {
            options,
            state: State::Header,
            mask: [0; 4],
            cut_header: CutHeader::default(),
            control_payload: Vec::new(),
            message: None,
            has_seen_text: false,
            text: Utf8Stream::default(),
        }
    }

    /// Says what is true of text from now on, where that is not known at the beginning.
    ///
    /// # Errors
    ///
    /// Text is refused, and some has come already.
    pub fn settle_text(&mut self, text: TextPolicy) -> Result<(), WebSocketError> {
        self.options.text = text;
        match text == TextPolicy::Refuse && self.has_seen_text {
            true => Err(WebSocketError::TextRefused),
            false => Ok(()),
        }
    }

    /// Whether the client's frames have ended, by a close frame or an error.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Consumes all of `input` and leaves the payload bytes of its data frames, unmasked, at its front.
    ///
    /// The data that stands before a close frame or an error is still delivered: how the network cut the stream makes
    /// no difference to what the protocol above sees.
    pub fn decode_in_place(&mut self, input: &mut [u8]) -> Decoded {
        let mut decoded = Decoded::default();
        let mut position = 0;
        while position < input.len() && !matches!(self.state, State::Ended) {
            let step = match self.state {
                State::Header => self.read_header(input, position, &mut decoded),
                State::Data { remaining, is_final } => {
                    self.read_data(input, position, remaining, is_final, &mut decoded)
                }
                State::Control { opcode, remaining } => {
                    self.read_control(input, position, opcode, remaining, &mut decoded)
                }
                State::Ended => break,
            };
            match step {
                Ok(used) => position += used,
                Err(error) => self.end(End::Failed(error), &mut decoded),
            }
        }
        decoded
    }

    fn end(&mut self, end: End, decoded: &mut Decoded) {
        self.state = State::Ended;
        self.control_payload = Vec::new();
        decoded.end = Some(end);
    }

    fn read_header(
        &mut self,
        input: &[u8],
        position: usize,
        decoded: &mut Decoded,
    ) -> Result<usize, WebSocketError> {
        let input = input.get(position..).unwrap_or_default();
        let (header, used) = self.cut_header.complete(input)?;
        if let Some(header) = header {
            self.begin_frame(header, decoded)?;
        }
        Ok(used)
    }

    fn begin_frame(&mut self, header: Header, decoded: &mut Decoded) -> Result<(), WebSocketError> {
        self.mask = header.mask;
        if header.opcode.is_control() {
            // The header's parser lets at most 125 bytes pass.
            let remaining = usize::try_from(header.payload_len).unwrap_or_default();
            self.control_payload = Vec::with_capacity(remaining);
            self.state = State::Control { opcode: header.opcode, remaining };
            if remaining == 0 {
                return self.finish_control(header.opcode, decoded);
            }
            return Ok(());
        }
        self.join_message(header)?;
        self.state = State::Data { remaining: header.payload_len, is_final: header.is_final };
        if header.payload_len == 0 {
            return self.finish_data(header.is_final);
        }
        Ok(())
    }

    /// Whether the frame fits the message around it (RFC 6455 section 5.4), and the message the limits.
    fn join_message(&mut self, header: Header) -> Result<(), WebSocketError> {
        let is_continuation = header.opcode == Opcode::Continuation;
        let mut message = match (self.message, is_continuation) {
            (Some(message), true) => message,
            (None, false) => Message { is_text: header.opcode == Opcode::Text, bytes: 0 },
            (Some(_), false) => return Err(WebSocketError::MessageInterrupted),
            (None, true) => return Err(WebSocketError::ContinuationWithoutStart),
        };
        self.has_seen_text |= message.is_text;
        if message.is_text && self.options.text == TextPolicy::Refuse {
            return Err(WebSocketError::TextRefused);
        }
        message.bytes = message.bytes.saturating_add(header.payload_len);
        if message.bytes > self.options.message_bytes_max {
            let limit = self.options.message_bytes_max;
            return Err(WebSocketError::MessageTooBig { bytes: message.bytes, limit });
        }
        self.message = Some(message);
        Ok(())
    }

    fn read_data(
        &mut self,
        input: &mut [u8],
        position: usize,
        remaining: u64,
        is_final: bool,
        decoded: &mut Decoded,
    ) -> Result<usize, WebSocketError> {
        let available = input.len() - position;
        let len = usize::try_from(remaining).map_or(available, |remaining| remaining.min(available));
        let target = decoded.data_len;
        if target != position {
            input.copy_within(position..position + len, target);
        }
        let payload = input.get_mut(target..target + len).unwrap_or_default();
        self.mask = unmask(payload, self.mask);
        if self.message.is_some_and(|message| message.is_text) {
            self.text.push(payload).map_err(|_| WebSocketError::TextNotUtf8)?;
        }
        decoded.data_len += len;
        let remaining = remaining - len as u64;
        self.state = State::Data { remaining, is_final };
        if remaining == 0 {
            self.finish_data(is_final)?;
        }
        Ok(len)
    }

    fn finish_data(&mut self, is_final: bool) -> Result<(), WebSocketError> {
        self.state = State::Header;
        if is_final && self.message.take().is_some_and(|message| message.is_text) {
            self.text.finish().map_err(|_| WebSocketError::TextNotUtf8)?;
        }
        Ok(())
    }

    fn read_control(
        &mut self,
        input: &mut [u8],
        position: usize,
        opcode: Opcode,
        remaining: usize,
        decoded: &mut Decoded,
    ) -> Result<usize, WebSocketError> {
        let len = remaining.min(input.len() - position);
        let payload = input.get_mut(position..position + len).unwrap_or_default();
        self.mask = unmask(payload, self.mask);
        self.control_payload.extend_from_slice(payload);
        self.state = State::Control { opcode, remaining: remaining - len };
        if remaining == len {
            self.finish_control(opcode, decoded)?;
        }
        Ok(len)
    }

    fn finish_control(&mut self, opcode: Opcode, decoded: &mut Decoded) -> Result<(), WebSocketError> {
        self.state = State::Header;
        let payload = std::mem::take(&mut self.control_payload);
        match opcode {
            Opcode::Ping => decoded.ping = Some(payload),
            Opcode::Close => {
                let close = parse_close(&payload)?;
                self.end(End::Closed(close), decoded);
            }
            // A pong that nobody asked for is no error (RFC 6455 section 5.5.3), and the gateway never asks.
            _ => {}
        }
        Ok(())
    }
}

/// RFC 6455 section 5.5.1: nothing, or a code and a reason in UTF-8.
fn parse_close(payload: &[u8]) -> Result<PeerClose, WebSocketError> {
    if payload.is_empty() {
        return Ok(PeerClose { code: None, reason: String::new() });
    }
    let (code, reason) = payload.split_first_chunk().ok_or(WebSocketError::CloseTooShort)?;
    let code = u16::from_be_bytes(*code);
    let code = CloseCode::from_wire(code).ok_or(WebSocketError::CloseCodeInvalid { code })?;
    let reason = std::str::from_utf8(reason).map_err(|_| WebSocketError::CloseReasonNotUtf8)?;
    Ok(PeerClose { code: Some(code), reason: reason.to_owned() })
}

/// The first bytes of a header whose rest has not come yet.
#[derive(Debug, Default)]
struct CutHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl CutHeader {
    /// Reads a header from what is kept and `input`; says how many bytes of `input` it took. Keeps what is incomplete.
    fn complete(&mut self, input: &[u8]) -> Result<(Option<Header>, usize), WebSocketError> {
        if self.len == 0
            && let Some((header, used)) = Header::parse(input)?
        {
            return Ok((Some(header), used));
        }
        let kept = self.len;
        self.extend(input);
        match Header::parse(self.bytes.get(..self.len).unwrap_or_default())? {
            // What was kept is incomplete by itself, so the header is always longer than that.
            Some((header, used)) => {
                self.len = 0;
                Ok((Some(header), used.saturating_sub(kept)))
            }
            // Fourteen bytes are always a whole header, so here all of the input has been kept.
            None => Ok((None, input.len())),
        }
    }

    fn extend(&mut self, input: &[u8]) {
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (target, source) in free.iter_mut().zip(input) {
            *target = *source;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests;

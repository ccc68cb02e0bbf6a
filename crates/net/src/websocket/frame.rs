//! The wire form of a client's frame header (RFC 6455 section 5.2): flags, opcode, length, masking key.
//!
//! What a header says by itself is checked here. Whether the frame fits the message around it is the decoder's to judge.

use super::WebSocketError;

/// The longest header: two bytes, a 64-bit length and a masking key.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455 section 5.5).
pub(super) const CONTROL_PAYLOAD_BYTES_MAX: u64 = 125;

/// The opcodes that RFC 6455 section 5.2 defines; the discriminant is the value on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message that has begun.
    Continuation = 0x0,
    /// The first frame of a message of UTF-8 text.
    Text = 0x1,
    /// The first frame of a message of any bytes.
    Binary = 0x2,
    /// The last frame that its sender sends.
    Close = 0x8,
    /// A question that a pong with the same payload answers.
    Ping = 0x9,
    /// The answer to a ping; unasked ones are allowed and mean nothing.
    Pong = 0xA,
}

impl Opcode {
    fn from_wire(value: u8) -> Option<Self> {
        Some(match value {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Control frames stand alone: short, never fragmented, allowed between the fragments of a message.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A status code of a close frame (RFC 6455 section 7.4 and the IANA registry that continues it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server shuts down.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the WebSocket protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of message that the protocol above does not take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message that is against the gateway's policy, when nothing more exact fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message longer than the listener's limit.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1011: the gateway failed, not the peer.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1013: the gateway cannot serve the peer now (the registry's "Try Again Later").
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// Takes the codes that may stand in a close frame: 1000-1003, 1007-1014 and 3000-4999. The others are reserved,
    /// or only ever stand for "no code" within a program (1005, 1006, 1015).
    pub fn from_wire(value: u16) -> Option<Self> {
        matches!(value, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(value))
    }

    /// The number as it stands in the close frame.
    pub fn value(self) -> u16 {
        self.0
    }
}

/// A client's frame header: complete, and right by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) is_final: bool,
    pub(super) payload_len: u64,
    pub(super) mask: [u8; 4],
}

impl Header {
    /// Reads a header from the front of `bytes`; also says how many bytes it took. `None`: it is not complete yet.
    ///
    /// The checks follow the order of the bytes, so that a header which comes in pieces fails with the same error as
    /// one that comes whole, only sooner.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, WebSocketError> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        let (opcode, is_final) = parse_first(*first)?;
        let [second, rest @ ..] = rest else { return Ok(None) };
        let short_len = parse_second(opcode, *second)?;
        let Some((payload_len, rest)) = parse_length(short_len, rest)? else { return Ok(None) };
        let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let header = Self { opcode, is_final, payload_len, mask: *mask };
        Ok(Some((header, bytes.len() - rest.len())))
    }
}

fn parse_first(first: u8) -> Result<(Opcode, bool), WebSocketError> {
    // No extension is ever negotiated, so all three bits are zero (RFC 6455 section 5.2).
    if first & 0x70 != 0 {
        return Err(WebSocketError::ReservedBits);
    }
    let opcode =
        Opcode::from_wire(first & 0x0F).ok_or(WebSocketError::UnknownOpcode { opcode: first & 0x0F })?;
    let is_final = first & 0x80 != 0;
    if opcode.is_control() && !is_final {
        return Err(WebSocketError::ControlFragmented);
    }
    Ok((opcode, is_final))
}

fn parse_second(opcode: Opcode, second: u8) -> Result<u8, WebSocketError> {
    // A server MUST close the connection upon receiving a frame that is not masked (RFC 6455 section 5.1).
    if second & 0x80 == 0 {
        return Err(WebSocketError::NotMasked);
    }
    let short_len = second & 0x7F;
    if opcode.is_control() && u64::from(short_len) > CONTROL_PAYLOAD_BYTES_MAX {
        return Err(WebSocketError::ControlTooLong);
    }
    Ok(short_len)
}

/// "The minimal number of bytes MUST be used to encode the length" (RFC 6455 section 5.2).
fn parse_length(short_len: u8, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, WebSocketError> {
    let (payload_len, least, rest) = match short_len {
        126 => {
            let Some((long, rest)) = bytes.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*long)), 126, rest)
        }
        127 => {
            let Some((long, rest)) = bytes.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*long), 1 << 16, rest)
        }
        short => (u64::from(short), 0, bytes),
    };
    if payload_len >> 63 != 0 {
        return Err(WebSocketError::LengthTopBit);
    }
    if payload_len < least {
        return Err(WebSocketError::LengthNotMinimal { payload_len });
    }
    Ok(Some((payload_len, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn header(opcode: Opcode, payload_len: u64) -> Header {
        Header { opcode, is_final: true, payload_len, mask: MASK }
    }

    fn with_mask(start: &[u8]) -> Vec<u8> {
        [start, &MASK].concat()
    }

    /// RFC 6455 section 5.2: the three encodings of the length, at their edges.
    #[test]
    fn length_is_read_in_its_three_encodings() {
        let vectors: [(&[u8], u64); 7] = [
            (&[0x82, 0x80], 0),
            (&[0x82, 0x81], 1),
            (&[0x82, 0xFD], 125),
            (&[0x82, 0xFE, 0, 126], 126),
            (&[0x82, 0xFE, 0xFF, 0xFF], 65_535),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
            (&[0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], i64::MAX as u64),
        ];
        for (start, payload_len) in vectors {
            let bytes = with_mask(start);
            let expected = Some((header(Opcode::Binary, payload_len), bytes.len()));
            assert_eq!(Header::parse(&bytes), Ok(expected), "{start:?}");
        }
    }

    /// RFC 6455 section 5.2: a header that is cut anywhere is incomplete, not wrong.
    #[test]
    fn cut_header_asks_for_more() {
        let bytes = with_mask(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(bytes.len(), HEADER_BYTES_MAX);
        for cut in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..cut]), Ok(None), "{cut}");
        }
    }

    /// RFC 6455 sections 5.1, 5.2 and 5.5: what no header may say.
    #[test]
    fn wrong_header_is_named() {
        let vectors: [(&[u8], WebSocketError); 11] = [
            (&[0xC2], WebSocketError::ReservedBits),
            (&[0xA2], WebSocketError::ReservedBits),
            (&[0x92], WebSocketError::ReservedBits),
            (&[0x83], WebSocketError::UnknownOpcode { opcode: 3 }),
            (&[0x8F], WebSocketError::UnknownOpcode { opcode: 15 }),
            (&[0x09], WebSocketError::ControlFragmented),
            (&[0x82, 0x05], WebSocketError::NotMasked),
            (&[0x89, 0xFE], WebSocketError::ControlTooLong),
            (&[0x82, 0xFE, 0, 125], WebSocketError::LengthNotMinimal { payload_len: 125 }),
            (
                &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
                WebSocketError::LengthNotMinimal { payload_len: 65_535 },
            ),
            (&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0], WebSocketError::LengthTopBit),
        ];
        for (bytes, error) in vectors {
            assert_eq!(Header::parse(bytes), Err(error), "{bytes:?}");
        }
    }

    /// RFC 6455 section 7.4: codes that are reserved or undefined never stand in a close frame.
    #[test]
    fn close_codes_are_those_of_the_registry() {
        for valid in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(CloseCode::from_wire(valid).map(CloseCode::value), Some(valid));
        }
        for invalid in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert_eq!(CloseCode::from_wire(invalid), None, "{invalid}");
        }
    }
}

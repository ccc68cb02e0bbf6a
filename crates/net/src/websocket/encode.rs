//! Frames from the server: never masked (RFC 6455 section 5.1), never fragmented.

use super::{CloseCode, Opcode};

/// The longest reason in a close frame: 125 bytes less the two of the code.
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// A server's frame header: 2, 4 or 10 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    bytes: [u8; 10],
    len: u8,
}

impl FrameHeader {
    /// The bytes to write in front of the payload.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// The header of a frame that is a whole message (FIN is set) of `payload_len` bytes.
pub fn encode_frame_header(opcode: Opcode, payload_len: usize) -> FrameHeader {
    let first = 0x80 | opcode as u8;
    let mut bytes = [0; 10];
    let len = if let Some(short) = u8::try_from(payload_len).ok().filter(|len| *len < 126) {
        fill(&mut bytes, &[first, short])
    } else if let Ok(long) = u16::try_from(payload_len) {
        let [a, b] = long.to_be_bytes();
        fill(&mut bytes, &[first, 126, a, b])
    } else {
        let [a, b, c, d, e, f, g, h] = (payload_len as u64).to_be_bytes();
        fill(&mut bytes, &[first, 127, a, b, c, d, e, f, g, h])
    };
    FrameHeader { bytes, len }
}

fn fill<const N: usize>(bytes: &mut [u8; 10], header: &[u8; N]) -> u8 {
    for (target, source) in bytes.iter_mut().zip(header) {
        *target = *source;
    }
    N as u8
}

/// Appends [`encode_frame_header`] to `out`; the payload follows.
pub fn push_frame_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    out.extend_from_slice(encode_frame_header(opcode, payload_len).as_bytes());
}

/// Appends the answer to a ping: a pong with the same payload (RFC 6455 section 5.5.3).
///
/// A decoder yields at most 125 bytes; what is longer is cut, because no control frame may be.
pub fn encode_pong(out: &mut Vec<u8>, payload: &[u8]) {
    let payload = payload.get(..125).unwrap_or(payload);
    push_frame_header(out, Opcode::Pong, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close frame. A reason of more than 123 bytes is cut at a character.
pub fn encode_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let reason = reason.get(..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)).unwrap_or_default();
    push_frame_header(out, Opcode::Close, 2 + reason.len());
    out.extend_from_slice(&code.value().to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends a close frame without code, the answer to a close frame without code.
pub(super) fn encode_empty_close(out: &mut Vec<u8>) {
    push_frame_header(out, Opcode::Close, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 section 5.2: the length takes the fewest bytes, and the mask bit is clear.
    #[test]
    fn header_takes_the_shortest_form() {
        let vectors: [(usize, &[u8]); 6] = [
            (0, &[0x82, 0]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xFF, 0xFF]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (1 << 32, &[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]),
        ];
        for (payload_len, bytes) in vectors {
            assert_eq!(encode_frame_header(Opcode::Binary, payload_len).as_bytes(), bytes);
        }
    }

    /// RFC 6455 section 5.5.1: code in network order, then the reason.
    #[test]
    fn close_frame_carries_code_and_reason() {
        let mut out = Vec::new();
        encode_close(&mut out, CloseCode::PROTOCOL_ERROR, "no");
        assert_eq!(out, [0x88, 4, 0x03, 0xEA, b'n', b'o']);
    }

    /// RFC 6455 section 5.5: a control frame has 125 bytes at most, and the reason stays UTF-8.
    #[test]
    fn long_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        encode_close(&mut out, CloseCode::NORMAL, &"ä".repeat(100));
        assert_eq!(out[1], 124);
        assert_eq!(std::str::from_utf8(&out[4..]), Ok("ä".repeat(61).as_str()));
    }

    /// RFC 6455 section 5.5.3.
    #[test]
    fn pong_repeats_the_payload() {
        let mut out = Vec::new();
        encode_pong(&mut out, b"abc");
        assert_eq!(out, [0x8A, 3, b'a', b'b', b'c']);
    }
}

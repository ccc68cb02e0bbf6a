//! The client's side of WebSocket (RFC 6455), as far as a load generator needs it: a handshake, a frame around each message, and the
//! payload of what comes back. No TLS, no extensions, no closing handshake.

use super::failure::{Failure, harmless};
use super::side::Side;

/// The key of the handshake and the answer to it, both from RFC 6455 section 1.3. Keys keep caches from mistaking an old answer for a new
/// one; there is none between.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The largest answer to the handshake.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// A binary message in one frame, and a pong (RFC 6455 section 5.2).
const BINARY: u8 = 0x82;
const PONG: u8 = 0x8A;
/// The bit that says that a mask follows, and the mask of a client that has nothing to hide: it changes no byte.
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0; 4];

/// One connection's incoming side.
pub(crate) struct WebSocket {
    state: State,
    /// What has come of a head, a header or a control frame whose end has not.
    cut: Vec<u8>,
}

enum State {
    /// The answer to the handshake is to come.
    Handshake,
    /// A frame's header is to come.
    Header,
    /// So much of a message is to come.
    Data(u64),
}

/// A frame's header, and how many bytes it has.
struct Header {
    opcode: u8,
    payload_bytes: u64,
    bytes: usize,
}

/// Appends the request for a connection.
pub(super) fn push_handshake(output: &mut Vec<u8>, side: &Side) {
    let (target, subprotocol) = (&side.target, side.protocol.subprotocol());
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {target}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    );
    output.extend_from_slice(request.as_bytes());
}

/// Appends a message in one frame.
pub(super) fn push_frame(output: &mut Vec<u8>, message: &[u8]) {
    output.push(BINARY);
    match message.len() {
        length @ 0..=125 => output.push(MASKED | length as u8),
        length @ 126..=0xFFFF => {
            output.push(MASKED | 126);
            output.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            output.push(MASKED | 127);
            output.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    output.extend_from_slice(&MASK);
    output.extend_from_slice(message);
}

impl WebSocket {
    /// A connection whose handshake has been sent.
    pub(super) fn new() -> WebSocket {
        WebSocket { state: State::Handshake, cut: Vec::new() }
    }

    /// Whether messages may be sent.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Handshake)
    }

    /// Takes all of `input`: the payload of messages goes to `data`, answers to `output`.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        data: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut joined = std::mem::take(&mut self.cut);
        let mut rest = match joined.is_empty() {
            true => input,
            false => {
                joined.extend_from_slice(input);
                &*joined
            }
        };
        while let Some(used) = self.step(rest, data, output)? {
            rest = rest.get(used..).unwrap_or_default();
        }
        self.cut = rest.to_vec();
        Ok(())
    }

    /// One step: how many bytes it took, or nothing where more have to come.
    fn step(
        &mut self,
        input: &[u8],
        data: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<Option<usize>, Failure> {
        match self.state {
            State::Handshake => self.read_head(input),
            State::Header => self.read_frame(input, output),
            State::Data(0) => {
                self.state = State::Header;
                Ok(Some(0))
            }
            State::Data(_) if input.is_empty() => Ok(None),
            State::Data(left) => {
                let used = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                data.extend_from_slice(input.get(..used).unwrap_or_default());
                self.state = State::Data(left - used as u64);
                Ok(Some(used))
            }
        }
    }

    fn read_head(&mut self, input: &[u8]) -> Result<Option<usize>, Failure> {
        let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return match input.len() > HEAD_BYTES_MAX {
                true => Err(Failure::NoWebSocket("an answer without an end".to_owned())),
                false => Ok(None),
            };
        };
        let head = String::from_utf8_lossy(input.get(..end).unwrap_or_default());
        let status = head.lines().next().unwrap_or_default();
        if !status.starts_with("HTTP/1.1 101") || !head.contains(ACCEPT) {
            return Err(Failure::NoWebSocket(harmless(status)));
        }
        self.state = State::Header;
        Ok(Some(end + 4))
    }

    fn read_frame(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Option<usize>, Failure> {
        let Some(header) = Header::read(input) else { return Ok(None) };
        if header.opcode < 8 {
            self.state = State::Data(header.payload_bytes);
            return Ok(Some(header.bytes));
        }
        // A control frame has 125 bytes at most (RFC 6455 section 5.5).
        let length = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX).min(125);
        let Some(payload) = input.get(header.bytes..header.bytes + length) else { return Ok(None) };
        match header.opcode {
            8 => {
                let words = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                Err(Failure::Refused { request: "to go on", reason: harmless(&words) })
            }
            9 => {
                output.extend_from_slice(&[PONG, MASKED | length as u8]);
                output.extend_from_slice(&MASK);
                output.extend_from_slice(payload);
                Ok(Some(header.bytes + length))
            }
            _ => Ok(Some(header.bytes + length)),
        }
    }
}

impl Header {
    /// The header at the front; nothing where it is not complete. A server's frames have no mask.
    fn read(input: &[u8]) -> Option<Header> {
        let opcode = input.first()? & 0x0F;
        let (payload_bytes, bytes) = match input.get(1)? & 0x7F {
            126 => (u64::from(u16::from_be_bytes(*input.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*input.get(2..)?.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        Some(Header { opcode, payload_bytes, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str =
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn stream() -> Vec<u8> {
        let mut bytes = ANSWER.as_bytes().to_vec();
        bytes.extend_from_slice(&[0x02, 2, b'a', b'b', 0x89, 1, b'!', 0x80, 1, b'c', 0x82, 0]);
        bytes.extend_from_slice(&[0x82, 126, 1, 0]);
        bytes.extend_from_slice(&[b'd'; 256]);
        bytes.extend_from_slice(&[0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'e']);
        bytes
    }

    #[test]
    fn payload_is_found_at_every_split_and_pings_are_answered() {
        let (bytes, expected) = (stream(), [b"abc".as_slice(), &[b'd'; 256], b"e"].concat());
        for at in 0..=bytes.len() {
            let (mut socket, mut data, mut output) = (WebSocket::new(), Vec::new(), Vec::new());
            for piece in [&bytes[..at], &bytes[at..]] {
                socket.read(piece, &mut data, &mut output).unwrap();
            }
            assert_eq!((&data, socket.is_open()), (&expected, true), "split at {at}");
            assert_eq!(output, [PONG, MASKED | 1, 0, 0, 0, 0, b'!'], "split at {at}");
        }
    }

    #[test]
    fn a_server_that_refuses_or_closes_is_named() {
        let read = |bytes: &[u8]| WebSocket::new().read(bytes, &mut Vec::new(), &mut Vec::new());
        let refused = read(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().to_string();
        assert!(refused.contains("404 Not Found"), "{refused}");
        let closed = [ANSWER.as_bytes(), &[0x88, 5, 3, 0xF0, b'b', b'y', b'e']].concat();
        assert!(read(&closed).unwrap_err().to_string().contains("bye"));
        assert!(read(&[b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn the_length_of_a_frame_takes_the_shortest_form() {
        for (length, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut output = Vec::new();
            push_frame(&mut output, &vec![7; length]);
            assert_eq!(output.len(), header + MASK.len() + length);
            let read = Header::read(&output).unwrap();
            assert_eq!((read.payload_bytes, read.bytes, read.opcode), (length as u64, header, 2));
        }
    }
}

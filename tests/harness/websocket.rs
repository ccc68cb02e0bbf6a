//! A WebSocket client byte by byte: it sends what no library would, and sees every frame.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::DEADLINE;

/// A WebSocket whose handshake is over.
pub(crate) struct WebSocket<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
    /// The sub-protocol that the gateway named.
    pub(crate) subprotocol: Option<String>,
}

/// A frame of the gateway.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    /// The socket ended.
    End,
}

/// A plain connection to this port, with the deadline of all tests.
pub(crate) fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the gateway listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline is set");
    stream.set_nodelay(true).expect("an option is set");
    stream
}

/// The request of a handshake that offers these sub-protocols.
pub(crate) fn upgrade(subprotocols: &[&str]) -> String {
    let offer = match subprotocols {
        [] => String::new(),
        names => format!("Sec-WebSocket-Protocol: {}\r\n", names.join(", ")),
    };
    format!(
        "GET /any HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    )
}

/// A frame as a client sends it, masked with zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u8::try_from(payload.len()).ok().filter(|len| *len < 126) {
        Some(len) => bytes.push(0x80 | len),
        None => {
            bytes.push(0x80 | 126);
            let len = u16::try_from(payload.len()).expect("tests send short frames");
            bytes.extend_from_slice(&len.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

impl WebSocket {
    /// Shakes hands with this port.
    pub(crate) fn connect(port: u16, subprotocols: &[&str]) -> WebSocket {
        let mut stream = tcp(port);
        stream.write_all(upgrade(subprotocols).as_bytes()).expect("the gateway reads");
        WebSocket::after_request(stream)
    }
}

impl<S: Read + Write> WebSocket<S> {
    /// Reads the answer to a request that was sent.
    pub(crate) fn after_request(mut stream: S) -> WebSocket<S> {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        let answer = String::from_utf8(answer).expect("an answer is text");
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let named = answer.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
        WebSocket { stream, unread: Vec::new(), subprotocol: named.map(str::to_owned) }
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        // A gateway that has closed may reset the connection.
        let _ = self.stream.write_all(bytes);
    }

    /// Sends one whole text message.
    pub(crate) fn send_text(&mut self, text: impl AsRef<[u8]>) {
        self.send_raw(&frame(0x81, text.as_ref()));
    }

    /// Sends one whole binary message.
    pub(crate) fn send_binary(&mut self, bytes: &[u8]) {
        self.send_raw(&frame(0x82, bytes));
    }

    /// The next frame of the gateway.
    pub(crate) fn next(&mut self) -> Frame {
        let Some(head) = self.take(2) else { return Frame::End };
        let (first, second) = (head[0], head[1]);
        assert_eq!((first & 0xF0, second & 0x80), (0x80, 0), "whole messages, and no mask");
        let len = match second {
            126 => {
                let long = self.take(2).expect("a length");
                usize::from(u16::from_be_bytes([long[0], long[1]]))
            }
            127 => {
                let long = self.take(8).expect("a length");
                long.iter().fold(0, |len, byte| len << 8 | usize::from(*byte))
            }
            short => usize::from(short),
        };
        let payload = self.take(len).expect("a payload");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text is UTF-8");
        match first & 0x0F {
            1 => Frame::Text(text(&payload)),
            2 => Frame::Binary(payload),
            8 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]]), text(&payload[2..])),
            10 => Frame::Pong(payload),
            other => panic!("the opcode {other}"),
        }
    }

    /// The next frame, which has to be text.
    pub(crate) fn next_text(&mut self) -> String {
        match self.next() {
            Frame::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    /// The close frame, and nothing in front of it; it is answered, and the socket ends.
    pub(crate) fn expect_close(&mut self) -> (u16, String) {
        match self.next() {
            Frame::Close(code, reason) => {
                self.send_raw(&frame(0x88, &code.to_be_bytes()));
                assert_eq!(self.next(), Frame::End);
                (code, reason)
            }
            other => panic!("no close frame: {other:?}"),
        }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut piece = [0; 4096];
        while self.unread.len() < count {
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(read) => self.unread.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
        Some(self.unread.drain(..count).collect())
    }
}

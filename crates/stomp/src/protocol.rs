//! The factory: what the gateway registers, and how the first bytes of a connection tell STOMP from its neighbours.

use crate::StompOptions;
use crate::connection::StompConnection;
use std::sync::Arc;
use std::time::Instant;
use tidegate_protocol::{Connection, MessageKind, Peer, Protocol, Recognition};

/// By how many bytes a recognition has to be decided, as the contract says.
const RECOGNITION_BYTES_MAX: usize = 16;

/// STOMP with the options of one listener. Which version a client speaks it says in CONNECT, over whatever WebSocket sub-protocol.
#[derive(Debug, Clone)]
pub struct Stomp {
    options: Arc<StompOptions>,
}

impl Stomp {
    /// The protocol with options that [`StompOptions::validate`] found nothing wrong with.
    pub fn new(options: StompOptions) -> Stomp {
        Stomp { options: Arc::new(options) }
    }
}

impl Protocol for Stomp {
    fn name(&self) -> &'static str {
        "stomp"
    }

    /// The line end behind the word tells CONNECT from HTTP's, which has a space there. Line ends in front are heart-beats,
    /// and no other protocol here begins with one.
    fn recognise(&self, first: &[u8]) -> Recognition {
        let line_ends = first.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let word = first.get(line_ends..).unwrap_or_default();
        let openings = [b"CONNECT\n", b"CONNECT\r", b"STOMP\n".as_slice(), b"STOMP\r"];
        if openings.iter().any(|opening| word.starts_with(opening)) {
            return Recognition::Yes;
        }
        match openings.iter().any(|opening| opening.starts_with(word)) {
            true if first.len() >= RECOGNITION_BYTES_MAX => Recognition::Yes,
            true => Recognition::NeedMore,
            false => Recognition::No,
        }
    }

    fn websocket_subprotocols(&self) -> &'static [&'static str] {
        &["v12.stomp", "v11.stomp", "v10.stomp"]
    }

    fn message_kind(&self) -> MessageKind {
        MessageKind::FramePerMessage
    }

    fn open(&self, peer: &Peer, _now: Instant) -> Box<dyn Connection> {
        Box::new(StompConnection::new(Arc::clone(&self.options), peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [STOMP-1.2/CONNECT or STOMP Frame]
    #[test]
    fn first_bytes_are_recognised() {
        let stomp = Stomp::new(StompOptions::default());
        let cases: [(&[u8], Recognition); 14] = [
            (b"C", Recognition::NeedMore),
            (b"CONNECT", Recognition::NeedMore),
            (b"CONNECT\n", Recognition::Yes),
            (b"CONNECT\r\naccept-version:1.2", Recognition::Yes),
            (b"STOMP\n", Recognition::Yes),
            (b"\r\n\nSTOMP\r", Recognition::Yes),
            (b"\n", Recognition::NeedMore),
            (b"\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n", Recognition::Yes),
            (b"\n\n\n\n\n\n\n\n\n\n\n\n\nSTO", Recognition::Yes),
            (b"CONNECT example:443 HTTP/1.1", Recognition::No),
            (b"CONNECTED\n", Recognition::No),
            (b"SEND\n", Recognition::No),
            (b"GET / HTTP/1.1", Recognition::No),
            (b"\x10\x0c\0\x04MQTT", Recognition::No),
        ];
        for (bytes, expected) in cases {
            assert_eq!(stomp.recognise(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}

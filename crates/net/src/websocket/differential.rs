//! Our framing against an independent implementation: what its client writes is read here, and the other way round.

use std::io::{self, Cursor, Read, Write};

use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocket};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::*;

const ANY: DecoderOptions = DecoderOptions { message_bytes_max: 1 << 20, text: TextPolicy::Accept };

/// A connection in memory: what is written to it is kept beside what it gives to read.
#[derive(Default)]
struct Wire {
    incoming: Cursor<Vec<u8>>,
    outgoing: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn fragment(opcode: Data, is_final: bool, payload: &str) -> Message {
    Message::Frame(Frame::message(payload.to_owned().into_bytes(), OpCode::Data(opcode), is_final))
}

/// Payload lengths around every edge of the length's encoding.
const LENGTHS: [usize; 12] = [0, 1, 7, 8, 9, 125, 126, 127, 1000, 65_535, 65_536, 200_000];

/// RFC 6455 section 5: the frames of another implementation's client, in reads of several sizes.
#[test]
fn frames_of_another_client_are_read() {
    let payload: Vec<u8> = (0..200_000u32).map(|n| (n * 31 / 3) as u8).collect();
    let mut client = WebSocket::from_raw_socket(Wire::default(), Role::Client, None);
    let mut expected = Vec::new();
    for len in LENGTHS {
        client.send(Message::Binary(Bytes::copy_from_slice(&payload[..len]))).unwrap();
        client.send(Message::Text("grün€𐍈".repeat(len / 100).into())).unwrap();
        client.send(fragment(Data::Text, false, "ab")).unwrap();
        client.send(Message::Ping(Bytes::copy_from_slice(&payload[..len.min(125)]))).unwrap();
        client.send(fragment(Data::Continue, false, "")).unwrap();
        client.send(fragment(Data::Continue, true, "cd")).unwrap();
        expected.extend_from_slice(&payload[..len]);
        expected.extend_from_slice("grün€𐍈".repeat(len / 100).as_bytes());
        expected.extend_from_slice(b"abcd");
    }
    client.close(Some(CloseFrame { code: 3001.into(), reason: "done".into() })).unwrap();
    let stream = std::mem::take(&mut client.get_mut().outgoing);
    for size in [1, 5, 4096, 65_536, stream.len()] {
        let mut decoder = Decoder::new(ANY);
        let (mut data, mut end, mut pings) = (Vec::new(), None, 0);
        for piece in stream.chunks(size) {
            let mut buffer = piece.to_vec();
            let decoded = decoder.decode_in_place(&mut buffer);
            data.extend_from_slice(&buffer[..decoded.data_len]);
            pings += usize::from(decoded.ping.is_some());
            end = end.or(decoded.end);
        }
        assert!(data == expected, "{size}");
        let close = PeerClose { code: CloseCode::from_wire(3001), reason: "done".to_owned() };
        assert_eq!(end, Some(End::Closed(close)), "{size}");
        assert!((1..=LENGTHS.len()).contains(&pings), "{size}");
    }
}

/// RFC 6455 section 5: another implementation's client reads our frames.
#[test]
fn our_frames_are_read_by_another_client() {
    let text = "grün".repeat(50_000);
    let mut out = Vec::new();
    for len in LENGTHS {
        push_frame_header(&mut out, Opcode::Binary, len);
        out.extend_from_slice(&text.as_bytes()[..len]);
    }
    push_frame_header(&mut out, Opcode::Text, text.len());
    out.extend_from_slice(text.as_bytes());
    encode_pong(&mut out, b"ping");
    encode_close(&mut out, CloseCode::GOING_AWAY, "shutting down");
    let wire = Wire { incoming: Cursor::new(out), outgoing: Vec::new() };
    let mut client = WebSocket::from_raw_socket(wire, Role::Client, None);
    for len in LENGTHS {
        let payload = Bytes::copy_from_slice(&text.as_bytes()[..len]);
        assert_eq!(client.read().unwrap(), Message::Binary(payload));
    }
    assert_eq!(client.read().unwrap(), Message::Text(text.into()));
    assert_eq!(client.read().unwrap(), Message::Pong(Bytes::from_static(b"ping")));
    let close = CloseFrame { code: 1001.into(), reason: "shutting down".into() };
    assert_eq!(client.read().unwrap(), Message::Close(Some(close)));
}

/// How another server's reading of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Closed,
    Refused,
    /// The stream was at its end within a frame, which the other server judges only when it is whole.
    Cut,
}

/// What another server makes of a stream: the payloads of whole messages until it ends, and how it ends.
fn read_by_another_server(stream: &[u8]) -> (Vec<u8>, Verdict) {
    let wire = Wire { incoming: Cursor::new(stream.to_vec()), outgoing: Vec::new() };
    let mut server = WebSocket::from_raw_socket(wire, Role::Server, None);
    let mut data = Vec::new();
    loop {
        match server.read() {
            Ok(Message::Binary(payload)) => data.extend_from_slice(&payload),
            Ok(Message::Text(text)) => data.extend_from_slice(text.as_bytes()),
            Ok(Message::Close(_)) => return (data, Verdict::Closed),
            Ok(_) => {}
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (data, Verdict::Cut),
            Err(_) => return (data, Verdict::Refused),
        }
    }
}

/// RFC 6455 section 5: of streams with one wrong byte, both implementations refuse the same ones. The other one takes
/// lengths in a longer form than needed and every close code; ours follows sections 5.2 and 7.4.
#[test]
fn wrong_byte_is_refused_as_by_another_server() {
    let mut client = WebSocket::from_raw_socket(Wire::default(), Role::Client, None);
    client.send(Message::Text("grün€".into())).unwrap();
    client.send(fragment(Data::Binary, false, "ab")).unwrap();
    client.send(Message::Ping(Bytes::from_static(b"ping"))).unwrap();
    client.send(fragment(Data::Continue, true, "cd")).unwrap();
    client.send(Message::Binary(Bytes::from(vec![7; 130]))).unwrap();
    client.close(Some(CloseFrame { code: 1000.into(), reason: "done".into() })).unwrap();
    let stream = std::mem::take(&mut client.get_mut().outgoing);
    for position in 0..stream.len() {
        for value in 0..=255 {
            let mut changed = stream.clone();
            changed[position] = value;
            let (data, verdict) = read_by_another_server(&changed);
            let decoded = Decoder::new(ANY).decode_in_place(&mut changed);
            match decoded.end {
                Some(End::Failed(
                    WebSocketError::LengthNotMinimal { .. } | WebSocketError::CloseCodeInvalid { .. },
                )) => continue,
                Some(End::Failed(error)) => {
                    assert_ne!(verdict, Verdict::Closed, "{position} {value}: {error}")
                }
                _ => assert_ne!(verdict, Verdict::Refused, "{position} {value}"),
            }
            // Ours delivers the fragments of messages that never come to their end; the other one does not.
            assert!(changed[..decoded.data_len].starts_with(&data), "{position} {value}");
        }
    }
}

/// Our handshake at the other end of a client's wire.
struct HandshakeWire {
    handshake: Handshake,
    response: Cursor<Vec<u8>>,
    subprotocol: String,
}

impl Read for HandshakeWire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.response.read(buffer)
    }
}

impl Write for HandshakeWire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(accepted) = self.handshake.handle_bytes(bytes).map_err(io::Error::other)? {
            assert_eq!(accepted.consumed, bytes.len());
            self.response = Cursor::new(accepted.response);
            self.subprotocol = accepted.subprotocol.unwrap_or_default();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn connect(offer: Option<&'static str>, options: HandshakeOptions) -> Result<String, String> {
    let mut request = "ws://localhost/any?thing".into_client_request().unwrap();
    if let Some(offer) = offer {
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(offer));
    }
    let handshake = Handshake::new(std::sync::Arc::new(options));
    let wire = HandshakeWire { handshake, response: Cursor::default(), subprotocol: String::new() };
    match tokio_tungstenite::tungstenite::client::client(request, wire) {
        Ok((mut client, _)) => Ok(std::mem::take(&mut client.get_mut().subprotocol)),
        Err(error) => Err(error.to_string()),
    }
}

/// RFC 6455 section 4: another implementation's request is accepted, and its client takes our answer, which it checks:
/// the accept key, and a sub-protocol if and only if it has offered one.
#[test]
fn our_answer_is_taken_by_another_client() {
    let options = HandshakeOptions {
        subprotocols: vec!["mqtt".to_owned(), "v12.stomp".to_owned()],
        default_subprotocol: Some("mqtt".to_owned()),
        ..HandshakeOptions::default()
    };
    assert_eq!(connect(None, options.clone()).as_deref(), Ok("mqtt"));
    assert_eq!(connect(Some("v10.stomp, v12.stomp, mqtt"), options.clone()).as_deref(), Ok("v12.stomp"));
    assert!(connect(Some("mqttv3.1"), options).unwrap_err().contains("no sub-protocol in common"));
}

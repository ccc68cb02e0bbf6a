//! The decoder against tables of vectors, every split position, and bytes from hell.

use super::*;
use crate::websocket::encode_pong;

const KEY: [u8; 4] = [0xA1, 0x5B, 0x00, 0xFF];
const BINARY: DecoderOptions = DecoderOptions { message_bytes_max: 100_000, text: TextPolicy::Refuse };
const ANY: DecoderOptions = DecoderOptions { message_bytes_max: 100_000, text: TextPolicy::Accept };

/// A client's frame; `first` holds FIN, the reserved bits and the opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

fn close_frame(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

/// All that came out of a stream, whatever its pieces.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    data: Vec<u8>,
    pings: Vec<Vec<u8>>,
    end: Option<End>,
}

fn decode(options: DecoderOptions, pieces: &[&[u8]]) -> Seen {
    let mut decoder = Decoder::new(options);
    let mut seen = Seen::default();
    for piece in pieces {
        let mut buffer = piece.to_vec();
        let decoded = decoder.decode_in_place(&mut buffer);
        seen.data.extend(&buffer[..decoded.data_len]);
        seen.pings.extend(decoded.ping);
        if decoded.end.is_some() {
            assert_eq!(seen.end, None, "a stream ends once");
            seen.end = decoded.end;
        }
    }
    seen
}

fn failure(options: DecoderOptions, stream: &[u8]) -> Option<WebSocketError> {
    match decode(options, &[stream]).end {
        Some(End::Failed(error)) => Some(error),
        _ => None,
    }
}

/// Frames of every kind, ended by a close frame.
fn mixed_stream() -> (Vec<u8>, Seen) {
    let long: Vec<u8> = (0..300u16).map(|n| n as u8).collect();
    let stream = [
        frame(0x82, b"first"),
        frame(0x82, b""),
        frame(0x01, "Grü".as_bytes()),
        frame(0x89, b"are you there"),
        frame(0x00, b""),
        frame(0x80, "ße".as_bytes()),
        frame(0x8A, b"unasked"),
        frame(0x82, &long),
        close_frame(1000, b"bye"),
    ]
    .concat();
    let data = [b"first", "Grüße".as_bytes(), &long].concat();
    let end = End::Closed(PeerClose { code: Some(CloseCode::NORMAL), reason: "bye".to_owned() });
    (stream, Seen { data, pings: vec![b"are you there".to_vec()], end: Some(end) })
}

/// RFC 6455 section 5.7: the masked "Hello", and the same in two fragments with a ping between them.
#[test]
fn examples_of_the_specification_are_decoded() {
    let mut hello = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    let decoded = Decoder::new(ANY).decode_in_place(&mut hello);
    assert_eq!(decoded, Decoded { data_len: 5, ping: None, end: None });
    assert_eq!(&hello[..5], b"Hello");

    let stream = [frame(0x01, b"Hel"), frame(0x89, b"Hello"), frame(0x80, b"lo")].concat();
    let seen = decode(ANY, &[&stream]);
    assert_eq!(seen, Seen { data: b"Hello".to_vec(), pings: vec![b"Hello".to_vec()], end: None });
}

/// [MQTT-6.0.0-2] [MQTT-3.1.1/6.0.0-2]: packets need not be aligned on frames, and frames not on reads.
#[test]
fn every_split_in_three_gives_the_same_stream() {
    let (stream, expected) = mixed_stream();
    assert_eq!(decode(ANY, &[&stream]), expected);
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
            assert_eq!(decode(ANY, &pieces), expected, "{first} {second}");
        }
    }
}

/// RFC 6455 section 5.2: a stream that comes byte by byte.
#[test]
fn byte_by_byte_gives_the_same_stream() {
    let (stream, expected) = mixed_stream();
    let pieces: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(decode(ANY, &pieces), expected);
}

/// RFC 6455 section 5.2: a payload whose length takes 64 bits.
#[test]
fn big_message_in_reads_of_any_size_is_whole() {
    let payload: Vec<u8> = (0..90_000u32).map(|n| (n / 7) as u8).collect();
    let stream = frame(0x82, &payload);
    for size in [1, 3, 8, 4095, 65_536, 100_000] {
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        assert_eq!(decode(BINARY, &pieces).data, payload, "{size}");
    }
}

/// RFC 6455 sections 5.1, 5.4, 5.5, 7.4 and 8.1, [MQTT-6.0.0-1] and [MQTT-3.1.1/6.0.0-1]: each breach has its error and
/// its close code, the same at every split, and the data before it is delivered.
#[test]
fn breach_is_named_at_every_split() {
    let too_big = WebSocketError::MessageTooBig { bytes: 11, limit: 10 };
    let small = DecoderOptions { message_bytes_max: 10, ..ANY };
    let vectors: Vec<(DecoderOptions, Vec<u8>, WebSocketError, u16)> = vec![
        (ANY, vec![0x82, 0x01, b'x'], WebSocketError::NotMasked, 1002),
        (ANY, frame(0xC2, b"x"), WebSocketError::ReservedBits, 1002),
        (ANY, frame(0x83, b"x"), WebSocketError::UnknownOpcode { opcode: 3 }, 1002),
        (ANY, frame(0x09, b"x"), WebSocketError::ControlFragmented, 1002),
        (ANY, frame(0x8A, &[0; 126]), WebSocketError::ControlTooLong, 1002),
        (ANY, frame(0x80, b"x"), WebSocketError::ContinuationWithoutStart, 1002),
        (ANY, [frame(0x02, b"x"), frame(0x82, b"y")].concat(), WebSocketError::MessageInterrupted, 1002),
        (
            ANY,
            vec![0x82, 0xFE, 0, 1, 0, 0, 0, 0, b'x'],
            WebSocketError::LengthNotMinimal { payload_len: 1 },
            1002,
        ),
        (small, frame(0x82, &[0; 11]), too_big, 1009),
        (small, [frame(0x02, &[0; 6]), frame(0x00, b""), frame(0x80, &[0; 5])].concat(), too_big, 1009),
        (BINARY, frame(0x81, b"x"), WebSocketError::TextRefused, 1003),
        (ANY, frame(0x81, b"\xFF"), WebSocketError::TextNotUtf8, 1007),
        (ANY, [frame(0x01, b"\xE2\x82"), frame(0x80, b"")].concat(), WebSocketError::TextNotUtf8, 1007),
        (ANY, frame(0x88, b"x"), WebSocketError::CloseTooShort, 1002),
        (ANY, close_frame(1005, b""), WebSocketError::CloseCodeInvalid { code: 1005 }, 1002),
        (ANY, close_frame(1000, b"\xFF"), WebSocketError::CloseReasonNotUtf8, 1007),
    ];
    for (options, bad, error, code) in vectors {
        let stream = [frame(0x82, b"before"), bad].concat();
        for cut in 0..=stream.len() {
            let seen = decode(options, &[&stream[..cut], &stream[cut..], b"ignored"]);
            assert_eq!(seen.end, Some(End::Failed(error)), "{error} {cut}");
            assert!(seen.data.starts_with(b"before"));
        }
        assert_eq!(error.close_code().value(), code, "{error}");
        assert!(error.label().starts_with("websocket_"));
    }
}

/// RFC 6455 section 5.4: the limit counts each message anew, over its fragments and not over control frames.
#[test]
fn limit_is_per_message() {
    let small = DecoderOptions { message_bytes_max: 10, ..ANY };
    let ping = frame(0x89, &[0; 125]);
    let stream = [frame(0x02, &[1; 5]), ping, frame(0x80, &[1; 5]), frame(0x82, &[2; 10])].concat();
    let seen = decode(small, &[&stream]);
    assert_eq!((seen.data.len(), seen.end), (20, None));
}

/// RFC 6455 section 10.4: lengths whose sum passes 64 bits do not wrap around the limit.
#[test]
fn sum_of_lengths_does_not_wrap() {
    let unlimited = DecoderOptions { message_bytes_max: u64::MAX - 1, ..ANY };
    let mut decoder = Decoder::new(unlimited);
    decoder.message = Some(Message { is_text: false, bytes: u64::MAX - 5 });
    let decoded = decoder.decode_in_place(&mut frame(0x80, b"1234567"));
    let error = WebSocketError::MessageTooBig { bytes: u64::MAX, limit: u64::MAX - 1 };
    assert_eq!(decoded.end, Some(End::Failed(error)));
}

/// RFC 6455 section 5.5.3: of several pings the most recent one is answered.
#[test]
fn flood_of_pings_costs_one_pong() {
    let stream = [frame(0x89, b"1"), frame(0x82, b"data"), frame(0x89, b"2"), frame(0x89, b"")].concat();
    let seen = decode(ANY, &[&stream]);
    assert_eq!(seen.pings, [b""]);
    let mut out = Vec::new();
    encode_pong(&mut out, &seen.pings[0]);
    assert_eq!(out, [0x8A, 0]);
}

/// RFC 6455 section 5.5.1: the answer repeats the code, and is empty for an empty close frame.
#[test]
fn close_is_answered_with_its_code() {
    for (stream, answer) in [
        (close_frame(3000, b"bye"), vec![0x88, 2, 0x0B, 0xB8]),
        (frame(0x88, b""), vec![0x88, 0]),
        (
            frame(0x81, b"\xFF")[..].to_vec(),
            [&[0x88, 60, 0x03, 0xEF], &b"websocket_text_not_utf8: a text message is not valid UTF-8"[..]]
                .concat(),
        ),
    ] {
        let mut out = Vec::new();
        decode(ANY, &[&stream]).end.unwrap().encode_close(&mut out);
        assert_eq!(out, answer);
    }
}

/// RFC 6455 section 1.4: after the close frame nothing that the client sends counts.
#[test]
fn bytes_after_close_are_ignored() {
    let stream =
        [frame(0x82, b"before"), close_frame(1001, b""), frame(0x82, b"after"), vec![0xFF; 9]].concat();
    let seen = decode(ANY, &[&stream, b"\xFF\xFF"]);
    let end = End::Closed(PeerClose { code: Some(CloseCode::GOING_AWAY), reason: String::new() });
    assert_eq!(seen, Seen { data: b"before".to_vec(), pings: vec![], end: Some(end) });
    assert_eq!(failure(ANY, &stream), None);
}

/// A small generator (xorshift64*), so that a failure can be repeated from the printed seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: u64) -> usize {
        (self.next() % limit) as usize
    }
}

/// Bytes from hell: no input makes the decoder panic, deliver more than it took, or keep more than its bounds; and cut in
/// two it ends as it ends whole.
#[test]
fn million_random_inputs_are_survived() {
    const SEED: u64 = 0x7469_6465_6761_7465;
    println!("seed {SEED:#x}");
    let mut random = Random(SEED);
    let options = DecoderOptions { message_bytes_max: 40, text: TextPolicy::Accept };
    let (mut input, mut copy) = (Vec::new(), Vec::new());
    for round in 0..1_000_000 {
        input.clear();
        while input.len() < 24 {
            // Half of the headers look right, so that the deeper states are reached.
            if random.below(2) == 0 {
                let first = [0x82, 0x81, 0x01, 0x02, 0x80, 0x00, 0x89, 0x88][random.below(8)];
                input.extend([first, 0x80 | random.below(6) as u8, 0, 0, 0, 0]);
            }
            input.extend_from_slice(&random.next().to_le_bytes()[..random.below(9)]);
        }
        copy.clone_from(&input);
        let mut whole = Decoder::new(options);
        let at_once = whole.decode_in_place(&mut input);
        assert!(at_once.data_len <= input.len() && whole.control_payload.len() <= 125);
        let cut = random.below(copy.len() as u64);
        let (front, back) = copy.split_at_mut(cut);
        let mut pieces = Decoder::new(options);
        let first = pieces.decode_in_place(front);
        let second = pieces.decode_in_place(back);
        assert_eq!(at_once.end, first.end.or(second.end), "round {round}, cut {cut}");
        let is_bad_text = at_once.end == Some(End::Failed(WebSocketError::TextNotUtf8));
        if !is_bad_text {
            assert_eq!(at_once.data_len, first.data_len + second.data_len, "round {round}, cut {cut}");
        }
    }
}

/// [MQTT-6.0.0-1]: text that came before it was known that none may come ends the connection as later text does.
#[test]
fn text_is_refused_afterwards_too() {
    let mut decoder = Decoder::new(ANY);
    decoder.decode_in_place(&mut frame(0x82, b"\x10"));
    assert_eq!(decoder.settle_text(TextPolicy::Refuse), Ok(()));
    let refused = decoder.decode_in_place(&mut frame(0x81, b"\x10")).end;
    assert_eq!(refused, Some(End::Failed(WebSocketError::TextRefused)));
    let mut decoder = Decoder::new(ANY);
    decoder.decode_in_place(&mut frame(0x81, b"\x10"));
    assert_eq!(decoder.settle_text(TextPolicy::Accept), Ok(()));
    assert_eq!(decoder.settle_text(TextPolicy::Refuse), Err(WebSocketError::TextRefused));
}

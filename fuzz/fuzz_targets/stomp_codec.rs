//! The STOMP decoder on any bytes, in all versions: the same frames whole and in two pieces, and every frame survives being encoded again.
//!
//! The first byte chooses the split. Every input is read by all versions, so one corpus serves them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_stomp::codec::{Command, DecodeError, Decoder, FrameLimits, Version, encode};

const LIMITS: FrameLimits =
    FrameLimits { head_bytes: 1_024, header_line_bytes: 128, headers: 16, body_bytes: 1_024 };

type Owned = (Command, Vec<(String, String)>, Vec<u8>);

fuzz_target!(|data: &[u8]| {
    let Some((&split, stream)) = data.split_first() else { return };
    let (front, back) = stream.split_at(usize::from(split).min(stream.len()));
    for version in Version::ALL {
        let whole = frames(version, &[stream]);
        assert_eq!(frames(version, &[front, back]), whole);
        whole.0.into_iter().for_each(|frame| encode_again(version, frame));
    }
});

/// The frames of a stream in pieces, and the error that ends it.
fn frames(version: Version, pieces: &[&[u8]]) -> (Vec<Owned>, Result<usize, DecodeError>) {
    let (mut decoder, mut waiting, mut frames) = (Decoder::new(version, LIMITS), Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            let (frame, consumed) = match decoder.decode(&waiting) {
                Ok(decoded) => (decoded.frame.map(|frame| owned(&frame)), decoded.consumed),
                Err(error) => return (frames, Err(error)),
            };
            waiting.drain(..consumed);
            match frame {
                Some(frame) => frames.push(frame),
                None => break,
            }
        }
    }
    (frames, Ok(waiting.len()))
}

fn owned(frame: &tidegate_stomp::codec::Frame<'_>) -> Owned {
    let headers = frame.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    (frame.command, headers.collect(), frame.body.to_vec())
}

/// Encodes a frame as it was decoded, without the length of its body, and decodes that.
fn encode_again(version: Version, (command, mut headers, body): Owned) {
    headers.retain(|(name, _)| name != "content-length");
    let given = headers.iter().map(|(name, value)| (&**name, &**value));
    let mut bytes = Vec::new();
    if encode(&mut bytes, version, command, given, &body).is_err() {
        return assert!(bytes.is_empty() && !body.is_empty(), "only a body where none may be is refused");
    }
    let limits =
        FrameLimits { head_bytes: 1 << 20, header_line_bytes: 1 << 20, headers: 64, body_bytes: 1 << 20 };
    let decoded = Decoder::new(version, limits).decode(&bytes).expect("an encoded frame is valid");
    assert_eq!(decoded.consumed, bytes.len());
    if command.may_have_body() {
        headers.push(("content-length".to_owned(), body.len().to_string()));
    }
    assert_eq!(owned(&decoded.frame.expect("a frame")), (command, headers, body));
}

//! The codec by tables, at every split, against random bytes and against another implementation.

mod differential;
mod properties;
mod random_bytes;
mod vectors;
mod versions;

use super::{Command, DecodeError, Decoder, Frame, FrameLimits, Version};

/// Limits that no small test meets.
const LIMITS: FrameLimits =
    FrameLimits { head_bytes: 4_096, header_line_bytes: 1_024, headers: 20, body_bytes: 1 << 20 };

/// A frame that owns its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    command: Command,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl From<Frame<'_>> for Owned {
    fn from(frame: Frame<'_>) -> Owned {
        owned(frame.command, &frame.headers.iter().collect::<Vec<_>>(), frame.body)
    }
}

/// A frame for comparisons.
fn owned(command: Command, headers: &[(&str, &str)], body: &[u8]) -> Owned {
    let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Owned { command, headers, body: body.to_vec() }
}

/// Everything in a stream that arrives in these pieces: the frames before the first error, and the error.
fn frames_in_pieces<'a>(
    version: Version,
    limits: FrameLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Owned>, Result<usize, DecodeError>) {
    let (mut decoder, mut waiting, mut frames) = (Decoder::new(version, limits), Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            let (frame, consumed) = match decoder.decode(&waiting) {
                Ok(decoded) => (decoded.frame.map(Owned::from), decoded.consumed),
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

/// The frames of a stream, which must come out the same whole, split in two at every position, and byte by byte.
fn frames(version: Version, limits: FrameLimits, bytes: &[u8]) -> (Vec<Owned>, Result<usize, DecodeError>) {
    let whole = frames_in_pieces(version, limits, [bytes]);
    for at in 1..bytes.len() {
        let (front, back) = bytes.split_at(at);
        assert_eq!(frames_in_pieces(version, limits, [front, back]), whole, "split at {at}");
    }
    assert_eq!(frames_in_pieces(version, limits, bytes.chunks(1)), whole, "byte by byte");
    whole
}

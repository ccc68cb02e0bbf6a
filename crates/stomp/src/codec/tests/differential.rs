//! The decoder beside an independent one, `iridium-stomp`, on frames that are valid.
//!
//! It is no oracle for validity: it takes unknown commands and any escape, and knows no CR LF at the end of the headers. So the
//! frames here are valid, end their lines with LF, and the escapes are undone with its own function: those of 1.1 are some of those of
//! 1.2, and 1.0 has none.

use super::{LIMITS, Owned, frames_in_pieces};
use crate::codec::{Command, Version, encode};
use iridium_stomp::parser::{parse_frame_slice, unescape_header_value};
use tidegate_testkit::random::Random;

const SEED: u64 = 0x0073_746f_6d70_2121;
const FRAMES: usize = 20_000;

/// [STOMP-1.2/STOMP Frames] [STOMP-1.2/Value Encoding] [STOMP-1.1/Value Encoding]
#[test]
fn an_independent_implementation_reads_the_same_frames() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    for _ in 0..FRAMES {
        let version = *random.pick(&Version::ALL);
        let bytes = random_frame(version, &mut random);
        let (ours, rest) = frames_in_pieces(version, LIMITS, [&*bytes]);
        let theirs = parse_frame_slice(&bytes).unwrap().unwrap();
        assert_eq!((rest, theirs.3), (Ok(0), bytes.len()));
        let unescape = |text: &[u8]| {
            let text =
                if version > Version::V1_0 { unescape_header_value(text).unwrap() } else { text.to_vec() };
            String::from_utf8(text).unwrap()
        };
        let expected = Owned {
            command: Command::parse(std::str::from_utf8(&theirs.0).unwrap()).unwrap(),
            headers: theirs.1.iter().map(|(name, value)| (unescape(name), unescape(value))).collect(),
            body: theirs.2.unwrap_or_default(),
        };
        assert_eq!(ours, [expected], "{:?}", String::from_utf8_lossy(&bytes));
    }
}

/// A frame of a command with escaped headers; now and then without its content-length.
fn random_frame(version: Version, random: &mut Random) -> Vec<u8> {
    let escaped: Vec<Command> =
        Command::ALL.into_iter().filter(|command| command.has_escaped_headers()).collect();
    let command = *random.pick(&escaped);
    let texts =
        ["a", "destination", "/topic/a/b", "c:d", "line\nend", "\r", "back\\slash", " padded ", "é", "\\n"];
    // What is around a text of 1.0 is padding to us, and not to the other one.
    let fits =
        |text: &&&str| version.can_express_name(text) && (version > Version::V1_0 || text.trim() == **text);
    let texts: Vec<&str> = texts.iter().filter(fits).copied().collect();
    let headers: Vec<(&str, &str)> =
        (0..random.below(6)).map(|_| (*random.pick(&texts), *random.pick(&texts))).collect();
    let body: Vec<u8> = match command.may_have_body() {
        true => (0..random.below(40)).map(|_| random.byte()).collect(),
        false => Vec::new(),
    };
    let mut bytes = Vec::new();
    encode(&mut bytes, version, command, headers, &body).unwrap();
    let counted = format!("content-length:{}\n", body.len());
    match random.one_in(3) && !body.contains(&0) {
        true => remove(&bytes, counted.as_bytes()),
        false => bytes,
    }
}

/// The bytes without the first occurrence of a part.
fn remove(bytes: &[u8], part: &[u8]) -> Vec<u8> {
    let at = bytes.windows(part.len()).position(|window| window == part);
    at.map_or(bytes.to_vec(), |at| [&bytes[..at], &bytes[at + part.len()..]].concat())
}

//! Tables of what the versions do differently: one line of bytes, and what each of them makes of it.

use super::{LIMITS, Owned, frames, owned};
use crate::codec::{Command, DecodeError, EncodeError, Version, encode};

/// What a version reads: the first header of a frame, or why there is none.
type Read = Result<(&'static str, &'static str), DecodeError>;

/// What a version writes: a header line, or why there is none.
type Written = Result<&'static str, EncodeError>;

const V1_1_ESCAPE: Read = Err(DecodeError::UndefinedEscape { version: Version::V1_1 });
const V1_2_ESCAPE: Read = Err(DecodeError::UndefinedEscape { version: Version::V1_2 });
const MALFORMED: Read = Err(DecodeError::MalformedHeader);

fn read(version: Version, command: Command, line: &str) -> (Vec<Owned>, Result<usize, DecodeError>) {
    let bytes = format!("{command}\n{line}\n\n\0");
    frames(version, LIMITS, bytes.as_bytes())
}

/// [STOMP-1.1/Augmented BNF] [STOMP-1.0/Augmented BNF] [STOMP-1.1/Value Encoding] [STOMP-1.2/Value Encoding] [STOMP-1.2/Augmented BNF]
#[test]
fn a_header_line_means_what_its_version_says_at_every_split() {
    let cases: [(&str, [Read; 3]); 14] = [
        ("a:b", [Ok(("a", "b")); 3]),
        ("a:b:c", [Ok(("a", "b:c")); 3]),
        ("a:", [Ok(("a", "")); 3]),
        ("a:b\r", [Ok(("a", "b")); 3]),
        ("é:ü", [Ok(("é", "ü")); 3]),
        (r"a:\n\c\\", [Ok(("a", r"\n\c\\")), Ok(("a", "\n:\\")), Ok(("a", "\n:\\"))]),
        (r"a\c:b", [Ok((r"a\c", "b")), Ok(("a:", "b")), Ok(("a:", "b"))]),
        (r"a:\r", [Ok(("a", r"\r")), V1_1_ESCAPE, Ok(("a", "\r"))]),
        (r"a:\t", [Ok(("a", r"\t")), V1_1_ESCAPE, V1_2_ESCAPE]),
        (r"a:b\", [Ok(("a", r"b\")), V1_1_ESCAPE, V1_2_ESCAPE]),
        (" a : b \t", [Ok(("a", "b")), Ok((" a ", " b \t")), Ok((" a ", " b \t"))]),
        (" : b", [MALFORMED, Ok((" ", " b")), Ok((" ", " b"))]),
        (":b", [MALFORMED; 3]),
        ("a:b\rc", [MALFORMED; 3]),
    ];
    for (line, expected) in cases {
        for (version, expected) in Version::ALL.into_iter().zip(expected) {
            let expected = match expected {
                Ok(header) => (vec![owned(Command::Ack, &[header], b"")], Ok(0)),
                Err(error) => (vec![], Err(error)),
            };
            assert_eq!(read(version, Command::Ack, line), expected, "{version} {line:?}");
        }
    }
}

/// [STOMP-1.2/Value Encoding] [STOMP-1.1/Value Encoding]: for the sake of 1.0 the frames of the opening have no escapes.
#[test]
fn the_frames_of_the_opening_look_the_same_in_all_versions() {
    for version in Version::ALL {
        for command in [Command::Connect, Command::Stomp, Command::Connected] {
            let expected = vec![owned(command, &[("a", r"\t\n\c")], b"")];
            assert_eq!(read(version, command, r"a:\t\n\c"), (expected, Ok(0)));
            let mut buffer = Vec::new();
            encode(&mut buffer, version, command, [("a", r"\t:\n")], b"").unwrap();
            assert_eq!(buffer, format!("{command}\na:\\t:\\n\n\n\0").into_bytes());
        }
    }
}

/// [STOMP-1.0/SEND] [STOMP-1.1/Header content-length]: a length in front lets the body have any octet.
#[test]
fn bodies_are_the_same_in_all_versions() {
    for version in Version::ALL {
        let length = [("content-length", "3")];
        let (counted, plain) = (b"SEND\ncontent-length:3\n\na\0b\0", b"SEND\n\na\r\nb\0\n");
        assert_eq!(frames(version, LIMITS, counted).0, [owned(Command::Send, &length, b"a\0b")]);
        assert_eq!(frames(version, LIMITS, plain).0, [owned(Command::Send, &[], b"a\r\nb")]);
    }
    let padded = b"SEND\ncontent-length: 3 \n\na\0b\0";
    assert_eq!(
        frames(Version::V1_0, LIMITS, padded).0,
        [owned(Command::Send, &[("content-length", "3")], b"a\0b")]
    );
    for version in [Version::V1_1, Version::V1_2] {
        assert_eq!(frames(version, LIMITS, padded), (vec![], Err(DecodeError::InvalidContentLength)));
    }
}

/// [STOMP-1.0/Augmented BNF] [STOMP-1.1/Value Encoding] [STOMP-1.2/Value Encoding]
#[test]
fn what_a_version_cannot_express_is_not_encoded() {
    let refused = Err(EncodeError::NotEscapable(Command::Message));
    let cases: [((&str, &str), [Written; 3]); 7] = [
        (("a", "b:c"), [Ok("a:b:c"), Ok(r"a:b\cc"), Ok(r"a:b\cc")]),
        (("a", r"b\c"), [Ok(r"a:b\c"), Ok(r"a:b\\c"), Ok(r"a:b\\c")]),
        (("a", "b\nc"), [refused, Ok(r"a:b\nc"), Ok(r"a:b\nc")]),
        (("a", "b\rc"), [refused, refused, Ok(r"a:b\rc")]),
        (("a:b", "c"), [refused, Ok(r"a\cb:c"), Ok(r"a\cb:c")]),
        (("a\n", "c"), [refused, Ok(r"a\n:c"), Ok(r"a\n:c")]),
        (("a\r", "c"), [refused, refused, Ok(r"a\r:c")]),
    ];
    for (header, expected) in cases {
        for (version, expected) in Version::ALL.into_iter().zip(expected) {
            let mut buffer = Vec::new();
            let encoded = encode(&mut buffer, version, Command::Message, [header], b"");
            let written = String::from_utf8(buffer).unwrap();
            let line = expected.map(|line| format!("MESSAGE\n{line}\ncontent-length:0\n\n\0"));
            assert_eq!(encoded.map(|()| written), line, "{version} {header:?}");
        }
    }
}

//! Tables: bytes that are frames, bytes that are not, and what is too large.

use super::{LIMITS, Owned, frames, owned};
use crate::codec::{Command, DecodeError, Decoder, EncodeError, FrameLimits, Version, encode};

/// The version where the others do the same.
const V: Version = Version::V1_2;

/// Bytes, and the frames of 1.2 in them.
fn valid() -> Vec<(&'static [u8], Vec<Owned>)> {
    let send = |headers: &[(&str, &str)], body: &[u8]| owned(Command::Send, headers, body);
    vec![
        (b"SEND\n\n\0", vec![send(&[], b"")]),
        (b"SEND\r\na:b\r\n\r\nbody\0", vec![send(&[("a", "b")], b"body")]),
        (b"SEND\na: b \n\n\0", vec![send(&[("a", " b ")], b"")]),
        (b"SEND\na:1\na:2\n\n\0", vec![send(&[("a", "1"), ("a", "2")], b"")]),
        (b"SEND\na:\n\n\0", vec![send(&[("a", "")], b"")]),
        (b"SEND\na\\c\\n\\r\\\\:b\\c\n\n\0", vec![send(&[("a:\n\r\\", "b:")], b"")]),
        (b"SEND\nurl:http://x\n\n\0", vec![send(&[("url", "http://x")], b"")]),
        ("SEND\né:ü\n\n\0".as_bytes(), vec![send(&[("é", "ü")], b"")]),
        (b"SEND\ncontent-length:3\n\na\0b\0", vec![send(&[("content-length", "3")], b"a\0b")]),
        (b"SEND\ncontent-length:0\n\n\0", vec![send(&[("content-length", "0")], b"")]),
        (
            b"SEND\ncontent-length:1\ncontent-length:9\n\nx\0",
            vec![send(&[("content-length", "1"), ("content-length", "9")], b"x")],
        ),
        (b"SEND\n\n\n\r\n\0", vec![send(&[], b"\n\r\n")]),
        (b"SEND\n\n\xff\xfe\0", vec![send(&[], b"\xff\xfe")]),
        (b"CONNECT\na:\\t:\\n\n\n\0", vec![owned(Command::Connect, &[("a", "\\t:\\n")], b"")]),
        (b"STOMP\na:\\n\n\n\0", vec![owned(Command::Stomp, &[("a", "\\n")], b"")]),
        (b"CONNECTED\na:\\n\n\n\0", vec![owned(Command::Connected, &[("a", "\\n")], b"")]),
        (b"\n\r\n\nACK\n\n\0\n\r\n", vec![owned(Command::Ack, &[], b"")]),
        (
            b"BEGIN\n\n\0COMMIT\r\n\r\n\0\n\nABORT\n\n\0",
            [Command::Begin, Command::Commit, Command::Abort].map(|command| owned(command, &[], b"")).into(),
        ),
        (b"\n\r\n\n\n", vec![]),
        (b"", vec![]),
    ]
}

/// [STOMP-1.2/STOMP Frames] [STOMP-1.2/Augmented BNF] [STOMP-1.2/Value Encoding] [STOMP-1.2/Header content-length] [STOMP-1.2/Repeated Header Entries]
#[test]
fn valid_bytes_are_their_frames_at_every_split() {
    for (bytes, expected) in valid() {
        assert_eq!(frames(V, LIMITS, bytes), (expected, Ok(0)), "{:?}", String::from_utf8_lossy(bytes));
    }
}

/// [STOMP-1.2/STOMP Frames] [STOMP-1.2/Augmented BNF] [STOMP-1.2/Value Encoding] [STOMP-1.2/Header content-length]
#[test]
fn invalid_bytes_are_refused_at_every_split() {
    let cases: [(&[u8], DecodeError); 19] = [
        (b"send\n\n\0", DecodeError::UnknownCommand),
        (b"MESSAGES\n\n\0", DecodeError::UnknownCommand),
        (b" SEND\n\n\0", DecodeError::UnknownCommand),
        (b"SEND \n\n\0", DecodeError::UnknownCommand),
        (b"\rSEND\n\n\0", DecodeError::UnknownCommand),
        (b"\0", DecodeError::NullInHead),
        (b"SEND\0", DecodeError::NullInHead),
        (b"SEND\na:b\n\0", DecodeError::NullInHead),
        (b"SEND\na:b\0c\n\n\0", DecodeError::NullInHead),
        (b"SEND\nab\n\n\0", DecodeError::MalformedHeader),
        (b"SEND\n:b\n\n\0", DecodeError::MalformedHeader),
        (b"SEND\na:b\rc\n\n\0", DecodeError::MalformedHeader),
        (b"SEND\na:\\t\n\n\0", DecodeError::UndefinedEscape { version: V }),
        (b"SEND\na\\:b\n\n\0", DecodeError::UndefinedEscape { version: V }),
        (b"SEND\na:\xff\n\n\0", DecodeError::HeadNotUtf8),
        (b"SEND\ncontent-length:\n\n\0", DecodeError::InvalidContentLength),
        (b"SEND\ncontent-length:-1\n\n\0", DecodeError::InvalidContentLength),
        (b"SEND\ncontent-length: 1\n\nx\0", DecodeError::InvalidContentLength),
        (b"SEND\ncontent-length:1\n\nxy\0", DecodeError::ContentLengthMismatch { content_length: 1 }),
    ];
    for (bytes, expected) in cases {
        assert_eq!(frames(V, LIMITS, bytes), (vec![], Err(expected)), "{:?}", String::from_utf8_lossy(bytes));
    }
}

/// An error does not take the frames before it away.
#[test]
fn frames_before_an_error_are_found() {
    let expected = (vec![owned(Command::Ack, &[], b"")], Err(DecodeError::UnknownCommand));
    assert_eq!(frames(V, LIMITS, b"ACK\n\n\0NO\n\n\0"), expected);
}

/// [STOMP-1.2/Conformance] [STOMP-1.2/Size Limits]
#[test]
fn each_limit_is_met_exactly_and_at_every_split() {
    let limits = FrameLimits { head_bytes: 30, header_line_bytes: 12, headers: 3, body_bytes: 4 };
    let fits: [&[u8]; 6] = [
        b"SEND\nabcdefgh:123\n\n\0",
        b"SEND\na:\nb:\nc:\n\n\0",
        b"SEND\nabcdef:123\nabcdef:123\n\n\0",
        b"SEND\n\nbody\0",
        b"UNSUBSCRIBE\r\n\r\n\0",
        b"SEND\ncontent-length:4\n\nbody\0",
    ];
    for bytes in fits {
        let (found, rest) = frames(V, FrameLimits { header_line_bytes: 16, ..limits }, bytes);
        assert_eq!((found.len(), rest), (1, Ok(0)), "{:?}", String::from_utf8_lossy(bytes));
    }
    let body_too_large = DecodeError::BodyTooLarge { limit: 4 };
    let cases: [(&[u8], DecodeError); 8] = [
        (b"SEND\nabcdefgh:1234\n\n\0", DecodeError::HeaderLineTooLong { limit: 12 }),
        (b"SEND\nabcdefgh:1234", DecodeError::HeaderLineTooLong { limit: 12 }),
        (b"SEND\na:\nb:\nc:\nd:\n\n\0", DecodeError::TooManyHeaders { limit: 3 }),
        (b"SEND\nabcdef:123\nabcdef:123\nabcdef:123\n", DecodeError::HeadTooLarge { limit: 30 }),
        (b"SEND\n\nbody1\0", body_too_large),
        (b"SEND\n\nbody1", body_too_large),
        (b"UNSUBSCRIBED\r\n", DecodeError::UnknownCommand),
        (b"AVERYLONGCOMMAND", DecodeError::UnknownCommand),
    ];
    for (bytes, expected) in cases {
        assert_eq!(frames(V, limits, bytes).1, Err(expected), "{:?}", String::from_utf8_lossy(bytes));
    }
    let wide = FrameLimits { header_line_bytes: 64, head_bytes: 128, ..limits };
    for bytes in [b"SEND\ncontent-length:5\n\n".as_slice(), b"SEND\ncontent-length:99999999999999999999\n\n"]
    {
        assert_eq!(frames(V, wide, bytes).1, Err(body_too_large));
    }
}

/// The length of a body is known before the body is there.
#[test]
fn the_whole_size_is_wanted_once_content_length_is_known() {
    let mut decoder = Decoder::new(V, LIMITS);
    assert_eq!(decoder.bytes_wanted(), 1);
    let head = b"\nSEND\ncontent-length:1000\n\n";
    let decoded = decoder.decode(head).unwrap();
    assert_eq!((decoded.frame, decoded.consumed), (None, 1));
    assert_eq!(decoder.bytes_wanted(), head.len() - 1 + 1_000 + 1);
}

/// [STOMP-1.2/Value Encoding] [STOMP-1.2/Header content-length] [STOMP-1.2/Body]
#[test]
fn frames_are_encoded_as_the_table_says() {
    let headers: [(&str, &str); 2] = [("a:b", "c\r\n\\"), ("é", "")];
    let cases: [(Command, &[u8], &[u8]); 4] = [
        (Command::Message, b"x\0y", "MESSAGE\na\\cb:c\\r\\n\\\\\né:\ncontent-length:3\n\nx\0y\0".as_bytes()),
        (Command::Send, b"", "SEND\na\\cb:c\\r\\n\\\\\né:\ncontent-length:0\n\n\0".as_bytes()),
        (Command::Error, b"e", "ERROR\na\\cb:c\\r\\n\\\\\né:\ncontent-length:1\n\ne\0".as_bytes()),
        (Command::Receipt, b"", "RECEIPT\na\\cb:c\\r\\n\\\\\né:\n\n\0".as_bytes()),
    ];
    for (command, body, expected) in cases {
        let mut buffer = b"before".to_vec();
        assert_eq!(encode(&mut buffer, V, command, headers, body), Ok(()));
        assert_eq!(buffer.strip_prefix(b"before"), Some(expected), "{command}");
    }
    let mut buffer = Vec::new();
    let raw = [("heart-beat", "0,0"), ("session", "a:\\b")];
    assert_eq!(encode(&mut buffer, V, Command::Connected, raw, b""), Ok(()));
    assert_eq!(buffer, b"CONNECTED\nheart-beat:0,0\nsession:a:\\b\n\n\0");
}

/// What cannot be said leaves nothing behind.
#[test]
fn invalid_frames_are_not_encoded() {
    type Case = (Command, (&'static str, &'static str), &'static [u8], EncodeError);
    let cases: [Case; 7] = [
        (Command::Send, ("", "x"), b"", EncodeError::EmptyHeaderName),
        (Command::Send, ("a", "\0"), b"", EncodeError::NullInHeader),
        (Command::Send, ("\0", "a"), b"", EncodeError::NullInHeader),
        (Command::Send, ("content-length", "1"), b"x", EncodeError::ContentLengthGiven),
        (Command::Connect, ("a:b", "x"), b"", EncodeError::NotEscapable(Command::Connect)),
        (Command::Connected, ("a", "\n"), b"", EncodeError::NotEscapable(Command::Connected)),
        (Command::Receipt, ("a", "b"), b"x", EncodeError::BodyNotAllowed(Command::Receipt)),
    ];
    for (command, header, body, expected) in cases {
        let mut buffer = b"before".to_vec();
        assert_eq!(encode(&mut buffer, V, command, [("ok", "ok"), header], body), Err(expected));
        assert_eq!(buffer, b"before");
    }
}

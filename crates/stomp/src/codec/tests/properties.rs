//! What holds for all frames.

use super::{LIMITS, frames_in_pieces};
use crate::codec::{Command, Version, encode};
use proptest::collection::vec;
use proptest::prelude::*;

const TEXT: &str = "[\\r\\n:\\\\a-c\\PC]{0,12}";
const NAME: &str = "[\\r\\n:\\\\a-c\\PC]{1,12}";

proptest! {
    /// [STOMP-1.2/Value Encoding] [STOMP-1.1/Value Encoding]: whatever is encoded is decoded to the same, in any two pieces.
    #[test]
    fn frames_survive_the_wire(
        version in prop::sample::select(Version::ALL.to_vec()),
        command in prop::sample::select(Command::ALL.to_vec()),
        headers in vec((NAME, TEXT), 0..8),
        body in vec(any::<u8>(), 0..64),
        split in any::<prop::sample::Index>(),
    ) {
        let body = if command.may_have_body() { body } else { Vec::new() };
        let given = headers.iter().map(|(name, value)| (&**name, &**value));
        let mut bytes = Vec::new();
        if encode(&mut bytes, version, command, given, &body).is_err() {
            prop_assert!(bytes.is_empty());
            let escaped = command.has_escaped_headers() && version == Version::V1_2;
            prop_assert!(!escaped || headers.iter().any(|(name, _)| name == "content-length"));
            return Ok(());
        }
        // Without padding, which 1.0 takes off.
        prop_assume!(version > Version::V1_0 || headers.iter().all(|(name, value)| {
            let is_plain = |text: &str| !text.starts_with([' ', '\t']) && !text.ends_with([' ', '\t']);
            is_plain(name) && is_plain(value)
        }));
        let (front, back) = bytes.split_at(split.index(bytes.len()));
        let (mut found, rest) = frames_in_pieces(version, LIMITS, [front, back]);
        prop_assert_eq!((found.len(), rest), (1, Ok(0)));
        let frame = found.remove(0);
        let mut expected = headers;
        if command.may_have_body() {
            expected.push(("content-length".into(), body.len().to_string()));
        }
        prop_assert_eq!((frame.command, frame.headers, frame.body), (command, expected, body));
    }
}

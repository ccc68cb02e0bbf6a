//! What holds for all frames.

use super::{LIMITS, frames_in_pieces};
use crate::codec::{Command, encode};
use proptest::collection::vec;
use proptest::prelude::*;

const TEXT: &str = "[\\r\\n:\\\\a-c\\PC]{0,12}";
const NAME: &str = "[\\r\\n:\\\\a-c\\PC]{1,12}";

proptest! {
    /// [STOMP-1.2/Value Encoding]: whatever is encoded is decoded to the same, in any two pieces.
    #[test]
    fn frames_survive_the_wire(
        command in prop::sample::select(Command::ALL.to_vec()),
        headers in vec((NAME, TEXT), 0..8),
        body in vec(any::<u8>(), 0..64),
        split in any::<prop::sample::Index>(),
    ) {
        let body = if command.may_have_body() { body } else { Vec::new() };
        let given = headers.iter().map(|(name, value)| (&**name, &**value));
        let mut bytes = Vec::new();
        if encode(&mut bytes, command, given, &body).is_err() {
            prop_assert!(bytes.is_empty());
            prop_assert!(!command.has_escaped_headers() || headers.iter().any(|(name, _)| name == "content-length"));
            return Ok(());
        }
        let (front, back) = bytes.split_at(split.index(bytes.len()));
        let (mut found, rest) = frames_in_pieces(LIMITS, [front, back]);
        prop_assert_eq!((found.len(), rest), (1, Ok(0)));
        let frame = found.remove(0);
        let mut expected = headers;
        if command.may_have_body() {
            expected.push(("content-length".into(), body.len().to_string()));
        }
        prop_assert_eq!((frame.command, frame.headers, frame.body), (command, expected, body));
    }
}

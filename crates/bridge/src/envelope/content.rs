//! A payload inside of JSON: as JSON, as a string, or as base64.

use super::OpenError;
use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The deepest payload that becomes a part of an envelope. Many parsers stop at some hundred levels, and a payload that nobody can read must
/// not make the envelope around it one that nobody can read.
const DEPTH_MAX: usize = 64;

/// A payload as it stands in an envelope. What was read is always the first, whatever it is.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Content<'a>, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Content::Json)
    }
}

impl<'a> Content<'a> {
    /// The text as it stands in the envelope, or would stand there.
    pub(super) fn verbatim(self) -> &'a str {
        match self {
            Content::Json(json) => json.get(),
            Content::Text(text) => text,
        }
    }

    /// The text of a string; nothing where it is something else.
    pub(super) fn string(self) -> Result<Option<String>, OpenError> {
        match self.verbatim() {
            text if text.starts_with('"') => Ok(Some(serde_json::from_str(text)?)),
            _ => Ok(None),
        }
    }
}

/// For a field that may be missing: null is a value, and not its absence.
pub(super) fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Content<'a>>, D::Error> {
    Content::deserialize(deserializer).map(Some)
}

/// The payload where it is JSON that may stand in an envelope, without the spaces around it.
pub(super) fn json(payload: &[u8]) -> Option<&RawValue> {
    // Most payloads that are not JSON are not read over.
    let first = payload.iter().find(|byte| !byte.is_ascii_whitespace())?;
    let is_candidate = matches!(first, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n');
    let json: &RawValue = is_candidate.then(|| serde_json::from_slice(payload).ok())??;
    (depth(json.get()) <= DEPTH_MAX).then_some(json)
}

/// How deep arrays and objects stand in each other, in valid JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut is_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_string = !is_string,
            b'{' | b'[' if !is_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Bytes as base64.
pub(super) fn base64(bytes: &[u8]) -> Cow<'static, str> {
    BASE64.encode(bytes).into()
}

/// The bytes of base64.
pub(super) fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, OpenError> {
    BASE64.decode(text.as_bytes()).map_err(|_| OpenError::field(field, "is not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_that_of_the_structure_and_not_of_strings() {
        let cases =
            [("1", 0), ("[]", 1), (r#"{"a": [1, {}]}"#, 3), (r#"["[[[", "\"[["]"#, 1), (r#""\\""#, 0)];
        for (json, expected) in cases {
            assert_eq!(depth(json), expected, "{json}");
        }
    }

    #[test]
    fn only_json_that_everybody_can_read_becomes_a_part_of_an_envelope() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(json(nested(DEPTH_MAX).as_bytes()).is_some());
        assert!(json(nested(DEPTH_MAX + 1).as_bytes()).is_none());
        assert!(json(nested(100_000).as_bytes()).is_none());
        assert_eq!(json(b" {\"a\": 1.0} \n").map(RawValue::get), Some("{\"a\": 1.0}"));
        for text in [&b""[..], b" ", b"21.5 C", b"{} {}", b"tru", b"\"\xff\"", b"01"] {
            assert!(json(text).is_none(), "{text:?}");
        }
    }
}

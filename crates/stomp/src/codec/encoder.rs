//! Appends frames to a buffer. What comes out is a valid frame or nothing at all.

use super::escape::push_escaped;
use super::{Command, Version};

/// Why something cannot be said in a STOMP frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// [STOMP-1.2/Augmented BNF]
    #[error("a header has an empty name")]
    EmptyHeaderName,
    /// Readers take a NUL for the end of the frame, and STOMP has no escape for it.
    #[error("a header contains a NUL")]
    NullInHeader,
    /// CONNECT and CONNECTED have no escapes ([STOMP-1.2/Value Encoding]), 1.0 has none at all, and 1.1 none for a CR.
    #[error("a header of {0} contains a line end, or its name a colon, for which there is no escape")]
    NotEscapable(Command),
    /// [STOMP-1.2/Body]
    #[error("{0} must not have a body")]
    BodyNotAllowed(Command),
    /// The encoder counts the body itself, and of two headers the first would win.
    #[error("content-length is not for the caller to give")]
    ContentLengthGiven,
}

/// Appends one frame with these headers in this order; `content-length` is added wherever a body may be.
///
/// # Errors
///
/// Nothing is appended when the frame would not be valid.
pub fn encode<'h>(
    buffer: &mut Vec<u8>,
    version: Version,
    command: Command,
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    body: &[u8],
) -> Result<(), EncodeError> {
    let start = buffer.len();
    let outcome = encode_unchecked_end(buffer, version, command, headers, body);
    if outcome.is_err() {
        buffer.truncate(start);
    }
    outcome
}

/// Encodes, and leaves a piece of a frame behind on an error.
fn encode_unchecked_end<'h>(
    buffer: &mut Vec<u8>,
    version: Version,
    command: Command,
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    body: &[u8],
) -> Result<(), EncodeError> {
    buffer.extend_from_slice(command.as_str().as_bytes());
    buffer.push(b'\n');
    // What is not escaped looks as it does in 1.0.
    let version = if command.has_escaped_headers() { version } else { Version::V1_0 };
    for (name, value) in headers {
        check_header(version, command, name, value)?;
        push_header(buffer, version, name, value);
    }
    match command.may_have_body() {
        true => end_with_body(buffer, body),
        false if body.is_empty() => buffer.extend_from_slice(b"\n\0"),
        false => return Err(EncodeError::BodyNotAllowed(command)),
    }
    Ok(())
}

/// Whether a header can stand in a frame of this command.
fn check_header(version: Version, command: Command, name: &str, value: &str) -> Result<(), EncodeError> {
    if name.is_empty() {
        return Err(EncodeError::EmptyHeaderName);
    }
    if name == "content-length" {
        return Err(EncodeError::ContentLengthGiven);
    }
    if name.contains('\0') || value.contains('\0') {
        return Err(EncodeError::NullInHeader);
    }
    match version.can_express_name(name) && version.can_express(value) {
        true => Ok(()),
        false => Err(EncodeError::NotEscapable(command)),
    }
}

/// Appends a header line, escaped. The name is not empty and the version can express both texts.
pub(crate) fn push_header(buffer: &mut Vec<u8>, version: Version, name: &str, value: &str) {
    push_escaped(buffer, version, name);
    buffer.push(b':');
    push_escaped(buffer, version, value);
    buffer.push(b'\n');
}

/// Appends a header line whose texts need no escapes.
pub(crate) fn push_raw_header(buffer: &mut Vec<u8>, name: &str, value: &[u8]) {
    buffer.extend_from_slice(name.as_bytes());
    buffer.push(b':');
    buffer.extend_from_slice(value);
    buffer.push(b'\n');
}

/// Appends `content-length`, the blank line, the body and the NUL: the rest of a frame that may have a body.
pub(crate) fn end_with_body(buffer: &mut Vec<u8>, body: &[u8]) {
    buffer.extend_from_slice(b"content-length:");
    push_decimal(buffer, body.len() as u64);
    buffer.extend_from_slice(b"\n\n");
    buffer.extend_from_slice(body);
    buffer.push(0);
}

/// Appends a number in decimal digits.
pub(crate) fn push_decimal(buffer: &mut Vec<u8>, number: u64) {
    if number < 10 {
        return buffer.push(b'0' + number as u8);
    }
    // As many digits as the largest number has.
    let mut digits = [0; 20];
    let (mut rest, mut start) = (number, digits.len());
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    buffer.extend_from_slice(digits.get(start..).unwrap_or_default());
}

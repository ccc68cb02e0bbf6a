//! The head of a frame: command and headers, up to and with the blank line, parsed with nom.
//!
//! Sees only complete heads, whose size and number of lines the decoder has checked.

use super::escape::unescape;
use super::search::find_any;
use super::{Command, DecodeError, FrameLimits, Headers, Version};
use memchr::{memchr, memchr3};
use nom::error::{Error, ErrorKind};
use nom::{Err, IResult};

/// A header as it stands on the wire: name and value.
type RawHeader<T> = (T, T);

/// The limits of a head that the decoder has checked.
const CHECKED: FrameLimits = FrameLimits {
    head_bytes: usize::MAX,
    header_line_bytes: usize::MAX,
    headers: usize::MAX,
    body_bytes: usize::MAX,
};

/// Parses a complete head within its limits.
pub(super) fn parse_head(version: Version, head: &[u8]) -> Result<(Command, Headers<'_>), DecodeError> {
    if let Some((command, headers, _)) = plain_head(version, head, &CHECKED) {
        return Ok((command, headers));
    }
    let text = simdutf8::basic::from_utf8(head).map_err(|_| DecodeError::HeadNotUtf8)?;
    converted_head(version, text)
}

/// Parses the head at the front of what may be more, and says where it ends, in a single search for lines and colons. Nearly all clients end
/// lines with LF alone and escape nothing. Nothing for any other head, and for one that is wrong, too large or not complete: the decoder
/// then looks line by line.
pub(super) fn plain_head<'a>(
    version: Version,
    input: &'a [u8],
    limits: &FrameLimits,
) -> Option<(Command, Headers<'a>, usize)> {
    let (mut rest, word) = before_line_end(input).ok()?;
    let mut headers = Headers::default();
    while rest.first() != Some(&b'\n') {
        let (behind, (name, value)) = plain_header(rest).ok()?;
        if name.len() + 1 + value.len() > limits.header_line_bytes || headers.len() >= limits.headers {
            return None;
        }
        headers.push_place(input.len() - rest.len(), name.len(), value.len());
        rest = behind;
    }
    let end = input.len() - rest.len() + 1;
    let head = input.get(..end)?;
    let is_plain = memchr3(b'\r', b'\\', 0, head).is_none() && !version.pads_headers();
    if !is_plain || end > limits.head_bytes {
        return None;
    }
    let command = Command::parse(std::str::from_utf8(word).ok()?)?;
    Some((command, headers.within(simdutf8::basic::from_utf8(head).ok()?), end))
}

/// Parses a head whose lines may end with CR LF, and whose headers do not stand there as they are meant.
#[cold]
fn converted_head(version: Version, text: &str) -> Result<(Command, Headers<'_>), DecodeError> {
    let (mut rest, word) = line_with_return(text).map_err(|_| DecodeError::UnknownCommand)?;
    let command = Command::parse(word).ok_or(DecodeError::UnknownCommand)?;
    let mut headers = Headers::default();
    while !matches!(rest, "\n" | "\r\n") {
        let (behind, raw) = header_with_return(rest).map_err(|_| DecodeError::MalformedHeader)?;
        push_converted(&mut headers, version, command, raw)?;
        rest = behind;
    }
    Ok((command, headers))
}

/// One header line: a name of at least one character, a colon, a value.
///
/// The grammar has no colon in a value; clients that were written for STOMP 1.0 send it all the same, and it can be meant
/// in no other way, so it is taken.
fn plain_header(input: &[u8]) -> IResult<&[u8], RawHeader<&[u8]>> {
    let (value, name) = split_at(find_any([b':', b'\n'], input), input)?;
    if name.is_empty() || input.get(name.len()) != Some(&b':') {
        return Err(Err::Error(Error::new(input, ErrorKind::Verify)));
    }
    let (rest, value) = before_line_end(value)?;
    Ok((rest, (name, value)))
}

/// The same where lines may end with CR LF.
fn header_with_return(text: &str) -> IResult<&str, RawHeader<&str>> {
    let (rest, line) = line_with_return(text)?;
    let (value, name) = before(b':', line)?;
    match name.is_empty() {
        true => Err(Err::Error(Error::new(text, ErrorKind::Verify))),
        false => Ok((rest, (name, value))),
    }
}

/// One line, without its end: LF ([STOMP-1.2/Augmented BNF]).
fn before_line_end(input: &[u8]) -> IResult<&[u8], &[u8]> {
    split_at(find_any([b'\n'], input), input)
}

/// Takes what stands before a byte, and the byte.
#[inline]
fn split_at(found: Option<usize>, input: &[u8]) -> IResult<&[u8], &[u8]> {
    let parts = found.and_then(|at| Some((input.get(..at)?, input.get(at + 1..)?)));
    let (taken, rest) = parts.ok_or_else(|| Err::Error(Error::new(input, ErrorKind::TakeUntil)))?;
    Ok((rest, taken))
}

/// One line, without its end: LF, or CR LF ([STOMP-1.2/Augmented BNF]), whatever the version. A CR anywhere else is an error.
fn line_with_return(text: &str) -> IResult<&str, &str> {
    let (rest, line) = before(b'\n', text)?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    match memchr(b'\r', line.as_bytes()) {
        Some(_) => Err(Err::Error(Error::new(text, ErrorKind::CrLf))),
        None => Ok((rest, line)),
    }
}

/// Takes what stands before an ASCII character, and the character. nom's own search for text goes character by character.
fn before(end: u8, text: &str) -> IResult<&str, &str> {
    let at = memchr(end, text.as_bytes());
    let parts = at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
    let (taken, rest) = parts.ok_or_else(|| Err::Error(Error::new(text, ErrorKind::TakeUntil)))?;
    Ok((rest, taken))
}

/// Appends a header as it is meant: without escapes, or in 1.0 without the spaces that its writers put around names and values as they liked.
fn push_converted(
    headers: &mut Headers<'_>,
    version: Version,
    command: Command,
    (name, value): RawHeader<&str>,
) -> Result<(), DecodeError> {
    if version.pads_headers() {
        let [name, value] = [name, value].map(|text| text.trim_matches([' ', '\t']));
        if name.is_empty() {
            return Err(DecodeError::MalformedHeader);
        }
        headers.push_copy(name, value);
    } else if command.has_escaped_headers() {
        let text = |text| unescape(version, text).ok_or(DecodeError::UndefinedEscape { version });
        headers.push_copy(&text(name)?, &text(value)?);
    } else {
        headers.push_copy(name, value);
    }
    Ok(())
}

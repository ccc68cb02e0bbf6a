//! The head of a frame: command and headers, up to and with the blank line, parsed with nom.
//!
//! Sees only complete heads, whose size and number of lines the decoder has checked.

use super::escape::unescape;
use super::search::{find, find_either};
use super::{Command, DecodeError, Headers, Version};
use memchr::{memchr, memchr2};
use nom::error::{Error, ErrorKind};
use nom::{Err, IResult};

/// A header as it stands on the wire: name and value.
type RawHeader<'a> = (&'a str, &'a str);

/// Parses a complete head.
#[inline]
pub(super) fn parse_head(version: Version, head: &[u8]) -> Result<(Command, Headers<'_>), DecodeError> {
    let text = simdutf8::basic::from_utf8(head).map_err(|_| DecodeError::HeadNotUtf8)?;
    // Nearly all clients end lines with LF alone and escape nothing, so that most heads are only taken apart.
    if memchr2(b'\r', b'\\', head).is_some() || version.pads_headers() {
        return converted_head(version, text);
    }
    let (lines, command) = command(before_line_end, text)?;
    let mut headers = Headers::within(lines);
    let mut rest = lines;
    while rest != "\n" {
        let (behind, (name, value)) = plain_header(rest).map_err(|_| DecodeError::MalformedHeader)?;
        headers.push_place(lines.len() - rest.len(), name.len(), value.len());
        rest = behind;
    }
    Ok((command, headers))
}

/// Parses a head whose lines may end with CR LF, and whose headers do not stand there as they are meant.
#[cold]
fn converted_head(version: Version, text: &str) -> Result<(Command, Headers<'_>), DecodeError> {
    let (mut rest, command) = command(line_with_return, text)?;
    let mut headers = Headers::default();
    while !matches!(rest, "\n" | "\r\n") {
        let (behind, raw) = header_with_return(rest).map_err(|_| DecodeError::MalformedHeader)?;
        push_converted(&mut headers, version, command, raw)?;
        rest = behind;
    }
    Ok((command, headers))
}

/// The first line.
fn command<'a>(
    line: impl Fn(&'a str) -> IResult<&'a str, &'a str>,
    text: &'a str,
) -> Result<(&'a str, Command), DecodeError> {
    let (rest, word) = line(text).map_err(|_| DecodeError::UnknownCommand)?;
    Command::parse(word).map(|command| (rest, command)).ok_or(DecodeError::UnknownCommand)
}

/// One header line: a name of at least one character, a colon, a value.
///
/// The grammar has no colon in a value; clients that were written for STOMP 1.0 send it all the same, and it can be meant
/// in no other way, so it is taken.
fn plain_header(text: &str) -> IResult<&str, RawHeader<'_>> {
    let (value, name) = split_at(find_either([b':', b'\n'], text.as_bytes()), text)?;
    if name.is_empty() || text.as_bytes().get(name.len()) != Some(&b':') {
        return Err(Err::Error(Error::new(text, ErrorKind::Verify)));
    }
    let (rest, value) = before_line_end(value)?;
    Ok((rest, (name, value)))
}

/// The same where lines may end with CR LF.
fn header_with_return(text: &str) -> IResult<&str, RawHeader<'_>> {
    let (rest, line) = line_with_return(text)?;
    let (value, name) = split_at(memchr(b':', line.as_bytes()), line)?;
    match name.is_empty() {
        true => Err(Err::Error(Error::new(text, ErrorKind::Verify))),
        false => Ok((rest, (name, value))),
    }
}

/// One line, without its end: LF ([STOMP-1.2/Augmented BNF]).
fn before_line_end(text: &str) -> IResult<&str, &str> {
    split_at(find(b'\n', text.as_bytes()), text)
}

/// One line, without its end: LF, or CR LF ([STOMP-1.2/Augmented BNF]), whatever the version. A CR anywhere else is an error.
fn line_with_return(text: &str) -> IResult<&str, &str> {
    let (rest, line) = before_line_end(text)?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    match memchr(b'\r', line.as_bytes()) {
        Some(_) => Err(Err::Error(Error::new(text, ErrorKind::CrLf))),
        None => Ok((rest, line)),
    }
}

/// Takes what stands before an ASCII character, and the character. nom's own search for text goes character by character.
fn split_at(found: Option<usize>, text: &str) -> IResult<&str, &str> {
    let parts = found.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
    let (taken, rest) = parts.ok_or_else(|| Err::Error(Error::new(text, ErrorKind::TakeUntil)))?;
    Ok((rest, taken))
}

/// Appends a header as it is meant: without escapes, or in 1.0 without the spaces that its writers put around names and values as they liked.
fn push_converted(
    headers: &mut Headers<'_>,
    version: Version,
    command: Command,
    (name, value): RawHeader<'_>,
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

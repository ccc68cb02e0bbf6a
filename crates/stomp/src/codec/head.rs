//! The head of a frame: command and headers, up to and with the blank line, parsed with nom.
//!
//! Sees only complete heads, whose size and number of lines the decoder has checked.

use super::escape::unescape;
use super::{Command, DecodeError, Header, Headers, Version};
use memchr::memchr;
use nom::combinator::iterator;
use nom::error::{Error, ErrorKind};
use nom::{Err, IResult};
use std::borrow::Cow;

/// A header as it stands on the wire: name and value.
type RawHeader<'a> = (&'a str, &'a str);

/// Makes a header of what stands on the wire.
type Convert<'a> = fn(Version, RawHeader<'a>) -> Result<Header<'a>, DecodeError>;

/// Takes one line off the front.
type Line<'a> = fn(&'a str) -> IResult<&'a str, &'a str>;

/// Parses a complete head.
pub(super) fn parse_head(version: Version, head: &[u8]) -> Result<(Command, Headers<'_>), DecodeError> {
    let text = simdutf8::basic::from_utf8(head).map_err(|_| DecodeError::HeadNotUtf8)?;
    // Nearly all clients end lines with LF alone, so that no line of theirs needs to be searched.
    let line = if memchr(b'\r', head).is_some() { line_with_return } else { line_of };
    let (rest, word) = line(text).map_err(|_| DecodeError::UnknownCommand)?;
    let command = Command::parse(word).ok_or(DecodeError::UnknownCommand)?;
    let convert = match command.has_escaped_headers() && memchr(b'\\', head).is_some() {
        _ if version.pads_headers() => unpadded,
        true => unescaped,
        false => verbatim,
    };
    Ok((command, headers(version, rest, line, convert)?))
}

/// All header lines and the blank line behind them.
fn headers<'a>(
    version: Version,
    text: &'a str,
    line: Line<'a>,
    convert: Convert<'a>,
) -> Result<Headers<'a>, DecodeError> {
    let mut headers = Headers::default();
    let mut lines = iterator(text, |text| header(text, line));
    for raw in lines.by_ref() {
        headers.push(convert(version, raw)?);
    }
    let (rest, ()) = lines.finish().map_err(|_: Err<Error<&str>>| DecodeError::MalformedHeader)?;
    match line(rest) {
        Ok(("", "")) => Ok(headers),
        _ => Err(DecodeError::MalformedHeader),
    }
}

/// One header line: a name of at least one character, a colon, a value.
///
/// The grammar has no colon in a value; clients that were written for STOMP 1.0 send it all the same, and it can be meant
/// in no other way, so it is taken.
fn header<'a>(text: &'a str, line: Line<'a>) -> IResult<&'a str, RawHeader<'a>> {
    let (rest, line) = line(text)?;
    let (value, name) = before(b':', line)?;
    match name.is_empty() {
        true => Err(Err::Error(Error::new(text, ErrorKind::Verify))),
        false => Ok((rest, (name, value))),
    }
}

/// One line, without its end: LF ([STOMP-1.2/Augmented BNF]).
fn line_of(text: &str) -> IResult<&str, &str> {
    before(b'\n', text)
}

/// One line, without its end: LF, or CR LF ([STOMP-1.2/Augmented BNF]), whatever the version. A CR anywhere else is an error.
fn line_with_return(text: &str) -> IResult<&str, &str> {
    let (rest, line) = line_of(text)?;
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

/// A header of a frame whose headers are not escaped, or of one that has no escape in it.
fn verbatim<'a>(_: Version, (name, value): RawHeader<'a>) -> Result<Header<'a>, DecodeError> {
    Ok(Header { name: Cow::Borrowed(name), value: Cow::Borrowed(value) })
}

/// A header of a frame whose headers are escaped.
fn unescaped<'a>(version: Version, (name, value): RawHeader<'a>) -> Result<Header<'a>, DecodeError> {
    let text = |text| unescape(version, text).ok_or(DecodeError::UndefinedEscape { version });
    Ok(Header { name: text(name)?, value: text(value)? })
}

/// A header of 1.0, whose writers put spaces around names and values as they liked.
fn unpadded<'a>(version: Version, (name, value): RawHeader<'a>) -> Result<Header<'a>, DecodeError> {
    let [name, value] = [name, value].map(|text| text.trim_matches([' ', '\t']));
    match name.is_empty() {
        true => Err(DecodeError::MalformedHeader),
        false => verbatim(version, (name, value)),
    }
}

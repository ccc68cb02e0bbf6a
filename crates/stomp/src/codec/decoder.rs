//! Finds frames at the front of a stream that may arrive byte by byte.
//!
//! The stream is offered again and again from the start of the unfinished frame. The decoder remembers how far it has looked,
//! so every byte of a head is searched at most twice, a head is parsed at most twice, and a body of known length is not looked at before it is complete.
//! It keeps no bytes.

use super::head::{parse_head, plain_head};
use super::search::find_any;
use super::{Command, Frame, Headers, Version};
use memchr::memchr;

/// The longest first line in bytes: the longest command, `UNSUBSCRIBE`, with the CR behind it.
const COMMAND_LINE_BYTES_MAX: usize = 12;

/// What a frame may weigh; checked before more of it is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Command and all headers with their line ends, in bytes.
    pub head_bytes: usize,
    /// One header line without its LF, in bytes.
    pub header_line_bytes: usize,
    /// How many header lines.
    pub headers: usize,
    /// The body, in bytes.
    pub body_bytes: usize,
}

/// Why a stream is not STOMP, or more than its reader takes. Fatal: the place of the next frame is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first line is no command of any version.
    #[error("the frame's command is not one of STOMP")]
    UnknownCommand,
    /// A header line without a colon or a name, or with a CR inside it.
    #[error("a header line is not a name, a colon and a value")]
    MalformedHeader,
    /// [STOMP-1.2/Value Encoding]
    #[error("a header has an escape other than {}", .version.escapes_in_words())]
    UndefinedEscape {
        /// The version, which has other ones.
        version: Version,
    },
    /// [STOMP-1.2/Value Encoding]
    #[error("the headers are not valid UTF-8")]
    HeadNotUtf8,
    /// A NUL ends a frame, so one before the blank line means that the blank line is missing.
    #[error("a NUL stands before the blank line that ends the headers")]
    NullInHead,
    /// [STOMP-1.2/Header content-length]
    #[error("content-length is not a number of bytes")]
    InvalidContentLength,
    /// [STOMP-1.2/Header content-length]
    #[error("no NUL stands behind a body of content-length {content_length}")]
    ContentLengthMismatch {
        /// The length that the frame claims, in bytes.
        content_length: usize,
    },
    /// [STOMP-1.2/Size Limits]
    #[error("the headers have more than {limit} bytes, which is the limit")]
    HeadTooLarge {
        /// [`FrameLimits::head_bytes`].
        limit: usize,
    },
    /// [STOMP-1.2/Size Limits]
    #[error("a header line has more than {limit} bytes, which is the limit")]
    HeaderLineTooLong {
        /// [`FrameLimits::header_line_bytes`].
        limit: usize,
    },
    /// [STOMP-1.2/Size Limits]
    #[error("the frame has more than {limit} headers, which is the limit")]
    TooManyHeaders {
        /// [`FrameLimits::headers`].
        limit: usize,
    },
    /// [STOMP-1.2/Size Limits]
    #[error("the body has more than {limit} bytes, which is the limit")]
    BodyTooLarge {
        /// [`FrameLimits::body_bytes`].
        limit: usize,
    },
}

/// What stood at the front of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The first frame; nothing where it is not complete.
    pub frame: Option<Frame<'a>>,
    /// How many bytes that took, line ends before the frame (heart-beats) included; they are not offered again.
    pub consumed: usize,
}

/// The place of the decoder in its stream.
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    limits: FrameLimits,
    progress: Progress,
}

/// How much of the frame at the front is known.
#[derive(Debug)]
enum Progress {
    /// The blank line has not been seen.
    Head(HeadSearch),
    /// The end of the body has not been seen.
    Body(BodySearch),
}

/// Looks for the end of a head, line by line. Positions count from the start of the frame.
#[derive(Debug, Default)]
struct HeadSearch {
    scanned: usize,
    line_start: usize,
    lines: usize,
}

/// Looks for the NUL behind a body. Positions count from the start of the frame.
#[derive(Debug, Clone, Copy)]
struct BodySearch {
    start: usize,
    scanned: usize,
    content_length: Option<usize>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(version: Version, limits: FrameLimits) -> Decoder {
        Decoder { version, limits, progress: Progress::Head(HeadSearch::default()) }
    }

    /// Takes the first frame off the front of `input`, which begins where the last call stopped consuming.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Decoded<'a>, DecodeError> {
        let between_frames = matches!(self.progress, Progress::Head(HeadSearch { scanned: 0, .. }));
        let skipped = if between_frames { line_ends(input) } else { 0 };
        let rest = input.get(skipped..).unwrap_or_default();
        if rest == b"\r" {
            return Ok(Decoded { frame: None, consumed: skipped });
        }
        let Some((frame, bytes)) = self.frame(rest)? else {
            return Ok(Decoded { frame: None, consumed: skipped });
        };
        self.progress = Progress::Head(HeadSearch::default());
        Ok(Decoded { frame: Some(frame), consumed: skipped + bytes })
    }

    /// How many bytes the unfinished frame at the front will have; 1 where that is not known.
    pub fn bytes_wanted(&self) -> usize {
        match self.progress {
            Progress::Body(BodySearch { start, content_length: Some(length), .. }) => start + length + 1,
            _ => 1,
        }
    }

    /// The headers of the frame at the front that has just been refused, where they were not what is wrong with it.
    pub fn refused_headers<'a>(&self, input: &'a [u8]) -> Option<Headers<'a>> {
        let Progress::Body(search) = &self.progress else { return None };
        let head = input.get(line_ends(input)..)?.get(..search.start)?;
        parse_head(self.version, head).ok().map(|(_, headers)| headers)
    }

    /// The frame at the very front and its size in bytes.
    fn frame<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Frame<'a>, usize)>, DecodeError> {
        let (mut search, head) = match &mut self.progress {
            Progress::Body(search) => (*search, None),
            Progress::Head(search) => {
                let whole = match search.scanned {
                    0 => plain_head(self.version, input, &self.limits),
                    _ => None,
                };
                let (start, head) = match whole {
                    Some((command, headers, start)) => (start, (command, headers)),
                    None => {
                        let Some(start) = search.end(input, &self.limits)? else { return Ok(None) };
                        (start, parse_head(self.version, input.get(..start).unwrap_or_default())?)
                    }
                };
                let mut search = BodySearch { start, scanned: start, content_length: None };
                self.progress = Progress::Body(search);
                search.content_length = content_length(&head.1, self.limits.body_bytes)?;
                (search, Some(head))
            }
        };
        let Some(end) = search.end(input, self.limits.body_bytes)? else {
            self.progress = Progress::Body(search);
            return Ok(None);
        };
        let (command, headers): (Command, Headers<'a>) = match head {
            Some(head) => head,
            None => parse_head(self.version, input.get(..search.start).unwrap_or_default())?,
        };
        let body = input.get(search.start..end).unwrap_or_default();
        Ok(Some((Frame { command, headers, body }, end + 1)))
    }
}

impl HeadSearch {
    /// Where the head ends, behind its blank line.
    fn end(&mut self, input: &[u8], limits: &FrameLimits) -> Result<Option<usize>, DecodeError> {
        loop {
            let unseen = input.get(self.scanned..).unwrap_or_default();
            let found = find_any([b'\n', 0], unseen).map(|at| self.scanned + at);
            self.check_size(found.unwrap_or(input.len()), limits)?;
            let Some(at) = found else {
                self.scanned = input.len();
                return Ok(None);
            };
            if input.get(at) == Some(&0) {
                return Err(DecodeError::NullInHead);
            }
            if matches!(input.get(self.line_start..at), Some(b"" | b"\r")) {
                return Ok(Some(at + 1));
            }
            self.lines += 1;
            if self.lines > limits.headers.saturating_add(1) {
                return Err(DecodeError::TooManyHeaders { limit: limits.headers });
            }
            (self.line_start, self.scanned) = (at + 1, at + 1);
        }
    }

    /// Names the limit that is met first when the current line reaches to `end`, however the bytes came in.
    fn check_size(&self, end: usize, limits: &FrameLimits) -> Result<(), DecodeError> {
        let (line_limit, error) = match self.lines {
            0 => (COMMAND_LINE_BYTES_MAX, DecodeError::UnknownCommand),
            _ => {
                let limit = limits.header_line_bytes;
                (limit, DecodeError::HeaderLineTooLong { limit })
            }
        };
        let line_max = self.line_start.saturating_add(line_limit);
        if end > line_max && line_max <= limits.head_bytes {
            return Err(error);
        }
        match end > limits.head_bytes {
            true => Err(DecodeError::HeadTooLarge { limit: limits.head_bytes }),
            false => Ok(()),
        }
    }
}

impl BodySearch {
    /// Where the body's NUL stands.
    fn end(&mut self, input: &[u8], limit: usize) -> Result<Option<usize>, DecodeError> {
        if let Some(content_length) = self.content_length {
            let end = self.start + content_length;
            return match input.get(end) {
                None => Ok(None),
                Some(0) => Ok(Some(end)),
                Some(_) => Err(DecodeError::ContentLengthMismatch { content_length }),
            };
        }
        let unseen = input.get(self.scanned..).unwrap_or_default();
        let found = memchr(0, unseen).map(|at| self.scanned + at);
        self.scanned = input.len();
        match found.unwrap_or(input.len()) - self.start > limit {
            true => Err(DecodeError::BodyTooLarge { limit }),
            false => Ok(found),
        }
    }
}

/// The length of the body where the frame tells it, checked against the limit ([STOMP-1.2/Header content-length]).
fn content_length(headers: &Headers<'_>, limit: usize) -> Result<Option<usize>, DecodeError> {
    let Some(text) = headers.get("content-length") else { return Ok(None) };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecodeError::InvalidContentLength);
    }
    match text.parse::<usize>() {
        Ok(length) if length <= limit => Ok(Some(length)),
        _ => Err(DecodeError::BodyTooLarge { limit }),
    }
}

/// How many bytes of complete line ends stand at the front ([STOMP-1.2/Heart-beating], [STOMP-1.2/Augmented BNF]).
fn line_ends(input: &[u8]) -> usize {
    let mut rest = input;
    while let [b'\n', behind @ ..] | [b'\r', b'\n', behind @ ..] = rest {
        rest = behind;
    }
    input.len() - rest.len()
}

//! The first and the last line of an export, looked at before anything of it is taken.

use crate::ImportError;
use crate::form::Line;
use crate::import::beginning;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

/// No first and no last line is longer.
const LINE_BYTES_MAX: u64 = 256;

/// Whether a file begins and ends as an export does, which is known without reading what stands between. Goes back to its beginning.
pub fn check_ends(file: &mut (impl BufRead + Seek)) -> Result<(), ImportError> {
    let mut first = Vec::new();
    file.take(LINE_BYTES_MAX).read_until(b'\n', &mut first)?;
    beginning(&first).map_err(|problem| ImportError::Line { line: 1, problem })?;
    let bytes = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(bytes.saturating_sub(LINE_BYTES_MAX)))?;
    let mut tail = Vec::new();
    file.take(LINE_BYTES_MAX).read_to_end(&mut tail)?;
    file.rewind()?;
    if is_end(&tail) {
        return Ok(());
    }
    Err(ImportError::Cut { lines: lines(file)? })
}

fn is_end(tail: &[u8]) -> bool {
    let tail = tail.strip_suffix(b"\n").unwrap_or(tail);
    let last = tail.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    matches!(serde_json::from_slice(last), Ok(Line::End(_)))
}

/// How many lines there are, with one that is only begun.
fn lines(file: &mut impl BufRead) -> io::Result<usize> {
    let (mut lines, mut last) = (0, b'\n');
    loop {
        let piece = file.fill_buf()?;
        let Some(end) = piece.last() else { return Ok(lines + usize::from(last != b'\n')) };
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
        last = *end;
        let taken = piece.len();
        file.consume(taken);
    }
}

//! Passwords of bridges, in files of their own.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest file that is read. A password is a line.
const FILE_BYTES_MAX: u64 = 4096;

/// The first line of a file. The error names the file and nothing of what is in it.
pub(super) fn read_password(file: &Path) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = read(file).map_err(|error| failed(&error))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_owned()),
        None => Err(failed(&"the first line is empty")),
    }
}

fn read(file: &Path) -> io::Result<String> {
    // Asked before opening: a pipe would wait for its writer.
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::other("this is no regular file"));
    }
    let mut text = String::new();
    File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}

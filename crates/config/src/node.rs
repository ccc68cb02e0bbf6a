//! What is taken from the machine when the configuration leaves it open: its name and the number of its cores.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::file::read_text;
use crate::forms::check_name;

/// The name of last resort.
const FALLBACK: &str = "tidegate";

/// Longest `/etc/hostname` that is looked at.
const HOSTNAME_FILE_BYTES_MAX: u64 = 4096;

/// The name of this machine, from `/etc/hostname` or else from `HOSTNAME`, if it is usable as the name of a node.
pub(crate) fn machine_name(environment: &[(OsString, OsString)]) -> String {
    let file = read_text(Path::new("/etc/hostname"), HOSTNAME_FILE_BYTES_MAX).ok();
    let variable =
        environment.iter().find(|(name, _)| name == "HOSTNAME").and_then(|(_, value)| OsStr::to_str(value));
    let usable = |text: &str| {
        let name = text.trim();
        check_name(name).is_ok().then(|| name.to_owned())
    };
    file.as_deref()
        .and_then(usable)
        .or_else(|| variable.and_then(usable))
        .unwrap_or_else(|| FALLBACK.to_owned())
}

/// Cores that this process may use, at least one.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

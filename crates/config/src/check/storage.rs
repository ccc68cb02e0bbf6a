//! What is kept over a restart: whether the data folder can be used, and whether its files can be as large as they should. Nothing is created or
//! written by a check.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::findings::{Findings, Part, item, join};
use crate::schema::{Acknowledge, Config};

/// Files that fit into `limits.disk`, so that space comes back in small parts of it.
const SEGMENTS_MIN: u64 = 32;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    check_segments(config, findings);
    if findings.is_reported("data_dir") {
        return;
    }
    match config.data_dir.as_deref().map(obstacle) {
        Some(Some(obstacle)) => findings.error("data_dir", Part::Value, obstacle, None),
        Some(None) => {}
        None => check_promises(config, findings),
    }
}

/// The folder has to be one that this user may write to, or has to be missing from one: a folder above it that is missing may be a disk that
/// is not mounted.
fn obstacle(folder: &Path) -> Option<String> {
    const MISSING: [ErrorKind; 2] = [ErrorKind::NotFound, ErrorKind::NotADirectory];
    let exists = !matches!(std::fs::metadata(folder), Err(error) if MISSING.contains(&error.kind()));
    let part = match folder.parent().filter(|_| !exists) {
        None => folder,
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    let shown = part.display();
    match std::fs::metadata(part) {
        Ok(metadata) if !metadata.is_dir() => Some(format!("`data_dir`: {shown} is not a folder")),
        Ok(_) => {
            let error = access(part, Access::WRITE_OK | Access::EXEC_OK).err()?;
            Some(format!("`data_dir`: {shown} cannot be written to: {error}"))
        }
        Err(error) if MISSING.contains(&error.kind()) => {
            Some(format!("`data_dir`: there is no folder {shown}, and only the last one of a path is made"))
        }
        Err(error) => Some(format!("`data_dir`: {shown} cannot be used: {error}")),
    }
}

/// Smaller files are made where these would be too few.
fn check_segments(config: &Config, findings: &mut Findings<'_>) {
    let (disk, segment) = (config.limits.disk, config.store.segment_bytes);
    let is_unclear = ["limits.disk", "store.segment_bytes"].iter().any(|path| findings.is_reported(path));
    if segment.bytes() > disk.bytes() / SEGMENTS_MIN && findings.is_set("store.segment_bytes") && !is_unclear
    {
        let message = format!(
            "`segment_bytes` ({segment}) is never reached: files are a thirty-second of `limits.disk` ({disk}) at the most"
        );
        findings.warning("store.segment_bytes", message, None);
    }
}

/// What a policy says of the disk means nothing where nothing is kept.
fn check_promises(config: &Config, findings: &mut Findings<'_>) {
    for (index, policy) in config.topics.iter().enumerate() {
        let acknowledge = join(&item("topic", index), "acknowledge");
        let is_forwarded =
            policy.acknowledge == Acknowledge::Forwarded && !findings.is_reported(&acknowledge);
        if is_forwarded {
            let message =
                "`acknowledge = \"forwarded\"` needs `data_dir`: what is not kept here cannot be waited for";
            findings.error(&acknowledge, Part::Value, message, Some("set `data_dir`".to_owned()));
        }
        for key in ["acknowledge", "disk_full"] {
            let path = join(&item("topic", index), key);
            if findings.is_set(&path) && !findings.is_reported(&path) {
                let message = format!("`{key}` has no effect: without `data_dir` nothing is kept");
                findings.warning(&path, message, Some("set `data_dir`".to_owned()));
            }
        }
    }
}

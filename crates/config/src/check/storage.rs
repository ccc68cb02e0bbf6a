//! What is kept over a restart: whether the data folder can be used, and whether its limit leaves room to work in. Nothing is created or
//! written by a check.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::findings::{Findings, Part, item, join};
use crate::schema::Config;

/// Files of the store that have to fit into `limits.disk`: one that is written, one that is being emptied, and some that hold something.
const SEGMENTS_MIN: u64 = 4;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    check_disk(config, findings);
    if findings.is_reported("data_dir") {
        return;
    }
    match config.data_dir.as_deref().map(obstacle) {
        Some(Some(obstacle)) => findings.error("data_dir", Part::Value, obstacle, None),
        Some(None) => {}
        None => check_promises(config, findings),
    }
}

/// The nearest part of the path that exists has to be a folder that this user may write to; the rest can be created below it.
fn obstacle(folder: &Path) -> Option<String> {
    let relative = folder.is_relative().then_some(Path::new("."));
    for part in folder.ancestors().filter(|part| !part.as_os_str().is_empty()).chain(relative) {
        match std::fs::metadata(part) {
            Ok(metadata) if !metadata.is_dir() => {
                return Some(format!("`data_dir`: {} is not a folder", part.display()));
            }
            Ok(_) => {
                let error = access(part, Access::WRITE_OK | Access::EXEC_OK).err()?;
                return Some(format!("`data_dir`: {} cannot be written to: {error}", part.display()));
            }
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {}
            Err(error) => return Some(format!("`data_dir`: {} cannot be used: {error}", part.display())),
        }
    }
    None
}

fn check_disk(config: &Config, findings: &mut Findings<'_>) {
    let (disk, segment) = (config.limits.disk, config.store.segment_bytes);
    if disk.bytes() / SEGMENTS_MIN >= segment.bytes() {
        return;
    }
    let message = format!(
        "`limits.disk` ({disk}) is too small for files of {segment} (`store.segment_bytes`): {SEGMENTS_MIN} of them have to fit"
    );
    let path = if findings.is_set("limits.disk") { "limits.disk" } else { "store.segment_bytes" };
    findings.error(path, Part::Value, message, None);
}

/// What a policy says of the disk means nothing where nothing is kept.
fn check_promises(config: &Config, findings: &mut Findings<'_>) {
    for index in 0..config.topics.len() {
        for key in ["acknowledge", "disk_full"] {
            let path = join(&item("topic", index), key);
            if findings.is_set(&path) && !findings.is_reported(&path) {
                let message = format!("`{key}` has no effect: without `data_dir` nothing is kept");
                findings.warning(&path, message, Some("set `data_dir`".to_owned()));
            }
        }
    }
}

//! The data folder: whether it can exist. Nothing is created or written by a check.

use std::path::Path;

use crate::findings::{Findings, Part};
use crate::schema::Config;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let Some(folder) = config.data_dir.as_deref().filter(|_| !findings.is_reported("data_dir")) else {
        return;
    };
    if let Some(obstacle) = obstacle(folder) {
        findings.error("data_dir", Part::Value, obstacle, None);
        return;
    }
    let message = "this version stores nothing in `data_dir` yet: sessions, queued and retained messages live in memory and are \
                   gone after a restart";
    findings.warning("data_dir", message, None);
}

/// The nearest part of the path that exists has to be a folder; the rest can be created below it.
fn obstacle(folder: &Path) -> Option<String> {
    for part in folder.ancestors().filter(|part| !part.as_os_str().is_empty()) {
        match std::fs::metadata(part) {
            Ok(metadata) if metadata.is_dir() => return None,
            Ok(_) => return Some(format!("`data_dir`: {} is not a folder", part.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Some(format!("`data_dir`: {} cannot be used: {error}", part.display())),
        }
    }
    None
}

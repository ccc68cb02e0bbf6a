//! The data folder, the store's settings, and the budgets of memory and disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Folder, LISTENER, errors_of, load_all, load_text};
use std::os::unix::fs::PermissionsExt;
use tidegate_config::Config;

fn load(text: &str) -> Config {
    let loaded = load_text(text).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    loaded.config
}

#[track_caller]
fn assert_error(text: &str, pieces: &[&str]) {
    let errors = errors_of(format!("{LISTENER}{text}"));
    assert_eq!(errors.len(), 1, "{text}\n{errors:#?}");
    for piece in pieces {
        assert!(errors[0].contains(piece), "`{piece}` is not in:\n{}", errors[0]);
    }
}

#[test]
fn a_folder_that_can_be_made_is_taken() {
    let folder = Folder::new();
    let file = folder.write("gate.toml", format!("data_dir = 'data'\n{LISTENER}"));
    let loaded = load_all(Some(&file), &[], &[]).unwrap();
    assert_eq!(loaded.config.data_dir.unwrap(), folder.path().join("data"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(!folder.path().join("data").exists(), "a check makes nothing");
}

/// A path whose disk is not mounted must not be made on another one.
#[test]
fn folders_above_are_not_made() {
    let folder = Folder::new();
    let file = folder.write("gate.toml", format!("data_dir = 'a/b'\n{LISTENER}"));
    let report = load_all(Some(&file), &[], &[]).unwrap_err().to_string();
    assert!(report.contains("gate.toml:1:12") && report.contains("there is no folder"), "{report}");
    assert!(load_all(Some(&file), &[], &["data_dir=relative"]).is_ok());
}

#[test]
fn a_folder_that_cannot_be_used_is_refused() {
    let folder = Folder::new();
    folder.write("plain", "");
    let file = folder.write("gate.toml", format!("data_dir = 'plain/b'\n{LISTENER}"));
    let report = load_all(Some(&file), &[], &[]).unwrap_err().to_string();
    assert!(report.contains("gate.toml:1:12: error: `data_dir`: "), "{report}");
    assert!(report.contains("plain is not a folder"), "{report}");
}

/// The superuser may write everywhere, so there it is said only that the folder is taken.
#[test]
fn a_folder_that_cannot_be_written_to_is_refused() {
    let folder = Folder::new();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let file = folder.write("gate.toml", format!("data_dir = 'closed/b'\n{LISTENER}"));
    let may_write = std::fs::write(closed.join("probe"), "").is_ok();
    match load_all(Some(&file), &[], &[]) {
        Ok(_) => assert!(may_write),
        Err(report) => {
            assert!(!may_write && report.to_string().contains("closed cannot be written to"), "{report}");
        }
    }
}

#[test]
fn the_store_is_set_up_in_its_table() {
    let config = load(LISTENER);
    assert_eq!((config.store.segment_bytes.bytes(), config.store.skip_damaged), (16 << 20, false));
    assert_eq!(config.store.lazy_interval.duration().as_millis(), 1000);
    assert_eq!(config.limits.disk.bytes(), 1 << 30);
    let set = ["store.skip_damaged=true", "store.segment_bytes=1MiB", "limits.disk=4MiB"];
    let folder = Folder::new();
    let file = folder.write("gate.toml", LISTENER);
    let config = load_all(Some(&file), &[("TIDEGATE_STORE__LAZY_INTERVAL", "10ms")], &set).unwrap().config;
    assert!(config.store.skip_damaged && config.store.lazy_interval.duration().as_millis() == 10);
    assert_eq!((config.store.segment_bytes.bytes(), config.limits.disk.bytes()), (1 << 20, 4 << 20));
}

#[test]
fn files_that_are_too_large_for_the_disk_are_a_warning() {
    let warnings = |text: &str| load_text(format!("{LISTENER}{text}")).unwrap().warnings;
    let found = warnings("[limits]\ndisk='16MiB'\n[store]\nsegment_bytes='2MiB'");
    assert_eq!(found.first().and_then(|found| found.line()), Some(10), "{found:?}");
    assert!(warnings("[limits]\ndisk='16MiB'").is_empty());
    assert_error("[limits]\ndisk='1MiB'", &["gate.toml:8:6", "4MiB to"]);
}

#[test]
fn memory_is_divided_among_what_is_not_set() {
    let parts = |text: &str| {
        let limits = load(&format!("{LISTENER}[limits]\n{text}")).limits;
        [limits.subscription_bytes, limits.queued_bytes_total, limits.retained_bytes]
            .map(|part| part.bytes() >> 20)
    };
    assert_eq!(parts(""), [1024, 512, 256]);
    assert_eq!(parts("memory='64MiB'"), [32, 16, 8]);
    assert_eq!(parts("memory='64MiB'\nretained_bytes='1MiB'"), [32, 16, 1]);
    // Without a whole a part counts by itself.
    assert_eq!(parts("queued_bytes_total='4GiB'"), [1024, 4096, 256]);
}

#[test]
fn parts_that_are_more_than_the_whole_are_refused() {
    let more = "[limits]\nmemory='64MiB'\nqueued_bytes_total='40MiB'";
    assert_error(more, &["gate.toml:8:8", "`memory` (64MiB) is less", "`queued_bytes_total` (40MiB)"]);
    let rings = "[limits]\nmemory='64MiB'\n[[replay]]\ntopics=['#']";
    assert_error(rings, &["`memory` (64MiB) is less", "replay rings (16MiB)"]);
    load(&format!("{LISTENER}{}", rings.replace("64MiB", "128MiB")));
}

/// A queue may be longer than the memory where the rest of it is on the disk.
#[test]
fn a_long_queue_is_pointless_in_memory_only() {
    let limits = "[limits]\nqueued_bytes='1GiB'\n[[queue]]\nnames=['a']\nmax_bytes='1GiB'";
    let warnings = load_text(format!("{LISTENER}{limits}")).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    load(&format!("data_dir='data'\n{LISTENER}{limits}"));
}

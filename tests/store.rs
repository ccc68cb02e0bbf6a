//! The store of a gateway: who may have it, and what is said of it.

use crate::harness::{Ended, Gateway, Scratch, metric_sum, run_tidegate};
use std::path::Path;

const LISTENERS: &str = r#"
workers = 1
data_dir = "data"

[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true

[http]
bind = "127.0.0.1:0"
"#;

/// Starts on the store in the folder of a configuration.
fn start(scratch: &Scratch, tables: &str) -> Gateway {
    let file = scratch.write("tidegate.toml", format!("{LISTENERS}{tables}"));
    Gateway::start_with(Scratch::new(), ["--config".as_ref(), file.as_os_str()])
}

/// Starts where that must be refused.
fn refused(scratch: &Scratch) -> Ended {
    let file = scratch.folder().join("tidegate.toml");
    let ended = run_tidegate(["--config".as_ref(), file.as_os_str()]);
    assert_eq!(ended.code, Some(2), "{}", ended.output);
    ended
}

fn stop(mut gateway: Gateway) {
    gateway.terminate();
    gateway.wait_for_log("store closed");
    assert_eq!(gateway.wait().code, Some(0));
}

/// The first file of the store.
fn segment(scratch: &Scratch) -> std::path::PathBuf {
    let folder = scratch.folder().join("data/log");
    let entries = std::fs::read_dir(&folder).expect("the store is there");
    let names = entries.map(|entry| entry.expect("it can be read").path());
    let is_segment = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "seg");
    names.filter(is_segment).min().expect("a store has a segment")
}

fn change_byte(file: &Path, offset: usize) {
    let mut bytes = std::fs::read(file).expect("the file can be read");
    bytes[offset] ^= 0xff;
    std::fs::write(file, bytes).expect("the file can be written");
}

/// One gateway has a store at a time, and says what it found and how it left it.
#[test]
fn a_store_belongs_to_one_gateway() {
    let scratch = Scratch::new();
    let gateway = start(&scratch, "");
    assert!(gateway.log().contains("store opened"), "{}", gateway.log());
    let second = refused(&scratch);
    assert!(second.output.contains("in use by another process"), "{}", second.output);
    let metrics = crate::harness::get(gateway.port("http"), "/metrics").body;
    assert_eq!(metric_sum(&metrics, "tidegate_store_limit_bytes", &[]), f64::from(1 << 30));
    stop(gateway);
    stop(start(&scratch, ""));
}

/// The budget of the disk changes with a reload, the folder does not.
#[test]
fn the_limit_of_the_disk_is_reloaded() {
    let config = LISTENERS.replace("data_dir", "#data_dir");
    let scratch = Scratch::new();
    let folder = scratch.folder().join("data");
    let config = format!("data_dir = {folder:?}\n{config}");
    let mut gateway = Gateway::start(&config);
    let entry = gateway.reload(&format!(
        "{}[limits]\ndisk = \"64MiB\"\n[[topic]]\ntopics = [\"a\"]\nacknowledge = \"routed\"\n",
        config.replace("/data\"", "/other\"")
    ));
    assert_eq!(
        (&entry["fields"]["limits_changed"], &entry["fields"]["topics_changed"]),
        (&true.into(), &true.into())
    );
    assert!(gateway.log().contains("\"setting\":\"data_dir\""), "{}", gateway.log());
    let metrics = crate::harness::get(gateway.port("http"), "/metrics").body;
    assert_eq!(metric_sum(&metrics, "tidegate_store_limit_bytes", &[]), f64::from(64 << 20));
}

/// A damaged store is not started with, unless that is wanted; then what is damaged is named.
#[test]
fn a_damaged_store_is_started_with_when_told_to() {
    let scratch = Scratch::new();
    stop(start(&scratch, ""));
    stop(start(&scratch, ""));
    change_byte(&segment(&scratch), 40);
    let ended = refused(&scratch);
    for piece in ["the store is damaged", ".seg", "skip_damaged=true"] {
        assert!(ended.output.contains(piece), "{piece}: {}", ended.output);
    }
    let gateway = start(&scratch, "[store]\nskip_damaged = true\n");
    assert!(gateway.log().contains("is used without this"), "{}", gateway.log());
    let metrics = crate::harness::get(gateway.port("http"), "/metrics").body;
    assert!(metric_sum(&metrics, "tidegate_store_damaged", &[]) > 0.0, "{metrics}");
    stop(gateway);
}

/// Without a folder the first lines say that nothing is kept.
#[test]
fn a_gateway_without_a_store_says_so() {
    let gateway = Gateway::standard();
    assert!(gateway.log().contains("nothing survives a restart"), "{}", gateway.log());
}

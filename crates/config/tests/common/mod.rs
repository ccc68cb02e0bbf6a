//! What the tests of loading share: a registry, a folder that is removed afterwards, a short way to load a text.
#![allow(dead_code, unreachable_pub)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use tidegate_config::{
    BridgeEntry, Loaded, OptionError, Override, ProtocolEntry, Registry, Report, Sources, load,
};

/// Two protocols over WebSocket, of which one has options, and one that knows no WebSocket.
pub fn registry() -> Registry {
    let plain = |name, websocket| ProtocolEntry { name, websocket, option_names: &[], check: |_| Ok(()) };
    let mqtt = ProtocolEntry {
        name: "mqtt",
        websocket: true,
        option_names: &["receive_maximum", "greeting", "nested"],
        check: check_mqtt,
    };
    let bridge = BridgeEntry { kind: "toy", keys: &[], check: |_, _| Vec::new() };
    Registry { protocols: vec![mqtt, plain("stomp", true), plain("amqp", false)], bridges: vec![bridge] }
}

fn check_mqtt(options: &toml::Table) -> Result<(), Vec<OptionError>> {
    match options.get("receive_maximum") {
        None => Ok(()),
        Some(value) if value.as_integer().is_some_and(|number| (1..=65_535).contains(&number)) => Ok(()),
        Some(_) => Err(vec![OptionError { key: "receive_maximum".into(), message: "1 to 65535".into() }]),
    }
}

/// A folder of its own for one test.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-config-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Loads a file with an environment and `--set` arguments.
pub fn load_all(file: Option<&Path>, environment: &[(&str, &str)], set: &[&str]) -> Result<Loaded, Report> {
    let environment =
        environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    let overrides = set.iter().map(|argument| Override::set(argument).unwrap()).collect();
    let registry = registry();
    load(&Sources {
        file: file.map(Path::to_owned),
        embedded: tidegate_config::EMBEDDED,
        environment,
        overrides,
        registry: &registry,
        now: SystemTime::now(),
    })
}

/// Loads a text as `gate.toml`.
pub fn load_text(text: impl AsRef<[u8]>) -> Result<Loaded, Report> {
    let folder = Folder::new();
    load_all(Some(&folder.write("gate.toml", text)), &[], &[])
}

/// The errors of a text, printed.
pub fn errors_of(text: impl AsRef<[u8]>) -> Vec<String> {
    match load_text(text) {
        Ok(_) => Vec::new(),
        Err(report) => {
            report.diagnostics().iter().filter(|found| found.is_error()).map(ToString::to_string).collect()
        }
    }
}

/// A listener that is right.
pub const LISTENER: &str = "
[[listener]]
name = \"devices\"
bind = \"127.0.0.1:1883\"
protocols = [\"mqtt\"]
allow_anonymous = true
";

//! Which source wins, how settings are named outside of the file, and what happens to names that are none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod common;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::SystemTime;

use common::{Folder, LISTENER, load_all, registry};
use tidegate_config::{LogLevel, Override, Sources, load};

/// Loads `LISTENER` with an environment and flags; the printed report if it is refused.
fn outcome(environment: &[(&str, &str)], set: &[&str]) -> Result<tidegate_config::Config, String> {
    let folder = Folder::new();
    let file = folder.write("gate.toml", LISTENER);
    load_all(Some(&file), environment, set).map(|loaded| loaded.config).map_err(|report| report.to_string())
}

#[track_caller]
fn assert_refused(environment: &[(&str, &str)], set: &[&str], pieces: &[&str]) {
    let report = outcome(environment, set).unwrap_err();
    for piece in pieces {
        assert!(report.contains(piece), "`{piece}` is not in:\n{report}");
    }
}

/// Flag over environment over file over default.
#[test]
fn stronger_sources_win() {
    let folder = Folder::new();
    let file = folder.write(
        "gate.toml",
        format!("{LISTENER}[log]\nlevel='warn'\nformat='json'\n[http]\nbind='127.0.0.1:1'\n"),
    );
    let environment =
        [("TIDEGATE_LOG__LEVEL", "debug"), ("TIDEGATE_HTTP__BIND", "127.0.0.1:2"), ("PATH", "/bin")];
    let config = load_all(Some(&file), &environment, &["http.bind=127.0.0.1:3", "http.bind=127.0.0.1:4"])
        .unwrap()
        .config;
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.log.format, tidegate_config::LogFormat::Json);
    assert_eq!(config.http.unwrap().bind.port(), 4);
    assert_eq!(config.limits.topic_levels, 128);
}

/// Without a file the built-in configuration is the lowest layer, and the others apply to it as well.
#[test]
fn starts_without_a_file() {
    let config = load_all(
        None,
        &[("TIDEGATE_LISTENER__WEB__PROTOCOLS", "mqtt")],
        &["listener.stomp.bind=127.0.0.1:0"],
    )
    .unwrap()
    .config;
    let shown: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| (listener.name.as_str(), listener.bind.port(), listener.protocols.join(",")))
        .collect();
    assert_eq!(
        shown,
        [("mqtt", 1883, "mqtt".into()), ("stomp", 0, "stomp".into()), ("web", 8083, "mqtt".into())]
    );
    assert!(
        config.listeners.iter().all(|listener| listener.allow_anonymous && listener.bind.ip().is_loopback())
    );
    assert_eq!(config.http.unwrap().bind.port(), 8080);
    assert!(config.workers >= 1 && !config.node.is_empty());
    let report = load_all(None, &[], &["listener.mqtt.allow_anonymous=false"]).unwrap_err().to_string();
    assert!(
        report.contains("built-in configuration: error: nobody could log in to listener `mqtt`"),
        "{report}"
    );
}

/// Every kind of value can be written in a variable.
#[test]
fn reads_variables_of_every_kind() {
    let config = outcome(
        &[
            ("TIDEGATE_CONFIG", "/etc/tidegate.toml"),
            ("TIDEGATE_NODE", "n"),
            ("TIDEGATE_WORKERS", "2"),
            ("TIDEGATE_SHUTDOWN_TIMEOUT", "1500ms"),
            ("TIDEGATE_DATA_DIR", "folder"),
            ("TIDEGATE_LIMITS__QUEUED_BYTES", "10kB"),
            ("TIDEGATE_LISTENER__DEVICES__TRANSPORT", "websocket"),
            ("TIDEGATE_LISTENER__DEVICES__WEBSOCKET__ORIGINS", "https://a.example, https://b.example"),
            ("TIDEGATE_LISTENER__DEVICES__PROTOCOLS", "stomp, mqtt"),
            ("TIDEGATE_LISTENER__DEVICES__MQTT__RECEIVE_MAXIMUM", "60"),
            ("TIDEGATE_LISTENER__DEVICES__MQTT__GREETING", "hello there"),
        ],
        &["listener.devices.mqtt.nested=[1, 2]"],
    )
    .unwrap();
    assert_eq!(
        (config.node.as_str(), config.workers, config.shutdown_timeout.milliseconds()),
        ("n", 2, 1500)
    );
    assert_eq!(config.data_dir.unwrap().to_str(), Some("folder"));
    assert_eq!(config.limits.queued_bytes.bytes(), 10_000);
    let listener = &config.listeners[0];
    assert_eq!(listener.protocols, ["stomp", "mqtt"]);
    assert_eq!(listener.websocket.as_ref().unwrap().origins.len(), 2);
    let mqtt = &listener.options["mqtt"];
    assert_eq!(
        (mqtt["receive_maximum"].as_integer(), mqtt["greeting"].as_str()),
        (Some(60), Some("hello there"))
    );
    assert_eq!(mqtt["nested"].as_array().unwrap().len(), 2);
}

/// Names that are no settings are errors that name the variable and the nearest setting.
#[test]
fn refuses_unknown_names() {
    assert_refused(
        &[("TIDEGATE_LOG__LEVLE", "info")],
        &[],
        &["TIDEGATE_LOG__LEVLE: error", "`TIDEGATE_LOG__LEVEL`"],
    );
    assert_refused(&[("TIDEGATE_HTTP", "x")], &[], &["`TIDEGATE_HTTP__BIND`"]);
    assert_refused(&[("TIDEGATE_node", "x")], &[], &["`TIDEGATE_NODE`"]);
    assert_refused(&[("TIDEGATE_", "x")], &[], &["TIDEGATE_: error"]);
    assert_refused(&[("TIDEGATE_LISTENER__NOWHERE__BIND", "x")], &[], &["the listeners are: devices"]);
    assert_refused(&[("TIDEGATE_LISTENER__DEVICES__NAME", "x")], &[], &["no setting of this name"]);
    assert_refused(&[("TIDEGATE_LISTENER__DEVICES__TLS__SNI", "x")], &[], &["no setting of this name"]);
    assert_refused(&[], &["log.levle=info"], &["--set log.levle: error", "did you mean `log.level`?"]);
    assert_refused(&[], &["listener.device.bind=x"], &["did you mean `listener.devices.bind`?"]);
    assert!(Override::set("log.level").is_err() && Override::set("=x").is_err());
}

/// Bad values are errors that name the variable or the flag; several are reported together.
#[test]
fn refuses_bad_values() {
    assert_refused(
        &[
            ("TIDEGATE_HTTP__BIND", "here"),
            ("TIDEGATE_LIMITS__SESSIONS", ""),
            ("TIDEGATE_NODE", "a\u{1b}[31m"),
        ],
        &["log.level=loud", "listener.devices.allow_anonymous=yes"],
        &[
            "TIDEGATE_HTTP__BIND: error",
            "TIDEGATE_LIMITS__SESSIONS: error",
            "TIDEGATE_NODE: error",
            "--set log.level: error",
            "--set listener.devices.allow_anonymous: error",
            "5 errors",
        ],
    );
    let report = outcome(&[("TIDEGATE_NODE", "a\u{1b}[31m")], &[]).unwrap_err();
    assert!(!report.contains('\u{1b}'));
    assert_refused(
        &[("TIDEGATE_LISTENER__DEVICES__MQTT__RECEIVE_MAXIMUM", "soon")],
        &[],
        &["TIDEGATE_LISTENER__DEVICES__MQTT__RECEIVE_MAXIMUM: error", "1 to 65535"],
    );
}

/// A check of several settings blames the source that set the value last.
#[test]
fn blames_the_source_that_won() {
    assert_refused(
        &[("TIDEGATE_LISTENER__DEVICES__PROTOCOLS", "mqtt,mqt")],
        &[],
        &["TIDEGATE_LISTENER__DEVICES__PROTOCOLS: error: unknown protocol `mqt`"],
    );
    assert_refused(
        &[],
        &["http.bind=0.0.0.0:1883"],
        &["--set http.bind: error", "overlaps with 127.0.0.1:1883"],
    );
    assert_refused(
        &[("TIDEGATE_LISTENER__DEVICES__TLS__CERT", "x.pem")],
        &[],
        &["TIDEGATE_LISTENER__DEVICES__TLS__CERT: error", "`key` is missing"],
    );
}

/// Listeners that share a variable cannot be told apart by it; the flag can.
#[test]
fn refuses_ambiguous_listener_names() {
    let folder = Folder::new();
    let text = format!(
        "{}{}",
        LISTENER.replace("devices", "a-b"),
        LISTENER.replace("devices", "a.b").replace("1883", "1884")
    );
    let file = folder.write("gate.toml", text);
    assert!(load_all(Some(&file), &[], &[]).is_ok());
    let report = load_all(Some(&file), &[("TIDEGATE_LISTENER__A_B__BIND", "127.0.0.1:0")], &[])
        .unwrap_err()
        .to_string();
    assert!(report.contains("listener[0].bind, listener[1].bind"), "{report}");
    let config = load_all(Some(&file), &[], &["listener.a.b.bind=127.0.0.1:7"]).unwrap().config;
    assert_eq!(config.listeners[1].bind.port(), 7);
}

/// Bytes that are no text are an error and not a panic; variables of others may hold what they like.
#[test]
fn survives_bytes_that_are_no_text() {
    let registry = registry();
    let odd = || OsString::from_vec(vec![b'x', 0xff, 0xfe]);
    let mut name = OsString::from("TIDEGATE_");
    name.push(odd());
    let environment = vec![(odd(), odd()), ("TIDEGATE_NODE".into(), odd()), (name, "x".into())];
    let sources = Sources {
        file: None,
        embedded: tidegate_config::EMBEDDED,
        environment,
        overrides: Vec::new(),
        registry: &registry,
        now: SystemTime::now(),
    };
    let report = load(&sources).unwrap_err().to_string();
    assert!(report.contains("TIDEGATE_NODE: error: the value is not UTF-8 text"), "{report}");
    assert!(report.contains("2 errors"), "{report}");
}

/// What a container platform says about a service called `tidegate` is nobody's mistake.
#[test]
fn ignores_service_links() {
    let links = [
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_SERVICE_PORT", "1883"),
        ("TIDEGATE_SERVICE_PORT_MQTT", "1883"),
        ("TIDEGATE_PORT", "tcp://10.0.0.1:1883"),
        ("TIDEGATE_PORT_1883_TCP", "tcp://10.0.0.1:1883"),
        ("TIDEGATE_PORT_1883_TCP_PROTO", "tcp"),
        ("TIDEGATE_PORT_1883_TCP_PORT", "1883"),
        ("TIDEGATE_PORT_1883_TCP_ADDR", "10.0.0.1"),
        ("TIDEGATE_WEB_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_WEB_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    outcome(&links, &[]).unwrap();
    assert_refused(&[("TIDEGATE_PORT", "1883")], &[], &["TIDEGATE_PORT: error"]);
}

/// Policies and rings have no names: one that is called like a listener is no setting.
#[test]
fn tables_without_names_are_in_the_file_only() {
    assert_refused(
        &[],
        &["queue.devices.max_messages=5"],
        &["there is no setting `queue.devices.max_messages`"],
    );
    assert_refused(&[("TIDEGATE_TOPIC__DEVICES__DISK_FULL", "reject")], &[], &["there is no setting"]);
}

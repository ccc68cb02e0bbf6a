//! Mistakes in the file: each is found, at its place, with a suggestion where there is one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod common;

use common::{Folder, LISTENER, errors_of, load_all, load_text};
use tidegate_config::{Severity, TimeSpan, Transport};

/// One mistake per text; the printed error has to hold these pieces.
#[track_caller]
fn assert_error(text: &str, pieces: &[&str]) {
    let errors = errors_of(text);
    assert_eq!(errors.len(), 1, "{text}\n{errors:#?}");
    for piece in pieces {
        assert!(errors[0].contains(piece), "`{piece}` is not in:\n{}", errors[0]);
    }
}

/// Settings of the file reach the typed configuration; the rest has its defaults.
#[test]
fn reads_a_file() {
    let loaded = load_text(
        "node = 'edge-1'\nworkers = 3\n[[listener]]\nname='a'\nbind='[::1]:0'\nprotocols=['mqtt','stomp']\n\
         transport='websocket'\nallow_anonymous=true\nmax_connections=7\nwebsocket={ path='/x', origins=['https://a.example'] }\n\
         mqtt={ receive_maximum = 60, nested = { deep = [1, 'two', 3.5, true] } }\n[limits]\nqueued_bytes='1MiB'\n",
    )
    .unwrap();
    let config = loaded.config;
    assert_eq!((config.node.as_str(), config.workers), ("edge-1", 3));
    assert_eq!(config.shutdown_timeout, TimeSpan::from_milliseconds(10_000));
    assert!(config.http.is_none() && config.data_dir.is_none() && loaded.warnings.is_empty());
    let listener = &config.listeners[0];
    assert_eq!((listener.transport, listener.max_connections), (Transport::WebSocket, Some(7)));
    let websocket = listener.websocket.as_ref().unwrap();
    assert_eq!((websocket.path.as_deref(), websocket.origins.len()), (Some("/x"), 1));
    assert_eq!(listener.options["mqtt"]["receive_maximum"].as_integer(), Some(60));
    assert_eq!(listener.options["mqtt"]["nested"]["deep"].as_array().unwrap().len(), 4);
    assert_eq!((config.limits.queued_bytes.bytes(), config.limits.connections), (1 << 20, 100_000));
}

/// More than ten listeners keep the order of the file.
#[test]
fn keeps_the_order_of_listeners() {
    let listener = |n| {
        format!("[[listener]]\nname='l{n}'\nbind='127.0.0.1:0'\nprotocols=['mqtt']\nallow_anonymous=true\n")
    };
    let text: String = (0..25).map(listener).collect();
    let names: Vec<String> =
        load_text(text).unwrap().config.listeners.into_iter().map(|listener| listener.name).collect();
    assert_eq!(names, (0..25).map(|n| format!("l{n}")).collect::<Vec<_>>());
}

/// A misspelt key is reported once, at its line and column, with what was meant.
#[test]
fn suggests_the_key_that_was_meant() {
    let text = LISTENER.replace("protocols", "  protocls");
    assert_error(
        &text,
        &["gate.toml:5:3: error", "unknown key `protocls`", "did you mean `protocols`?", "  ^^^^^^^^\n"],
    );
    assert_error(
        &format!("{LISTENER}[limits]\nqueued_byte='1MiB'\n"),
        &["gate.toml:8:1", "did you mean `queued_bytes`?"],
    );
    assert_error(&format!("{LISTENER}[htpp]\nbind='127.0.0.1:0'\n"), &["did you mean `http`?"]);
    assert_error(&format!("{LISTENER}node='x'\n"), &["`node`", "belongs at the top of the file"]);
    assert_error(&format!("level='info'\n{LISTENER}"), &["`level` belongs in `[log]`"]);
    assert_error(&format!("{LISTENER}mqqt={{}}\n"), &["did you mean `mqtt`?"]);
    assert_error(&format!("{LISTENER}\"<protocol>\"={{}}\n"), &["unknown key `<protocol>`"]);
}

/// A quoted key that reads like the path of a setting is just an unknown key.
#[test]
fn quoted_keys_are_no_paths() {
    for key in
        ["\"log.level\"", "\"listener[1]\"", "\"listener[0].bind\"", "''", "'data dir'", "\"a\\u0007\""]
    {
        assert_error(&format!("{key} = 1\n{LISTENER}"), &["gate.toml:1:1: error: unknown key"]);
    }
}

/// A syntax error has its line, its column and a marker, and never comes with a key file's contents.
#[test]
fn reports_syntax_errors() {
    let errors = errors_of("node = \"a\"\nworkers = = 3\n");
    assert!(errors[0].contains("gate.toml:2:") && errors[0].contains("2 | workers = = 3"), "{errors:?}");
    let errors = errors_of("node = 'a'\nnode = 'b'\n");
    assert!(errors[0].contains("gate.toml:2:1: error: duplicate key"), "{errors:?}");
    let key = "-----BEGIN PRIVATE KEY-----\nTOPSECRET\n-----END PRIVATE KEY-----\n";
    let errors = errors_of(key);
    assert!(errors[0].contains("PEM file") && !errors[0].contains("TOPSECRET"), "{errors:?}");
}

/// Values of the wrong kind or out of range name what is right.
#[test]
fn reports_wrong_values() {
    let with = |line: &str| format!("{line}\n{LISTENER}");
    assert_error(&with("workers = 'two'"), &["gate.toml:1:11", "expected a whole number, found a string"]);
    assert_error(&with("workers = 5000"), &["out of range: 0 to 64"]);
    assert_error(&with("workers = -1"), &["out of range"]);
    assert_error(&with("shutdown_timeout = 30"), &["a duration needs a unit: \"30s\""]);
    assert_error(&with("shutdown_timeout = '30'"), &["a unit is missing: one of ms, s, m, h, d"]);
    assert_error(&with("shutdown_timeout = '-1s'"), &["must not be negative"]);
    assert_error(&with("shutdown_timeout = '2h'"), &["`2h` is out of range: 0s to 10m"]);
    assert_error(&with("node = 'a b'"), &["not allowed in a name"]);
    assert_error(&with("http = '127.0.0.1:80'"), &["expected a table, found a string"]);
    assert_error("[listener]\nname='a'\n", &["write `[[listener]]`"]);
    assert_error("listener = [1]\n", &["expected a table, found a number"]);
    assert_error(
        &LISTENER.replace("127.0.0.1:1883", "localhost:1883"),
        &["gate.toml:4:8", "write \"127.0.0.1:1883\""],
    );
    assert_error(&LISTENER.replace("\"127.0.0.1:1883\"", "1883"), &["write the address too"]);
    assert_error(&format!("{LISTENER}transport='websockets'\n"), &["did you mean `websocket`?"]);
    assert_error(&format!("{LISTENER}[log]\nlevel='Info'\n"), &["did you mean `info`?"]);
    assert_error(
        &format!("{LISTENER}[limits]\ntopic_bytes=65536\n"),
        &["`topic_bytes`: out of range: 16 to 65535"],
    );
}

/// Every required setting is missed by name, at the table that lacks it.
#[test]
fn reports_what_is_missing() {
    assert_error("", &["gate.toml: error: no listener"]);
    assert_error(
        "[[listener]]\nbind='127.0.0.1:0'\nprotocols=['mqtt']\nallow_anonymous=true\n",
        &["gate.toml:1:", "`name` is missing in `listener[0]`"],
    );
    assert_error(&format!("{LISTENER}[http]\n"), &["`bind` is missing in `http`"]);
    let errors = errors_of(format!("{LISTENER}tls={{ cert='a.pem' }}\n"));
    assert!(errors[0].contains("gate.toml:7:1: error: `key` is missing in `listener[0].tls`"), "{errors:?}");
    assert!(errors[1].contains("a.pem: no such file"), "{errors:?}");
}

/// All mistakes are reported in one run, in the order of the file, with the number of them at the end.
#[test]
fn collects_all_mistakes() {
    let text = "workers = 'x'\n[[listener]]\nname = 'a'\nbind = '0.0.0.0:1883'\nprotocols = ['mqtt', 'mqt', 'mqtt']\n\
                [[listener]]\nname = 'a'\nbind = '127.0.0.1:1883'\nprotocols = []\nallow_anonymous = true\n\
                [http]\nbind = '127.0.0.1:1883'\ncolour = 1\n";
    let report = load_text(text).unwrap_err();
    let lines: Vec<_> = report.diagnostics().iter().map(|found| found.line().unwrap()).collect();
    assert_eq!(lines, [1, 4, 5, 5, 7, 8, 9, 12, 13], "{report}");
    assert!(report.to_string().ends_with("\n9 errors"), "{report}");
    assert!(
        report
            .diagnostics()
            .iter()
            .all(|found| found.severity == Severity::Error && found.column().is_some())
    );
}

/// Two ports that overlap, the HTTP port included, name each other.
#[test]
fn reports_overlapping_ports() {
    assert_error(
        &format!("{LISTENER}[http]\nbind='0.0.0.0:1883'\n"),
        &["overlaps with 127.0.0.1:1883", "listener `devices` (line 4)"],
    );
    let second = LISTENER.replace("devices", "other");
    assert_error(&format!("{LISTENER}{second}"), &["already used by listener `devices`"]);
    let any = |text: &str| text.replace("1883", "0");
    assert!(errors_of(any(&format!("{LISTENER}{second}"))).is_empty());
}

/// Protocols: unknown, named twice, none at all, not over WebSocket.
#[test]
fn reports_protocols() {
    let with = |list: &str| LISTENER.replace("[\"mqtt\"]", list);
    assert_error(&with("['mqt']"), &["gate.toml:5:14", "unknown protocol `mqt`", "did you mean `mqtt`?"]);
    assert_error(&with("['kafka']"), &["the protocols are: mqtt, stomp, amqp"]);
    assert_error(&with("['mqtt', 'mqtt']"), &["gate.toml:5:22", "named twice"]);
    assert_error(&with("[]"), &["`protocols` is empty"]);
    assert_error(&with("['mqtt', 7]"), &["expected a protocol name, found a number"]);
    assert_error(&with("'mqtt'"), &["expected a list"]);
    assert_error(
        &format!("{}transport='websocket'\n", with("['amqp']")),
        &["cannot be spoken over WebSocket"],
    );
}

/// WebSocket options on a listener that takes none.
#[test]
fn reports_websocket_options_without_websocket() {
    assert_error(
        &format!("{LISTENER}websocket={{ path='/x' }}\n"),
        &["gate.toml:7:1", "write `transport = \"websocket\"` or `\"any\"`"],
    );
    let websocket = |table: &str| format!("{LISTENER}transport='websocket'\nwebsocket={{ {table} }}\n");
    assert_error(&websocket("path='x'"), &["write `/x`"]);
    assert_error(&websocket("origins=['https://a.example/']"), &["write `https://a.example`"]);
}

/// Who may log in: no open port by accident, no port that nobody can use.
#[test]
fn reports_listeners_without_authentication() {
    let closed = LISTENER.replace("allow_anonymous = true", "");
    assert_error(&closed, &["gate.toml:4:8", "nobody could log in", "allow_anonymous = true"]);
    assert_error(
        &closed.replace("127.0.0.1", "0.0.0.0"),
        &["open to the network", "client_auth = \"required\""],
    );
    assert_error(&closed.replace("127.0.0.1", "[::]"), &["open to the network"]);
    assert!(errors_of(LISTENER.replace("127.0.0.1", "0.0.0.0")).is_empty());
}

/// The options of a protocol are checked by the protocol, and found in the file by this crate.
#[test]
fn places_the_complaints_of_protocols() {
    let with = |table: &str| format!("{LISTENER}{table}\n");
    assert_error(&with("[listener.mqtt]\nreceive_maximum = 70000"), &["gate.toml:8:19", "1 to 65535"]);
    assert_error(
        &with("mqtt = { receive_maxima = 1 }"),
        &["gate.toml:7:10", "did you mean `receive_maximum`?"],
    );
    assert_error(&with("stomp = {}"), &["which this listener does not speak"]);
    assert_error(&with("mqtt = {}").replace("[\"mqtt\"]", "['mqt']"), &["did you mean `mqtt`?"]);
    assert_error(&with("mqtt = 7"), &["`mqtt`: expected a table"]);
    assert_error(&with("mqtt = { greeting = 99999999999999999999 }"), &["the number is too large"]);
}

/// Limits that can never be reached are worth a warning.
#[test]
fn warns_of_pointless_limits() {
    let text = format!(
        "{LISTENER}max_connections=9\n[limits]\nconnections=8\nqueued_bytes='2MiB'\nqueued_bytes_total='1MiB'\n"
    );
    let warnings = load_text(text).unwrap().warnings;
    let lines: Vec<_> = warnings.iter().map(|warning| warning.line().unwrap()).collect();
    assert_eq!(lines, [7, 10], "{warnings:?}");
}

/// What is no readable text file is an error about the file.
#[test]
fn refuses_files_that_are_none() {
    let folder = Folder::new();
    let error = |file: &std::path::Path| load_all(Some(file), &[], &[]).unwrap_err().to_string();
    assert!(error(&folder.path().join("missing.toml")).contains("missing.toml: error: no such file"));
    assert!(error(folder.path()).contains("a folder, not a file"));
    assert!(error(&folder.write("binary", b"node = 'x'\n\xff\xfe")).contains("not UTF-8 text (line 2)"));
    assert!(error(&folder.write("huge", vec![b'#'; (1 << 20) + 1])).contains("larger than 1048576 bytes"));
    assert!(error(std::path::Path::new("/dev/zero")).contains("not a regular file"));
    assert!(error(std::path::Path::new("")).contains("no such file"));
    assert!(error(std::path::Path::new("a\0b")).contains("cannot be read"));
}

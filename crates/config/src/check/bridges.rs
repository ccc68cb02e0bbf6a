//! Bridges: their names and kinds, keys that their kind does not know, and what the kind itself says.

use std::collections::BTreeMap;

use crate::diagnostic::quoted;
use crate::findings::{Findings, Part, item, join};
use crate::registry::{BridgeEntry, Registry};
use crate::schema::{Bridge, Config, ForwardKeep, ForwardOrder};
use crate::suggest::did_you_mean;

/// The longest name of a stream of ids, which is that of a bridge with that of its forward.
const STREAM_BYTES_MAX: usize = 64;

/// The keys that only some kinds know, by the table in which they stand.
const BRIDGE_KEYS: &[&str] = &[
    "client_id",
    "version",
    "password_file",
    "login",
    "heartbeat",
    "declare",
    "sasl",
    "compression",
    "session_timeout",
];
const FORWARD_KEYS: &[&str] = &[
    "topic",
    "retain",
    "exchange",
    "routing_key",
    "headers",
    "persistence",
    "mandatory",
    "key",
    "partition",
];
const RECEIVE_KEYS: &[&str] =
    &["filter", "retain", "queue", "prefetch", "exclusive", "topics", "group", "start"];

pub(super) fn check(config: &Config, registry: &Registry, findings: &mut Findings<'_>) {
    check_forgotten(config, findings);
    let mut names = Names::default();
    let mut joined = (Names::default(), Names::default());
    for (index, bridge) in config.bridges.iter().enumerate() {
        let path = item("bridge", index);
        names.add("bridge", &bridge.name, join(&path, "name"), findings);
        check_parts(bridge, &path, findings);
        warn_of_places(bridge, &path, findings);
        // Of two bridges of one name everything would be there twice.
        if !findings.is_reported(&join(&path, "name")) {
            check_joined(bridge, &path, &mut joined, findings);
        }
        check_orders(config, bridge, &path, findings);
        check_keeps(bridge, &path, findings);
        let kind = join(&path, "kind");
        if findings.is_reported(&kind) {
            continue;
        }
        match registry.bridge(&bridge.kind) {
            Some(entry) => check_kind(bridge, entry, &config.node, &path, findings),
            None => {
                let kinds = || registry.bridges.iter().map(|entry| entry.kind);
                let list = || format!("the kinds are: {}", kinds().collect::<Vec<_>>().join(", "));
                let suggestion = did_you_mean(&bridge.kind, kinds()).unwrap_or_else(list);
                let message = format!("unknown kind of bridge {}", quoted(&bridge.kind));
                findings.error(&kind, Part::Value, message, Some(suggestion));
            }
        }
    }
}

/// What is configured is not to be forgotten.
fn check_forgotten(config: &Config, findings: &mut Findings<'_>) {
    for (index, forgotten) in config.forget_forwards.iter().enumerate() {
        let is_it = |bridge: &Bridge| {
            let mut forwards = bridge.forwards.iter().enumerate();
            forwards
                .any(|(number, forward)| joined_name(bridge, forward.name.as_deref(), number) == *forgotten)
        };
        if config.bridges.iter().any(is_it) {
            let message = format!("{} is configured: what waits for it is sent", quoted(forgotten));
            findings.error(&item("forget_forwards", index), Part::Value, message, None);
        }
    }
}

/// A forward that is known by its place becomes another one when the places change, and what waits in it goes the other one's way, or with it.
fn warn_of_places(bridge: &Bridge, path: &str, findings: &mut Findings<'_>) {
    if bridge.forwards.len() < 2 {
        return;
    }
    if let Some(index) = bridge.forwards.iter().position(|forward| forward.name.is_none()) {
        let message = "without a name a forward is known by its place, and what waits in it is another one's when \
                       the places change";
        let suggestion = format!("say `name = \"{index}\"`: it keeps what waits, wherever it stands then");
        findings.warning(&item(&join(path, "forward"), index), message, Some(suggestion));
    }
}

/// Names that were given, and where.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn add(&mut self, what: &str, name: &str, path: String, findings: &mut Findings<'_>) {
        if name.is_empty() {
            return;
        }
        let Some(other) = self.0.get(name) else {
            self.0.insert(name.to_owned(), path);
            return;
        };
        let message = format!("a {what} named {} exists already{}", quoted(name), findings.line_note(other));
        findings.error(&path, Part::Value, message, None);
    }
}

/// What a forward or receive is called beside those of other bridges.
fn joined_name(bridge: &Bridge, name: Option<&str>, number: usize) -> String {
    format!("{}.{}", bridge.name, name.map_or_else(|| number.to_string(), str::to_owned))
}

/// A forward's session, its ids and what is known of a receive are named by the bridge and the part together: two of a name would be one. `joined` holds
/// those of forwards and those of receives, of all bridges so far.
fn check_joined(bridge: &Bridge, path: &str, joined: &mut (Names, Names), findings: &mut Findings<'_>) {
    let forwards = bridge.forwards.iter().map(|forward| forward.name.as_deref()).enumerate();
    let receives = bridge.receives.iter().map(|receive| receive.name.as_deref()).enumerate();
    let forwards = forwards.map(|(number, name)| ("forward", number, name));
    for (what, number, name) in forwards.chain(receives.map(|(number, name)| ("receive", number, name))) {
        let part = item(&join(path, what), number);
        let path = join(&part, "name");
        let full = joined_name(bridge, name, number);
        if what == "forward" && full.len() > STREAM_BYTES_MAX {
            let message = format!(
                "the names of the bridge and of the forward have {} characters together, with the dot between them, and may have {STREAM_BYTES_MAX}",
                full.len()
            );
            findings.error(&path, Part::Value, message, None);
        }
        let names = if what == "forward" { &mut joined.0 } else { &mut joined.1 };
        names.add(&format!("{what} of another bridge"), &full, path, findings);
    }
}

/// What holds for every kind.
fn check_parts(bridge: &Bridge, path: &str, findings: &mut Findings<'_>) {
    if bridge.urls.is_empty() {
        findings.error(
            &join(path, "url"),
            Part::Value,
            "`url` is empty: the bridge would lead nowhere",
            None,
        );
    }
    if bridge.forwards.is_empty() && bridge.receives.is_empty() {
        let suggestion = "add a `[[bridge.forward]]` or a `[[bridge.receive]]` under it".to_owned();
        findings.error(
            path,
            Part::Key,
            "the bridge neither forwards nor receives anything",
            Some(suggestion),
        );
    }
    let (mut forwards, mut receives) = (Names::default(), Names::default());
    for (index, forward) in bridge.forwards.iter().enumerate() {
        let name = forward.name.clone().unwrap_or_else(|| index.to_string());
        forwards.add("forward", &name, join(&item(&join(path, "forward"), index), "name"), findings);
    }
    for (index, receive) in bridge.receives.iter().enumerate() {
        let name = receive.name.clone().unwrap_or_else(|| index.to_string());
        receives.add("receive", &name, join(&item(&join(path, "receive"), index), "name"), findings);
    }
    if let Some(tls) = bridge.tls.as_ref().filter(|tls| tls.cert.is_some() != tls.key.is_some()) {
        let (present, missing) = if tls.cert.is_some() { ("cert", "key") } else { ("key", "cert") };
        let message = format!("`{present}` needs `{missing}`");
        findings.error(&join(&join(path, "tls"), present), Part::Key, message, None);
    }
    if bridge.retry_longest < bridge.retry_first {
        let message = format!("the longest wait is shorter than `retry_first`, {}", bridge.retry_first);
        findings.error(&join(path, "retry_longest"), Part::Value, message, None);
    }
}

/// What newer messages overtake has to be kept somewhere, and to be the forward's own.
fn check_orders(config: &Config, bridge: &Bridge, path: &str, findings: &mut Findings<'_>) {
    for (index, forward) in bridge.forwards.iter().enumerate() {
        if forward.order == ForwardOrder::Strict {
            continue;
        }
        let path = join(&item(&join(path, "forward"), index), "order");
        if config.data_dir.is_none() {
            let message = "without `data_dir` nothing waits longer than a short queue in memory";
            findings.error(
                &path,
                Part::Value,
                message,
                Some("add `data_dir`, or leave `order` out".to_owned()),
            );
        }
        if forward.from.starts_with("$queue/") {
            let message = "a queue is in one order for all who take from it";
            findings.error(&path, Part::Value, message, Some("leave `order` out".to_owned()));
        }
    }
}

/// The last value of a topic has to be the last one that arrives, and what is one topic's would be one message.
fn check_keeps(bridge: &Bridge, path: &str, findings: &mut Findings<'_>) {
    let forwards = bridge.forwards.iter().enumerate();
    for (index, forward) in forwards.filter(|(_, forward)| forward.keep == ForwardKeep::Last) {
        let path = join(&item(&join(path, "forward"), index), "keep");
        if forward.order == ForwardOrder::LiveFirst {
            let message = "with `order = \"live-first\"` an older value can arrive behind the last one";
            let suggestion = "leave `order` out: a backlog of last values is short".to_owned();
            findings.error(&path, Part::Value, message, Some(suggestion));
        }
        if forward.from.starts_with("$queue/") {
            let message = "all messages of a queue have one topic, so that one of them would be left";
            findings.error(&path, Part::Value, message, Some("leave `keep` out".to_owned()));
        }
    }
}

fn check_kind(bridge: &Bridge, entry: &BridgeEntry, node: &str, path: &str, findings: &mut Findings<'_>) {
    check_keys(path, BRIDGE_KEYS, entry, findings);
    for index in 0..bridge.forwards.len() {
        check_keys(&item(&join(path, "forward"), index), FORWARD_KEYS, entry, findings);
    }
    for index in 0..bridge.receives.len() {
        check_keys(&item(&join(path, "receive"), index), RECEIVE_KEYS, entry, findings);
    }
    for error in (entry.check)(bridge, node) {
        findings.error(&join(path, &error.key), Part::Value, error.message, error.suggestion);
    }
}

/// Reports keys that another kind knows.
fn check_keys(path: &str, special: &[&str], entry: &BridgeEntry, findings: &mut Findings<'_>) {
    for key in special.iter().filter(|key| !entry.keys.contains(key)) {
        let path = join(path, key);
        if findings.is_set(&path) {
            let message = format!("`{key}` means nothing to a bridge of kind {}", quoted(entry.kind));
            findings.error(&path, Part::Key, message, None);
        }
    }
}

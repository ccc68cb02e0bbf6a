//! Bridges in the file: what their tables become, and how keys are refused that their kind does not know.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Folder, LISTENER};
use std::time::{Duration, SystemTime};
use tidegate_config::{
    Argument, Bridge, BridgeEntry, BridgeError, BridgeLogin, ForwardKeep, ForwardOrder, Loaded, Persistence,
    Registry, Report, Sources, load,
};

/// A kind that knows what RabbitMQ does, and one that knows nothing of its own.
fn registry() -> Registry {
    let keys = &["login", "heartbeat", "declare", "exchange", "headers", "persistence", "queue", "prefetch"];
    let bridges = vec![
        BridgeEntry { kind: "rabbitmq", keys, check: refuse_exchange_bad },
        BridgeEntry { kind: "plain", keys: &[], check: |_, _| Vec::new() },
    ];
    Registry { bridges, ..common::registry() }
}

fn refuse_exchange_bad(bridge: &Bridge, _: &str) -> Vec<BridgeError> {
    let is_bad = |header: &&String| *header == "bad";
    let found = bridge.forwards.iter().position(|forward| forward.headers.values().any(|it| is_bad(&it)));
    let error = |index| BridgeError {
        key: format!("forward[{index}].headers.site"),
        message: "this is bad".to_owned(),
        suggestion: None,
    };
    found.map(error).into_iter().collect()
}

fn load_bridge(tables: &str) -> Result<Loaded, Report> {
    load_file(format!("{LISTENER}{tables}"))
}

fn load_file(text: String) -> Result<Loaded, Report> {
    let folder = Folder::new();
    let file = folder.write("gate.toml", text);
    let registry = registry();
    load(&Sources {
        file: Some(file),
        embedded: tidegate_config::EMBEDDED,
        environment: Vec::new(),
        overrides: Vec::new(),
        registry: &registry,
        now: SystemTime::now(),
    })
}

/// One mistake; the printed error has to hold these pieces.
#[track_caller]
fn assert_error(tables: &str, pieces: &[&str]) {
    let report = load_bridge(tables).unwrap_err().to_string();
    assert_eq!(report.matches("error: ").count(), 1, "{report}");
    for piece in pieces {
        assert!(report.contains(piece), "`{piece}` is not in:\n{report}");
    }
}

const BRIDGE: &str = "[[bridge]]\nname='central'\nkind='rabbitmq'\nurl='amqp://h'\n";
const FORWARD: &str = "[[bridge.forward]]\nfrom='a/#'\nexchange='e'\n";

#[test]
fn a_bridge_has_headers_and_declarations_as_they_are_written() {
    let declared = "[[bridge.declare.queue]]\nname='q'\n\
                    arguments={x-queue-type='quorum',x-max-length=5,x-flag=true}\n\
                    [[bridge.declare.exchange]]\nname='e'\ntype='fanout'\ndurable=false\n\
                    [[bridge.declare.binding]]\nexchange='e'\nqueue='q'\n";
    let forward = format!("{FORWARD}headers={{site='{{topic[1]}}','a b'='c'}}\n");
    let bridge = load_bridge(&format!("{BRIDGE}{forward}{declared}")).unwrap().config.bridges.remove(0);
    let headers: Vec<(&str, &str)> =
        bridge.forwards[0].headers.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(headers, [("a b", "c"), ("site", "{topic[1]}")]);
    assert_eq!(bridge.forwards[0].persistence, Persistence::Always);
    assert!(bridge.forwards[0].mandatory);
    let queue = &bridge.declarations.queues[0];
    assert_eq!((queue.name.as_str(), queue.durable), ("q", true));
    assert_eq!(queue.arguments["x-queue-type"], Argument::Text("quorum".to_owned()));
    assert_eq!(queue.arguments["x-max-length"], Argument::Number(5));
    assert_eq!(queue.arguments["x-flag"], Argument::Flag(true));
    let exchange = &bridge.declarations.exchanges[0];
    assert_eq!((exchange.kind.as_str(), exchange.durable), ("fanout", false));
    assert_eq!(bridge.declarations.bindings[0].routing_key, "#");
    assert_eq!((bridge.login, bridge.heartbeat.duration()), (BridgeLogin::Password, Duration::from_secs(10)));
}

#[test]
fn what_a_kind_does_not_know_is_refused_where_it_stands() {
    let plain = "[[bridge]]\nname='central'\nkind='plain'\nurl='x://h'\n";
    let forward = "[[bridge.forward]]\nfrom='a'\n";
    assert_error(
        &format!("{plain}{forward}exchange='e'\n"),
        &["gate.toml:13:1", "`exchange` means nothing to a bridge of kind `plain`"],
    );
    assert_error(
        &format!("{plain}{forward}[[bridge.declare.queue]]\nname='q'\n"),
        &["`declare` means nothing to a bridge of kind `plain`"],
    );
    assert_error(
        &format!("{plain}heartbeat='5s'\n{forward}"),
        &["gate.toml:11:1", "`heartbeat` means nothing to a bridge of kind `plain`"],
    );
    let receive = "[[bridge.receive]]\nqueue='q'\nto='a'\nfilter='x'\n";
    assert_error(
        &format!("{BRIDGE}{receive}"),
        &["gate.toml:14:1", "`filter` means nothing to a bridge of kind `rabbitmq`"],
    );
}

/// A place is no name: it moves when a forward is put in front.
#[test]
fn forwards_without_names_beside_others_are_warned_of() {
    let warnings = |tables: &str| load_bridge(&format!("{BRIDGE}{tables}")).unwrap().warnings;
    assert!(warnings(FORWARD).is_empty());
    let named = FORWARD.replace("from", "name='b'\nfrom");
    assert!(warnings(&format!("{named}{}", named.replace("'b'", "'c'"))).is_empty());
    let warned = warnings(&format!("{named}{FORWARD}"));
    assert_eq!(warned.len(), 1, "{warned:?}");
    let text = warned[0].to_string();
    assert!(text.contains("is known by its place") && text.contains("name = \"1\""), "{text}");
}

#[test]
fn mistakes_in_named_values_are_placed() {
    assert_error(&format!("{BRIDGE}{FORWARD}headers={{site='bad'}}\n"), &["gate.toml:14:15", "this is bad"]);
    assert_error(
        &format!("{BRIDGE}{FORWARD}headers={{site=1}}\n"),
        &["gate.toml:14:15", "expected a template such as", "found a number"],
    );
    assert_error(
        &format!("{BRIDGE}{FORWARD}headers='site'\n"),
        &["gate.toml:14:9", "expected a table; each value is a template"],
    );
    let queue = |value| format!("{BRIDGE}{FORWARD}[[bridge.declare.queue]]\nname='q'\narguments={value}\n");
    assert_error(
        &queue("{x-ttl=1.5}"),
        &[
            "gate.toml:16:18",
            "expected a text, a whole number, `true` or `false`",
            "a number with a fraction",
        ],
    );
    assert_error(&queue("{x-ttl=99999999999999999999}"), &["gate.toml:16:18", "the number is too large"]);
    assert_error(&queue("5"), &["gate.toml:16:11", "expected a table of texts, numbers and switches"]);
    assert_error(
        &format!("{BRIDGE}{FORWARD}[[bridge.declare.queues]]\nname='q'\n"),
        &["unknown key `queues`", "did you mean `queue`?"],
    );
    assert_error(
        &format!("{BRIDGE}{FORWARD}persistence='by_qos'\n"),
        &["gate.toml:14:13", "did you mean `by-qos`?"],
    );
}

/// What overtakes a backlog needs one that is kept, and its own.
#[test]
fn live_first_needs_a_store_and_topics() {
    assert_error(
        &format!("{BRIDGE}{FORWARD}order='live-first'\n"),
        &["gate.toml:14:7", "without `data_dir` nothing waits longer"],
    );
    let bridge = format!("{LISTENER}{BRIDGE}[[bridge.forward]]\nexchange='e'\norder='live-first'\n");
    let loaded = load_file(format!("data_dir='d'\n{bridge}from='a/#'\n")).unwrap();
    assert_eq!(loaded.config.bridges[0].forwards[0].order, ForwardOrder::LiveFirst);
    let report = load_file(format!("data_dir='d'\n{bridge}from='$queue/a'\n")).unwrap_err().to_string();
    assert!(report.contains("a queue is in one order for all who take from it"), "{report}");
}

/// What is last has to arrive last, and to be one of several.
#[test]
fn last_values_need_order_and_topics() {
    let forward = |lines: &str| {
        load_file(format!(
            "data_dir='d'\n{LISTENER}{BRIDGE}[[bridge.forward]]\nexchange='e'\nkeep='last'\n{lines}"
        ))
    };
    assert_eq!(forward("from='a/#'\n").unwrap().config.bridges[0].forwards[0].keep, ForwardKeep::Last);
    let report = forward("from='a/#'\norder='live-first'\n").unwrap_err().to_string();
    assert!(report.contains("an older value can arrive behind the last one"), "{report}");
    let report = forward("from='$queue/a'\n").unwrap_err().to_string();
    assert!(report.contains("all messages of a queue have one topic"), "{report}");
}

#[test]
fn an_age_is_neither_none_nor_endless() {
    for age in ["0s", "999ms", "367d"] {
        assert_error(
            &format!("{BRIDGE}{FORWARD}max_age='{age}'\n"),
            &["gate.toml:14:9", "`max_age`", "1s", "366d"],
        );
    }
    let loaded = load_bridge(&format!("{BRIDGE}{FORWARD}max_age='1d'\n")).unwrap();
    let age = loaded.config.bridges[0].forwards[0].max_age;
    assert_eq!(age.map(|age| age.duration().as_secs()), Some(86_400));
}

#[test]
fn what_is_configured_is_not_to_be_forgotten() {
    let forgotten =
        |name: &str| load_file(format!("forget_forwards=['{name}']\n{LISTENER}{BRIDGE}{FORWARD}"));
    assert_eq!(forgotten("central.gone").unwrap().config.forget_forwards, ["central.gone"]);
    let report = forgotten("central.0").unwrap_err().to_string();
    assert!(report.contains("`central.0` is configured: what waits for it is sent"), "{report}");
}

/// A forward's session and its stream of ids have the name of the bridge and its own, with a dot between; so has what a receive knows of ids.
#[test]
fn names_of_forwards_and_receives_are_told_apart_over_all_bridges() {
    let two = |part: &str, first: &str, second: &str| {
        let bridge = |name: &str, part_name: &str| {
            format!(
                "[[bridge]]\nname='{name}'\nkind='plain'\nurl='x://h'\n[[bridge.{part}]]\nname='{part_name}'\n{}\n",
                keys(part)
            )
        };
        let (first_bridge, first_part) = first.split_once('/').unwrap();
        let (second_bridge, second_part) = second.split_once('/').unwrap();
        format!("{}{}", bridge(first_bridge, first_part), bridge(second_bridge, second_part))
    };
    for part in ["forward", "receive"] {
        let pieces = ["a.b.c", "exists already (line ", part];
        assert_error(&two(part, "a/b.c", "a.b/c"), &pieces);
        assert!(load_bridge(&two(part, "a/b.c", "a.b/d")).is_ok());
    }
}

fn keys(part: &str) -> &'static str {
    if part == "forward" { "from='a/#'" } else { "to='in'" }
}

#[test]
fn the_names_of_a_bridge_and_its_forward_fit_into_an_id_together() {
    let bridge = |bytes: usize| {
        let (name, part) = ("b".repeat(40), "f".repeat(bytes - 41));
        format!(
            "[[bridge]]\nname='{name}'\nkind='plain'\nurl='x://h'\n[[bridge.forward]]\nname='{part}'\nfrom='a/#'\n"
        )
    };
    assert!(load_bridge(&bridge(64)).is_ok());
    assert_error(&bridge(65), &["have 65 characters together", "gate.toml:", "name='f"]);
}

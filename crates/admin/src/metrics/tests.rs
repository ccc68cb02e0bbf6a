//! What a scrape of a node with known numbers says.

use super::*;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tidegate_bridge::{BridgeReports, BridgeStatus, Now, Waiting};
use tidegate_broker::{Limits, NodeOptions, QueuePolicies, TopicPolicies};
use tidegate_storage::{MemoryStorage, NoRoom, Storage};

/// A node with two workers and two protocols that has seen nothing.
pub(crate) fn node() -> Arc<Node> {
    node_on(None)
}

/// The same with this store.
pub(crate) fn node_on(storage: Option<Arc<dyn Storage>>) -> Arc<Node> {
    Node::new(NodeOptions {
        limits: Limits::default(),
        protocols: vec!["mqtt", "stomp"],
        bells: vec![Box::new(|| {}), Box::new(|| {})],
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
        storage,
        skip_damaged: false,
        wall_millis: || 0,
    })
}

/// A bridge that has just begun, with what waits for it.
pub(crate) fn bridges() -> BridgeSource {
    let (forwards, receives) = (["central.up".to_owned()], ["central.down".to_owned()]);
    let status = BridgeStatus::new("central".into(), "toy", Duration::from_secs(1), forwards, receives);
    BridgeSource::new(move |_| {
        let waiting = Waiting { messages: 7, bytes: 700, oldest_taken_at_millis: Some(500) };
        let now = Now { instant: Instant::now(), gateway_millis: 2000 };
        BridgeReports { bridges: vec![status.report(now, |_| waiting)] }
    })
}

/// What is exposed of a node, by a process that started at 1 700 000 000.25 s.
pub(crate) fn text_of(node: &Arc<Node>) -> String {
    let started = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(NodeCollector { node: node.clone(), started, bridges: bridges() }));
    let mut exposition = String::new();
    text::encode(&mut exposition, &registry).unwrap();
    exposition
}

/// The samples of a family as they are written, without its HELP and TYPE lines.
fn samples<'a>(exposition: &'a str, family: &str) -> Vec<&'a str> {
    let of_family = |line: &&str| {
        line.strip_prefix(family).is_some_and(|rest| {
            ["", "_total", "_info", "_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| rest.strip_prefix(suffix).is_some_and(|rest| rest.starts_with(['{', ' '])))
        })
    };
    exposition.lines().filter(of_family).collect()
}

/// Connections, as two workers counted them for two protocols.
#[test]
fn connections_are_summed_over_the_workers() {
    let node = node();
    let [first, second] = node.metrics() else { panic!("two workers") };
    first.protocols[0].opened.add(3);
    second.protocols[0].opened.add(4);
    second.protocols[1].opened.add(1);
    first.protocols[0].open.add(3);
    first.protocols[0].open.subtract(2);
    second.protocols[0].open.add(4);
    first.protocols[0].count_close("peer_closed");
    second.protocols[0].count_close("peer_closed");
    second.protocols[0].count_close("disconnected");
    second.protocols[1].count_close("peer_closed");

    let text = text_of(&node);
    let begins = "\
# HELP tidegate_connections_opened Client connections whose protocol was recognised; under protocol unrecognised those that ended before.
# TYPE tidegate_connections_opened counter
tidegate_connections_opened_total{protocol=\"mqtt\"} 7
tidegate_connections_opened_total{protocol=\"stomp\"} 1
# HELP tidegate_connections_closed Client connections that ended, by the reason why.
# TYPE tidegate_connections_closed counter
tidegate_connections_closed_total{protocol=\"mqtt\",reason=\"disconnected\"} 1
tidegate_connections_closed_total{protocol=\"mqtt\",reason=\"peer_closed\"} 2
tidegate_connections_closed_total{protocol=\"stomp\",reason=\"peer_closed\"} 1
# HELP tidegate_connections_open Client connections that are open now.
# TYPE tidegate_connections_open gauge
tidegate_connections_open{protocol=\"mqtt\"} 5
tidegate_connections_open{protocol=\"stomp\"} 0
";
    assert!(text.starts_with(begins), "{text}");
    assert!(text.ends_with("\n# EOF\n"), "{text}");
}

/// Messages and their bytes by protocol and quality of service, each number in a family of its own.
#[test]
fn traffic_is_told_by_protocol_and_quality_of_service() {
    let node = node();
    let [first, second] = node.metrics() else { panic!("two workers") };
    for (qos, count) in QoS::ALL.into_iter().zip(1..) {
        first.protocols[0].received.at(qos).add(count);
        second.protocols[0].received.at(qos).add(10 * count);
        first.protocols[0].sent.at(qos).add(20 + count);
        first.protocols[0].received_bytes.at(qos).add(30 + count);
        first.protocols[1].sent_bytes.at(qos).add(40 + count);
    }
    first.protocols[0].wire_in_bytes.add(50);
    second.protocols[1].wire_out_bytes.add(60);

    let text = text_of(&node);
    let expected = [
        ("messages_received", [11, 22, 33, 0, 0, 0]),
        ("messages_sent", [21, 22, 23, 0, 0, 0]),
        ("message_bytes_received", [31, 32, 33, 0, 0, 0]),
        ("message_bytes_sent", [0, 0, 0, 41, 42, 43]),
    ];
    for (name, counts) in expected {
        let series = ["mqtt", "stomp"].into_iter().flat_map(|protocol| {
            (0..3).map(move |qos| format!("tidegate_{name}_total{{protocol=\"{protocol}\",qos=\"{qos}\"}}"))
        });
        let lines: Vec<String> =
            series.zip(counts).map(|(series, count)| format!("{series} {count}")).collect();
        assert_eq!(samples(&text, &format!("tidegate_{name}")), lines);
    }
    assert_eq!(
        samples(&text, "tidegate_bytes_received"),
        [
            "tidegate_bytes_received_total{protocol=\"mqtt\"} 50",
            "tidegate_bytes_received_total{protocol=\"stomp\"} 0"
        ]
    );
    assert_eq!(
        samples(&text, "tidegate_bytes_sent"),
        [
            "tidegate_bytes_sent_total{protocol=\"mqtt\"} 0",
            "tidegate_bytes_sent_total{protocol=\"stomp\"} 60"
        ]
    );
}

/// Every action is there from the start, so that an alert on the first denial has something to compare with.
#[test]
fn denials_are_summed_by_action() {
    let node = node();
    let [first, second] = node.metrics() else { panic!("two workers") };
    first.denied.publish.add(2);
    second.denied.publish.add(3);
    second.denied.subscribe.add(1);
    let series =
        |action: &str, count: u64| format!("tidegate_access_denied_total{{action=\"{action}\"}} {count}");
    let expected = [("publish", 5), ("will", 0), ("subscribe", 1), ("receive", 0)];
    let expected = expected.map(|(action, count)| series(action, count));
    assert_eq!(samples(&text_of(&node), "tidegate_access_denied"), expected);
}

/// What was dropped and how routes were found, summed over the workers; no braces where there are no labels.
#[test]
fn drops_and_routes_are_summed_over_the_workers() {
    let node = node();
    let [first, second] = node.metrics() else { panic!("two workers") };
    assert_eq!(samples(&text_of(&node), "tidegate_messages_dropped"), [""; 0]);
    first.count_dropped("queue_full", 2);
    second.count_dropped("queue_full", 3);
    second.count_dropped("expired", 1);
    first.route_cache_hits.add(5);
    second.route_cache_hits.add(6);
    second.route_cache_misses.add(7);

    let text = text_of(&node);
    assert_eq!(
        samples(&text, "tidegate_messages_dropped"),
        [
            "tidegate_messages_dropped_total{reason=\"expired\"} 1",
            "tidegate_messages_dropped_total{reason=\"queue_full\"} 5"
        ]
    );
    assert_eq!(samples(&text, "tidegate_route_cache_hits"), ["tidegate_route_cache_hits_total 11"]);
    assert_eq!(samples(&text, "tidegate_route_cache_misses"), ["tidegate_route_cache_misses_total 7"]);
}

/// What came back to named queues, and what died there.
#[test]
fn redeliveries_and_dead_letters_are_summed_over_the_workers() {
    let node = node();
    let [first, second] = node.metrics() else { panic!("two workers") };
    first.redeliveries.add(2);
    second.redeliveries.add(3);
    first.count_dead_letter("expired");
    second.count_dead_letter("expired");
    second.count_dead_letter("rejected");

    let text = text_of(&node);
    assert_eq!(samples(&text, "tidegate_redeliveries"), ["tidegate_redeliveries_total 5"]);
    assert_eq!(
        samples(&text, "tidegate_dead_letters"),
        [
            "tidegate_dead_letters_total{reason=\"expired\"} 2",
            "tidegate_dead_letters_total{reason=\"rejected\"} 1"
        ]
    );
}

/// The buckets are cumulative and in seconds, and the sum counts every worker.
#[test]
fn latency_is_a_histogram_in_seconds() {
    let node = node();
    let [first, second] = node.metrics() else { panic!("two workers") };
    first.latency.observe(Duration::from_micros(10), 2);
    second.latency.observe(Duration::from_micros(11), 1);
    second.latency.observe(Duration::from_secs(2), 1);

    let text = text_of(&node);
    let lines = samples(&text, "tidegate_delivery_latency_seconds");
    assert_eq!(lines[0], "tidegate_delivery_latency_seconds_sum 2.000031");
    assert_eq!(lines[1], "tidegate_delivery_latency_seconds_count 4");
    let buckets: Vec<(f64, u64)> = lines[2..]
        .iter()
        .map(|line| {
            let line = line.strip_prefix("tidegate_delivery_latency_seconds_bucket{le=\"").unwrap();
            let (bound, count) = line.split_once("\"} ").unwrap();
            (bound.parse().unwrap(), count.parse().unwrap())
        })
        .collect();
    let bounds: Vec<f64> = buckets.iter().map(|(bound, _)| *bound).collect();
    let expected = [
        1e-5,
        2.5e-5,
        5e-5,
        1e-4,
        2.5e-4,
        5e-4,
        1e-3,
        2.5e-3,
        5e-3,
        1e-2,
        5e-2,
        0.1,
        0.5,
        1.0,
        f64::INFINITY,
    ];
    assert_eq!(bounds, expected);
    let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
}

/// What the node holds, which version runs, and since when.
#[test]
fn node_and_process_are_described() {
    let text = text_of(&node());
    for gauge in
        ["queue_messages", "queue_bytes", "retained_messages", "retained_bytes", "sessions", "subscriptions"]
    {
        let gauge = format!("tidegate_{gauge}");
        assert_eq!(samples(&text, &gauge), [format!("{gauge} 0")]);
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(samples(&text, "tidegate_build"), [format!("tidegate_build_info{{version=\"{version}\"}} 1")]);
    assert_eq!(samples(&text, "process_start_time_seconds"), ["process_start_time_seconds 1700000000.25"]);
}

/// OpenMetrics 1.0, "Text Format": families are contiguous and described once, samples belong to the family above them and
/// carry its suffix, no series stands twice, values are numbers, and the text ends with EOF.
#[test]
fn exposition_keeps_the_rules_of_the_format() {
    let node = node();
    node.metrics()[0].count_dropped("queue_full", 1);
    node.metrics()[1].protocols[1].count_close("peer_closed");
    let text = text_of(&node);
    let body = text.strip_suffix("# EOF\n").unwrap();
    let mut families = HashSet::new();
    let mut series = HashSet::new();
    let (mut family, mut kind) = ("", "");
    let mut lines = body.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').unwrap().0;
            assert!(families.insert(family), "{family} is described twice");
            assert!(!help.contains('\\'), "{help}");
            kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {family} ")).unwrap();
            continue;
        }
        let (name_and_labels, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
        assert!(series.insert(name_and_labels), "{line} stands twice");
        let (name, labels) = name_and_labels.split_once('{').unwrap_or((name_and_labels, "}"));
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "info" => &["_info"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => panic!("{kind}"),
        };
        assert!(suffixes.contains(&name.strip_prefix(family).unwrap()), "{line} in {family}");
        let labels = labels.strip_suffix('}').unwrap();
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (_, value) = label.split_once("=\"").unwrap();
            assert!(value.ends_with('"') && !labels.is_empty(), "{line}");
        }
    }
}

/// What a store takes has series only where there is one.
#[test]
fn the_store_is_told_where_there_is_one() {
    assert!(samples(&text_of(&node()), "tidegate_store_failing").is_empty());
    let storage = Arc::new(MemoryStorage::manual());
    let text = text_of(&node_on(Some(storage.clone())));
    assert_eq!(samples(&text, "tidegate_store_failing"), ["tidegate_store_failing 0"]);
    assert_eq!(samples(&text, "tidegate_store_syncs"), ["tidegate_store_syncs_total 0"]);
    assert_eq!(samples(&text, "tidegate_store_full").len(), 3);
    storage.set_failing(true);
    let text = text_of(&node_on(Some(storage.clone())));
    assert_eq!(samples(&text, "tidegate_store_failing"), ["tidegate_store_failing 1"]);
    // What is kept already stays kept, but nothing more is taken.
    storage.set_failing(false);
    storage.set_room(Err(NoRoom::Failing));
    let text = text_of(&node_on(Some(storage)));
    assert_eq!(samples(&text, "tidegate_store_failing"), ["tidegate_store_failing 1"]);
}

/// Every state is there from the start, what is not known has no series, and names are those of the configuration.
#[test]
fn bridges_are_told_by_name() {
    let text = text_of(&node());
    let states = samples(&text, "tidegate_bridge_state");
    let of = |state: &str, value: u64| {
        format!("tidegate_bridge_state{{bridge=\"central\",kind=\"toy\",state=\"{state}\"}} {value}")
    };
    let others = ["live", "draining", "stalled", "rejecting", "stopped"].map(|state| of(state, 0));
    assert_eq!(states, [vec![of("connecting", 1)], others.to_vec()].concat());
    let labels = "{bridge=\"central\",forward=\"up\"}";
    for (family, value) in [
        ("backlog_messages", "7"),
        ("backlog_bytes", "700"),
        ("backlog_oldest_seconds", "1.5"),
        ("in_flight_messages", "0"),
    ] {
        let family = format!("tidegate_bridge_{family}");
        assert_eq!(samples(&text, &family), [format!("{family}{labels} {value}")]);
    }
    assert_eq!(samples(&text, "tidegate_bridge_backlog_drained_seconds"), [""; 0], "nothing has moved yet");
    assert_eq!(samples(&text, "tidegate_bridge_answer_age_seconds"), [""; 0], "nobody has answered yet");
    assert_eq!(
        samples(&text, "tidegate_bridge_duplicates"),
        ["tidegate_bridge_duplicates_total{bridge=\"central\",receive=\"down\"} 0"]
    );
}

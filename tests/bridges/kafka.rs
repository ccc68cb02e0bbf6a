//! Bridges to Kafka: servers that speak it, asked by confluent-kafka.

mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use tidegate_message::QoS;
use tidegate_mqtt::codec::Version;
use tidegate_testkit::proxy::Proxy;
use tidegate_testkit::random::Random;
use tidegate_testkit::servers::{Kafka, KafkaServer};

use super::config;
use crate::harness::{
    Authority, DEADLINE, Gateway, MqttClient, Program, Scratch, Session, mosquitto_pub, project_folder,
    python, received, run_tidegate, subscribed_mosquitto,
};

/// What `kafka_records.py` has printed.
fn records(kafka: &Kafka, topic: &str, action: &[&str]) -> String {
    let (address, [name, rest @ ..]) = (direct(kafka), action) else { panic!("{action:?}") };
    Program::start(python("tests/clients/kafka_records.py").args([*name, &address, topic]).args(rest))
        .succeed()
}

/// Where somebody is let in who says nothing of himself.
fn direct(kafka: &Kafka) -> String {
    kafka.direct_address().expect("it tells its clients its own address").to_string()
}

/// Somebody who reads a topic from its beginning.
fn follow(kafka: &Kafka, topic: &str) -> Program {
    let address = direct(kafka);
    let mut reader =
        Program::start(python("tests/clients/kafka_records.py").args(["follow", &address, topic]));
    reader.wait_for_line("that it follows", |line| line == "following");
    reader
}

#[derive(Debug)]
struct Record {
    partition: i64,
    key: String,
    value: String,
    headers: Vec<(String, String)>,
}

impl Record {
    fn next(reader: &mut Program) -> Record {
        let record: Value = serde_json::from_str(&received(reader)).expect("an object of JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let headers = record["headers"].as_array().expect("a list").iter();
        Record {
            partition: record["partition"].as_i64().expect("a number"),
            key: text(&record["key"]),
            value: text(&record["value"]),
            headers: headers.map(|header| (text(&header[0]), text(&header[1]))).collect(),
        }
    }

    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// The first `count` records with different ids, of which each key's are in order and in one partition.
fn ordered(reader: &mut Program, count: usize) -> Vec<Record> {
    let (mut ids, mut newest, mut found) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    while found.len() < count {
        let record = Record::next(reader);
        if !ids.insert(record.header("tidegate-id").to_owned()) {
            continue;
        }
        let number: usize = record.value.parse().expect("a number");
        let before = newest.insert(record.key.clone(), (record.partition, number));
        let is_behind = |(partition, before)| partition == record.partition && before < number;
        assert!(before.is_none_or(is_behind), "{record:?} behind {before:?}");
        found.push(record);
    }
    found
}

/// A bridge whose tables follow.
fn bridge_to(kafka: &Kafka, tables: &str) -> String {
    format!(
        r#"
[[bridge]]
name = "lake"
kind = "kafka"
url = "kafka://{}"
compression = "lz4"
session_timeout = "6s"
retry_first = "20ms"
retry_longest = "200ms"
probe_after = "500ms"
stalled_after = "3s"

{tables}
"#,
        kafka.address()
    )
}

fn forward_to(topic: &str) -> String {
    format!(
        r#"
[[bridge.forward]]
name = "telemetry"
from = "telemetry/#"
topic = "{topic}"
key = "{{topic[1]}}"
headers = {{ line = "line-{{topic[1]}}", site = "{{node}}" }}
dead_letter = "refused"
"#
    )
}

/// Numbers on three topics in turn, each acknowledged.
fn publish(gateway: &Gateway, numbers: std::ops::Range<usize>) {
    let mut device = MqttClient::connect(gateway.port("mqtt"), Version::V5, "device", Session::Dropped);
    for number in numbers {
        let topic = format!("telemetry/{}", number % 3);
        assert_eq!(device.publish_and_wait(&topic, number.to_string().as_bytes()), 0);
    }
}

#[test]
fn what_devices_publish_is_in_kafka_with_key_headers_and_an_id_of_its_own() {
    for kind in KafkaServer::under_test() {
        let (kafka, topic) = (Kafka::start(kind), Kafka::topic("plant"));
        records(&kafka, &topic, &["topic", "3"]);
        let mut gateway = Gateway::start(&config(&bridge_to(&kafka, &forward_to(&topic))));
        gateway.wait_for_log("the upstream answers");
        publish(&gateway, 0..60);
        let found = ordered(&mut follow(&kafka, &topic), 60);
        for record in &found {
            assert_eq!(record.header("line"), format!("line-{}", record.key), "{record:?}");
            assert_eq!(record.header("site"), "edge-1", "{record:?}");
            assert_eq!(record.header("tidegate-path"), "edge-1", "{record:?}");
            assert!(record.header("tidegate-id").starts_with("edge-1/"), "{record:?}");
        }
        let values: BTreeSet<_> = found.iter().map(|record| record.value.as_str()).collect();
        assert_eq!(values.len(), 60, "{kind:?}");
    }
}

/// Those that keep nothing while they are away are left out, and those that a test cannot stop.
#[test]
fn what_waits_while_kafka_is_away_and_the_gateway_is_killed_comes_in_order() {
    for kind in KafkaServer::under_test().into_iter().filter(|kind| *kind != KafkaServer::Tansu) {
        let (mut kafka, topic) = (Kafka::start(kind), Kafka::topic("backlog"));
        records(&kafka, &topic, &["topic", "3"]);
        let config = config(&bridge_to(&kafka, &forward_to(&topic)));
        let mut gateway = Gateway::start(&config);
        gateway.wait_for_log("the upstream answers");
        publish(&gateway, 0..30);
        ordered(&mut follow(&kafka, &topic), 30);
        let Some(server) = kafka.server() else { return };
        server.stop();
        publish(&gateway, 30..60);
        let scratch = gateway.kill();
        let file = scratch.write("again.toml", &config);
        let gateway = Gateway::start_in(scratch, &file);
        publish(&gateway, 60..90);
        server.start_again();
        ordered(&mut follow(&kafka, &topic), 90);
    }
}

/// A record that the server finds too large, one for a partition that is not there, and one whose topic Kafka cannot have.
#[test]
fn what_kafka_never_takes_is_a_dead_letter_with_the_reason_and_the_rest_goes_on() {
    for kind in KafkaServer::under_test() {
        let (kafka, topic) = (Kafka::start(kind), Kafka::topic("choosy"));
        records(&kafka, &topic, &["topic", "3"]);
        let tables = format!(
            r#"
[[bridge.forward]]
name = "named"
from = "named/#"
topic = "{{topic[1..]}}"
dead_letter = "refused"
[[bridge.forward]]
name = "placed"
from = "placed/#"
topic = "{topic}"
partition = "{{topic[1]}}"
dead_letter = "refused"
{}"#,
            forward_to(&topic)
        );
        let packets = r#"mqtt = { max_packet_size = "8MiB" }"#;
        let mut gateway = Gateway::start(&config(&format!("{packets}\n{}", bridge_to(&kafka, &tables))));
        gateway.wait_for_log("the upstream answers");
        let port = gateway.port("mqtt");
        let arguments = ["-V", "mqttv5", "-q", "1", "-t", "refused", "-F", "got %P"];
        let mut refused = subscribed_mosquitto(port, &arguments);
        let mut device = MqttClient::connect(port, Version::V5, "device", Session::Dropped);
        let mut expect = |topic: &str, payload: &[u8], reason: &str| {
            assert_eq!(device.publish_and_wait(topic, payload), 0);
            let properties = received(&mut refused);
            assert!(properties.contains(&format!("tidegate-reason:{reason}")), "{topic}: {properties}");
            assert!(properties.contains(&format!("tidegate-topic:{topic}")), "{topic}: {properties}");
        };
        expect("named/a b", b"x", "not_expressible");
        expect("placed/99", b"x", "unroutable");
        // Tansu knows no limit.
        if kind != KafkaServer::Tansu {
            expect("telemetry/0", &incompressible(2_000_000), "too_large");
        }
        publish(&gateway, 0..9);
        ordered(&mut follow(&kafka, &topic), 9);
    }
}

/// Bytes that compression makes no smaller.
fn incompressible(count: usize) -> Vec<u8> {
    let mut random = Random::new(7);
    (0..count).map(|_| random.byte()).collect()
}

fn receive_from(topic: &str) -> String {
    format!(
        r#"
[[bridge.receive]]
topics = ["{topic}"]
group = "group-{topic}"
to = "commands/{{key}}"
"#
    )
}

/// The offsets that the gateway has committed, by partition, and how many that are together.
fn committed(kafka: &Kafka, topic: &str) -> u64 {
    let found = records(kafka, topic, &["committed", &format!("group-{topic}")]);
    let found: BTreeMap<String, u64> = serde_json::from_str(&found).expect("an object of JSON");
    found.values().sum()
}

/// The gateway is killed while records come in. A session of a device, which is not connected, has everything that Kafka was told is taken,
/// and gets the rest behind it. Tansu is left out: it answers the first member of a group only after twenty seconds, each time.
#[test]
fn an_offset_is_committed_only_behind_what_is_kept_here() {
    const COUNT: usize = 3000;
    for kind in KafkaServer::under_test().into_iter().filter(|kind| *kind != KafkaServer::Tansu) {
        let (kafka, topic) = (Kafka::start(kind), Kafka::topic("commands"));
        // One partition, so that what is committed is the first so many.
        records(&kafka, &topic, &["topic", "1"]);
        records(&kafka, &topic, &["write", "valve", &COUNT.to_string()]);
        let with_bridge = config(&bridge_to(&kafka, &receive_from(&topic)));
        // Whoever is to have it subscribes before anything can come.
        let mut gateway = Gateway::start(&config(""));
        MqttClient::connect(gateway.port("mqtt"), Version::V5, "device", Session::Kept)
            .subscribe("commands/#", QoS::AtLeastOnce);
        gateway.reload(&with_bridge);
        let deadline = Instant::now() + DEADLINE;
        while committed(&kafka, &topic) == 0 {
            assert!(Instant::now() < deadline, "nothing was committed");
        }
        let scratch = gateway.kill();
        let behind = committed(&kafka, &topic);
        assert!(behind > 0);

        let file = scratch.write("alone.toml", config(""));
        let gateway = Gateway::start_in(scratch, &file);
        let mut device = MqttClient::connect(gateway.port("mqtt"), Version::V5, "device", Session::Kept);
        assert!(device.was_present);
        let mut seen = BTreeSet::new();
        for _ in 0..behind {
            seen.insert(number(&device.take()));
        }
        assert!(
            (0..behind as usize).all(|number| seen.contains(&number)),
            "{behind} are committed: {seen:?}"
        );

        drop(device);
        let scratch = gateway.kill();
        let file = scratch.write("again.toml", &with_bridge);
        let gateway = Gateway::start_in(scratch, &file);
        let mut device = MqttClient::connect(gateway.port("mqtt"), Version::V5, "device", Session::Kept);
        while seen.len() < COUNT {
            seen.insert(number(&device.take()));
        }
    }
}

fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()).expect("a number")
}

/// Forwards and receives come and go with a reload, and a file that is wrong changes nothing.
#[test]
fn a_reload_begins_and_ends_bridges_to_kafka() {
    let (kafka, topic) = (Kafka::start(KafkaServer::under_test()[0]), Kafka::topic("reload"));
    records(&kafka, &topic, &["topic", "1"]);
    let mut gateway = Gateway::start(&config(""));
    let begun = config(&bridge_to(&kafka, &forward_to(&topic)));
    gateway.reload(&begun);
    gateway.wait_for_log("the upstream answers");
    publish(&gateway, 0..3);
    let mut reader = follow(&kafka, &topic);
    ordered(&mut reader, 3);
    let refused = gateway.refused_reload(&begun.replace("kafka://", "kafka+tls://user@"));
    assert!(refused.contains("do not stand in the address"), "{refused}");
    gateway.reload(&config(""));
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/0", "-m", "3"]);
    gateway.reload(&begun);
    gateway.wait_for_log("the upstream answers");
    publish(&gateway, 4..5);
    assert_eq!(Record::next(&mut reader).value, "4", "what came while there was no bridge is not forwarded");
}

/// `config/bridge-kafka.toml`, which a user starts from, forwards and receives once its addresses are those of this machine.
#[test]
fn the_example_of_an_edge_gateway_forwards_to_kafka_and_receives() {
    let kafka = Kafka::start(KafkaServer::under_test()[0]);
    let file = project_folder().join("config/bridge-kafka.toml");
    let example = std::fs::read_to_string(file).expect("the example is there");
    let (telemetry, commands) = (Kafka::topic("example.telemetry"), Kafka::topic("example.commands"));
    for topic in [&telemetry, &commands] {
        records(&kafka, topic, &["topic", "1"]);
    }
    let config = example
        .replace("127.0.0.1:1883", "127.0.0.1:0")
        .replace("127.0.0.1:9092", &kafka.address().to_string())
        .replace("plant.telemetry", &telemetry)
        .replace("plant.commands", &commands);
    let mut gateway = Gateway::start(&config);
    gateway.wait_for_log("the upstream answers");
    mosquitto_pub(gateway.port("devices"), &["-q", "1", "-t", "telemetry/pump/flow", "-m", "21"]);
    let record = Record::next(&mut follow(&kafka, &telemetry));
    assert_eq!((record.key.as_str(), record.value.as_str()), ("pump", "21"));
    let mut device = subscribed_mosquitto(gateway.port("devices"), &["-q", "1", "-t", "commands/#"]);
    records(&kafka, &commands, &["write", "valve", "1"]);
    assert_eq!(received(&mut device), "commands/valve0 1 0 0");
}

/// Everything that is wrong is said at once, with its line.
#[test]
fn check_names_the_lines_of_what_is_wrong_with_a_bridge_to_kafka() {
    let scratch = Scratch::new();
    let text = r#"
[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true
[[bridge]]
name = "lake"
kind = "kafka"
url = ["kafka://a", "kafka://b/topic"]
version = "5"
sasl = { user = "u" }
tls = { ca = "none.pem" }
[[bridge.forward]]
from = "a/#"
topic = "plant/a"
partition = "first"
headers = { site = "{nothing}" }
[[bridge.receive]]
topics = ["^x"]
to = "{topic[0]}"
"#;
    let file = scratch.write("wrong.toml", text);
    let ended = run_tidegate(["check".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(ended.code, Some(2));
    for (line, words) in [
        (10, "an address of Kafka has no path"),
        (11, "means nothing to a bridge of kind"),
        (12, "`password` or `password_file` is missing"),
        (13, "none.pem"),
        (16, "is no topic of Kafka"),
        (17, "is no number of a partition"),
        (18, "nothing"),
        (19, "a receive needs a consumer group"),
        (20, "is no topic of Kafka"),
        (21, "topic"),
    ] {
        let place = format!("wrong.toml:{line}:");
        let found = ended.output.lines().collect::<Vec<_>>();
        let at = found.iter().position(|text| text.contains(&place));
        let near = at.map(|at| found[at.saturating_sub(1)..(at + 4).min(found.len())].join("\n"));
        assert!(near.is_some_and(|near| near.contains(words)), "{place} {words}:\n{}", ended.output);
    }
}

/// What Kafka's client would bend or send to whoever listens is refused where it stands.
#[test]
fn check_names_the_lines_of_limits_and_passwords_that_kafka_cannot_have() {
    let scratch = Scratch::new();
    let text = r#"
[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true
[[bridge]]
name = "lake"
kind = "kafka"
url = "kafka://lake.example"
connect_timeout = "302s"
probe_after = "10m"
sasl = { mechanism = "plain", user = "u", password = "p" }
[[bridge.forward]]
from = "a/#"
topic = "plant"
"#;
    let file = scratch.write("wrong.toml", text);
    let ended = run_tidegate(["check".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(ended.code, Some(2));
    for (line, words) in [(11, "between 1 s and 300 s"), (13, "`plain` sends the password as it is")] {
        let found =
            ended.output.lines().any(|said| said.contains(&format!(":{line}:")) && said.contains(words));
        assert!(found, "line {line}, {words:?}:\n{}", ended.output);
    }
    assert_eq!(ended.output.matches("error: ").count(), 2, "{}", ended.output);
}

/// A server without TLS behind one that has it; it tells its clients to come through there. Only tansu can be had so in a moment.
#[test]
fn an_encrypted_bridge_shows_its_certificate_and_trusts_one_authority() {
    let (scratch, proxy) = (Scratch::new(), Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))));
    let [known, other] = ["known", "other"].map(|name| Authority::new(&scratch, name));
    let [server, edge] = ["127.0.0.1", "edge-1"].map(|name| known.sign(&scratch, &[name]));
    let mut front =
        Program::start(python("tests/clients/tls_front.py").arg(proxy.address().to_string()).args([
            &server.certificate_file,
            &server.key_file,
            &known.certificate_file,
        ]));
    let line = front.wait_for_line("its port", |line| line.starts_with("listening "));
    let port = line.trim_start_matches("listening ").parse().expect("a port");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let kafka = Kafka::start_behind(KafkaServer::Tansu, address);
    proxy.set_upstream(kafka.address());
    let topic = Kafka::topic("secret");
    let bridge = |ca: &Path| {
        let plain = bridge_to(
            &kafka,
            &format!(
                "tls = {{ ca = {ca:?}, cert = {:?}, key = {:?} }}\n{}",
                edge.certificate_file,
                edge.key_file,
                forward_to(&topic)
            ),
        );
        config(&plain.replace(&format!("kafka://{}", kafka.address()), &format!("kafka+tls://{address}")))
    };
    let mut stranger = Gateway::start(&bridge(&other.certificate_file));
    stranger.wait_for_log("certificate verify failed");
    let mut gateway = Gateway::start(&bridge(&known.certificate_file));
    gateway.wait_for_log("the upstream answers");
    publish(&gateway, 0..9);
    let encrypted = serde_json::json!({
        "security.protocol": "ssl",
        "ssl.ca.location": known.certificate_file,
        "ssl.certificate.location": edge.certificate_file,
        "ssl.key.location": edge.key_file,
    });
    let mut reader = python("tests/clients/kafka_records.py");
    let reader =
        reader.env("KAFKA_CLIENT", encrypted.to_string()).args(["follow", &address.to_string(), &topic]);
    ordered(&mut Program::start(reader), 9);
}

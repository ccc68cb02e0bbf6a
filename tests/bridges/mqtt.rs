//! Bridges to MQTT brokers: a Mosquitto, and another gateway.

use super::{config, different};
use crate::harness::{
    Authority, Gateway, Scratch, mosquitto_pub, project_folder, received, subscribed_mosquitto, tidegate,
};
use tidegate_testkit::proxy::{Direction, Ending, Flow, Proxy};
use tidegate_testkit::servers::Mosquitto;

fn bridge_to(port: u16) -> String {
    format!(
        r#"
[[bridge]]
name = "central"
kind = "mqtt"
url = "mqtt://127.0.0.1:{port}"
retry_first = "20ms"
retry_longest = "200ms"
probe_after = "500ms"
stalled_after = "1s"

[[bridge.forward]]
name = "telemetry"
from = "telemetry/#"
topic = "plant/{{topic}}"

[[bridge.receive]]
filter = "commands/#"
to = "{{topic}}"
"#
    )
}

/// Devices publish while the link is cut and while the gateway is killed; commands come the other way.
#[test]
fn what_devices_were_told_is_taken_arrives_at_mosquitto_whatever_happens_between() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::start(mosquitto.address());
    let config = config(&bridge_to(proxy.address().port()));
    let mut gateway = Gateway::start(&config);
    gateway.wait_for_log("the upstream answers");
    let central = mosquitto.address().port();
    let mut panel = subscribed_mosquitto(central, &["-q", "1", "-t", "plant/#", "-F", "got %t %p"]);

    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/a", "-m", "before"]);
    assert_eq!(received(&mut panel), "plant/telemetry/a before");

    // Confirms are swallowed, then the link is gone; devices notice nothing.
    proxy.set_flow(Direction::FromUpstream, Flow::Swallow);
    for number in 0..20 {
        mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/a", "-m", &format!("m{number}")]);
    }
    proxy.end_connections(Ending::Reset);
    let scratch = gateway.kill();
    proxy.heal();
    let config = scratch.write("again.toml", &config);
    let mut gateway = Gateway::start_in(scratch, &config);
    gateway.wait_for_log("the upstream answers");
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/a", "-m", "after"]);
    let expected: Vec<String> = (0..20)
        .map(|number| format!("plant/telemetry/a m{number}"))
        .chain(["plant/telemetry/a after".to_owned()])
        .collect();
    assert_eq!(different(&mut panel, expected.len()), expected);

    let mut device =
        subscribed_mosquitto(gateway.port("mqtt"), &["-q", "1", "-t", "commands/#", "-F", "got %t %p"]);
    mosquitto_pub(central, &["-q", "1", "-t", "commands/valve", "-m", "open"]);
    assert_eq!(received(&mut device), "commands/valve open");
}

/// Two gateways: what one forwards the other one has under its id, and what the second forwards back does not go in a circle.
#[test]
fn two_gateways_that_forward_everything_to_each_other_have_each_message_once() {
    let first = Gateway::start(&config(""));
    let back = bridge_everything(first.port("mqtt"), "first");
    let second_config = config(&back).replace("edge-1", "edge-2");
    let mut second = Gateway::start(&second_config);
    second.wait_for_log("the upstream answers");
    let mut there = subscribed_mosquitto(first.port("mqtt"), &["-q", "1", "-t", "#", "-F", "got %t %p"]);
    let mut here = subscribed_mosquitto(second.port("mqtt"), &["-q", "1", "-t", "#", "-F", "got %t %p"]);
    mosquitto_pub(second.port("mqtt"), &["-q", "1", "-t", "a", "-m", "from the second"]);
    mosquitto_pub(first.port("mqtt"), &["-q", "1", "-t", "b", "-m", "from the first"]);
    for receiver in [&mut there, &mut here] {
        let mut both = [received(receiver), received(receiver)];
        both.sort();
        assert_eq!(both, ["a from the second", "b from the first"]);
    }
    // A third message would come behind anything that had gone in a circle.
    mosquitto_pub(second.port("mqtt"), &["-q", "1", "-t", "c", "-m", "last"]);
    assert_eq!(received(&mut there), "c last");
    assert_eq!(received(&mut here), "c last");
}

fn bridge_everything(port: u16, name: &str) -> String {
    format!(
        r##"
[[bridge]]
name = "{name}"
kind = "mqtt"
url = "mqtt://127.0.0.1:{port}"
[[bridge.forward]]
from = "#"
[[bridge.receive]]
filter = "#"
to = "{{topic}}"
"##
    )
}

/// A bridge comes, changes and goes with a reload, and clients notice nothing.
#[test]
fn a_reload_begins_changes_and_ends_bridges() {
    let mosquitto = Mosquitto::start();
    let central = mosquitto.address().port();
    let mut gateway = Gateway::start(&config(""));
    let mut client =
        subscribed_mosquitto(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/#", "-F", "got %p"]);
    let mut panel = subscribed_mosquitto(central, &["-q", "1", "-t", "#", "-F", "got %t %p"]);
    let begun = config(&bridge_to(central));
    gateway.reload(&begun);
    gateway.wait_for_log("the upstream answers");
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/x", "-m", "1"]);
    assert_eq!(received(&mut panel), "plant/telemetry/x 1");
    gateway.reload(&begun.replace("plant/", "works/"));
    gateway.wait_for_log("the upstream answers");
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/x", "-m", "2"]);
    assert_eq!(received(&mut panel), "works/telemetry/x 2");
    gateway.reload(&begun.replace("from = \"telemetry/#\"", "from = \"telemetry/new/#\""));
    gateway.wait_for_log("the upstream answers");
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/x", "-m", "not selected"]);
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/new/x", "-m", "selected"]);
    assert_eq!(received(&mut panel), "plant/telemetry/new/x selected");
    let without_authority = "kind = \"mqtt\"\ntls = { ca = \"not-there.pem\" }";
    let mistaken = begun.replace("mqtt://", "mqtts://").replace("kind = \"mqtt\"", without_authority);
    let refused = gateway.refused_reload(&mistaken);
    assert!(refused.contains("not-there.pem: I/O error"), "{refused}");
    gateway.reload(&config(""));
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/x", "-m", "3"]);
    // What is forwarded after the bridge has gone would come before this.
    mosquitto_pub(central, &["-q", "1", "-t", "end", "-m", "of it"]);
    assert_eq!(received(&mut panel), "end of it");
    for expected in ["1", "2", "not selected", "selected", "3"] {
        assert_eq!(received(&mut client), expected);
    }
}

/// Without `tls.ca` those count that the system trusts; which these are says a variable that every program on it knows.
#[test]
fn an_encrypted_bridge_trusts_the_authorities_of_the_system() {
    let scratch = Scratch::new();
    let [known, other] = ["known", "other"].map(|name| Authority::new(&scratch, name));
    let server = known.sign(&scratch, &["localhost"]);
    let (cert, key) = (server.certificate_file.display(), server.key_file.display());
    let listener = format!("allow_anonymous = true\ntls = {{ cert = '{cert}', key = '{key}' }}");
    let central = Gateway::start(&config("").replace("allow_anonymous = true", &listener));
    let bridge = bridge_to(central.port("mqtt")).replace("mqtt://127.0.0.1", "mqtts://localhost");
    let file = scratch.write("edge.toml", config(&bridge).replace("edge-1", "edge-2"));
    let start = |trusted: &Authority| {
        let mut command = tidegate();
        Gateway::start_as(Scratch::new(), command.env("SSL_CERT_FILE", &trusted.certificate_file), &file)
    };
    start(&other).wait_for_log("UnknownIssuer");
    start(&known).wait_for_log("the upstream answers");
}

/// `config/bridge-mqtt.toml`, which a user starts from, forwards and receives once its addresses are those of this machine.
#[test]
fn the_example_of_an_edge_gateway_forwards_and_receives() {
    let mosquitto = Mosquitto::start();
    let central = mosquitto.address().port();
    let example = project_folder().join("config/bridge-mqtt.toml");
    let example = std::fs::read_to_string(example).expect("the example is there");
    let config = example.replace("127.0.0.1:1883", "127.0.0.1:0").replace("11883", &central.to_string());
    let mut gateway = Gateway::start(&config);
    gateway.wait_for_log("the upstream answers");
    let mut panel = subscribed_mosquitto(central, &["-q", "1", "-t", "#", "-F", "got %t %p"]);
    let mut device =
        subscribed_mosquitto(gateway.port("devices"), &["-q", "1", "-t", "commands/#", "-F", "got %t %p"]);
    mosquitto_pub(gateway.port("devices"), &["-q", "1", "-t", "telemetry/pump", "-m", "21"]);
    assert_eq!(received(&mut panel), "plant/edge-1/telemetry/pump 21");
    mosquitto_pub(central, &["-q", "1", "-t", "commands/edge-1/valve", "-m", "open"]);
    assert_eq!(received(&mut device), "commands/edge-1/valve open");
}

/// A backlog that takes half a minute to drain keeps no live message waiting.
#[test]
fn a_live_message_overtakes_a_backlog_on_its_way_to_mosquitto() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::start(mosquitto.address());
    proxy.set_flow(Direction::FromUpstream, Flow::Swallow);
    let bridge = bridge_to(proxy.address().port())
        .replace("topic = \"plant", "order = \"live-first\"\ndrain_rate = 1\ntopic = \"plant");
    let mut gateway = Gateway::start(&config(&bridge));
    let central = mosquitto.address().port();
    let mut panel = subscribed_mosquitto(central, &["-q", "1", "-t", "plant/#", "-F", "got %p"]);
    for number in 0..30 {
        let payload = format!("m{number}");
        mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/a", "-m", &payload]);
    }
    proxy.end_connections(Ending::Reset);
    proxy.heal();
    gateway.wait_for_log("the upstream answers");
    assert_eq!(received(&mut panel), "m0");
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/a", "-m", "live"]);
    let mut before = 1;
    loop {
        let payload = received(&mut panel);
        if payload == "live" {
            break;
        }
        assert_eq!(payload, format!("m{before}"), "the backlog is in order");
        before += 1;
    }
    assert!(before < 20, "{before} came before it");
}

/// What a forward has left that is gone at a start is named, and thrown away when the operator says so.
#[test]
fn a_forward_that_is_gone_at_a_start_is_named_until_it_is_to_be_forgotten() {
    // Nobody listens there.
    let with = config(&bridge_to(1));
    let gateway = Gateway::start(&with);
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/a", "-m", "left"]);
    let scratch = gateway.kill();
    let without = scratch.write("without.toml", config(""));
    let gateway = Gateway::start_in(scratch, &without);
    let named = |gateway: &Gateway| gateway.log().contains("a forward is not configured any more");
    assert!(named(&gateway), "{}", gateway.log());
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", "telemetry/a", "-m", "more"]);
    let scratch = gateway.kill();
    let forgetting = format!("forget_forwards = [\"central.telemetry\"]\n{}", config(""));
    let forgetting = scratch.write("forgetting.toml", &forgetting);
    let mut gateway = Gateway::start_in(scratch, &forgetting);
    assert!(!named(&gateway));
    let gone = "the forward is gone, and what waited in it\",\"forward\":\"central.telemetry";
    gateway.wait_for_log(gone);
}

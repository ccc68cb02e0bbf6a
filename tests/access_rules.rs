//! Access rules with other people's clients: who may publish, subscribe and receive what, and what each version is told.

use crate::harness::{
    Gateway, Program, get, metric_sum, mosquitto_pub, mosquitto_sub, python, received, run_tidegate,
    subscribed_mosquitto,
};

const VERSIONS: [&str; 2] = ["mqttv311", "mqttv5"];

/// Each client has a place of its own; the panel sees everything but the vault; the listener of the bridge acknowledges.
const RULES: &str = r#"
[[listener]]
name = "devices"
bind = "127.0.0.1:0"
protocols = ["mqtt", "stomp"]
allow_anonymous = true

[[listener]]
name = "lenient"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true
mqtt = { denied_publish = "acknowledge" }

[http]
bind = "127.0.0.1:0"

[[access.rule]]
permission = "deny"
action = "subscribe"
topics = ["plant/vault/#"]

[[access.rule]]
permission = "allow"
action = "subscribe"
topics = ["plant/#"]
clients = ["panel"]

[[access.rule]]
permission = "allow"
action = "publish"
topics = ["plant/vault/+"]
clients = ["keeper"]

[[access.rule]]
permission = "allow"
topics = ["plant/%c/#", "state-%c"]

[[access.rule]]
permission = "allow"
topics = ["echo"]
listeners = ["lenient"]
"#;

fn denied(gateway: &Gateway, action: &str) -> f64 {
    let metrics = get(gateway.port("http"), "/metrics").body;
    metric_sum(&metrics, "tidegate_access_denied_total", &[&format!("action=\"{action}\"")])
}

/// [MQTT-3.1.1/3.3.5-2]: a message to a topic of somebody else does not arrive, one to the client's own does.
#[test]
fn a_client_publishes_where_it_may() {
    let gateway = Gateway::start(RULES);
    let port = gateway.port("devices");
    for version in VERSIONS {
        let mut panel = subscribed_mosquitto(port, &["-V", version, "-i", "panel", "-t", "plant/#"]);
        for (client, topic) in [("d1", "plant/d2/x"), ("d1", "plant/vault/x"), ("d1", "plant/d1/x")] {
            mosquitto_pub(port, &["-V", version, "-i", client, "-t", topic, "-m", topic]);
        }
        assert_eq!(received(&mut panel), "plant/d1/x 0 0 plant/d1/x", "{version}");
    }
    assert_eq!(denied(&gateway, "publish"), 4.0);
}

/// The log says what refuses: an operator without rules must not look for them.
#[test]
fn the_log_tells_rules_from_the_gateways_own_topics() {
    let mut open = Gateway::standard();
    mosquitto_pub(open.port("mqtt"), &["-t", "$SYS/mine", "-m", "x"]);
    let own = open.wait_for_log("$SYS/mine");
    assert!(own.to_string().contains("the topic is the gateway's own"), "{own}");

    let mut ruled = Gateway::start(RULES);
    mosquitto_pub(ruled.port("devices"), &["-i", "d1", "-t", "plant/d2/x", "-m", "x"]);
    let denied = ruled.wait_for_log("plant/d2/x");
    assert!(denied.to_string().contains("not allowed by the access rules"), "{denied}");
}

/// A subscription with a hole in it gets everything else: live, and what was retained.
#[test]
fn a_wildcard_subscription_is_filtered() {
    let gateway = Gateway::start(RULES);
    let port = gateway.port("devices");
    for version in VERSIONS {
        let publish = |client: &str, topic: &str, payload: &str| {
            mosquitto_pub(port, &["-V", version, "-i", client, "-q", "1", "-r", "-t", topic, "-m", payload]);
        };
        publish("keeper", "plant/vault/gold", "hidden");
        publish("d1", "plant/d1/state", "retained");
        let mut panel =
            subscribed_mosquitto(port, &["-V", version, "-i", "panel", "-q", "1", "-t", "plant/#"]);
        assert_eq!(received(&mut panel), "plant/d1/state 1 1 retained", "{version}");
        publish("keeper", "plant/vault/gold", "still hidden");
        publish("d1", "plant/d1/state", "live");
        assert_eq!(received(&mut panel), "plant/d1/state 1 0 live", "{version}");
    }
}

/// [MQTT-3.8.4-6]: a filter that takes in more than the rules allow is refused in SUBACK.
#[test]
fn a_subscription_to_more_than_is_allowed_is_refused() {
    let gateway = Gateway::start(RULES);
    for version in VERSIONS {
        for filter in ["#", "plant/#", "plant/+/x", "plant/d2/x", "$SYS/#"] {
            let arguments = ["-V", version, "-i", "d1", "-t", filter, "-W", "30"];
            let ended = Program::start(&mut mosquitto_sub(gateway.port("devices"), &arguments)).wait();
            assert!(ended.output.contains("All subscription requests were denied"), "{}", ended.output);
        }
        subscribed_mosquitto(gateway.port("devices"), &["-V", version, "-i", "d1", "-t", "plant/d1/#"]);
    }
    assert_eq!(denied(&gateway, "subscribe"), 10.0);
}

/// A client id is text that its client chose: none of these opens what a plain one does not.
#[test]
fn a_hostile_client_id_opens_nothing() {
    let gateway = Gateway::start(RULES);
    let port = gateway.port("devices");
    for id in ["+", "#", "d1/x", "d1/#", "+/#"] {
        for filter in ["plant/#", "plant/+/x", "plant/d1/x", "plant/d1/#"] {
            let arguments = ["-i", id, "-t", filter, "-W", "30"];
            let ended = Program::start(&mut mosquitto_sub(port, &arguments)).wait();
            assert!(ended.output.contains("denied"), "{id} {filter}: {}", ended.output);
        }
    }
}

/// paho-mqtt: the codes that each version has for a refusal, for QoS 0, 1 and 2, on both kinds of listener.
#[test]
fn refusals_have_the_codes_of_their_version() {
    for version in ["3.1.1", "5"] {
        for listener in ["devices", "lenient"] {
            let gateway = Gateway::start(RULES);
            let port = gateway.port(listener).to_string();
            let mut command = python("tests/clients/paho_checks.py");
            Program::start(command.args([&format!("refusals_{listener}"), &port, version])).succeed();
        }
    }
}

/// [STOMP-1.2/ERROR]: a SEND that is not allowed is answered with its receipt id.
#[test]
fn a_stomp_client_is_told_by_an_error() {
    let gateway = Gateway::start(RULES);
    let port = gateway.port("devices").to_string();
    Program::start(python("tests/clients/stomp_checks.py").args(["not_allowed", &port])).succeed();
}

/// A reload that takes a subscription away tells its client and lets it go; the others do not notice.
#[test]
fn a_reload_lets_go_of_clients_that_lose_a_subscription() {
    let mut gateway = Gateway::start(RULES);
    let port = gateway.port("devices");
    let mut panel = subscribed_mosquitto(port, &["-V", "mqttv5", "-i", "panel", "-t", "plant/#"]);
    let lenient = gateway.port("lenient");
    let mut stays = subscribed_mosquitto(lenient, &["-i", "stays", "-t", "echo"]);
    let entry = gateway.reload(&RULES.replace("clients = [\"panel\"]", "clients = [\"other\"]"));
    assert_eq!(entry["fields"]["access_changed"], true);
    panel.wait_for_line("its dismissal", |line| line.contains("Received DISCONNECT (135)"));
    mosquitto_pub(lenient, &["-t", "echo", "-m", "still here"]);
    assert_eq!(received(&mut stays), "echo 0 0 still here");
    assert_eq!(denied(&gateway, "subscribe"), 1.0);
}

/// A file with a rule that cannot be meant is refused with its line, before anything starts.
#[test]
fn check_names_mistakes_in_rules() {
    let gateway = Gateway::standard();
    let rules = RULES.replace("\"state-%c\"", "\"state-%d\"").replace("[\"lenient\"]", "[\"lenint\"]");
    let file = gateway.scratch().write("rules.toml", rules);
    let ended = run_tidegate(["check", "--config", file.to_str().expect("the path is text")]);
    assert_eq!(ended.code, Some(2), "{}", ended.output);
    for piece in ["`%d` stands for nothing", "write `%u` for the user", "did you mean `lenient`?"] {
        assert!(ended.output.contains(piece), "{piece}: {}", ended.output);
    }
}

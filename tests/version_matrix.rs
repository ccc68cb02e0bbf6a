//! Any mix of MQTT 3.1, 3.1.1 and 5.0 on one topic, at every pair of published and subscribed levels, with Mosquitto's clients.

use crate::harness::{
    Gateway, Program, mosquitto_pub, mosquitto_sub, python, received, subscribed_mosquitto, tool,
};

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];
const LEVELS: [&str; 3] = ["0", "1", "2"];

/// [MQTT-3.8.4-8]: whoever publishes, each subscriber gets the lower of the two levels, once, whatever version it speaks.
#[test]
fn every_version_hears_every_version_at_every_level() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt");
    let subscribe = |version, level| subscribed_mosquitto(port, &["-V", version, "-t", "mix/+", "-q", level]);
    let mut subscribers: Vec<(&str, &str, Program)> = VERSIONS
        .iter()
        .flat_map(|version| LEVELS.map(|level| (*version, level, subscribe(version, level))))
        .collect();
    for version in VERSIONS {
        for level in LEVELS {
            let payload = format!("{version} at {level}");
            mosquitto_pub(port, &["-V", version, "-t", "mix/x", "-q", level, "-m", &payload]);
            for (heard_in, subscribed, subscriber) in &mut subscribers {
                let expected = format!("mix/x {} 0 {payload}", level.min(*subscribed));
                assert_eq!(received(subscriber), expected, "in {heard_in}");
            }
        }
    }
}

/// [MQTT-3.3.1-6], [MQTT-3.3.1-13]: a wildcard selects retained messages of every version, and the flag is kept where that is asked for.
#[test]
fn retained_messages_are_selected_by_wildcards_in_every_version() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt");
    for (topic, version) in [("kept/a", "mqttv31"), ("kept/b", "mqttv311"), ("kept/b/c", "mqttv5")] {
        mosquitto_pub(port, &["-V", version, "-t", topic, "-q", "1", "-r", "-m", topic]);
    }
    for version in VERSIONS {
        let mut subscriber = subscribed_mosquitto(port, &["-V", version, "-t", "kept/#", "-q", "1"]);
        let mut got: Vec<String> = (0..3).map(|_| received(&mut subscriber)).collect();
        got.sort();
        assert_eq!(got, ["kept/a 1 1 kept/a", "kept/b 1 1 kept/b", "kept/b/c 1 1 kept/b/c"], "{version}");
    }
    let mut flagged =
        subscribed_mosquitto(port, &["-V", "mqttv5", "-t", "kept/new", "-q", "1", "--retain-as-published"]);
    mosquitto_pub(port, &["-V", "mqttv311", "-t", "kept/new", "-q", "1", "-r", "-m", "on"]);
    assert_eq!(received(&mut flagged), "kept/new 1 1 on");
}

/// MQTT 5.0 section 4.10: `mosquitto_rr` asks, paho-mqtt answers where the request says, with its correlation data.
#[test]
fn a_request_finds_its_response() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt").to_string();
    let mut responder = Program::start(python("tests/clients/paho_checks.py").args(["respond", &port, "5"]));
    responder.wait_for_line("that it listens", |line| line == "listening");
    let mut command = tool("mosquitto_rr");
    command.args(["-h", "127.0.0.1", "-p", &port, "-V", "mqttv5", "-q", "1"]);
    command.args(["-t", "requests/add", "-e", "responses/mine", "-m", "2 + 3", "-W", "45"]);
    let output = Program::start(&mut command).succeed();
    assert_eq!(output, "answer to 2 + 3\n");
    responder.succeed();
}

/// [MQTT-3.1.4-3] on a gateway of two workers, where a session moves from one to the other: nothing is lost on the way.
#[test]
fn sessions_move_between_workers_with_all_that_waits_for_them() {
    let gateway = Gateway::start(
        "workers = 2\n[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\nprotocols = [\"mqtt\"]\nallow_anonymous = true\n",
    );
    let port = gateway.port("mqtt");
    let session = ["-V", "mqttv311", "-c", "-i", "mover", "-q", "1", "-t", "moving/#"];
    Program::start(mosquitto_sub(port, &session).arg("-E")).succeed();
    // Each of these takes a place on the worker that has fewer, so that the next comer goes to the other one.
    let mut company = Vec::new();
    for round in 0..6 {
        for payload in ["one", "two", "three"] {
            mosquitto_pub(port, &["-t", &format!("moving/{round}"), "-q", "1", "-m", payload]);
        }
        let mut returned = Program::start(&mut mosquitto_sub(port, &session));
        for payload in ["one", "two", "three"] {
            assert_eq!(next_of(&mut returned, round), format!("moving/{round} 1 0 {payload}"));
        }
        drop(returned);
        company.push(subscribed_mosquitto(port, &["-t", "nothing"]));
    }
}

/// The next message of a round. Older ones may come again, because their acknowledgements can be lost with the connection.
fn next_of(subscriber: &mut Program, round: usize) -> String {
    loop {
        let line = received(subscriber);
        if line.starts_with(&format!("moving/{round} ")) {
            return line;
        }
    }
}

/// [MQTT-3.1.3-9]: a will that waits is not published when its session is taken up again, and is when nobody comes.
#[test]
fn a_delayed_will_waits_for_the_client_to_return() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt").to_string();
    Program::start(python("tests/clients/paho_checks.py").args(["delayed_will", &port, "5"])).succeed();
}

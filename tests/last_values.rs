//! A small disk on which only the newest message of each topic is worth something: telemetry goes on, and nobody's last value is lost.

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_mqtt::codec::Version;

use crate::harness::{
    DEADLINE, Gateway, MqttClient, Program, Session, get, metric_sum, mosquitto_pub, mosquitto_sub, received,
};

const CONFIG: &str = r#"
data_dir = "data"
workers = 2

[limits]
disk = "4MiB"

[[topic]]
topics = ["last/#"]
disk_full = "keep-last"

[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true

[http]
bind = "127.0.0.1:0"
"#;

const SUCCESS: u8 = 0;
/// MQTT 5.0, 2.4: "Quota exceeded".
const QUOTA_EXCEEDED: u8 = 0x97;
const DEVICES: usize = 5;
/// Three times as much as the disk holds.
const VALUES: usize = 600;
const PAYLOAD_BYTES: usize = 20_000;

/// A value that is told by its first word.
fn payload(value: usize) -> Vec<u8> {
    let mut payload = format!("{value} ").into_bytes();
    payload.resize(PAYLOAD_BYTES, b'.');
    payload
}

fn publish_until_taken(publisher: &mut MqttClient, topic: &str, value: usize) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match publisher.publish_and_wait(topic, &payload(value)) {
            SUCCESS => return,
            refused => assert_eq!(refused, QUOTA_EXCEEDED, "{topic} {value}"),
        }
        assert!(Instant::now() < deadline, "{topic} {value} is never taken");
    }
}

/// The values that a client prints until the last one of the last device.
fn values(receiver: &mut Program) -> BTreeMap<String, Vec<usize>> {
    let mut values = BTreeMap::<String, Vec<usize>>::new();
    loop {
        let line = received(receiver);
        let words: Vec<&str> = line.split(' ').collect();
        let value = words[3].parse().expect("a numbered value");
        values.entry(words[0].to_owned()).or_default().push(value);
        if value == VALUES - 1 {
            return values;
        }
    }
}

/// A subscriber of 3.1.1 is away, devices publish three times what the disk holds, one of them only at the beginning.
#[test]
fn a_small_disk_keeps_the_last_value_of_each_device() {
    let gateway = Gateway::start(CONFIG);
    let port = gateway.port("mqtt");
    let session = ["-V", "mqttv311", "-c", "-i", "away", "-q", "1", "-t", "last/#"];
    Program::start(mosquitto_sub(port, &session).arg("-E")).succeed();
    mosquitto_pub(port, &["-t", "last/silent", "-q", "1", "-m", "7 the only one"]);
    let mut publisher = MqttClient::connect(port, Version::V5, "publisher", Session::Dropped);
    for value in 0..VALUES {
        publish_until_taken(&mut publisher, &format!("last/{}", value % DEVICES), value);
    }
    let metrics = get(gateway.port("http"), "/metrics").body;
    let superseded = metric_sum(&metrics, "tidegate_messages_dropped_total", &["reason=\"superseded\""]);
    assert!(superseded >= (VALUES / 2) as f64, "{superseded}");
    let mut receiver = Program::start(&mut mosquitto_sub(port, &session));
    let values = values(&mut receiver);
    assert_eq!(values["last/silent"], [7]);
    for device in 0..DEVICES {
        let of_device = &values[&format!("last/{device}")];
        assert!(
            of_device.is_sorted() && of_device.last() == Some(&(VALUES - DEVICES + device)),
            "{of_device:?}"
        );
    }
}

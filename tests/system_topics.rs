//! `$SYS` as an operator sees it: with Mosquitto's client and over STOMP.

use crate::harness::{Gateway, Program, mosquitto_sub, python};

/// The first thing that a subscriber gets is the present value, marked as retained.
#[test]
fn mosquitto_sub_sees_the_gateway() {
    let gateway = Gateway::standard();
    for version in ["mqttv311", "mqttv5"] {
        let arguments =
            ["-V", version, "-t", "$SYS/broker/version", "-t", "$SYS/broker/clients/connected", "-C", "2"];
        let output = Program::start(&mut mosquitto_sub(gateway.port("mqtt"), &arguments)).succeed();
        let version_line =
            format!("got $SYS/broker/version 0 1 tidegate version {}", env!("CARGO_PKG_VERSION"));
        assert!(output.contains(&version_line), "{output}");
        assert!(output.contains("got $SYS/broker/clients/connected 0 1 1\n"), "{output}");
    }
}

/// `#` does not select `$SYS` ([MQTT-4.7.2-1]), and STOMP sees the same topics.
#[test]
fn stomp_sees_the_same_topics() {
    let gateway = Gateway::standard();
    let port = gateway.port("stomp").to_string();
    let mut command = python("tests/clients/stomp_checks.py");
    command.args(["listen", &port, "/topic/$SYS/broker/subscriptions/count", "1"]);
    let output = Program::start(&mut command).succeed();
    // "1" in hexadecimal digits.
    assert!(output.contains("got /topic/$SYS/broker/subscriptions/count 31\n"), "{output}");
}

/// A short interval brings the next values without being asked.
#[test]
fn values_come_by_interval() {
    let scratch = crate::harness::Scratch::new();
    let file = scratch.write(
        "tidegate.toml",
        "sys_interval = \"200ms\"\n[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\nprotocols = [\"mqtt\"]\nallow_anonymous = true\n",
    );
    let arguments = [std::ffi::OsStr::new("--config"), file.as_os_str()];
    let gateway = Gateway::start_with(scratch, arguments);
    let arguments = ["-t", "$SYS/broker/uptime", "-C", "3"];
    let output = Program::start(&mut mosquitto_sub(gateway.port("mqtt"), &arguments)).succeed();
    let flags: Vec<&str> = output
        .lines()
        .filter_map(|line| line.strip_prefix("got $SYS/broker/uptime 0 ")?.split(' ').next())
        .collect();
    assert_eq!(flags, ["1", "0", "0"], "{output}");
}

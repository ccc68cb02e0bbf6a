//! Questions and answers, and everything that a message carries, between MQTT 5.0 and STOMP, in both directions.

use crate::harness::{Gateway, Program, node, python, received, tool};

/// Runs one scenario of `tests/clients/crossing_checks.py`, which asserts for itself.
fn check(scenario: &str) {
    let gateway = Gateway::standard();
    run(&gateway, &[scenario]).succeed();
}

fn run(gateway: &Gateway, arguments: &[&str]) -> Program {
    let ports = ["mqtt", "stomp"].map(|listener| gateway.port(listener).to_string());
    let (scenario, rest) = arguments.split_first().expect("a scenario");
    Program::start(python("tests/clients/crossing_checks.py").arg(scenario).args(ports).args(rest))
}

/// Somebody who answers `count` questions, and is subscribed.
fn answering(gateway: &Gateway, who: &str, address: &str, count: u32) -> Program {
    let mut program = run(gateway, &[who, address, &count.to_string()]);
    program.wait_for_line("`subscribed`", |line| line == "subscribed");
    program
}

/// MQTT 5.0 section 4.10: a STOMP client's `reply-to` is a device's Response Topic, its `correlation-id` the Correlation Data.
#[test]
fn a_service_asks_a_device() {
    check("service_asks_device");
}

/// MQTT 5.0 section 4.10: a device's Response Topic is a STOMP client's `reply-to`, also where the question waited in a queue.
#[test]
fn a_device_asks_a_service() {
    check("device_asks_service");
}

/// [STOMP-1.2/SEND]: between STOMP clients; an answer that comes too late does nobody any harm.
#[test]
fn a_service_asks_a_service() {
    check("service_asks_service");
}

/// Who knows an address may answer there; only its owner hears it.
#[test]
fn a_reply_address_belongs_to_its_owner() {
    check("addresses_belong_to_their_owners");
}

/// The mapping of docs/reference/mapping.md, with other people's clients.
#[test]
fn properties_cross_both_ways() {
    check("properties_cross_both_ways");
}

/// A page asks a device and gets the answer without having subscribed to anything.
#[test]
fn a_browser_asks_a_device() {
    let gateway = Gateway::standard();
    let device = answering(&gateway, "device", "devices/+/ask", 1);
    let url = format!("ws://127.0.0.1:{}/stomp", gateway.port("websocket"));
    let mut browser = Program::start(node("stomp_ask.js").args([&url, "/topic/devices/7/ask", "on?"]));
    assert_eq!(received(&mut browser), "ON?");
    browser.succeed();
    device.succeed();
}

/// mosquitto_rr asks a STOMP service, by a topic and by a queue.
#[test]
fn a_command_line_client_asks_a_service() {
    let gateway = Gateway::standard();
    for (destination, topic) in [("/topic/ask", "ask"), ("/queue/ask", "$queue/ask")] {
        let service = answering(&gateway, "service", destination, 1);
        let port = gateway.port("mqtt").to_string();
        let mut asking = tool("mosquitto_rr");
        asking.args([
            "-V",
            "mqttv5",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-q",
            "1",
            "-t",
            topic,
            "-e",
            "answers/1",
            "-m",
            "hi",
        ]);
        let mut asking = Program::start(&mut asking);
        asking.wait_for_line("the answer", |line| line == "HI");
        asking.succeed();
        service.succeed();
    }
}

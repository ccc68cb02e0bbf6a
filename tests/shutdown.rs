//! The end of a gateway: clients are told, nothing half-started stays, exit codes mean something.

use crate::harness::{Gateway, Program, Scratch, mosquitto_pub, python, run_tidegate, subscribed_mosquitto};

/// [MQTT-3.14.2-1], reason 0x8B: a 5.0 client is told that the server is shutting down; the exit code is 0.
#[test]
fn connected_mqtt_client_is_told_of_the_shutdown() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt").to_string();
    let mut client =
        Program::start(python("tests/clients/paho_checks.py").args(["told_of_shutdown", &port, "5"]));
    client.wait_for_line("`connected`", |line| line == "connected");

    gateway.terminate();

    client.succeed();
    let ended = gateway.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

/// Clients of every protocol and transport do not keep the gateway from ending.
#[test]
fn idle_clients_do_not_hold_up_the_end() {
    let gateway = Gateway::standard();
    let port = gateway.port("stomp").to_string();
    let _old_client = subscribed_mosquitto(gateway.port("mqtt"), &["-V", "mqttv311", "-t", "a/#"]);
    let listen = ["listen", &port, "/topic/a", "1"];
    let mut stomp_client = Program::start(python("tests/clients/stomp_checks.py").args(listen));
    stomp_client.wait_for_line("`subscribed`", |line| line == "subscribed");

    gateway.terminate();

    let ended = gateway.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

/// Neither does one that has not said anything yet, however long it may take for that.
#[test]
fn silent_client_does_not_hold_up_the_end() {
    let gateway = Gateway::start(
        r#"
        shutdown_timeout = "10m"

        [[listener]]
        name = "shared"
        bind = "127.0.0.1:0"
        protocols = ["mqtt", "stomp"]
        allow_anonymous = true
        connect_timeout = "10m"
        "#,
    );
    let _silent = std::net::TcpStream::connect(("127.0.0.1", gateway.port("shared"))).expect("it accepts");

    gateway.terminate();

    let ended = gateway.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

/// What was published before the signal is delivered before the connection closes.
#[test]
fn queued_messages_are_flushed_before_the_end() {
    let gateway = Gateway::standard();
    let subscription = ["-V", "mqttv5", "-t", "a/#", "-q", "0"];
    let mut subscriber = subscribed_mosquitto(gateway.port("mqtt"), &subscription);
    let payload = "x".repeat(100_000);
    for _ in 0..5 {
        mosquitto_pub(gateway.port("mqtt"), &["-t", "a/b", "-q", "1", "-m", &payload]);
    }

    gateway.terminate();

    for _ in 0..5 {
        subscriber.wait_for_line("a whole message", |line| line == format!("got a/b 0 0 {payload}"));
    }
    assert_eq!(gateway.wait().code, Some(0));
}

/// A second gateway on a port that is in use does not start, names the address, and ends with exit code 2.
#[test]
fn busy_port_is_an_error_and_nothing_stays_half_started() {
    let first = Gateway::standard();
    let address = format!("127.0.0.1:{}", first.port("mqtt"));
    let scratch = Scratch::new();
    let config = format!(
        r#"
        [[listener]]
        name = "free"
        bind = "127.0.0.1:0"
        protocols = ["mqtt"]
        allow_anonymous = true

        [[listener]]
        name = "busy"
        bind = "{address}"
        protocols = ["mqtt"]
        allow_anonymous = true
        "#
    );
    let file = scratch.write("tidegate.toml", config);

    let ended = run_tidegate([std::ffi::OsStr::new("--config"), file.as_os_str()]);

    assert_eq!(ended.code, Some(2), "{}", ended.output);
    assert!(ended.output.contains(&address), "{}", ended.output);
    mosquitto_pub(first.port("mqtt"), &["-t", "a", "-m", "the first goes on serving"]);
}

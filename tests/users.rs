//! Users with passwords: other people's clients log in, and are told why they are not let in.

use std::path::PathBuf;

use crate::harness::{Gateway, Program, Scratch, mosquitto_sub, python, set_password, subscribed_mosquitto};

/// A password file with the users ann and bob, whose password is `right`.
fn passwords(scratch: &Scratch) -> PathBuf {
    let file = scratch.write("passwords", "");
    for user in ["ann", "bob"] {
        set_password(&file, user, "right");
    }
    file
}

/// A gateway that asks for passwords, with a listener that does not.
fn gateway(scratch: &Scratch) -> (Gateway, PathBuf) {
    let file = passwords(scratch);
    (Gateway::start(&config(&file)), file)
}

fn config(file: &PathBuf) -> String {
    format!(
        "[access]\npassword_file = {file:?}\n\
         [[listener]]\nname = 'closed'\nbind = '127.0.0.1:0'\nprotocols = ['mqtt', 'stomp']\n\
         [[listener]]\nname = 'open'\nbind = '127.0.0.1:0'\nprotocols = ['mqtt', 'stomp']\nallow_anonymous = true\n"
    )
}

fn log_in(kind: &str, port: u16, user: &str, password: &str, expected: &str) {
    let mut command = python("tests/clients/credential_checks.py");
    Program::start(command.args([kind, &port.to_string(), user, password, expected])).succeed();
}

/// [MQTT-3.1.4-2] [MQTT-3.1.1/3.1.4-2]: paho-mqtt and stomp.py are let in with the right password, and told why not.
#[test]
fn passwords_are_checked_for_every_protocol() {
    let scratch = Scratch::new();
    let (gateway, _) = gateway(&scratch);
    let (closed, open) = (gateway.port("closed"), gateway.port("open"));
    for kind in ["paho-3.1.1", "paho-5"] {
        log_in(kind, closed, "ann", "right", "Success");
        log_in(kind, closed, "ann", "wrong", "Bad user name or password");
        log_in(kind, closed, "nobody", "right", "Bad user name or password");
        log_in(kind, closed, "", "", "Not authorized");
        log_in(kind, open, "", "", "Success");
        log_in(kind, open, "ann", "wrong", "Bad user name or password");
    }
    log_in("stomp", closed, "ann", "right", "CONNECTED");
    log_in("stomp", closed, "ann", "wrong", "not authenticated");
    log_in("stomp", open, "ann", "wrong", "not authenticated");
    assert!(!gateway.log().contains("wrong"), "a password is in the log");
}

/// [MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-4.12.1-2]: an independent SCRAM library goes through the exchange, and proves itself anew.
#[test]
fn scram_lets_a_client_in_that_never_tells_its_password() {
    let scratch = Scratch::new();
    let (gateway, _) = gateway(&scratch);
    for (user, password, expected) in
        [("ann", "right", "0"), ("ann", "wrong", "134"), ("nobody", "right", "134")]
    {
        log_in("scram", gateway.port("closed"), user, password, expected);
    }
}

/// Section 3.1.3.5 and 3.1.3.6: mosquitto's clients with `-u` and `-P`.
#[test]
fn mosquitto_clients_log_in() {
    let scratch = Scratch::new();
    let (gateway, _) = gateway(&scratch);
    let port = gateway.port("closed");
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        subscribed_mosquitto(port, &["-V", version, "-u", "bob", "-P", "right", "-t", "a"]);
        let wrong = ["-V", version, "-u", "bob", "-P", "wrong", "-t", "a", "-E"];
        let ended = Program::start(&mut mosquitto_sub(port, &wrong)).wait();
        assert_ne!(ended.code, Some(0), "{version}: {}", ended.output);
    }
}

/// After a reload a client is told and dropped whose password is another one now; the next user stays.
#[test]
fn a_reload_drops_clients_whose_password_changed() {
    let scratch = Scratch::new();
    let (mut gateway, file) = gateway(&scratch);
    let port = gateway.port("closed");
    let log_in = |user| subscribed_mosquitto(port, &["-V", "mqttv5", "-u", user, "-P", "right", "-t", "a"]);
    let (mut ann, mut bob) = (log_in("ann"), log_in("bob"));
    set_password(&file, "ann", "other");
    let entry = gateway.reload(&config(&file));
    assert_eq!(entry["fields"]["passwords_changed"], true);
    ann.wait_for_line("its end", |line| line.contains("DISCONNECT") || line.contains("Not authorized"));
    let publish = ["-V", "mqttv5", "-u", "ann", "-P", "other", "-t", "a", "-m", "still here"];
    crate::harness::mosquitto_pub(port, &publish);
    assert!(crate::harness::received(&mut bob).ends_with("still here"));
}

/// [MQTT-4.13.2-1], reason 0x87: who came without a user is told and dropped by a listener that does not take such clients any more.
#[test]
fn a_reload_drops_nobodies_where_everybody_has_to_be_somebody() {
    let scratch = Scratch::new();
    let (mut gateway, file) = gateway(&scratch);
    let port = gateway.port("open");
    let subscriber = ["-V", "mqttv5", "-t", "a"];
    let mut nobody = subscribed_mosquitto(port, &subscriber);
    let mut ann = subscribed_mosquitto(port, &[&subscriber[..], &["-u", "ann", "-P", "right"]].concat());
    let entry = gateway.reload(&config(&file).replace("allow_anonymous = true", ""));
    let changed = (&entry["fields"]["listeners_changed"], &entry["fields"]["passwords_changed"]);
    assert_eq!(changed, (&"open".into(), &false.into()));
    nobody.wait_for_line("its end", |line| line.contains("DISCONNECT (135)"));
    let publish = ["-V", "mqttv5", "-u", "ann", "-P", "right", "-t", "a", "-m", "still here"];
    crate::harness::mosquitto_pub(port, &publish);
    assert!(crate::harness::received(&mut ann).ends_with("still here"));
}

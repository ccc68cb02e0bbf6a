//! The servers that bridges are tested against, each asked by somebody else's client: they start, keep what they say they
//! keep, and stop with the test. RabbitMQ, which takes seconds to start, is killed in `bridges`.

use tidegate_testkit::servers::{Kafka, KafkaServer, Mosquitto};

use crate::harness::{Program, mosquitto_pub, python, received, subscribed_mosquitto};

fn check(script: &str, arguments: &[&str]) {
    Program::start(python(script).args(arguments)).succeed();
}

/// Mosquitto writes what it keeps when it ends.
#[test]
fn mosquitto_keeps_retained_messages_over_a_stop() {
    let mut server = Mosquitto::start();
    let port = server.address().port();
    mosquitto_pub(port, &["-t", "state", "-q", "1", "-r", "-m", "open"]);
    server.stop_and_restart();
    let mut subscriber = subscribed_mosquitto(port, &["-t", "state", "-q", "1"]);
    assert_eq!(received(&mut subscriber), "state 1 1 open");
}

/// A paused server answers when it goes on.
#[test]
fn a_paused_server_answers_later() {
    let server = Mosquitto::start();
    let port = server.address().port();
    let mut subscriber = subscribed_mosquitto(port, &["-t", "t"]);
    server.pause();
    let publisher = std::thread::spawn(move || mosquitto_pub(port, &["-t", "t", "-q", "1", "-m", "late"]));
    server.resume();
    publisher.join().expect("the publisher ends well");
    assert_eq!(received(&mut subscriber), "t 0 0 late");
}

/// Every server that the Kafka tests run against takes a message and gives it back.
#[test]
fn kafka_servers_give_back_what_they_took() {
    for kind in KafkaServer::under_test() {
        let mut kafka = Kafka::start(kind);
        let (address, topic) = (kafka.address().to_string(), Kafka::topic("kept"));
        check("tests/clients/kafka_checks.py", &["produce", &address, &topic, "before"]);
        // Tansu forgets everything when it ends.
        if let Some(server) = kafka.server().filter(|_| kind != KafkaServer::Tansu) {
            server.stop_and_restart();
        }
        check("tests/clients/kafka_checks.py", &["consume", &address, &topic, "before"]);
    }
}

/// Nothing of a server is left when its owner is gone, neither its processes nor its files.
#[test]
fn a_dropped_server_leaves_nothing_behind() {
    let server = Mosquitto::start();
    let (address, folder) = (server.address(), server.folder().to_owned());
    assert!(std::net::TcpStream::connect(address).is_ok());
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
    assert!(!folder.exists());
}

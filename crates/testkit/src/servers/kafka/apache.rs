//! Apache Kafka in KRaft mode: one node that is broker and controller, from the jars that `scripts/test` has fetched.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::User;
use crate::servers::{installed, write};

/// A cluster needs an identifier; whose it is does not matter on loopback.
const CLUSTER: &str = "q1Sh-9_ISia_zwGINzRvyQ";

/// Apache Kafka says that it is ready at INFO, which its logging leaves out when nobody configures it. The hundreds of lines about its
/// configuration would hide in its log why it has failed.
const LOGGING: &str = "rootLogger.level = info\nrootLogger.appenderRef.console.ref = console\nappender.console.type = Console\n\
    appender.console.name = console\nappender.console.layout.type = PatternLayout\n\
    appender.console.layout.pattern = %d %p %m (%c)%n\n\
    logger.config.name = kafka.server.KafkaConfig\nlogger.config.level = warn\n";

/// Formats the folder for its metadata, unless that is done, and becomes the server: the class path, its configuration, that of its log, and more of how
/// to format.
const START: &str = r#"jars=$0 config=$1 logging=$2; shift 2
java -Dlog4j2.configurationFile="$logging" -cp "$jars" kafka.tools.StorageTool format --ignore-formatted -c "$config" "$@" &&
    exec java -Xmx512m -Dlog4j2.configurationFile="$logging" -cp "$jars" kafka.Kafka "$config""#;

/// Its listeners.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doors {
    /// Where clients come to, and what they are told.
    pub(super) own: SocketAddr,
    pub(super) advertised: SocketAddr,
    pub(super) controller: SocketAddr,
    /// Where those come to who are not to come through a proxy; the node itself among them.
    pub(super) direct: SocketAddr,
    /// Where users have to prove who they are.
    pub(super) sasl: SocketAddr,
}

impl Doors {
    /// How many ports it needs.
    pub(super) const COUNT: usize = 4;

    /// Everything at these ports.
    pub(super) fn at(ports: &[u16]) -> Doors {
        let [own, controller, direct, sasl] =
            [0, 1, 2, 3].map(|number: usize| SocketAddr::from((Ipv4Addr::LOCALHOST, ports[number])));
        Doors { own, advertised: own, controller, direct, sasl }
    }
}

pub(super) fn command(folder: &Path, doors: &Doors, user: Option<User>) -> Command {
    let libraries = installed(".cache/kafka").join("*");
    let logging = write(folder, "log4j2.properties", LOGGING);
    let config = write(folder, "server.properties", &properties(folder, doors, user));
    let mut command = Command::new("sh");
    command.args(["-c", START]).args([&libraries, &config, &logging]).args(["-t", CLUSTER]);
    for mechanism in user.iter().flat_map(|_| ["SCRAM-SHA-256", "SCRAM-SHA-512"]) {
        let User { name, password } = user.unwrap_or_default();
        command.args(["--add-scram", &format!("{mechanism}=[name={name},password={password}]")]);
    }
    command
}

/// A quorum of itself. What Kafka keeps for itself has one replica, since there is no second node; a group meets without waiting for more
/// members.
fn properties(folder: &Path, doors: &Doors, user: Option<User>) -> String {
    let Doors { own, advertised, controller, direct, sasl } = doors;
    let (mut listeners, mut advertises, mut users) = (String::new(), String::new(), String::new());
    if let Some(User { name, password }) = user {
        listeners = format!(",SASL://{sasl}");
        advertises = format!(",SASL://{sasl}");
        users = format!(
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.sasl.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_{name}=\"{password}\";\n\
             listener.name.sasl.scram-sha-256.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.sasl.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
        );
    }
    format!(
        "process.roles=broker,controller\nnode.id=1\n\
         listeners=PLAINTEXT://{own},DIRECT://{direct},CONTROLLER://{controller}{listeners}\n\
         advertised.listeners=PLAINTEXT://{advertised},DIRECT://{direct}{advertises}\n\
         listener.security.protocol.map=\
         PLAINTEXT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT\n\
         inter.broker.listener.name=DIRECT\ncontroller.listener.names=CONTROLLER\n\
         controller.quorum.voters=1@{controller}\n{users}\
         log.dirs={}\nnum.partitions=4\nauto.create.topics.enable=true\n\
         group.initial.rebalance.delay.ms=0\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n",
        folder.join("data").display()
    )
}

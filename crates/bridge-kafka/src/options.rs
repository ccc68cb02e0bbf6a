//! How a bridge to Kafka works: plain values, and what is wrong with them.
//!
//! Nothing here reads a file of the configuration; whoever makes these has done so. Secrets are never printed.

use crate::address::Bootstrap;
use crate::record::{is_partition, is_topic_name};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tidegate_bridge::Template;

/// The longest pause that Kafka's clients know, and the shortest that makes sense.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The longest client id of a gateway that receives: the number of the receive stands behind it.
const CLIENT_ID_BYTES_MAX: usize = 200;

/// How a bridge to Kafka works.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// The clusters, the preferred one first: each by the servers that are asked first.
    pub addresses: Vec<Bootstrap>,
    /// By which name the gateway is known there: in its logs and quotas, and in its consumer groups, where nobody else may have it.
    pub client_id: String,
    /// Files for TLS, which an address asks for by `kafka+tls://`.
    pub tls: Tls,
    /// As whom the gateway comes.
    pub sasl: Option<Sasl>,
    /// How batches are packed.
    pub compression: Compression,
    /// Where messages go, one for each forward of the bridge.
    pub forwards: Vec<ForwardTarget>,
    /// Where messages come from, one for each receive of the bridge.
    pub receives: Vec<ReceiveSource>,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// Files of TLS, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whom the gateway believes; the system's authorities where there is none.
    pub ca: Option<PathBuf>,
    /// The gateway's own certificate.
    pub cert: Option<PathBuf>,
    /// Its key, without a password.
    pub key: Option<PathBuf>,
}

/// A user of the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: Mechanism,
    /// Who.
    pub user: String,
    /// The secret.
    pub password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sasl { mechanism, user, .. } = self;
        formatter
            .debug_struct("Sasl")
            .field("mechanism", mechanism)
            .field("user", user)
            .field("password", &"***")
            .finish()
    }
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// It is sent as it is.
    Plain,
    /// A proof of it is sent.
    ScramSha256,
    /// A proof of it is sent.
    ScramSha512,
}

/// How batches are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Small, slow.
    Gzip,
    /// Quick.
    Snappy,
    /// Quicker.
    Lz4,
    /// Small, and quick enough.
    Zstd,
}

/// Where a forward's messages go.
#[derive(Debug, Clone)]
pub struct ForwardTarget {
    /// The topic there.
    pub topic: Template,
    /// The key, by which the partition is chosen as Java's clients do it; the topic here where there is none, so that each
    /// topic's messages stay in order.
    pub key: Option<Template>,
    /// The number of the partition, in place of the key's choice.
    pub partition: Option<Template>,
    /// Further headers, in their order.
    pub headers: Vec<(String, Template)>,
}

/// Where a receive's messages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveSource {
    /// The topics.
    pub topics: Vec<String>,
    /// The consumer group, which remembers how far the gateway has come.
    pub group: String,
    /// Where a group begins that has never been here.
    pub start: Start,
}

/// Where a group begins that has no offset, or one that is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record, so that none is missed.
    #[default]
    Earliest,
    /// Behind the newest one.
    Latest,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A request's answer, and the making of a connection.
    pub answer: Duration,
    /// The wait for the next confirmation while records are out, with all attempts of the client: after that the connection is given up.
    pub delivery: Duration,
    /// A silence of the gateway, after which its group gives its partitions to another member.
    pub session: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let seconds = Duration::from_secs;
        Timeouts { answer: seconds(10), delivery: seconds(30), session: seconds(45) }
    }
}

/// What is wrong with options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// There is nowhere to go.
    #[error("a bridge to Kafka needs an address")]
    NoAddress,
    /// Consumer groups know no such member.
    #[error(
        "a gateway that receives is known by its client id, which has up to {CLIENT_ID_BYTES_MAX} of the characters `a-z`, `A-Z`, `0-9`, `.`, `_`, `-`"
    )]
    ClientId,
    /// Half of an identity.
    #[error("a client certificate needs its key, and a key its certificate")]
    HalfAnIdentity,
    /// Files that are never read.
    #[error("files for TLS are given, but no address begins with `kafka+tls://`")]
    TlsWithoutAddress,
    /// A user without a name.
    #[error("a user for SASL needs a name and a password")]
    EmptyUser,
    /// Kafka has no such topic.
    #[error(
        "`{name}` is no topic of Kafka: up to 249 of the characters `a-z`, `A-Z`, `0-9`, `.`, `_`, `-`, and neither `.` nor `..`"
    )]
    TopicName {
        /// As it was written.
        name: String,
    },
    /// Kafka has no such partition.
    #[error("`{text}` is no number of a partition")]
    Partition {
        /// As it was written.
        text: String,
    },
    /// A header without a name.
    #[error("a header needs a name")]
    HeaderName,
    /// Nothing comes from nowhere.
    #[error("a receive needs a topic")]
    NoTopic,
    /// Nobody remembers how far it has come.
    #[error("a receive needs a consumer group")]
    NoGroup,
    /// Whoever listens on the way has the password.
    #[error("`plain` sends the password as it is, and the address is not encrypted")]
    PlainInTheClear,
    /// Out of the range that the client library knows.
    #[error("the wait `{name}` is not between 1 s and {} s", TIMEOUT_MAX.as_secs())]
    Timeout {
        /// Which.
        name: &'static str,
    },
}

impl KafkaOptions {
    /// What is wrong with the options as a whole, without what belongs to one forward or receive.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |is_wrong: bool, finding| findings.extend(is_wrong.then_some(finding));
        find(self.addresses.is_empty(), Finding::NoAddress);
        let is_member = self.client_id.len() <= CLIENT_ID_BYTES_MAX && is_topic_name(&self.client_id);
        find(!self.receives.is_empty() && !is_member, Finding::ClientId);
        find(self.tls.cert.is_some() != self.tls.key.is_some(), Finding::HalfAnIdentity);
        let wants_tls = self.addresses.iter().any(Bootstrap::is_encrypted);
        find(self.tls != Tls::default() && !wants_tls, Finding::TlsWithoutAddress);
        let is_empty = |sasl: &Sasl| sasl.user.is_empty() || sasl.password.is_empty();
        find(self.sasl.as_ref().is_some_and(is_empty), Finding::EmptyUser);
        let is_plain = |sasl: &Sasl| sasl.mechanism == Mechanism::Plain;
        let is_heard = |address: &Bootstrap| !address.is_encrypted() && !address.is_of_this_machine();
        let is_in_the_clear = self.sasl.as_ref().is_some_and(is_plain) && self.addresses.iter().any(is_heard);
        find(is_in_the_clear, Finding::PlainInTheClear);
        let Timeouts { answer, session, .. } = self.timeouts;
        for (name, timeout) in [("answer", answer), ("session", session)] {
            find(!(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout), Finding::Timeout { name });
        }
        findings
    }
}

impl ForwardTarget {
    /// What is wrong with it.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(name) = self.topic.constant().filter(|name| !is_topic_name(name)) {
            findings.push(Finding::TopicName { name: name.to_owned() });
        }
        let partition = self.partition.as_ref().and_then(Template::constant);
        if let Some(text) = partition.filter(|text| !is_partition(text)) {
            findings.push(Finding::Partition { text: text.to_owned() });
        }
        if self.headers.iter().any(|(name, _)| name.is_empty()) {
            findings.push(Finding::HeaderName);
        }
        findings
    }
}

impl ReceiveSource {
    /// What is wrong with it.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.topics.is_empty() {
            findings.push(Finding::NoTopic);
        }
        let wrong = self.topics.iter().filter(|name| !is_topic_name(name));
        findings.extend(wrong.map(|name| Finding::TopicName { name: name.clone() }));
        if self.group.is_empty() {
            findings.push(Finding::NoGroup);
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_bridge::{Form, Vocabulary};

    fn options() -> KafkaOptions {
        KafkaOptions {
            addresses: vec!["kafka://a:9092".parse().unwrap()],
            client_id: "edge-1".to_owned(),
            tls: Tls::default(),
            sasl: None,
            compression: Compression::None,
            forwards: Vec::new(),
            receives: Vec::new(),
            timeouts: Timeouts::default(),
        }
    }

    #[test]
    fn what_cannot_work_is_found() {
        assert_eq!(options().findings(), []);
        let sasl = Sasl { mechanism: Mechanism::Plain, user: "u".to_owned(), password: String::new() };
        let wrong = KafkaOptions {
            addresses: Vec::new(),
            tls: Tls { cert: Some("c".into()), ..Tls::default() },
            sasl: Some(sasl),
            timeouts: Timeouts { answer: Duration::from_millis(1), ..Timeouts::default() },
            ..options()
        };
        let expected = [
            Finding::NoAddress,
            Finding::HalfAnIdentity,
            Finding::TlsWithoutAddress,
            Finding::EmptyUser,
            Finding::Timeout { name: "answer" },
        ];
        assert_eq!(wrong.findings(), expected);
    }

    #[test]
    fn a_password_is_not_sent_as_it_is_where_others_listen() {
        let findings = |address: &str, mechanism| {
            let sasl = Sasl { mechanism, user: "u".to_owned(), password: "p".to_owned() };
            let addresses = vec!["kafka+tls://a".parse().unwrap(), address.parse().unwrap()];
            KafkaOptions { addresses, sasl: Some(sasl), ..options() }.findings()
        };
        assert_eq!(findings("kafka://b", Mechanism::Plain), [Finding::PlainInTheClear]);
        assert_eq!(findings("kafka://localhost,b", Mechanism::Plain), [Finding::PlainInTheClear]);
        for address in ["kafka+tls://b", "kafka://localhost,127.0.0.1:1", "kafka://[::1]:1"] {
            assert_eq!(findings(address, Mechanism::Plain), [], "{address}");
        }
        assert_eq!(findings("kafka://b", Mechanism::ScramSha512), []);
    }

    #[test]
    fn a_member_of_a_group_has_a_name_that_kafka_can_have() {
        let named = |client_id: &str, receives| {
            KafkaOptions { client_id: client_id.to_owned(), receives, ..options() }.findings()
        };
        let source =
            ReceiveSource { topics: vec!["t".to_owned()], group: "g".to_owned(), start: Start::Earliest };
        assert_eq!(named("plant 7", vec![source.clone()]), [Finding::ClientId]);
        assert_eq!(named(&"x".repeat(201), vec![source.clone()]), [Finding::ClientId]);
        assert_eq!(named("plant-7", vec![source]), []);
        assert_eq!(named("plant 7", vec![]), []);
    }

    #[test]
    fn a_target_is_judged_as_far_as_it_is_constant() {
        let template = |text| Template::parse(text, &Vocabulary::FORWARD, Form::Text).unwrap();
        let target = |topic, partition| ForwardTarget {
            topic: template(topic),
            key: None,
            partition: Some(template(partition)),
            headers: Vec::new(),
        };
        assert_eq!(target("{topic.dotted}", "{qos}").findings(), []);
        assert_eq!(target("plant", "3").findings(), []);
        assert_eq!(target("plant/a", "x").findings().len(), 2);
    }

    #[test]
    fn a_source_needs_topics_and_a_group() {
        let source = ReceiveSource { topics: vec![], group: String::new(), start: Start::Earliest };
        assert_eq!(source.findings(), [Finding::NoTopic, Finding::NoGroup]);
        let source = ReceiveSource { topics: vec!["^x.*".to_owned()], group: "g".to_owned(), ..source };
        assert_eq!(source.findings(), [Finding::TopicName { name: "^x.*".to_owned() }]);
    }

    #[test]
    fn a_password_is_not_printed() {
        let sasl = Sasl {
            mechanism: Mechanism::ScramSha512,
            user: "u".to_owned(),
            password: "very-secret".to_owned(),
        };
        let options = KafkaOptions { sasl: Some(sasl), ..options() };
        assert!(!format!("{options:?}").contains("very-secret"));
    }
}

//! The options of a bridge to Kafka, out of the file.

use crate::bridges::kinds::{Made, Parts, destinations, wrong};
use crate::bridges::password::read_password;
use crate::bridges::tls::{Wanted, client_config};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_bridge::{Form, Template, Vocabulary};
use tidegate_bridge_kafka::{
    Bootstrap, Compression, Finding, ForwardTarget, Kafka, KafkaOptions, Mechanism, ReceiveSource, Sasl,
    Start, Timeouts, Tls,
};
use tidegate_config::{Bridge, BridgeError, BridgeSasl, Forward, Receive, ReceiveStart, SaslMechanism};

/// The shortest wait that the client library knows. The bridge itself gives up sooner where it is told so.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// How much earlier than the bridge itself the client gives up to connect: so the log says what it knows of the reason.
const EARLIER: Duration = Duration::from_secs(1);

/// Makes the upstream.
pub(in crate::bridges) fn make(bridge: &Bridge, node: &str) -> Made {
    let mut errors = Vec::new();
    let addresses = addresses(bridge, &mut errors);
    let tls = tls(bridge, &addresses, &mut errors);
    let options = KafkaOptions {
        addresses,
        client_id: bridge.client_id.clone().unwrap_or_else(|| format!("{node}-{}", bridge.name)),
        tls,
        sasl: bridge.sasl.as_ref().and_then(|given| sasl(given).map_err(|error| errors.push(error)).ok()),
        compression: compression(bridge.compression),
        forwards: forwards(bridge, &mut errors),
        receives: receives(bridge, &mut errors),
        timeouts: timeouts(bridge),
    };
    // An address that cannot be read says nothing about the others.
    if options.addresses.len() == bridge.urls.len() {
        errors.extend(options.findings().into_iter().map(|finding| complaint("", finding)));
    }
    let destinations = destinations(bridge, &node.into(), &Vocabulary::RECEIVE_KAFKA, &mut errors);
    match errors.is_empty() {
        true => Ok(Parts { kind: "kafka", upstream: Arc::new(Kafka::new(options)), destinations }),
        false => Err(errors),
    }
}

/// A finding at its key, below the table in which it stands.
fn complaint(table: &str, finding: Finding) -> BridgeError {
    let (key, suggestion) = match &finding {
        Finding::NoAddress => ("url", None),
        Finding::ClientId => ("client_id", None),
        Finding::HalfAnIdentity => ("tls.cert", None),
        Finding::TlsWithoutAddress => ("tls", None),
        Finding::EmptyUser => ("sasl", None),
        Finding::TopicName { .. } if table.starts_with("receive") => ("topics", None),
        Finding::TopicName { .. } => ("topic", None),
        Finding::Partition { .. } => ("partition", None),
        Finding::HeaderName => ("headers", None),
        Finding::NoTopic => ("topics", Some("add `topics = [\"…\"]`")),
        Finding::NoGroup => ("group", Some("add `group = \"…\"`: it remembers how far the gateway has come")),
        Finding::Timeout { name: "session" } => ("session_timeout", None),
        Finding::Timeout { .. } => ("connect_timeout", Some("at most `301s`")),
        Finding::PlainInTheClear => (
            "sasl.mechanism",
            Some("encrypt the address (`kafka+tls://`), or prove the password with `scram-sha-512`"),
        ),
    };
    BridgeError { suggestion: suggestion.map(str::to_owned), ..wrong(format!("{table}{key}"), finding) }
}

fn addresses(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Vec<Bootstrap> {
    let mut addresses = Vec::new();
    for (index, url) in bridge.urls.iter().enumerate() {
        match url.parse() {
            Ok(address) => addresses.push(address),
            Err(error) => errors.push(wrong(format!("url[{index}]"), error)),
        }
    }
    addresses
}

/// The client library reads the files when it connects; what is wrong with them is said before.
fn tls(bridge: &Bridge, addresses: &[Bootstrap], errors: &mut Vec<BridgeError>) -> Tls {
    let wanted = match addresses.iter().any(Bootstrap::is_encrypted) {
        true => Wanted::Yes,
        false => Wanted::No,
    };
    errors.extend(client_config(bridge, wanted, "kafka+tls://").err());
    let given = match &bridge.tls {
        Some(tls) => Tls { ca: tls.ca.clone(), cert: tls.cert.clone(), key: tls.key.clone() },
        None => Tls::default(),
    };
    let ca = given.ca.or_else(|| authorities_of_system().filter(|_| wanted == Wanted::Yes));
    Tls { ca, ..given }
}

/// Where a variable says that the system's authorities are, as for all other bridges; the library looks where systems usually keep them.
fn authorities_of_system() -> Option<PathBuf> {
    ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(std::env::var_os).map(PathBuf::from)
}

fn sasl(given: &BridgeSasl) -> Result<Sasl, BridgeError> {
    let password = match (&given.password, &given.password_file) {
        (Some(_), Some(_)) => {
            return Err(wrong("sasl.password_file", "there is a `password` already: one of them is enough"));
        }
        (None, None) => return Err(wrong("sasl", "`password` or `password_file` is missing")),
        (Some(password), None) => password.clone(),
        (None, Some(file)) => read_password(file).map_err(|error| wrong("sasl.password_file", error))?,
    };
    let mechanism = match given.mechanism {
        SaslMechanism::Plain => Mechanism::Plain,
        SaslMechanism::ScramSha256 => Mechanism::ScramSha256,
        SaslMechanism::ScramSha512 => Mechanism::ScramSha512,
    };
    Ok(Sasl { mechanism, user: given.user.clone(), password })
}

fn compression(word: tidegate_config::Compression) -> Compression {
    match word {
        tidegate_config::Compression::None => Compression::None,
        tidegate_config::Compression::Gzip => Compression::Gzip,
        tidegate_config::Compression::Snappy => Compression::Snappy,
        tidegate_config::Compression::Lz4 => Compression::Lz4,
        tidegate_config::Compression::Zstd => Compression::Zstd,
    }
}

fn timeouts(bridge: &Bridge) -> Timeouts {
    let connect = bridge.connect_timeout.duration();
    let silence = bridge.probe_after.duration() + bridge.stalled_after.duration();
    Timeouts {
        answer: connect.saturating_sub(EARLIER).max(TIMEOUT_MIN),
        delivery: silence,
        session: bridge.session_timeout.duration(),
    }
}

fn forwards(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Vec<ForwardTarget> {
    let mut targets = Vec::new();
    for (index, forward) in bridge.forwards.iter().enumerate() {
        let table = format!("forward[{index}].");
        let Some(target) = target(forward, &table, errors) else { continue };
        errors.extend(target.findings().into_iter().map(|finding| complaint(&table, finding)));
        targets.push(target);
    }
    targets
}

/// Where a forward's messages go; nothing where that cannot be read, which is among the errors then.
fn target(forward: &Forward, table: &str, errors: &mut Vec<BridgeError>) -> Option<ForwardTarget> {
    let mut template = |key: &str, text: &str| {
        let parsed = Template::parse(text, &Vocabulary::FORWARD, Form::Text);
        parsed.map_err(|error| errors.push(wrong(format!("{table}{key}"), error))).ok()
    };
    let key = forward.key.as_ref().map(|text| template("key", text));
    let partition = forward.partition.as_ref().map(|text| template("partition", text));
    let headers = forward.headers.iter();
    let headers: Vec<_> = headers
        .filter_map(|(name, text)| Some((name.clone(), template(&format!("headers.{name}"), text)?)))
        .collect();
    let topic = match &forward.topic {
        Some(text) => template("topic", text)?,
        None => {
            errors.push(wrong(
                format!("{table}topic"),
                "`topic` says to which topic of Kafka it goes, and is missing",
            ));
            return None;
        }
    };
    Some(ForwardTarget { topic, key: key.flatten(), partition: partition.flatten(), headers })
}

fn receives(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Vec<ReceiveSource> {
    let mut sources = Vec::new();
    for (index, receive) in bridge.receives.iter().enumerate() {
        let source = source(receive);
        let table = format!("receive[{index}].");
        errors.extend(source.findings().into_iter().map(|finding| complaint(&table, finding)));
        sources.push(source);
    }
    sources
}

fn source(receive: &Receive) -> ReceiveSource {
    ReceiveSource {
        topics: receive.topics.clone().unwrap_or_default(),
        group: receive.group.clone().unwrap_or_default(),
        start: match receive.start {
            ReceiveStart::Earliest => Start::Earliest,
            ReceiveStart::Latest => Start::Latest,
        },
    }
}

//! The client library's settings for a cluster: one table, and why each stands there.

use crate::address::Bootstrap;
use crate::options::{Compression, KafkaOptions, Mechanism, ReceiveSource, Start};
use rdkafka::ClientConfig;
use std::path::Path;
use std::time::Duration;
use tidegate_bridge::UNSETTLED_MAX;

/// The largest batch in bytes: what Kafka's servers take by default.
pub(crate) const BATCH_BYTES_MAX: usize = 1_000_000;

/// How often the client tries to connect to a server that is away.
const RECONNECT_MAX: Duration = Duration::from_secs(1);

/// How long records wait for others to share a batch.
const LINGER: Duration = Duration::from_millis(2);

/// What the client fetches ahead for one receive, in KiB.
const FETCHED_KIB_MAX: usize = 16 * 1024;

/// For the producer of all forwards.
pub(crate) fn producer(options: &KafkaOptions, address: &Bootstrap, batch_bytes: usize) -> ClientConfig {
    let mut config = shared(options, address);
    config.set("enable.idempotence", "true");
    config.set("acks", "all");
    // Nothing behind a record that was refused, until this side has decided about it: see fate.rs.
    config.set("enable.gapless.guarantee", "true");
    // The client never gives a record up by itself: a later one of the same partition could have gone by then. This side does, for all of
    // them together.
    config.set("message.timeout.ms", "0");
    config.set("request.timeout.ms", millis(options.timeouts.answer));
    config.set("linger.ms", millis(LINGER));
    config.set("batch.size", batch_bytes.to_string());
    // The server knows what is too large for it.
    config.set("message.max.bytes", "1000000000");
    // What is under way is bounded by the bridge, by number and by bytes.
    config.set("queue.buffering.max.messages", "0");
    config.set("queue.buffering.max.kbytes", "2147483647");
    config.set("compression.type", compression(options.compression));
    config.set("partitioner", "murmur2_random");
    config
}

/// For the consumer of the receive with this number.
pub(crate) fn consumer(
    options: &KafkaOptions,
    address: &Bootstrap,
    lane: usize,
    source: &ReceiveSource,
) -> ClientConfig {
    let mut config = shared(options, address);
    config.set("group.id", &source.group);
    // Whoever comes back is the member that it was, with its partitions, at once: otherwise a gateway that was killed would wait for its own
    // session to run out.
    config.set("group.instance.id", format!("{}-{lane}", options.client_id));
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("auto.offset.reset", start(source.start));
    config.set("isolation.level", "read_committed");
    config.set("session.timeout.ms", millis(options.timeouts.session));
    config.set("heartbeat.interval.ms", millis(options.timeouts.session / 15));
    config.set("max.poll.interval.ms", millis(options.timeouts.session.max(Duration::from_secs(300))));
    // A forward may be what makes the topic.
    config.set("allow.auto.create.topics", "true");
    config.set("queued.min.messages", UNSETTLED_MAX.to_string());
    config.set("queued.max.messages.kbytes", FETCHED_KIB_MAX.to_string());
    config
}

fn shared(options: &KafkaOptions, address: &Bootstrap) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address.servers());
    config.set("client.id", &options.client_id);
    config.set("socket.timeout.ms", millis(options.timeouts.answer));
    config.set("socket.connection.setup.timeout.ms", millis(options.timeouts.answer));
    config.set("socket.keepalive.enable", "true");
    config.set("socket.nagle.disable", "true");
    config.set("reconnect.backoff.max.ms", millis(RECONNECT_MAX));
    config.set("log.connection.close", "false");
    config.set("security.protocol", security_protocol(options, address));
    if address.is_encrypted() {
        let tls = &options.tls;
        for (key, path) in [
            ("ssl.ca.location", &tls.ca),
            ("ssl.certificate.location", &tls.cert),
            ("ssl.key.location", &tls.key),
        ] {
            if let Some(path) = path {
                config.set(key, text(path));
            }
        }
        if tls.ca.is_none() {
            // An OpenSSL that is linked in would look where the machine that has built it keeps them.
            config.set("ssl.ca.location", "probe");
        }
    }
    if let Some(sasl) = &options.sasl {
        config.set("sasl.mechanism", mechanism(sasl.mechanism));
        config.set("sasl.username", &sasl.user);
        config.set("sasl.password", &sasl.password);
    }
    config
}

fn security_protocol(options: &KafkaOptions, address: &Bootstrap) -> &'static str {
    match (address.is_encrypted(), options.sasl.is_some()) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    }
}

fn mechanism(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Plain => "PLAIN",
        Mechanism::ScramSha256 => "SCRAM-SHA-256",
        Mechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}

fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn start(start: Start) -> &'static str {
    match start {
        Start::Earliest => "earliest",
        Start::Latest => "latest",
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Sasl, Timeouts, Tls};
    use rdkafka::consumer::BaseConsumer;
    use rdkafka::producer::BaseProducer;

    fn options(sasl: Option<Sasl>) -> KafkaOptions {
        KafkaOptions {
            addresses: Vec::new(),
            client_id: "edge-1".to_owned(),
            tls: Tls::default(),
            sasl,
            compression: Compression::Zstd,
            forwards: Vec::new(),
            receives: Vec::new(),
            timeouts: Timeouts::default(),
        }
    }

    fn sasl(mechanism: Mechanism) -> Sasl {
        Sasl { mechanism, user: "u".to_owned(), password: "very-secret".to_owned() }
    }

    /// Only a client shows that the library has been built with a mechanism: without, the setting is known all the same.
    #[test]
    fn the_client_library_knows_every_setting_and_every_mechanism() {
        for address in ["kafka://a", "kafka+tls://a"] {
            let address = address.parse().unwrap();
            for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
                let options = options(Some(sasl(mechanism)));
                producer(&options, &address, 1).create::<BaseProducer>().unwrap();
                let source =
                    ReceiveSource { topics: Vec::new(), group: "g".to_owned(), start: Start::Latest };
                consumer(&options, &address, 0, &source).create::<BaseConsumer>().unwrap();
            }
        }
        for each in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let options = KafkaOptions { compression: each, ..options(None) };
            producer(&options, &"kafka://a".parse().unwrap(), 1).create_native_config().unwrap();
        }
    }

    #[test]
    fn the_client_library_is_built_with_what_a_bridge_offers() {
        let built = ClientConfig::new().create_native_config().unwrap().get("builtin.features").unwrap();
        for feature in ["ssl", "sasl_plain", "sasl_scram", "gzip", "snappy", "lz4", "zstd"] {
            assert!(built.split(',').any(|found| found == feature), "{feature} is missing: {built}");
        }
    }

    #[test]
    fn the_address_and_the_user_choose_the_protocol() {
        let protocol = |address: &str, sasl| security_protocol(&options(sasl), &address.parse().unwrap());
        assert_eq!(protocol("kafka://a", None), "plaintext");
        assert_eq!(protocol("kafka+tls://a", None), "ssl");
        assert_eq!(protocol("kafka://a", Some(sasl(Mechanism::Plain))), "sasl_plaintext");
        assert_eq!(protocol("kafka+tls://a", Some(sasl(Mechanism::Plain))), "sasl_ssl");
    }
}

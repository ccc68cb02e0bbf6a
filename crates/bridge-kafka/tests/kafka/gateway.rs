//! The gateway's side: a bridge with one forward of `plant/#` for each target, and devices that publish there.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tidegate_bridge::{
    BridgeOptions, Form, ForwardOptions, ReceiveOptions, RetryOptions, Template, Vocabulary,
};
use tidegate_bridge_kafka::{Compression, ForwardTarget, Kafka, KafkaOptions, Timeouts, Tls};
use tidegate_bridging::AtWork;
use tidegate_net::Inside;

pub(crate) fn template(text: &str) -> Template {
    Template::parse(text, &Vocabulary::FORWARD, Form::Text).unwrap()
}

/// Everything goes to one topic, by its topic here.
pub(crate) fn target(topic: &str) -> ForwardTarget {
    ForwardTarget { topic: template(topic), key: None, partition: None, headers: Vec::new() }
}

/// Options for tests: short pauses.
pub(crate) fn kafka(bootstrap: &str, forwards: Vec<ForwardTarget>) -> KafkaOptions {
    let timeouts = Timeouts {
        answer: Duration::from_secs(5),
        delivery: Duration::from_secs(10),
        session: Duration::from_secs(6),
    };
    let options = KafkaOptions {
        addresses: vec![format!("kafka://{bootstrap}").parse().unwrap()],
        client_id: "edge-1".to_owned(),
        tls: Tls::default(),
        sasl: None,
        compression: Compression::Lz4,
        forwards,
        receives: Vec::new(),
        timeouts,
    };
    assert_eq!(options.findings(), []);
    options
}

/// Dead letters go to `dead`.
fn forward() -> ForwardOptions {
    ForwardOptions {
        dead_letter: Some("dead".to_owned()),
        ..tidegate_bridging::forward("central.0", "plant/#")
    }
}

pub(crate) fn start(kafka: KafkaOptions, receives: Vec<ReceiveOptions>, inside: &Inside) -> AtWork {
    start_with(kafka, receives, inside, Duration::from_secs(3))
}

pub(crate) fn start_with(
    kafka: KafkaOptions,
    receives: Vec<ReceiveOptions>,
    inside: &Inside,
    stalled_after: Duration,
) -> AtWork {
    let forwards = kafka.forwards.iter().map(|_| forward()).collect();
    let options = BridgeOptions {
        retry: RetryOptions { first: Duration::from_millis(5), longest: Duration::from_millis(200) },
        connect_timeout: Duration::from_secs(10),
        probe_after: Duration::from_millis(500),
        stalled_after,
        fail_back_after: Duration::from_secs(1),
        ..tidegate_bridging::options(forwards, receives)
    };
    AtWork::start(options, Arc::new(Kafka::new(kafka)), inside)
}

/// Publishes as a device would that says where it stands, in two places.
pub(crate) async fn publish(inside: &Inside, messages: impl IntoIterator<Item = (String, Bytes)>) {
    tidegate_bridging::publish_with(inside, &[("site", "a"), ("site", "b")], messages).await;
}

/// Messages on a few topics in turn, numbered.
pub(crate) fn numbered(numbers: std::ops::Range<usize>) -> Vec<(String, Bytes)> {
    numbers.map(|number| (format!("plant/{}", number % 7), Bytes::from(number.to_string()))).collect()
}

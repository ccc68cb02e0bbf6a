//! The kinds of bridges that there are: one line each.

use super::{envelopes, kafka, mqtt, rabbitmq};
use std::sync::Arc;
use tidegate_bridge::{Destination, Form, Template, TopicDestination, Upstream, Vocabulary};
use tidegate_config::{Bridge, BridgeEntry, BridgeError};

/// One kind.
struct Kind {
    name: &'static str,
    keys: &'static [&'static str],
    /// The upstream and the destinations of its receives, or everything that is wrong.
    make: fn(&Bridge, node: &str) -> Made,
}

/// An upstream with the destinations of its receives, in their order.
pub(crate) struct Parts {
    pub(crate) kind: &'static str,
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) destinations: Vec<Arc<dyn Destination>>,
}

pub(super) type Made = Result<Parts, Vec<BridgeError>>;

/// Every kind.
const KINDS: &[Kind] = &[
    Kind { name: "mqtt", keys: mqtt::KEYS, make: mqtt::make },
    Kind { name: "rabbitmq", keys: rabbitmq::KEYS, make: rabbitmq::make },
    Kind { name: "kafka", keys: kafka::KEYS, make: kafka::make },
];

/// The kinds as the configuration sees them. Whether a bridge can be made is asked by making it.
pub(crate) fn check_entries() -> Vec<BridgeEntry> {
    let entry = |kind: &Kind| BridgeEntry { kind: kind.name, keys: kind.keys, check };
    KINDS.iter().map(entry).collect()
}

fn check(bridge: &Bridge, node: &str) -> Vec<BridgeError> {
    upstream(bridge, node).err().unwrap_or_default()
}

/// Makes the upstream of a bridge on the node of this name. Reads its files.
pub(crate) fn upstream(bridge: &Bridge, node: &str) -> Made {
    let made = match KINDS.iter().find(|kind| kind.name == bridge.kind) {
        Some(kind) => (kind.make)(bridge, node),
        None => Err(vec![wrong("kind", "unknown kind of bridge")]),
    };
    let mut errors = envelopes::errors(bridge);
    if errors.is_empty() {
        return made;
    }
    errors.extend(made.err().unwrap_or_default());
    Err(errors)
}

/// A complaint without a suggestion.
pub(super) fn wrong(key: impl Into<String>, message: impl ToString) -> BridgeError {
    BridgeError { key: key.into(), message: message.to_string(), suggestion: None }
}

/// Where the messages of each receive go, in the words that this kind of upstream has for them.
pub(super) fn destinations(
    bridge: &Bridge,
    node: &Arc<str>,
    words: &Vocabulary,
    errors: &mut Vec<BridgeError>,
) -> Vec<Arc<dyn Destination>> {
    let mut destinations = Vec::<Arc<dyn Destination>>::new();
    for (index, receive) in bridge.receives.iter().enumerate() {
        match Template::parse(&receive.to, words, Form::Topic) {
            Ok(topic) => destinations.push(Arc::new(TopicDestination {
                topic,
                envelope: envelopes::of_receive(receive),
                // Never set for a kind whose messages do not say so of themselves: it does not know the key.
                retain: receive.retain,
                node: node.clone(),
            })),
            Err(error) => errors.push(wrong(format!("receive[{index}].to"), error)),
        }
    }
    destinations
}

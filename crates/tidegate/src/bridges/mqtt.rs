//! Bridges to other MQTT brokers, as the file has them.

use super::kinds::{Made, Parts, destinations, wrong};
use super::password::read_password;
use super::tls::{Wanted, client_config};
use std::sync::Arc;
use tidegate_bridge::{Form, Template, Vocabulary};
use tidegate_bridge_mqtt::{Forwarded, MqttAddress, MqttOptions, MqttUpstream, Received, Secret, Version};
use tidegate_config::{Bridge, BridgeError};
use tidegate_message::{QoS, TopicFilter};

/// The keys that this kind knows of those that not every kind does.
pub(super) const KEYS: &[&str] = &["client_id", "password_file", "version", "topic", "retain", "filter"];

/// The largest message that is taken from there.
const PACKET_BYTES_MAX: usize = 256 << 20;

/// Makes the upstream.
pub(super) fn make(bridge: &Bridge, node: &str) -> Made {
    let mut errors = Vec::new();
    let node_name: Arc<str> = node.into();
    let mut addresses = addresses(bridge, &mut errors);
    if let Some(file) = &bridge.password_file {
        match read_password(file).map(Secret::from) {
            Ok(secret) => addresses.iter_mut().for_each(|address| address.password = Some(secret.clone())),
            Err(error) => errors.push(wrong("password_file", error)),
        }
    }
    let is_encrypted = addresses.iter().any(|address| address.is_encrypted);
    let wanted = if is_encrypted { Wanted::Yes } else { Wanted::No };
    let tls = client_config(bridge, wanted, "mqtts://").unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let version = version(bridge, &mut errors);
    let forwards = forwards(bridge, &mut errors);
    let receives = receives(bridge, &mut errors);
    let destinations = destinations(bridge, &node_name, &Vocabulary::RECEIVE_MQTT, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let upstream = MqttUpstream::new(MqttOptions {
        addresses,
        tls,
        version,
        client_id: bridge.client_id.clone().unwrap_or_else(|| format!("{node}-{}", bridge.name)),
        node: node_name,
        forwards,
        receives,
        packet_bytes_max: PACKET_BYTES_MAX,
    });
    Ok(Parts { kind: "mqtt", upstream: Arc::new(upstream), destinations })
}

fn addresses(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Vec<MqttAddress> {
    let mut addresses = Vec::new();
    for (index, url) in bridge.urls.iter().enumerate() {
        match MqttAddress::parse(url) {
            Ok(address) => addresses.push(address),
            Err(error) => errors.push(wrong(format!("url[{index}]"), error)),
        }
    }
    addresses
}

fn version(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Version {
    match bridge.version.as_deref() {
        None | Some("5") => Version::V5,
        Some("3.1.1") => Version::V3,
        Some(_) => {
            errors.push(wrong("version", "an MQTT broker is spoken to in version \"5\" or \"3.1.1\""));
            Version::V5
        }
    }
}

fn forwards(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Vec<Forwarded> {
    let mut forwards = Vec::new();
    for (index, forward) in bridge.forwards.iter().enumerate() {
        let text = forward.topic.as_deref().unwrap_or("{topic}");
        match Template::parse(text, &Vocabulary::FORWARD, Form::Topic) {
            Ok(topic) => forwards.push(Forwarded { topic, retain: forward.retain }),
            Err(error) => errors.push(wrong(format!("forward[{index}].topic"), error)),
        }
    }
    forwards
}

fn receives(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Vec<Received> {
    let mut receives = Vec::new();
    for (index, receive) in bridge.receives.iter().enumerate() {
        match receive.filter.as_ref().map(|filter| TopicFilter::parse_mqtt(filter.as_bytes())) {
            None => errors.push(wrong(
                format!("receive[{index}]"),
                "`filter` says which topics are received, and is missing",
            )),
            Some(Err(error)) => errors.push(wrong(format!("receive[{index}].filter"), error)),
            Some(Ok(filter)) => {
                let qos_max = if receive.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                receives.push(Received { filter, qos_max });
            }
        }
    }
    receives
}

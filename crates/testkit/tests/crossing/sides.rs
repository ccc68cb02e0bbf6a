//! One client of each protocol, written with the codecs that the gateway has.

use std::num::NonZeroU16;
use std::time::Duration;
use tidegate_message::{Properties, QoS};
use tidegate_mqtt::codec::{
    self as mqtt, OutgoingPublish, Packet, PropertiesRef, SubscribeFilter, SubscriptionOptions,
};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::Protocol;
use tidegate_stomp::codec::{self as stomp, Command, Decoder, FrameLimits};
use tidegate_stomp::{Stomp, StompOptions};
use tidegate_testkit::pair::{Link, World};
use tidegate_testkit::script::peer;

/// A world in which both protocols are spoken; a worker for each side.
pub(crate) struct Sides {
    pub(crate) world: World,
}

/// A message as an MQTT client publishes and receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MqttMessage {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) properties: Properties,
}

/// A frame as a STOMP client sends and receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StompMessage {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct MqttClient {
    link: Link,
    version: mqtt::Version,
    packets: u16,
}

pub(crate) struct StompClient {
    link: Link,
    version: stomp::Version,
}

/// What belongs to one hop, not to the message: a client that passes a MESSAGE on leaves it out, or it is ignored.
const OF_THE_HOP: [&str; 5] = ["destination", "subscription", "message-id", "ack", "content-length"];

impl MqttMessage {
    /// A message at QoS 1 with nothing beside its payload.
    pub(crate) fn plain(topic: &str, payload: &[u8]) -> MqttMessage {
        let (topic, payload, properties) = (topic.to_owned(), payload.to_vec(), Properties::default());
        MqttMessage { topic, payload, qos: QoS::AtLeastOnce, retain: false, expiry_seconds: None, properties }
    }
}

impl StompMessage {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The headers that belong to the message, as lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let own = self.headers.iter().filter(|(name, _)| !OF_THE_HOP.contains(&&**name));
        own.map(|(name, value)| format!("{name}:{value}")).collect()
    }

    /// The same message for another destination, as a client would pass it on.
    pub(crate) fn passed_on(&self, destination: &str) -> StompMessage {
        let own = self.headers.iter().filter(|(name, _)| !OF_THE_HOP.contains(&&**name)).cloned();
        let destination = ("destination".to_owned(), destination.to_owned());
        StompMessage { headers: std::iter::once(destination).chain(own).collect(), body: self.body.clone() }
    }
}

impl Sides {
    pub(crate) fn new() -> Sides {
        Sides { world: World::with_protocols(2, Default::default(), vec!["mqtt", "stomp"]) }
    }

    /// A connected MQTT client that has subscribed to these, and of which nothing counts that it received at once.
    pub(crate) fn mqtt(&mut self, version: mqtt::Version, filters: &[&str]) -> MqttClient {
        let client = self.mqtt_keeping(version, filters);
        client.link.take_received();
        client
    }

    /// A connected MQTT client that has subscribed to these.
    pub(crate) fn mqtt_keeping(&mut self, version: mqtt::Version, filters: &[&str]) -> MqttClient {
        let (machine, now) = (Mqtt::new(MqttOptions::default()), self.world.now);
        let link = self.world.connect(0, 0, machine.open(&peer(now), now));
        let mut client = MqttClient { link, version, packets: 0 };
        let mut bytes = Vec::new();
        let connect = mqtt::Connect {
            version,
            clean_start: true,
            keep_alive_seconds: 0,
            properties: PropertiesRef::EMPTY,
            client_id: &format!("{version:?}-{}", filters.join("-")),
            will: None,
            user_name: None,
            password: None,
        };
        mqtt::encode(&mut bytes, version, &Packet::Connect(connect), usize::MAX).unwrap();
        let options = SubscriptionOptions::at_most(QoS::ExactlyOnce);
        let wanted = filters.iter().map(|filter| SubscribeFilter { filter, options });
        if !filters.is_empty() {
            let id = client.next_packet();
            mqtt::encode_subscribe(&mut bytes, version, id, &PropertiesRef::EMPTY, wanted, usize::MAX)
                .unwrap();
        }
        self.send(&client.link, &bytes);
        client
    }

    /// The same of STOMP, on a listener with these options.
    pub(crate) fn stomp_with(
        &mut self,
        options: StompOptions,
        version: stomp::Version,
        destinations: &[&str],
    ) -> StompClient {
        let client = self.subscribed(options, version, destinations);
        client.link.take_received();
        client
    }

    fn subscribed(
        &mut self,
        options: StompOptions,
        version: stomp::Version,
        destinations: &[&str],
    ) -> StompClient {
        let (machine, now) = (Stomp::new(options), self.world.now);
        let link = self.world.connect(1, 1, machine.open(&peer(now), now));
        let client = StompClient { link, version };
        let mut bytes = Vec::new();
        let connect = [("accept-version", version.as_str()), ("host", "one")];
        stomp::encode(&mut bytes, version, Command::Connect, connect, b"").unwrap();
        for destination in destinations {
            let subscribe = [("id", *destination), ("destination", *destination)];
            stomp::encode(&mut bytes, version, Command::Subscribe, subscribe, b"").unwrap();
        }
        self.send(&client.link, &bytes);
        assert_eq!(client.link.ended(), None);
        client
    }

    /// The same with the default options.
    pub(crate) fn stomp(&mut self, version: stomp::Version, destinations: &[&str]) -> StompClient {
        self.stomp_with(StompOptions::default(), version, destinations)
    }

    /// The same, and what it received at once counts.
    pub(crate) fn stomp_keeping(&mut self, version: stomp::Version, destinations: &[&str]) -> StompClient {
        self.subscribed(StompOptions::default(), version, destinations)
    }

    fn send(&mut self, link: &Link, bytes: &[u8]) {
        self.world.send(link, bytes);
        self.world.run();
    }

    /// Publishes a message of an MQTT client.
    pub(crate) fn publish(&mut self, client: &mut MqttClient, message: &MqttMessage) {
        let mut bytes = Vec::new();
        let publish = OutgoingPublish {
            dup: false,
            qos: message.qos,
            retain: message.retain,
            topic: &message.topic,
            packet_id: (message.qos > QoS::AtMostOnce).then(|| client.next_packet()),
            message_expiry_interval: message.expiry_seconds,
            topic_alias: None,
            subscription_identifiers: &[],
            properties: Some(&message.properties),
            payload: &message.payload,
        };
        mqtt::encode_outgoing(&mut bytes, client.version, &publish, usize::MAX).unwrap();
        self.send(&client.link, &bytes);
        assert_eq!(client.link.ended(), None, "{message:?}");
    }

    /// Sends a frame of a STOMP client; the gateway must take it.
    pub(crate) fn send_frame(&mut self, client: &StompClient, message: &StompMessage) {
        let mut bytes = Vec::new();
        let headers = message.headers.iter().map(|(name, value)| (&**name, &**value));
        stomp::encode(&mut bytes, client.version, Command::Send, headers, &message.body).unwrap();
        self.send(&client.link, &bytes);
        let answer =
            client.link.ended().map(|_| String::from_utf8_lossy(&client.link.take_received()).into_owned());
        assert_eq!(answer, None, "{message:?}");
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, time: Duration) {
        self.world.advance(time);
        self.world.run();
    }
}

impl MqttClient {
    fn next_packet(&mut self) -> NonZeroU16 {
        self.packets += 1;
        NonZeroU16::new(self.packets).unwrap()
    }

    /// The messages that it has received.
    pub(crate) fn received(&self) -> Vec<MqttMessage> {
        let (bytes, mut at, mut messages) = (self.link.take_received(), 0, Vec::new());
        while let Some((packet, length)) = mqtt::decode(&bytes[at..], self.version, usize::MAX).unwrap() {
            at += length;
            let Packet::Publish(publish) = packet else { continue };
            messages.push(MqttMessage {
                topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
                payload: publish.payload.to_vec(),
                qos: publish.qos,
                retain: publish.retain,
                expiry_seconds: publish.properties.message_expiry_interval(),
                properties: mqtt::message_properties(&publish.properties)
                    .map(|found| *found)
                    .unwrap_or_default(),
            });
        }
        messages
    }
}

impl StompClient {
    /// The MESSAGE frames that it has received.
    pub(crate) fn received(&self) -> Vec<StompMessage> {
        let limits = FrameLimits {
            head_bytes: 1 << 20,
            header_line_bytes: 1 << 20,
            headers: 1 << 10,
            body_bytes: 1 << 20,
        };
        let (mut decoder, bytes, mut at) = (Decoder::new(self.version, limits), self.link.take_received(), 0);
        let mut messages = Vec::new();
        loop {
            let decoded = decoder.decode(&bytes[at..]).unwrap();
            at += decoded.consumed;
            let Some(frame) = decoded.frame else { return messages };
            if frame.command == Command::Message {
                let headers = frame.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
                messages.push(StompMessage { headers: headers.collect(), body: frame.body.to_vec() });
            }
        }
    }
}

//! An MQTT client packet by packet: it sends when a test says so, acknowledges when a test says so, and hides no answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU16;

use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    Connect, PACKET_BYTES_MAX, Packet, PacketType, PropertiesBuffer, PropertiesRef, Property, Publish,
    SubscribeFilter, SubscriptionOptions, Version, decode, encode, encode_ack, encode_pingreq,
    encode_publish, encode_subscribe,
};

use super::tcp;

/// What becomes of the session at the end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Kept,
    Dropped,
}

/// A client that the gateway has let in.
pub(crate) struct MqttClient {
    stream: TcpStream,
    version: Version,
    input: Vec<u8>,
    last_id: u16,
    /// Whether the gateway had its session already.
    pub(crate) was_present: bool,
}

/// What the gateway has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An acknowledgement with its packet identifier and its reason code (always 0 before MQTT 5).
    Ack(PacketType, u16, u8),
    /// A message, with its packet identifier, 0 for QoS 0.
    Message(u16, Vec<u8>),
    Granted(u8),
    Pong,
}

impl MqttClient {
    /// Connects to this port.
    pub(crate) fn connect(port: u16, version: Version, client_id: &str, session: Session) -> MqttClient {
        let mut properties = PropertiesBuffer::new();
        if version == Version::V5 && session == Session::Kept {
            properties.push(Property::SessionExpiryInterval(3600)).expect("the property is valid");
        }
        let connect = Connect {
            version,
            clean_start: session == Session::Dropped,
            keep_alive_seconds: 0,
            properties: properties.as_ref(),
            client_id,
            will: None,
            user_name: None,
            password: None,
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, version, &Packet::Connect(connect), PACKET_BYTES_MAX).expect("CONNECT is valid");
        let (input, stream) = (Vec::new(), tcp(port));
        let mut client = MqttClient { stream, version, input, last_id: 0, was_present: false };
        client.write(&bytes);
        client.was_present = client.read(|packet| match packet {
            Packet::ConnAck(connack) if !connack.reason.is_failure() => connack.session_present,
            other => panic!("no CONNACK, but {other:?}"),
        });
        client
    }

    /// Subscribes, and waits until that is granted.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: QoS) {
        let id = self.next_id();
        let filters = [SubscribeFilter { filter, options: SubscriptionOptions::at_most(qos) }];
        let (mut bytes, properties) = (Vec::new(), PropertiesRef::EMPTY);
        encode_subscribe(&mut bytes, self.version, id, &properties, filters.into_iter(), PACKET_BYTES_MAX)
            .expect("SUBSCRIBE is valid");
        self.write(&bytes);
        assert_eq!(self.next(), Answer::Granted(qos.number()));
    }

    /// Sends a message; the packet identifier, 0 for QoS 0.
    pub(crate) fn publish(&mut self, topic: &str, qos: QoS, payload: &[u8]) -> u16 {
        let packet_id = (qos > QoS::AtMostOnce).then(|| self.next_id());
        let (topic, properties, mut bytes) = (topic.as_bytes(), PropertiesRef::EMPTY, Vec::new());
        let publish = Publish { dup: false, qos, retain: false, topic, packet_id, properties, payload };
        encode_publish(&mut bytes, self.version, &publish, PACKET_BYTES_MAX).expect("PUBLISH is valid");
        self.write(&bytes);
        packet_id.map_or(0, NonZeroU16::get)
    }

    /// Sends a message with QoS 1 and waits for its PUBACK: the reason code.
    pub(crate) fn publish_and_wait(&mut self, topic: &str, payload: &[u8]) -> u8 {
        let id = self.publish(topic, QoS::AtLeastOnce, payload);
        match self.next() {
            Answer::Ack(PacketType::PubAck, of, reason) if of == id => reason,
            other => panic!("no PUBACK for {id}, but {other:?}"),
        }
    }

    /// Waits for a message with QoS 1 and acknowledges it.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        match self.next() {
            Answer::Message(id, payload) => {
                let mut bytes = Vec::new();
                let id = NonZeroU16::new(id).expect("a message with QoS 1");
                encode_ack(&mut bytes, PacketType::PubAck, id);
                self.write(&bytes);
                payload
            }
            other => panic!("no message, but {other:?}"),
        }
    }

    /// Waits until everything that was sent before has been read by the gateway.
    pub(crate) fn ping(&mut self) {
        let mut bytes = Vec::new();
        encode_pingreq(&mut bytes);
        self.write(&bytes);
        assert_eq!(self.next(), Answer::Pong);
    }

    /// Waits for what the gateway sends next.
    pub(crate) fn next(&mut self) -> Answer {
        self.read(|packet| match packet {
            Packet::PubAck(ack) => Answer::Ack(PacketType::PubAck, ack.packet_id.get(), ack.reason.number()),
            Packet::PubRec(ack) => Answer::Ack(PacketType::PubRec, ack.packet_id.get(), ack.reason.number()),
            Packet::PubComp(ack) => {
                Answer::Ack(PacketType::PubComp, ack.packet_id.get(), ack.reason.number())
            }
            Packet::Publish(publish) => {
                Answer::Message(publish.packet_id.map_or(0, NonZeroU16::get), publish.payload.to_vec())
            }
            Packet::SubAck(suback) => {
                Answer::Granted(suback.reasons.iter().next().expect("one reason").number())
            }
            Packet::PingResp => Answer::Pong,
            other => panic!("an unexpected {other:?}"),
        })
    }

    fn next_id(&mut self) -> NonZeroU16 {
        self.last_id += 1;
        NonZeroU16::new(self.last_id).expect("a test sends less")
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the gateway reads");
    }

    fn read<T>(&mut self, handle: impl Fn(&Packet<'_>) -> T) -> T {
        let mut piece = [0; 4096];
        loop {
            let found = decode(&self.input, self.version, PACKET_BYTES_MAX).expect("the gateway speaks MQTT");
            if let Some((packet, used)) = found {
                let result = handle(&packet);
                self.input.drain(..used);
                return result;
            }
            let count = self.stream.read(&mut piece).expect("the gateway answers");
            assert!(count > 0, "the gateway closed the connection");
            self.input.extend_from_slice(&piece[..count]);
        }
    }
}

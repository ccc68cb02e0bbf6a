//! The client's side of MQTT 3.1.1 and 5.0.

use super::{Event, FRAME_OVERHEAD_MAX, Lifetime, Welcome};
use crate::bench::failure::{Failure, harmless};
use crate::bench::in_flight::InFlight;
use crate::bench::plan::Plan;
use crate::bench::side::{Protocol, Side};
use std::num::NonZeroU16;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    Ack, ConnAck, Connect, Disconnect, PACKET_BYTES_MAX, Packet, PacketType, Password, PropertiesBuffer,
    PropertiesRef, Property, Publish, ReasonCode, SubAck, SubscribeFilter, SubscriptionOptions, Version,
    decode, encode, encode_ack, encode_pingreq, encode_publish, encode_subscribe,
};

/// What the client asks for; it gives a sign of life twice as often.
const KEEP_ALIVE_SECONDS: u16 = 60;
/// How long a durable session stays behind a load generator that died.
const SESSION_EXPIRY_SECONDS: u32 = 600;

/// One MQTT client.
pub(crate) struct Mqtt {
    version: Version,
    qos: QoS,
    retain: bool,
    client_id: String,
    lifetime: Lifetime,
    packet_bytes_max: usize,
    in_flight: InFlight,
}

impl Mqtt {
    pub(super) fn new(plan: &Plan, side: &Side, client_id: String, lifetime: Lifetime) -> Mqtt {
        let version = match side.protocol {
            Protocol::Mqtt5 => Version::V5,
            Protocol::Mqtt | Protocol::Stomp => Version::V3,
        };
        let packet_bytes_max = plan.size.saturating_add(FRAME_OVERHEAD_MAX);
        Mqtt {
            version,
            qos: plan.qos,
            retain: plan.retain,
            client_id,
            lifetime,
            packet_bytes_max,
            in_flight: InFlight::new(),
        }
    }

    pub(super) fn connect(&self, plan: &Plan, output: &mut Vec<u8>) -> Result<(), Failure> {
        let mut properties = PropertiesBuffer::new();
        let is_durable = self.lifetime == Lifetime::Durable;
        if is_durable && self.version == Version::V5 {
            properties.push(Property::SessionExpiryInterval(SESSION_EXPIRY_SECONDS))?;
        }
        let connect = Connect {
            version: self.version,
            // Before 5.0 one flag says both: no session before, none after. A new name has none before.
            clean_start: !is_durable,
            keep_alive_seconds: KEEP_ALIVE_SECONDS,
            properties: properties.as_ref(),
            client_id: &self.client_id,
            will: None,
            user_name: plan.username.as_deref(),
            password: plan.password.as_ref().map(|secret| Password(secret.0.as_bytes())),
        };
        Ok(encode(output, self.version, &Packet::Connect(connect), PACKET_BYTES_MAX)?)
    }

    pub(super) fn subscribe(&self, filter: &str, output: &mut Vec<u8>) -> Result<(), Failure> {
        let filter = SubscribeFilter { filter, options: SubscriptionOptions::at_most(self.qos) };
        let (id, properties) = (NonZeroU16::MIN, PropertiesRef::EMPTY);
        let filters = std::iter::once(filter);
        Ok(encode_subscribe(output, self.version, id, &properties, filters, PACKET_BYTES_MAX)?)
    }

    pub(super) fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let packet_id = match self.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.in_flight.take(),
        };
        self.write(topic, payload, self.qos, packet_id, self.retain, output)
    }

    pub(super) fn clear(&self, topic: &str, output: &mut Vec<u8>) -> Result<(), Failure> {
        self.write(topic, b"", QoS::AtMostOnce, None, true, output)
    }

    fn write(
        &self,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        packet_id: Option<NonZeroU16>,
        retain: bool,
        output: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let (topic, properties) = (topic.as_bytes(), PropertiesRef::EMPTY);
        let publish = Publish { dup: false, qos, retain, topic, packet_id, properties, payload };
        Ok(encode_publish(output, self.version, &publish, PACKET_BYTES_MAX)?)
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.count()
    }

    pub(super) fn ping(&self, output: &mut Vec<u8>) {
        encode_pingreq(output);
    }

    pub(super) fn disconnect(&self, output: &mut Vec<u8>) -> Result<(), Failure> {
        let disconnect = Disconnect { reason: ReasonCode::Success, properties: PropertiesRef::EMPTY };
        Ok(encode(output, self.version, &Packet::Disconnect(disconnect), PACKET_BYTES_MAX)?)
    }

    pub(super) fn next<'a>(
        &mut self,
        input: &'a [u8],
        output: &mut Vec<u8>,
    ) -> Result<Option<(Event<'a>, usize)>, Failure> {
        match decode(input, self.version, self.packet_bytes_max)? {
            Some((packet, bytes)) => Ok(Some((self.handle(packet, output)?, bytes))),
            None => Ok(None),
        }
    }

    fn handle<'a>(&mut self, packet: Packet<'a>, output: &mut Vec<u8>) -> Result<Event<'a>, Failure> {
        match packet {
            Packet::Publish(publish) => {
                let answer =
                    if publish.qos == QoS::AtLeastOnce { PacketType::PubAck } else { PacketType::PubRec };
                if let Some(packet_id) = publish.packet_id {
                    encode_ack(output, answer, packet_id);
                }
                Ok(Event::Message(publish.payload))
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) => Ok(self.settle(&ack)),
            Packet::PubRec(ack) if ack.reason.is_failure() => Ok(self.settle(&ack)),
            Packet::PubRec(ack) => {
                if self.in_flight.contains(ack.packet_id) {
                    encode_ack(output, PacketType::PubRel, ack.packet_id);
                }
                Ok(Event::Nothing)
            }
            Packet::PubRel(ack) => {
                encode_ack(output, PacketType::PubComp, ack.packet_id);
                Ok(Event::Nothing)
            }
            Packet::ConnAck(connack) => self.welcome(&connack).map(Event::Welcome),
            Packet::SubAck(suback) => self.subscribed(&suback).map(|()| Event::Subscribed),
            Packet::Disconnect(disconnect) => {
                Err(refused("to go on", disconnect.reason, disconnect.properties.reason_string()))
            }
            Packet::PingResp | Packet::UnsubAck(_) => Ok(Event::Nothing),
            other => Err(Failure::Unexpected(other.packet_type().name())),
        }
    }

    fn settle(&mut self, ack: &Ack<'_>) -> Event<'static> {
        match (self.in_flight.settle(ack.packet_id), ack.reason.is_failure()) {
            (false, _) => Event::Nothing,
            (true, true) => Event::Refused,
            (true, false) => Event::Settled,
        }
    }

    /// Whether the broker can do what the plan asks for (MQTT 5.0 section 3.2.2.3).
    fn welcome(&self, connack: &ConnAck<'_>) -> Result<Welcome, Failure> {
        let properties = &connack.properties;
        if connack.reason.is_failure() {
            return Err(refused("the connection", connack.reason, properties.reason_string()));
        }
        if let Some(granted) = properties.maximum_qos().filter(|granted| *granted < self.qos) {
            return Err(Failure::QoS { granted, wanted: self.qos });
        }
        if self.retain && properties.retain_available() == Some(false) {
            return Err(Failure::NoRetained);
        }
        // A server keep alive replaces the client's ([MQTT-3.1.2-21]); 0 is none.
        let keep_alive = properties.server_keep_alive().unwrap_or(KEEP_ALIVE_SECONDS);
        Ok(Welcome {
            in_flight_max: properties
                .receive_maximum()
                .map_or(u32::from(u16::MAX), |maximum| maximum.get().into()),
            ping_every: (keep_alive > 0).then(|| Duration::from_secs(keep_alive.into()) / 2),
        })
    }

    fn subscribed(&self, suback: &SubAck<'_>) -> Result<(), Failure> {
        let Some(reason) = suback.reasons.iter().next() else { return Ok(()) };
        if reason.is_failure() {
            return Err(refused("the subscription", reason, suback.properties.reason_string()));
        }
        match QoS::from_number(reason.number()) {
            Some(granted) if granted < self.qos => Err(Failure::QoS { granted, wanted: self.qos }),
            _ => Ok(()),
        }
    }
}

fn refused(request: &'static str, reason: ReasonCode, words: Option<&str>) -> Failure {
    let reason = match words {
        Some(words) => format!("{reason}: {}", harmless(words)),
        None => reason.to_string(),
    };
    Failure::Refused { request, reason }
}

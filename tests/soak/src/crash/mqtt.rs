//! What the MQTT clients of a crash audit have in common: an identity whose session outlives every connection.

use super::process::Ports;
use super::scene::{Event, Link, PATIENCE, Scene};
use crate::stamp::{STAMP_BYTES, Stamp};
use crate::violations::Kind;
use std::num::NonZeroU16;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    Connect, PACKET_BYTES_MAX, Packet, PropertiesBuffer, Property, Version, Will, decode, encode,
};
use tidegate_testkit::random::Random;
use tokio::time::timeout;

/// Longer than any audit.
const EXPIRY_SECONDS: u32 = 24 * 3600;

/// Something that must not be, and why.
pub(crate) type Fault = (Kind, String);

/// Who a client is.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) version: Version,
    /// Messages that it takes before it has acknowledged some, where it says so.
    pub(crate) receive_max: Option<NonZeroU16>,
    /// Whether the session is left behind when the connection ends.
    pub(crate) survives: bool,
    /// Whether the gateway has acknowledged something to this session, so that it must still be there next time.
    pub(crate) is_promised: bool,
    /// What is to be published when it is gone.
    pub(crate) testament: Option<Testament>,
}

/// A will.
#[derive(Debug, Clone)]
pub(crate) struct Testament {
    pub(crate) topic: String,
    pub(crate) stamp: Stamp,
    pub(crate) qos: QoS,
    /// How long the client may be away before it is published; only MQTT 5.0 can say it.
    pub(crate) delay_seconds: u32,
}

impl Identity {
    /// A client whose session survives.
    pub(crate) fn new(id: String, version: Version) -> Identity {
        Identity { id, version, receive_max: None, survives: true, is_promised: false, testament: None }
    }

    /// Connects, and says whether the session was there. Nothing where that failed.
    pub(crate) async fn connect(&self, scene: &Scene, random: &mut Random) -> Option<(Link, bool)> {
        let mut link = scene.connect(&self.id, |ports: Ports| ports.mqtt).await?;
        self.write_connect(&mut link.wire.output);
        let present = match timeout(PATIENCE, self.await_connack(scene, &mut link, random)).await {
            Ok(present) => present?,
            Err(_) => {
                scene.accuse(Kind::Silence, || format!("{}: no CONNACK in time", self.id));
                return None;
            }
        };
        if self.is_promised && !present {
            let life = scene.life.get();
            scene.accuse(Kind::SessionLost, || format!("{}: no session in life {life}", self.id));
        }
        Some((link, present))
    }

    fn write_connect(&self, output: &mut Vec<u8>) {
        let (mut properties, mut of_will) = (PropertiesBuffer::new(), PropertiesBuffer::new());
        if self.version == Version::V5 {
            let delays = self.testament.iter().map(|testament| testament.delay_seconds);
            of_will.extend(delays.map(Property::WillDelayInterval)).expect("the properties are valid");
            let expiry = self.survives.then_some(Property::SessionExpiryInterval(EXPIRY_SECONDS));
            let receive_max = self.receive_max.map(Property::ReceiveMaximum);
            properties.extend(expiry.into_iter().chain(receive_max)).expect("the properties are valid");
        }
        let payload = self.testament.as_ref().map(|testament| testament.stamp.payload(STAMP_BYTES));
        let will = self.testament.as_ref().map(|testament| Will {
            topic: &testament.topic,
            payload: payload.as_deref().unwrap_or_default(),
            qos: testament.qos,
            retain: false,
            properties: of_will.as_ref(),
        });
        let connect = Connect {
            version: self.version,
            clean_start: !self.survives,
            keep_alive_seconds: 0,
            properties: properties.as_ref(),
            client_id: &self.id,
            will,
            user_name: None,
            password: None,
        };
        encode(output, self.version, &Packet::Connect(connect), PACKET_BYTES_MAX)
            .expect("the CONNECT is valid");
    }

    async fn await_connack(&self, scene: &Scene, link: &mut Link, random: &mut Random) -> Option<bool> {
        loop {
            let answer = match decode(&link.wire.input, self.version, PACKET_BYTES_MAX) {
                Ok(None) => None,
                Ok(Some((Packet::ConnAck(connack), used))) if !connack.reason.is_failure() => {
                    Some(Ok((connack.session_present, used)))
                }
                // What it says while it ends.
                Ok(Some((Packet::ConnAck(_) | Packet::Disconnect(_), _))) if link.is_past(scene) => {
                    return None;
                }
                Ok(Some((other, _))) => Some(Err(format!("{other:?} in place of a CONNACK"))),
                Err(error) => Some(Err(format!("no MQTT: {error}"))),
            };
            match answer {
                Some(Ok((present, used))) => {
                    link.wire.input.drain(..used);
                    return Some(present);
                }
                Some(Err(what)) => {
                    scene.accuse(Kind::Protocol, || format!("{}: {what}", self.id));
                    return None;
                }
                None if link.next(scene, random, &self.id).await == Event::End => return None,
                None => {}
            }
        }
    }

    /// Lets `handle` have every packet that has arrived; says so where one of them must not be, and is false then.
    pub(crate) fn read(
        &self,
        scene: &Scene,
        link: &mut Link,
        mut handle: impl FnMut(&mut Vec<u8>, Packet<'_>) -> Result<(), Fault>,
    ) -> bool {
        let input = std::mem::take(&mut link.wire.input);
        let mut used = 0;
        let outcome = loop {
            match decode(&input[used..], self.version, PACKET_BYTES_MAX) {
                Ok(None) => break Ok(()),
                // What it says when it is told to end.
                Ok(Some((Packet::Disconnect(_), _))) if scene.ports.get().is_none() => break Ok(()),
                Ok(Some((packet, bytes))) => {
                    used += bytes;
                    if let Err(fault) = handle(&mut link.wire.output, packet) {
                        break Err(fault);
                    }
                }
                Err(error) => break Err((Kind::Protocol, format!("the gateway sent no MQTT: {error}"))),
            }
        };
        link.wire.input = input[used..].to_vec();
        match outcome {
            Ok(()) => true,
            Err((kind, what)) => {
                scene.accuse(kind, || format!("{}: {what}", self.id));
                false
            }
        }
    }
}

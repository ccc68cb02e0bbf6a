//! One delivery on its way to one client: its bytes.
//!
//! The form of a message is the same for all clients of one version, but for flags and packet identifier. So it is
//! encoded once for a fan-out, copied to each receiver, and what is the receiver's own is written over the copy. Nothing is allocated
//! but room in the buffers. What is told to one receiver alone (subscription identifiers) or changes with time (the
//! remaining lifetime) is encoded for itself.

use crate::codec::{EncodeError, OutgoingPublish, PACKET_BYTES_MAX, PacketType, Version, encode_outgoing};
use crate::wire::Wire;
use std::num::NonZeroU16;
use std::time::Duration;
use tidegate_protocol::{Delivery, Encoded, Layout, Output, Refused};

/// The high half of this protocol's layouts: "MQ". The low half is made of the two bits below.
const LAYOUT: u32 = 0x4D51_0000;
/// MQTT 5.0: there is a property section.
const VERSION_5: u32 = 1;
/// QoS 1 or 2: there is a packet identifier.
const ACKNOWLEDGED: u32 = 2;

/// A delivery, and where its bytes go.
pub(crate) struct Sending<'a> {
    /// What is delivered.
    pub(crate) delivery: &'a Delivery<'a>,
    /// How the client is written to.
    pub(crate) wire: &'a Wire,
    /// The forms that all receivers of the message share.
    pub(crate) encoded: &'a mut Encoded,
    /// The client's bytes.
    pub(crate) output: &'a mut Output,
}

impl Sending<'_> {
    /// Appends the delivery as a PUBLISH with this packet identifier, or nothing.
    #[inline]
    pub(crate) fn write(&mut self, id: Option<NonZeroU16>) -> Result<(), Refused> {
        let (delivery, wire) = (self.delivery, self.wire);
        // Spares the copy of a payload that cannot fit; the exact check comes with the packet.
        if delivery.payload.len() >= wire.packet_bytes_max {
            return Err(Refused::TooLargeForPeer);
        }
        let is_alike = delivery.expires_at.is_none() && delivery.subscription_ids.is_empty();
        match wire.version < Version::V5 || is_alike {
            true => self.write_shared(id),
            false => self.write_own(id),
        }
    }

    /// Copies the form that all receivers with this layout share.
    #[inline]
    fn write_shared(&mut self, id: Option<NonZeroU16>) -> Result<(), Refused> {
        let (delivery, wire, start) = (self.delivery, self.wire, self.output.len());
        let version = if wire.version == Version::V5 { VERSION_5 } else { 0 };
        let acknowledged = if id.is_some() { ACKNOWLEDGED } else { 0 };
        self.encoded.write(Layout(LAYOUT | version | acknowledged), self.output, |bytes| {
            // What cannot be written leaves no bytes, which each receiver sees below.
            let _ = encode_outgoing(bytes, wire.version, &publish_of(delivery, id), PACKET_BYTES_MAX);
        });
        match self.output.len() - start {
            0 => Err(Refused::NotExpressible),
            // [MQTT-3.1.2-24] [MQTT-3.1.2-25]
            bytes if bytes > wire.packet_bytes_max => {
                self.output.buffer().truncate(start);
                Err(Refused::TooLargeForPeer)
            }
            _ => {
                personalise(self.output.buffer().get_mut(start..).unwrap_or_default(), delivery, id);
                Ok(())
            }
        }
    }

    /// Encodes for this receiver alone.
    fn write_own(&mut self, id: Option<NonZeroU16>) -> Result<(), Refused> {
        let publish = publish_of(self.delivery, id);
        let outcome =
            encode_outgoing(self.output.buffer(), self.wire.version, &publish, self.wire.packet_bytes_max);
        outcome.map_err(|error| match error {
            // [MQTT-3.1.2-24] [MQTT-3.1.2-25]
            EncodeError::PacketTooLarge { .. } => Refused::TooLargeForPeer,
            _ => Refused::NotExpressible,
        })
    }
}

fn publish_of<'a>(delivery: &Delivery<'a>, id: Option<NonZeroU16>) -> OutgoingPublish<'a> {
    let time_left = |deadline: std::time::Instant| deadline.saturating_duration_since(delivery.now);
    OutgoingPublish {
        dup: is_duplicate(delivery, id),
        qos: delivery.qos,
        retain: delivery.retain,
        topic: delivery.topic.as_str(),
        packet_id: id,
        message_expiry_interval: delivery.expires_at.map(|deadline| whole_seconds(time_left(deadline))),
        topic_alias: None,
        subscription_identifiers: delivery.subscription_ids,
        properties: delivery.properties,
        payload: delivery.payload,
    }
}

/// [MQTT-3.3.1-1] [MQTT-3.3.1-2]
#[inline]
fn is_duplicate(delivery: &Delivery<'_>, id: Option<NonZeroU16>) -> bool {
    delivery.redelivered && id.is_some()
}

/// [MQTT-3.3.2-6]: rounded up, so that 0 is written only for a message whose time is over but whose exchange must go on.
fn whole_seconds(left: Duration) -> u32 {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Writes flags and packet identifier of this receiver over those of the shared form.
#[inline]
fn personalise(packet: &mut [u8], delivery: &Delivery<'_>, id: Option<NonZeroU16>) {
    let Some((first, rest)) = packet.split_first_mut() else { return };
    *first = (PacketType::Publish as u8) << 4
        | u8::from(is_duplicate(delivery, id)) << 3
        | delivery.qos.number() << 1
        | u8::from(delivery.retain);
    let Some(id) = id else { return };
    let length_bytes = rest.iter().take(4).take_while(|byte| **byte >= 0x80).count() + 1;
    let at = length_bytes + 2 + delivery.topic.as_str().len();
    if let Some(place) = rest.get_mut(at..at + 2) {
        place.copy_from_slice(&id.get().to_be_bytes());
    }
}

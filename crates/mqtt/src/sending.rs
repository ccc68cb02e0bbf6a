//! One delivery on its way to one client: its bytes.
//!
//! The form of a message is the same for all clients of one version, but for flags, packet identifier and topic alias. So it is
//! encoded once for a fan-out, copied to each receiver, and what is the receiver's own is written over the copy. Nothing is allocated
//! but room in the buffers. What is told to one receiver alone (subscription identifiers) or changes with time (the
//! remaining lifetime) is encoded for itself.

use crate::codec::{EncodeError, OutgoingPublish, PACKET_BYTES_MAX, PacketType, Version, encode_outgoing};
use crate::sent_aliases::{SentAliases, TopicForm};
use crate::wire::Wire;
use std::num::NonZeroU16;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_protocol::{Delivery, Encoded, Layout, Output, Refused};

/// The high half of this protocol's layouts: "MQ". The low half is made of the bits below.
const LAYOUT: u32 = 0x4D51_0000;
/// MQTT 5.0: there is a property section.
const VERSION_5: u32 = 1;
/// QoS 1 or 2: there is a packet identifier.
const ACKNOWLEDGED: u32 = 2;
/// There is a topic alias beside the topic.
const ALIAS_SET: u32 = 4;
/// There is a topic alias and no topic.
const ALIAS_ALONE: u32 = 8;

/// The alias of a shared form; each receiver has its own.
const ANY_ALIAS: NonZeroU16 = NonZeroU16::MAX;

/// What a PUBLISH begins or goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// Nothing: QoS 0.
    None,
    /// The client has not seen a message under this identifier, wherever the message has been before ([MQTT-4.3.2-2] [MQTT-4.3.3-2]).
    First(NonZeroU16),
    /// It may have seen this one ([MQTT-3.3.1-1]).
    Again(NonZeroU16),
}

impl Exchange {
    #[inline]
    fn id(self) -> Option<NonZeroU16> {
        match self {
            Exchange::None => None,
            Exchange::First(id) | Exchange::Again(id) => Some(id),
        }
    }

    /// DUP ([MQTT-3.3.1-1] [MQTT-3.3.1-2]).
    #[inline]
    fn is_repeated(self) -> bool {
        matches!(self, Exchange::Again(_))
    }
}

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
    /// The topic aliases that the client knows, where it knows any.
    pub(crate) aliases: Option<&'a mut SentAliases>,
}

impl Sending<'_> {
    /// Appends the delivery as the PUBLISH of this exchange, or nothing.
    #[inline]
    pub(crate) fn write(&mut self, exchange: Exchange) -> Result<(), Refused> {
        let (delivery, wire) = (self.delivery, self.wire);
        // Spares the copy of a payload that cannot fit; the exact check comes with the packet.
        if delivery.payload.len() >= wire.packet_bytes_max {
            return Err(Refused::TooLargeForPeer);
        }
        match self.aliases {
            // MQTT.js keeps a QoS 2 message without its topic where only the alias came, and the four packets of the exchange are
            // more than an alias saves.
            Some(_) if delivery.qos < QoS::ExactlyOnce => self.write_with_aliases(exchange),
            _ => self.write_as(exchange, TopicForm::Whole),
        }
    }

    /// The same for a client that knows aliases; apart, so that it costs the others nothing.
    #[inline(never)]
    fn write_with_aliases(&mut self, exchange: Exchange) -> Result<(), Refused> {
        let topic = self.delivery.topic;
        let form = self.aliases.as_deref_mut().map_or(TopicForm::Whole, |aliases| aliases.form_of(topic));
        match (self.write_as(exchange, form), form) {
            (Ok(()), TopicForm::Set(alias)) => {
                self.aliases.as_deref_mut().into_iter().for_each(|aliases| aliases.confirm(alias));
                Ok(())
            }
            // [MQTT-3.1.2-24]: without the alias beside the topic it may be small enough.
            (Err(Refused::TooLargeForPeer), TopicForm::Set(_)) => self.write_own(exchange, TopicForm::Whole),
            (outcome, _) => outcome,
        }
    }

    /// Inlined where the form is known, so that most packets are written without asking for it.
    #[inline(always)]
    fn write_as(&mut self, exchange: Exchange, form: TopicForm) -> Result<(), Refused> {
        let is_alike = self.delivery.expires_at.is_none() && self.delivery.subscription_ids.is_empty();
        match self.wire.version < Version::V5 || is_alike {
            true => self.write_shared(exchange, form),
            false => self.write_own(exchange, form),
        }
    }

    /// Copies the form that all receivers with this layout share.
    #[inline(always)]
    fn write_shared(&mut self, exchange: Exchange, form: TopicForm) -> Result<(), Refused> {
        let (delivery, wire, start) = (self.delivery, self.wire, self.output.len());
        let version = if wire.version == Version::V5 { VERSION_5 } else { 0 };
        let acknowledged = if exchange.id().is_some() { ACKNOWLEDGED } else { 0 };
        let (alias, any_form) = match form {
            TopicForm::Whole => (0, TopicForm::Whole),
            TopicForm::Set(_) => (ALIAS_SET, TopicForm::Set(ANY_ALIAS)),
            TopicForm::Alone(_) => (ALIAS_ALONE, TopicForm::Alone(ANY_ALIAS)),
        };
        self.encoded.write(Layout(LAYOUT | version | acknowledged | alias), self.output, |bytes| {
            // What cannot be written leaves no bytes, which each receiver sees below.
            let publish = publish_of(delivery, exchange, any_form);
            let _ = encode_outgoing(bytes, wire.version, &publish, PACKET_BYTES_MAX);
        });
        match self.output.len() - start {
            0 => Err(Refused::NotExpressible),
            // [MQTT-3.1.2-24] [MQTT-3.1.2-25]
            bytes if bytes > wire.packet_bytes_max => {
                self.output.buffer().truncate(start);
                Err(Refused::TooLargeForPeer)
            }
            _ => {
                let packet = self.output.buffer().get_mut(start..).unwrap_or_default();
                personalise(packet, delivery, exchange, form);
                Ok(())
            }
        }
    }

    /// Encodes for this receiver alone.
    fn write_own(&mut self, exchange: Exchange, form: TopicForm) -> Result<(), Refused> {
        let publish = publish_of(self.delivery, exchange, form);
        let outcome =
            encode_outgoing(self.output.buffer(), self.wire.version, &publish, self.wire.packet_bytes_max);
        outcome.map_err(|error| match error {
            // [MQTT-3.1.2-24] [MQTT-3.1.2-25]
            EncodeError::PacketTooLarge { .. } => Refused::TooLargeForPeer,
            _ => Refused::NotExpressible,
        })
    }
}

fn publish_of<'a>(delivery: &Delivery<'a>, exchange: Exchange, form: TopicForm) -> OutgoingPublish<'a> {
    let (topic, topic_alias) = match form {
        TopicForm::Whole => (delivery.topic.as_str(), None),
        TopicForm::Set(alias) => (delivery.topic.as_str(), Some(alias)),
        TopicForm::Alone(alias) => ("", Some(alias)),
    };
    let time_left = |deadline: std::time::Instant| deadline.saturating_duration_since(delivery.now);
    OutgoingPublish {
        dup: exchange.is_repeated(),
        qos: delivery.qos,
        retain: delivery.retain,
        topic,
        packet_id: exchange.id(),
        message_expiry_interval: delivery.expires_at.map(|deadline| whole_seconds(time_left(deadline))),
        topic_alias,
        subscription_identifiers: delivery.subscription_ids,
        properties: delivery.properties,
        payload: delivery.payload,
    }
}

/// [MQTT-3.3.2-6]: rounded up, so that 0 is written only for a message whose time is over but whose exchange must go on.
fn whole_seconds(left: Duration) -> u32 {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Writes flags, packet identifier and topic alias of this receiver over those of the shared form.
#[inline(always)]
fn personalise(packet: &mut [u8], delivery: &Delivery<'_>, exchange: Exchange, form: TopicForm) {
    let Some((first, rest)) = packet.split_first_mut() else { return };
    *first = (PacketType::Publish as u8) << 4
        | u8::from(exchange.is_repeated()) << 3
        | delivery.qos.number() << 1
        | u8::from(delivery.retain);
    if exchange.id().is_none() && form == TopicForm::Whole {
        return;
    }
    let topic_bytes = if let TopicForm::Alone(_) = form { 0 } else { delivery.topic.as_str().len() };
    let mut at = varint_bytes(rest, 0) + 2 + topic_bytes;
    if let Some(id) = exchange.id() {
        put(rest, at, id);
        at += 2;
    }
    if let TopicForm::Set(alias) | TopicForm::Alone(alias) = form {
        // The alias is the first property, because a form with an expiry is not shared.
        let properties = at + varint_bytes(rest, at);
        put(rest, properties + 1, alias);
    }
}

/// How many bytes the variable byte integer takes that begins there.
#[inline]
fn varint_bytes(packet: &[u8], at: usize) -> usize {
    packet.iter().skip(at).take(3).take_while(|byte| **byte >= 0x80).count() + 1
}

#[inline]
fn put(packet: &mut [u8], at: usize, number: NonZeroU16) {
    if let Some(place) = packet.get_mut(at..at + 2) {
        place.copy_from_slice(&number.get().to_be_bytes());
    }
}

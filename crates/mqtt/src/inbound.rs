//! Messages from the client: routing, acknowledgement, and the identifiers of QoS 2 (MQTT 5.0 section 4.3).
//!
//! A QoS 2 message is published when it first arrives; its identifier is remembered until PUBREL so that it is published
//! once ([MQTT-4.3.3-10]).
//!
//! # What a refused message means for its sender
//!
//! An acknowledgement is never a false yes. In MQTT 5.0 a refused message with QoS 1 or 2 is answered by its reason code. MQTT 3.1.1
//! has no such word:
//!
//! - Bytes that are no topic name end the connection, in all versions.
//! - A topic beyond a limit of this gateway would be refused again each time, so with QoS 1 and 2 the connection ends
//!   (the choice that [MQTT-3.1.1/3.3.5-2] leaves).
//! - A message without room is not acknowledged, and the connection lives on: closing it at once would turn one full queue
//!   into a storm of reconnects and wills. The client keeps the message, and its own window slows it down. Since clients
//!   send again only on a new connection, the connection ends half a minute after the first such message.
//!
//! A refused message with QoS 0 is dropped; the broker has counted it.

use crate::aliases::TopicAliases;
use crate::codec::{Ack, PacketType, Publish, ReasonCode, Version, message_properties};
use crate::reason::{Rejection, fault, of_publish};
use crate::wire::Wire;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};
use tidegate_message::QoS;
use tidegate_protocol::{Close, Context, Publish as PublishRequest, Published, Refusal};

/// How long a client of MQTT 3.1.1 is left with a message that was refused for now.
pub(crate) const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(30);

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Inbound {
    aliases: TopicAliases,
    /// The most unacknowledged messages that were allowed to the client; MQTT 3.1.1 has no such number.
    receive_maximum: u16,
    /// QoS 2 messages of this connection that wait for PUBREL.
    received: IdSet,
    /// The same from earlier connections. They do not count against the receive maximum (section 4.9).
    received_before: IdSet,
    /// When the connection ends because a message was left unacknowledged.
    unacknowledged_until: Option<Instant>,
}

/// At most 65 535 identifiers, and no memory where QoS 2 is not used.
type IdSet = HashSet<NonZeroU16, RandomState>;

/// What became of one PUBLISH.
enum Verdict {
    /// It is acknowledged with this code, which may be a failure.
    Acknowledge(ReasonCode, Option<Refusal>),
    /// It is not acknowledged.
    Withhold,
}

impl Inbound {
    /// The half of a connection to which these maxima were announced.
    pub(crate) fn new(receive_maximum: u16, topic_alias_maximum: u16) -> Inbound {
        Inbound {
            aliases: TopicAliases::new(topic_alias_maximum),
            receive_maximum,
            received: IdSet::default(),
            received_before: IdSet::default(),
            unacknowledged_until: None,
        }
    }

    /// Remembers identifiers from earlier connections of the session.
    pub(crate) fn resume(&mut self, received: &[NonZeroU16]) {
        self.received_before.extend(received);
    }

    /// The identifiers that wait for PUBREL, lowest first.
    pub(crate) fn unreleased(&self) -> Vec<NonZeroU16> {
        let mut ids: Vec<_> = self.received.union(&self.received_before).copied().collect();
        ids.sort_unstable();
        ids
    }

    /// When the connection ends because a message was left unacknowledged.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.unacknowledged_until
    }

    /// PUBLISH.
    pub(crate) fn handle_publish(
        &mut self,
        publish: &Publish<'_>,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        // [MQTT-3.3.4-6]
        if publish.properties.subscription_identifier().is_some() {
            return Err(fault(
                ReasonCode::ProtocolError,
                "the client's PUBLISH has a subscription identifier",
            ));
        }
        let Some(id) = publish.packet_id else {
            return self.route(publish, wire, context).map(|_| ());
        };
        self.check_receive_maximum(id, wire)?;
        match publish.qos {
            QoS::ExactlyOnce => self.handle_exactly_once(id, publish, wire, context),
            _ => match self.route(publish, wire, context)? {
                // [MQTT-4.3.2-4]
                Verdict::Acknowledge(reason, refusal) => {
                    wire.ack(PacketType::PubAck, id, reason, refusal, context.output)
                }
                Verdict::Withhold => {
                    self.leave_unacknowledged(context.now);
                    Ok(())
                }
            },
        }
    }

    fn handle_exactly_once(
        &mut self,
        id: NonZeroU16,
        publish: &Publish<'_>,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        // [MQTT-4.3.3-10]: known until its PUBREL, it is acknowledged again and not published again.
        if self.received.contains(&id) || self.received_before.remove(&id) {
            self.aliases.resolve(publish)?;
            self.received.insert(id);
            return wire.ack(PacketType::PubRec, id, ReasonCode::Success, None, context.output);
        }
        match self.route(publish, wire, context)? {
            // [MQTT-4.3.3-8]
            Verdict::Acknowledge(reason, refusal) => {
                // [MQTT-4.3.3-9]: after a failure the identifier is free.
                if !reason.is_failure() {
                    self.received.insert(id);
                }
                wire.ack(PacketType::PubRec, id, reason, refusal, context.output)
            }
            Verdict::Withhold => {
                self.leave_unacknowledged(context.now);
                Ok(())
            }
        }
    }

    /// PUBREL: the identifier is free again.
    pub(crate) fn handle_pubrel(
        &mut self,
        ack: &Ack<'_>,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let known = self.received.remove(&ack.packet_id) | self.received_before.remove(&ack.packet_id);
        // [MQTT-4.3.3-11]
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        wire.ack(PacketType::PubComp, ack.packet_id, reason, None, context.output)
    }

    /// [MQTT-3.3.4-7]: QoS 1 is acknowledged at once, so what can be outstanding are the QoS 2 messages.
    fn check_receive_maximum(&self, id: NonZeroU16, wire: &Wire) -> Result<(), Close> {
        let full = self.received.len() >= usize::from(self.receive_maximum);
        if wire.version == Version::V5 && full && !self.received.contains(&id) {
            let detail = format!("more than {} messages are unacknowledged", self.receive_maximum);
            return Err(fault(ReasonCode::ReceiveMaximumExceeded, detail));
        }
        Ok(())
    }

    /// Asks the broker to route the message.
    fn route(
        &mut self,
        publish: &Publish<'_>,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<Verdict, Close> {
        let topic = self.aliases.resolve(publish)?;
        let properties = message_properties(&publish.properties);
        let request = PublishRequest {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: properties.as_deref(),
            expiry: publish
                .properties
                .message_expiry_interval()
                .map(|seconds| Duration::from_secs(seconds.into())),
        };
        match context.broker.publish(&request) {
            Ok(Published { matched: true }) => Ok(Verdict::Acknowledge(ReasonCode::Success, None)),
            // Section 3.4.2.1: a server that knows that nobody subscribes may say so.
            Ok(Published { matched: false }) => {
                Ok(Verdict::Acknowledge(ReasonCode::NoMatchingSubscribers, None))
            }
            Err(refusal) => judge(refusal, publish.qos, wire.version),
        }
    }

    fn leave_unacknowledged(&mut self, now: Instant) {
        self.unacknowledged_until.get_or_insert(now + UNACKNOWLEDGED_TIME);
    }
}

/// What a refusal means in this version; see the head of this file.
fn judge(refusal: Refusal, qos: QoS, version: Version) -> Result<Verdict, Close> {
    match (of_publish(refusal), version) {
        (Rejection::Fault(reason), _) => Err(fault(reason, refusal.to_string())),
        (Rejection::Lasting(reason) | Rejection::Passing(reason), Version::V5) => {
            Ok(Verdict::Acknowledge(reason, Some(refusal)))
        }
        (Rejection::Lasting(reason), _) if qos > QoS::AtMostOnce => Err(fault(reason, refusal.to_string())),
        _ => Ok(Verdict::Withhold),
    }
}

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
//! - A topic to which the client may not publish ends the connection as well, or is acknowledged and dropped, as most brokers do:
//!   the listener's `denied_publish` says which.
//! - A topic of the gateway's own (`$SYS/...`) is acknowledged and dropped: bridges of other brokers announce themselves there, and
//!   expect nothing of it. [MQTT-3.1.1/3.3.5-2] asks for one of the two.
//! - A message without room is not acknowledged, and the connection lives on: closing it at once would turn one full queue
//!   into a storm of reconnects and wills. The client keeps the message, and its own window slows it down. Since clients
//!   send again only on a new connection, the connection ends half a minute after the first such message.
//!
//! A refused message with QoS 0 is dropped; the broker has counted it.

use crate::aliases::TopicAliases;
use crate::codec::{Ack, PacketType, PropertiesRef, Publish, ReasonCode, Version, message_properties};
use crate::options::{DeniedPublish, MqttOptions, ReceiveMaximumPolicy};
use crate::reason::{Rejection, fault, of_publish};
use crate::wire::Wire;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use std::borrow::Cow;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};
use tidegate_message::QoS;
use tidegate_protocol::{Close, Context, Publish as PublishRequest, Published, Refusal};

/// How long a client of MQTT 3.1.1 is left with a message that was refused for now.
pub(crate) const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(30);

/// How long nothing more is read from a client that has more messages unacknowledged than it may.
const LENIENT_REST: Duration = Duration::from_millis(100);

/// What is wrong with a payload that is not as its payload format indicator says.
pub(crate) const NOT_TEXT: &str =
    "the payload is not UTF-8, which its payload format indicator says that it is";

/// What a client is told that uses an identifier for two things.
pub(crate) const IDENTIFIER_IN_USE: &str = "a message with this packet identifier has not been released";

/// What a client is told that releases a message that is not known.
const IDENTIFIER_NOT_FOUND: &str = "no message with this packet identifier waits for its release";

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
    receive_maximum_policy: ReceiveMaximumPolicy,
    checks_payload_format: bool,
    denied: DeniedPublish,
}

/// At most 65 535 identifiers, and no memory where QoS 2 is not used.
type IdSet = HashSet<NonZeroU16, RandomState>;

/// What became of one PUBLISH.
enum Verdict {
    /// It is acknowledged with this code, which may be a failure, and the reason in words.
    Acknowledge(ReasonCode, Cow<'static, str>),
    /// It is not acknowledged.
    Withhold,
}

impl Inbound {
    /// The half of a connection to which the maxima of these options were announced.
    pub(crate) fn new(options: &MqttOptions) -> Inbound {
        Inbound {
            aliases: TopicAliases::new(options.topic_alias_max),
            receive_maximum: options.receive_max(),
            receive_maximum_policy: options.receive_maximum_policy,
            checks_payload_format: options.check_payload_format,
            received: IdSet::default(),
            received_before: IdSet::default(),
            unacknowledged_until: None,
            denied: options.denied_publish,
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
        self.check_receive_maximum(id, wire, context)?;
        match publish.qos {
            QoS::ExactlyOnce => self.handle_exactly_once(id, publish, wire, context),
            _ => self.handle_at_least_once(id, publish, wire, context),
        }
    }

    fn handle_at_least_once(
        &mut self,
        id: NonZeroU16,
        publish: &Publish<'_>,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        if self.is_in_use(id, wire) {
            self.aliases.resolve(publish)?;
            let (packet, reason) = (PacketType::PubAck, ReasonCode::PacketIdentifierInUse);
            context.broker.note_dropped(reason.label());
            return wire.ack(packet, id, reason, IDENTIFIER_IN_USE, context.output);
        }
        match self.route(publish, wire, context)? {
            // [MQTT-4.3.2-4]
            Verdict::Acknowledge(reason, detail) => {
                wire.ack(PacketType::PubAck, id, reason, &detail, context.output)
            }
            Verdict::Withhold => {
                self.leave_unacknowledged(context.now);
                Ok(())
            }
        }
    }

    /// Whether the client uses the identifier for a message that it has not released ([MQTT-2.2.1-3]), in a version in which it
    /// can be told so. What an earlier connection left is not looked at: a client that has lost its state begins anew.
    pub(crate) fn is_in_use(&self, id: NonZeroU16, wire: &Wire) -> bool {
        wire.version == Version::V5 && self.received.contains(&id)
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
            return wire.ack(PacketType::PubRec, id, ReasonCode::Success, "", context.output);
        }
        match self.route(publish, wire, context)? {
            // [MQTT-4.3.3-8]
            Verdict::Acknowledge(reason, detail) => {
                // [MQTT-4.3.3-9]: after a failure the identifier is free.
                if !reason.is_failure() {
                    self.received.insert(id);
                }
                wire.ack(PacketType::PubRec, id, reason, &detail, context.output)
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
        let (reason, detail) = match known {
            true => (ReasonCode::Success, ""),
            false => (ReasonCode::PacketIdentifierNotFound, IDENTIFIER_NOT_FOUND),
        };
        wire.ack(PacketType::PubComp, ack.packet_id, reason, detail, context.output)
    }

    /// [MQTT-3.3.4-7]: QoS 1 is acknowledged at once, so what can be outstanding are the QoS 2 messages.
    fn check_receive_maximum(
        &self,
        id: NonZeroU16,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let is_full = self.received.len() >= usize::from(self.receive_maximum);
        if !is_full || wire.version < Version::V5 || self.received.contains(&id) {
            return Ok(());
        }
        match self.receive_maximum_policy {
            ReceiveMaximumPolicy::Strict => {
                let detail = format!("more than {} messages are unacknowledged", self.receive_maximum);
                Err(fault(ReasonCode::ReceiveMaximumExceeded, detail))
            }
            // Not read at all, it could never release anything.
            ReceiveMaximumPolicy::Lenient => {
                context.broker.slow_down(LENIENT_REST);
                Ok(())
            }
        }
    }

    /// Asks the broker to route the message.
    fn route(
        &mut self,
        publish: &Publish<'_>,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<Verdict, Close> {
        let topic = self.aliases.resolve(publish)?;
        if self.checks_payload_format && !is_payload_as_told(&publish.properties, publish.payload) {
            return refuse_payload(publish.qos, context);
        }
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
            Ok(Published { matched: true, .. }) => Ok(Verdict::Acknowledge(ReasonCode::Success, "".into())),
            // Section 3.4.2.1: a server that knows that nobody subscribes may say so.
            Ok(Published { matched: false, .. }) => {
                Ok(Verdict::Acknowledge(ReasonCode::NoMatchingSubscribers, "".into()))
            }
            Err(refusal) => judge(refusal, publish.qos, wire.version, self.denied),
        }
    }

    fn leave_unacknowledged(&mut self, now: Instant) {
        self.unacknowledged_until.get_or_insert(now + UNACKNOWLEDGED_TIME);
    }
}

/// Whether a payload is UTF-8 where its payload format indicator says so (section 3.3.2.3.2).
pub(crate) fn is_payload_as_told(properties: &PropertiesRef<'_>, payload: &[u8]) -> bool {
    properties.payload_format_indicator() != Some(true) || simdutf8::basic::from_utf8(payload).is_ok()
}

/// Section 3.3.2.3.2: a payload that is not what it is said to be. With QoS 0 only DISCONNECT can say so.
fn refuse_payload(qos: QoS, context: &mut Context<'_>) -> Result<Verdict, Close> {
    let reason = ReasonCode::PayloadFormatInvalid;
    context.broker.note_dropped(reason.label());
    match qos {
        QoS::AtMostOnce => Err(fault(reason, NOT_TEXT)),
        _ => Ok(Verdict::Acknowledge(reason, NOT_TEXT.into())),
    }
}

/// What a refusal means in this version; see the head of this file.
fn judge(refusal: Refusal, qos: QoS, version: Version, denied: DeniedPublish) -> Result<Verdict, Close> {
    match (of_publish(refusal), version) {
        (Rejection::Fault(reason), _) => Err(fault(reason, refusal.to_string())),
        (Rejection::Lasting(reason) | Rejection::Passing(reason), Version::V5)
        | (Rejection::Denied(reason) | Rejection::Reserved(reason), Version::V5) => {
            Ok(Verdict::Acknowledge(reason, refusal.to_string().into()))
        }
        (Rejection::Reserved(_), _) => Ok(Verdict::Acknowledge(ReasonCode::Success, "".into())),
        (Rejection::Denied(_), _) if denied == DeniedPublish::Acknowledge => {
            Ok(Verdict::Acknowledge(ReasonCode::Success, "".into()))
        }
        (Rejection::Lasting(reason) | Rejection::Denied(reason), _) if qos > QoS::AtMostOnce => {
            Err(fault(reason, refusal.to_string()))
        }
        _ => Ok(Verdict::Withhold),
    }
}

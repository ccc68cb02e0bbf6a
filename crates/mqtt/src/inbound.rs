//! Messages from the client: routing, acknowledgement, and the identifiers of QoS 2 (MQTT 5.0 section 4.3).
//!
//! A QoS 2 message is published when it first arrives; its identifier is remembered until PUBREL so that it is published
//! once ([MQTT-4.3.3-10]).
//!
//! # What a refused message means for its sender
//!
//! An acknowledgement is never a false yes. In MQTT 5.0 a refused message with QoS 1 or 2 is answered by its reason code; but one with QoS 2
//! that its receivers may have, because the disk has failed only while it was being kept, is left as in MQTT 3.1.1, which has no such word:
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
use crate::journal::Step;
use crate::late::Late;
use crate::options::{DeniedPublish, MqttOptions, ReceiveMaximumPolicy};
use crate::reason::{Rejection, fault, of_publish};
use crate::wire::Wire;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use std::borrow::Cow;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};
use tidegate_message::QoS;
use tidegate_protocol::{Answer, Close, Context, Publish as PublishRequest, Refusal, Saving};

/// How long a client is left with a message that was refused for now and not answered.
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
    /// QoS 1 messages whose PUBACK waits for the disk.
    unanswered: IdSet,
    /// QoS 2 messages of this connection that wait for PUBREL.
    received: HashMap<NonZeroU16, Receipt, RandomState>,
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

/// How far a QoS 2 message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receipt {
    /// Its PUBREC waits for the disk.
    Unanswered,
    /// Its PUBREC was sent.
    Answered,
    /// It was given to its receivers, but the disk has not kept it: its PUBREC was withheld.
    Withheld,
}

/// What became of one PUBLISH.
enum Verdict {
    /// It is acknowledged with this code, which may be a failure, and the reason in words, as soon as the answer says.
    Acknowledge(ReasonCode, Cow<'static, str>, Answer),
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
            unanswered: IdSet::default(),
            received: HashMap::default(),
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
        let mut ids: Vec<_> = self.received.keys().chain(&self.received_before).copied().collect();
        ids.sort_unstable();
        ids.dedup();
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
        late: &mut Late,
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
            // Nobody waits for it, so an answer that comes later would find nothing to say.
            return match self.route(publish, wire, context)? {
                Verdict::Acknowledge(_, _, Answer::Later) => {
                    late.nothing();
                    Ok(())
                }
                _ => Ok(()),
            };
        };
        self.check_receive_maximum(id, wire, context)?;
        match publish.qos {
            QoS::ExactlyOnce => self.handle_exactly_once(id, publish, late, wire, context),
            _ => self.handle_at_least_once(id, publish, late, wire, context),
        }
    }

    fn handle_at_least_once(
        &mut self,
        id: NonZeroU16,
        publish: &Publish<'_>,
        late: &mut Late,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let puback = (PacketType::PubAck, id);
        // The same message once more: one PUBACK is enough, and a second one could be taken for that of another message.
        if publish.dup && self.unanswered.contains(&id) {
            return self.aliases.resolve(publish).map(drop);
        }
        if self.is_in_use(id, wire) {
            self.aliases.resolve(publish)?;
            let reason = ReasonCode::PacketIdentifierInUse;
            context.broker.note_dropped(reason.label());
            return late.ack(Answer::Now, puback, (reason, IDENTIFIER_IN_USE), wire, context.output);
        }
        match self.route(publish, wire, context)? {
            // [MQTT-4.3.2-4]
            Verdict::Acknowledge(reason, detail, answer) => {
                if answer == Answer::Later {
                    self.unanswered.insert(id);
                }
                late.ack(answer, puback, (reason, &detail), wire, context.output)
            }
            Verdict::Withhold => {
                self.leave_unacknowledged(context.now);
                Ok(())
            }
        }
    }

    /// Whether the client uses the identifier for a message that is not acknowledged or that it has not released ([MQTT-2.2.1-3]), in a
    /// version in which it can be told so. What an earlier connection left is not looked at: a client that has lost its state begins anew.
    pub(crate) fn is_in_use(&self, id: NonZeroU16, wire: &Wire) -> bool {
        wire.version == Version::V5 && (self.received.contains_key(&id) || self.unanswered.contains(&id))
    }

    fn handle_exactly_once(
        &mut self,
        id: NonZeroU16,
        publish: &Publish<'_>,
        late: &mut Late,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let pubrec = (PacketType::PubRec, id);
        let known = self.received.get(&id).copied();
        // [MQTT-4.3.3-10]: known until its PUBREL, it is acknowledged again and not published again.
        if known.is_some() || self.received_before.remove(&id) {
            self.aliases.resolve(publish)?;
            let answer = match known {
                // The one that is on its way answers this one too.
                Some(Receipt::Unanswered) => return Ok(()),
                Some(Receipt::Answered) => Answer::Now,
                Some(Receipt::Withheld) if !late.journal.is_durable() => return Ok(()),
                // Whether the disk has what was said of it is not known: what is said now stands behind that.
                Some(Receipt::Withheld) | None => {
                    late.journal.note(Step::Received(id), Saving::Awaited, context.broker)
                }
            };
            self.received.insert(id, receipt(answer));
            return late.ack(answer, pubrec, (ReasonCode::Success, ""), wire, context.output);
        }
        match self.route(publish, wire, context)? {
            // [MQTT-4.3.3-8]
            Verdict::Acknowledge(reason, detail, answer) => {
                // [MQTT-4.3.3-9]: after a failure the identifier is free.
                if !reason.is_failure() {
                    // With the message, so that the answer to that is the answer to both.
                    late.journal.note(Step::Received(id), Saving::Along, context.broker);
                    self.received.insert(id, receipt(answer));
                }
                late.ack(answer, pubrec, (reason, &detail), wire, context.output)
            }
            Verdict::Withhold => {
                self.leave_unacknowledged(context.now);
                Ok(())
            }
        }
    }

    /// PUBREL: the identifier is free again. That has to be kept before the client knows it, because its next message may have the same.
    pub(crate) fn handle_pubrel(
        &mut self,
        ack: &Ack<'_>,
        late: &mut Late,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let id = ack.packet_id;
        let known = self.received.remove(&id).is_some() | self.received_before.remove(&id);
        // [MQTT-4.3.3-11]
        let said = match known {
            true => (ReasonCode::Success, ""),
            false => (ReasonCode::PacketIdentifierNotFound, IDENTIFIER_NOT_FOUND),
        };
        // One that is not known may have been released a moment ago, by the connection before.
        let answer = late.journal.note(Step::Released(id), Saving::Awaited, context.broker);
        late.ack(answer, (PacketType::PubComp, id), said, wire, context.output)
    }

    /// PUBACK or PUBREC that had to wait: the message is where it has to be, or the disk does not keep it.
    pub(crate) fn acknowledge_late(
        &mut self,
        (packet, id): (PacketType, NonZeroU16),
        said: (ReasonCode, &str),
        refusal: Option<Refusal>,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let is_exactly_once = packet == PacketType::PubRec;
        if !is_exactly_once {
            self.unanswered.remove(&id);
        }
        let Some(refusal) = refusal else {
            self.note_receipt(id, is_exactly_once, Receipt::Answered);
            return wire.ack(packet, id, said.0, said.1, context.output);
        };
        // A failure would free the identifier of a QoS 2 message ([MQTT-4.3.3-9]), and its sender send it again under another one, although those
        // who need no disk have it, and the others may still get it when the disk has recovered. Unanswered it keeps its identifier.
        let verdict = match is_exactly_once {
            true => Verdict::Withhold,
            false => judge(refusal, QoS::AtLeastOnce, wire.version, self.denied)?,
        };
        match verdict {
            Verdict::Acknowledge(reason, detail, _) => wire.ack(packet, id, reason, &detail, context.output),
            Verdict::Withhold => {
                self.note_receipt(id, is_exactly_once, Receipt::Withheld);
                self.leave_unacknowledged(context.now);
                Ok(())
            }
        }
    }

    fn note_receipt(&mut self, id: NonZeroU16, is_exactly_once: bool, receipt: Receipt) {
        if let Some(before) = self.received.get_mut(&id).filter(|_| is_exactly_once) {
            *before = receipt;
        }
    }

    /// That the identifier was released is not kept: it is not free, and its PUBREL has to come again.
    pub(crate) fn withhold_pubcomp(&mut self, id: NonZeroU16, now: Instant) {
        self.received_before.insert(id);
        self.leave_unacknowledged(now);
    }

    /// [MQTT-3.3.4-7]: outstanding are QoS 2 messages that are not released, and QoS 1 messages that wait for the disk.
    fn check_receive_maximum(
        &self,
        id: NonZeroU16,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let outstanding = self.received.len() + self.unanswered.len();
        let is_full = outstanding >= usize::from(self.receive_maximum);
        if !is_full || self.is_in_use(id, wire) || wire.version < Version::V5 {
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
            Ok(published) => {
                let reason = match published.matched {
                    true => ReasonCode::Success,
                    // Section 3.4.2.1: a server that knows that nobody subscribes may say so.
                    false => ReasonCode::NoMatchingSubscribers,
                };
                Ok(Verdict::Acknowledge(reason, "".into(), published.answer))
            }
            Err(refusal) => judge(refusal, publish.qos, wire.version, self.denied),
        }
    }

    /// The client is left with a message, or with half of an exchange, that it has to begin again on another connection.
    pub(crate) fn leave_unacknowledged(&mut self, now: Instant) {
        self.unacknowledged_until.get_or_insert(now + UNACKNOWLEDGED_TIME);
    }
}

/// How far a QoS 2 message has come when its PUBREC is sent so.
fn receipt(answer: Answer) -> Receipt {
    match answer {
        Answer::Now => Receipt::Answered,
        Answer::Later => Receipt::Unanswered,
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
        _ => Ok(Verdict::Acknowledge(reason, NOT_TEXT.into(), Answer::Now)),
    }
}

/// What a refusal means in this version; see the head of this file.
fn judge(refusal: Refusal, qos: QoS, version: Version, denied: DeniedPublish) -> Result<Verdict, Close> {
    match (of_publish(refusal), version) {
        (Rejection::Fault(reason), _) => Err(fault(reason, refusal.to_string())),
        (Rejection::Lasting(reason) | Rejection::Passing(reason), Version::V5)
        | (Rejection::Denied(reason) | Rejection::Reserved(reason), Version::V5) => {
            Ok(Verdict::Acknowledge(reason, refusal.to_string().into(), Answer::Now))
        }
        (Rejection::Reserved(_), _) => Ok(Verdict::Acknowledge(ReasonCode::Success, "".into(), Answer::Now)),
        (Rejection::Denied(_), _) if denied == DeniedPublish::Acknowledge => {
            Ok(Verdict::Acknowledge(ReasonCode::Success, "".into(), Answer::Now))
        }
        (Rejection::Lasting(reason) | Rejection::Denied(reason), _) if qos > QoS::AtMostOnce => {
            Err(fault(reason, refusal.to_string()))
        }
        _ => Ok(Verdict::Withhold),
    }
}

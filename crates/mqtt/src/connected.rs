//! A connected client: which packet is handled where, keep alive, and the end.

use crate::CONSUMER;
use crate::codec::{
    Ack, Disconnect, Packet, PacketType, PropertiesRef, PropertyId, ReasonCode, SHORT_ACK_BYTES, decode,
    decode_message, decode_short_ack,
};
use crate::connect::{Opening, expiry_duration};
use crate::in_flight::Phase;
use crate::inbound::{IDENTIFIER_IN_USE, Inbound};
use crate::journal::Journal;
use crate::late::{Due, Late, Word};
use crate::options::MqttOptions;
use crate::outbound::Outbound;
use crate::reason::{fault, in_disconnect, last_word, undecodable};
use crate::reauthenticating::Reauthentication;
use crate::saved::Saved;
use crate::sending::Sending;
use crate::sent_aliases::SentAliases;
use crate::subscriptions::{
    acknowledge_late, handle_subscribe, handle_unsubscribe, refuse_subscribe, refuse_unsubscribe,
};
use crate::wire::Wire;
use std::time::{Duration, Instant};
use tidegate_protocol::{
    Authenticated, Broker, Close, CloseReason, Context, Delivery, Denial, Detach, Encoded, Output, Refusal,
    Refused, WillAction,
};

/// How a packet is answered whose identifier stands for something else.
const IN_USE: (ReasonCode, &str) = (ReasonCode::PacketIdentifierInUse, IDENTIFIER_IN_USE);

/// A client with its session.
#[derive(Debug)]
pub(crate) struct Connected {
    wire: Wire,
    client_id: Box<str>,
    inbound: Inbound,
    outbound: Outbound,
    late: Late,
    /// The topic aliases that the client allows; most allow none.
    sent_aliases: Option<Box<SentAliases>>,
    /// Only for a client that began with an authentication method.
    reauthentication: Option<Box<Reauthentication>>,
    /// The longest silence that the client may keep.
    silence_max: Option<Duration>,
    last_received: Instant,
    /// Whether CONNACK was sent; before that a server may not send DISCONNECT ([MQTT-3.14.0-1]).
    is_greeted: bool,
    ends_with_connection: bool,
    will: WillAction,
    expiry_at_end: Option<Duration>,
}

impl Connected {
    /// The phase behind an opening whose CONNACK was sent, or could not be.
    pub(crate) fn new(
        opening: Opening,
        options: &MqttOptions,
        is_durable: bool,
        is_greeted: bool,
        now: Instant,
    ) -> Connected {
        Connected {
            wire: opening.wire,
            silence_max: opening.silence_max(),
            ends_with_connection: opening.ends_with_connection(),
            client_id: opening.client_id,
            inbound: Inbound::new(options),
            outbound: Outbound::new(options.in_flight_max(), is_durable, options.ack_time(), now),
            late: Late::new(Journal::new(is_durable)),
            sent_aliases: SentAliases::new(opening.topic_alias_max),
            reauthentication: opening.method.map(Reauthentication::by),
            last_received: now,
            is_greeted,
            // [MQTT-3.1.2-8]
            will: WillAction::Publish,
            expiry_at_end: None,
        }
    }

    /// Takes up what an earlier connection left, behind the CONNACK.
    pub(crate) fn resume(&mut self, saved: &Saved, context: &mut Context<'_>) -> Result<(), Close> {
        self.inbound.resume(&saved.received);
        self.outbound.resume(saved, &self.wire, context)?;
        self.begin_journal_anew(context.broker);
        Ok(())
    }

    /// Handles every complete packet and returns how many bytes they took.
    pub(crate) fn handle_bytes(
        &mut self,
        input: &[u8],
        packet_bytes_max: usize,
        context: &mut Context<'_>,
    ) -> Result<usize, Close> {
        self.outbound.settle_owed(context.broker);
        let mut taken = 0;
        // Most reads end with a packet: nothing has to be found out about an empty rest.
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.reauthentication.as_ref().is_some_and(|proof| proof.is_waiting()) {
                break;
            }
            let Some(length) = self.handle_first(rest, packet_bytes_max, context)? else { break };
            taken += length;
            self.last_received = context.now;
            if self.late.journal.is_long() {
                self.begin_journal_anew(context.broker);
            }
        }
        Ok(taken)
    }

    /// Handles the packet at the front and returns how many bytes it took; nothing where it is not complete. The frequent packets go
    /// a shorter way than through a [`Packet`].
    #[inline]
    fn handle_first(
        &mut self,
        input: &[u8],
        packet_bytes_max: usize,
        context: &mut Context<'_>,
    ) -> Result<Option<usize>, Close> {
        if let Some((packet, packet_id)) =
            decode_short_ack(input).filter(|_| SHORT_ACK_BYTES <= packet_bytes_max)
        {
            let ack = Ack { packet_id, reason: ReasonCode::Success, properties: PropertiesRef::EMPTY };
            self.handle_ack(packet, &ack, context)?;
            return Ok(Some(SHORT_ACK_BYTES));
        }
        let version = self.wire.version;
        if let Some((publish, length)) =
            decode_message(input, version, packet_bytes_max).map_err(undecodable)?
        {
            self.inbound.handle_publish(&publish, &mut self.late, &self.wire, context)?;
            return Ok(Some(length));
        }
        match decode(input, version, packet_bytes_max).map_err(undecodable)? {
            Some((packet, length)) => self.handle_packet(&packet, context).map(|()| Some(length)),
            None => Ok(None),
        }
    }

    fn handle_ack(
        &mut self,
        packet: PacketType,
        ack: &Ack<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let (late, wire) = (&mut self.late, &self.wire);
        match packet {
            PacketType::PubRec => self.outbound.handle_pubrec(ack, late, wire, context),
            PacketType::PubRel => self.inbound.handle_pubrel(ack, late, wire, context),
            PacketType::PubComp => self.outbound.handle_pubcomp(ack, late, context),
            _ => self.outbound.handle_puback(ack, late, context),
        }
    }

    fn handle_packet(&mut self, packet: &Packet<'_>, context: &mut Context<'_>) -> Result<(), Close> {
        match packet {
            Packet::Publish(publish) => {
                self.inbound.handle_publish(publish, &mut self.late, &self.wire, context)
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
                self.handle_ack(packet.packet_type(), ack, context)
            }
            Packet::Subscribe(subscribe) if self.inbound.is_in_use(subscribe.packet_id, &self.wire) => {
                refuse_subscribe(subscribe, IN_USE, &self.wire, context)
            }
            Packet::Unsubscribe(unsubscribe) if self.inbound.is_in_use(unsubscribe.packet_id, &self.wire) => {
                refuse_unsubscribe(unsubscribe, IN_USE, &self.wire, context)
            }
            Packet::Subscribe(subscribe) => handle_subscribe(subscribe, &mut self.late, &self.wire, context),
            Packet::Unsubscribe(unsubscribe) => handle_unsubscribe(unsubscribe, &self.wire, context),
            // [MQTT-3.12.4-1]
            Packet::PingReq => {
                self.wire.pingresp(context.output);
                Ok(())
            }
            Packet::Disconnect(disconnect) => Err(self.leave(disconnect)),
            // [MQTT-3.1.0-2]
            Packet::Connect(_) => Err(fault(ReasonCode::ProtocolError, "a second CONNECT")),
            Packet::Auth(auth) => match &mut self.reauthentication {
                Some(proof) => proof.handle_auth(auth, &self.client_id, &self.wire, context),
                // [MQTT-4.12.0-7]
                None => Err(fault(ReasonCode::ProtocolError, "AUTH without an authentication method")),
            },
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                let detail = format!("only a server sends {}", packet.packet_type());
                Err(fault(ReasonCode::ProtocolError, detail))
            }
        }
    }

    /// The broker's late answer to an AUTH.
    pub(crate) fn handle_authenticated(
        &mut self,
        answer: Result<Authenticated, Denial>,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        match &mut self.reauthentication {
            Some(proof) => proof.handle_answer(answer, &self.wire, context),
            None => Ok(()),
        }
    }

    /// How many acknowledgements wait.
    pub(crate) fn held_back(&self) -> usize {
        self.late.len()
    }

    /// What became of the oldest request that waits: whatever may be said now is said.
    pub(crate) fn handle_answer(
        &mut self,
        answer: Result<(), Refusal>,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        self.late.note_answer(answer);
        while let Some(due) = self.late.next() {
            self.say_late(due, context)?;
        }
        Ok(())
    }

    fn say_late(&mut self, Due { word, refusal }: Due, context: &mut Context<'_>) -> Result<(), Close> {
        let wire = &self.wire;
        let (packet, id, reason, detail) = match word {
            Word::Nothing => return Ok(()),
            Word::SubAck(suback) => return acknowledge_late(&suback, &self.late, wire, context),
            Word::Ack { packet, id, reason, detail } => (packet, id, reason, detail),
        };
        match (packet, refusal) {
            (PacketType::PubRel, None) if reason == ReasonCode::Success => {
                self.outbound.release(id, wire, context)
            }
            (PacketType::PubRel | PacketType::PubComp, None) => {
                wire.ack(packet, id, reason, &detail, context.output)
            }
            (PacketType::PubComp, Some(_)) => {
                self.inbound.withhold_pubcomp(id, context.now);
                Ok(())
            }
            // The message is sent again on the next connection, and then the client says again that it has it.
            (PacketType::PubRel, Some(_)) => {
                self.inbound.leave_unacknowledged(context.now);
                Ok(())
            }
            _ => {
                let said = (reason, &*detail);
                self.inbound.acknowledge_late((packet, id), said, refusal, wire, context)
            }
        }
    }

    /// Writes what must not be forgotten as a whole.
    fn begin_journal_anew(&mut self, broker: &mut dyn Broker) {
        if self.late.journal.is_durable() {
            let mut sent = self.outbound.in_flight();
            sent.retain(|(_, entry)| entry.phase != Phase::Unacknowledged);
            let saved = Saved { sent, received: self.inbound.unreleased(), is_interrupted: true };
            self.late.journal.begin_anew(&saved, broker);
        }
    }

    /// DISCONNECT: what the client wants done with its will and its session.
    fn leave(&mut self, disconnect: &Disconnect<'_>) -> Close {
        // Section 3.14.2.2.5: where else to go is for a server to say.
        if disconnect.properties.contains(PropertyId::ServerReference) {
            return fault(ReasonCode::ProtocolError, "the client's DISCONNECT has a server reference");
        }
        if let Some(seconds) = disconnect.properties.session_expiry_interval() {
            // Section 3.14.2.2.2: a session that was to end with its connection cannot be kept now.
            if self.ends_with_connection && seconds > 0 {
                return fault(ReasonCode::ProtocolError, "the session expiry interval was 0 in CONNECT");
            }
            self.expiry_at_end = Some(expiry_duration(seconds));
        }
        // [MQTT-3.14.4-3], in all versions. Any other reason wants the will (section 3.14.2.1).
        if disconnect.reason == ReasonCode::Success {
            self.will = WillAction::Discard;
        }
        CloseReason::Disconnected.into()
    }

    pub(crate) fn handle_delivery(
        &mut self,
        delivery: &Delivery<'_>,
        encoded: &mut Encoded,
        output: &mut Output,
    ) -> Result<(), Refused> {
        let aliases = self.sent_aliases.as_deref_mut();
        self.outbound.handle_delivery(&mut Sending { delivery, wire: &self.wire, encoded, output, aliases })
    }

    /// Something of the client is there that is not handled yet: a packet, perhaps an acknowledgement.
    pub(crate) fn handle_sign_of_life(&mut self, at: Instant) {
        self.last_received = self.last_received.max(at);
        self.outbound.excuse(at);
    }

    pub(crate) fn handle_timeout(&mut self, context: &mut Context<'_>) -> Result<(), Close> {
        self.outbound.settle_owed(context.broker);
        // [MQTT-3.1.2-22]
        if self.silence_deadline().is_some_and(|deadline| context.now >= deadline) {
            let seconds = self.silence_max.unwrap_or_default().as_secs_f32();
            return Err(Close::new(
                CloseReason::KeepAliveTimeout,
                format!("nothing was received for {seconds} s"),
            ));
        }
        if self.inbound.deadline().is_some_and(|deadline| context.now >= deadline) {
            return Err(fault(ReasonCode::QuotaExceeded, "a message was refused and could not be answered"));
        }
        self.outbound.check_ack_timeout(context.now)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if self.outbound.owes() {
            // A moment that has passed: the next turn settles.
            return Some(self.last_received);
        }
        let deadlines = [self.silence_deadline(), self.inbound.deadline(), self.outbound.deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn silence_deadline(&self) -> Option<Instant> {
        self.silence_max.map(|silence| self.last_received + silence)
    }

    /// Says goodbye where a word is due, and gives the session up.
    pub(crate) fn handle_close(mut self, close: &Close, context: &mut Context<'_>) {
        self.outbound.settle_owed(context.broker);
        if let Some(reason) = last_word(close.reason).filter(|_| self.is_greeted) {
            self.wire.disconnect(in_disconnect(reason), &close.detail, context.output);
        }
        let (sent, received) = (self.outbound.in_flight(), self.inbound.unreleased());
        let saved = Saved { sent, received, is_interrupted: false };
        context.broker.detach(Detach {
            consumer: CONSUMER,
            will: self.will,
            expiry: self.expiry_at_end,
            saved: saved.to_bytes(self.late.journal.is_durable()),
        });
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }
}

//! Messages to the client: packet identifiers, acknowledgements, and what an earlier connection left behind.
//!
//! A delivery is settled when its exchange is over: at PUBACK, at PUBCOMP, or at a PUBREC that refuses. Not already at a PUBREC that
//! accepts, although the message itself is no longer needed then: settling gives credit back, and a QoS 2 message counts
//! against the client's receive maximum until its PUBCOMP ([MQTT-3.3.4-9]).
//!
//! # A resumed session
//!
//! The broker delivers again what was not settled, under the same tags. A tag that the saved state knows gets its old packet
//! identifier and DUP ([MQTT-4.4.0-1]); one whose PUBREC had come is not sent at all, because its PUBREL has just been repeated.
//!
//! As long as the process lasts what comes again comes first. After its end it comes in the order of the store's numbers, which is not
//! quite the one of delivery: something that was never sent may be in front of it, and the broker may not know that it was sent. So in a
//! session that outlives the process the tag alone tells.

use crate::CONSUMER;
use crate::ack_timeout::{AckTimeout, SentAt};
use crate::codec::{Ack, PacketType, ReasonCode};
use crate::identifiers::Identifiers;
use crate::in_flight::{Entry, Phase};
use crate::journal::Step;
use crate::late::Late;
use crate::reason::fault;
use crate::saved::Saved;
use crate::sending::{Exchange, Sending};
use crate::wire::Wire;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};
use tidegate_message::QoS;
use tidegate_protocol::{Answer, Broker, Close, Context, DeliveryTag, Outcome, Refused, Saving};

/// What a client is told that acknowledges what is not in flight.
const UNKNOWN_IDENTIFIER: &str = "no message with this packet identifier is in flight";

/// So many numbers behind a new message nothing comes again any more: no two messages are numbered and delivered in orders that differ as
/// much.
const GONE_BEHIND: u64 = 1 << 15;

/// What is to be thought of deliveries of a session whose last connection was ended by the end of the process. What that connection had
/// sent was not written down, and what comes again is told by its tag alone: the store gives none twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    /// There was no such end.
    None,
    /// What comes again may have been sent.
    Again,
    /// Nothing comes again any more.
    Over,
}

/// The sending half of a connection.
#[derive(Debug)]
pub(crate) struct Outbound {
    in_flight: Identifiers,
    /// Tags of the saved state that have not been delivered again, ascending; with their identifier while it is in flight.
    resumed: VecDeque<(DeliveryTag, Option<NonZeroU16>)>,
    recovery: Recovery,
    /// Deliveries that needed nothing from the client, to be settled in the next turn.
    owed: Vec<DeliveryTag>,
    /// How long the client may take for an acknowledgement, where the listener says so.
    ack_timeout: Option<Box<AckTimeout>>,
}

impl Outbound {
    /// The half of a connection that may have so many messages unacknowledged, each for so long.
    pub(crate) fn new(
        window: u16,
        is_durable: bool,
        ack_timeout: Option<Duration>,
        now: Instant,
    ) -> Outbound {
        Outbound {
            in_flight: Identifiers::new(window, is_durable),
            resumed: VecDeque::new(),
            recovery: Recovery::None,
            owed: Vec::new(),
            ack_timeout: ack_timeout.map(|allowed| Box::new(AckTimeout::new(allowed, now))),
        }
    }

    /// Takes up the exchanges of an earlier connection and repeats each PUBREL ([MQTT-4.4.0-1]).
    pub(crate) fn resume(
        &mut self,
        saved: &Saved,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        if saved.is_interrupted {
            self.recovery = Recovery::Again;
        }
        for (id, entry) in &saved.sent {
            let is_released = matches!(entry.phase, Phase::Uncompleted | Phase::Orphaned);
            let sent_at = if is_released { self.sent_now(context.now) } else { SentAt::NOT_YET };
            if self.in_flight.restore(*id, Entry { sent_at, ..*entry }) {
                if entry.phase != Phase::Orphaned {
                    self.resumed.push_back((entry.tag, Some(*id)));
                }
                if is_released {
                    wire.ack(PacketType::PubRel, *id, ReasonCode::Success, "", context.output)?;
                }
            }
        }
        self.resumed.make_contiguous().sort_unstable();
        Ok(())
    }

    /// What is in flight, oldest identifier first.
    pub(crate) fn in_flight(&self) -> Vec<(NonZeroU16, Entry)> {
        self.in_flight.entries()
    }

    /// Writes one delivery.
    #[inline]
    pub(crate) fn handle_delivery(&mut self, sending: &mut Sending<'_>) -> Result<(), Refused> {
        match (sending.delivery.qos, sending.delivery.tag) {
            (QoS::AtMostOnce, None) => sending.write(Exchange::None),
            (QoS::AtMostOnce, Some(tag)) => {
                sending.write(Exchange::None)?;
                self.owed.push(tag);
                Ok(())
            }
            (_, Some(tag)) if self.resumed.is_empty() && self.recovery != Recovery::Again => {
                self.send(tag, sending, Exchange::First)
            }
            (_, Some(tag)) => self.send_again(tag, sending),
            // Without a tag the acknowledgement would have nobody to go to.
            (_, None) => Err(Refused::NotExpressible),
        }
    }

    /// Sends a message under a new packet identifier.
    #[inline]
    fn send(
        &mut self,
        tag: DeliveryTag,
        sending: &mut Sending<'_>,
        exchange: impl Fn(NonZeroU16) -> Exchange,
    ) -> Result<(), Refused> {
        let sent_at = self.sent_now(sending.delivery.now);
        let entry = Entry { tag, phase: phase_of(sending.delivery.qos), sent_at };
        let id = self.in_flight.insert(entry).ok_or(Refused::NoIdentifierFree)?;
        let outcome = sending.write(exchange(id));
        if outcome.is_err() {
            self.in_flight.remove(id);
        }
        outcome
    }

    /// Sends a message while some of an earlier connection may come again.
    fn send_again(&mut self, tag: DeliveryTag, sending: &mut Sending<'_>) -> Result<(), Refused> {
        let known = self.resumed.binary_search_by_key(&tag, |(known, _)| *known).ok();
        let is_new = !sending.delivery.redelivered && (known.is_none() || !self.in_flight.are_by_tag());
        if is_new && self.recovery == Recovery::None {
            // Its tag is new as well, even where a message that vanished had the same.
            self.send(tag, sending, Exchange::First)?;
            self.abandon_before(tag, sending);
            return Ok(());
        }
        if !sending.delivery.redelivered && self.recovery == Recovery::Again {
            self.recovery = Recovery::Over;
        }
        let Some(at) = known else {
            // Under its tag's identifier, which the client may know it by.
            let is_again = self.recovery == Recovery::Again;
            return match is_again {
                true => self.send(tag, sending, Exchange::Again),
                false => self.send(tag, sending, Exchange::First),
            };
        };
        match self.resumed.remove(at) {
            Some((_, Some(id))) => self.send_under(id, sending),
            // Acknowledged before it came again.
            _ => {
                self.owed.push(tag);
                Ok(())
            }
        }
    }

    /// Sends a message again under the identifier that the client may know it by.
    fn send_under(&mut self, id: NonZeroU16, sending: &mut Sending<'_>) -> Result<(), Refused> {
        let sent_at = self.sent_now(sending.delivery.now);
        match self.in_flight.get_mut(id) {
            Some(entry) if entry.phase == Phase::Uncompleted => Ok(()),
            Some(entry) => {
                let (before, outcome) = (entry.phase, sending.write(Exchange::Again(id)));
                (entry.phase, entry.sent_at) = match outcome {
                    Ok(()) => (phase_of(sending.delivery.qos), sent_at),
                    // The client may remember the identifier, and would take the next message under it for a duplicate. A refused
                    // delivery writes nothing, so its PUBREL comes with the next connection.
                    Err(_) => (Phase::Orphaned, SentAt::NOT_YET),
                };
                if outcome.is_err() && before == Phase::Unacknowledged {
                    self.in_flight.remove(id);
                }
                outcome
            }
            None => Err(Refused::NotExpressible),
        }
    }

    /// Gives up what has not come again although this new message comes: the broker has dropped it.
    ///
    /// QoS 1 identifiers are free. A QoS 2 identifier may still be remembered by the client, which would take the next
    /// message under it for a duplicate: PUBREL ends that exchange first.
    fn abandon_before(&mut self, new: DeliveryTag, sending: &mut Sending<'_>) {
        let sent_at = self.sent_now(sending.delivery.now);
        let gone = match self.in_flight.are_by_tag() {
            true => self.resumed.partition_point(|(known, _)| known.0.saturating_add(GONE_BEHIND) < new.0),
            false => self.resumed.len(),
        };
        for (_, id) in self.resumed.drain(..gone) {
            let Some(id) = id else { continue };
            match self.in_flight.get_mut(id) {
                Some(entry) if entry.phase == Phase::Unacknowledged => drop(self.in_flight.remove(id)),
                Some(entry) => {
                    if entry.phase == Phase::Unreceived {
                        // Four bytes, which every client takes that took its CONNACK.
                        let (release, output) = (PacketType::PubRel, &mut *sending.output);
                        let _ = sending.wire.ack(release, id, ReasonCode::Success, "", output);
                        entry.sent_at = sent_at;
                    }
                    entry.phase = Phase::Orphaned;
                }
                None => {}
            }
        }
    }

    /// PUBACK: the end of a QoS 1 exchange. An unknown one is a late echo of an earlier connection and means nothing.
    pub(crate) fn handle_puback(
        &mut self,
        ack: &Ack<'_>,
        late: &mut Late,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        match self.phase(ack.packet_id) {
            Some(Phase::Unacknowledged) => {
                self.finish(ack.packet_id, outcome_of(ack.reason), late, context.broker);
                Ok(())
            }
            Some(_) => Err(wrong_acknowledgement(PacketType::PubAck, ack.packet_id)),
            None => Ok(()),
        }
    }

    /// PUBREC: the client has a QoS 2 message, or does not want it.
    pub(crate) fn handle_pubrec(
        &mut self,
        ack: &Ack<'_>,
        late: &mut Late,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let (id, sent_at) = (ack.packet_id, self.sent_now(context.now));
        let (release, success) = ((PacketType::PubRel, id), (ReasonCode::Success, ""));
        match self.in_flight.get_mut(id) {
            Some(entry) if entry.phase == Phase::Unacknowledged => {
                Err(wrong_acknowledgement(PacketType::PubRec, id))
            }
            // [MQTT-4.3.3-4]: a refusal ends the exchange without PUBREL.
            Some(_) if ack.reason.is_failure() => {
                self.finish(id, Outcome::Rejected, late, context.broker);
                Ok(())
            }
            // Its PUBREL is on its way.
            Some(Entry { phase: Phase::Received, .. }) => Ok(()),
            Some(entry) if entry.phase == Phase::Unreceived && late.journal.is_durable() => {
                (entry.phase, entry.sent_at) = (Phase::Received, SentAt::NOT_YET);
                let step = Step::Arrived(id, entry.tag);
                match late.journal.note(step, Saving::Awaited, context.broker) {
                    Answer::Now => self.release(id, wire, context),
                    Answer::Later => late.ack(Answer::Later, release, success, wire, context.output),
                }
            }
            // [MQTT-4.3.3-4] [MQTT-4.3.3-5]
            Some(entry) => {
                if entry.phase == Phase::Unreceived {
                    (entry.phase, entry.sent_at) = (Phase::Uncompleted, sent_at);
                }
                late.ack(Answer::Now, release, success, wire, context.output)
            }
            None if ack.reason.is_failure() => Ok(()),
            // Section 3.6.2.1: the client is told that there is no such message, and can end its side of it.
            None => {
                let unknown = (ReasonCode::PacketIdentifierNotFound, UNKNOWN_IDENTIFIER);
                late.ack(Answer::Now, release, unknown, wire, context.output)
            }
        }
    }

    /// PUBREL, now that nobody will forget that the client has the message. One whose exchange has ended meanwhile is not repeated.
    pub(crate) fn release(
        &mut self,
        id: NonZeroU16,
        wire: &Wire,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        let sent_at = self.sent_now(context.now);
        let Some(entry) = self.in_flight.get_mut(id) else { return Ok(()) };
        if entry.phase == Phase::Received {
            (entry.phase, entry.sent_at) = (Phase::Uncompleted, sent_at);
        }
        wire.ack(PacketType::PubRel, id, ReasonCode::Success, "", context.output)
    }

    /// PUBCOMP: the end of a QoS 2 exchange. An unknown one answers a PUBREL for an unknown identifier.
    pub(crate) fn handle_pubcomp(
        &mut self,
        ack: &Ack<'_>,
        late: &mut Late,
        context: &mut Context<'_>,
    ) -> Result<(), Close> {
        match self.phase(ack.packet_id) {
            Some(Phase::Uncompleted | Phase::Orphaned) => {
                self.finish(ack.packet_id, Outcome::Accepted, late, context.broker);
                Ok(())
            }
            Some(_) => Err(wrong_acknowledgement(PacketType::PubComp, ack.packet_id)),
            None => Ok(()),
        }
    }

    fn phase(&mut self, id: NonZeroU16) -> Option<Phase> {
        self.in_flight.get_mut(id).map(|entry| entry.phase)
    }

    /// Frees the identifier and settles its delivery, also one that has not come again yet: the broker lets that not come at all. One
    /// that comes nevertheless is settled once more.
    fn finish(&mut self, id: NonZeroU16, outcome: Outcome, late: &mut Late, broker: &mut dyn Broker) {
        let Some(entry) = self.in_flight.remove(id) else { return };
        if entry.phase != Phase::Unacknowledged {
            // With what is settled here: nobody waits for it, and the identifier is not used again for long.
            late.journal.note(Step::Ended(id), Saving::Along, broker);
        }
        if entry.phase == Phase::Orphaned {
            return;
        }
        if !self.resumed.is_empty()
            && let Ok(at) = self.resumed.binary_search_by_key(&entry.tag, |(tag, _)| *tag)
            && let Some((_, id)) = self.resumed.get_mut(at)
        {
            *id = None;
        }
        broker.settle(CONSUMER, entry.tag, outcome);
    }

    /// When [`Outbound::check_ack_timeout`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ack_timeout.as_ref()?.deadline()
    }

    /// At this moment something of the client waited to be read.
    pub(crate) fn excuse(&mut self, at: Instant) {
        if let Some(timeout) = &mut self.ack_timeout {
            timeout.excuse(at);
        }
    }

    /// Ends the connection of a client that left a message unacknowledged for too long.
    pub(crate) fn check_ack_timeout(&mut self, now: Instant) -> Result<(), Close> {
        match &mut self.ack_timeout {
            Some(timeout) => timeout.check(&self.in_flight, now),
            None => Ok(()),
        }
    }

    /// A packet that the client has to answer is sent.
    #[inline]
    fn sent_now(&mut self, now: Instant) -> SentAt {
        self.ack_timeout.as_mut().map_or(SentAt::NOT_YET, |timeout| timeout.note_sent(now))
    }

    /// Whether deliveries wait to be settled.
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Settles the deliveries that needed nothing from the client.
    pub(crate) fn settle_owed(&mut self, broker: &mut dyn Broker) {
        for tag in self.owed.drain(..) {
            broker.settle(CONSUMER, tag, Outcome::Accepted);
        }
    }
}

fn phase_of(qos: QoS) -> Phase {
    match qos {
        QoS::ExactlyOnce => Phase::Unreceived,
        _ => Phase::Unacknowledged,
    }
}

fn outcome_of(reason: ReasonCode) -> Outcome {
    match reason.is_failure() {
        true => Outcome::Rejected,
        false => Outcome::Accepted,
    }
}

fn wrong_acknowledgement(packet: PacketType, id: NonZeroU16) -> Close {
    fault(ReasonCode::ProtocolError, format!("{packet} is not what packet identifier {id} waits for"))
}

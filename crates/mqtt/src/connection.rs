//! One client's connection from its first byte to its last: the phases, and who handles what in each.
//!
//! ```text
//!                            CONNECT, known and attached at once
//!                 ┌─────────────────────────────────────────────────────────┐
//! ┌───────────────┴─┐ CONNECT  ┌────────────────┐ known  ┌───────────┐ reply▼┌───────────┐
//! │ AwaitingConnect ├─────────►│ Authenticating ├───────►│ Attaching ├──────►│ Connected ├──┐ every other packet
//! └───────┬─────────┘          └──┬────┬──▲─────┘        └─────┬─────┘CONNACK└───┬─────┬─┘◄─┘
//!         │                       │    └──┘ AUTH               │                 │     │
//!         │ fault, deadline       │ denied, fault, deadline    │ refused, deadl. │     │ fault, DISCONNECT, keep alive,
//!         ▼                       ▼                            ▼                 ▼     ▼ the driver
//!         ──────────────────────────────────► Closed ◄──────────────────────────────────
//!                     (CONNACK with a failure)      (DISCONNECT, detach)
//! ```
//!
//! An error never writes anything where it occurs: it travels up as a [`Close`], and `handle_close`, the one way out of
//! every phase, says the last words for it and detaches.

use crate::authenticating::{Candidate, Stage, evidence};
use crate::codec::{Connect, DecodeError, Packet, ReasonCode, Version, decode, frame_length};
use crate::connect::{Door, Opening};
use crate::connected::Connected;
use crate::reason::{fault, in_connack, last_word, undecodable};
use crate::wire::Wire;
use std::time::Instant;
use tidegate_protocol::{
    Attachment, Close, CloseReason, Connection, Context, Delivery, Encoded, Output, Refusal, Refused, Reply,
};

/// The first byte of every CONNECT.
const CONNECT_FIRST_BYTE: u8 = 0x10;

/// The machine behind one connection.
pub(crate) struct MqttConnection {
    door: Door,
    phase: Phase,
    bytes_wanted: usize,
}

/// Where the connection stands, with what it needs there.
enum Phase {
    /// Nothing has been accepted. The wire is known when a CONNECT has been looked at and refused.
    AwaitingConnect(Option<Wire>),
    /// Who the client is has to be found out: by its next AUTH, or by a reply of the broker.
    Authenticating(Box<Candidate>),
    /// The broker owes the session.
    Attaching(Box<Opening>),
    /// The session is attached and CONNACK is sent.
    Connected(Box<Connected>),
    /// Over; nothing is handled any more.
    Closed,
}

impl MqttConnection {
    pub(crate) fn new(door: Door) -> MqttConnection {
        MqttConnection { door, phase: Phase::AwaitingConnect(None), bytes_wanted: 1 }
    }

    /// Handles the CONNECT at the front of `input`; nothing where it is not complete.
    fn handle_connect(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<Option<usize>, Close> {
        // [MQTT-3.1.0-1]
        if input.first().is_some_and(|byte| *byte != CONNECT_FIRST_BYTE) {
            return Err(fault(ReasonCode::ProtocolError, "the first packet is not CONNECT"));
        }
        match decode(input, Version::V5, self.door.options.connect_packet_limit()) {
            Ok(None) => Ok(None),
            Ok(Some((Packet::Connect(connect), length))) => {
                self.accept(&connect, context).map(|()| Some(length))
            }
            Ok(Some(_)) => Err(fault(ReasonCode::ProtocolError, "the first packet is not CONNECT")),
            Err(error) => {
                self.phase = Phase::AwaitingConnect(answer_to_undecodable(error, input));
                Err(undecodable(error))
            }
        }
    }

    /// Asks who the client is that sent a CONNECT.
    fn accept(&mut self, connect: &Connect<'_>, context: &mut Context<'_>) -> Result<(), Close> {
        self.phase = Phase::AwaitingConnect(Some(Wire::of(connect)));
        let stage = self.door.read(connect)?.ask(evidence(connect), context)?;
        self.enter(stage, context)
    }

    /// Handles an AUTH at the front of `input`, and returns how many bytes it took.
    fn handle_auth(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<usize, Close> {
        let Some(candidate) = self.take_candidate() else { return Ok(0) };
        let (stage, taken) =
            candidate.handle_bytes(input, self.door.options.connect_packet_limit(), context)?;
        self.enter(stage, context).map(|()| taken)
    }

    /// Takes the client out of its phase, and leaves behind how to refuse it.
    fn take_candidate(&mut self) -> Option<Candidate> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Authenticating(candidate) => {
                self.phase = Phase::AwaitingConnect(Some(candidate.opening.wire));
                Some(*candidate)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Enters the phase that follows a step of the authentication.
    fn enter(&mut self, stage: Stage, context: &mut Context<'_>) -> Result<(), Close> {
        let (opening, attachment) = match stage {
            Stage::Awaiting(candidate) => {
                self.phase = Phase::Authenticating(Box::new(candidate));
                return Ok(());
            }
            Stage::Attaching(opening, attachment) => (opening, attachment),
        };
        match attachment {
            Attachment::Now(attached) => {
                let connected = opening.complete(attached, &self.door.options, context);
                self.connect(connected)
            }
            Attachment::Later => {
                self.phase = Phase::Attaching(Box::new(opening));
                Ok(())
            }
            Attachment::Refused(refusal) => {
                Err(fault(crate::reason::of_attach(refusal), refusal.to_string()))
            }
        }
    }

    /// Enters the connected phase, also where the CONNACK could not be sent: the session is attached and has to be detached.
    fn connect(&mut self, (connected, outcome): (Connected, Result<(), Close>)) -> Result<(), Close> {
        self.phase = Phase::Connected(Box::new(connected));
        outcome
    }

    /// The last words to a client that has not got its CONNACK.
    fn refuse(wire: &Wire, close: &Close, output: &mut Output) {
        // [MQTT-3.2.2-7]
        if let Some(reason) = last_word(close.reason) {
            wire.refuse(in_connack(reason), &close.detail, output);
        }
    }
}

impl Connection for MqttConnection {
    fn handle_bytes(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<usize, Close> {
        let mut taken = 0;
        if let Phase::AwaitingConnect(_) = self.phase {
            taken = self.handle_connect(input, context)?.unwrap_or(0);
        }
        while let Phase::Authenticating(_) = &self.phase {
            let rest = input.get(taken..).unwrap_or_default();
            match self.handle_auth(rest, context)? {
                0 => break,
                more => taken += more,
            }
        }
        if let Phase::Connected(connected) = &mut self.phase {
            let rest = input.get(taken..).unwrap_or_default();
            taken += connected.handle_bytes(rest, self.door.options.packet_limit(), context)?;
        }
        let rest = input.get(taken..).unwrap_or_default();
        // Without a fixed header, one more byte; a broken header is found by the next call.
        let known = frame_length(rest).ok().flatten();
        self.bytes_wanted = known.unwrap_or(rest.len() + 1);
        Ok(taken)
    }

    fn bytes_wanted(&self) -> usize {
        self.bytes_wanted
    }

    fn handle_reply(&mut self, reply: Reply, context: &mut Context<'_>) -> Result<(), Close> {
        let reply = match reply {
            Reply::Attached(_, answer) => answer,
            Reply::Authenticated(answer) => {
                if let Phase::Connected(connected) = &mut self.phase {
                    return connected.handle_authenticated(answer, context);
                }
                let Some(candidate) = self.take_candidate() else { return Ok(()) };
                let authenticated = answer.map_err(crate::reason::of_denial)?;
                let stage = candidate.proceed(authenticated, context)?;
                return self.enter(stage, context);
            }
        };
        let opening = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Attaching(opening) => opening,
            other => {
                self.phase = other;
                return Ok(());
            }
        };
        match reply {
            Ok(attached) => {
                let connected = opening.complete(attached, &self.door.options, context);
                self.connect(connected)
            }
            Err(refusal) => {
                self.phase = Phase::AwaitingConnect(Some(opening.wire));
                Err(fault(crate::reason::of_attach(refusal), refusal.to_string()))
            }
        }
    }

    fn handle_answer(&mut self, answer: Result<(), Refusal>, context: &mut Context<'_>) -> Result<(), Close> {
        match &mut self.phase {
            Phase::Connected(connected) => connected.handle_answer(answer, context),
            _ => Ok(()),
        }
    }

    fn held_back(&self) -> usize {
        match &self.phase {
            Phase::Connected(connected) => connected.held_back(),
            _ => 0,
        }
    }

    fn handle_delivery(
        &mut self,
        delivery: &Delivery<'_>,
        encoded: &mut Encoded,
        output: &mut Output,
    ) -> Result<(), Refused> {
        match &mut self.phase {
            Phase::Connected(connected) => connected.handle_delivery(delivery, encoded, output),
            _ => Err(Refused::NotExpressible),
        }
    }

    /// The deadline of the opening does not move: a client that has all that time is not silent but slow.
    fn handle_sign_of_life(&mut self, at: Instant) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.handle_sign_of_life(at);
        }
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) -> Result<(), Close> {
        match &mut self.phase {
            Phase::Connected(connected) => connected.handle_timeout(context),
            Phase::AwaitingConnect(_) | Phase::Authenticating(_) | Phase::Attaching(_)
                if context.now >= self.door.deadline =>
            {
                Err(Close::new(CloseReason::ConnectTimeout, "no complete CONNECT in time"))
            }
            _ => Ok(()),
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::AwaitingConnect(_) | Phase::Authenticating(_) | Phase::Attaching(_) => {
                Some(self.door.deadline)
            }
            Phase::Connected(connected) => connected.next_timeout(),
            Phase::Closed => None,
        }
    }

    fn handle_close(&mut self, close: &Close, context: &mut Context<'_>) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::AwaitingConnect(Some(wire)) => MqttConnection::refuse(&wire, close, context.output),
            Phase::Authenticating(candidate) => {
                MqttConnection::refuse(&candidate.opening.wire, close, context.output);
            }
            // It said all that it had to in time; the session did not come.
            Phase::Attaching(opening) if close.reason == CloseReason::ConnectTimeout => {
                opening.wire.refuse(ReasonCode::ServerBusy, "the session is not free yet", context.output);
            }
            // The session was never ours: a reply that comes now is the driver's to give back.
            Phase::Attaching(opening) => MqttConnection::refuse(&opening.wire, close, context.output),
            Phase::Connected(connected) => connected.handle_close(close, context),
            Phase::AwaitingConnect(None) | Phase::Closed => {}
        }
    }

    fn client_id(&self) -> Option<&str> {
        match &self.phase {
            Phase::Authenticating(candidate) => Some(&candidate.opening.client_id),
            Phase::Attaching(opening) => Some(&opening.client_id),
            Phase::Connected(connected) => Some(connected.client_id()),
            Phase::AwaitingConnect(_) | Phase::Closed => None,
        }
    }
}

/// How to answer a CONNECT that is no packet: in the version that it names, as far as that can be seen.
///
/// A foreign protocol name is not answered ([MQTT-3.1.2-1]), an unknown level in the version nearest to it
/// ([MQTT-3.1.2-2]). Before 5.0 all other faults close without an answer, which [`Wire::refuse`] knows.
fn answer_to_undecodable(error: DecodeError, input: &[u8]) -> Option<Wire> {
    const NAME: &[u8] = b"\0\x04MQTT";
    const OLD_NAME: &[u8] = b"\0\x06MQIsdp";
    if let DecodeError::ProtocolName = error {
        return None;
    }
    let header_bytes = 1 + input.iter().skip(1).take(4).position(|byte| *byte < 0x80)? + 1;
    let body = input.get(header_bytes..)?;
    if body.starts_with(OLD_NAME) {
        return Some(Wire::unlimited(Version::V31));
    }
    match body.strip_prefix(NAME)?.first()? {
        // With the highest bit: a bridge of Mosquitto asks so whether it speaks to one, and asks again without.
        0..=4 | 0x83 | 0x84 => Some(Wire::unlimited(Version::V3)),
        _ => Some(Wire::unlimited(Version::V5)),
    }
}

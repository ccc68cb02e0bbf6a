//! The client's side of STOMP 1.2, on the topics of this gateway.
//!
//! QoS 1 is a receipt for every SEND and an ACK for every MESSAGE; QoS 0 is neither.

use super::{Event, FRAME_OVERHEAD_MAX, Lifetime, Welcome};
use crate::bench::failure::{Failure, harmless};
use crate::bench::in_flight::InFlight;
use crate::bench::plan::Plan;
use crate::bench::side::Side;
use std::num::NonZeroU16;
use tidegate_message::QoS;
use tidegate_stomp::codec::{Command, Decoder, Frame, FrameLimits, Version, encode};

/// The one subscription of a connection.
const SUBSCRIPTION: &str = "0";
/// The receipt of the SUBSCRIBE; those of SENDs are numbers.
const SUBSCRIBED: &str = "subscribed";

/// One STOMP client.
pub(crate) struct Stomp {
    qos: QoS,
    retain: bool,
    host: String,
    client_id: String,
    lifetime: Lifetime,
    decoder: Decoder,
    in_flight: InFlight,
    /// The last destination and receipt as they were written, so that no message needs memory of its own.
    destination: String,
    receipt: String,
}

impl Stomp {
    pub(super) fn new(plan: &Plan, side: &Side, client_id: String, lifetime: Lifetime) -> Stomp {
        let limits = FrameLimits {
            head_bytes: FRAME_OVERHEAD_MAX,
            header_line_bytes: FRAME_OVERHEAD_MAX,
            headers: 100,
            body_bytes: plan.size.saturating_add(FRAME_OVERHEAD_MAX),
        };
        Stomp {
            qos: plan.qos,
            retain: plan.retain,
            host: side.host().to_owned(),
            client_id,
            lifetime,
            decoder: Decoder::new(Version::V1_2, limits),
            in_flight: InFlight::new(),
            destination: String::new(),
            receipt: String::new(),
        }
    }

    pub(super) fn connect(&self, plan: &Plan, output: &mut Vec<u8>) -> Result<(), Failure> {
        let fixed = [
            ("accept-version", "1.2"),
            ("host", &*self.host),
            ("heart-beat", "0,0"),
            ("client-id", &*self.client_id),
        ];
        let login = plan.username.as_deref().map(|name| ("login", name));
        let passcode = plan.password.as_ref().map(|secret| ("passcode", &*secret.0));
        let headers = fixed.into_iter().chain(login).chain(passcode);
        Ok(encode(output, Version::V1_2, Command::Connect, headers, b"")?)
    }

    pub(super) fn subscribe(&self, filter: &str, output: &mut Vec<u8>) -> Result<(), Failure> {
        let destination = format!("/topic/{filter}");
        let ack = if self.qos == QoS::AtMostOnce { "auto" } else { "client-individual" };
        let fixed =
            [("id", SUBSCRIPTION), ("destination", &*destination), ("ack", ack), ("receipt", SUBSCRIBED)];
        let headers = fixed.into_iter().chain(self.durable());
        Ok(encode(output, Version::V1_2, Command::Subscribe, headers, b"")?)
    }

    /// With the header a subscription is made that outlives the connection, and ended for good.
    fn durable(&self) -> Option<(&'static str, &'static str)> {
        (self.lifetime == Lifetime::Durable).then_some(("durable", "true"))
    }

    pub(super) fn unsubscribe(&self, output: &mut Vec<u8>) -> Result<(), Failure> {
        let headers = [("id", SUBSCRIPTION)].into_iter().chain(self.durable());
        Ok(encode(output, Version::V1_2, Command::Unsubscribe, headers, b"")?)
    }

    pub(super) fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.receipt.clear();
        if self.qos != QoS::AtMostOnce
            && let Some(number) = self.in_flight.take()
        {
            use std::fmt::Write;
            // Writing to a text cannot fail.
            let _ = write!(self.receipt, "{number}");
        }
        self.destination.clear();
        self.destination.push_str("/topic/");
        self.destination.push_str(topic);
        let qos = if self.qos == QoS::AtMostOnce { "0" } else { "1" };
        let retain = self.retain.then_some(("retain", "true"));
        let receipt = (!self.receipt.is_empty()).then_some(("receipt", &*self.receipt));
        let fixed = [("destination", &*self.destination), ("qos", qos)];
        Ok(encode(
            output,
            Version::V1_2,
            Command::Send,
            fixed.into_iter().chain(retain).chain(receipt),
            payload,
        )?)
    }

    pub(super) fn clear(&self, topic: &str, output: &mut Vec<u8>) -> Result<(), Failure> {
        let destination = format!("/topic/{topic}");
        let headers = [("destination", &*destination), ("qos", "0"), ("retain", "true")];
        Ok(encode(output, Version::V1_2, Command::Send, headers, b"")?)
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.count()
    }

    pub(super) fn ping(&self, output: &mut Vec<u8>) {
        output.push(b'\n');
    }

    pub(super) fn disconnect(&self, output: &mut Vec<u8>) -> Result<(), Failure> {
        Ok(encode(output, Version::V1_2, Command::Disconnect, [], b"")?)
    }

    pub(super) fn next<'a>(
        &mut self,
        input: &'a [u8],
        output: &mut Vec<u8>,
    ) -> Result<Option<(Event<'a>, usize)>, Failure> {
        let decoded = self.decoder.decode(input)?;
        match decoded.frame {
            Some(frame) => Ok(Some((self.handle(&frame, output)?, decoded.consumed))),
            None if decoded.consumed > 0 => Ok(Some((Event::Nothing, decoded.consumed))),
            None => Ok(None),
        }
    }

    fn handle<'a>(&mut self, frame: &Frame<'a>, output: &mut Vec<u8>) -> Result<Event<'a>, Failure> {
        match frame.command {
            Command::Message => {
                if let Some(id) = frame.headers.get("ack").filter(|_| self.qos != QoS::AtMostOnce) {
                    encode(output, Version::V1_2, Command::Ack, [("id", id)], b"")?;
                }
                Ok(Event::Message(frame.body))
            }
            Command::Receipt => Ok(self.settle(frame.headers.get("receipt-id").unwrap_or_default())),
            // Without heart-beats there is no sign of life to give.
            Command::Connected => {
                Ok(Event::Welcome(Welcome { in_flight_max: u32::from(u16::MAX), ping_every: None }))
            }
            Command::Error => {
                let words = frame.headers.get("message").unwrap_or("without a reason");
                Err(Failure::Refused { request: "to go on", reason: harmless(words) })
            }
            other => Err(Failure::Unexpected(other.as_str())),
        }
    }

    fn settle(&mut self, receipt: &str) -> Event<'static> {
        if receipt == SUBSCRIBED {
            return Event::Subscribed;
        }
        match receipt.parse::<NonZeroU16>() {
            Ok(number) if self.in_flight.settle(number) => Event::Settled,
            _ => Event::Nothing,
        }
    }
}

//! How to write to one client: its version, its limit on packets, and whether it wants reasons in words.
//!
//! Everything but application messages is written here. Reason strings are left out where the client asked for that or
//! where they would make the packet too large for it.

use crate::codec::{
    Ack, Auth, ConnAck, Connect, Disconnect, EncodeError, PACKET_BYTES_MAX, Packet, PacketType,
    PropertiesBuffer, PropertiesRef, Property, ReasonCode, Version, encode, encode_ack, encode_pingresp,
    encode_suback, encode_unsuback,
};
use crate::reason::fault;
use std::num::NonZeroU16;
use tidegate_protocol::{Close, Output};

/// What the client said about how it wants to be written to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    /// The version of every packet.
    pub(crate) version: Version,
    /// The largest packet that the client takes ([MQTT-3.1.2-24]).
    pub(crate) packet_bytes_max: usize,
    /// Whether acknowledgements may say in words why they refuse ([MQTT-3.1.2-29]).
    problem_information: bool,
}

impl Wire {
    /// As the CONNECT asks for.
    pub(crate) fn of(connect: &Connect<'_>) -> Wire {
        let packet_bytes_max =
            connect.properties.maximum_packet_size().map_or(PACKET_BYTES_MAX, |bytes| bytes.get() as usize);
        let problem_information = connect.properties.request_problem_information().unwrap_or(true);
        Wire { version: connect.version, packet_bytes_max, problem_information }
    }

    /// For a client of which no more than its version is known.
    pub(crate) fn unlimited(version: Version) -> Wire {
        Wire { version, packet_bytes_max: PACKET_BYTES_MAX, problem_information: true }
    }

    /// CONNACK of an accepted connection.
    pub(crate) fn accept(
        &self,
        session_present: bool,
        properties: &PropertiesBuffer,
        output: &mut Output,
    ) -> Result<(), Close> {
        let properties = properties.as_ref();
        let connack = ConnAck { session_present, reason: ReasonCode::Success, properties };
        self.write(&Packet::ConnAck(connack), output).map_err(unwritable)
    }

    /// CONNACK of a refused connection; nothing where the version has no word for the reason.
    pub(crate) fn refuse(&self, reason: ReasonCode, detail: &str, output: &mut Output) {
        // A refusal that cannot be written is left out: the connection ends either way.
        let _ = self.with_reason_string(detail, |properties| {
            self.write(
                &Packet::ConnAck(ConnAck { session_present: false, reason, properties: *properties }),
                output,
            )
        });
    }

    /// AUTH; without a method there is nobody who could ask for it.
    pub(crate) fn auth(
        &self,
        reason: ReasonCode,
        method: Option<&str>,
        data: &[u8],
        output: &mut Output,
    ) -> Result<(), Close> {
        let mut buffer = PropertiesBuffer::new();
        let data = (!data.is_empty()).then_some(Property::AuthenticationData(data));
        // Each of them is there once; data that is longer than a property may be is left out, and the method fails for it.
        let _ = buffer.extend(method.map(Property::AuthenticationMethod).into_iter().chain(data));
        let properties = buffer.as_ref();
        self.write(&Packet::Auth(Auth { reason, properties }), output).map_err(unwritable)
    }

    /// DISCONNECT; nothing before 5.0, where a server has none.
    pub(crate) fn disconnect(&self, reason: ReasonCode, detail: &str, output: &mut Output) {
        if self.version < Version::V5 {
            return;
        }
        // [MQTT-3.14.2-3]; what cannot be written at all is left out: the connection ends either way.
        let _ = self.with_reason_string(detail, |properties| {
            self.write(&Packet::Disconnect(Disconnect { reason, properties: *properties }), output)
        });
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP. Before 5.0 the reason has no place; `detail` is the reason in words, or empty.
    #[inline]
    pub(crate) fn ack(
        &self,
        packet: PacketType,
        id: NonZeroU16,
        reason: ReasonCode,
        detail: &str,
        output: &mut Output,
    ) -> Result<(), Close> {
        match reason == ReasonCode::Success || self.version < Version::V5 {
            true => {
                encode_ack(output.buffer(), packet, id);
                Ok(())
            }
            false => self.ack_with_reason(packet, id, reason, detail, output),
        }
    }

    fn ack_with_reason(
        &self,
        packet: PacketType,
        packet_id: NonZeroU16,
        reason: ReasonCode,
        detail: &str,
        output: &mut Output,
    ) -> Result<(), Close> {
        // [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.6.2-2] [MQTT-3.7.2-2]
        let outcome = self.with_reason_string(self.if_wanted(detail), |properties| {
            let ack = Ack { packet_id, reason, properties: *properties };
            let packet = match packet {
                PacketType::PubRec => Packet::PubRec(ack),
                PacketType::PubRel => Packet::PubRel(ack),
                PacketType::PubComp => Packet::PubComp(ack),
                _ => Packet::PubAck(ack),
            };
            self.write(&packet, output)
        });
        outcome.map_err(unwritable)
    }

    /// SUBACK; `detail` is the reason of a failure in words, or empty.
    pub(crate) fn suback(
        &self,
        id: NonZeroU16,
        reasons: &[ReasonCode],
        detail: &str,
        output: &mut Output,
    ) -> Result<(), Close> {
        let (reasons, limit) = (reasons.iter().copied(), self.packet_bytes_max);
        // [MQTT-3.9.2-1]
        let outcome = self.with_reason_string(self.if_wanted(detail), |properties| {
            encode_suback(output.buffer(), self.version, id, properties, reasons.clone(), limit)
        });
        outcome.map_err(unwritable)
    }

    /// UNSUBACK; `detail` is the reason of a failure in words, or empty.
    pub(crate) fn unsuback(
        &self,
        id: NonZeroU16,
        reasons: &[ReasonCode],
        detail: &str,
        output: &mut Output,
    ) -> Result<(), Close> {
        let (reasons, limit) = (reasons.iter().copied(), self.packet_bytes_max);
        // [MQTT-3.11.2-1]
        let outcome = self.with_reason_string(self.if_wanted(detail), |properties| {
            encode_unsuback(output.buffer(), self.version, id, properties, reasons.clone(), limit)
        });
        outcome.map_err(unwritable)
    }

    /// The words, unless the client does not want them where they are no goodbye ([MQTT-3.1.2-29]).
    fn if_wanted<'a>(&self, detail: &'a str) -> &'a str {
        if self.problem_information { detail } else { "" }
    }

    /// PINGRESP.
    pub(crate) fn pingresp(&self, output: &mut Output) {
        encode_pingresp(output.buffer());
    }

    fn write(&self, packet: &Packet<'_>, output: &mut Output) -> Result<(), EncodeError> {
        encode(output.buffer(), self.version, packet, self.packet_bytes_max)
    }

    /// Writes with the reason string, or without it where that does not fit.
    fn with_reason_string(
        &self,
        text: &str,
        mut write: impl FnMut(&PropertiesRef<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if self.version == Version::V5 && !text.is_empty() {
            let mut properties = PropertiesBuffer::new();
            if properties.push(Property::ReasonString(text)).is_ok() && write(&properties.as_ref()).is_ok() {
                return Ok(());
            }
        }
        write(&PropertiesRef::EMPTY)
    }
}

/// An answer that the client's own limit forbids: without it the exchange cannot go on.
fn unwritable(error: EncodeError) -> Close {
    fault(ReasonCode::PacketTooLarge, format!("the client cannot be answered: {error}"))
}

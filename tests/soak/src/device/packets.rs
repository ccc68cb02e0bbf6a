//! What the gateway sends: told to the auditor, acknowledged as the protocol asks, or found wrong.

use super::session::{Ask, Session};
use super::{Device, Link};
use crate::auditor::Delivered;
use crate::roster::Phase;
use crate::stamp::Stamp;
use crate::violations::Kind;
use std::num::NonZeroU16;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    Ack, PACKET_BYTES_MAX, Packet, PacketType, Publish, ReasonCode, SubAck, Version, decode, encode_ack,
};

impl Device {
    /// Handles every packet that has arrived; false where the connection is of no use any more.
    pub(super) fn handle_input(&mut self, link: &mut Link) -> bool {
        let mut input = std::mem::take(&mut link.wire.input);
        let mut used = 0;
        let outcome = loop {
            match decode(&input[used..], link.version, PACKET_BYTES_MAX) {
                Ok(None) => break Ok(()),
                Ok(Some((packet, bytes))) => {
                    used += bytes;
                    if let Err(fault) = self.handle(link, packet) {
                        break Err(fault);
                    }
                }
                Err(error) => break Err((Kind::Protocol, format!("the gateway sent no MQTT: {error}"))),
            }
        };
        input.drain(..used);
        link.wire.input = input;
        outcome.map_err(|(kind, what)| self.accuse(kind, &what)).is_ok()
    }

    fn handle(&mut self, link: &mut Link, packet: Packet<'_>) -> Result<(), (Kind, String)> {
        match packet {
            Packet::Publish(publish) => self.handle_publish(link, &publish),
            Packet::PubRel(ack) => {
                self.session().received.remove(&ack.packet_id);
                link.incoming = link.incoming.saturating_sub(1);
                Device::acknowledge(link, PacketType::PubComp, ack.packet_id);
                Ok(())
            }
            Packet::PubAck(ack) => self.handle_end(&ack, QoS::AtLeastOnce),
            Packet::PubRec(ack) => self.handle_pubrec(link, &ack),
            Packet::PubComp(ack) => self.handle_end(&ack, QoS::ExactlyOnce),
            Packet::SubAck(suback) => self.handle_suback(&suback),
            Packet::UnsubAck(unsuback) => self.handle_unsuback(unsuback.packet_id),
            Packet::PingResp => {
                link.pings = link.pings.saturating_sub(1);
                link.is_drained = self.phase() == Phase::Drain;
                Ok(())
            }
            Packet::Disconnect(disconnect) => {
                let words = disconnect.properties.reason_string().unwrap_or_default();
                Err((
                    Kind::Disconnected,
                    format!("the gateway said DISCONNECT: {} {words}", disconnect.reason),
                ))
            }
            other => Err((Kind::Protocol, format!("an unexpected {}", other.packet_type()))),
        }
    }

    fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("a connection has a session")
    }

    fn acknowledge(link: &mut Link, packet: PacketType, packet_id: NonZeroU16) {
        let output = if link.is_lazy { &mut link.acknowledgements } else { &mut link.wire.output };
        encode_ack(output, packet, packet_id);
    }

    fn handle_publish(&mut self, link: &mut Link, publish: &Publish<'_>) -> Result<(), (Kind, String)> {
        let topic = std::str::from_utf8(publish.topic)
            .map_err(|_| (Kind::Protocol, "a topic that is no text".to_owned()))?;
        let mut is_new = true;
        if let Some(packet_id) = publish.packet_id {
            match publish.qos {
                QoS::ExactlyOnce => {
                    is_new = self.session().received.insert(packet_id);
                    if !is_new && !publish.dup {
                        return Err((
                            Kind::Protocol,
                            format!("packet identifier {packet_id} is in use, without DUP"),
                        ));
                    }
                    link.incoming += 1;
                    Device::acknowledge(link, PacketType::PubRec, packet_id);
                }
                _ => Device::acknowledge(link, PacketType::PubAck, packet_id),
            }
        }
        // QoS 2 only: what is acknowledged lazily at QoS 1 is counted nowhere, because its acknowledgement may be on its way.
        if link.incoming > link.receive_max {
            return Err((Kind::Protocol, format!("more than {} messages are under way", link.receive_max)));
        }
        if is_new { self.tell(link, publish, topic) } else { Ok(()) }
    }

    fn tell(&mut self, link: &Link, publish: &Publish<'_>, topic: &str) -> Result<(), (Kind, String)> {
        if publish.payload.is_empty() && self.phase() == Phase::Leave {
            return Ok(());
        }
        let Some(stamp) = Stamp::read(publish.payload) else {
            let what = format!("a message on {topic} with {} bytes that nobody sent", publish.payload.len());
            return Err((Kind::Phantom, what));
        };
        let identifiers: Vec<u32> = publish.properties.subscription_identifiers().collect();
        let name = publish.packet_id.map(|packet_id| format!("{packet_id} in {}", link.version));
        let delivered = Delivered {
            stamp,
            name: name.as_deref(),
            qos: publish.qos,
            checks_qos: true,
            dup: publish.dup,
            retain: publish.retain,
            identifiers: (link.version == Version::V5).then_some(&identifiers),
        };
        if let Some(audit) = self.audit() {
            self.roster.auditor.borrow_mut().received(audit, topic, delivered);
        }
        Ok(())
    }

    /// The last acknowledgement of a publication.
    fn handle_end(&mut self, ack: &Ack<'_>, qos: QoS) -> Result<(), (Kind, String)> {
        let session = self.session();
        let found =
            session.find(ack.packet_id).and_then(|at| session.outgoing.get(at).copied().map(|it| (at, it)));
        match found {
            Some((at, outgoing))
                if outgoing.qos == qos && outgoing.is_released == (qos == QoS::ExactlyOnce) =>
            {
                session.outgoing.remove(at);
                if qos == QoS::AtLeastOnce {
                    check(ack.reason)?;
                    self.roster.auditor.borrow_mut().acknowledged(outgoing.stamp);
                }
                Ok(())
            }
            _ => Err((
                Kind::Protocol,
                format!("an acknowledgement of {} that nobody waits for", ack.packet_id),
            )),
        }
    }

    fn handle_pubrec(&mut self, link: &mut Link, ack: &Ack<'_>) -> Result<(), (Kind, String)> {
        check(ack.reason)?;
        let session = self.session();
        let found = session.find(ack.packet_id).and_then(|at| session.outgoing.get_mut(at));
        let Some(outgoing) =
            found.filter(|outgoing| outgoing.qos == QoS::ExactlyOnce && !outgoing.is_released)
        else {
            return Err((Kind::Protocol, format!("a PUBREC for {} that nobody waits for", ack.packet_id)));
        };
        outgoing.is_released = true;
        let stamp = outgoing.stamp;
        self.roster.auditor.borrow_mut().acknowledged(stamp);
        encode_ack(&mut link.wire.output, PacketType::PubRel, ack.packet_id);
        Ok(())
    }

    fn handle_unsuback(&mut self, packet_id: NonZeroU16) -> Result<(), (Kind, String)> {
        let session = self.session();
        let Some(Ask::Unsubscribe(filter)) = session.asks.remove(&packet_id) else {
            return Err((Kind::Protocol, "an UNSUBACK that nobody asked for".to_owned()));
        };
        let audit = session.audit;
        self.roster.auditor.borrow_mut().unsubscribed(audit, filter);
        Ok(())
    }

    fn handle_suback(&mut self, suback: &SubAck<'_>) -> Result<(), (Kind, String)> {
        let reason = suback.reasons.iter().next();
        let session = self.session();
        let Some(Ask::Subscribe(filter, qos)) = session.asks.remove(&suback.packet_id) else {
            return Err((Kind::Protocol, "a SUBACK that nobody asked for".to_owned()));
        };
        if reason.map(ReasonCode::number) != Some(qos.number()) {
            return Err((
                Kind::Protocol,
                format!("a subscription at QoS {qos} was answered with {reason:?}"),
            ));
        }
        session.subscriptions.insert(filter, qos);
        let audit = session.audit;
        self.roster.auditor.borrow_mut().subscribed(audit, filter);
        Ok(())
    }
}

/// A publication must be taken; that nobody has subscribed is no fault.
fn check(reason: ReasonCode) -> Result<(), (Kind, String)> {
    match reason.is_failure() {
        true => Err((Kind::Protocol, format!("a publication was refused: {reason}"))),
        false => Ok(()),
    }
}

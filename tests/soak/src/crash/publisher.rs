//! An MQTT publisher of a crash audit: all levels, a window of messages under way, and what was not acknowledged is sent again in its
//! order when it comes back ([MQTT-4.4.0-1]).

use super::mqtt::{Fault, Identity};
use super::scene::{Event, Link, Phase, Scene};
use crate::auditor::StreamId;
use crate::stamp::{STAMP_BYTES, Stamp};
use crate::violations::Kind;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::rc::Rc;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    PACKET_BYTES_MAX, Packet, PacketType, PropertiesRef, Publish, ReasonCode, Version, encode_ack,
    encode_publish,
};
use tidegate_testkit::random::Random;

/// Messages under way at the most.
const WINDOW: usize = 24;
const BURST: usize = 6;
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Something to publish on.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) stream: StreamId,
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) is_retained: bool,
}

/// A message whose acknowledgement is awaited.
#[derive(Debug, Clone, Copy)]
struct Outgoing {
    packet_id: NonZeroU16,
    stamp: Stamp,
    subject: usize,
    qos: QoS,
    /// Nothing, for one that clears what is retained.
    payload_bytes: Option<usize>,
    /// Whether its PUBREC has come, so that PUBREL is what is repeated.
    is_released: bool,
}

/// See the module.
pub(crate) struct Publisher {
    scene: Rc<Scene>,
    identity: Identity,
    random: Random,
    subjects: Vec<Subject>,
    outgoing: VecDeque<Outgoing>,
    last_packet_id: u16,
}

impl Publisher {
    /// A publisher on these topics.
    pub(crate) fn new(
        scene: Rc<Scene>,
        id: String,
        version: Version,
        random: Random,
        subjects: Vec<Subject>,
    ) -> Publisher {
        let identity = Identity::new(id, version);
        Publisher { scene, identity, random, subjects, outgoing: VecDeque::new(), last_packet_id: 0 }
    }

    /// Lives until the audit is over.
    pub(crate) async fn live(mut self) {
        let scene = self.scene.clone();
        while scene.phase.get() != Phase::Over {
            if let Some((mut link, _)) = self.identity.connect(&scene, &mut self.random).await {
                self.resume(&mut link);
                self.serve(&scene, &mut link).await;
            }
        }
    }

    async fn serve(&mut self, scene: &Scene, link: &mut Link) {
        while scene.phase.get() != Phase::Over && self.handle_input(link) {
            match link.next(scene, &mut self.random, &self.identity.id).await {
                Event::Input => {}
                Event::End => return,
                Event::Act if scene.phase.get() == Phase::Load && self.random.one_in(150) => return,
                Event::Act => self.publish_burst(link),
            }
        }
    }

    fn resume(&mut self, link: &mut Link) {
        for outgoing in self.outgoing.clone() {
            if outgoing.is_released {
                encode_ack(&mut link.wire.output, PacketType::PubRel, outgoing.packet_id);
                continue;
            }
            self.scene.ledger.borrow_mut().publishing_again(outgoing.stamp);
            self.write_publish(&mut link.wire.output, &outgoing, true);
        }
    }

    fn publish_burst(&mut self, link: &mut Link) {
        for _ in 0..self.random.below(BURST) {
            let is_full = self.outgoing.len() >= WINDOW || link.wire.output.len() > OUTPUT_BYTES_MAX;
            if is_full || !self.scene.may_publish() {
                return;
            }
            self.publish(link);
        }
    }

    fn publish(&mut self, link: &mut Link) {
        let subject = self.random.below(self.subjects.len());
        let Subject { stream, qos, is_retained, .. } = self.subjects[subject];
        let is_clear = is_retained && self.random.one_in(12);
        let payload_bytes = match self.random.below(100) {
            0 => self.random.below(48 << 10),
            1..10 => self.random.below(4 << 10),
            _ => self.random.below(200),
        };
        let payload_bytes = (!is_clear).then_some(payload_bytes.max(STAMP_BYTES));
        let mut ledger = self.scene.ledger.borrow_mut();
        let stamp = if is_clear { ledger.clearing(stream) } else { ledger.publishing(stream) };
        drop(ledger);
        let packet_id = self.packet_id();
        let outgoing = Outgoing { packet_id, stamp, subject, qos, payload_bytes, is_released: false };
        if qos > QoS::AtMostOnce {
            self.outgoing.push_back(outgoing);
            self.count(1);
        }
        self.write_publish(&mut link.wire.output, &outgoing, false);
    }

    fn count(&self, change: isize) {
        self.scene.under_way.set(self.scene.under_way.get().saturating_add_signed(change));
    }

    /// A packet identifier that is not in use.
    fn packet_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            let is_used = |id| self.outgoing.iter().any(|outgoing| outgoing.packet_id == id);
            if let Some(id) = NonZeroU16::new(self.last_packet_id).filter(|id| !is_used(*id)) {
                return id;
            }
        }
    }

    fn write_publish(&self, output: &mut Vec<u8>, outgoing: &Outgoing, dup: bool) {
        let Outgoing { packet_id, stamp, subject, qos, payload_bytes, .. } = *outgoing;
        let subject = &self.subjects[subject];
        let payload = payload_bytes.map(|bytes| stamp.payload(bytes)).unwrap_or_default();
        let publish = Publish {
            dup,
            qos,
            retain: subject.is_retained,
            topic: subject.topic.as_bytes(),
            packet_id: (qos > QoS::AtMostOnce).then_some(packet_id),
            properties: PropertiesRef::EMPTY,
            payload: &payload,
        };
        encode_publish(output, self.identity.version, &publish, PACKET_BYTES_MAX)
            .expect("the PUBLISH is valid");
    }

    fn handle_input(&mut self, link: &mut Link) -> bool {
        let mut acks = Vec::new();
        let is_right = self.identity.read(&self.scene, link, |_, packet| {
            let (kind, ack) = match packet {
                Packet::PubAck(ack) => (PacketType::PubAck, ack),
                Packet::PubRec(ack) => (PacketType::PubRec, ack),
                Packet::PubComp(ack) => (PacketType::PubComp, ack),
                other => return Err((Kind::Protocol, format!("an unexpected {other:?}"))),
            };
            acks.push((kind, ack.packet_id, ack.reason));
            Ok(())
        });
        for (kind, packet_id, reason) in acks {
            if let Err((kind, what)) = self.handle_ack(link, kind, packet_id, reason) {
                self.scene.accuse(kind, || format!("{}: {what}", self.identity.id));
                return false;
            }
        }
        is_right
    }

    /// What an acknowledgement is about: PUBACK and PUBREC come for the first message that waits for one.
    fn find(&self, kind: PacketType, packet_id: NonZeroU16) -> Option<usize> {
        let mut outgoing = self.outgoing.iter();
        let at = match kind {
            PacketType::PubAck => outgoing.position(|one| one.qos == QoS::AtLeastOnce),
            PacketType::PubRec => outgoing.position(|one| one.qos == QoS::ExactlyOnce && !one.is_released),
            _ => outgoing.position(|one| one.is_released && one.packet_id == packet_id),
        };
        at.filter(|at| self.outgoing[*at].packet_id == packet_id)
    }

    /// [MQTT-4.6.0-2] and [MQTT-4.6.0-3]: acknowledgements come in the order of the messages.
    fn handle_ack(
        &mut self,
        link: &mut Link,
        kind: PacketType,
        packet_id: NonZeroU16,
        reason: ReasonCode,
    ) -> Result<(), Fault> {
        let Some(at) = self.find(kind, packet_id) else {
            let next: Vec<_> = self.outgoing.iter().map(|outgoing| outgoing.packet_id).take(5).collect();
            return Err((Kind::Protocol, format!("{kind} {packet_id}, while {next:?} … are awaited")));
        };
        // The gateway had released it before it was killed.
        let is_late_release = kind == PacketType::PubComp && reason == ReasonCode::PacketIdentifierNotFound;
        if reason.is_failure() && !is_late_release {
            return Err((Kind::Protocol, format!("a publication was refused: {kind} {reason}")));
        }
        self.identity.is_promised = true;
        let stamp = self.outgoing[at].stamp;
        match kind {
            PacketType::PubRec => {
                self.outgoing[at].is_released = true;
                encode_ack(&mut link.wire.output, PacketType::PubRel, packet_id);
            }
            _ => {
                self.outgoing.remove(at);
                self.count(-1);
            }
        }
        self.scene.ledger.borrow_mut().acknowledged(stamp);
        Ok(())
    }
}

//! What a client does of its own will: publish, subscribe, look away, leave.

use super::session::{Ask, Outgoing};
use super::{Device, End, Link};
use crate::auditor::Auditor;
use crate::roster::Phase;
use crate::stamp::STAMP_BYTES;
use crate::world::Region;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    PACKET_BYTES_MAX, PacketType, PropertiesBuffer, PropertiesRef, Property, Publish, SubscribeFilter,
    SubscriptionOptions, Version, encode_ack, encode_pingreq, encode_publish, encode_subscribe,
    encode_unsubscribe,
};
use tokio::time::Instant;

/// Subscriptions of one session.
const SUBSCRIPTIONS_MAX: usize = 6;
/// Unsent bytes above which a client does not publish.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

impl Device {
    /// Sets the moment of the next act.
    pub(super) fn rest(&mut self, link: &mut Link) {
        let pace = self.roster.pace_milliseconds;
        let milliseconds = self.random.below(2 * pace).max(1) as u64;
        link.next_act = Instant::now() + Duration::from_millis(milliseconds);
    }

    /// Does one thing; says so where that ends the connection.
    pub(super) fn act(&mut self, link: &mut Link) -> Option<End> {
        if let Some(end) = link.doom {
            return Some(end);
        }
        link.is_blind = false;
        self.rest(link);
        let acknowledgements = std::mem::take(&mut link.acknowledgements);
        link.wire.output.extend_from_slice(&acknowledgements);
        if self.phase() != Phase::Churn {
            link.is_lazy = false;
            if !link.is_drained {
                Device::ping(link);
            }
            return None;
        }
        if self.is_faithful && self.session.as_ref().is_some_and(|session| session.subscriptions.is_empty()) {
            self.subscribe_faithfully(link);
            return None;
        }
        match self.random.below(100) {
            0..50 => self.publish_burst(link),
            50..64 => self.subscribe(link),
            64..70 => self.unsubscribe(link),
            70..73 => Device::ping(link),
            73..75 => link.is_blind = true,
            75..80 => {
                return Some(End::Goodbye {
                    leaves_will: link.version == Version::V5 && self.random.one_in(4),
                });
            }
            80..87 => return Some(End::Drop),
            87..90 => return Some(End::TakeOver),
            _ => {}
        }
        if self.random.one_in(6) {
            self.doom(link);
        }
        None
    }

    /// Ends the connection in a moment, before or while the answers to what was just asked arrive.
    fn doom(&mut self, link: &mut Link) {
        link.doom = Some(*self.random.pick(&[End::Drop, End::Drop, End::TakeOver]));
        link.is_blind = self.random.one_in(2);
        link.next_act = Instant::now() + Duration::from_millis(self.random.below(4) as u64);
    }

    fn ping(link: &mut Link) {
        if link.pings == 0 {
            encode_pingreq(&mut link.wire.output);
            link.pings += 1;
        }
    }

    fn publish_burst(&mut self, link: &mut Link) {
        let topic = self.roster.world.pick_topic(&mut self.random, self.number, self.roster.may_share);
        let retain = self.roster.world.region(topic) == Region::State;
        for _ in 0..1 + self.random.below(10) {
            let qos = *self.random.pick(&QoS::ALL);
            let payload_bytes = match self.random.below(200) {
                0 => self.random.below(64 << 10),
                1..20 => self.random.below(4 << 10),
                _ => self.random.below(200),
            };
            let payload_bytes = payload_bytes.max(STAMP_BYTES);
            let Some(session) = self.session.as_mut() else { return };
            if session.outgoing.len() >= link.send_max || link.wire.output.len() > OUTPUT_BYTES_MAX {
                return;
            }
            self.has_state |= retain;
            let packet_id = session.packet_id();
            let mut auditor = self.roster.auditor.borrow_mut();
            let stamp = auditor.next_stamp(self.number, topic);
            auditor.publishing(stamp, qos, retain);
            drop(auditor);
            let outgoing =
                Outgoing { packet_id, stamp, topic, qos, retain, payload_bytes, is_released: false };
            if qos > QoS::AtMostOnce {
                session.outgoing.push_back(outgoing);
            }
            self.write_publish(link, outgoing, false);
        }
    }

    fn write_publish(&self, link: &mut Link, outgoing: Outgoing, dup: bool) {
        let Outgoing { packet_id, stamp, topic, qos, retain, payload_bytes, .. } = outgoing;
        let payload = stamp.payload(payload_bytes);
        let publish = Publish {
            dup,
            qos,
            retain,
            topic: self.roster.world.topic(topic).as_bytes(),
            packet_id: (qos > QoS::AtMostOnce).then_some(packet_id),
            properties: PropertiesRef::EMPTY,
            payload: &payload,
        };
        encode_publish(&mut link.wire.output, link.version, &publish, PACKET_BYTES_MAX)
            .expect("the PUBLISH is valid");
    }

    /// Sends a publication, or its PUBREL, once more.
    pub(super) fn repeat(&mut self, link: &mut Link, outgoing: Outgoing) {
        if outgoing.is_released {
            return encode_ack(&mut link.wire.output, PacketType::PubRel, outgoing.packet_id);
        }
        self.roster.auditor.borrow_mut().publishing_again(outgoing.stamp);
        self.write_publish(link, outgoing, true);
    }

    /// A session that lasts for the round watches all wills, and is a certain member of a group.
    fn subscribe_faithfully(&mut self, link: &mut Link) {
        let world = self.roster.world.clone();
        let qos = *self.random.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]);
        if self.session.as_ref().is_some_and(|session| session.asks.is_empty()) {
            self.ask(link, Ask::Subscribe(world.every_will(), qos));
            let widest = world.everything_live();
            let filter = if self.number == 0 { widest } else { world.pick_filter(&mut self.random, false) };
            self.ask(link, Ask::Subscribe(filter, qos));
            if self.roster.may_share {
                let shared = world.pick_shared(&mut self.random);
                self.ask(link, Ask::Subscribe(shared, qos));
            }
        }
    }

    fn subscribe(&mut self, link: &mut Link) {
        let filter = self.roster.world.pick_filter(&mut self.random, self.roster.may_share);
        let Some(session) = self.session.as_ref() else { return };
        if session.is_asked(filter) || session.subscriptions.len() + session.asks.len() >= SUBSCRIPTIONS_MAX {
            return;
        }
        // The same filter again keeps its level, so that it is always known.
        let qos = session.subscriptions.get(&filter).copied();
        // What a group gives to a member at QoS 0 may be lost with its connection, and nobody could say what the group is owed.
        let levels = if self.roster.world.filter(filter).is_shared { &QoS::ALL[1..] } else { &QoS::ALL[..] };
        let qos = qos.unwrap_or_else(|| *self.random.pick(levels));
        self.ask(link, Ask::Subscribe(filter, qos));
    }

    fn unsubscribe(&mut self, link: &mut Link) {
        let Some(session) = self.session.as_ref().filter(|_| !self.is_faithful) else { return };
        let filters: Vec<_> = session.subscriptions.keys().copied().collect();
        if filters.is_empty() {
            return;
        }
        let filter = *self.random.pick(&filters);
        if !session.is_asked(filter) {
            self.ask(link, Ask::Unsubscribe(filter));
        }
    }

    /// Asks for a subscription or its end.
    pub(super) fn ask(&mut self, link: &mut Link, ask: Ask) {
        let Some(session) = self.session.as_mut() else { return };
        let packet_id = session.packet_id();
        session.asks.insert(packet_id, ask);
        let (world, output) = (&self.roster.world, &mut link.wire.output);
        let mut auditor = self.roster.auditor.borrow_mut();
        let written = match ask {
            Ask::Subscribe(filter, qos) => {
                let mut properties = PropertiesBuffer::new();
                let is_identified = link.version == Version::V5;
                if is_identified {
                    let identifier = Property::SubscriptionIdentifier(Auditor::identifier(filter));
                    properties.push(identifier).expect("the property is valid");
                }
                auditor.subscribing(session.audit, filter, qos, is_identified);
                let text = &world.filter(filter).text;
                let filters = std::iter::once(SubscribeFilter {
                    filter: text,
                    options: SubscriptionOptions::at_most(qos),
                });
                encode_subscribe(
                    output,
                    link.version,
                    packet_id,
                    &properties.as_ref(),
                    filters,
                    PACKET_BYTES_MAX,
                )
            }
            Ask::Unsubscribe(filter) => {
                auditor.unsubscribing(session.audit, filter);
                session.subscriptions.remove(&filter);
                let filters = std::iter::once(world.filter(filter).text.as_str());
                let properties = PropertiesRef::EMPTY;
                encode_unsubscribe(output, link.version, packet_id, &properties, filters, PACKET_BYTES_MAX)
            }
        };
        written.expect("the request is valid");
    }
}

//! An MQTT receiver of a crash audit: a session that survives, acknowledgements that come late or not before the next connection, and
//! a socket that is dropped now and then.

use super::ledger::AudienceId;
use super::mqtt::{Fault, Identity};
use super::scene::{Event, Link, Phase, Scene};
use crate::stamp::Stamp;
use crate::violations::Kind;
use std::collections::HashMap;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    PACKET_BYTES_MAX, Packet, PacketType, PropertiesRef, Publish, SubAck, SubscribeFilter,
    SubscriptionOptions, Version, encode_ack, encode_pingreq, encode_subscribe,
};
use tidegate_testkit::random::Random;
use tokio::time::sleep;

const AWAY_MILLISECONDS: usize = 250;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What it subscribes, and for whom.
#[derive(Debug, Clone)]
pub(crate) struct Interest {
    pub(crate) audience: AudienceId,
    /// With the name of the share, where there is one.
    pub(crate) filter: String,
    pub(crate) qos: QoS,
    pub(crate) habit: Habit,
}

/// When a receiver is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It comes for the first time in this life of the gateway, and is seldom away for long.
    Restless { from_life: u32 },
    /// It subscribes, and comes back when the load is over, so that a long queue waits for it.
    Asleep,
}

/// See the module.
pub(crate) struct Receiver {
    scene: Rc<Scene>,
    identity: Identity,
    random: Random,
    interest: Interest,
    /// QoS 2 messages that have come and are not released, by their packet identifiers.
    arrived: HashMap<NonZeroU16, Option<Stamp>>,
    /// What the scene was told last.
    unsettled: usize,
}

/// What ends with a connection.
#[derive(Debug, Default)]
struct Visit {
    /// Acknowledgements that wait for the next act.
    held: Vec<u8>,
    is_lazy: bool,
    /// Settled by us, and written or held.
    settled: Vec<Stamp>,
    /// Settled before a PINGREQ whose answer is awaited.
    pinged: Option<Vec<Stamp>>,
    /// The barrier that the PINGREQ is for, and the newest one that was asked for.
    barrier: Option<u32>,
    asked: u32,
}

impl Receiver {
    /// A receiver; some of MQTT 5 take only a few messages at a time.
    pub(crate) fn new(
        scene: Rc<Scene>,
        id: String,
        version: Version,
        mut random: Random,
        interest: Interest,
    ) -> Receiver {
        let mut identity = Identity::new(id, version);
        if version == Version::V5 && random.one_in(2) {
            identity.receive_max = NonZeroU16::new(1 + random.below(20) as u16);
        }
        Receiver { scene, identity, random, interest, arrived: HashMap::new(), unsettled: 0 }
    }

    /// Lives until the audit is over.
    pub(crate) async fn live(mut self) {
        let scene = self.scene.clone();
        let mut is_counted = false;
        while matches!(self.interest.habit, Habit::Restless { from_life } if scene.life.get() < from_life) {
            sleep(LOOK_EVERY).await;
        }
        while scene.phase.get() != Phase::Over {
            if let Some((mut link, is_present)) = self.identity.connect(&scene, &mut self.random).await {
                if !is_present {
                    self.arrived.clear();
                }
                scene
                    .receivers
                    .set(scene.receivers.get() + usize::from(!std::mem::replace(&mut is_counted, true)));
                if !self.identity.is_promised || !is_present {
                    self.write_subscribe(&mut link.wire.output);
                }
                self.serve(&scene, &mut link).await;
                scene.report_unsettled(&mut self.unsettled, self.arrived.len());
            }
            while self.sleeps() {
                sleep(LOOK_EVERY).await;
            }
            if scene.phase.get() == Phase::Load {
                sleep(Duration::from_millis(self.random.below(AWAY_MILLISECONDS) as u64)).await;
            }
        }
    }

    /// Whether it wants to be away now.
    fn sleeps(&self) -> bool {
        let is_asleep = self.interest.habit == Habit::Asleep && self.identity.is_promised;
        is_asleep && self.scene.phase.get() == Phase::Load
    }

    async fn serve(&mut self, scene: &Scene, link: &mut Link) {
        let mut visit = Visit { is_lazy: self.random.one_in(2), ..Visit::default() };
        while scene.phase.get() != Phase::Over && self.handle_input(link, &mut visit) {
            let pinged = visit.pinged.as_ref().map_or(0, Vec::len);
            let unsettled = self.arrived.len() + visit.settled.len() + pinged;
            scene.report_unsettled(&mut self.unsettled, unsettled);
            match link.next(scene, &mut self.random, &self.identity.id).await {
                Event::Input => {}
                Event::End => return,
                Event::Act if scene.phase.get() == Phase::Load && self.random.one_in(60) => return,
                Event::Act if self.sleeps() => return,
                Event::Act => self.act(link, &mut visit),
            }
        }
    }

    fn act(&mut self, link: &mut Link, visit: &mut Visit) {
        let is_load = self.scene.phase.get() == Phase::Load;
        visit.is_lazy &= is_load;
        if is_load && !self.random.one_in(4) {
            return;
        }
        link.wire.output.append(&mut visit.held);
        let barrier = Some(self.scene.barrier.get()).filter(|barrier| *barrier > visit.asked && !is_load);
        if visit.pinged.is_none() && (!visit.settled.is_empty() || barrier.is_some()) {
            visit.barrier = barrier;
            visit.asked = barrier.unwrap_or(visit.asked);
            visit.pinged = Some(std::mem::take(&mut visit.settled));
            encode_pingreq(&mut link.wire.output);
        }
    }

    fn write_subscribe(&self, output: &mut Vec<u8>) {
        let options = SubscriptionOptions::at_most(self.interest.qos);
        let filters = std::iter::once(SubscribeFilter { filter: &self.interest.filter, options });
        let (version, properties) = (self.identity.version, PropertiesRef::EMPTY);
        encode_subscribe(output, version, NonZeroU16::MIN, &properties, filters, PACKET_BYTES_MAX)
            .expect("the SUBSCRIBE is valid");
    }

    fn handle_input(&mut self, link: &mut Link, visit: &mut Visit) -> bool {
        let Receiver { scene, identity, interest, arrived, .. } = self;
        let (mut is_subscribed, is_past) = (false, link.is_past(scene));
        let is_right = identity.read(scene, link, |output, packet| {
            let acks = if visit.is_lazy { &mut visit.held } else { output };
            match packet {
                Packet::Publish(publish) => {
                    let stamp = take(scene, interest.audience, arrived, &publish, acks)?;
                    visit.settled.extend(stamp);
                }
                Packet::PubRel(ack) => {
                    visit.settled.extend(arrived.remove(&ack.packet_id).flatten());
                    encode_ack(acks, PacketType::PubComp, ack.packet_id);
                }
                Packet::PingResp => {
                    visit.barrier.take().into_iter().for_each(|barrier| scene.pass(barrier));
                    let mut ledger = scene.ledger.borrow_mut();
                    let settled = visit.pinged.take().into_iter().flatten();
                    for stamp in settled.filter(|_| !is_past) {
                        ledger.settled(interest.audience, stamp);
                    }
                }
                Packet::SubAck(suback) => is_subscribed |= granted(&suback, interest.qos)?,
                other => return Err((Kind::Protocol, format!("an unexpected {other:?}"))),
            }
            Ok(())
        });
        if is_subscribed {
            self.identity.is_promised = true;
            self.scene.ledger.borrow_mut().subscribed(self.interest.audience);
        }
        is_right
    }
}

/// Takes a message; the stamp of one that is settled with that.
fn take(
    scene: &Scene,
    audience: AudienceId,
    arrived: &mut HashMap<NonZeroU16, Option<Stamp>>,
    publish: &Publish<'_>,
    acks: &mut Vec<u8>,
) -> Result<Option<Stamp>, Fault> {
    let topic = std::str::from_utf8(publish.topic)
        .map_err(|_| (Kind::Protocol, "a topic that is no text".to_owned()))?;
    let tell = || scene.ledger.borrow_mut().received(audience, topic, publish.payload);
    match publish.packet_id {
        None => {
            tell();
            Ok(None)
        }
        Some(packet_id) if publish.qos == QoS::AtLeastOnce => {
            encode_ack(acks, PacketType::PubAck, packet_id);
            Ok(tell())
        }
        Some(packet_id) => {
            encode_ack(acks, PacketType::PubRec, packet_id);
            // [MQTT-4.3.3-10]: until it is released the same identifier is the same message.
            match arrived.get(&packet_id) {
                None => {
                    let stamp = tell();
                    if stamp.is_some() && arrived.values().any(|known| *known == stamp) {
                        let what = format!("{stamp:?} came under another packet identifier, {packet_id}");
                        return Err((Kind::Protocol, what));
                    }
                    arrived.insert(packet_id, stamp);
                }
                Some(known) if *known == Stamp::read(publish.payload) => {}
                Some(known) => {
                    let got = Stamp::read(publish.payload);
                    let what =
                        format!("packet identifier {packet_id} is {known:?} and now {got:?} on {topic}");
                    return Err((Kind::Protocol, what));
                }
            }
            Ok(None)
        }
    }
}

fn granted(suback: &SubAck<'_>, qos: QoS) -> Result<bool, Fault> {
    match suback.reasons.iter().next().map(|reason| reason.number()) {
        Some(number) if number == qos.number() => Ok(true),
        other => Err((Kind::Protocol, format!("a subscription at QoS {qos} was answered with {other:?}"))),
    }
}

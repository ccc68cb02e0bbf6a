//! A client of a crash audit whose will matters: it goes in one of the ways in which clients go, the end of the gateway among them, and says
//! whether its will has to be published.
//!
//! Each life has an identity of its own, so that nothing of one life has to be guessed in the next one. What a CONNACK says is not on the disk
//! yet, so a message to a queue is published behind it: when that is acknowledged, everything in front of it is kept. Where the gateway ends
//! before that, nobody knows whether there is a will; then the session is ended by a clean start, so that it is decided.

use super::mqtt::{Identity, Testament};
use super::scene::{Event, Link, PATIENCE, Phase, Scene};
use crate::stamp::{STAMP_BYTES, Stamp};
use crate::violations::Kind;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    Disconnect, PACKET_BYTES_MAX, Packet, PropertiesRef, Publish, ReasonCode, Version, encode, encode_publish,
};
use tidegate_testkit::random::Random;
use tokio::time::{Instant, sleep, timeout};

const PAUSE_MILLISECONDS: usize = 150;
/// The delay of a will whose client comes back in time,
const LONG_SECONDS: u32 = 5;
/// and how long after its end it has come back in time for certain.
const IN_TIME: Duration = Duration::from_secs(4);
const PROOF: &str = "$queue/jobs";

/// See the module.
pub(crate) struct Testator {
    scene: Rc<Scene>,
    name: String,
    version: Version,
    random: Random,
    lives: u32,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The socket is dropped.
    Cut,
    /// It stays until the gateway goes, or the load is over.
    Stay,
    /// DISCONNECT, after which there is no will ([MQTT-3.14.4-3]).
    Goodbye,
    /// DISCONNECT with the wish that the will is published (MQTT 5.0).
    GoodbyeWithWill,
    /// It is cut off and comes back before the delay of its will has passed ([MQTT-3.1.3-9]).
    Return,
    /// It comes for a second time while it is there.
    TakeOver,
}

/// What is known of a will in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    LeftBehind,
    Withdrawn,
    /// The gateway ended in between.
    Unknown,
}

impl Testator {
    /// A client of this version.
    pub(crate) fn new(scene: Rc<Scene>, name: String, version: Version, random: Random) -> Testator {
        Testator { scene, name, version, random, lives: 0 }
    }

    /// Lives again and again until the audit is over.
    pub(crate) async fn live(mut self) {
        let scene = self.scene.clone();
        while scene.phase.get() != Phase::Over {
            if scene.phase.get() == Phase::Load && scene.ports.get().is_some() {
                self.live_once(&scene).await;
            }
            sleep(Duration::from_millis(self.random.below(PAUSE_MILLISECONDS) as u64)).await;
        }
    }

    /// Until it is decided what becomes of the will, nothing is at rest.
    async fn live_once(&mut self, scene: &Scene) {
        self.lives += 1;
        let way = self.way();
        let mut identity = Identity::new(format!("{}.{}", self.name, self.lives), self.version);
        identity.survives = matches!(way, Way::Return | Way::TakeOver) || self.random.one_in(2);
        let testament = self.draw_up(way);
        let stamp = testament.stamp;
        identity.testament = Some(testament);
        scene.under_way.set(scene.under_way.get() + 1);
        let outcome = self.connect_and_go(scene, &mut identity, way).await;
        match outcome {
            Outcome::LeftBehind => scene.ledger.borrow_mut().left_behind(stamp),
            Outcome::Withdrawn => scene.ledger.borrow_mut().withdrawn(stamp),
            Outcome::Unknown => self.end_session(scene, &mut identity).await,
        }
        scene.under_way.set(scene.under_way.get() - 1);
    }

    fn way(&mut self) -> Way {
        const WAYS: [Way; 6] =
            [Way::Cut, Way::Stay, Way::Goodbye, Way::TakeOver, Way::GoodbyeWithWill, Way::Return];
        let known = if self.version == Version::V5 { WAYS.len() } else { 4 };
        WAYS[self.random.below(known)]
    }

    fn draw_up(&mut self, way: Way) -> Testament {
        let topic = match self.random.one_in(4) {
            true => "$queue/once".to_owned(),
            false => format!("will/{}", self.name),
        };
        let qos = *self.random.pick(&QoS::ALL[1..]);
        let delay_seconds = match (self.version, way) {
            (Version::V5, Way::Return) => LONG_SECONDS,
            (Version::V5, _) => self.random.below(2) as u32,
            _ => 0,
        };
        let mut ledger = self.scene.ledger.borrow_mut();
        let stream = ledger.stream(&topic, qos);
        Testament { topic, stamp: ledger.publishing(stream), qos, delay_seconds }
    }

    async fn connect_and_go(&mut self, scene: &Scene, identity: &mut Identity, way: Way) -> Outcome {
        let Some(mut link) = self.connect(scene, identity).await else { return Outcome::Unknown };
        if !self.prove(scene, identity, &mut link).await {
            return Outcome::Unknown;
        }
        identity.is_promised = identity.survives;
        match way {
            Way::Cut => Outcome::LeftBehind,
            Way::Stay => {
                self.stay(scene, identity, &mut link).await;
                Outcome::LeftBehind
            }
            Way::GoodbyeWithWill => {
                self.say_goodbye(&mut link, ReasonCode::DisconnectWithWill).await;
                Outcome::LeftBehind
            }
            Way::Goodbye => self.leave_in_peace(scene, identity, link).await,
            Way::Return => {
                drop(link);
                self.come_back(scene, identity, Instant::now()).await
            }
            Way::TakeOver => self.take_over(scene, identity, link).await,
        }
    }

    async fn connect(&mut self, scene: &Scene, identity: &Identity) -> Option<Link> {
        identity.connect(scene, &mut self.random).await.map(|(link, _)| link)
    }

    /// Publishes a message that the gateway has to keep. When that is acknowledged, what was in front of it is kept, too.
    async fn prove(&mut self, scene: &Scene, identity: &Identity, link: &mut Link) -> bool {
        let stamp = self.write_proof(identity, link);
        let is_proven = timeout(PATIENCE, async {
            let mut is_proven = false;
            while identity.read(scene, link, |_, packet| match packet {
                Packet::PubAck(ack) if !ack.reason.is_failure() => {
                    is_proven = true;
                    Ok(())
                }
                other => Err((Kind::Protocol, format!("{other:?} in place of a PUBACK"))),
            }) && !is_proven
            {
                if link.next(scene, &mut self.random, &identity.id).await == Event::End {
                    return false;
                }
            }
            is_proven
        });
        let is_proven = is_proven.await.unwrap_or_else(|_| {
            scene.accuse(Kind::Silence, || format!("{}: no PUBACK in time", identity.id));
            false
        });
        if is_proven {
            scene.ledger.borrow_mut().acknowledged(stamp);
        }
        is_proven
    }

    fn write_proof(&self, identity: &Identity, link: &mut Link) -> Stamp {
        let mut ledger = self.scene.ledger.borrow_mut();
        let stream = ledger.stream(PROOF, QoS::AtLeastOnce);
        let stamp = ledger.publishing(stream);
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: PROOF.as_bytes(),
            packet_id: Some(NonZeroU16::MIN),
            properties: PropertiesRef::EMPTY,
            payload: &stamp.payload(STAMP_BYTES),
        };
        encode_publish(&mut link.wire.output, identity.version, &publish, PACKET_BYTES_MAX)
            .expect("the PUBLISH is valid");
        stamp
    }

    async fn stay(&mut self, scene: &Scene, identity: &Identity, link: &mut Link) {
        while scene.phase.get() == Phase::Load
            && link.next(scene, &mut self.random, &identity.id).await != Event::End
        {}
    }

    /// DISCONNECT; returns when the gateway has closed the connection behind it.
    async fn say_goodbye(&mut self, link: &mut Link, reason: ReasonCode) {
        let goodbye = Packet::Disconnect(Disconnect { reason, properties: PropertiesRef::EMPTY });
        encode(&mut link.wire.output, self.version, &goodbye, PACKET_BYTES_MAX)
            .expect("the DISCONNECT is valid");
        if timeout(PATIENCE, link.wire.wait_for_end()).await.is_err() {
            let name = &self.name;
            self.scene.accuse(Kind::Silence, || format!("{name}: still connected behind its DISCONNECT"));
        }
    }

    async fn leave_in_peace(&mut self, scene: &Scene, identity: &mut Identity, mut link: Link) -> Outcome {
        self.say_goodbye(&mut link, ReasonCode::Success).await;
        if link.is_past(scene) {
            return Outcome::Unknown;
        }
        let life = scene.life.get();
        identity.testament = None;
        let Some(mut next) = self.connect(scene, identity).await else { return Outcome::Unknown };
        match scene.life.get() == life && self.prove(scene, identity, &mut next).await {
            true => Outcome::Withdrawn,
            false => Outcome::Unknown,
        }
    }

    /// Comes back to a session that it left without a word.
    async fn come_back(&mut self, scene: &Scene, identity: &mut Identity, left_at: Instant) -> Outcome {
        identity.testament = None;
        let Some(mut link) = self.connect(scene, identity).await else { return Outcome::Unknown };
        let is_in_time = left_at.elapsed() < IN_TIME;
        match self.prove(scene, identity, &mut link).await && is_in_time {
            true => Outcome::Withdrawn,
            false => Outcome::Unknown,
        }
    }

    /// What has a delay is not published, because its session goes on.
    async fn take_over(&mut self, scene: &Scene, identity: &mut Identity, before: Link) -> Outcome {
        let delay_seconds = identity.testament.take().map_or(0, |testament| testament.delay_seconds);
        let Some(mut link) = self.connect(scene, identity).await else { return Outcome::Unknown };
        let is_same_life = !before.is_past(scene);
        match self.prove(scene, identity, &mut link).await {
            true if delay_seconds == 0 => Outcome::LeftBehind,
            true if is_same_life => Outcome::Withdrawn,
            _ => Outcome::Unknown,
        }
    }

    /// Ends the session, and with it everything that may be due.
    async fn end_session(&mut self, scene: &Scene, identity: &mut Identity) {
        (identity.survives, identity.is_promised, identity.testament) = (false, false, None);
        while scene.phase.get() != Phase::Over {
            if let Some(mut link) = self.connect(scene, identity).await
                && self.prove(scene, identity, &mut link).await
            {
                return;
            }
        }
    }
}

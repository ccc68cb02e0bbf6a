//! Who takes part in a crash audit, and what each of them is for.
//!
//! Topics: `live/<area>/<who>` for everybody's own sessions, `work/<who>` for a shared subscription, `$queue/jobs` for workers of both
//! protocols, `$queue/once` for those who take each message exactly once, `state/<who>` for retained messages, `will/<who>` for wills.

use super::consumer::Consumer;
use super::ledger::{AudienceId, Ledger, Reach};
use super::publisher::{Publisher, Subject};
use super::reader;
use super::receiver::{Habit, Interest, Receiver};
use super::scene::Scene;
use super::sender::Sender;
use super::testator::Testator;
use crate::auditor::StreamId;
use std::rc::Rc;
use tidegate_message::QoS;
use tidegate_mqtt::codec::Version;
use tidegate_testkit::random::Random;
use tokio::task::spawn_local;

const PUBLISHERS: usize = 8;
const SENDERS: usize = 3;
const MEMBERS: usize = 3;
const TESTATORS: usize = 6;
const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// Sessions of their own: what they subscribe, at which level, and when they are there.
const SESSIONS: [(&str, QoS, Habit); 12] = [
    ("live/#", QoS::AtLeastOnce, from(1)),
    ("live/#", QoS::ExactlyOnce, from(1)),
    ("live/0/+", QoS::ExactlyOnce, from(1)),
    ("live/1/+", QoS::ExactlyOnce, from(1)),
    ("live/2/#", QoS::AtLeastOnce, from(1)),
    ("live/+/publisher-1", QoS::AtLeastOnce, from(1)),
    ("live/#", QoS::ExactlyOnce, from(2)),
    ("live/1/#", QoS::AtLeastOnce, from(3)),
    ("live/#", QoS::AtLeastOnce, Habit::Asleep),
    ("live/+/+", QoS::ExactlyOnce, Habit::Asleep),
    ("will/#", QoS::ExactlyOnce, from(1)),
    ("will/+", QoS::AtLeastOnce, Habit::Asleep),
];

const fn from(life: u32) -> Habit {
    Habit::Restless { from_life: life }
}

/// Several that share one audience: the filter as it is subscribed, the plain one, and the level.
const CROWDS: [(&str, &str, QoS); 4] = [
    ("$share/crew/work/#", "work/#", QoS::AtLeastOnce),
    ("$share/pair/work/+", "work/+", QoS::ExactlyOnce),
    ("$queue/jobs", "$queue/jobs", QoS::AtLeastOnce),
    ("$queue/once", "$queue/once", QoS::ExactlyOnce),
];

/// See the module.
#[derive(Debug)]
pub(crate) struct Cast {
    states: Vec<StreamId>,
}

impl Cast {
    /// Everybody begins to live, and waits for the gateway.
    pub(crate) fn gather(scene: &Rc<Scene>, random: &mut Random) -> Cast {
        gather_sessions(scene, random);
        gather_crowds(scene, random);
        gather_durable(scene, random);
        let states = gather_publishers(scene, random);
        for number in 0..SENDERS {
            let name = format!("sender-{number}");
            spawn_local(Sender::new(scene.clone(), name, Random::new(random.bits())).live());
        }
        for number in 0..TESTATORS {
            let (name, version) = (format!("testator-{number}"), VERSIONS[number.min(1)]);
            spawn_local(Testator::new(scene.clone(), name, version, Random::new(random.bits())).live());
        }
        let (reader_scene, reader_states) = (scene.clone(), states.clone());
        let mut reader_random = Random::new(random.bits());
        spawn_local(async move {
            reader::look_now_and_then(&reader_scene, &mut reader_random, &reader_states).await;
        });
        Cast { states }
    }

    /// Everything that is retained has to be there.
    pub(crate) async fn judge_retained(&self, scene: &Scene, random: &mut Random) {
        reader::look_for_all(scene, random, &self.states).await;
    }
}

fn gather_sessions(scene: &Rc<Scene>, random: &mut Random) {
    for (number, (filter, qos, habit)) in SESSIONS.into_iter().enumerate() {
        let name = format!("session-{number}");
        let audience = scene.ledger.borrow_mut().audience(name.clone(), filter, qos, Reach::Session);
        let interest = Interest { audience, filter: filter.to_owned(), qos, habit };
        spawn_receiver(scene, random, name, number, interest);
    }
}

fn gather_crowds(scene: &Rc<Scene>, random: &mut Random) {
    for (filter, plain, qos) in CROWDS {
        let audience = crowd(&mut scene.ledger.borrow_mut(), filter, plain, qos);
        for member in 0..MEMBERS {
            let name = format!("{filter} member {member}").replace(['#', '+'], "all");
            let interest = Interest { audience, filter: filter.to_owned(), qos, habit: from(1) };
            spawn_receiver(scene, random, name, member, interest);
        }
        if filter == "$queue/jobs" {
            for worker in 0..MEMBERS {
                let (name, own) = (format!("worker-{worker}"), Random::new(random.bits()));
                let destination = "/queue/jobs".to_owned();
                spawn_local(Consumer::new(scene.clone(), name, own, audience, destination).live());
            }
        }
    }
}

/// A named queue stands from its first message on, a share from its first member.
fn crowd(ledger: &mut Ledger, filter: &str, plain: &str, qos: QoS) -> AudienceId {
    let audience = ledger.audience(filter.to_owned(), plain, qos, Reach::Crowd);
    if filter.starts_with("$queue/") {
        ledger.subscribed(audience);
    }
    audience
}

fn spawn_receiver(scene: &Rc<Scene>, random: &mut Random, name: String, number: usize, interest: Interest) {
    let (version, own) = (VERSIONS[number % VERSIONS.len()], Random::new(random.bits()));
    spawn_local(Receiver::new(scene.clone(), name, version, own, interest).live());
}

fn gather_durable(scene: &Rc<Scene>, random: &mut Random) {
    for (number, filter) in ["live/#", "live/2/+", "will/#"].into_iter().enumerate() {
        let (name, qos) = (format!("durable-{number}"), QoS::AtLeastOnce);
        let audience = scene.ledger.borrow_mut().audience(name.clone(), filter, qos, Reach::Session);
        let (destination, own) = (format!("/topic/{filter}"), Random::new(random.bits()));
        spawn_local(Consumer::new(scene.clone(), name, own, audience, destination).live());
    }
}

/// The streams of their retained messages.
fn gather_publishers(scene: &Rc<Scene>, random: &mut Random) -> Vec<StreamId> {
    let mut states = Vec::new();
    for number in 0..PUBLISHERS {
        let name = format!("publisher-{number}");
        let mut subjects = Vec::new();
        let mut add = |topic: String, level: usize, is_retained: bool| {
            let qos = QoS::ALL[level % QoS::ALL.len()];
            let stream = scene.ledger.borrow_mut().stream(&topic, qos);
            subjects.push(Subject { stream, topic, qos, is_retained });
            stream
        };
        for area in 0..3 {
            add(format!("live/{area}/{name}"), number + area, false);
        }
        add(format!("work/{name}"), 1 + number % 2, false);
        add("$queue/jobs".to_owned(), 1 + number % 2, false);
        add("$queue/once".to_owned(), 2, false);
        states.push(add(format!("state/{name}"), number, true));
        let (version, own) = (VERSIONS[number % VERSIONS.len()], Random::new(random.bits()));
        spawn_local(Publisher::new(scene.clone(), name, version, own, subjects).live());
    }
    states
}

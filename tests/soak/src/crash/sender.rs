//! A STOMP sender of a crash audit: single messages with receipts, and transactions that come whole or not at all.
//!
//! What was not receipted when the connection ended is not sent again: a sender without a session could not say what it may double.
//! Each connection begins streams of its own, because nothing orders what two connections send.

use super::scene::{Event, Phase, Scene};
use super::talk::{Talk, unexpected};
use crate::auditor::StreamId;
use crate::stamp::{STAMP_BYTES, Stamp};
use crate::violations::Kind;
use std::collections::VecDeque;
use std::rc::Rc;
use tidegate_message::QoS;
use tidegate_stomp::codec::Command;
use tidegate_testkit::random::Random;

const UNDER_WAY_MAX: usize = 8;
const BURST: usize = 3;

/// See the module.
pub(crate) struct Sender {
    scene: Rc<Scene>,
    name: String,
    random: Random,
    connections: u32,
}

/// A destination, as it is in this connection.
struct Subject {
    stream: StreamId,
    destination: String,
    qos: &'static str,
}

/// What a receipt will say.
#[derive(Debug, Clone)]
enum Asked {
    Single(Stamp),
    Batch(Vec<Stamp>),
}

struct Visit {
    subjects: Vec<Subject>,
    /// What messages of transactions that are given up carry. Nothing of it may ever arrive.
    void: StreamId,
    asked: VecDeque<(String, Asked)>,
    next_name: u32,
}

impl Sender {
    /// A sender of this name.
    pub(crate) fn new(scene: Rc<Scene>, name: String, random: Random) -> Sender {
        Sender { scene, name, random, connections: 0 }
    }

    /// Lives until the audit is over.
    pub(crate) async fn live(mut self) {
        let scene = self.scene.clone();
        while scene.phase.get() != Phase::Over {
            if let Some(mut talk) = Talk::open(&scene, &mut self.random, &self.name).await {
                self.connections += 1;
                let mut visit = self.begin();
                self.serve(&scene, &mut talk, &mut visit).await;
                self.count(-(visit.asked.len() as isize));
                for (_, asked) in visit.asked {
                    if let Asked::Batch(stamps) = asked {
                        scene.ledger.borrow_mut().cut(stamps);
                    }
                }
            }
        }
    }

    fn begin(&mut self) -> Visit {
        let mut ledger = self.scene.ledger.borrow_mut();
        let (name, connection) = (&self.name, self.connections);
        let mut subject = |topic: String, qos: QoS, level: &'static str| {
            let stream = ledger.stream(&topic, qos);
            let destination = match topic.strip_prefix("$queue/") {
                Some(queue) => format!("/queue/{queue}"),
                None => format!("/topic/{topic}"),
            };
            Subject { stream, destination, qos: level }
        };
        let subjects = vec![
            subject(format!("live/0/{name}-{connection}"), QoS::AtLeastOnce, "1"),
            subject(format!("live/1/{name}-{connection}"), QoS::ExactlyOnce, "2"),
            subject(format!("live/2/{name}-{connection}"), QoS::ExactlyOnce, "2"),
            subject(format!("work/{name}-{connection}"), QoS::AtLeastOnce, "1"),
            subject("$queue/jobs".to_owned(), QoS::AtLeastOnce, "1"),
            subject("$queue/once".to_owned(), QoS::ExactlyOnce, "2"),
        ];
        let void = ledger.stream("void", QoS::ExactlyOnce);
        Visit { subjects, void, asked: VecDeque::new(), next_name: 0 }
    }

    fn count(&self, change: isize) {
        self.scene.under_way.set(self.scene.under_way.get().saturating_add_signed(change));
    }

    async fn serve(&mut self, scene: &Scene, talk: &mut Talk, visit: &mut Visit) {
        while scene.phase.get() != Phase::Over && self.handle_input(talk, visit) {
            match talk.link.next(scene, &mut self.random, &self.name).await {
                Event::Input => {}
                Event::End => return,
                Event::Act if scene.phase.get() == Phase::Load && self.random.one_in(150) => return,
                Event::Act => self.send_burst(talk, visit),
            }
        }
    }

    fn send_burst(&mut self, talk: &mut Talk, visit: &mut Visit) {
        for _ in 0..self.random.below(BURST) {
            if visit.asked.len() >= UNDER_WAY_MAX || !self.scene.may_publish() {
                return;
            }
            match self.random.below(8) {
                0 => self.give_up_transaction(talk, visit),
                1..4 => self.commit_transaction(talk, visit),
                _ => {
                    let receipt = visit.name();
                    let subject = self.random.below(visit.subjects.len());
                    let stream = visit.subjects[subject].stream;
                    let stamp = self.scene.ledger.borrow_mut().publishing(stream);
                    self.send(talk, &visit.subjects[subject], stamp, &[("receipt", &receipt)]);
                    visit.asked.push_back((receipt, Asked::Single(stamp)));
                    self.count(1);
                }
            }
        }
    }

    fn send(&mut self, talk: &mut Talk, subject: &Subject, stamp: Stamp, more: &[(&str, &str)]) {
        let payload = stamp.payload(self.random.below(300).max(STAMP_BYTES));
        let fixed = [("destination", &*subject.destination), ("qos", subject.qos)];
        talk.say(Command::Send, fixed.into_iter().chain(more.iter().copied()), &payload);
    }

    fn commit_transaction(&mut self, talk: &mut Talk, visit: &mut Visit) {
        let (transaction, receipt) = (visit.name(), visit.name());
        talk.say(Command::Begin, [("transaction", &*transaction)], b"");
        let mut stamps = Vec::new();
        for _ in 0..2 + self.random.below(4) {
            let subject = &visit.subjects[self.random.below(visit.subjects.len())];
            let stamp = self.scene.ledger.borrow_mut().publishing(subject.stream);
            self.send(talk, subject, stamp, &[("transaction", &transaction)]);
            stamps.push(stamp);
        }
        talk.say(Command::Commit, [("transaction", &*transaction), ("receipt", &*receipt)], b"");
        visit.asked.push_back((receipt, Asked::Batch(stamps)));
        self.count(1);
    }

    fn give_up_transaction(&mut self, talk: &mut Talk, visit: &mut Visit) {
        let transaction = visit.name();
        talk.say(Command::Begin, [("transaction", &*transaction)], b"");
        let subject = &visit.subjects[self.random.below(visit.subjects.len())];
        let stamp = self.scene.ledger.borrow_mut().publishing(visit.void);
        self.send(talk, subject, stamp, &[("transaction", &transaction)]);
        talk.say(Command::Abort, [("transaction", &*transaction)], b"");
    }

    /// Receipts come in the order in which they were asked for.
    fn handle_input(&mut self, talk: &mut Talk, visit: &mut Visit) -> bool {
        let mut answered = Vec::new();
        let is_right = talk.read(&self.scene, &self.name, |_, frame| {
            let name = frame.headers.get("receipt-id").filter(|_| frame.command == Command::Receipt);
            let name = name.ok_or_else(|| unexpected(frame))?;
            match visit.asked.pop_front() {
                Some((asked, what)) if asked == name => answered.push(what),
                next => return Err((Kind::Protocol, format!("a receipt for {name}, not for {next:?}"))),
            }
            Ok(())
        });
        self.count(-(answered.len() as isize));
        let mut ledger = self.scene.ledger.borrow_mut();
        for asked in answered {
            match asked {
                Asked::Single(stamp) => ledger.acknowledged(stamp),
                Asked::Batch(stamps) => stamps.into_iter().for_each(|stamp| ledger.acknowledged(stamp)),
            }
        }
        is_right
    }
}

impl Visit {
    fn name(&mut self) -> String {
        self.next_name += 1;
        self.next_name.to_string()
    }
}

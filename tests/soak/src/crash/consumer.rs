//! A STOMP consumer of a crash audit: a durable subscription, or one of those who work on a named queue. It acknowledges each message by
//! itself, late now and then, and a worker puts some back.

use super::ledger::AudienceId;
use super::mqtt::Fault;
use super::scene::{Event, Phase, Scene};
use super::talk::{Talk, say, unexpected};
use crate::stamp::Stamp;
use crate::violations::Kind;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tidegate_stomp::codec::{Command, Frame};
use tidegate_testkit::random::Random;
use tokio::time::sleep;

const AWAY_MILLISECONDS: usize = 250;
/// The receipt that comes behind everything that is on its way.
const BARRIER: &str = "barrier";

/// See the module.
pub(crate) struct Consumer {
    scene: Rc<Scene>,
    name: String,
    random: Random,
    audience: AudienceId,
    /// The destination as STOMP writes it.
    destination: String,
}

/// What ends with a connection.
#[derive(Debug, Default)]
struct Visit {
    /// Messages to be acknowledged with the next act: the identifier for that, and what it is.
    held: Vec<(String, Option<Stamp>)>,
    is_lazy: bool,
    /// What a receipt will confirm.
    confirmed: HashMap<String, Option<Stamp>>,
    next_name: u32,
    /// The newest barrier that was asked for.
    asked: u32,
}

impl Consumer {
    /// A consumer of a queue, or of a topic filter as a durable subscription.
    pub(crate) fn new(
        scene: Rc<Scene>,
        name: String,
        random: Random,
        audience: AudienceId,
        destination: String,
    ) -> Consumer {
        Consumer { scene, name, random, audience, destination }
    }

    fn is_worker(&self) -> bool {
        self.destination.starts_with("/queue/")
    }

    /// Lives until the audit is over.
    pub(crate) async fn live(mut self) {
        let scene = self.scene.clone();
        let mut reported = 0;
        scene.receivers.set(scene.receivers.get() + 1);
        while scene.phase.get() != Phase::Over {
            if let Some(mut talk) = Talk::open(&scene, &mut self.random, &self.name).await {
                self.subscribe(&mut talk);
                self.serve(&scene, &mut talk, &mut reported).await;
                scene.report_unsettled(&mut reported, 0);
            }
            if scene.phase.get() == Phase::Load {
                sleep(Duration::from_millis(self.random.below(AWAY_MILLISECONDS) as u64)).await;
            }
        }
    }

    fn subscribe(&self, talk: &mut Talk) {
        let durable = (!self.is_worker()).then_some(("durable", "true"));
        let fixed = [("id", "all"), ("destination", &*self.destination), ("ack", "client-individual")];
        let headers = fixed.into_iter().chain(durable).chain([("receipt", "subscribed")]);
        talk.say(Command::Subscribe, headers, b"");
    }

    async fn serve(&mut self, scene: &Scene, talk: &mut Talk, reported: &mut usize) {
        let mut visit = Visit { is_lazy: self.random.one_in(2), ..Visit::default() };
        while scene.phase.get() != Phase::Over && self.handle_input(talk, &mut visit) {
            scene.report_unsettled(reported, visit.held.len() + visit.confirmed.len());
            match talk.link.next(scene, &mut self.random, &self.name).await {
                Event::Input => {}
                Event::End => return,
                Event::Act if scene.phase.get() == Phase::Load && self.random.one_in(60) => return,
                Event::Act => self.act(talk, &mut visit),
            }
        }
    }

    fn act(&mut self, talk: &mut Talk, visit: &mut Visit) {
        let is_load = self.scene.phase.get() == Phase::Load;
        visit.is_lazy &= is_load;
        if is_load && visit.is_lazy && !self.random.one_in(4) {
            return;
        }
        let barrier = self.scene.barrier.get();
        if !is_load && barrier > visit.asked {
            visit.asked = barrier;
            let headers = [("destination", "/topic/barrier"), ("qos", "0"), ("receipt", BARRIER)];
            talk.say(Command::Send, headers, b"");
        }
        for (ack, stamp) in std::mem::take(&mut visit.held) {
            if is_load && self.is_worker() && self.random.one_in(40) {
                talk.say(Command::Nack, [("id", &*ack)], b"");
                continue;
            }
            visit.next_name += 1;
            let receipt = visit.next_name.to_string();
            say(&mut talk.link.wire.output, Command::Ack, [("id", &*ack), ("receipt", &*receipt)], b"");
            visit.confirmed.insert(receipt, stamp);
        }
    }

    fn handle_input(&mut self, talk: &mut Talk, visit: &mut Visit) -> bool {
        let Consumer { scene, name, audience, destination, .. } = self;
        let is_past = talk.link.is_past(scene);
        talk.read(scene, name, |_, frame| match frame.command {
            Command::Message => {
                let (topic, ack) = about(frame, destination)?;
                let stamp = scene.ledger.borrow_mut().received(*audience, &topic, frame.body);
                visit.held.push((ack, stamp));
                Ok(())
            }
            Command::Receipt => {
                let receipt = frame.headers.get("receipt-id").unwrap_or_default();
                let mut ledger = scene.ledger.borrow_mut();
                match visit.confirmed.remove(receipt) {
                    Some(stamp) => {
                        let settled = stamp.filter(|_| !is_past);
                        settled.into_iter().for_each(|stamp| ledger.settled(*audience, stamp));
                    }
                    None if receipt == "subscribed" => ledger.subscribed(*audience),
                    None if receipt == BARRIER => scene.pass(visit.asked),
                    None => return Err(unexpected(frame)),
                }
                Ok(())
            }
            _ => Err(unexpected(frame)),
        })
    }
}

/// The topic of a message, and the identifier of its acknowledgement.
fn about(frame: &Frame<'_>, destination: &str) -> Result<(String, String), Fault> {
    let header = |name| {
        let missing = || (Kind::Protocol, format!("a MESSAGE without {name} on {destination}"));
        frame.headers.get(name).ok_or_else(missing)
    };
    let (to, ack) = (header("destination")?, header("ack")?);
    let topic = match (to.strip_prefix("/topic/"), to.strip_prefix("/queue/")) {
        (Some(topic), _) => topic.to_owned(),
        (_, Some(queue)) => format!("$queue/{queue}"),
        _ => return Err((Kind::Protocol, format!("a MESSAGE with the destination {to}"))),
    };
    Ok((topic, ack.to_owned()))
}

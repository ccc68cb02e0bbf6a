//! The same for connections that hold several sessions: each session gets everything once and in order, whichever connection has it.
//!
//! Every session subscribes to the one topic to which everything is published, at level 1. Connections claim sessions, take them over with all
//! others of their holder, give one up, delete one, give messages back, stop reading and vanish.

use crate::driver::{Life, end_turn, live, read_mail};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_message::QoS;
use tidegate_protocol::{
    Attached, Attachment, ConsumerId, DeliveryTag, Detach, Outcome, Settlement, WillAction,
};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Attaching, Toy, message, session};
use tidegate_testkit::random::Random;

const SESSIONS: usize = 5;
const CONNECTIONS: usize = 4;
const ROUNDS: u64 = 60;
const STEPS: usize = 600;
const HOUR: Duration = Duration::from_secs(3600);

/// What the client of one session has seen.
#[derive(Debug, Default)]
struct Session {
    /// The last message that came for the first time.
    last: u64,
    /// Seen and not accepted.
    open: BTreeSet<u64>,
}

struct Connection {
    toy: Toy,
    /// The sessions that it holds, by consumer.
    held: BTreeMap<u32, usize>,
    /// The consumer and the session for which it waits.
    claiming: Option<(u32, usize)>,
    next_consumer: u32,
    /// What can be settled: consumer, tag, message.
    unsettled: Vec<(u32, u64, u64)>,
}

struct Run {
    random: Random,
    world: World,
    alice: Toy,
    published: u64,
    sessions: Vec<Session>,
    connections: Vec<Connection>,
}

fn attaching(session_number: usize, consumer: u32, credit: u32) -> Attaching {
    let attaching = session(&format!("s{session_number}")).consumer(consumer).credit(credit);
    attaching.expiry(HOUR).settlement(Settlement::Always)
}

impl Life for Run {
    fn step(&mut self) {
        match self.random.below(100) {
            0..=24 => self.publish(),
            25..=29 => self.connect(),
            30..=41 => self.claim(),
            42..=46 => self.give_up(),
            47..=64 => self.settle(),
            65..=69 => self.vanish(),
            70..=74 => self.block(),
            75..=87 => read_mail(&mut self.world, &mut self.random),
            88..=95 => end_turn(&mut self.world, &mut self.random),
            _ => self.world.run(),
        }
        self.observe();
    }

    /// Every session comes back, and everything is accepted; then nothing may be missing.
    fn finish(mut self) {
        self.world.run();
        self.observe();
        for connection in &self.connections {
            connection.toy.vanish(&mut self.world);
        }
        self.world.run();
        self.observe();
        assert!(self.connections.is_empty());
        self.connect();
        let toy = self.connections[0].toy.clone();
        for number in 0..SESSIONS {
            let attaching = attaching(number, number as u32, 10);
            // Between two of them the first one's deliveries are read, so that there is room for the next question.
            self.world.run();
            match toy.attach(&mut self.world, attaching) {
                Attachment::Now(attached) => self.hold(0, number as u32, number, &attached),
                other => panic!("session {number} is not free: {other:?}"),
            }
        }
        let mut rounds = 0;
        while rounds < 3 {
            self.world.run();
            self.observe();
            rounds += 1;
            for (consumer, tag, payload) in std::mem::take(&mut self.connections[0].unsettled) {
                rounds = 0;
                self.sessions[self.connections[0].held[&consumer]].open.remove(&payload);
                self.world.run();
                toy.ask(&mut self.world, move |broker| {
                    broker.settle(ConsumerId(consumer), DeliveryTag(tag), Outcome::Accepted);
                });
            }
        }
        for session in &self.sessions {
            assert_eq!((session.last, session.open.len()), (self.published, 0), "{session:?}");
        }
        self.world.end_everything(HOUR);
        let gauges = self.world.node().gauges();
        let left = [gauges.sessions, gauges.sessions_attached, gauges.subscriptions, gauges.queued_messages];
        assert_eq!((left, gauges.queued_bytes), ([0; 4], 0));
    }
}

impl Run {
    fn new(seed: u64, limits: Limits) -> Run {
        let mut random = Random::new(seed);
        let mut world = World::with_limits(1 + random.below(3), limits);
        let alice = world.toy(0);
        let mut run =
            Run { random, world, alice, published: 0, sessions: Vec::new(), connections: Vec::new() };
        for number in 0..SESSIONS {
            let session = run.begin(number);
            run.sessions.push(session);
        }
        run
    }

    /// Makes a session that nobody holds.
    fn begin(&mut self, number: usize) -> Session {
        let worker = self.random.below(self.world.workers());
        let toy = self.world.attached(worker, attaching(number, 0, 1));
        toy.subscribe(&mut self.world, "a");
        toy.vanish(&mut self.world);
        Session { last: self.published, ..Session::default() }
    }

    /// A connection that can be asked something.
    fn any(&mut self) -> Option<usize> {
        let at = self.random.below(CONNECTIONS);
        let toy = self.connections.get(at)?.toy.clone();
        toy.can_ask(&mut self.world).then_some(at)
    }

    fn publish(&mut self) {
        for _ in 0..1 + self.random.below(3) {
            self.published += 1;
            let text = self.published.to_string();
            let answer = self
                .alice
                .ask(&mut self.world, move |broker| broker.publish(&message("a", &text, QoS::AtLeastOnce)));
            assert!(answer.unwrap().matched);
        }
    }

    fn connect(&mut self) {
        if self.connections.len() < CONNECTIONS {
            let toy = self.world.toy(self.random.below(self.world.workers()));
            let (held, claiming, next_consumer, unsettled) = (BTreeMap::new(), None, 0, Vec::new());
            self.connections.push(Connection { toy, held, claiming, next_consumer, unsettled });
        }
    }

    fn claim(&mut self) {
        let Some(at) = self.any() else { return };
        let number = self.random.below(SESSIONS);
        let credit = 1 + self.random.below(6) as u32;
        let connection = &mut self.connections[at];
        if connection.held.values().any(|held| *held == number) {
            return;
        }
        let consumer = connection.next_consumer;
        connection.next_consumer += 1;
        let toy = connection.toy.clone();
        let answer = toy.attach(&mut self.world, attaching(number, consumer, credit));
        // The holder on the same worker has been closed within this step.
        self.observe();
        let at = self.place_of(&toy);
        match answer {
            Attachment::Now(attached) => self.hold(at, consumer, number, &attached),
            Attachment::Later => self.connections[at].claiming = Some((consumer, number)),
            Attachment::Refused(refusal) => panic!("{refusal}"),
        }
    }

    fn place_of(&self, toy: &Toy) -> usize {
        let is_it = |connection: &Connection| connection.toy.link.key() == toy.link.key();
        self.connections.iter().position(is_it).unwrap()
    }

    /// The broker says that a connection has a session.
    fn hold(&mut self, at: usize, consumer: u32, number: usize, attached: &Attached) {
        assert!(attached.present, "session {number} was lost");
        self.connections[at].held.insert(consumer, number);
    }

    /// A connection gives one of its sessions up, or ends it.
    fn give_up(&mut self) {
        let Some(at) = self.any() else { return };
        let connection = &mut self.connections[at];
        let held: Vec<u32> = connection.held.keys().copied().collect();
        if held.is_empty() {
            return;
        }
        let (consumer, delete) = (*self.random.pick(&held), self.random.one_in(4));
        let number = connection.held.remove(&consumer).unwrap();
        connection.unsettled.retain(|(of, ..)| *of != consumer);
        connection.toy.ask(&mut self.world, move |broker| {
            let (will, expiry) = (WillAction::Discard, delete.then_some(Duration::ZERO));
            broker.detach(Detach { consumer: ConsumerId(consumer), will, expiry, saved: Vec::new() });
        });
        if delete {
            self.sessions[number] = self.begin(number);
        }
    }

    fn settle(&mut self) {
        let Some(at) = self.any() else { return };
        for _ in 0..1 + self.random.below(4) {
            let connection = &mut self.connections[at];
            if connection.unsettled.is_empty() || !connection.toy.can_ask(&mut self.world) {
                return;
            }
            let (consumer, tag, payload) =
                connection.unsettled.remove(self.random.below(connection.unsettled.len()));
            let outcome = if self.random.one_in(5) { Outcome::Released } else { Outcome::Accepted };
            if outcome == Outcome::Accepted {
                self.sessions[connection.held[&consumer]].open.remove(&payload);
            }
            connection.toy.ask(&mut self.world, move |broker| {
                broker.settle(ConsumerId(consumer), DeliveryTag(tag), outcome);
            });
        }
    }

    fn vanish(&mut self) {
        let at = self.random.below(CONNECTIONS);
        if let Some(connection) = self.connections.get(at) {
            connection.toy.vanish(&mut self.world);
        }
    }

    fn block(&mut self) {
        let at = self.random.below(CONNECTIONS);
        let Some(connection) = self.connections.get(at) else { return };
        let link = connection.toy.link.clone();
        match self.random.below(3) {
            0 => self.world.block_after(&link, self.random.below(200)),
            _ => self.world.unblock(&link),
        }
    }

    /// Reads what has arrived, and notices what was answered and what has ended. The order within one step: a holder ends, then one claimant
    /// after the other has the session.
    fn observe(&mut self) {
        // False, and so first, for those that wait for nothing.
        let order =
            |connection: &Connection| (connection.claiming.is_some(), !connection.toy.link.is_ended());
        self.connections.sort_by_key(order);
        for at in 0..self.connections.len() {
            let connection = &mut self.connections[at];
            if let Some((of, answer)) = connection.toy.take_reply_for() {
                let (consumer, number) = connection.claiming.take().unwrap();
                assert_eq!(of, ConsumerId(consumer));
                self.hold(at, consumer, number, &answer.unwrap());
            }
            self.receive(at);
        }
        self.connections.retain(|connection| !connection.toy.link.is_ended());
    }

    fn receive(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        for got in connection.toy.got() {
            // What a session has given up is its own again.
            let Some(number) = connection.held.get(&got.consumer) else { continue };
            let (session, payload) = (&mut self.sessions[*number], got.payload.parse().unwrap());
            match payload > session.last {
                true => {
                    assert_eq!(payload, session.last + 1, "session {number}: {got:?}");
                    session.last = payload;
                    session.open.insert(payload);
                }
                false => assert!(
                    got.redelivered && session.open.contains(&payload),
                    "session {number} has {got:?} again: {session:?}"
                ),
            }
            connection.unsettled.push((got.consumer, got.tag.unwrap(), payload));
        }
    }
}

fn simulate(test: u64, limits: fn() -> Limits) {
    live(test, ROUNDS, STEPS, |seed| Run::new(seed, limits()));
}

#[test]
fn every_session_of_a_connection_gets_everything_once_and_in_order() {
    simulate(10, Limits::default);
}

#[test]
fn every_session_gets_everything_with_small_outputs() {
    simulate(11, || Limits { output_bytes: 120, ..Limits::default() });
}

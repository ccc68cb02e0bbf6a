//! The same for named queues: each message to one consumer at a time until one has accepted it, whoever comes and goes.
//!
//! Consumers with and without sessions come, go, give back, stop reading and move between workers; there are moments without any, and
//! queues that nobody uses go and begin again. In the end a single consumer takes what is left, and has every publisher's order.
//!
//! With a store the process ends now and then, and what comes back too often is dead: the heir finds it among the dead letters.

use crate::driver::{Life, end_turn, let_timers_run_out, live, read_mail};
use crate::fates::Fates;
use crate::store::{End, Event, Store};
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_broker::{Limits, QueuePolicy};
use tidegate_message::{QoS, Topic};
use tidegate_protocol::{
    Answer, Attachment, Consume, ConsumerId, DeliveryTag, Outcome, Settlement, Subscribe,
};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Got, SESSION, Toy, filter, session, subscription};
use tidegate_testkit::random::Random;

const CLIENTS: usize = 5;
const PUBLISHERS: usize = 3;
const ROUNDS: u64 = 40;
const STEPS: usize = 500;
const HOUR: Duration = Duration::from_secs(3600);
/// Longer than a run: what a session has begun with at level 2 is its own until the end.
const DAY: Duration = Duration::from_secs(24 * 3600);
const QUEUES: [&str; 2] = ["$queue/a", "$queue/b/c"];
const DEAD: &str = "$queue/dead";
/// More deliveries than a run can make.
const WITHOUT_END: u32 = 1_000_000;
/// Deliveries of one message, where there are dead letters.
const DELIVERIES: u32 = 3;

#[derive(Default)]
struct Client {
    toy: Option<Toy>,
    /// Whether it has a session, and what is delivered at level 0 needs no settling.
    has_session: bool,
    /// Received and not settled, by tag.
    open: BTreeMap<u64, u64>,
}

struct Run {
    random: Random,
    world: World,
    publishers: Vec<Toy>,
    clients: Vec<Client>,
    /// By the number of the message, which names its publisher as well.
    fates: Fates<u64>,
    /// Where each was published.
    queues: BTreeMap<u64, &'static str>,
    published: u64,
    with_sessions: bool,
    limits: Limits,
    /// What earlier processes have counted as lost.
    counted: u64,
    store: Option<Store<u64>>,
}

impl Life for Run {
    fn step(&mut self) {
        if self.store.is_some() && self.random.one_in(15) {
            return self.use_store();
        }
        let client = self.random.below(CLIENTS);
        match self.random.below(100) {
            0..=34 => self.publish(),
            35..=46 => self.come(client),
            47..=66 => self.settle(client),
            67..=73 => self.vanish(client),
            74..=77 => self.block(client),
            78..=88 => read_mail(&mut self.world, &mut self.random),
            89..=95 => end_turn(&mut self.world, &mut self.random),
            96..=97 => self.world.run(),
            _ => self.let_time_pass(),
        }
        (0..CLIENTS).for_each(|client| self.observe(client));
        if let Some(store) = &mut self.store {
            self.publishers.iter().for_each(|publisher| store.take_answers(publisher));
        }
    }

    /// Everybody leaves, and one comes and takes what is left, in order.
    fn finish(mut self) {
        self.everybody_leaves();
        let waiting = self.world.node().gauges().named_queue_messages;
        let heir = self.heir();
        let left = self.inherit(&heir);
        assert_eq!(left.len(), waiting);
        self.check_order(&left);
        let (counted, missing) = (self.counted(), self.fates.missing());
        assert!(missing.len() as u64 <= counted, "{counted} were counted: {missing:?}");
        self.check_the_end(&heir);
    }
}

impl Run {
    fn new(seed: u64, limits: Limits) -> Run {
        let mut random = Random::new(seed);
        let world = World::with_limits(1 + random.below(3), limits.clone());
        let with_sessions = !seed.is_multiple_of(2);
        let mut run = Run {
            random,
            world,
            publishers: Vec::new(),
            clients: Vec::new(),
            fates: Fates::new(),
            queues: BTreeMap::new(),
            published: 0,
            with_sessions,
            limits,
            counted: 0,
            store: None,
        };
        run.begin();
        run
    }

    /// The same with a store, and with ends of the process.
    fn on_storage(seed: u64, limits: Limits) -> Run {
        let mut run = Run::new(seed, limits.clone());
        let (world, store) = Store::begin(run.world.workers(), limits);
        (run.world, run.store) = (world, Some(store));
        run.begin();
        run
    }

    /// The publishers come, and nobody else is there.
    fn begin(&mut self) {
        let queues = vec![filter("$queue/#")];
        let policy = match self.store {
            None => QueuePolicy { queues, delivery_limit: WITHOUT_END, ..QueuePolicy::default() },
            Some(_) => {
                let dead_letter = Some(Topic::parse(DEAD.as_bytes()).unwrap());
                QueuePolicy { queues, delivery_limit: DELIVERIES, dead_letter, ..QueuePolicy::default() }
            }
        };
        self.world.set_queue_policies_within(self.limits.clone(), vec![policy]);
        let workers = self.world.workers();
        self.publishers = (0..PUBLISHERS).map(|number| self.world.toy(number % workers)).collect();
        self.clients = (0..CLIENTS).map(|_| Client::default()).collect();
    }

    fn use_store(&mut self) {
        match Event::any(&mut self.random) {
            Event::Sync => self.sync(),
            Event::End(end) => self.end_process(end),
        }
    }

    fn sync(&mut self) {
        if let Some(store) = &mut self.store {
            store.sync();
            self.fates.sync();
        }
    }

    /// Dead letters for which there was no room.
    fn counted(&self) -> u64 {
        self.counted + self.world.dropped("queue_full")
    }

    fn end_process(&mut self, end: End) {
        self.counted = self.counted();
        let Some(store) = &mut self.store else { return };
        if end == End::Kill {
            self.fates.sync();
        }
        self.fates.end();
        (self.world, _) = store.end(end, 1 + self.random.below(3));
        self.begin();
    }

    fn await_answer(&mut self, toy: &Toy, number: Option<u64>, answer: Answer) {
        match &mut self.store {
            Some(store) => store.await_answer(toy, number, answer),
            None => assert_eq!(answer, Answer::Now),
        }
    }

    /// The timers of one worker run out before others have read their mail, or everything comes to rest.
    fn let_time_pass(&mut self) {
        let time = Duration::from_secs(60 * self.random.below(12) as u64);
        if let Some(store) = &self.store {
            store.pass(time);
        }
        match self.random.one_in(2) {
            true => self.world.advance(time),
            false => let_timers_run_out(&mut self.world, &mut self.random, time),
        }
    }

    fn publish(&mut self) {
        let publisher = self.random.below(PUBLISHERS);
        let (queue, qos) = (*self.random.pick(&QUEUES), *self.random.pick(&QoS::ALL));
        self.published += 1;
        let number = self.published * 10 + publisher as u64;
        let toy = self.publishers[publisher].clone();
        let Ok(published) = toy.publish(&mut self.world, queue, &number.to_string(), qos) else { return };
        self.await_answer(&toy, Some(number), published.answer);
        // At level 0 a delivery to a session may be lost with a connection.
        self.fates.publish(number, qos, !self.with_sessions || qos > QoS::AtMostOnce);
        self.queues.insert(number, queue);
    }

    fn come(&mut self, client: usize) {
        if self.clients[client].toy.is_some() {
            return;
        }
        let has_session = self.with_sessions && client < 3;
        let (worker, credit) = (self.random.below(self.world.workers()), 1 + self.random.below(6) as u32);
        let toy = self.world.toy(worker);
        if has_session {
            let attaching = session(&client.to_string()).credit(credit).expiry(DAY);
            match toy.attach(&mut self.world, attaching) {
                Attachment::Now(_) => {}
                other => panic!("the session is free: {other:?}"),
            }
        } else {
            toy.ask(&mut self.world, move |broker| {
                let consume = Consume { consumer: SESSION, credit, settlement: Settlement::Always };
                broker.consume(consume).unwrap();
            });
        }
        // What its session is in already may have filled its output.
        while !toy.can_ask(&mut self.world) {
            self.world.flush_turn(worker);
        }
        let joins = QUEUES.map(|_| self.random.one_in(2));
        let level = match self.store {
            None => QoS::AtLeastOnce,
            Some(_) => *self.random.pick(&QoS::ALL[1..]),
        };
        let answers = toy.ask(&mut self.world, move |broker| {
            let change = |(queue, joins)| {
                let filter = filter(queue);
                let subscribe = Subscribe { qos_max: level, ..subscription(&filter) };
                match joins {
                    true => Some(broker.subscribe(&subscribe).unwrap().answer),
                    false => {
                        broker.unsubscribe(SESSION, None, &filter);
                        None
                    }
                }
            };
            QUEUES.into_iter().zip(joins).filter_map(change).collect::<Vec<_>>()
        });
        answers.into_iter().for_each(|answer| self.await_answer(&toy, None, answer));
        self.clients[client] = Client { toy: Some(toy), has_session, open: BTreeMap::new() };
    }

    fn settle(&mut self, client: usize) {
        let tags: Vec<u64> = self.clients[client].open.keys().copied().collect();
        for tag in tags.into_iter().take(1 + self.random.below(4)) {
            let Some(toy) = self.clients[client].toy.clone() else { return };
            if !toy.can_ask(&mut self.world) {
                return;
            }
            let number = self.clients[client].open.remove(&tag).unwrap();
            // A machine with a session never gives back.
            let released = !self.clients[client].has_session && self.random.one_in(4);
            match released {
                true => self.fates.give_back(number),
                false => self.fates.accept(number),
            }
            let outcome = if released { Outcome::Released } else { Outcome::Accepted };
            toy.ask(&mut self.world, move |broker| broker.settle(SESSION, DeliveryTag(tag), outcome));
        }
    }

    fn vanish(&mut self, client: usize) {
        if let Some(toy) = self.clients[client].toy.clone() {
            match self.clients[client].has_session || self.random.one_in(2) || !toy.can_ask(&mut self.world) {
                true => toy.vanish(&mut self.world),
                // The same consumer ends while its connection lives on.
                false => {
                    toy.ask(&mut self.world, |broker| assert!(broker.cancel(SESSION)));
                    self.world.flush_turn(toy.link.worker());
                    self.observe(client);
                    toy.vanish(&mut self.world);
                }
            }
            // Before anybody sees what it has left.
            self.observe(client);
        }
    }

    fn block(&mut self, client: usize) {
        let Some(toy) = self.clients[client].toy.clone() else { return };
        match self.random.one_in(3) {
            true => self.world.block(&toy.link),
            false => self.world.unblock(&toy.link),
        }
    }

    /// Reads what a client has received, and notices its end.
    fn observe(&mut self, client: usize) {
        let Some(toy) = self.clients[client].toy.clone() else { return };
        if let Some(store) = &mut self.store {
            store.take_answers(&toy);
        }
        for got in toy.got() {
            self.receive(client, &got);
        }
        if toy.link.is_ended() {
            let gone = std::mem::take(&mut self.clients[client]);
            gone.open.into_values().for_each(|number| self.fates.give_back(number));
        }
    }

    fn receive(&mut self, client: usize, got: &Got) {
        let number: u64 = got.payload.parse().unwrap();
        assert_eq!(self.queues.get(&number), Some(&&*got.topic), "nobody published {got:?} there");
        // What a session has begun with at level 2 never goes back, so that nothing counts how often.
        let may_be_dead = self.store.is_some() && !got.redelivered;
        assert!(!may_be_dead || got.attempt <= DELIVERIES, "it is dead: {got:?} at {client}");
        self.fates.check_attempt(number, got);
        let here = &mut self.clients[client];
        if self.fates.receive(number, client, got, here.has_session) {
            let tag = got.tag.unwrap();
            assert!(here.open.insert(tag, number).is_none(), "tag {tag} is in use");
        }
    }

    fn come_to_rest(&mut self) {
        self.sync();
        self.world.run();
    }

    fn everybody_leaves(&mut self) {
        self.come_to_rest();
        for client in 0..CLIENTS {
            self.observe(client);
            if let Some(toy) = self.clients[client].toy.clone() {
                toy.vanish(&mut self.world);
                self.observe(client);
            }
        }
        self.come_to_rest();
        self.world.advance(DAY);
        (0..CLIENTS).for_each(|client| self.fates.unbind(client, true));
    }

    /// Comes to all queues.
    fn heir(&mut self) -> Toy {
        let heir = self.world.toy(self.random.below(self.world.workers()));
        heir.ask(&mut self.world, |broker| {
            let consumer = ConsumerId(7);
            let consume = Consume { consumer, credit: 5, settlement: Settlement::Always };
            broker.consume(consume).unwrap();
            for queue in QUEUES.into_iter().chain([DEAD]) {
                let filter = filter(queue);
                broker.subscribe(&Subscribe { consumer, ..subscription(&filter) }).unwrap();
            }
        });
        heir
    }

    /// What one consumer receives until nothing is left, accepting everything: each message, and where it was.
    fn inherit(&mut self, heir: &Toy) -> Vec<(u64, String)> {
        let mut left = Vec::new();
        loop {
            self.come_to_rest();
            let got = heir.got();
            if got.is_empty() {
                return left;
            }
            for got in &got {
                let number: u64 = got.payload.parse().unwrap();
                if got.topic != DEAD {
                    self.fates.check_attempt(number, got);
                }
                self.fates.receive(number, CLIENTS, got, false);
                self.fates.accept(number);
                left.push((number, got.topic.clone()));
            }
            heir.ask(&mut self.world, move |broker| {
                for tag in got.iter().map(|got| DeliveryTag(got.tag.unwrap())) {
                    broker.settle(ConsumerId(7), tag, Outcome::Accepted);
                }
            });
        }
    }

    /// With a store a message at level 0 gets its place later than one that is kept, so each level has an order of its own, as [MQTT-4.6.0-6]
    /// has it. What a session was given at level 2 was its own, and came back behind what had come since.
    fn check_order(&self, left: &[(u64, String)]) {
        let has_store = self.store.is_some();
        let mut last: BTreeMap<(&str, u64, Option<QoS>), u64> = BTreeMap::new();
        for (number, queue) in left.iter().filter(|(_, queue)| queue != DEAD) {
            let qos = Some(self.fates.qos(*number)).filter(|_| has_store);
            if qos != Some(QoS::ExactlyOnce) {
                let last = last.entry((queue, number % 10, qos)).or_default();
                assert!(*last < *number, "{number} behind {last} of {queue}, published at {qos:?}");
                *last = *number;
            }
        }
    }

    fn check_the_end(mut self, heir: &Toy) {
        heir.vanish(&mut self.world);
        self.world.advance(HOUR);
        let gauges = self.world.node().gauges();
        let held = [gauges.named_queues, gauges.named_queue_messages, gauges.queued_messages];
        assert_eq!((held, gauges.queued_bytes, gauges.subscriptions), ([0; 3], 0, 0));
        let left = self.store.map(|store| store.living());
        assert!(left.as_ref().is_none_or(Vec::is_empty), "{left:?}");
    }
}

fn simulate(test: u64, limits: fn() -> Limits) {
    live(test, ROUNDS, STEPS, |seed| Run::new(seed, limits()));
}

fn simulate_with_store(test: u64, limits: fn() -> Limits) {
    live(test, ROUNDS / 4, STEPS, |seed| Run::on_storage(seed, limits()));
}

#[test]
fn a_named_queue_loses_doubles_and_reorders_nothing() {
    simulate(7, Limits::default);
}

/// The same with outputs that are full after a few messages.
#[test]
fn a_named_queue_loses_nothing_with_small_outputs() {
    simulate(8, || Limits { output_bytes: 60, ..Limits::default() });
}

/// What is refused is no promise; what is not refused is one.
#[test]
fn a_full_named_queue_loses_nothing_that_it_took() {
    simulate(9, || Limits { output_bytes: 100, queued_messages: 5, ..Limits::default() });
}

/// The same with a store: chance ends the process or takes the power away.
#[test]
fn a_named_queue_outlives_the_process() {
    simulate_with_store(14, Limits::default);
}

/// The same with outputs that are full after a few messages.
#[test]
fn a_named_queue_outlives_the_process_with_small_outputs() {
    simulate_with_store(15, || Limits { output_bytes: 60, ..Limits::default() });
}

/// The same where queues are full.
#[test]
fn a_full_named_queue_outlives_the_process() {
    simulate_with_store(16, || Limits { output_bytes: 100, queued_messages: 5, ..Limits::default() });
}

//! The same for named queues: each message to one consumer at a time until one has accepted it, whoever comes and goes.
//!
//! Consumers with and without sessions come, go, give back, stop reading and move between workers; there are moments without any, and
//! queues that nobody uses go and begin again. In the end a single consumer takes what is left, and has every publisher's order.

use super::for_each_seed;
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_broker::{Limits, QueuePolicy};
use tidegate_message::{QoS, TopicFilter};
use tidegate_protocol::{Attachment, Consume, ConsumerId, DeliveryTag, Outcome, Settlement, Subscribe};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Got, SESSION, Toy, filter, session, subscription};
use tidegate_testkit::random::Random;

const CLIENTS: usize = 5;
const PUBLISHERS: usize = 3;
const ROUNDS: u64 = 40;
const STEPS: usize = 500;
const HOUR: Duration = Duration::from_secs(3600);
const QUEUES: [&str; 2] = ["$queue/a", "$queue/b/c"];
/// More deliveries than a run can make.
const WITHOUT_END: u32 = 1_000_000;

#[derive(Default)]
struct Client {
    toy: Option<Toy>,
    /// Whether it has a session, and what is delivered at level 0 needs no settling.
    has_session: bool,
    /// Received and not settled, by tag.
    open: BTreeMap<u64, u64>,
}

#[derive(Default)]
struct Fate {
    queue: usize,
    holder: Option<usize>,
    received: u32,
    is_accepted: bool,
    /// Whether a delivery without a tag may have been lost with a connection.
    may_be_lost: bool,
}

struct Run {
    random: Random,
    world: World,
    publishers: Vec<Toy>,
    clients: Vec<Client>,
    /// By the number of the message, which names its publisher as well.
    fates: BTreeMap<u64, Fate>,
    published: u64,
    with_sessions: bool,
}

impl Run {
    fn new(seed: u64, limits: Limits) -> Run {
        let mut random = Random::new(seed);
        let mut world = World::with_limits(1 + random.below(3), limits.clone());
        let all = TopicFilter::parse(b"$queue/#").unwrap();
        let policy = QueuePolicy { queues: vec![all], delivery_limit: WITHOUT_END, ..QueuePolicy::default() };
        world.set_queue_policies_within(limits, vec![policy]);
        let publishers = (0..PUBLISHERS).map(|number| {
            let worker = number % world.workers();
            world.toy(worker)
        });
        let publishers = publishers.collect();
        let clients = (0..CLIENTS).map(|_| Client::default()).collect();
        let with_sessions = !seed.is_multiple_of(2);
        Run { random, world, publishers, clients, fates: BTreeMap::new(), published: 0, with_sessions }
    }

    fn step(&mut self) {
        let client = self.random.below(CLIENTS);
        match self.random.below(100) {
            0..=34 => self.publish(),
            35..=46 => self.come(client),
            47..=66 => self.settle(client),
            67..=73 => self.vanish(client),
            74..=77 => self.block(client),
            78..=88 => {
                let worker = self.random.below(self.world.workers());
                self.world.handle_mail(worker);
            }
            89..=95 => {
                let worker = self.random.below(self.world.workers());
                self.world.flush_turn(worker);
            }
            96..=97 => self.world.run(),
            _ => self.let_time_pass(),
        }
        (0..CLIENTS).for_each(|client| self.observe(client));
    }

    /// The timers of one worker run out before others have read their mail, or everything comes to rest.
    fn let_time_pass(&mut self) {
        let time = Duration::from_secs(60 * self.random.below(12) as u64);
        if self.random.one_in(2) {
            return self.world.advance(time);
        }
        self.world.now += time;
        let worker = self.random.below(self.world.workers());
        let now = self.world.now;
        self.world.shard(worker).handle_timers(now);
    }

    fn publish(&mut self) {
        let publisher = self.random.below(PUBLISHERS);
        let (queue, qos) = (self.random.below(QUEUES.len()), *self.random.pick(&QoS::ALL));
        self.published += 1;
        let number = self.published * 10 + publisher as u64;
        let toy = self.publishers[publisher].clone();
        let answer = toy.publish(&mut self.world, QUEUES[queue], &number.to_string(), qos);
        if answer.is_ok() {
            let may_be_lost = self.with_sessions && qos == QoS::AtMostOnce;
            self.fates.insert(number, Fate { queue, may_be_lost, ..Fate::default() });
        }
    }

    fn come(&mut self, client: usize) {
        if self.clients[client].toy.is_some() {
            return;
        }
        let has_session = self.with_sessions && client < 3;
        let (worker, credit) = (self.random.below(self.world.workers()), 1 + self.random.below(6) as u32);
        let toy = self.world.toy(worker);
        if has_session {
            let attaching = session(&client.to_string()).credit(credit);
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
        toy.ask(&mut self.world, move |broker| {
            for (queue, joins) in QUEUES.into_iter().zip(joins) {
                let filter = filter(queue);
                let subscribe = Subscribe { qos_max: QoS::AtLeastOnce, ..subscription(&filter) };
                match joins {
                    true => drop(broker.subscribe(&subscribe).unwrap()),
                    false => drop(broker.unsubscribe(SESSION, None, &filter)),
                }
            }
        });
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
            let fate = self.fates.get_mut(&number).unwrap();
            fate.holder = None;
            // A machine with a session never gives back.
            let released = !self.clients[client].has_session && self.random.one_in(4);
            fate.is_accepted = !released;
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
        for got in toy.got() {
            self.receive(client, &got);
        }
        if toy.link.is_ended() {
            let gone = std::mem::take(&mut self.clients[client]);
            for number in gone.open.into_values() {
                self.fates.get_mut(&number).unwrap().holder = None;
            }
        }
    }

    fn receive(&mut self, client: usize, got: &Got) {
        let number: u64 = got.payload.parse().unwrap();
        let fate = self.fates.get_mut(&number).unwrap_or_else(|| panic!("nobody published {got:?}"));
        assert_eq!(QUEUES[fate.queue], got.topic);
        assert!(!fate.is_accepted, "accepted already: {got:?} at {client}");
        assert_eq!(fate.holder, None, "somebody has it: {got:?} at {client}");
        fate.received += 1;
        assert!(got.attempt >= fate.received, "delivered {} times: {got:?}", fate.received);
        match got.tag {
            None => fate.is_accepted = true,
            Some(tag) => {
                fate.holder = Some(client);
                assert!(self.clients[client].open.insert(tag, number).is_none(), "tag {tag} is in use");
            }
        }
    }

    /// Everybody leaves, and one comes and takes what is left, in order.
    fn finish(mut self) {
        self.world.run();
        for client in 0..CLIENTS {
            self.observe(client);
            if let Some(toy) = self.clients[client].toy.clone() {
                toy.vanish(&mut self.world);
                self.observe(client);
            }
        }
        self.world.run();
        self.world.advance(HOUR);
        let waiting = self.world.node().gauges().named_queue_messages;
        let heir = self.world.toy(self.random.below(self.world.workers()));
        heir.ask(&mut self.world, |broker| {
            let consumer = ConsumerId(7);
            let consume = Consume { consumer, credit: 5, settlement: Settlement::Always };
            broker.consume(consume).unwrap();
            for queue in QUEUES {
                let filter = filter(queue);
                broker.subscribe(&Subscribe { consumer, ..subscription(&filter) }).unwrap();
            }
        });
        let left = self.inherit(&heir);
        assert_eq!(left.len(), waiting);
        for (queue, publisher) in (0..QUEUES.len()).flat_map(|queue| (0..PUBLISHERS).map(move |p| (queue, p)))
        {
            let of = |number: &&u64| self.fates[number].queue == queue && **number % 10 == publisher as u64;
            let order: Vec<u64> = left.iter().filter(of).copied().collect();
            assert!(order.is_sorted(), "publisher {publisher} of {}: {order:?}", QUEUES[queue]);
        }
        let lost = self.fates.iter().filter(|(_, fate)| !fate.is_accepted && !fate.may_be_lost);
        let lost: Vec<u64> = lost.map(|(number, _)| *number).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        self.check_the_end(&heir);
    }

    /// What one consumer receives until nothing is left, accepting everything.
    fn inherit(&mut self, heir: &Toy) -> Vec<u64> {
        let mut left = Vec::new();
        loop {
            self.world.run();
            let got = heir.got();
            if got.is_empty() {
                return left;
            }
            for got in &got {
                let number: u64 = got.payload.parse().unwrap();
                let fate = self.fates.get_mut(&number).unwrap();
                assert!(!fate.is_accepted && fate.holder.is_none(), "a second time: {got:?}");
                fate.is_accepted = true;
                left.push(number);
            }
            heir.ask(&mut self.world, move |broker| {
                for tag in got.iter().map(|got| DeliveryTag(got.tag.unwrap())) {
                    broker.settle(ConsumerId(7), tag, Outcome::Accepted);
                }
            });
        }
    }

    fn check_the_end(mut self, heir: &Toy) {
        heir.vanish(&mut self.world);
        self.world.advance(HOUR);
        let gauges = self.world.node().gauges();
        let held = [gauges.named_queues, gauges.named_queue_messages, gauges.queued_messages];
        assert_eq!((held, gauges.queued_bytes, gauges.subscriptions), ([0; 3], 0, 0));
    }
}

fn simulate(test: u64, limits: fn() -> Limits) {
    for_each_seed(test, ROUNDS, |seed| {
        let mut run = Run::new(seed, limits());
        (0..STEPS).for_each(|_| run.step());
        run.finish();
    });
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

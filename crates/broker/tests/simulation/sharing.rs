//! The same for shared subscriptions: each message to one member of each group, whoever comes and goes.
//!
//! One member never leaves, so that no group ends and nothing may be missing; the others come, go, are taken over, join, leave, move between
//! workers and stop reading. What counts is what a client has seen: a message that is with one client may not be with another,
//! and one that was accepted may not come again.
//!
//! With a store the process ends now and then. Who is a member with which session is always on the disk, so that the model need not guess.

use crate::driver::{Life, end_turn, live, read_mail};
use crate::fates::Fates;
use crate::store::{End, Event, Store};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_broker::Limits;
use tidegate_message::{QoS, Topic};
use tidegate_protocol::{Answer, Attachment, Subscribe};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Attaching, Got, Toy, filter, session};
use tidegate_testkit::random::Random;

const CLIENTS: usize = 5;
const ROUNDS: u64 = 60;
const STEPS: usize = 600;
const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
const TOPICS: [&str; 3] = ["a", "a/b", "c"];
/// Groups by their number, which is the identifier of every subscription to them as well.
const GROUPS: [(&str, &str); 3] = [("g", "a"), ("h", "a"), ("g", "#")];

/// A message on its way to one group.
type Parcel = (usize, u64);

#[derive(Default)]
struct Client {
    toy: Option<Toy>,
    credit: usize,
    expiry: Duration,
    /// Received and not settled, by tag.
    open: BTreeMap<u64, Parcel>,
    /// When the session ends, while nobody is attached.
    ends_at: Option<Instant>,
    groups: Vec<usize>,
}

struct Run {
    random: Random,
    world: World,
    clients: Vec<Client>,
    fates: Fates<Parcel>,
    published: u64,
    level_max: QoS,
    /// What earlier processes have counted as lost.
    counted: u64,
    store: Option<Store<u64>>,
    /// The connections of all clients, and how many groups they are in.
    standing: Vec<(Option<u64>, Vec<usize>)>,
}

impl Life for Run {
    fn step(&mut self) {
        if self.store.is_some() && self.random.one_in(15) {
            return self.use_store();
        }
        let client = self.random.below(CLIENTS);
        match self.random.below(100) {
            0..=34 => self.publish(client),
            35..=44 => self.attach(client),
            45..=52 => self.change(client),
            53..=68 => self.settle(client),
            69..=73 => self.vanish(client),
            74..=77 => self.block(client),
            78..=88 => read_mail(&mut self.world, &mut self.random),
            89..=95 => end_turn(&mut self.world, &mut self.random),
            96..=98 => self.world.run(),
            _ => self.let_time_pass(),
        }
        (0..CLIENTS).for_each(|client| self.observe(client));
        self.observe_store();
    }

    /// The one that never leaves reads and accepts until nothing moves.
    fn finish(mut self) {
        self.come_to_rest();
        for client in 0..CLIENTS {
            self.observe(client);
            if self.clients[client].toy.is_none() {
                let expiry = if client == 0 { DAY } else { HOUR };
                let worker = self.random.below(self.world.workers());
                self.attach_as(client, worker, session(&client.to_string()).expiry(expiry));
            }
        }
        while self.drain() {}
        self.check();
    }
}

impl Run {
    fn new(seed: u64, limits: Limits) -> Run {
        let mut run = Run::begin(seed, limits);
        run.found();
        run
    }

    fn begin(seed: u64, limits: Limits) -> Run {
        let mut random = Random::new(seed);
        let world = World::with_limits(1 + random.below(3), limits);
        let level_max = if seed.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let clients = (0..CLIENTS).map(|_| Client::default()).collect();
        let (fates, standing) = (Fates::new(), Vec::new());
        Run { random, world, clients, fates, published: 0, level_max, counted: 0, store: None, standing }
    }

    /// The same with a store, and with ends of the process.
    fn on_storage(seed: u64, limits: Limits) -> Run {
        let mut run = Run::begin(seed, limits.clone());
        let (world, store) = Store::begin(run.world.workers(), limits);
        (run.world, run.store) = (world, Some(store));
        run.found();
        run
    }

    /// The one that never leaves joins all groups.
    fn found(&mut self) {
        let worker = self.random.below(self.world.workers());
        let anchor = self.world.attached(worker, session("0").expiry(DAY));
        self.clients[0] = Client { toy: Some(anchor), credit: 10, expiry: DAY, ..Client::default() };
        (0..GROUPS.len()).for_each(|group| self.join(0, group, QoS::ExactlyOnce));
        self.sync();
    }

    fn let_time_pass(&mut self) {
        let time = Duration::from_secs(60 * self.random.below(40) as u64);
        if let Some(store) = &self.store {
            store.pass(time);
        }
        self.world.advance(time);
        (0..CLIENTS).for_each(|client| self.observe(client));
        self.sync();
    }

    fn come_to_rest(&mut self) {
        self.sync();
        self.world.run();
    }

    fn sync(&mut self) {
        if let Some(store) = &mut self.store {
            store.sync();
            self.fates.sync();
        }
    }

    fn use_store(&mut self) {
        match Event::any(&mut self.random) {
            Event::Sync => self.sync(),
            Event::End(end) => self.end_process(end),
        }
    }

    fn observe_store(&mut self) {
        let Some(store) = &mut self.store else { return };
        self.clients.iter().filter_map(|client| client.toy.as_ref()).for_each(|toy| store.take_answers(toy));
        let connection = |toy: &Toy| toy.link.key().connection();
        let standing = |client: &Client| (client.toy.as_ref().map(connection), client.groups.clone());
        let standing: Vec<_> = self.clients.iter().map(standing).collect();
        if standing != self.standing {
            self.standing = standing;
            self.sync();
        }
    }

    fn counted(&self) -> u64 {
        self.counted + self.world.dropped("session_ended") + self.world.dropped("queue_full")
    }

    fn end_process(&mut self, end: End) {
        self.counted = self.counted();
        let Some(store) = &mut self.store else { return };
        if end == End::Kill {
            self.fates.sync();
        }
        let before = self.world.now;
        (self.world, _) = store.end(end, 1 + self.random.below(3));
        self.fates.end();
        let now = self.world.now;
        for client in &mut self.clients {
            client.open.clear();
            client.ends_at = match client.toy.take() {
                Some(_) => Some(now + client.expiry),
                None => client.ends_at.map(|at| now + at.saturating_duration_since(before)),
            };
        }
        // Sessions that end with their connections do so now.
        self.world.run();
        self.world.advance(Duration::ZERO);
        (0..CLIENTS).for_each(|client| self.observe(client));
        self.sync();
    }

    fn await_answer(&mut self, toy: &Toy, id: Option<u64>, answer: Answer) {
        match &mut self.store {
            Some(store) => store.await_answer(toy, id, answer),
            None => assert_eq!(answer, Answer::Now),
        }
    }

    fn toy(&mut self, client: usize) -> Option<Toy> {
        let toy = self.clients[client].toy.clone()?;
        toy.can_ask(&mut self.world).then_some(toy)
    }

    fn publish(&mut self, client: usize) {
        let Some(toy) = self.toy(client) else { return };
        let topic = *self.random.pick(&TOPICS);
        let qos = (*self.random.pick(&QoS::ALL)).min(self.level_max);
        self.published += 1;
        let answer = toy.publish(&mut self.world, topic, &self.published.to_string(), qos);
        if let Ok(published) = &answer {
            self.await_answer(&toy, Some(self.published), published.answer);
        }
        let parsed = Topic::parse(topic.as_bytes()).unwrap();
        for (group, (_, text)) in GROUPS.iter().enumerate() {
            if filter(text).matches(&parsed) {
                let is_owed = qos > QoS::AtMostOnce && answer.is_ok();
                self.fates.publish((group, self.published), qos, is_owed);
            }
        }
    }

    fn attach(&mut self, client: usize) {
        let mut attaching = session(&client.to_string()).credit(1 + self.random.below(6) as u32);
        attaching.expiry = *self.random.pick(&[Duration::ZERO, HOUR, HOUR]);
        attaching.clean_start = self.random.one_in(6);
        if client == 0 {
            (attaching.expiry, attaching.clean_start) = (DAY, false);
        }
        let worker = self.random.below(self.world.workers());
        self.attach_as(client, worker, attaching);
    }

    fn attach_as(&mut self, client: usize, worker: usize, attaching: Attaching) {
        let toy = self.world.toy(worker);
        let mut present = match toy.attach(&mut self.world, attaching.clone()) {
            Attachment::Now(attached) => Some(attached.present),
            Attachment::Later => None,
            Attachment::Refused(refusal) => panic!("{refusal}"),
        };
        while present.is_none() {
            for worker in 0..self.world.workers() {
                self.world.handle_mail(worker);
            }
            present = toy.take_reply().map(|answer| answer.expect("no limit").present);
        }
        self.observe(client);
        let here = &mut self.clients[client];
        assert!(here.toy.is_none(), "the former connection has ended");
        if present == Some(false) {
            here.groups.clear();
            self.fates.unbind(client, false);
        }
        let (credit, expiry) = (attaching.credit as usize, attaching.expiry);
        (here.toy, here.credit, here.expiry, here.ends_at) = (Some(toy), credit, expiry, None);
    }

    /// Joins a group, changes the level there, or leaves it.
    fn change(&mut self, client: usize) {
        let (group, qos) = (self.random.below(GROUPS.len()), *self.random.pick(&QoS::ALL[1..]));
        match client > 0 && self.random.one_in(3) {
            true => self.leave(client, group),
            false => self.join(client, group, qos),
        }
    }

    fn join(&mut self, client: usize, group: usize, qos: QoS) {
        let Some(toy) = self.toy(client) else { return };
        let (share, text) = GROUPS[group];
        let options = move |subscribe: &mut Subscribe<'_>| {
            (subscribe.share, subscribe.qos_max) = (Some(share), qos);
            subscribe.subscription_id = Some(group as u32);
        };
        let subscribed = toy.subscribe_with(&mut self.world, text, options).unwrap();
        self.await_answer(&toy, None, subscribed.answer);
        let (existed, groups) = (subscribed.existed, &mut self.clients[client].groups);
        assert_eq!(existed, groups.contains(&group));
        if !existed {
            groups.push(group);
        }
    }

    fn leave(&mut self, client: usize, group: usize) {
        let Some(toy) = self.toy(client) else { return };
        let existed = toy.leave_group(&mut self.world, GROUPS[group].0, GROUPS[group].1);
        let groups = &mut self.clients[client].groups;
        assert_eq!(existed, groups.contains(&group));
        groups.retain(|known| *known != group);
    }

    fn settle(&mut self, client: usize) {
        let tags: Vec<u64> = self.clients[client].open.keys().copied().collect();
        for tag in tags.into_iter().take(1 + self.random.below(4)) {
            let Some(toy) = self.toy(client) else { return };
            let parcel = self.clients[client].open.remove(&tag).unwrap();
            self.fates.accept(parcel);
            toy.accept(&mut self.world, tag);
        }
    }

    fn vanish(&mut self, client: usize) {
        if let Some(toy) = self.clients[client].toy.clone() {
            toy.vanish(&mut self.world);
        }
    }

    fn block(&mut self, client: usize) {
        let Some(toy) = self.clients[client].toy.clone() else { return };
        match self.random.one_in(3) {
            true => self.world.block_after(&toy.link, 0),
            false => self.world.unblock(&toy.link),
        }
    }

    /// Reads what a client has received, and notices its end and its session's.
    fn observe(&mut self, client: usize) {
        if let Some(toy) = self.clients[client].toy.clone() {
            for got in toy.got() {
                self.receive(client, &got);
            }
            if toy.link.is_ended() {
                self.detach(client);
            }
        }
        let here = &mut self.clients[client];
        if here.ends_at.is_some_and(|at| at <= self.world.now) {
            here.groups.clear();
            self.fates.unbind(client, false);
        }
    }

    fn detach(&mut self, client: usize) {
        let here = &mut self.clients[client];
        here.toy = None;
        here.ends_at = Some(self.world.now + here.expiry);
        std::mem::take(&mut here.open).into_values().for_each(|parcel| self.fates.give_back(parcel));
    }

    fn receive(&mut self, client: usize, got: &Got) {
        let parcel = (got.subscription_ids[0] as usize, got.payload.parse().unwrap());
        if self.fates.receive(parcel, client, got, true) {
            let (here, tag) = (&mut self.clients[client], got.tag.unwrap());
            assert!(here.open.insert(tag, parcel).is_none(), "tag {tag} is in use");
            assert!(here.open.len() <= here.credit, "more than its credit");
        }
    }

    /// Everybody reads and settles; returns whether anything moved.
    fn drain(&mut self) -> bool {
        let mut progress = false;
        for client in 0..CLIENTS {
            if let Some(toy) = self.clients[client].toy.clone() {
                self.world.unblock(&toy.link);
            }
            self.come_to_rest();
            self.observe(client);
            progress |= !self.clients[client].open.is_empty();
            self.settle(client);
        }
        progress
    }

    fn check(mut self) {
        let (counted, missing) = (self.counted(), self.fates.missing());
        assert!(missing.len() as u64 <= counted, "{counted} were counted: {missing:?}");
        if self.level_max < QoS::ExactlyOnce {
            assert_eq!(self.world.dropped("session_ended"), 0, "level 1 is never lost with a session");
        }
        let gauges = self.world.node().gauges();
        let members: usize = self.clients.iter().map(|client| client.groups.len()).sum();
        assert_eq!((gauges.queued_messages, gauges.queued_bytes, gauges.subscriptions), (0, 0, members));
        self.world.end_everything(DAY);
        let gauges = self.world.node().gauges();
        assert_eq!((gauges.sessions, gauges.subscriptions, gauges.queued_bytes), (0, 0, 0));
        let left = self.store.map(|store| store.living());
        assert!(left.as_ref().is_none_or(Vec::is_empty), "{left:?}");
    }
}

fn simulate(test: u64, limits: fn() -> Limits) {
    live(test, ROUNDS, STEPS, |seed| Run::new(seed, limits()));
}

fn simulate_with_store(test: u64, limits: fn() -> Limits) {
    live(test, ROUNDS / 6, STEPS, |seed| Run::on_storage(seed, limits()));
}

/// MQTT 5.0 section 4.8.2, [MQTT-4.8.2-4] [MQTT-4.8.2-5]
#[test]
fn each_message_reaches_one_member_and_none_is_lost() {
    simulate(4, Limits::default);
}

/// The same with outputs that are full after a few messages.
#[test]
fn each_message_reaches_one_member_with_small_outputs() {
    simulate(5, || Limits { output_bytes: 60, ..Limits::default() });
}

/// Where a group's queue is full, what is missing is counted.
#[test]
fn what_a_group_has_no_room_for_is_counted() {
    simulate(6, || Limits { output_bytes: 100, queued_messages: 5, ..Limits::default() });
}

/// The same with a store: chance ends the process or takes the power away. [MQTT-4.8.2-4]
#[test]
fn what_a_group_took_outlives_the_process() {
    simulate_with_store(17, Limits::default);
}

/// The same with outputs that are full after a few messages.
#[test]
fn what_a_group_took_outlives_the_process_with_small_outputs() {
    simulate_with_store(18, || Limits { output_bytes: 60, ..Limits::default() });
}

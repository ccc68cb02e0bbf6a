//! The same for shared subscriptions: each message to one member of each group, whoever comes and goes.
//!
//! One member never leaves, so that no group ends and nothing may be missing; the others come, go, are taken over, join, leave, move between
//! workers and stop reading. What counts is what a client has seen: a message that is with one client may not be with another,
//! and one that was accepted may not come again.

use super::for_each_seed;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_broker::Limits;
use tidegate_message::{QoS, Topic};
use tidegate_protocol::{Attachment, Subscribe};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Attaching, Toy, filter, session};
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

#[derive(Default)]
struct Fate {
    /// The client that has it now.
    holder: Option<usize>,
    /// The client that has begun with it at level 2.
    bound_to: Option<usize>,
    is_accepted: bool,
}

struct Run {
    random: Random,
    world: World,
    clients: Vec<Client>,
    fates: BTreeMap<Parcel, Fate>,
    /// Parcels above level 0 that nobody has accepted.
    missing: BTreeMap<Parcel, &'static str>,
    published: u64,
    level_max: QoS,
}

impl Run {
    fn new(seed: u64, limits: Limits) -> Run {
        let mut random = Random::new(seed);
        let mut world = World::with_limits(1 + random.below(3), limits);
        let level_max = if seed.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::default()).collect();
        let anchor = world.attached(random.below(world.workers()), session("0").expiry(DAY));
        clients[0] = Client { toy: Some(anchor), credit: 10, expiry: DAY, ..Client::default() };
        let (fates, missing) = (BTreeMap::new(), BTreeMap::new());
        let mut run = Run { random, world, clients, fates, missing, published: 0, level_max };
        (0..GROUPS.len()).for_each(|group| run.join(0, group, QoS::ExactlyOnce));
        run
    }

    fn step(&mut self) {
        let client = self.random.below(CLIENTS);
        match self.random.below(100) {
            0..=34 => self.publish(client),
            35..=44 => self.attach(client),
            45..=52 => self.change(client),
            53..=68 => self.settle(client),
            69..=73 => self.vanish(client),
            74..=77 => self.block(client),
            78..=88 => {
                let worker = self.random.below(self.world.workers());
                self.world.handle_mail(worker);
            }
            89..=95 => {
                let worker = self.random.below(self.world.workers());
                self.world.flush_turn(worker);
            }
            96..=98 => self.world.run(),
            _ => {
                let minutes = self.random.below(40) as u64;
                self.world.advance(Duration::from_secs(60 * minutes));
            }
        }
        (0..CLIENTS).for_each(|client| self.observe(client));
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
        let parsed = Topic::parse(topic.as_bytes()).unwrap();
        for (group, (_, text)) in GROUPS.iter().enumerate() {
            if filter(text).matches(&parsed) {
                self.fates.insert((group, self.published), Fate::default());
                if qos > QoS::AtMostOnce && answer.is_ok() {
                    self.missing.insert((group, self.published), topic);
                }
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
        let existed = toy.subscribe_with(&mut self.world, text, options).unwrap().existed;
        let groups = &mut self.clients[client].groups;
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
            let fate = self.fates.get_mut(&parcel).unwrap();
            (fate.holder, fate.is_accepted) = (None, true);
            self.missing.remove(&parcel);
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
        }
    }

    fn detach(&mut self, client: usize) {
        let here = &mut self.clients[client];
        here.toy = None;
        here.ends_at = Some(self.world.now + here.expiry);
        for parcel in std::mem::take(&mut here.open).into_values() {
            self.fates.get_mut(&parcel).unwrap().holder = None;
        }
    }

    fn receive(&mut self, client: usize, got: &tidegate_testkit::pair::toy::Got) {
        let parcel = (got.subscription_ids[0] as usize, got.payload.parse().unwrap());
        let fate = self.fates.get_mut(&parcel).unwrap_or_else(|| panic!("not for this group: {got:?}"));
        assert!(!fate.is_accepted, "accepted already: {got:?} at {client}");
        assert_eq!(fate.holder, None, "it is with another member: {got:?} at {client}");
        assert!(
            fate.bound_to.is_none_or(|bound| bound == client),
            "level 2, {:?} had begun: {got:?}",
            fate.bound_to
        );
        match got.tag {
            None => fate.is_accepted = true,
            Some(tag) => {
                fate.holder = Some(client);
                fate.bound_to = fate.bound_to.or((got.qos == 2).then_some(client));
                let here = &mut self.clients[client];
                assert!(here.open.insert(tag, parcel).is_none(), "tag {tag} is in use");
                assert!(here.open.len() <= here.credit, "more than its credit");
            }
        }
    }

    /// The one that never leaves reads and accepts until nothing moves.
    fn finish(mut self) {
        self.world.run();
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

    /// Everybody reads and settles; returns whether anything moved.
    fn drain(&mut self) -> bool {
        let mut progress = false;
        for client in 0..CLIENTS {
            if let Some(toy) = self.clients[client].toy.clone() {
                self.world.unblock(&toy.link);
            }
            self.world.run();
            self.observe(client);
            progress |= !self.clients[client].open.is_empty();
            self.settle(client);
        }
        progress
    }

    fn check(mut self) {
        let counted = self.world.dropped("session_ended") + self.world.dropped("queue_full");
        assert!(self.missing.len() as u64 <= counted, "{counted} were counted: {:?}", self.missing);
        if self.level_max < QoS::ExactlyOnce {
            assert_eq!(self.world.dropped("session_ended"), 0, "level 1 is never lost with a session");
        }
        let gauges = self.world.node().gauges();
        let members: usize = self.clients.iter().map(|client| client.groups.len()).sum();
        assert_eq!((gauges.queued_messages, gauges.queued_bytes, gauges.subscriptions), (0, 0, members));
        self.world.end_everything(DAY);
        let gauges = self.world.node().gauges();
        assert_eq!((gauges.sessions, gauges.subscriptions, gauges.queued_bytes), (0, 0, 0));
    }
}

fn simulate(test: u64, limits: fn() -> Limits) {
    for_each_seed(test, ROUNDS, |seed| {
        let mut run = Run::new(seed, limits());
        (0..STEPS).for_each(|_| run.step());
        run.finish();
    });
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

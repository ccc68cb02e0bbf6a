//! One run: chance decides what happens next, and the model is told.

use crate::client::Client;
use crate::crashing::Standing;
use crate::driver::{Life, end_turn, read_mail};
use crate::model::Id;
use crate::store::Store;
use std::time::Duration;
use tidegate_broker::Limits;
use tidegate_message::{QoS, Topic};
use tidegate_protocol::{Attachment, Publish, Refusal, RetainedDelivery, WillAction};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Attaching, Toy, filter, message, session};
use tidegate_testkit::random::Random;

const CLIENTS: usize = 6;
const HOUR: Duration = Duration::from_secs(3600);
const TOPICS: [&str; 4] = ["a", "a/b", "a/c", "d/e"];
const FILTERS: [&str; 7] = ["a", "a/b", "a/+", "a/#", "#", "+/e", "+/+"];
const RETAINED: [RetainedDelivery; 3] =
    [RetainedDelivery::Always, RetainedDelivery::WhenNew, RetainedDelivery::Never];

pub(crate) struct Run {
    pub(crate) random: Random,
    pub(crate) world: World,
    pub(crate) clients: Vec<Client>,
    pub(crate) step: usize,
    /// The last step after which no letter was under way.
    pub(crate) quiet: usize,
    published: u64,
    pub(crate) received: u64,
    pub(crate) store: Option<Store<Id>>,
    /// How the clients stood after the last step.
    pub(crate) standing: Vec<Standing>,
}

impl Life for Run {
    fn step(&mut self) {
        self.step += 1;
        if self.store.is_some() && self.random.one_in(20) {
            return self.use_store();
        }
        let client = self.random.below(CLIENTS);
        match self.random.below(100) {
            0..=34 => self.publish(client),
            35..=42 => self.attach(client),
            43..=50 => self.subscribe(client),
            51..=53 => self.unsubscribe(client),
            54..=70 => self.settle(client),
            71..=74 => self.end(client),
            75..=78 => self.block(client),
            79..=88 => read_mail(&mut self.world, &mut self.random),
            89..=95 => end_turn(&mut self.world, &mut self.random),
            96..=98 => self.world.run(),
            _ => self.pass_time(),
        }
        self.observe();
    }

    /// Everybody reads and settles until nothing moves; then nothing may be missing, and after the end nothing left.
    fn finish(mut self) {
        self.sync();
        self.world.run();
        self.observe();
        for client in 0..CLIENTS {
            if self.clients[client].attached.is_none() && self.clients[client].session.is_some() {
                let attaching = session(&self.clients[client].name);
                let worker = self.random.below(self.world.workers());
                self.attach_as(client, worker, attaching);
            }
        }
        for _ in 0..1000 {
            self.drain();
        }
        self.check_what_is_missing();
        self.check_counters();
        self.check_the_end();
    }
}

impl Run {
    pub(crate) fn new(seed: u64, limits: Limits) -> Run {
        let mut random = Random::new(seed);
        let world = World::with_limits(1 + random.below(3), limits);
        let clients = (0..CLIENTS).map(Client::new).collect();
        let standing = Vec::new();
        Run { random, world, clients, step: 0, quiet: 0, published: 0, received: 0, store: None, standing }
    }

    /// The same with a store, and with ends of the process.
    pub(crate) fn on_storage(seed: u64, limits: Limits) -> Run {
        let mut run = Run::new(seed, limits.clone());
        let (world, store) = Store::begin(run.world.workers(), limits);
        (run.world, run.store) = (world, Some(store));
        run
    }

    pub(crate) fn observe(&mut self) {
        let now = self.world.now;
        self.clients.iter_mut().for_each(|client| client.observe(now));
        self.observe_store();
        if (0..self.world.workers()).all(|worker| !self.world.has_mail(worker)) {
            self.quiet = self.step;
        }
    }

    /// The client's connection, if it can be asked something.
    fn toy(&mut self, client: usize) -> Option<Toy> {
        let toy = self.clients[client].attached.as_ref().map(|attached| attached.toy.clone())?;
        toy.can_ask(&mut self.world).then_some(toy)
    }

    fn attach(&mut self, client: usize) {
        if self.clients[client].waiting.len() >= 2 {
            return;
        }
        let mut attaching = session(&self.clients[client].name).credit(1 + self.random.below(6) as u32);
        attaching.expiry = *self.random.pick(&[Duration::ZERO, HOUR, HOUR, HOUR]);
        attaching.clean_start = self.random.one_in(8);
        let worker = self.random.below(self.world.workers());
        self.attach_as(client, worker, attaching);
    }

    fn attach_as(&mut self, client: usize, worker: usize, attaching: Attaching) {
        let toy = self.world.toy(worker);
        let answer = toy.attach(&mut self.world, attaching.clone());
        let now = self.world.now;
        match answer {
            // The holder on the same worker has been closed within this step.
            Attachment::Now(attached) => {
                self.clients[client].observe(now);
                self.clients[client].attach(toy, &attaching, attached.present, now);
            }
            Attachment::Later => self.clients[client].waiting.push((toy, attaching)),
            Attachment::Refused(refusal) => panic!("{refusal}"),
        }
    }

    fn publish(&mut self, client: usize) {
        let Some(toy) = self.toy(client) else { return };
        let (topic, qos) = (*self.random.pick(&TOPICS), *self.random.pick(&QoS::ALL));
        let (count, retain) = (1 + self.random.below(3), self.random.one_in(10));
        let first = self.published + 1;
        self.published += count as u64;
        let ids: Vec<Id> = (first..=self.published)
            .map(|position| Id { publisher: toy.link.key().connection(), position })
            .collect();
        let texts: Vec<String> = ids.iter().map(|id| id.payload()).collect();
        let answers = toy.ask(&mut self.world, move |broker| {
            let publish = |text: &String| broker.publish(&Publish { retain, ..message(topic, text, qos) });
            texts.iter().map(publish).collect::<Vec<_>>()
        });
        self.received += ids.len() as u64;
        let topic = Topic::parse(topic.as_bytes()).unwrap();
        for (id, answer) in ids.into_iter().zip(answers) {
            match answer {
                Ok(published) => {
                    self.await_answer(&toy, Some(id), published.answer);
                    self.expect(&topic, id, qos, published.matched);
                }
                Err(refusal) => assert_eq!(refusal, Refusal::QueueFull),
            }
        }
    }

    fn expect(&mut self, topic: &Topic, id: Id, qos: QoS, matched: bool) {
        let mut receivers = 0;
        for session in self.clients.iter_mut().filter_map(|client| client.session.as_mut()) {
            if let Some(level) = session.level(topic) {
                session.publish(id, level.min(qos), self.step);
                receivers += 1;
            }
        }
        assert_eq!(matched, receivers > 0, "is {topic} matched?");
    }

    fn subscribe(&mut self, client: usize) {
        let Some(toy) = self.toy(client) else { return };
        let (text, qos) = (*self.random.pick(&FILTERS), *self.random.pick(&QoS::ALL));
        let retained = *self.random.pick(&RETAINED);
        let answer = toy.subscribe_with(&mut self.world, text, move |subscribe| {
            (subscribe.qos_max, subscribe.retained) = (qos, retained);
        });
        let session = self.clients[client].session.as_mut().unwrap();
        session.excuse_since(self.quiet);
        session.subscribed += 1;
        let existed = session.subscriptions.insert(filter(text), qos).is_some();
        let answer = answer.unwrap();
        assert_eq!(answer.existed, existed);
        self.await_answer(&toy, None, answer.answer);
    }

    fn unsubscribe(&mut self, client: usize) {
        let Some(toy) = self.toy(client) else { return };
        let text = *self.random.pick(&FILTERS);
        let existed = toy.unsubscribe(&mut self.world, text);
        let session = self.clients[client].session.as_mut().unwrap();
        session.excuse_since(self.quiet);
        assert_eq!(existed, session.subscriptions.remove(&filter(text)).is_some());
    }

    fn settle(&mut self, client: usize) {
        let Some(toy) = self.toy(client) else { return };
        let all = self.random.one_in(2);
        let client = &mut self.clients[client];
        let (session, attached) = (client.session.as_mut().unwrap(), client.attached.as_mut().unwrap());
        let open: Vec<u64> = attached.reception.open.iter().copied().collect();
        let tags = match (all, open.is_empty()) {
            (_, true) => return,
            (true, _) => open,
            (false, _) => vec![*self.random.pick(&open)],
        };
        for tag in tags {
            // Room may be used up by what the tag before has set free.
            if toy.can_ask(&mut self.world) {
                session.settle(&mut attached.reception, tag);
                toy.accept(&mut self.world, tag);
            }
        }
    }

    fn end(&mut self, client: usize) {
        let waiting = self.clients[client].waiting.first().map(|(toy, _)| toy.clone());
        let attached = self.clients[client].attached.as_ref().map(|attached| attached.toy.clone());
        match (waiting, attached) {
            (Some(toy), _) if self.random.one_in(2) => toy.vanish(&mut self.world),
            (_, Some(toy)) if self.random.one_in(2) => toy.vanish(&mut self.world),
            (_, Some(toy)) if toy.can_ask(&mut self.world) => toy.leave(&mut self.world, WillAction::Discard),
            _ => {}
        }
    }

    fn block(&mut self, client: usize) {
        let Some(attached) = &self.clients[client].attached else { return };
        let link = attached.toy.link.clone();
        match self.random.below(4) {
            0 => self.world.block(&link),
            1 => {
                let bytes = self.random.below(200);
                self.world.block_after(&link, bytes);
            }
            _ => self.world.unblock(&link),
        }
    }

    fn pass_time(&mut self) {
        let minutes = self.random.below(40) as u64;
        if let Some(store) = &self.store {
            store.pass(Duration::from_secs(60 * minutes));
        }
        self.world.advance(Duration::from_secs(60 * minutes));
        let now = self.world.now;
        self.observe();
        self.clients.iter_mut().for_each(|client| client.expire(now));
    }

    fn drain(&mut self) {
        for client in 0..CLIENTS {
            if let Some(attached) = &self.clients[client].attached {
                let link = attached.toy.link.clone();
                self.world.unblock(&link);
            }
            self.sync();
            self.world.run();
            self.observe();
            self.settle(client);
        }
    }

    fn check_what_is_missing(&self) {
        let expected = |client: &Client| client.session.as_ref().map_or(0, |session| session.expected.len());
        let missing: usize = self.clients.iter().map(expected).sum();
        let counted = self.world.dropped("queue_full");
        let details: Vec<_> = self.clients.iter().filter_map(|client| client.session.as_ref()).collect();
        assert!(missing as u64 <= counted, "{missing} are missing, {counted} were counted: {details:#?}");
        let gauges = self.world.node().gauges();
        assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0));
        let (sessions, subscriptions) = self
            .clients
            .iter()
            .filter_map(|client| client.session.as_ref())
            .fold((0, 0), |(sessions, subscriptions), session| {
                (sessions + 1, subscriptions + session.subscriptions.len())
            });
        assert_eq!((gauges.sessions, gauges.subscriptions), (sessions, subscriptions));
    }

    fn check_counters(&self) {
        let metrics = self.world.node().metrics();
        let sum = |count: fn(&tidegate_broker::ProtocolMetrics) -> u64| -> u64 {
            metrics.iter().map(|worker| count(&worker.protocols[0])).sum()
        };
        let received = sum(|counters| QoS::ALL.map(|qos| counters.received.at(qos).get()).iter().sum());
        assert_eq!(received, self.received);
        let open = self.clients.iter().filter(|client| client.attached.is_some()).count() as u64;
        assert_eq!(sum(|counters| counters.open.get()), open);
        let closed = sum(|counters| counters.closed().values().sum());
        assert_eq!(sum(|counters| counters.opened.get()), open + closed);
    }

    fn check_the_end(mut self) {
        let janitor = self.world.toy(0);
        for topic in TOPICS {
            janitor
                .publish_with(&mut self.world, topic, "", QoS::AtMostOnce, |publish| publish.retain = true)
                .unwrap();
        }
        self.world.end_everything(HOUR);
        let gauges = self.world.node().gauges();
        let left = [gauges.sessions, gauges.subscriptions, gauges.retained_messages, gauges.queued_messages];
        assert_eq!((left, gauges.queued_bytes, gauges.retained_bytes), ([0; 4], 0, 0));
        for worker in 0..self.world.workers() {
            assert_eq!(self.world.shard(worker).connection_count(), 0);
        }
        let left = self.store.map(|store| store.living());
        assert!(left.as_ref().is_none_or(Vec::is_empty), "{left:?}");
    }
}

//! Queues that are conflated against a plain ordered list.

use super::*;
use crate::budget::TotalBytes;
use crate::entry::Entry;
use crate::queue::{Aim, Claim, Look, MemberLook, Popped, Taker};
use crate::{DiskFull, Limits, Overflow, TopicPolicies, TopicPolicy};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, Origin, QoS, TopicFilter};
use tidegate_protocol::{DeliveryTag, Settlement};
use tidegate_storage::{Lsn, StreamId};

const STREAM: StreamId = StreamId(2000);
/// Topics below this one are left alone.
const LEFT_ALONE: u64 = 4;

fn topic(number: u64) -> Topic {
    let kind = if number < LEFT_ALONE { "all" } else { "last" };
    Topic::parse(format!("{kind}/{number}").as_bytes()).unwrap()
}

fn terms() -> TopicTerms {
    let topics = vec![TopicFilter::parse(b"last/#").unwrap()];
    TopicTerms::new(TopicPolicies(vec![TopicPolicy {
        topics,
        disk_full: DiskFull::KeepLast,
        ..TopicPolicy::default()
    }]))
}

fn message(of_topic: u64) -> Arc<Message> {
    Arc::new(Message {
        topic: topic(of_topic),
        payload: Bytes::from_static(b"payload"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
        origin: Origin(0),
        publisher: None,
    })
}

fn number_of(queued: &Queued) -> u64 {
    queued.entry.as_ref().unwrap().number.get()
}

/// Whose queue it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Session,
    Group,
}

/// A queue, the disk under it, and what it should hold.
struct Bench {
    kind: Kind,
    queue: Queue,
    total: Arc<TotalBytes>,
    terms: TopicTerms,
    scope: Scope,
    /// The topic of everything that waits or is under way, by its number.
    disk: BTreeMap<u64, u64>,
    waiting: BTreeSet<u64>,
    under_way: Vec<Queued>,
    /// The newest number of each topic that was ever sent.
    newest: BTreeMap<u64, u64>,
    next_number: u64,
    asked: Option<Ask>,
    looks: usize,
}

#[derive(Debug, Clone)]
enum Step {
    /// So many deliveries of so many topics.
    Push {
        count: u64,
        topics: u64,
    },
    /// A number that belongs to somebody else.
    Skip,
    /// So many are taken.
    Pop(usize),
    /// Those that were taken come back.
    Return,
    /// There is no room.
    Press,
    /// A message of this topic takes the place of those before it.
    Replace(u64),
    Ask,
    Answer,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topics = prop_oneof![Just(1_u64), Just(10), Just(300), Just(5000)];
    let push = (1_u64..800, topics).prop_map(|(count, topics)| Step::Push { count, topics });
    let step = prop_oneof![
        4 => push,
        1 => Just(Step::Skip),
        2 => (1_usize..500).prop_map(Step::Pop),
        1 => Just(Step::Return),
        3 => Just(Step::Press),
        1 => (0_u64..12).prop_map(Step::Replace),
        3 => Just(Step::Ask),
        3 => Just(Step::Answer),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..60)
}

impl Bench {
    fn new(kind: Kind) -> Bench {
        let total = Arc::new(TotalBytes::new(&Limits::default()).with_disk(true));
        Bench {
            kind,
            queue: Queue::new(STREAM.0, 0, total.clone()),
            total,
            terms: terms(),
            scope: Scope::ByPolicy,
            disk: BTreeMap::new(),
            waiting: BTreeSet::new(),
            under_way: Vec::new(),
            newest: BTreeMap::new(),
            next_number: 1,
            asked: None,
            looks: 0,
        }
    }

    fn is_conflated(&self, of_topic: u64) -> bool {
        self.scope == Scope::Everything || of_topic >= LEFT_ALONE
    }

    fn queued(&self, number: u64) -> Queued {
        let place = if self.kind == Kind::Group { number } else { 0 };
        let entry = Some(Entry::recovered(STREAM, NonZeroU64::new(number).unwrap()));
        Queued { entry, ..Queued::unassigned(message(self.disk[&number]), place) }
    }

    fn push(&mut self, of_topic: u64) {
        let number = self.next_number;
        self.next_number += 1;
        self.disk.insert(number, of_topic);
        self.newest.insert(of_topic, number);
        let queued = self.queued(number);
        let bounds = self.queue.default_bounds();
        let dropped = match self.kind {
            Kind::Session => self.queue.push(queued, 0),
            Kind::Group => self.queue.push_grouped(queued, bounds, Claim::None),
        };
        assert!(dropped.unwrap().is_empty());
        self.waiting.insert(number);
    }

    fn pop(&self) -> Option<Queued> {
        let now = Instant::now();
        let settlement = Settlement::AboveAtMostOnce;
        let popped = match self.kind {
            Kind::Session => {
                self.queue.pop(Look { has_credit: true, settlement, synced: Lsn(0), now }, &mut Vec::new())
            }
            Kind::Group => {
                let look = MemberLook { has_credit: true, settlement, taker: Taker::Passing, now };
                self.queue.pop_for_member(QoS::AtLeastOnce, look).0
            }
        };
        match popped {
            Popped::Delivery(queued) => Some(queued),
            Popped::Held | Popped::Empty => None,
            other => panic!("{other:?}"),
        }
    }

    /// What is thrown away has something newer of its topic, and is no topic that is left alone.
    fn lose(&mut self, superseded: &Superseded) {
        assert!(superseded.on_disk.is_sorted());
        let numbers = superseded.queued.iter().map(number_of).chain(superseded.on_disk.iter().copied());
        for number in numbers.collect::<Vec<_>>() {
            let of_topic = self.disk.remove(&number).unwrap();
            assert!(self.waiting.remove(&number), "{number} has waited");
            assert!(
                self.is_conflated(of_topic) && self.newest[&of_topic] > number,
                "{number} of topic {of_topic}"
            );
        }
    }

    fn press(&mut self) {
        for _ in 0..=self.waiting.len() / ATTEMPTS_SHARE + 1 {
            let lens = Lens::new(self.scope, &self.terms);
            let superseded = self.queue.conflate(lens);
            self.lose(&superseded);
        }
    }

    fn replace(&mut self, of_topic: u64) {
        let bytes = self.queue.bytes_before(&topic(of_topic));
        // The newer one is on its way.
        self.newest.insert(of_topic, self.next_number);
        let superseded = self.queue.take_before(&topic(of_topic));
        assert_eq!(superseded.kept_bytes(), bytes);
        let scope = std::mem::replace(&mut self.scope, Scope::Everything);
        self.lose(&superseded);
        self.scope = scope;
        self.push(of_topic);
    }

    fn ask(&mut self) {
        if let Some(ask) = self.queue.next_ask() {
            assert_eq!(self.asked, None);
            self.asked = Some(ask);
        }
    }

    fn answer(&mut self) {
        let Some(ask) = self.asked.take() else { return };
        let read =
            self.disk.range(ask.from..).take(ask.max.entries).map(|(number, of_topic)| (*number, *of_topic));
        let read: Vec<_> = read.collect();
        let Aim::Conflation(scope) = ask.aim else {
            let entries = read.iter().map(|(number, _)| (*number, Some(self.queued(*number))));
            let taken = self.queue.take_in(&ask, entries.collect());
            assert!(taken.damaged.is_empty() && taken.given_up.is_empty() && taken.missing == 0, "{taken:?}");
            return;
        };
        self.looks += 1;
        let terms = terms();
        let lens = Lens::new(scope, &terms);
        let see = |(number, of_topic): &(u64, u64)| Seen {
            number: *number,
            value: lens.key(&topic(*of_topic)).map(|key| (key, self.queued(*number).weight_bytes())),
        };
        let seen: Vec<Seen> = read.iter().map(see).collect();
        let superseded = self.queue.take_in_look(&ask, &seen, lens);
        self.lose(&superseded);
    }

    fn restart(&mut self) {
        self.asked = None;
        self.waiting = self.disk.keys().copied().collect();
        self.under_way.clear();
        self.queue = Queue::new(STREAM.0, 0, self.total.clone());
        if let (Some((first, _)), Some((last, _))) = (self.disk.first_key_value(), self.disk.last_key_value())
        {
            self.queue.keep_tail(*first, *last, self.disk.len() as u64, self.disk.len() * 300);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Push { count, topics } => (0..count).for_each(|at| self.push((at * 7919) % topics)),
            Step::Skip => self.next_number += 1,
            Step::Pop(count) => {
                for _ in 0..count {
                    let Some(queued) = self.pop() else { break };
                    let number = number_of(&queued);
                    assert!(self.waiting.remove(&number));
                    assert!(
                        self.kind == Kind::Group || self.waiting.first().is_none_or(|next| *next > number)
                    );
                    self.under_way.push(queued);
                }
            }
            Step::Return => self.give_back(),
            Step::Press => self.press(),
            Step::Replace(of_topic) => self.replace(of_topic),
            Step::Ask => self.ask(),
            Step::Answer => self.answer(),
            Step::Restart => self.restart(),
        }
        assert_eq!(self.total.size().0 + self.total.size_on_disk().0, self.waiting.len());
    }

    /// To a group they come back as new; a session has them under way, and the others are settled.
    fn give_back(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        self.waiting.extend(under_way.iter().map(number_of));
        match self.kind {
            Kind::Group => self.queue.take_back(under_way).unwrap(),
            Kind::Session => {
                let tagged = |queued: Queued| Queued { tag: Some(DeliveryTag(number_of(&queued))), ..queued };
                self.queue.put_back(under_way.into_iter().map(tagged).collect::<Vec<_>>().into_iter());
            }
        }
    }

    fn conflate_all(&mut self) {
        // A second time for what comes into memory meanwhile.
        for _ in 0..2 {
            self.press();
            self.ask();
            while self.asked.is_some() {
                self.answer();
                self.ask();
            }
        }
        self.press();
    }

    /// Of each topic the newest is there, or with somebody; and nothing else of those that are conflated, but what was under way.
    fn check_conflated(&self) {
        let untouched: BTreeSet<u64> = self
            .queue
            .waiting
            .lock()
            .deliveries
            .iter()
            .filter(|queued| queued.may_be_under_way())
            .map(number_of)
            .collect();
        for (of_topic, newest) in &self.newest {
            let is_with_somebody = self.under_way.iter().any(|queued| number_of(queued) == *newest);
            assert!(self.waiting.contains(newest) || is_with_somebody, "the last of {of_topic}");
        }
        for number in self.waiting.difference(&untouched) {
            let of_topic = self.disk[number];
            assert!(
                !self.is_conflated(of_topic) || self.newest[&of_topic] == *number,
                "{number} of topic {of_topic}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever comes, goes, comes back and is lost with the process: nothing goes but what something newer has made worthless, and in the
    /// end nothing else is left.
    #[test]
    fn the_last_of_each_topic_is_left_and_all_that_is_left_alone(
        steps in steps(),
        is_group in any::<bool>(),
        is_everything in any::<bool>(),
    ) {
        let mut bench = Bench::new(if is_group { Kind::Group } else { Kind::Session });
        bench.scope = if is_everything { Scope::Everything } else { Scope::ByPolicy };
        steps.iter().for_each(|step| bench.step(step));
        bench.conflate_all();
        bench.check_conflated();
        let left: Vec<u64> = bench.waiting.iter().copied().collect();
        let mut came = Vec::new();
        loop {
            let before = came.len();
            came.extend(std::iter::from_fn(|| bench.pop()).map(|queued| number_of(&queued)));
            for number in came.iter().skip(before) {
                bench.disk.remove(number);
            }
            bench.ask();
            if bench.asked.is_none() && came.len() == before {
                break;
            }
            bench.answer();
        }
        came.sort_unstable();
        prop_assert_eq!(came, left);
        prop_assert_eq!((bench.total.size(), bench.total.size_on_disk()), ((0, 0), (0, 0)));
    }
}

/// A backlog of ten thousand messages of a hundred devices, one of which has fallen silent long ago.
#[test]
fn a_backlog_shrinks_to_the_last_value_of_each_device() {
    for kind in [Kind::Session, Kind::Group] {
        let mut bench = Bench::new(kind);
        bench.push(4);
        bench.push(0);
        (0..10_000).for_each(|at| bench.push(5 + at % 99));
        bench.conflate_all();
        let topics: Vec<u64> = bench.waiting.iter().map(|number| bench.disk[number]).collect();
        let last: Vec<u64> = (10_000 - 99..10_000).map(|at| 5 + at % 99).collect();
        assert_eq!(topics, [vec![4, 0], last].concat(), "{kind:?}");
    }
}

/// What was looked at once is not read again, and a queue of which everything is another topic is not looked through at each attempt.
#[test]
fn what_gives_nothing_costs_little() {
    let mut bench = Bench::new(Kind::Session);
    (0..20_000).for_each(|at| bench.push(10 + at));
    bench.conflate_all();
    let looks = bench.looks;
    assert!((1..=21).contains(&looks), "{looks}");
    (0..10).for_each(|_| bench.conflate_all());
    assert_eq!(bench.looks, looks);
    bench.push(10);
    bench.conflate_all();
    assert_eq!((bench.looks, bench.waiting.len()), (looks + 1, 20_000));
}

#[test]
fn memory_for_topics_is_bounded() {
    let limits = Limits { queued_bytes_total: 3 * TOPICS_AT_A_TIME * TOPIC_BYTES, ..Limits::default() };
    let total = Arc::new(TotalBytes::new(&limits));
    let mut known = LastValues::new(Scope::Everything, Room::new(total.clone()));
    for number in 0..10_000 {
        assert_eq!(known.note(TopicKey(number), Newest { number, weight: 1 }), None);
    }
    assert!(known.newest.len() == 3 * TOPICS_AT_A_TIME && !total.has_room(1));
    assert!(known.note(TopicKey(1), Newest { number: 20_000, weight: 1 }).is_some());
    // Of others nothing is known, and nothing thrown away.
    assert_eq!(known.note(TopicKey(9_999), Newest { number: 20_001, weight: 1 }), None);
    drop(known);
    assert!(total.has_room(limits.queued_bytes_total));
}

/// The same entry may be looked at again after a restart of the look.
#[test]
fn an_entry_does_not_make_itself_worthless() {
    let total = Arc::new(TotalBytes::new(&Limits::default()));
    let mut known = LastValues::new(Scope::Everything, Room::new(total));
    let newest = |number| Newest { number, weight: 1 };
    assert_eq!(
        [5, 5, 3, 7].map(|number| known.note(TopicKey(1), newest(number))),
        [None, None, Some(newest(3)), Some(newest(5))]
    );
}

/// A message that is lost with the process does not throw away one that is kept.
#[test]
fn what_is_kept_gives_way_to_what_is_kept_only() {
    let mut bench = Bench::new(Kind::Session);
    bench.push(4);
    for _ in 0..2 {
        bench.queue.push(Queued::unassigned(message(4), 0), 0).unwrap();
    }
    let terms = terms();
    let superseded = bench.queue.conflate(Lens::ByPolicy(&terms));
    assert_eq!((superseded.len(), superseded.kept_bytes(), bench.queue.len()), (1, 0, 2));
    bench.push(4);
    let superseded = bench.queue.conflate(Lens::ByPolicy(&terms));
    assert_eq!((superseded.len(), bench.queue.len()), (2, 1));
}

/// A queue at its own limit, most of which is on the disk: what the look frees is room for what comes next.
#[test]
fn a_queue_at_its_limit_shrinks_to_the_last_values() {
    for kind in [Kind::Session, Kind::Group] {
        let mut bench = Bench::new(kind);
        let limits =
            Limits { queued_messages: 3000, queue_overflow: Overflow::KeepLast, ..Limits::default() };
        bench.total.limit(&limits);
        bench.scope = Scope::Everything;
        (0..3000).for_each(|at| bench.push(at % 100));
        let number = bench.next_number;
        bench.disk.insert(number, 7);
        let queued = bench.queued(number);
        let bounds = bench.queue.default_bounds();
        let gone = match kind {
            Kind::Session => bench.queue.push(queued, 0),
            Kind::Group => bench.queue.push_grouped(queued, bounds, Claim::None),
        };
        bench.next_number += 1;
        bench.newest.insert(7, number);
        bench.waiting.insert(number);
        bench.lose(&Superseded { queued: gone.unwrap(), ..Superseded::default() });
        assert!((2550..2650).contains(&bench.waiting.len()), "{}", bench.waiting.len());
        bench.ask();
        while bench.asked.is_some() {
            bench.answer();
            bench.ask();
        }
        assert!((100..=200).contains(&bench.waiting.len()), "{kind:?} {}", bench.waiting.len());
    }
}

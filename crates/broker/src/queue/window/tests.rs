//! A queue with a window against a plain ordered list.

use super::*;
use crate::queue::{Look, Popped};
use crate::{Limits, Overflow};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, Origin, QoS, Topic};
use tidegate_protocol::Settlement;
use tidegate_storage::{Lsn, StreamId};

const STREAM: StreamId = StreamId(2000);

fn message(payload: u64) -> Arc<Message> {
    Arc::new(Message {
        topic: Topic::parse(b"t").unwrap(),
        payload: Bytes::copy_from_slice(&payload.to_be_bytes()),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
        origin: Origin(0),
        publisher: None,
    })
}

fn payload_of(queued: &Queued) -> u64 {
    u64::from_be_bytes(queued.message.payload.as_ref().try_into().unwrap())
}

/// The delivery of a message, with the entry of this number where there is one.
fn queued(message: &Arc<Message>, number: Option<u64>) -> Queued {
    let entry = number.and_then(NonZeroU64::new).map(|number| Entry::recovered(STREAM, number));
    Queued { entry, ..Queued::unassigned(message.clone(), 0) }
}

fn look() -> Look {
    Look { has_credit: true, settlement: Settlement::AboveAtMostOnce, synced: Lsn(0), now: Instant::now() }
}

/// A queue, the disk under it, and what it should hold.
struct Bench {
    queue: Queue,
    total: Arc<TotalBytes>,
    disk: BTreeMap<u64, Arc<Message>>,
    model: VecDeque<(u64, Option<u64>)>,
    asked: Option<Ask>,
    popped: Vec<Queued>,
    sent: u64,
    next_number: u64,
}

#[derive(Debug, Clone)]
enum Step {
    /// So many deliveries, kept or not.
    Push {
        count: u64,
        is_kept: bool,
    },
    /// A number that nobody uses: it belongs to something else.
    Skip,
    /// So many are taken, and settled.
    Pop(usize),
    /// So many are taken, and come back.
    Return(usize),
    Ask,
    Answer,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = (1_u64..400, 0..4).prop_map(|(count, kind)| Step::Push { count, is_kept: kind > 0 });
    let step = prop_oneof![
        4 => push,
        1 => Just(Step::Skip),
        3 => (1_usize..500).prop_map(Step::Pop),
        1 => (1_usize..50).prop_map(Step::Return),
        3 => Just(Step::Ask),
        3 => Just(Step::Answer),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..80)
}

impl Bench {
    fn new(limits: &Limits) -> Bench {
        let total = Arc::new(TotalBytes::new(limits));
        Bench {
            queue: Queue::new(STREAM.0, 0, total.clone()),
            total,
            disk: BTreeMap::new(),
            model: VecDeque::new(),
            asked: None,
            popped: Vec::new(),
            sent: 0,
            next_number: 1,
        }
    }

    fn push(&mut self, is_kept: bool) {
        self.sent += 1;
        let message = message(self.sent);
        let number = is_kept.then_some(self.next_number);
        if let Some(number) = number {
            self.next_number += 1;
            self.disk.insert(number, message.clone());
        }
        self.put(queued(&message, number));
        self.model.push_back((self.sent, number));
    }

    /// Every second delivery is not made where only the disk is to have it, as that of a live message. Returns how many were dropped for it.
    fn put(&self, queued: Queued) -> usize {
        let entry = queued.entry.as_ref().filter(|_| self.sent.is_multiple_of(2));
        match entry.is_some_and(|entry| self.queue.leave_on_disk(entry, queued.weight_bytes())) {
            true => 0,
            false => self.queue.push(queued, 0).unwrap().len(),
        }
    }

    fn pop(&mut self) -> Option<Queued> {
        let mut dead = Vec::new();
        match self.queue.pop(look(), &mut dead) {
            Popped::Delivery(queued) => Some(queued),
            Popped::Held => {
                assert!(self.queue.has_tail());
                None
            }
            Popped::Empty => {
                assert_eq!(self.model.len(), self.popped.len());
                None
            }
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self) {
        if let Some(ask) = self.queue.next_ask() {
            assert_eq!(self.asked, None);
            self.asked = Some(ask);
        }
    }

    fn answer(&mut self) {
        let Some(ask) = self.asked.take() else { return };
        let read = self.disk.range(ask.from..).take(ask.max.entries);
        let entries = read.map(|(number, message)| (*number, Some(queued(message, Some(*number)))));
        let taken = self.queue.take_in(&ask, entries.collect());
        assert!(taken.damaged.is_empty() && taken.given_up.is_empty() && taken.missing == 0, "{taken:?}");
    }

    fn restart(&mut self) {
        self.model.retain(|(_, number)| number.is_some());
        self.asked = None;
        self.queue = Queue::new(STREAM.0, 0, self.total.clone());
        if let (Some((first, _)), Some((last, _))) = (self.disk.first_key_value(), self.disk.last_key_value())
        {
            self.queue.keep_tail(*first, *last, self.disk.len() as u64, 1000);
        }
        // Numbers that nobody has heard of are not given again.
        self.next_number += 1;
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Push { count, is_kept } => (0..count).for_each(|_| self.push(is_kept)),
            Step::Skip => self.next_number += 1,
            Step::Pop(count) => {
                for _ in 0..count {
                    let Some(queued) = self.pop() else { break };
                    let number = queued.entry.as_ref().map(|entry| entry.number.get());
                    assert_eq!(self.model.pop_front(), Some((payload_of(&queued), number)));
                    number.map(|number| self.disk.remove(&number));
                }
            }
            Step::Return(count) => {
                for _ in 0..count {
                    let Some(queued) = self.pop() else { break };
                    self.popped.push(queued);
                }
                self.queue.put_back(std::mem::take(&mut self.popped).into_iter());
            }
            Step::Ask => self.ask(),
            Step::Answer => self.answer(),
            Step::Restart => self.restart(),
        }
        let (in_memory, bytes) = self.total.size();
        assert_eq!(in_memory + self.total.size_on_disk().0, self.model.len());
        let unkept = self.model.iter().filter(|(_, number)| number.is_none()).count();
        assert!(in_memory <= WINDOW.entries + READ.entries + unkept, "{in_memory}");
        assert!(bytes >= in_memory * 100);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes, goes, comes back and is lost with the process: what comes out is the list.
    #[test]
    fn behaves_as_a_list(steps in steps()) {
        let mut bench = Bench::new(&Limits::default());
        steps.iter().for_each(|step| bench.step(step));
        for _ in 0..2 * bench.model.len() + 2 {
            [Step::Pop(1000), Step::Ask, Step::Answer].iter().for_each(|step| bench.step(step));
        }
        prop_assert!(bench.model.is_empty() && bench.queue.is_empty() && !bench.queue.has_tail());
        prop_assert_eq!((bench.total.size(), bench.total.size_on_disk()), ((0, 0), (0, 0)));
    }
}

#[test]
fn a_million_messages_take_a_window_of_memory() {
    const COUNT: u64 = 1_000_000;
    let limits = Limits { queued_messages: usize::MAX, queued_bytes: usize::MAX, ..Limits::default() };
    let total = Arc::new(TotalBytes::new(&limits));
    let (queue, message) = (Queue::new(STREAM.0, 0, total.clone()), message(1));
    for number in 1..=COUNT {
        queue.push(queued(&message, Some(number)), 0).unwrap();
    }
    let (in_memory, bytes) = total.size();
    assert!(in_memory <= WINDOW.entries && bytes <= WINDOW.bytes);
    assert_eq!(in_memory + total.size_on_disk().0, COUNT as usize);
    let waiting = queue.waiting.lock();
    assert!(waiting.rest.as_ref().unwrap().tail.heap_bytes() < 1024);
    drop(waiting);
    let mut next = 1;
    while next <= COUNT {
        let ask = queue.next_ask();
        while let Popped::Delivery(queued) = queue.pop(look(), &mut Vec::new()) {
            assert_eq!(queued.entry.unwrap().number.get(), next);
            next += 1;
        }
        let Some(ask) = ask.or_else(|| queue.next_ask()) else { break };
        let last = (ask.from + ask.max.entries as u64 - 1).min(COUNT);
        let entries = (ask.from..=last).map(|number| (number, Some(queued(&message, Some(number)))));
        assert_eq!(queue.take_in(&ask, entries.collect()).missing, 0);
        assert!(total.size().0 <= WINDOW.entries);
    }
    assert_eq!((next, total.size(), total.size_on_disk()), (COUNT + 1, (0, 0), (0, 0)));
}

/// What a policy drops has to be read first: it may have to go somewhere.
#[test]
fn the_oldest_on_the_disk_are_given_up_when_they_have_been_read() {
    let limits = Limits { queued_messages: 1000, queue_overflow: Overflow::DropOldest, ..Limits::default() };
    let mut bench = Bench::new(&limits);
    let mut dropped = 0;
    for _ in 0..3000 {
        bench.sent += 1;
        let message = message(bench.sent);
        bench.disk.insert(bench.sent, message.clone());
        dropped += bench.put(queued(&message, Some(bench.sent)));
        assert!(bench.total.size().0 + bench.total.size_on_disk().0 <= 1000);
    }
    assert!(dropped <= WINDOW.entries);
    while let Some(ask) = bench.queue.next_ask() {
        let read = bench.disk.range(ask.from..).take(ask.max.entries);
        let entries = read.map(|(number, message)| (*number, Some(queued(message, Some(*number)))));
        let taken = bench.queue.take_in(&ask, entries.collect());
        dropped += taken.given_up.len();
    }
    assert_eq!(dropped, 2000);
    let first = bench.pop().map(|queued| payload_of(&queued));
    assert_eq!(first, Some(2001));
}

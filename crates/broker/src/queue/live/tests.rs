//! What is live goes first, what is not stays in its order, and nothing goes by another name or is counted twice.

use super::*;
use crate::Limits;
use crate::budget::TotalBytes;
use crate::entry::Entry;
use bytes::Bytes;
use proptest::prelude::*;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, Origin, QoS, Topic};
use tidegate_protocol::Settlement;
use tidegate_storage::{Lsn, StreamId};

const GENERATION: u64 = 1;

fn queue_within(limits: &Limits) -> (Queue, Arc<TotalBytes>) {
    let total = Arc::new(TotalBytes::new(limits));
    let queue = Queue::new(2000, 0, total.clone());
    queue.set_limits(tidegate_protocol::SessionLimits::Disk);
    (queue, total)
}

fn queued(number: u64, payload_bytes: usize) -> Queued {
    let message = Message {
        topic: Topic::parse(b"t").unwrap(),
        payload: Bytes::from(vec![0; payload_bytes]),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
        publisher: None,
        origin: Origin(0),
    };
    let entry = NonZeroU64::new(number).map(|number| Entry::recovered(StreamId(2000), number));
    Queued { entry, ..Queued::unassigned(Arc::new(message), 0) }
}

fn push(queue: &Queue, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| assert!(queue.push(queued(number, 1), GENERATION).is_ok()));
}

fn look() -> Look {
    Look { has_credit: true, settlement: Settlement::Always, synced: Lsn(0), now: Instant::now() }
}

fn number_of(popped: Popped) -> Option<u64> {
    match popped {
        Popped::Delivery(queued) => queued.entry.map(|entry| entry.number.get()),
        _ => None,
    }
}

fn take_live(queue: &Queue, count: usize) -> Vec<u64> {
    std::iter::from_fn(|| number_of(queue.pop_live(look(), &mut Vec::new()))).take(count).collect()
}

fn take_backlog(queue: &Queue, count: usize) -> Vec<u64> {
    std::iter::from_fn(|| number_of(queue.pop(look(), &mut Vec::new()))).take(count).collect()
}

const ALL: usize = usize::MAX;

#[test]
fn what_comes_after_it_was_said_goes_before_what_waited() {
    let (queue, _) = queue_within(&Limits::default());
    push(&queue, 1..4);
    queue.overtake();
    push(&queue, 4..6);
    assert_eq!(take_live(&queue, ALL), [4, 5]);
    push(&queue, 6..8);
    queue.overtake();
    push(&queue, 8..9);
    queue.let_backlog_grow();
    push(&queue, 9..10);
    assert_eq!((take_live(&queue, ALL).len(), queue.len()), (0, 7));
    assert_eq!(take_backlog(&queue, ALL), [1, 2, 3, 6, 7, 8, 9]);
}

/// Longer than a window, what is live is backlog: on the disk as far as that has it, and so in no more memory than a window.
#[test]
fn what_nobody_takes_in_time_becomes_backlog() {
    let (queue, total) = queue_within(&Limits::default());
    queue.overtake();
    push(&queue, 1..10_001);
    let live = take_live(&queue, ALL);
    assert!(live.len() <= WINDOW.entries && live.last() == Some(&10_000), "{}", live.len());
    assert_eq!(queue.len(), 10_000 - live.len());
    let (on_disk, _) = queue.waiting.lock().on_disk();
    assert!(on_disk >= 10_000 - 2 * WINDOW.entries, "{on_disk}");
    assert_eq!(take_backlog(&queue, ALL), (1..=WINDOW.entries as u64).collect::<Vec<_>>());
    drop(queue);
    assert_eq!(total.size(), (0, 0));
}

#[test]
fn where_there_is_no_memory_the_disk_keeps_the_newest_too() {
    let (queue, _) = queue_within(&Limits { queued_bytes_total: 4000, ..Limits::default() });
    queue.overtake();
    push(&queue, 1..1001);
    assert_eq!(queue.len(), 1000);
    let live = take_live(&queue, ALL);
    assert!(live.len() < 20 && live.is_sorted(), "{live:?}");
}

#[test]
fn without_a_store_the_backlog_waits_in_memory() {
    let (queue, _) = queue_within(&Limits::default());
    let push_unkept = |count: usize| {
        (0..count).for_each(|_| assert!(queue.push(queued(0, 1), GENERATION).is_ok()));
    };
    push_unkept(3);
    queue.overtake();
    push_unkept(2);
    let live = std::iter::from_fn(|| match queue.pop_live(look(), &mut Vec::new()) {
        Popped::Delivery(queued) => Some(queued),
        _ => None,
    });
    assert_eq!((live.count(), queue.len()), (2, 3));
}

#[test]
fn an_end_takes_everything_along_in_its_order() {
    let (queue, total) = queue_within(&Limits::default());
    push(&queue, 1..3);
    queue.overtake();
    push(&queue, 3..5);
    let (all, on_disk) = queue.end();
    let number = |queued: &Queued| queued.entry.as_ref().map_or(0, |entry| entry.number.get());
    assert_eq!(all.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((on_disk, total.size()), (0, (0, 0)));
}

#[derive(Debug, Clone)]
enum Step {
    Push(u64, usize),
    Overtake,
    Grow,
    TakeLive(usize),
    TakeBacklog(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..300, 1_usize..4000).prop_map(|(count, bytes)| Step::Push(count, bytes)),
        1 => Just(Step::Overtake),
        1 => Just(Step::Grow),
        2 => (1_usize..200).prop_map(Step::TakeLive),
        2 => (1_usize..200).prop_map(Step::TakeBacklog),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    /// Whatever is said in between: nothing is lost or comes twice, and each of both parts is in its order.
    #[test]
    fn nothing_is_lost_doubled_or_out_of_the_order_of_its_part(steps in steps()) {
        let (queue, total) = queue_within(&Limits::default());
        let (mut next, mut live, mut backlog) = (1, Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Push(count, bytes) => {
                    for number in next..next + count {
                        prop_assert!(queue.push(queued(number, bytes), GENERATION).is_ok());
                    }
                    next += count;
                }
                Step::Overtake => queue.overtake(),
                Step::Grow => queue.let_backlog_grow(),
                Step::TakeLive(count) => live.extend(take_live(&queue, count)),
                Step::TakeBacklog(count) => backlog.extend(take_backlog(&queue, count)),
            }
            prop_assert_eq!(queue.len() + live.len() + backlog.len(), next as usize - 1);
        }
        prop_assert!(live.is_sorted() && backlog.is_sorted());
        let mut all: Vec<u64> = live.into_iter().chain(backlog).collect();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all.len() + queue.len(), next as usize - 1);
        queue.end();
        prop_assert_eq!((total.size(), total.size_on_disk()), ((0, 0), (0, 0)));
    }
}

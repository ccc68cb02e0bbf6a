use super::*;
use crate::{Limits, Overflow};
use bytes::Bytes;
use std::time::Duration;
use tidegate_message::{Message, Origin, QoS, Topic};
use tidegate_protocol::DeliveryTag;

fn queue(limits: &Limits) -> Queue {
    Queue::new(1, 0, Arc::new(TotalBytes::new(limits)))
}

fn queued(payload: &str, qos: QoS, expires_at: Option<Instant>) -> Queued {
    let topic = Topic::parse(b"t").unwrap();
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    let message = Message {
        topic,
        payload,
        qos,
        retain: false,
        properties: None,
        expires_at,
        origin: Origin(0),
        publisher: None,
    };
    Queued::unassigned(Arc::new(message), 0)
}

fn push(queue: &Queue, queued: Queued) -> Result<usize, NotTaken> {
    queue.push(queued, 0).map(|dropped| dropped.len())
}

fn pop(queue: &Queue, has_credit: bool, now: Instant) -> Option<String> {
    let look = Look { has_credit, settlement: Settlement::AboveAtMostOnce, synced: Lsn(0), now };
    match queue.pop(look, &mut Vec::new()) {
        Popped::Delivery(queued) => Some(String::from_utf8(queued.message.payload.to_vec()).unwrap()),
        _ => None,
    }
}

/// [MQTT-4.6.0-5] [MQTT-3.1.1/4.6.0-6]
#[test]
fn keeps_the_order_when_deliveries_come_back() {
    let (queue, now) = (queue(&Limits::default()), Instant::now());
    push(&queue, queued("3", QoS::AtLeastOnce, None)).unwrap();
    queue.put_back(["1", "2"].map(|payload| queued(payload, QoS::AtLeastOnce, None)).into_iter());
    let all: Vec<_> = std::iter::from_fn(|| pop(&queue, true, now)).collect();
    assert_eq!(all, ["1", "2", "3"]);
    assert_eq!(queue.total.size(), (0, 0));
}

/// [MQTT-4.6.0-6] [MQTT-3.1.1/4.6.0-6]: a QoS 0 delivery does not overtake one that waits for credit.
#[test]
fn waits_for_credit_in_order() {
    let (queue, now) = (queue(&Limits::default()), Instant::now());
    push(&queue, queued("1", QoS::AtMostOnce, None)).unwrap();
    push(&queue, queued("2", QoS::AtLeastOnce, None)).unwrap();
    push(&queue, queued("3", QoS::AtMostOnce, None)).unwrap();
    assert_eq!(pop(&queue, false, now).as_deref(), Some("1"));
    assert_eq!(pop(&queue, false, now), None);
    assert_eq!(pop(&queue, true, now).as_deref(), Some("2"));
}

/// [MQTT-3.3.2-5]
#[test]
fn expired_deliveries_are_thrown_away_and_counted() {
    let (queue, now) = (queue(&Limits::default()), Instant::now());
    queue.push(queued("old", QoS::AtLeastOnce, Some(now + Duration::from_secs(1))), 0).unwrap();
    push(&queue, queued("new", QoS::AtLeastOnce, None)).unwrap();
    let (settlement, later, mut dead) = (Settlement::Always, now + Duration::from_secs(2), Vec::new());
    let popped = queue.pop(Look { has_credit: true, settlement, synced: Lsn(0), now: later }, &mut dead);
    assert!(matches!(popped, Popped::Delivery(queued) if queued.message.payload == "new"));
    assert_eq!(dead.len(), 1);
}

#[test]
fn full_at_each_of_its_limits() {
    let full = |limits: Limits| {
        let queue = queue(&limits);
        let results = [(); 2].map(|()| push(&queue, queued("x", QoS::AtLeastOnce, None)));
        assert_eq!(results, [Ok(0), Err(NotTaken::Full)], "{limits:?}");
    };
    let weight = queued("x", QoS::AtLeastOnce, None).weight_bytes();
    full(Limits { queued_messages: 1, ..Limits::default() });
    full(Limits { queued_bytes: weight + 1, ..Limits::default() });
    full(Limits { queued_bytes_total: weight + 1, ..Limits::default() });
}

#[test]
fn new_limits_hold_for_what_comes_and_spare_what_waits() {
    let (queue, now) = (queue(&Limits::default()), Instant::now());
    let push = || push(&queue, queued("x", QoS::AtLeastOnce, None));
    assert_eq!([push(), push(), push()], [Ok(0), Ok(0), Ok(0)]);
    queue.total.limit(&Limits { queued_messages: 2, ..Limits::default() });
    assert_eq!(push(), Err(NotTaken::Full));
    assert!(pop(&queue, true, now).is_some() && pop(&queue, true, now).is_some());
    assert_eq!([push(), push()], [Ok(0), Err(NotTaken::Full)]);
}

/// `limits.queue_overflow = "drop-oldest"`: what the peer may have stays ([MQTT-4.4.0-1]), and what can never fit drops nothing.
#[test]
fn drops_its_oldest_where_that_is_wanted_and_helps() {
    let weight = queued("x", QoS::AtLeastOnce, None).weight_bytes();
    let base = Limits { queue_overflow: Overflow::DropOldest, ..Limits::default() };
    for limits in [
        Limits { queued_messages: 2, ..base.clone() },
        Limits { queued_bytes: 2 * weight + 1, ..base.clone() },
        Limits { queued_bytes_total: 2 * weight + 1, ..base },
    ] {
        let (queue, now) = (queue(&limits), Instant::now());
        let pushed = ["1", "2", "3"].map(|payload| push(&queue, queued(payload, QoS::AtLeastOnce, None)));
        assert_eq!(pushed, [Ok(0), Ok(0), Ok(1)], "{limits:?}");
        assert_eq!([(); 3].map(|()| pop(&queue, true, now)), [Some("2".into()), Some("3".into()), None]);
        let begun = Queued { tag: Some(DeliveryTag(1)), ..queued("b", QoS::AtLeastOnce, None) };
        queue.put_back([begun].into_iter());
        let pushed = ["4", "5"].map(|payload| push(&queue, queued(payload, QoS::AtLeastOnce, None)));
        assert_eq!(pushed, [Ok(0), Ok(1)]);
        let large = "x".repeat(usize::min(weight * 3, 4096));
        let refused = limits.queued_messages == 2;
        let pushed = push(&queue, queued(&large, QoS::AtLeastOnce, None));
        assert_eq!(pushed, if refused { Ok(1) } else { Err(NotTaken::Full) });
        assert_eq!(pop(&queue, true, now).as_deref(), Some("b"));
        assert_eq!(pop(&queue, true, now), Some(if refused { large } else { "5".into() }));
        assert_eq!(queue.total.size(), (0, 0));
    }
}

#[test]
fn an_address_survives_packing() {
    for address in [
        Address { worker: 0, consumer: None },
        Address { worker: 63, consumer: Some(0) },
        Address { worker: 255, consumer: Some(u32::MAX) },
    ] {
        assert_eq!(Address::unpack(address.pack()), address);
    }
}

#[test]
fn a_move_is_seen_only_by_later_generations() {
    let queue = queue(&Limits::default());
    queue.note_move(5, 0);
    queue.set_consumer(3, None);
    assert_eq!((queue.home_at(4), queue.home_at(5)), (0, 3));
}

/// Another worker may still hold a route to a queue whose session has ended: nobody would ever take out what it put in.
#[test]
fn a_queue_that_has_ended_takes_nothing() {
    let total = Arc::new(TotalBytes::new(&Limits::default()));
    let queue = Queue::new(1, 0, total.clone());
    push(&queue, queued("1", QoS::AtLeastOnce, None)).unwrap();
    assert_eq!(queue.end().0.len(), 1);
    assert_eq!(push(&queue, queued("2", QoS::AtLeastOnce, None)), Err(NotTaken::Ended));
    assert_eq!((queue.end().0.len(), total.size()), (0, (0, 0)));
}

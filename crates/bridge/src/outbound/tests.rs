use super::*;
use crate::{Envelope, PaceOptions};
use bytes::Bytes;
use std::collections::VecDeque;
use tidegate_message::{QoS, Topic};
use tidegate_protocol::DeliveryTag;

fn delivered(number: u64, is_backlog: bool) -> Delivered {
    Delivered {
        tag: DeliveryTag(number),
        topic: Topic::parse(b"t").unwrap(),
        payload: Bytes::from_static(b"payload"),
        properties: None,
        qos: QoS::AtLeastOnce,
        retain: false,
        redelivered: false,
        attempt: 1,
        expires_at: None,
        publisher: None,
        is_backlog,
    }
}

fn options(order: ForwardOrder, messages_per_second: Option<u64>) -> ForwardOptions {
    ForwardOptions {
        name: "central.0".to_owned(),
        filters: Vec::new(),
        retained: false,
        in_flight_max: 20,
        in_flight_bytes_max: 1 << 20,
        order,
        drain: PaceOptions { messages_per_second, bytes_per_second: None },
        envelope: Envelope::Raw,
        dead_letter: None,
        max_age: None,
        keep: Keep::All,
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

/// A session and an upstream that confirms after a while, in virtual time, a millisecond a step.
struct Bench {
    outbound: Outbound,
    now: Instant,
    backlog: VecDeque<Delivered>,
    live: VecDeque<Delivered>,
    asked: u32,
    under_way: VecDeque<(Instant, u64)>,
    /// What has left, with the moments.
    left: Vec<(Instant, u64)>,
}

impl Bench {
    fn new(backlog: u64, messages_per_second: Option<u64>) -> Bench {
        let mut outbound = Outbound::new(&options(ForwardOrder::LiveFirst, messages_per_second), 0);
        outbound.note_line(true);
        Bench {
            outbound,
            now: Instant::now(),
            backlog: (0..backlog).map(|number| delivered(number, true)).collect(),
            live: VecDeque::new(),
            asked: 0,
            under_way: VecDeque::new(),
            left: Vec::new(),
        }
    }

    fn step(&mut self, round_trip: Duration) {
        self.now += MILLISECOND;
        while let Some((_, ticket)) = self.under_way.pop_front_if(|(at, _)| *at <= self.now) {
            assert!(self.outbound.take(ticket, self.now).is_some());
        }
        self.asked += self.outbound.ask(self.now).unwrap_or(0);
        let credit = self.outbound.credit() as usize;
        while self.outbound.flight.len() < credit && self.outbound.flight.has_room() {
            let wanted = |_: &mut Delivered| self.asked > 0;
            let Some(next) = self.live.pop_front().or_else(|| self.backlog.pop_front_if(wanted)) else {
                break;
            };
            self.asked -= u32::from(next.is_backlog);
            self.outbound.note_came(&next);
            self.outbound.flight.push(Box::new(next), None);
        }
        while let Some((part, held)) = self.outbound.next(self.now) {
            let number = held.delivered.tag.0;
            let ticket = self.outbound.note_sent(part, self.now).unwrap();
            self.outbound.note_left(part, 7, self.now);
            self.under_way.push_back((self.now + round_trip, ticket));
            self.left.push((self.now, number));
        }
    }
}

/// Drained at ten a second, and one live message every 50 ms: none waits for longer than a round trip, and the backlog keeps its pace and its order.
#[test]
fn live_messages_overtake_a_backlog_that_is_drained_slowly() {
    let mut bench = Bench::new(1000, Some(10));
    let mut published = Vec::new();
    for step in 0..20_000_u64 {
        if step % 50 == 25 {
            published.push((bench.now, 5000 + step));
            bench.live.push_back(delivered(5000 + step, false));
        }
        bench.step(Duration::from_millis(30));
    }
    let (live, backlog): (Vec<_>, Vec<_>) = bench.left.iter().partition(|(_, number)| *number >= 5000);
    assert_eq!(live.len(), published.len());
    for ((left, number), (at, expected)) in live.into_iter().zip(published) {
        assert_eq!(number, expected);
        assert!(left - at <= Duration::from_millis(100), "{:?}", left - at);
    }
    let numbers: Vec<u64> = backlog.iter().map(|(_, number)| *number).collect();
    assert!((199..=202).contains(&numbers.len()), "20 seconds of it: {}", numbers.len());
    assert!(numbers.is_sorted());
    assert!(bench.outbound.is_draining());
}

/// The same without a limit: half of what may be on its way is left for live messages at any moment.
#[test]
fn live_messages_overtake_a_backlog_that_is_drained_as_fast_as_it_goes() {
    let mut bench = Bench::new(5000, None);
    for number in 5000..5100 {
        bench.live.push_back(delivered(number, false));
        let begun = bench.now;
        (0..30).for_each(|_| bench.step(Duration::from_millis(20)));
        let (left, _) = bench.left.iter().find(|(_, left)| *left == number).unwrap();
        assert!(*left - begun <= Duration::from_millis(2));
    }
    assert!(bench.left.len() > 1000);
}

#[test]
fn a_backlog_is_over_when_none_comes_that_was_asked_for() {
    let mut bench = Bench::new(30, None);
    (0..500).for_each(|_| {
        bench.step(MILLISECOND);
        bench.outbound.note_calm(bench.now);
    });
    assert!(!bench.outbound.is_draining() && bench.left.len() == 30);
    bench.backlog.push_back(delivered(30, true));
    bench.step(MILLISECOND);
    assert!(bench.outbound.is_draining());
}

/// Last values are for a backlog. What does not fit in here is looked through in the gateway once a second.
#[test]
fn last_values_are_kept_while_the_upstream_is_away_or_does_not_keep_up() {
    let options = ForwardOptions { keep: Keep::Last, ..options(ForwardOrder::Strict, None) };
    let mut outbound = Outbound::new(&options, 0);
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let push = |outbound: &mut Outbound, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let topic = Topic::parse(number.to_string().as_bytes()).unwrap();
            outbound.flight.push(Box::new(Delivered { topic, ..delivered(number, false) }), None);
        }
    };
    push(&mut outbound, 0..19);
    push(&mut outbound, 0..19);
    assert!(!outbound.keep_last(now), "there is room for more");
    assert!((0..19).all(|_| outbound.flight.take_useless(now).is_some()));
    push(&mut outbound, 19..20);
    let looks = |outbound: &mut Outbound, at: Instant| (outbound.keep_last(at), outbound.keep_last(at));
    assert_eq!(looks(&mut outbound, now), (true, false));
    assert_eq!(
        (outbound.next_look(now), looks(&mut outbound, now + second)),
        (Some(now + second), (true, false))
    );

    // It is there, and nothing is left of the backlog: what comes in a moment of haste stays.
    outbound.note_line(true);
    while let Some((part, _)) = outbound.next(now) {
        let ticket = outbound.note_sent(part, now).unwrap();
        outbound.take(ticket, now);
    }
    outbound.note_calm(now + second);
    outbound.note_calm(now + second + CALM);
    let calm = now + 9 * second;
    assert!(!outbound.is_draining());
    (0..2).for_each(|_| push(&mut outbound, 0..5));
    assert!(!outbound.keep_last(calm) && outbound.flight.take_useless(calm).is_none());
    push(&mut outbound, 0..10);
    assert!(!outbound.keep_last(calm) && outbound.flight.take_useless(calm).is_none());
    // But not where that goes on.
    assert!(!outbound.keep_last(calm + second / 2) && outbound.keep_last(calm + second));
    outbound.pause(calm + 9 * second);
    outbound.keep_last(calm + second);
    assert!((0..10).all(|_| outbound.flight.take_useless(calm).is_some()));
}

/// In strict order the pace is for everything, as long as something drains.
#[test]
fn in_strict_order_nothing_overtakes() {
    let mut outbound = Outbound::new(&options(ForwardOrder::Strict, Some(10)), 0);
    let now = Instant::now();
    outbound.note_line(true);
    assert_eq!((outbound.ask(now), outbound.credit()), (None, 20));
    (0..3).for_each(|number| outbound.flight.push(Box::new(delivered(number, false)), None));
    for _ in 0..2 {
        let (part, _) = outbound.next(now).unwrap();
        outbound.note_sent(part, now);
        outbound.note_left(part, 1, now);
    }
    assert!(outbound.next(now).is_none() && outbound.held_until(now).is_some_and(|until| until > now));
}

/// How often a forward turns in ten seconds in which nothing comes and the upstream says nothing.
fn turns(outbound: &mut Outbound, has_line: bool, mut now: Instant) -> u32 {
    let (end, mut turns) = (now + Duration::from_secs(10), 0);
    while let Some(at) = outbound.calm_at().into_iter().chain(outbound.held_until(now)).min() {
        now = now.max(at);
        turns += 1;
        if now >= end || turns > 1000 {
            break;
        }
        if has_line {
            while let Some((part, _)) = outbound.next(now) {
                outbound.note_sent(part, now);
                outbound.note_left(part, 1, now);
            }
            outbound.note_calm(now);
        }
    }
    turns
}

#[test]
fn a_forward_rests_when_its_connection_breaks_before_a_backlog_is_over() {
    let mut outbound = Outbound::new(&options(ForwardOrder::Strict, None), 0);
    let now = Instant::now();
    outbound.note_line(true);
    outbound.note_calm(now);
    outbound.note_line(false);
    assert_eq!(turns(&mut outbound, false, now), 0);
}

#[test]
fn a_forward_rests_while_what_came_right_after_the_connection_waits_for_its_pace() {
    let mut outbound = Outbound::new(&options(ForwardOrder::Strict, Some(10)), 0);
    let now = Instant::now();
    outbound.note_line(true);
    outbound.note_calm(now);
    (0..20).for_each(|number| outbound.flight.push(Box::new(delivered(number, false)), None));
    let turned = turns(&mut outbound, true, now + MILLISECOND);
    assert!((18..=22).contains(&turned), "one for each message: {turned}");
    assert!(outbound.is_draining(), "the upstream has confirmed nothing");
}

/// The session has more, and no room for it here until something is confirmed.
#[test]
fn a_flight_without_room_is_not_calm() {
    let mut options = options(ForwardOrder::Strict, None);
    options.in_flight_bytes_max = 4;
    let mut outbound = Outbound::new(&options, 0);
    let now = Instant::now();
    outbound.note_line(true);
    outbound.flight.push(Box::new(delivered(0, false)), None);
    outbound.note_sent(Part::Live, now);
    assert_eq!(turns(&mut outbound, true, now), 0);
    outbound.note_calm(now);
    outbound.note_calm(now + CALM);
    assert!(outbound.is_draining());
    outbound.take(0, now);
    outbound.note_calm(now + CALM);
    assert_eq!(turns(&mut outbound, true, now + CALM), 1);
    assert!(!outbound.is_draining());
}

/// Two of three were on their way behind the one that was turned away: it goes alone, and the rest behind it when it was taken.
#[test]
fn after_a_message_was_turned_away_they_go_one_at_a_time_until_one_is_taken() {
    let mut outbound = Outbound::new(&options(ForwardOrder::Strict, None), 0);
    let now = Instant::now();
    outbound.note_line(true);
    (0..5).for_each(|number| outbound.flight.push(delivered(number, false).into(), None));
    let send_all = |outbound: &mut Outbound, now: Instant| {
        let mut numbers = Vec::new();
        while let Some((part, held)) = outbound.next(now) {
            numbers.push(held.delivered.tag.0);
            outbound.note_sent(part, now);
        }
        numbers
    };
    (0..3).for_each(|_| assert!(outbound.note_sent(Part::Live, now).is_some()));
    outbound.flight.return_to_front(0);
    outbound.pause(now + MILLISECOND);
    assert!(send_all(&mut outbound, now).is_empty());
    outbound.flight.take(1);
    assert!(!outbound.note_confirmed(1), "it was sent before");
    assert!(send_all(&mut outbound, now + MILLISECOND).is_empty(), "one is on its way yet");
    outbound.flight.take(2);
    assert_eq!(send_all(&mut outbound, now + MILLISECOND), [0]);
    outbound.flight.return_to_front(3);
    outbound.pause(now + 3 * MILLISECOND);
    assert_eq!(send_all(&mut outbound, now + 3 * MILLISECOND), [0]);
    outbound.flight.take(4);
    assert!(outbound.note_confirmed(4));
    assert_eq!(send_all(&mut outbound, now + 3 * MILLISECOND), [3, 4]);
}

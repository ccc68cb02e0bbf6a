//! Which message a forward sends next, and when: in the order that it is to keep, a backlog at its pace, and nothing while the upstream cannot take any.
//!
//! `now` is passed in. What is held, and what of it is on its way, stands in the [`Flight`].

use crate::asking::Asking;
use crate::flight::{Flight, Held, Part, weight_bytes};
use crate::forward::{ForwardOptions, ForwardOrder};
use crate::link::Delivered;
use crate::pace::Pace;
use std::time::{Duration, Instant};

/// How long hardly anything has to be on its way until a backlog is over.
const CALM: Duration = Duration::from_millis(200);

/// What one forward has to send.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) flight: Flight,
    pace: Pace,
    /// How much of the backlog is wanted, where newer messages go before it.
    asking: Option<Asking>,
    in_flight_max: u32,
    /// Nothing is sent before this moment: the upstream could not take something.
    paused_until: Option<Instant>,
    /// The ticket from which on one has to be confirmed before more than one may be on its way: until then each may be turned away in its turn.
    careful_from: Option<u64>,
    /// Since when hardly anything is on its way, while a backlog is drained.
    calm_since: Option<Instant>,
    is_draining: bool,
}

impl Outbound {
    /// Nothing yet; tickets begin with this one.
    pub(crate) fn new(options: &ForwardOptions, first_ticket: u64) -> Outbound {
        let bytes = options.in_flight_bytes_max;
        let (bytes_max, asking) = match options.order {
            ForwardOrder::Strict => (bytes, None),
            ForwardOrder::LiveFirst => {
                (Asking::live_bytes_max(bytes), Some(Asking::new(options.in_flight_max, bytes)))
            }
        };
        Outbound {
            flight: Flight::new(bytes_max, first_ticket),
            pace: Pace::new(options.drain),
            asking,
            in_flight_max: options.in_flight_max,
            paused_until: None,
            careful_from: None,
            calm_since: None,
            is_draining: false,
        }
    }

    /// Everything is forgotten that was held: it comes again over another link.
    pub(crate) fn restart(&mut self, options: &ForwardOptions) {
        *self = Outbound::new(options, self.flight.next_ticket());
    }

    /// How many messages may be with the forward at a time.
    pub(crate) fn credit(&self) -> u32 {
        if self.is_live_first() { Asking::credit(self.in_flight_max) } else { self.in_flight_max }
    }

    /// Whether newer messages go before a backlog.
    pub(crate) fn is_live_first(&self) -> bool {
        self.asking.is_some()
    }

    /// Whether what has waited is on its way.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Another connection stands, or none. What was on its way is sent again.
    pub(crate) fn note_line(&mut self, stands: bool) {
        self.flight.note_lost();
        self.asking.iter_mut().for_each(Asking::forget_answers);
        (self.paused_until, self.careful_from, self.calm_since) = (None, None, None);
        // Until it turns out that nothing waits: what does may still be on its way here.
        self.is_draining = stands;
    }

    /// A delivery has come, whatever becomes of it.
    pub(crate) fn note_came(&mut self, delivered: &Delivered) {
        if let Some(asking) = self.asking.as_mut().filter(|_| delivered.is_backlog) {
            asking.note_came(weight_bytes(delivered));
            self.is_draining = true;
        }
    }

    /// How much more of the backlog is to be asked for; nothing where that is nothing.
    pub(crate) fn ask(&mut self, now: Instant) -> Option<u32> {
        let (held, bytes) = self.flight.backlog();
        self.asking.as_mut().filter(|_| self.paused_until.is_none_or(|until| until <= now))?.next(held, bytes)
    }

    /// The next message that may be sent now.
    pub(crate) fn next(&self, now: Instant) -> Option<(Part, &Held)> {
        if self.is_paused(now) || (self.careful_from.is_some() && self.flight.is_on_its_way()) {
            return None;
        }
        let waits = self.paced_until(now).is_some();
        let may_be_sent =
            |part: Part| self.flight.next_unsent(part).filter(|_| !(waits && self.is_paced(part)));
        [Part::Live, Part::Backlog].into_iter().find_map(|part| Some((part, may_be_sent(part)?)))
    }

    /// It is sent under this ticket.
    pub(crate) fn note_sent(&mut self, part: Part, now: Instant) -> Option<u64> {
        let ticket = self.flight.note_sent(part)?;
        if let Some(asking) = self.asking.as_mut().filter(|_| part == Part::Backlog) {
            asking.note_sent(ticket, now);
        }
        Some(ticket)
    }

    /// Takes a message out that the upstream has answered for; nothing where the ticket is of a connection that is gone.
    pub(crate) fn take(&mut self, ticket: u64, now: Instant) -> Option<Box<Delivered>> {
        if let Some(asking) = &mut self.asking {
            asking.note_answered(ticket, now);
        }
        self.flight.take(ticket)
    }

    /// So many bytes of a part have left.
    pub(crate) fn note_left(&mut self, part: Part, bytes: usize, now: Instant) {
        if self.is_paced(part) {
            self.pace.note(bytes, now);
        }
    }

    /// Until when the next message has to wait, where it has to wait for a moment.
    pub(crate) fn held_until(&self, now: Instant) -> Option<Instant> {
        if !self.flight.has_unsent() || self.next(now).is_some() {
            return None;
        }
        self.paused_until.filter(|until| *until > now).or_else(|| self.paced_until(now))
    }

    fn paced_until(&self, now: Instant) -> Option<Instant> {
        (self.is_live_first() || self.is_draining).then(|| self.pace.next_at(now)).flatten()
    }

    /// Whether the pace is about this part: about all that drains, and never about what is live where that goes first.
    fn is_paced(&self, part: Part) -> bool {
        !self.is_live_first() || part == Part::Backlog
    }

    /// Nothing is sent until then, and one at a time from then on. What is on its way already cannot be called back.
    pub(crate) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(until);
        self.careful_from.get_or_insert(self.flight.next_ticket());
    }

    /// Whether nothing is sent for a while.
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// The upstream has taken a message. Returns whether it was not known to take any: what had been on its way before proves nothing.
    pub(crate) fn note_confirmed(&mut self, ticket: u64) -> bool {
        let is_proof = self.careful_from.is_some_and(|from| ticket >= from);
        if is_proof {
            (self.paused_until, self.careful_from) = (None, None);
        }
        is_proof
    }

    /// When it is to be looked whether a backlog is over.
    pub(crate) fn calm_at(&self) -> Option<Instant> {
        self.calm_since.map(|since| since + CALM)
    }

    /// A backlog is over when everything that has come is on its way, and for a while it is little: more would have come if there was more, and there
    /// was room for it.
    pub(crate) fn note_calm(&mut self, now: Instant) {
        if !self.is_draining || !self.is_calm() {
            self.calm_since = None;
        } else if now.duration_since(*self.calm_since.get_or_insert(now)) >= CALM {
            self.calm_since = None;
            self.is_draining = false;
        }
    }

    fn is_calm(&self) -> bool {
        match &self.asking {
            _ if self.flight.has_unsent() => false,
            None => self.flight.has_room() && 4 * self.flight.len() <= self.in_flight_max as usize,
            Some(asking) => asking.is_open() && self.flight.backlog().0 == 0,
        }
    }
}

#[cfg(test)]
mod tests {
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
        (0..5).for_each(|number| outbound.flight.push(delivered(number, false).into()));
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
}

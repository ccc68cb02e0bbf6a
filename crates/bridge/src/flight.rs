//! What one forward holds in memory: deliveries that are not settled, in their order, and which of them are on their way.
//!
//! ```text
//!            send               Confirmed, Never
//!  ┌────────┐───────►┌──────┐──────────────────► gone: settled, or a dead letter first
//!  │ Unsent │        │ Sent │
//!  └────────┘◄───────└──────┘
//!      NotNow, line lost
//!      │
//!      └──────► given up, when nobody would have any use of it any more
//! ```
//!
//! Messages are sent in the order in which they came, and what has to be sent again goes before what was never sent. So the upstream sees
//! each topic in order, with repetitions after a loss, as long as it takes everything or nothing of a connection. Where newer messages go before a
//! backlog that is so for each of the two parts.

use crate::last_values::LastValues;
use crate::lifetime::{Deadline, Useless};
use crate::link::Delivered;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// The parts of a forward that lets newer messages go before older ones; another one has only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What came while the upstream was there.
    Live,
    /// What has waited.
    Backlog,
}

impl Part {
    fn of(delivered: &Delivered) -> Part {
        if delivered.is_backlog { Part::Backlog } else { Part::Live }
    }
}

/// What is held of one part.
#[derive(Debug, Default)]
struct Share {
    unsent: BTreeSet<u64>,
    count: usize,
    bytes: usize,
}

impl Share {
    /// One less is held.
    fn forget(&mut self, delivered: &Delivered) {
        self.count -= 1;
        self.bytes -= weight_bytes(delivered);
    }
}

/// One delivery.
#[derive(Debug)]
pub(crate) struct Held {
    /// Where it was made: what is held is moved about whenever something goes.
    pub(crate) delivered: Box<Delivered>,
    /// Under which ticket it is on its way.
    ticket: Option<u64>,
    /// Whether it was sent before.
    pub(crate) was_sent: bool,
    deadline: Option<Deadline>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Flight {
    /// By the order of arrival.
    held: BTreeMap<u64, Held>,
    live: Share,
    backlog: Share,
    tickets: HashMap<u64, u64>,
    /// Of what is not on its way and has a deadline.
    deadlines: BTreeSet<(Instant, u64)>,
    /// While only the newest of each topic is to wait.
    last_values: Option<LastValues>,
    /// What has given way to these.
    superseded: Vec<Held>,
    next_arrival: u64,
    next_ticket: u64,
    bytes_max: usize,
}

impl Flight {
    /// Room for so many bytes of what is live. The number of deliveries is bounded by the credit of the link. Tickets begin with the first one.
    pub(crate) fn new(bytes_max: usize, first_ticket: u64) -> Flight {
        Flight {
            held: BTreeMap::new(),
            live: Share::default(),
            backlog: Share::default(),
            tickets: HashMap::new(),
            deadlines: BTreeSet::new(),
            last_values: None,
            superseded: Vec::new(),
            next_arrival: 0,
            next_ticket: first_ticket,
            bytes_max,
        }
    }

    fn share(&self, part: Part) -> &Share {
        match part {
            Part::Live => &self.live,
            Part::Backlog => &self.backlog,
        }
    }

    fn share_mut(&mut self, part: Part) -> &mut Share {
        match part {
            Part::Live => &mut self.live,
            Part::Backlog => &mut self.backlog,
        }
    }

    /// Whether more may be taken in. One delivery may always, however large; of the backlog comes what was asked for.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_beside(0)
    }

    /// The same, where so many bytes are held elsewhere of what was here.
    pub(crate) fn has_room_beside(&self, bytes: usize) -> bool {
        (self.live.count == 0 && bytes == 0) || self.live.bytes.saturating_add(bytes) < self.bytes_max
    }

    /// How much of the backlog is held: messages and bytes.
    pub(crate) fn backlog(&self) -> (usize, usize) {
        (self.backlog.count, self.backlog.bytes)
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        !(self.live.unsent.is_empty() && self.backlog.unsent.is_empty())
    }

    /// The ticket that comes next.
    pub(crate) fn next_ticket(&self) -> u64 {
        self.next_ticket
    }

    /// When the first of them was published, in the time of the gateway, where that is known.
    pub(crate) fn oldest_taken_at_millis(&self) -> Option<u64> {
        let (_, held) = self.held.first_key_value()?;
        held.delivered.publisher.as_ref().map(|publisher| publisher.taken_at_millis)
    }

    /// Whether something was sent that has no verdict.
    pub(crate) fn is_on_its_way(&self) -> bool {
        !self.tickets.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes a delivery in, which is of no use any more at its deadline.
    pub(crate) fn push(&mut self, delivered: Box<Delivered>, deadline: Option<Deadline>) {
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        let share = self.share_mut(Part::of(&delivered));
        share.count += 1;
        share.bytes += weight_bytes(&delivered);
        self.held
            .insert(arrival, Held { was_sent: delivered.redelivered, delivered, ticket: None, deadline });
        self.note_waiting(arrival);
    }

    /// The next delivery of a part to send.
    pub(crate) fn next_unsent(&self, part: Part) -> Option<&Held> {
        self.held.get(self.share(part).unsent.first()?)
    }

    /// It is sent under this ticket.
    pub(crate) fn note_sent(&mut self, part: Part) -> Option<u64> {
        let arrival = self.share_mut(part).unsent.pop_first()?;
        let held = self.held.get_mut(&arrival)?;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        held.ticket = Some(ticket);
        held.was_sent = true;
        if let Some(deadline) = held.deadline {
            self.deadlines.remove(&(deadline.at, arrival));
        }
        if let Some(last_values) = &mut self.last_values {
            last_values.forget(&held.delivered.topic, arrival);
        }
        self.tickets.insert(ticket, arrival);
        Some(ticket)
    }

    /// Takes a delivery out that the upstream has answered for; nothing where the ticket is of a connection that is gone.
    pub(crate) fn take(&mut self, ticket: u64) -> Option<Box<Delivered>> {
        let arrival = self.tickets.remove(&ticket)?;
        self.remove(arrival)
    }

    /// Has a delivery sent again that the upstream could not take.
    pub(crate) fn return_to_front(&mut self, ticket: u64) -> bool {
        let Some(arrival) = self.tickets.remove(&ticket) else { return false };
        self.unsend(arrival)
    }

    fn unsend(&mut self, arrival: u64) -> bool {
        let Some(held) = self.held.get_mut(&arrival) else { return false };
        held.ticket = None;
        self.note_waiting(arrival);
        true
    }

    /// A delivery waits from now on.
    fn note_waiting(&mut self, arrival: u64) {
        let Some(held) = self.held.get(&arrival) else { return };
        self.deadlines.extend(held.deadline.map(|deadline| (deadline.at, arrival)));
        let share = match Part::of(&held.delivered) {
            Part::Live => &mut self.live,
            Part::Backlog => &mut self.backlog,
        };
        share.unsent.insert(arrival);
        let last_values = self.last_values.as_mut();
        let older = last_values.and_then(|last_values| last_values.note(&held.delivered.topic, arrival));
        let superseded = older.and_then(|older| self.withdraw(older));
        self.superseded.extend(superseded);
    }

    /// Has only the newest delivery of each topic wait from now on, or every one again. What is on its way is left alone.
    pub(crate) fn keep_last(&mut self, is_wanted: bool) {
        if is_wanted == self.last_values.is_some() {
            return;
        }
        self.last_values = is_wanted.then(LastValues::default);
        let waiting = self.held.iter().filter(|(_, held)| is_wanted && held.ticket.is_none());
        for arrival in waiting.map(|(arrival, _)| *arrival).collect::<Vec<_>>() {
            self.note_waiting(arrival);
        }
    }

    /// Takes a delivery out that waits.
    fn withdraw(&mut self, arrival: u64) -> Option<Held> {
        let held = self.held.remove(&arrival)?;
        if let Some(deadline) = held.deadline {
            self.deadlines.remove(&(deadline.at, arrival));
        }
        if let Some(last_values) = &mut self.last_values {
            last_values.forget(&held.delivered.topic, arrival);
        }
        let share = self.share_mut(Part::of(&held.delivered));
        share.unsent.remove(&arrival);
        share.forget(&held.delivered);
        Some(held)
    }

    /// Has everything sent again that was on its way; returns how much that is.
    pub(crate) fn note_lost(&mut self) -> usize {
        let lost = self.tickets.len();
        for arrival in std::mem::take(&mut self.tickets).into_values() {
            self.unsend(arrival);
        }
        lost
    }

    /// When the first of those that are not on its way is to be given up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Takes a delivery out that is not on its way and of no use any more.
    pub(crate) fn take_useless(&mut self, now: Instant) -> Option<(Box<Delivered>, Useless)> {
        if let Some(superseded) = self.superseded.pop() {
            return Some((superseded.delivered, Useless::Superseded));
        }
        let (_, arrival) = *self.deadlines.first().filter(|(at, _)| *at <= now)?;
        let held = self.withdraw(arrival)?;
        Some((held.delivered, held.deadline?.why))
    }

    fn remove(&mut self, arrival: u64) -> Option<Box<Delivered>> {
        let held = self.held.remove(&arrival)?;
        let share = self.share_mut(Part::of(&held.delivered));
        share.forget(&held.delivered);
        Some(held.delivered)
    }
}

/// What a delivery takes in memory, about.
pub(crate) fn weight_bytes(delivered: &Delivered) -> usize {
    let properties = delivered.properties.as_ref().map_or(0, |properties| properties.heap_bytes());
    size_of::<Held>()
        + size_of::<Delivered>()
        + delivered.topic.as_str().len()
        + delivered.payload.len()
        + properties
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;
    use tidegate_message::{QoS, Topic};
    use tidegate_protocol::DeliveryTag;

    fn delivered(number: u64, payload_bytes: usize) -> Box<Delivered> {
        Box::new(Delivered {
            tag: DeliveryTag(number),
            topic: Topic::parse(b"t").unwrap(),
            payload: Bytes::from(vec![0; payload_bytes]),
            properties: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            redelivered: false,
            attempt: 1,
            expires_at: None,
            publisher: None,
            is_backlog: false,
        })
    }

    fn flight_of(count: u64) -> Flight {
        let mut flight = Flight::new(1 << 20, 100);
        (0..count).for_each(|number| flight.push(delivered(number, 1), None));
        flight
    }

    fn send_all(flight: &mut Flight) -> Vec<u64> {
        let mut tags = Vec::new();
        while let Some(held) = flight.next_unsent(Part::Live) {
            tags.push(held.delivered.tag.0);
            flight.note_sent(Part::Live);
        }
        tags
    }

    #[test]
    fn after_a_loss_everything_without_a_verdict_is_sent_again_in_its_order() {
        let mut flight = flight_of(4);
        assert_eq!(send_all(&mut flight), [0, 1, 2, 3]);
        assert_eq!(flight.take(102).map(|delivered| delivered.tag.0), Some(2));
        flight.push(delivered(4, 1), None);
        assert_eq!(flight.note_lost(), 3);
        assert!(flight.next_unsent(Part::Live).is_some_and(|held| held.was_sent));
        assert_eq!(send_all(&mut flight), [0, 1, 3, 4]);
        assert_eq!(flight.take(101), None, "a verdict of the lost connection means nothing");
        assert_eq!((flight.len(), flight.tickets.len()), (4, 4));
    }

    #[test]
    fn both_parts_are_kept_apart() {
        let mut flight = flight_of(2);
        let backlog = |number| Box::new(Delivered { is_backlog: true, ..*delivered(number, 1) });
        (2..4).for_each(|number| flight.push(backlog(number), None));
        let next = |flight: &Flight, part| flight.next_unsent(part).map(|held| held.delivered.tag.0);
        assert_eq!((next(&flight, Part::Live), next(&flight, Part::Backlog)), (Some(0), Some(2)));
        assert_eq!(flight.note_sent(Part::Backlog), Some(100));
        assert_eq!(send_all(&mut flight), [0, 1]);
        assert_eq!((flight.backlog().0, flight.note_lost()), (2, 3));
        assert_eq!((next(&flight, Part::Live), next(&flight, Part::Backlog)), (Some(0), Some(2)));
        flight.note_sent(Part::Backlog);
        assert!(flight.take(103).is_some_and(|delivered| delivered.tag.0 == 2));
        assert!(flight.has_unsent() && flight.backlog().0 == 1);
    }

    /// Its lifetime goes on while it waits for the upstream, before it is sent and before it is sent again; what is on its way is left alone.
    #[test]
    fn what_has_expired_is_given_up_where_it_is_not_on_its_way() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut flight = Flight::new(1 << 20, 100);
        let push = |flight: &mut Flight, number: u64, seconds: Option<u32>| {
            let at = seconds.map(|seconds| now + seconds * second);
            let delivered = Delivered { is_backlog: number == 1, ..*delivered(number, 1) };
            flight.push(Box::new(delivered), at.map(|at| Deadline { at, why: Useless::Expired }));
        };
        push(&mut flight, 0, Some(1));
        flight.note_sent(Part::Live);
        for (number, seconds) in [(1, Some(3)), (2, Some(2)), (3, None), (4, Some(1))] {
            push(&mut flight, number, seconds);
        }
        let overdue = |flight: &mut Flight, seconds: u32| {
            let overdue = flight.take_useless(now + seconds * second);
            overdue.map(|(delivered, why)| (delivered.tag.0, why.label()))
        };
        assert_eq!((flight.next_deadline(), overdue(&mut flight, 0)), (Some(now + second), None));
        assert_eq!(overdue(&mut flight, 2), Some((4, "expired")));
        assert_eq!((overdue(&mut flight, 2), overdue(&mut flight, 2)), (Some((2, "expired")), None));
        assert_eq!(flight.next_deadline(), Some(now + 3 * second));
        flight.note_lost();
        assert_eq!(overdue(&mut flight, 2), Some((0, "expired")), "it would be sent again");
        assert_eq!(overdue(&mut flight, 3), Some((1, "expired")));
        assert_eq!((overdue(&mut flight, 9), flight.len(), flight.backlog().0), (None, 1, 0));
        assert_eq!((send_all(&mut flight), flight.next_unsent(Part::Backlog).is_none()), (vec![3], true));
    }

    /// Of what waits the newest of each topic is left, whenever that begins; what is on its way stays, unless it has to be sent again.
    #[test]
    fn only_last_values_wait_while_that_is_wanted() {
        let mut flight = Flight::new(1 << 20, 0);
        let push = |flight: &mut Flight, number: u64, topic: &str| {
            let topic = Topic::parse(topic.as_bytes()).unwrap();
            flight.push(Box::new(Delivered { topic, ..*delivered(number, 1) }), None);
        };
        let given_up = |flight: &mut Flight| {
            let next = || flight.take_useless(Instant::now());
            let mut given_up: Vec<_> =
                std::iter::from_fn(next).map(|(gone, why)| (gone.tag.0, why)).collect();
            given_up.sort_by_key(|(number, _)| *number);
            assert!(given_up.iter().all(|(_, why)| why.label() == "superseded"));
            given_up.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
        };
        for (number, topic) in [(0, "a"), (1, "b"), (2, "a"), (3, "a")] {
            push(&mut flight, number, topic);
        }
        flight.note_sent(Part::Live);
        assert_eq!(given_up(&mut flight), [0; 0], "everything is kept");
        flight.keep_last(true);
        assert_eq!(given_up(&mut flight), [2], "the first is on its way");
        for (number, topic) in [(4, "b"), (5, "c"), (6, "a")] {
            push(&mut flight, number, topic);
        }
        assert_eq!(given_up(&mut flight), [1, 3]);
        flight.note_lost();
        assert_eq!(given_up(&mut flight), [0], "there is something newer than what would be sent again");
        assert_eq!((send_all(&mut flight), flight.len()), (vec![4, 5, 6], 3));
        push(&mut flight, 7, "a");
        assert_eq!(given_up(&mut flight), [0; 0]);
        flight.keep_last(false);
        push(&mut flight, 8, "a");
        assert_eq!((given_up(&mut flight), send_all(&mut flight)), (vec![], vec![7, 8]));
        (0..5).for_each(|ticket| drop(flight.take(ticket + 1)));
        assert_eq!((flight.len(), flight.live.bytes), (0, 0));
    }

    #[test]
    fn what_was_not_taken_goes_before_what_was_never_sent() {
        let mut flight = flight_of(2);
        flight.note_sent(Part::Live);
        flight.note_sent(Part::Live);
        flight.push(delivered(2, 1), None);
        assert!(flight.return_to_front(100));
        assert!(!flight.return_to_front(100));
        assert_eq!(send_all(&mut flight), [0, 2]);
    }

    #[test]
    fn one_delivery_may_always_be_taken_in_and_more_only_where_there_is_room() {
        let mut flight = Flight::new(10_000, 0);
        assert!(flight.has_room());
        flight.push(delivered(0, 20_000), None);
        assert!(!flight.has_room());
        flight.note_sent(Part::Live);
        flight.take(0);
        assert!(flight.has_room());
        flight.push(delivered(1, 100), None);
        assert!(flight.has_room());
        flight.note_sent(Part::Live);
        flight.take(1);
        assert_eq!((flight.len(), flight.live.bytes), (0, 0));
        assert!(flight.has_room_beside(9_999) && !flight.has_room_beside(10_000));
    }
}

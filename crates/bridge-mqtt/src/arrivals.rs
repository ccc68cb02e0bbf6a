//! Messages that came from the broker and are not settled, and whether there is room for another one.
//!
//! What has a packet identifier is acknowledged in the order in which it came; MQTT 5.0 is told how much of it there may be, and nothing is lost
//! where there is no room. What has none is never acknowledged: it waits in no line, and no receive may have so much of it that it keeps
//! what else comes over the connection, acknowledgements for the forwards among it, from being heard. Where its receive has settled none
//! for a while and there is no room, it is dropped, as QoS 0 allows.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};
use tidegate_bridge::{Taken, UNSETTLED_MAX};

/// Messages with an identifier that may be unsettled.
pub(crate) const ACKNOWLEDGED_MAX: usize = UNSETTLED_MAX / 4 * 3;
/// Messages without one that may be unsettled at one receive.
pub(crate) const FLEETING_MAX: usize = UNSETTLED_MAX / 4;
/// How long one of these waits for room.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// All that came over one connection.
#[derive(Debug)]
pub(crate) struct Arrivals {
    next_ticket: u64,
    acknowledged: VecDeque<Unsettled>,
    /// By the receive.
    fleeting: Vec<Fleeting>,
}

#[derive(Debug)]
struct Unsettled {
    ticket: u64,
    packet_id: NonZeroU16,
    taken: Option<Taken>,
}

#[derive(Debug, Default)]
struct Fleeting {
    tickets: HashSet<u64>,
    /// Since when one waits for room and none was settled.
    full_since: Option<Instant>,
}

/// Whether there is room for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Yes,
    /// It is heard later, and with it what is behind it; nothing has to happen before that moment, where there is one.
    Later(Option<Instant>),
    /// There will be none soon: it is dropped.
    No,
}

impl Arrivals {
    pub(crate) fn new(receives: usize) -> Arrivals {
        let fleeting = std::iter::repeat_with(Fleeting::default).take(receives).collect();
        Arrivals { next_ticket: 0, acknowledged: VecDeque::new(), fleeting }
    }

    /// Whether there is room for a message of this receive.
    pub(crate) fn room(&mut self, lane: Option<usize>, packet_id: Option<NonZeroU16>, now: Instant) -> Room {
        if packet_id.is_some() {
            return if self.is_full() { Room::Later(None) } else { Room::Yes };
        }
        match lane.and_then(|lane| self.fleeting.get_mut(lane)) {
            Some(fleeting) if fleeting.tickets.len() >= FLEETING_MAX => {
                let until = *fleeting.full_since.get_or_insert(now) + PATIENCE;
                if now < until { Room::Later(Some(until)) } else { Room::No }
            }
            _ => Room::Yes,
        }
    }

    /// Whether nothing more with an identifier fits in.
    pub(crate) fn is_full(&self) -> bool {
        self.acknowledged.len() >= ACKNOWLEDGED_MAX
    }

    /// Notes a message for this receive; its ticket.
    pub(crate) fn note(&mut self, lane: usize, packet_id: Option<NonZeroU16>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        match packet_id {
            Some(packet_id) => self.acknowledged.push_back(Unsettled { ticket, packet_id, taken: None }),
            None => {
                if let Some(fleeting) = self.fleeting.get_mut(lane) {
                    fleeting.tickets.insert(ticket);
                }
            }
        }
        ticket
    }

    /// Notes a message that nobody wants.
    pub(crate) fn note_unwanted(&mut self, packet_id: NonZeroU16) {
        let unwanted = Unsettled { ticket: self.next_ticket, packet_id, taken: Some(Taken::Never) };
        self.next_ticket += 1;
        self.acknowledged.push_back(unwanted);
    }

    /// Notes what became of a message; what is settled already changes nothing.
    pub(crate) fn settle(&mut self, ticket: u64, taken: Taken) {
        match self.acknowledged.iter_mut().find(|unsettled| unsettled.ticket == ticket) {
            Some(unsettled) => unsettled.taken = Some(taken),
            None => {
                for fleeting in &mut self.fleeting {
                    if fleeting.tickets.remove(&ticket) {
                        fleeting.full_since = None;
                    }
                }
            }
        }
    }

    /// The next one that may be acknowledged: in the order in which they came ([MQTT-4.6.0-2]).
    pub(crate) fn next_settled(&mut self) -> Option<(NonZeroU16, Taken)> {
        let settled = self.acknowledged.pop_front_if(|unsettled| unsettled.taken.is_some())?;
        Some((settled.packet_id, settled.taken?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> (Arrivals, Instant) {
        let mut arrivals = Arrivals::new(2);
        for _ in 0..FLEETING_MAX {
            arrivals.note(1, None);
        }
        (arrivals, Instant::now())
    }

    #[test]
    fn what_is_never_acknowledged_is_dropped_when_its_receive_settles_nothing() {
        let (mut arrivals, now) = full();
        assert_eq!(arrivals.room(Some(1), None, now), Room::Later(Some(now + PATIENCE)));
        assert_eq!(arrivals.room(Some(1), None, now + PATIENCE), Room::No);
        assert_eq!(arrivals.room(Some(0), None, now), Room::Yes, "another receive has room");
        assert_eq!(
            arrivals.room(Some(1), NonZeroU16::new(7), now),
            Room::Yes,
            "what is acknowledged is apart"
        );
        arrivals.settle(0, Taken::Yes);
        assert_eq!(arrivals.room(Some(1), None, now + PATIENCE), Room::Yes);
        arrivals.note(1, None);
        let later = now + 2 * PATIENCE;
        assert_eq!(arrivals.room(Some(1), None, later), Room::Later(Some(later + PATIENCE)));
    }

    #[test]
    fn what_is_acknowledged_waits_for_room() {
        let mut arrivals = Arrivals::new(1);
        let now = Instant::now();
        for _ in 0..ACKNOWLEDGED_MAX {
            arrivals.note(0, Some(NonZeroU16::MIN));
        }
        assert_eq!(arrivals.room(Some(0), NonZeroU16::new(7), now + 9 * PATIENCE), Room::Later(None));
        assert_eq!(arrivals.room(Some(0), None, now), Room::Yes);
        arrivals.settle(0, Taken::Never);
        assert_eq!(arrivals.next_settled(), Some((NonZeroU16::MIN, Taken::Never)));
        assert_eq!(arrivals.next_settled(), None);
        assert_eq!(arrivals.room(Some(0), NonZeroU16::new(7), now), Room::Yes);
    }
}

//! Which message a forward sends next, and when: in the order that it is to keep, a backlog at its pace, and nothing while the upstream cannot take any.
//!
//! `now` is passed in. What is held, and what of it is on its way, stands in the [`Flight`].

use crate::asking::Asking;
use crate::flight::{Flight, Held, Part, weight_bytes};
use crate::forward::{ForwardOptions, ForwardOrder, Keep};
use crate::link::Delivered;
use crate::pace::Pace;
use std::time::{Duration, Instant};

/// How long hardly anything has to be on its way until a backlog is over.
const CALM: Duration = Duration::from_millis(200);

/// How often what waits in the gateway is looked through for what newer messages have made worthless.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What one forward has to send.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) flight: Flight,
    pace: Pace,
    /// How much of the backlog is wanted, where newer messages go before it.
    asking: Option<Asking>,
    in_flight_max: u32,
    keep: Keep,
    /// Whether there is no connection.
    is_away: bool,
    /// Since when there is no room for more, and when the gateway was asked last to look through what waits there.
    full_since: Option<Instant>,
    looked_at: Option<Instant>,
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
            keep: options.keep,
            is_away: true,
            full_since: None,
            looked_at: None,
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
        self.is_away = !stands;
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

    /// Whether what waits is a backlog, and not on its way in a moment.
    fn has_backlog(&self, now: Instant) -> bool {
        self.is_away || self.is_draining || self.careful_from.is_some() || self.is_paused(now)
    }

    fn is_full(&self) -> bool {
        self.flight.len() >= self.credit() as usize || !self.flight.has_room()
    }

    /// Where only last values are wanted: has what waits here be these while it is a backlog. Returns whether the gateway is to see to it that
    /// what waits there is: only where there is no room here for all of it, and not for a moment's sake.
    pub(crate) fn keep_last(&mut self, now: Instant) -> bool {
        if self.keep == Keep::All {
            return false;
        }
        let has_backlog = self.has_backlog(now);
        self.flight.keep_last(has_backlog);
        self.full_since = if self.is_full() { self.full_since.or(Some(now)) } else { None };
        let is_due = self.next_look(now).is_some_and(|at| at <= now);
        if is_due {
            self.looked_at = Some(now);
        }
        is_due
    }

    /// When the gateway is to look through what waits there.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Instant> {
        let since = self.full_since?;
        let since = if self.has_backlog(now) { since } else { since + LOOK_EVERY };
        Some(self.looked_at.map_or(since, |at| since.max(at + LOOK_EVERY)))
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
            // What comes before anything else happens is no backlog any more.
            self.flight.keep_last(self.keep == Keep::Last && self.has_backlog(now));
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
mod tests;

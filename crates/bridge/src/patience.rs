//! For how long nothing has come of what is under way.
//!
//! ```text
//!              work                    connection lost
//! ┌──────┐────────────►┌─────────┐────────────────────►┌─────────────┐
//! │ Idle │             │ Waiting │                     │ Interrupted │
//! └──────┘◄────────────└─────────┘◄────────────────────└─────────────┘
//!           all is done  ▲     │      connection stands
//!                        └─────┘
//!                      an answer: anew
//! ```
//!
//! An upstream that lets the bridge in again and again and never confirms anything is found out all the same, because the time goes on where it
//! stood. What waits for a connection waits for nobody's answer, so that time does not count.

use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Nothing is under way.
    #[default]
    Idle,
    /// Something is, and there was no answer since then.
    Waiting(Instant),
    /// The connection is gone after so long without an answer.
    Interrupted(Duration),
}

impl Patience {
    /// Something happened on a connection that stands: whether there is work left that waits for an answer, and whether there was one.
    pub(crate) fn note(&mut self, has_work: bool, was_answered: bool, now: Instant) {
        *self = match self {
            _ if !has_work => Patience::Idle,
            Patience::Waiting(since) if !was_answered => Patience::Waiting(*since),
            _ => Patience::Waiting(now),
        };
    }

    pub(crate) fn note_lost(&mut self, now: Instant) {
        if let Patience::Waiting(since) = self {
            *self = Patience::Interrupted(now.saturating_duration_since(*since));
        }
    }

    pub(crate) fn note_standing(&mut self, now: Instant) {
        if let Patience::Interrupted(waited) = self {
            *self = now.checked_sub(*waited).map_or(Patience::Idle, Patience::Waiting);
        }
    }

    /// Since when there was no answer, as if there had been a connection all the time.
    pub(crate) fn since(&self) -> Option<Instant> {
        match self {
            Patience::Waiting(since) => Some(*since),
            Patience::Idle | Patience::Interrupted(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_begins_anew_and_an_outage_does_not_count() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let at = |seconds: u32| start + seconds * second;
        let mut patience = Patience::default();
        patience.note(false, false, at(0));
        assert_eq!(patience.since(), None);
        patience.note(true, false, at(1));
        patience.note(true, false, at(3));
        assert_eq!(patience.since(), Some(at(1)));
        patience.note(true, true, at(4));
        patience.note(true, false, at(5));
        assert_eq!(patience.since(), Some(at(4)));
        patience.note_lost(at(6));
        assert_eq!(patience.since(), None);
        patience.note_standing(at(100));
        patience.note(true, false, at(101));
        assert_eq!(patience.since(), Some(at(98)), "two seconds were waited before");
        patience.note(false, true, at(102));
        assert_eq!(patience, Patience::Idle);
    }
}

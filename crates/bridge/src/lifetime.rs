//! Until when a message that a forward holds is of use: its own lifetime, which goes on while it waits.

use crate::link::Delivered;
use std::time::Instant;

/// Why a message is given up that was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Its lifetime is over.
    Expired,
}

impl Overdue {
    /// One word for metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Overdue::Expired => "expired",
        }
    }
}

/// From when on a message is not sent any more, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) why: Overdue,
}

impl Deadline {
    /// That of a delivery, if it has one.
    pub(crate) fn of(delivered: &Delivered) -> Option<Deadline> {
        delivered.expires_at.map(|at| Deadline { at, why: Overdue::Expired })
    }
}

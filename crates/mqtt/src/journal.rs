//! What a durable session must not forget although its connection lasts: QoS 2 exchanges, one step after the other.
//!
//! Each step is a piece of a few bytes ([`crate::saved`] reads them back). Before they become many, the whole takes their place.

use crate::CONSUMER;
use crate::saved::Saved;
use std::num::NonZeroU16;
use tidegate_protocol::{Answer, Broker, DeliveryTag, SAVED_PIECES_MAX, Saved as Piece, Saving};

/// Pieces that are worth writing the whole anew, beside as many as it has entries.
const PIECES: usize = 64;

/// One step of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The client's message is taken.
    Received(NonZeroU16),
    /// The client has released it.
    Released(NonZeroU16),
    /// The client has the message of this tag, and must not get it again.
    Arrived(NonZeroU16, DeliveryTag),
    /// The exchange of a message to the client is over.
    Ended(NonZeroU16),
}

/// The journal of one connection.
#[derive(Debug)]
pub(crate) struct Journal {
    is_durable: bool,
    pieces: usize,
    pieces_max: usize,
}

impl Journal {
    /// Nothing is written where the session does not outlive the process.
    pub(crate) fn new(is_durable: bool) -> Journal {
        Journal { is_durable, pieces: 0, pieces_max: PIECES }
    }

    /// Whether anything is written.
    pub(crate) fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Writes a step, and says when what depends on it may be said.
    pub(crate) fn note(&mut self, step: Step, saving: Saving, broker: &mut dyn Broker) -> Answer {
        if !self.is_durable {
            return Answer::Now;
        }
        self.pieces += 1;
        broker.save(CONSUMER, Piece::More(&Saved::step_to_bytes(step)), saving)
    }

    /// Whether the whole should be written in place of the pieces.
    pub(crate) fn is_long(&self) -> bool {
        self.pieces >= self.pieces_max
    }

    /// Writes the whole.
    pub(crate) fn begin_anew(&mut self, saved: &Saved, broker: &mut dyn Broker) {
        if !self.is_durable {
            return;
        }
        broker.save(CONSUMER, Piece::Whole(&saved.to_open_bytes()), Saving::Along);
        self.pieces = 1;
        self.pieces_max = (PIECES + saved.sent.len() + saved.received.len()).min(SAVED_PIECES_MAX / 2);
    }
}

//! What goes along with a message because of where it goes: who has published it, and what its publisher waits for.
//!
//! Most routes ask for neither. Where none does this is a look at the route, and nothing is made of what is only passing through.

use super::Shard;
use crate::mailbox::Letter;
use crate::passage::Passage;
use crate::route::Route;
use crate::sessions::Holder;
use std::time::Instant;
use tidegate_message::{Publisher, QoS};
use tidegate_protocol::Identity;

/// What goes along with a message.
pub(super) struct Escort {
    pub(super) publisher: Option<Publisher>,
    pub(super) passage: Option<Passage>,
}

impl Shard {
    /// What a message of this connection needs on its route.
    #[inline(never)]
    pub(super) fn escort(&self, slot: usize, route: &Route, qos: QoS, now: Instant) -> Option<Escort> {
        let publisher = if route.demands.publisher { self.publisher_at(slot, now) } else { None };
        let waits = route.demands.passage && qos > QoS::AtMostOnce;
        let passage = if waits { self.begin_passage(slot) } else { None };
        Some(Escort { publisher, passage })
    }

    /// What is told of a client that publishes now.
    pub(super) fn publisher(&self, identity: &Identity, now: Instant) -> Publisher {
        let (client_id, user) = (identity.client_id.clone(), identity.user.clone());
        let (published_at_millis, taken_at_millis) = ((self.node.wall_millis)(), self.node.time_millis(now));
        Publisher { client_id, user, published_at_millis, taken_at_millis }
    }

    /// The same of the client of this connection, which is let in.
    pub(super) fn publisher_at(&self, slot: usize, now: Instant) -> Option<Publisher> {
        Some(self.publisher(self.slots.get(slot)?.admission.identity()?, now))
    }

    /// Begins to wait for what becomes of messages of this connection. Without a store nobody keeps them, so there is nothing to wait for.
    pub(super) fn begin_passage(&self, slot: usize) -> Option<Passage> {
        let connection = self.slots.get(slot).filter(|_| self.node.keeper.is_some())?.connection;
        Some(self.node.passages.begin(Holder { worker: self.worker, slot, connection }))
    }

    /// Tells those who wait for a message that it is known what became of it.
    pub(super) fn tell_decided(&mut self) {
        for holder in std::mem::take(&mut self.keeping.decided) {
            match holder.worker == self.worker {
                true => self.answers.call(holder),
                false => self.letter_to(holder.worker, Letter::Decided(holder)),
            }
        }
    }
}

//! Who has published a message, and when: told with messages for which somebody wants to know.
//!
//! Most routes lead to nobody who does. Where none does this is a look at the route, and nothing is made of what is only passing through.

use super::Shard;
use std::time::Instant;
use tidegate_message::Publisher;
use tidegate_protocol::Identity;

impl Shard {
    /// What is told of a client that publishes now.
    pub(super) fn publisher(&self, identity: &Identity, now: Instant) -> Publisher {
        let (client_id, user) = (identity.client_id.clone(), identity.user.clone());
        let (published_at_millis, taken_at_millis) = ((self.node.wall_millis)(), self.node.time_millis(now));
        Publisher { client_id, user, published_at_millis, taken_at_millis }
    }

    /// The same of the client of this connection, which is let in.
    #[inline(never)]
    pub(super) fn publisher_at(&self, slot: usize, now: Instant) -> Option<Publisher> {
        Some(self.publisher(self.slots.get(slot)?.admission.identity()?, now))
    }
}

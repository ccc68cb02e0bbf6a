//! Which sessions there are.

use super::Sessions;
use crate::queue::Queue;
use std::sync::Arc;

impl Sessions {
    /// The sessions of a protocol with their queues, in no order.
    pub(crate) fn of_protocol(&self, protocol: &str) -> Vec<(Arc<str>, Arc<Queue>)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let of_protocol = shard.iter().filter(|(key, _)| key.protocol == protocol);
            found.extend(of_protocol.map(|(key, session)| (key.client_id.clone(), session.queue.clone())));
        }
        found
    }
}

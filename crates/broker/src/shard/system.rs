//! Telling about the gateway under `$SYS`: worker 0 publishes, like any client, whenever an interval has passed.

use super::Shard;
use super::publication::Publication;
use std::time::Instant;

impl Shard {
    /// Publishes what is due under `$SYS`, as far as somebody has subscribed it.
    pub(super) fn publish_system_topics(&mut self, now: Instant) {
        if self.worker != 0 {
            return;
        }
        for message in self.node.due_system_messages(now) {
            let route = self.node.router.route(message.topic.clone(), self.worker);
            if route.is_matched() {
                // A receiver without room has been counted; the next interval brings the next value.
                let _ = self.distribute(&route, &mut Publication::kept(&message), now);
            }
        }
    }
}

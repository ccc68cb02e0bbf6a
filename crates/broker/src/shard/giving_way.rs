//! A full disk, where the policy of a topic has what has waited longest make room for the newest message.
//!
//! Room comes back when the store has thrown away what holds nothing that is alive, which is a while after it was settled. So it is not waited
//! for: the message is taken when so much was settled for it as it takes, and goes into what the store holds in reserve, of which a part is
//! left to it. Of a long queue only what is in memory can go at once; until the next part of it is read a publisher may be refused.

use super::Shard;
use super::publication::Publication;
use crate::route::Route;

/// The part of the disk's budget that messages leave alone even so: the store needs it to throw things away.
const LEFT_ALONE: u64 = 32;

impl Shard {
    /// Whether a part of what the store holds in reserve is left for a message that others give way for.
    pub(super) fn has_reserve(&self) -> bool {
        self.node.keeper.as_ref().is_some_and(|keeper| {
            let usage = keeper.storage().usage();
            usage.disk_bytes + usage.disk_bytes_max / LEFT_ALONE <= usage.disk_bytes_max
        })
    }

    /// Drops the oldest deliveries of those who keep a message. Returns whether that makes up for it.
    pub(super) fn make_room_on_disk(&mut self, route: &Route, publication: &Publication<'_>) -> bool {
        let (bytes, mut freed) = (publication.queued_bytes(), 0);
        for receiver in Shard::keepers_of(route, publication) {
            let oldest = match &receiver.shared {
                Some(shared) => {
                    let oldest = shared.group.take_oldest(bytes);
                    self.read_ahead_in(&shared.group);
                    oldest
                }
                None => {
                    let oldest = receiver.queue.take_oldest(bytes);
                    self.read_ahead(&receiver.queue);
                    oldest
                }
            };
            let kept = oldest.iter().filter(|queued| queued.entry.is_some());
            freed += kept.map(|queued| queued.weight_bytes()).sum::<usize>();
            self.settle_entries(&oldest);
            self.metrics.count_dropped("disk_full", oldest.len());
        }
        freed >= bytes
    }
}

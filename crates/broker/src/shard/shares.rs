//! The groups that one consumer is a member of, and which of them it takes from next.

use crate::filters::Share;
use crate::group::Group;
use crate::queue::Queue;
use crate::route::Grant;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::sync::Arc;

/// A consumer's groups. Most consumers have none.
#[derive(Debug)]
pub(crate) struct Shares(Option<Box<Groups>>);

#[derive(Debug, Default)]
struct Groups {
    /// By the number of the group's queue.
    by_queue: HashMap<u64, Share, RandomState>,
    /// The group that the consumer took from last: the others come first.
    last: Option<u64>,
}

impl Shares {
    /// Those of a queue.
    pub(crate) fn of(queue: &Queue) -> Shares {
        let mut shares = Shares(None);
        queue.filters().shares().into_iter().for_each(|share| shares.set(share));
        shares
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |groups| groups.by_queue.len())
    }

    /// Adds a group, or changes what is granted there.
    pub(crate) fn set(&mut self, share: Share) {
        self.0.get_or_insert_default().by_queue.insert(share.group.queue.id, share);
    }

    pub(crate) fn remove(&mut self, group: &Group) {
        let Some(groups) = &mut self.0 else { return };
        groups.by_queue.remove(&group.queue.id);
        if groups.by_queue.is_empty() {
            self.0 = None;
        }
    }

    /// All of them.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.0.iter().flat_map(|groups| groups.by_queue.values()).map(|share| &share.group)
    }

    /// What is granted in a group; nothing where it is none of these.
    pub(crate) fn grant_in(&self, group: &Group) -> Option<&Grant> {
        self.0.as_ref()?.by_queue.get(&group.queue.id).map(|share| &share.grant)
    }

    /// The next group, behind the last one, in which something waits that is not offered to anybody.
    pub(crate) fn next(&mut self) -> Option<Share> {
        let Groups { by_queue, last } = self.0.as_deref_mut()?;
        let behind = by_queue.iter().skip_while(|(id, _)| Some(**id) != *last).skip(1);
        let mut shares = behind.chain(&*by_queue).map(|(_, share)| share);
        let share = shares.find(|share| share.group.unclaimed() > 0)?.clone();
        *last = Some(share.group.queue.id);
        Some(share)
    }
}

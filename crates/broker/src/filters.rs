//! The filters that lead to one queue, its own and those that it shares with others.
//!
//! A plain structure behind the queue's lock; only the worker of the queue's consumer changes it.

use crate::budget::QueueFull;
use crate::group::{Group, GroupName};
use crate::route::Grant;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use tidegate_message::TopicFilter;

/// A queue's place in a group, as the queue sees it.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) group: Arc<Group>,
    pub(crate) grant: Grant,
    /// Its entry in the durable store.
    pub(crate) entry: Option<NonZeroU64>,
}

/// The filters of one queue.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    /// With their entries in the durable store.
    own: HashMap<TopicFilter, Option<NonZeroU64>>,
    #[expect(
        clippy::box_collection,
        reason = "most queues share nothing, and an empty map is 48 bytes in each"
    )]
    shared: Option<Box<HashMap<GroupName, Share>>>,
}

impl Filters {
    /// How many there are, of whichever kind.
    fn len(&self) -> usize {
        self.own.len() + self.shared.as_ref().map_or(0, |shared| shared.len())
    }

    /// Whether any leads here without a group.
    pub(crate) fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Remembers a filter that leads here. `Ok(true)` where it is new; an error at the limit.
    pub(crate) fn add(&mut self, filter: &TopicFilter, limit: usize) -> Result<bool, QueueFull> {
        if self.own.contains_key(filter) {
            return Ok(false);
        }
        match self.len() < limit {
            true => Ok(self.own.insert(filter.clone(), None).is_none()),
            false => Err(QueueFull),
        }
    }

    pub(crate) fn remove(&mut self, filter: &TopicFilter) -> bool {
        self.own.remove(filter).is_some()
    }

    /// The entry in the durable store of a filter that leads here without a group.
    pub(crate) fn entry(&self, filter: &TopicFilter) -> Option<NonZeroU64> {
        self.own.get(filter).copied().flatten()
    }

    /// Remembers a filter with its entry, whatever the limits say; returns the entry that it had before.
    pub(crate) fn set_entry(&mut self, filter: &TopicFilter, entry: NonZeroU64) -> Option<NonZeroU64> {
        self.own.insert(filter.clone(), Some(entry)).flatten()
    }

    /// The entries of all of them.
    pub(crate) fn entries(&self) -> Vec<NonZeroU64> {
        let shared = self.shared.iter().flat_map(|shared| shared.values().map(|share| share.entry));
        self.own.values().copied().chain(shared).flatten().collect()
    }

    /// Whether a share would be new; an error where it would be and the limit is reached.
    pub(crate) fn check_share(&self, name: &GroupName, limit: usize) -> Result<bool, QueueFull> {
        if self.shared.as_ref().is_some_and(|shared| shared.contains_key(name)) {
            return Ok(false);
        }
        if self.len() < limit { Ok(true) } else { Err(QueueFull) }
    }

    /// Remembers a share, or what has become of its grant.
    pub(crate) fn set_share(&mut self, share: Share) {
        self.shared.get_or_insert_default().insert(share.group.name.clone(), share);
    }

    /// The share of this name.
    pub(crate) fn share(&self, name: &GroupName) -> Option<Share> {
        self.shared.as_ref()?.get(name).cloned()
    }

    pub(crate) fn remove_share(&mut self, name: &GroupName) -> Option<Share> {
        let shared = self.shared.as_mut()?;
        let removed = shared.remove(name);
        if shared.is_empty() {
            self.shared = None;
        }
        removed
    }

    /// Those that lead here without a group, in no order.
    pub(crate) fn own(&self) -> Vec<TopicFilter> {
        self.own.keys().cloned().collect()
    }

    /// The shares, in no order.
    pub(crate) fn shares(&self) -> Vec<Share> {
        self.shared.iter().flat_map(|shared| shared.values().cloned()).collect()
    }

    /// Takes everything out: its own filters, and its shares.
    pub(crate) fn take(&mut self) -> (Vec<TopicFilter>, Vec<Share>) {
        let Filters { own, shared } = std::mem::take(self);
        (own.into_keys().collect(), shared.into_iter().flat_map(|shared| shared.into_values()).collect())
    }
}

//! The replay rings among the routing state: what is published goes into them, and consumers begin to follow them.
//!
//! A retained message goes into the ring of its topic while the store of retained messages is locked, and a consumer takes its place in
//! the ring and a new generation while that is locked for reading. So what its search for the retained state leaves out, because its
//! generation is not older, stands behind the consumer's place, and the other way round: state and stream fit together without a gap and
//! without a double.

use super::{Router, TooManySubscriptions};
use crate::retained::Search;
use crate::ring::{Ring, RingOptions};
use crate::tree::SubscriptionTree;
use std::time::Instant;
use tidegate_message::TopicFilter;
use tidegate_protocol::ResumeToken;

impl Router {
    /// Puts other rings in place of these. Consumers that follow one that is gone are looked after by their workers.
    pub(crate) fn set_rings(&self, options: &[RingOptions]) {
        let _bindings = self.bindings.write();
        // First: whoever finds the generation unchanged while a message is retained may rely on the ring of its route.
        self.advance();
        self.rings.replace(options);
    }

    /// The place from which a consumer follows a ring from now on.
    pub(crate) fn begin_following(&self, ring: &Ring) -> ResumeToken {
        self.rings.token(ring, ring.end(), None)
    }

    /// The same for one that gets the retained messages first, with the search for them; without where there clearly are none.
    pub(crate) fn begin_with_state(
        &self,
        ring: &Ring,
        filter: &TopicFilter,
        now: Instant,
    ) -> (ResumeToken, Option<Search>) {
        // Nothing is retained meanwhile.
        let retained = self.retained.read();
        let mut probe = retained.search(filter, u64::MAX);
        let is_found = !retained.find(&mut probe, 1, now).is_empty();
        // What is retained from here on has a route of this generation or a newer one, and comes from the ring.
        let since = (is_found || !probe.is_over()).then(|| self.advance());
        let search = since.map(|since| retained.search(filter, since));
        (self.rings.token(ring, ring.end(), since), search)
    }

    /// Searches once more for the retained messages that stood before the place of a token.
    pub(crate) fn search_state_before(&self, filter: &TopicFilter, since: u64) -> Search {
        self.retained.read().search(filter, since)
    }

    /// Counts a consumer that follows a ring with the subscriptions, if there is room for one more.
    pub(crate) fn add_follower(&self, ring: &Ring, filter: &TopicFilter) -> Result<(), TooManySubscriptions> {
        let mut bindings = self.bindings.write();
        if !self.has_room(&bindings, filter) {
            return Err(TooManySubscriptions);
        }
        bindings.followed += 1;
        bindings.followed_bytes += weight_alone(filter);
        ring.add_follower();
        Ok(())
    }

    /// Counts one less.
    pub(crate) fn remove_follower(&self, ring: &Ring, filter: &TopicFilter) {
        let mut bindings = self.bindings.write();
        bindings.followed -= 1;
        bindings.followed_bytes -= weight_alone(filter);
        ring.remove_follower();
    }
}

/// What a filter weighs at the most in the tree of the worker that follows with it.
fn weight_alone(filter: &TopicFilter) -> usize {
    SubscriptionTree::<()>::new().weight_of(filter)
}

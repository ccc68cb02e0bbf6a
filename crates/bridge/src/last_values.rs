//! Of what waits in a forward, the newest message of each topic: what is left while a backlog waits of which only the last values are wanted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use tidegate_message::Topic;

/// Which one that is, by the number of its arrival. As many topics as messages wait, at the most.
#[derive(Debug, Default)]
pub(crate) struct LastValues(HashMap<Topic, u64>);

impl LastValues {
    /// A message waits. Returns the older one of two of its topic.
    pub(crate) fn note(&mut self, topic: &Topic, arrival: u64) -> Option<u64> {
        match self.0.entry(topic.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(arrival);
                None
            }
            Entry::Occupied(mut newest) => {
                let older = arrival.min(*newest.get());
                newest.insert(arrival.max(*newest.get()));
                Some(older)
            }
        }
    }

    /// A message does not wait any more.
    pub(crate) fn forget(&mut self, topic: &Topic, arrival: u64) {
        if self.0.get(topic) == Some(&arrival) {
            self.0.remove(topic);
        }
    }
}

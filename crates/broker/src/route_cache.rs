//! The routes that one worker has looked up.
//!
//! Keyed by the topic's bytes as they stand in a packet, so that a hit costs one hash and no validation: only a topic that
//! was found valid is ever in here. Bounded by bytes; when it is full it starts anew, because most of what it held was of an
//! older generation or of topics that are not in use.

use crate::route::Route;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::rc::Rc;

/// What an entry costs beside its topic: the map's slot, the route and a few receivers.
const ENTRY_BYTES: usize = 160;

#[derive(Debug)]
pub(crate) struct RouteCache {
    routes: HashMap<Box<[u8]>, Rc<Route>, RandomState>,
    bytes: usize,
    bytes_max: usize,
}

impl RouteCache {
    pub(crate) fn new(bytes_max: usize) -> RouteCache {
        RouteCache { routes: HashMap::default(), bytes: 0, bytes_max }
    }

    /// The route of these topic bytes, if it is of this generation.
    pub(crate) fn get(&self, topic: &[u8], generation: u64) -> Option<Rc<Route>> {
        self.routes.get(topic).filter(|route| route.generation == generation).cloned()
    }

    pub(crate) fn insert(&mut self, route: Rc<Route>) {
        let topic = route.topic.as_str().as_bytes();
        let cost = |route: &Route| {
            ENTRY_BYTES
                + 2 * topic.len()
                + size_of_val(route.here.as_slice())
                + size_of_val(route.kept_elsewhere.as_slice())
        };
        let added = cost(&route);
        if self.bytes + added > self.bytes_max {
            self.routes.clear();
            self.bytes = 0;
        }
        self.bytes += added;
        if let Some(old) = self.routes.insert(topic.into(), route.clone()) {
            self.bytes -= cost(&old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Addressee, Demands};
    use std::sync::Arc;
    use tidegate_message::Topic;

    fn route(topic: &str, generation: u64) -> Rc<Route> {
        let topic = Topic::parse(topic.as_bytes()).unwrap();
        Rc::new(Route {
            generation,
            topic,
            here: Vec::new(),
            elsewhere: 0,
            kept_elsewhere: Vec::new(),
            addressee: Addressee::Subscribers,
            ring: None,
            policy: Arc::default(),
            demands: Demands::default(),
        })
    }

    #[test]
    fn a_route_of_an_older_generation_is_not_used() {
        let mut cache = RouteCache::new(1 << 20);
        cache.insert(route("a", 1));
        assert!(cache.get(b"a", 1).is_some() && cache.get(b"a", 2).is_none() && cache.get(b"b", 1).is_none());
    }

    #[test]
    fn stays_within_its_bytes_whatever_the_topics_are() {
        let mut cache = RouteCache::new(10_000);
        for number in 0..10_000 {
            cache.insert(route(&format!("topic/{number}"), 1));
            cache.insert(route("same", number));
            assert!(cache.bytes <= 10_000 && cache.routes.len() <= 10_000 / ENTRY_BYTES);
        }
    }
}

//! Which way a topic leads, from the nearest place that knows: the connection's last route, the worker's cache, the tree.

use super::Shard;
use crate::route::Route;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::Topic;
use tidegate_protocol::Refusal;

impl Shard {
    /// The route of a topic: the connection's last one, the worker's cache, or the tree.
    ///
    /// A client that publishes to another topic than before is asked for its right to; a kept route says that it had it, because other
    /// rules make another generation.
    pub(super) fn route_of(&mut self, slot: usize, topic: &[u8], now: Instant) -> Result<Rc<Route>, Refusal> {
        let generation = self.node.router.generation();
        let last = self.slots.get(slot).and_then(|here| here.last_route.as_ref());
        if let Some(route) =
            last.filter(|route| route.generation == generation && route.topic.as_str().as_bytes() == topic)
        {
            self.metrics.route_cache_hits.add(1);
            return Ok(route.clone());
        }
        let route = self.cached_route(topic, generation)?;
        self.check_publish(slot, &route.topic, now)?;
        let route = if route.lacks_queue() { self.declare_queue(&route.topic, now)? } else { route };
        if let Some(here) = self.slots.get_mut(slot) {
            here.last_route = Some(route.clone());
        }
        Ok(route)
    }

    fn cached_route(&mut self, topic: &[u8], generation: u64) -> Result<Rc<Route>, Refusal> {
        if let Some(route) = self.cache.get(topic, generation) {
            self.metrics.route_cache_hits.add(1);
            return Ok(route);
        }
        let topic = self.check_topic(topic)?;
        Ok(self.look_up(topic))
    }

    /// The same for a topic that was checked where it was published: limits that have become narrower since do not count.
    pub(super) fn route_of_accepted(&mut self, topic: &Topic, generation: u64) -> Rc<Route> {
        match self.cache.get(topic.as_str().as_bytes(), generation) {
            Some(route) => {
                self.metrics.route_cache_hits.add(1);
                route
            }
            None => self.look_up(topic.clone()),
        }
    }

    fn look_up(&mut self, topic: Topic) -> Rc<Route> {
        self.metrics.route_cache_misses.add(1);
        let route = Rc::new(self.node.router.route(topic, self.worker));
        self.cache.insert(route.clone());
        route
    }

    fn check_topic(&self, bytes: &[u8]) -> Result<Topic, Refusal> {
        self.check_size(bytes)?;
        Ok(Topic::parse(bytes)?)
    }

    /// The limits that topics and filters share.
    pub(super) fn check_size(&self, text: &[u8]) -> Result<(), Refusal> {
        let limits = &self.limits;
        if text.len() > limits.topic_bytes {
            return Err(Refusal::TopicTooLong { bytes: text.len(), limit: limits.topic_bytes });
        }
        let levels = memchr::memchr_iter(b'/', text).count() + 1;
        match levels > limits.topic_levels {
            true => Err(Refusal::TooManyLevels { levels, limit: limits.topic_levels }),
            false => Ok(()),
        }
    }

    /// The route of a message from another worker: that of the last one, the worker's cache, or the tree.
    pub(super) fn mailed_route(&mut self, topic: &Topic, generation: u64) -> Rc<Route> {
        let last = self.mailed.take();
        let route = match last.filter(|last| last.generation == generation && last.topic == *topic) {
            Some(last) => last,
            None => self.route_of_accepted(topic, generation),
        };
        self.mailed = Some(route.clone());
        route
    }
}

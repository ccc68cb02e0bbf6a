//! The topics and filters of a soak, and which filter selects which topic.
//!
//! Both are few and known beforehand, so that whoever has to receive a message can be looked up instead of searched. Four regions
//! never overlap: `live` for ordinary subscriptions, `state` for retained messages, `will` for wills, `work` for shared
//! subscriptions.

use tidegate_message::{Topic, TopicFilter};
use tidegate_testkit::random::Random;

const AREAS: usize = 8;
const ROOMS: usize = 32;
const JOBS: usize = 16;
const GROUPS: usize = 2;

/// A topic, by its place in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicId(pub usize);

/// A filter, by its place in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FilterId(pub usize);

/// What a topic is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Region {
    /// Ordinary messages.
    Live,
    /// Retained messages, each topic written by one client only.
    State,
    /// Wills, each topic written by the broker for one client only.
    Will,
    /// Ordinary messages that only shared subscriptions select.
    Work,
}

/// A filter as it is subscribed.
#[derive(Debug)]
pub(crate) struct Filter {
    /// The filter's text, with `$share/…/` in front where it is shared.
    pub(crate) text: String,
    /// Whether it is a shared subscription.
    pub(crate) is_shared: bool,
    /// The topics that it selects.
    pub(crate) topics: Vec<TopicId>,
}

/// All topics and filters.
#[derive(Debug)]
pub(crate) struct World {
    topics: Vec<(String, Region, Vec<FilterId>)>,
    parsed: Vec<Topic>,
    filters: Vec<Filter>,
    live: Vec<TopicId>,
    work: Vec<TopicId>,
    states: usize,
    first_state: usize,
    first_will: usize,
    everything_live: FilterId,
    every_will: FilterId,
    ordinary: Vec<FilterId>,
    shared: Vec<FilterId>,
}

impl World {
    /// The world of so many clients, of which every eighth keeps a retained message up to date.
    pub(crate) fn new(clients: usize) -> World {
        let states = (clients / 8).max(1);
        let mut names: Vec<(String, Region)> = Vec::new();
        for area in 0..AREAS {
            names.extend((0..ROOMS).map(|room| (format!("soak/live/{area}/{room}"), Region::Live)));
        }
        names.extend((0..JOBS).map(|job| (format!("soak/work/{job}"), Region::Work)));
        let first_state = names.len();
        names.extend((0..states).map(|number| (format!("soak/state/{number}"), Region::State)));
        let first_will = names.len();
        names.extend((0..clients).map(|client| (format!("soak/will/{client}"), Region::Will)));
        let of = |wanted| {
            let ids = names.iter().enumerate().filter(move |(_, (_, region))| *region == wanted);
            ids.map(|(id, _)| TopicId(id)).collect()
        };
        let (live, work) = (of(Region::Live), of(Region::Work));
        let parse = |name: &str| Topic::parse(name.as_bytes()).expect("a topic of the world is a topic");
        let parsed = names.iter().map(|(name, _)| parse(name)).collect();
        let topics = names.into_iter().map(|(name, region)| (name, region, Vec::new())).collect();
        let mut world = World {
            topics,
            parsed,
            filters: Vec::new(),
            live,
            work,
            states,
            first_state,
            first_will,
            everything_live: FilterId(0),
            every_will: FilterId(0),
            ordinary: Vec::new(),
            shared: Vec::new(),
        };
        world.add_filters();
        world
    }

    fn add_filters(&mut self) {
        self.everything_live = self.add_filter("soak/live/#".to_owned());
        self.every_will = self.add_filter("soak/will/#".to_owned());
        self.add_filter("soak/state/+".to_owned());
        let mut narrow: Vec<String> = (0..self.states).map(|number| format!("soak/state/{number}")).collect();
        for area in 0..AREAS {
            narrow.extend((0..ROOMS).map(|room| format!("soak/live/{area}/{room}")));
            narrow.extend([format!("soak/live/{area}/+"), format!("soak/live/{area}/#")]);
        }
        narrow.extend((0..ROOMS).map(|room| format!("soak/live/+/{room}")));
        for group in 0..GROUPS {
            narrow.push(format!("$share/group-{group}/soak/work/+"));
            narrow.extend((0..JOBS).map(|job| format!("$share/group-{group}/soak/work/{job}")));
        }
        for text in narrow {
            self.add_filter(text);
        }
        let ids = || (0..self.filters.len()).map(FilterId);
        let is_rare = |id: &FilterId| [self.everything_live, self.every_will].contains(id);
        self.shared = ids().filter(|id| self.filters[id.0].is_shared).collect();
        self.ordinary = ids().filter(|id| !self.filters[id.0].is_shared && !is_rare(id)).collect();
    }

    fn add_filter(&mut self, text: String) -> FilterId {
        let id = FilterId(self.filters.len());
        let shared = text.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
        let plain = shared.map_or(text.as_str(), |(_, filter)| filter);
        let filter = TopicFilter::parse_mqtt(plain.as_bytes()).expect("a filter of the world is a filter");
        let mut topics = Vec::new();
        for (number, ((_, region, filters), topic)) in self.topics.iter_mut().zip(&self.parsed).enumerate() {
            if filter.matches(topic) && shared.is_some() == (*region == Region::Work) {
                topics.push(TopicId(number));
                filters.push(id);
            }
        }
        let is_shared = shared.is_some();
        self.filters.push(Filter { text, is_shared, topics });
        id
    }

    /// The name of a topic.
    pub(crate) fn topic(&self, id: TopicId) -> &str {
        &self.topics[id.0].0
    }

    /// What a topic is used for.
    pub(crate) fn region(&self, id: TopicId) -> Region {
        self.topics[id.0].1
    }

    /// The filters that select a topic.
    pub(crate) fn filters_of(&self, id: TopicId) -> &[FilterId] {
        &self.topics[id.0].2
    }

    /// A filter.
    pub(crate) fn filter(&self, id: FilterId) -> &Filter {
        &self.filters[id.0]
    }

    /// How many filters there are.
    pub(crate) fn filter_count(&self) -> usize {
        self.filters.len()
    }

    /// `soak/live/#`
    pub(crate) fn everything_live(&self) -> FilterId {
        self.everything_live
    }

    /// `soak/will/#`
    pub(crate) fn every_will(&self) -> FilterId {
        self.every_will
    }

    /// A filter that a client might subscribe: narrow ones are likelier.
    pub(crate) fn pick_filter(&self, random: &mut Random, may_share: bool) -> FilterId {
        if may_share && random.one_in(6) {
            return *random.pick(&self.shared);
        }
        if random.one_in(200) {
            return self.everything_live;
        }
        let narrow = |id: &FilterId| self.filter(*id).topics.len() <= 1;
        let first = *random.pick(&self.ordinary);
        if narrow(&first) || random.one_in(3) { first } else { *random.pick(&self.ordinary) }
    }

    /// A shared subscription.
    pub(crate) fn pick_shared(&self, random: &mut Random) -> FilterId {
        *random.pick(&self.shared)
    }

    /// A topic that this client publishes to; each has few of its own, so that order can be looked at.
    pub(crate) fn pick_topic(&self, random: &mut Random, client: usize, may_share: bool) -> TopicId {
        if may_share && random.one_in(6) {
            return self.work[(client + random.below(2)) % self.work.len()];
        }
        if client < self.states && random.one_in(4) {
            return TopicId(self.first_state + client);
        }
        self.live[(client * 7 + random.below(3) * 11) % self.live.len()]
    }

    /// The topic of a client's retained message, for those that have one.
    pub(crate) fn state_topic(&self, client: usize) -> Option<TopicId> {
        (client < self.states).then_some(TopicId(self.first_state + client))
    }

    /// The client that keeps the retained message of a topic, where it is such a topic.
    pub(crate) fn state_writer(&self, id: TopicId) -> Option<usize> {
        (self.region(id) == Region::State).then(|| id.0 - self.first_state)
    }

    /// The topic of a client's will.
    pub(crate) fn will_topic(&self, client: usize) -> TopicId {
        TopicId(self.first_will + client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_know_their_topics_and_regions_stay_apart() {
        let world = World::new(16);
        let everything = world.filter(world.everything_live());
        assert_eq!(everything.topics.len(), AREAS * ROOMS);
        assert!(everything.topics.iter().all(|topic| world.region(*topic) == Region::Live));
        let wills = &world.filter(world.every_will()).topics;
        assert_eq!((wills.len(), world.topic(wills[3])), (16, "soak/will/3"));
        for job in &world.work {
            assert!(world.filters_of(*job).iter().all(|filter| world.filter(*filter).is_shared));
        }
    }
}

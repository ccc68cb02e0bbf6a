//! What the gateway says of itself under `$SYS`: when, and to whom.
//!
//! Nothing of it is stored. Once an interval worker 0 reads the counters and publishes each topic that a subscription reaches; whoever
//! subscribes in between gets the values of that moment as retained messages. The load averages need the interval even when nobody
//! listens, so it goes on: a dozen sums. The numbers are those of the metrics; see `reading`. What the broker does not know of is told by
//! whoever does ([`SystemSource`]).

mod load;
mod reading;
#[cfg(test)]
mod reference;
mod topics;

use crate::node::Node;
use load::LoadAverages;
use parking_lot::Mutex;
use reading::Reading;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tidegate_message::{FilterLevel, Message, Topic, TopicFilter};
use topics::{ROOT, Values, message};

/// Tells more under `$SYS`: names below that level, with the values of this moment. Asked on a worker's thread, so it must not wait.
pub type SystemSource = Box<dyn Fn(&Node) -> Vec<(String, String)> + Send + Sync>;

/// The clock of `$SYS`, and what it has to remember from one interval to the next; and who tells more.
#[derive(Default)]
pub(crate) struct System(Mutex<Option<Clock>>, OnceLock<SystemSource>);

impl fmt::Debug for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("System").field(&self.0).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Clock {
    started: Instant,
    /// Zero where `$SYS` is switched off.
    interval: Duration,
    next: Instant,
    loads: LoadAverages,
    connected_max: u64,
}

impl Clock {
    fn values(&mut self, reading: Reading, now: Instant) -> Values {
        self.connected_max = self.connected_max.max(reading.connected);
        Values {
            uptime: now.saturating_duration_since(self.started),
            connected_max: self.connected_max,
            loads: self.loads.per_minute(),
            reading,
        }
    }
}

impl System {
    /// Sets the interval; zero switches `$SYS` off. The uptime counts from the first call.
    pub(crate) fn set_interval(&self, interval: Duration, now: Instant) {
        let mut clock = self.0.lock();
        let clock = clock.get_or_insert_with(|| Clock {
            started: now,
            interval,
            next: now,
            loads: LoadAverages::new(now),
            connected_max: 0,
        });
        clock.interval = interval;
        clock.next = now + interval;
    }

    /// The moment at which [`System::tick`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.0.lock().as_ref().filter(|clock| !clock.interval.is_zero()).map(|clock| clock.next)
    }

    /// The values of an interval that has passed; nothing where none has.
    fn tick(&self, node: &Node, now: Instant) -> Option<Values> {
        self.next_due().filter(|next| *next <= now)?;
        // It asks what has locks of its own, and this lock is taken alone.
        let reading = Reading::of(node);
        let mut clock = self.0.lock();
        let clock = clock.as_mut().filter(|clock| !clock.interval.is_zero() && clock.next <= now)?;
        clock.next = now + clock.interval;
        clock.loads.observe(&reading, now);
        Some(clock.values(reading, now))
    }
}

impl Node {
    /// Publishes the topics under `$SYS` at this interval from now on; zero switches them off. The uptime that they tell counts from
    /// the first call.
    pub fn set_system_interval(&self, interval: Duration, now: Instant) {
        self.system.set_interval(interval, now);
        self.look_at_agenda();
    }

    /// Has somebody tell more under `$SYS` for as long as the node lives. The first one stays.
    pub fn set_system_source(&self, source: SystemSource) {
        let _ = self.system.1.set(source);
    }

    /// What is to be published under `$SYS` because an interval has passed.
    pub(crate) fn due_system_messages(&self, now: Instant) -> Vec<Arc<Message>> {
        let Some(values) = self.system.tick(self, now) else { return Vec::new() };
        let mut messages = values.messages(|_| true);
        messages.extend(self.sourced_messages(|_| true));
        messages
    }

    fn sourced_messages(&self, is_wanted: impl Fn(&Topic) -> bool) -> Vec<Arc<Message>> {
        let told = self.system.1.get().map(|source| source(self)).unwrap_or_default();
        let named = told.into_iter().filter_map(|(name, value)| {
            let topic = Topic::parse(format!("{ROOT}/{name}").as_bytes()).ok()?;
            is_wanted(&topic).then(|| message(topic, value))
        });
        named.collect()
    }

    /// The present values of the topics under `$SYS` that a filter selects; a filter has to name `$SYS` ([MQTT-4.7.2-1]).
    pub(crate) fn system_messages(&self, filter: &TopicFilter, now: Instant) -> Vec<Arc<Message>> {
        if filter.levels().next() != Some(FilterLevel::Name(ROOT)) {
            return Vec::new();
        }
        let reading = Reading::of(self);
        let mut messages = {
            let mut clock = self.system.0.lock();
            let Some(clock) = clock.as_mut().filter(|clock| !clock.interval.is_zero()) else {
                return Vec::new();
            };
            clock.values(reading, now).messages(|topic| filter.matches(topic))
        };
        messages.extend(self.sourced_messages(|topic| filter.matches(topic)));
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodeOptions;
    use crate::{Bell, Limits, QueuePolicies};

    const SECOND: Duration = Duration::from_secs(1);

    fn node() -> Arc<Node> {
        let bell: Bell = Box::new(|| {});
        let (limits, protocols) = (Limits::default(), vec!["toy"]);
        Node::new(NodeOptions {
            limits,
            protocols,
            bells: vec![bell],
            authenticator: None,
            access: None,
            rings: Vec::new(),
            queues: QueuePolicies::default(),
            topics: crate::TopicPolicies::default(),
            storage: None,
            skip_damaged: false,
            wall_millis: || 0,
        })
    }

    fn value(messages: &[Arc<Message>], topic: &str) -> Option<String> {
        let found = messages.iter().find(|message| message.topic.as_str() == topic)?;
        Some(String::from_utf8(found.payload.to_vec()).unwrap())
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_interval_passes_before_anything_is_due() {
        let (node, now) = (node(), Instant::now());
        assert_eq!(node.system.next_due(), None);
        node.set_system_interval(10 * SECOND, now);
        assert_eq!(node.system.next_due(), Some(now + 10 * SECOND));
        assert!(node.due_system_messages(now + 9 * SECOND).is_empty());
        let due = node.due_system_messages(now + 10 * SECOND);
        assert_eq!(value(&due, "$SYS/broker/uptime").unwrap(), "10 seconds");
        assert_eq!(node.system.next_due(), Some(now + 20 * SECOND));
    }

    #[test]
    fn another_interval_keeps_the_uptime_and_zero_switches_off() {
        let (node, now) = (node(), Instant::now());
        node.set_system_interval(10 * SECOND, now);
        node.set_system_interval(60 * SECOND, now + 5 * SECOND);
        assert!(node.due_system_messages(now + 10 * SECOND).is_empty());
        let due = node.due_system_messages(now + 65 * SECOND);
        assert_eq!(value(&due, "$SYS/broker/uptime").unwrap(), "65 seconds");
        node.set_system_interval(Duration::ZERO, now + 70 * SECOND);
        assert_eq!(node.system.next_due(), None);
        assert!(node.due_system_messages(now + 700 * SECOND).is_empty());
        assert!(node.system_messages(&filter("$SYS/#"), now + 700 * SECOND).is_empty());
    }

    #[test]
    fn a_filter_selects_present_values_and_has_to_name_the_tree() {
        let (node, now) = (node(), Instant::now());
        node.set_system_interval(10 * SECOND, now);
        let later = now + 3 * SECOND;
        let all = node.system_messages(&filter("$SYS/#"), later);
        assert_eq!(value(&all, "$SYS/broker/uptime").unwrap(), "3 seconds");
        let one = node.system_messages(&filter("$SYS/broker/clients/+"), later);
        assert!(one.len() > 3 && one.len() < all.len());
        assert!(one.iter().all(|message| message.topic.as_str().starts_with("$SYS/broker/clients/")));
        for text in ["#", "+/broker/uptime", "a/$SYS/#"] {
            assert!(node.system_messages(&filter(text), later).is_empty(), "{text}");
        }
    }

    #[test]
    fn whoever_knows_more_tells_it_at_the_same_moments() {
        let (node, now) = (node(), Instant::now());
        node.set_system_source(Box::new(|node| {
            let count = node.protocols().len();
            vec![
                ("others/count".to_owned(), count.to_string()),
                ("others/+".to_owned(), "no topic".to_owned()),
            ]
        }));
        assert!(node.system_messages(&filter("$SYS/#"), now).is_empty(), "it is switched off");
        node.set_system_interval(10 * SECOND, now);
        let one = node.system_messages(&filter("$SYS/others/#"), now);
        assert_eq!((one.len(), value(&one, "$SYS/others/count").as_deref()), (1, Some("1")));
        assert!(node.system_messages(&filter("$SYS/broker/version"), now).len() == 1);
        assert!(node.due_system_messages(now + 9 * SECOND).is_empty());
        let due = node.due_system_messages(now + 10 * SECOND);
        assert_eq!(value(&due, "$SYS/others/count").as_deref(), Some("1"));
    }

    #[test]
    fn values_are_those_of_the_counters() {
        let (node, now) = (node(), Instant::now());
        node.set_system_interval(10 * SECOND, now);
        let worker = &node.metrics()[0];
        let protocol = &worker.protocols[0];
        protocol.opened.add(5);
        protocol.open.add(3);
        protocol.received.at(tidegate_message::QoS::AtLeastOnce).add(30);
        protocol.wire_in_bytes.add(1000);
        worker.count_dropped("queue_full", 2);
        let due = node.due_system_messages(now + 10 * SECOND);
        for (topic, expected) in [
            ("clients/connected", "3"),
            ("clients/maximum", "3"),
            ("messages/received", "30"),
            ("publish/messages/received", "30"),
            ("publish/messages/dropped", "2"),
            ("bytes/received", "1000"),
            ("subscriptions/count", "0"),
            ("retained messages/count", "0"),
            // 180 a minute since ten seconds: 180 * (1 - exp(-1/6)).
            ("load/messages/received/1min", "27.63"),
        ] {
            assert_eq!(value(&due, &format!("$SYS/broker/{topic}")).as_deref(), Some(expected), "{topic}");
        }
        protocol.open.subtract(2);
        let due = node.due_system_messages(now + 20 * SECOND);
        assert_eq!(value(&due, "$SYS/broker/clients/connected").unwrap(), "1");
        assert_eq!(value(&due, "$SYS/broker/clients/maximum").unwrap(), "3");
    }
}

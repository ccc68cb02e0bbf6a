//! Options that have been checked: what is to be done, within limits.

use super::header::{HEADER_BYTES, PUBLISHERS_MAX};
use super::layout::Layout;
use super::options::BenchArgs;
use super::side::{Protocol, Side};
use serde::{Serialize, Serializer};
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;
use tidegate_message::QoS;

/// Connections of each kind. More than one address has ports for, but a host may have several addresses.
const CONNECTIONS_MAX: u32 = 100_000;
/// Publishers that all subscribers together listen to; each costs 24 bytes.
const SOURCES_MAX: u64 = 10_000_000;
/// Topics of all publishers together.
const TOPICS_MAX: u64 = 1_000_000;
const SIZE_MAX: usize = 16 << 20;
const RATE_MAX: u64 = 100_000_000;
/// Packet identifiers end there ([MQTT-2.2.1-3]).
const WINDOW_MAX: u32 = 65_535;
const WINDOW_DEFAULT: u32 = 100;
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
const THREADS_MAX: u32 = 64;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It publishes.
    Publisher,
    /// It subscribes.
    Subscriber,
}

/// A benchmark that can be run. Serialised into the JSON, without secrets.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    /// The publishers' side.
    #[serde(flatten)]
    pub(crate) publish: Side,
    /// The subscribers' side, which may speak something else.
    pub(crate) subscribe: Side,
    pub(crate) layout: Layout,
    pub(crate) publishers: u32,
    pub(crate) subscribers: u32,
    /// Topics per publisher, at least 1.
    pub(crate) topics: u32,
    #[serde(serialize_with = "qos_number")]
    pub(crate) qos: QoS,
    /// Payload in bytes, with the header.
    #[serde(rename = "payload_bytes")]
    pub(crate) size: usize,
    /// Messages per second of all publishers; nothing in a closed loop.
    pub(crate) rate: Option<NonZeroU64>,
    /// Per publisher: under way in a closed loop, unacknowledged in both.
    pub(crate) window: u32,
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub(crate) duration: Duration,
    #[serde(rename = "warmup_seconds", serialize_with = "seconds")]
    pub(crate) warmup: Duration,
    pub(crate) retain: bool,
    /// Whether the subscriptions outlive their connections.
    pub(crate) durable: bool,
    pub(crate) username: Option<String>,
    #[serde(skip)]
    pub(crate) password: Option<Secret>,
    pub(crate) threads: u32,
    pub(crate) cpu_of: Option<u32>,
    #[serde(skip)]
    pub(crate) json: Option<String>,
    pub(crate) quiet: bool,
}

/// A password; prints as `***`.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Why options cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// A number out of its range.
    #[error("--{option} must be from {min} to {max}")]
    Range {
        /// The option's name.
        option: &'static str,
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
    },
    /// Too many publishers times subscribers.
    #[error("--publishers times --subscribers is {sources}; the limit is {SOURCES_MAX}")]
    Sources {
        /// The product.
        sources: u64,
    },
    /// Too many topics in all.
    #[error("--publishers times --topics is {topics}; the limit is {TOPICS_MAX}")]
    Topics {
        /// The product.
        topics: u64,
    },
    /// Pairs need two equal sides.
    #[error(
        "in pairs there are as many subscribers as publishers; leave --subscribers out or choose another --layout"
    )]
    UnevenPairs,
    /// STOMP has nothing like QoS 2.
    #[error("STOMP has no exactly-once delivery; --qos must be 0 or 1")]
    StompQoS,
    /// Nothing to keep.
    #[error("--durable has no meaning at --qos 0, where nothing is kept")]
    DurableQoS,
    /// Nothing to count in a window.
    #[error("--window has no meaning with --rate at QoS 0, where nothing is acknowledged")]
    WindowWithoutAcknowledgement,
    /// The JSON cannot go to a nameless file.
    #[error("--json needs a file name or `-`")]
    NoFileName,
    /// Only Linux tells the CPU time of other processes in a way that is read here.
    #[error("--cpu-of {pid}: there is no such process, or this is not Linux")]
    NoProcess {
        /// The process id.
        pid: u32,
    },
}

impl Plan {
    /// Whom the run talks to, in words.
    pub(crate) fn targets(&self) -> String {
        match self.publish.target == self.subscribe.target {
            true => self.publish.target.clone(),
            false => format!("{} or {}", self.publish.target, self.subscribe.target),
        }
    }

    /// The side of connections of this role.
    pub(crate) fn side(&self, role: Role) -> &Side {
        match role {
            Role::Publisher => &self.publish,
            Role::Subscriber => &self.subscribe,
        }
    }
}

impl BenchArgs {
    /// Checks everything that can be checked without the broker.
    pub(crate) fn into_plan(self) -> Result<Plan, PlanError> {
        self.check_ranges()?;
        let subscribers = self.subscribers()?;
        self.check_together(subscribers)?;
        let (publish, subscribe) = (self.side(Role::Publisher), self.side(Role::Subscriber));
        Ok(Plan {
            publish,
            subscribe,
            layout: self.layout,
            publishers: self.publishers,
            subscribers,
            topics: self.topics,
            qos: QoS::from_number(self.qos).unwrap_or_default(),
            size: self.size,
            rate: NonZeroU64::new(self.rate),
            window: self.window.unwrap_or(WINDOW_DEFAULT),
            duration: self.duration.duration(),
            warmup: self.warmup.duration(),
            retain: self.retain,
            durable: self.durable,
            username: self.username,
            password: self.password.map(Secret),
            threads: self.threads,
            cpu_of: self.cpu_of,
            json: self.json,
            quiet: self.quiet,
        })
    }

    /// What the options say about one side; what they do not say of it alone holds for both.
    fn side(&self, role: Role) -> Side {
        let (protocol, transport, target) = match role {
            Role::Publisher => (self.publish_protocol, self.publish_transport, &self.publish_target),
            Role::Subscriber => (self.subscribe_protocol, self.subscribe_transport, &self.subscribe_target),
        };
        let target = target.as_ref().or(self.target.as_ref());
        Side::new(protocol.unwrap_or(self.protocol), transport.unwrap_or(self.transport), target.cloned())
    }

    fn check_ranges(&self) -> Result<(), PlanError> {
        let connections = u64::from(CONNECTIONS_MAX.min(PUBLISHERS_MAX));
        let longest = DURATION_MAX.as_millis() as u64;
        in_range("publishers", self.publishers.into(), 1, connections)?;
        in_range("subscribers", self.subscribers.unwrap_or(1).into(), 1, connections)?;
        in_range("topics", self.topics.into(), 1, TOPICS_MAX)?;
        in_range("qos", self.qos.into(), 0, 2)?;
        in_range("size", self.size as u64, HEADER_BYTES as u64, SIZE_MAX as u64)?;
        in_range("rate", self.rate, 0, RATE_MAX)?;
        in_range("window", self.window.unwrap_or(WINDOW_DEFAULT).into(), 1, WINDOW_MAX.into())?;
        in_range("threads", self.threads.into(), 1, THREADS_MAX.into())?;
        in_range("duration (in milliseconds)", self.duration.milliseconds(), 1, longest)?;
        in_range("warmup (in milliseconds)", self.warmup.milliseconds(), 0, longest)
    }

    fn subscribers(&self) -> Result<u32, PlanError> {
        match (self.layout, self.subscribers) {
            (Layout::Pairs, Some(subscribers)) if subscribers != self.publishers => {
                Err(PlanError::UnevenPairs)
            }
            (Layout::Pairs, _) => Ok(self.publishers),
            (Layout::FanIn | Layout::FanOut, subscribers) => Ok(subscribers.unwrap_or(1)),
        }
    }

    fn check_together(&self, subscribers: u32) -> Result<(), PlanError> {
        let sources = u64::from(self.publishers) * u64::from(self.layout.receivers(subscribers));
        let topics = u64::from(self.publishers) * u64::from(self.topics);
        if sources > SOURCES_MAX {
            return Err(PlanError::Sources { sources });
        }
        if topics > TOPICS_MAX {
            return Err(PlanError::Topics { topics });
        }
        let speaks_stomp = |role| self.side(role).protocol == Protocol::Stomp;
        if self.qos > 1 && (speaks_stomp(Role::Publisher) || speaks_stomp(Role::Subscriber)) {
            return Err(PlanError::StompQoS);
        }
        if self.rate > 0 && self.qos == 0 && self.window.is_some() {
            return Err(PlanError::WindowWithoutAcknowledgement);
        }
        if self.durable && self.qos == 0 {
            return Err(PlanError::DurableQoS);
        }
        if self.json.as_deref() == Some("") {
            return Err(PlanError::NoFileName);
        }
        match self.cpu_of {
            Some(pid) if super::cpu::of_process(pid).is_none() => Err(PlanError::NoProcess { pid }),
            _ => Ok(()),
        }
    }
}

fn in_range(option: &'static str, value: u64, min: u64, max: u64) -> Result<(), PlanError> {
    match (min..=max).contains(&value) {
        true => Ok(()),
        false => Err(PlanError::Range { option, min, max }),
    }
}

fn qos_number<S: Serializer>(qos: &QoS, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(qos.number())
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn plan(line: &str) -> Result<Plan, PlanError> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).args.into_plan()
    }

    #[test]
    fn the_defaults_are_a_closed_loop_of_one_pair() {
        let plan = plan("").unwrap();
        assert_eq!((plan.publishers, plan.subscribers, plan.window, plan.rate), (1, 1, 100, None));
        assert_eq!((&plan.publish, &*plan.publish.target), (&plan.subscribe, "127.0.0.1:1883"));
        assert_eq!((plan.duration, plan.warmup), (Duration::from_secs(10), Duration::from_secs(1)));
    }

    #[test]
    fn each_protocol_and_transport_has_its_standard_port() {
        for (line, publishers, subscribers) in [
            ("--protocol stomp", "127.0.0.1:61613", "127.0.0.1:61613"),
            ("--protocol mqtt5", "127.0.0.1:1883", "127.0.0.1:1883"),
            ("--transport websocket", "127.0.0.1:8083", "127.0.0.1:8083"),
            (
                "--subscribe-protocol stomp --subscribe-transport websocket",
                "127.0.0.1:1883",
                "127.0.0.1:8083",
            ),
            ("--protocol stomp --publish-protocol mqtt5", "127.0.0.1:1883", "127.0.0.1:61613"),
            ("--subscribe-protocol stomp --target a:1", "a:1", "a:1"),
            ("--subscribe-target b:2 --target a:1", "a:1", "b:2"),
        ] {
            let plan = plan(line).unwrap();
            assert_eq!((&*plan.publish.target, &*plan.subscribe.target), (publishers, subscribers), "{line}");
        }
    }

    #[test]
    fn the_sides_stand_in_the_figures() {
        let json = serde_json::to_value(plan("--subscribe-protocol stomp").unwrap()).unwrap();
        assert_eq!((&json["protocol"], &json["transport"]), (&"mqtt".into(), &"tcp".into()));
        assert_eq!(
            (&json["subscribe"]["protocol"], &json["target"]),
            (&"stomp".into(), &"127.0.0.1:1883".into())
        );
    }

    #[test]
    fn pairs_take_as_many_subscribers_as_publishers() {
        assert_eq!(plan("--publishers 7").unwrap().subscribers, 7);
        assert_eq!(plan("--publishers 7 --subscribers 7").unwrap().subscribers, 7);
        assert_eq!(plan("--publishers 7 --subscribers 8").unwrap_err(), PlanError::UnevenPairs);
        assert_eq!(plan("--publishers 7 --layout fan-in").unwrap().subscribers, 1);
    }

    #[test]
    fn a_number_out_of_range_is_named_with_its_range() {
        for (line, option) in [
            ("--publishers 0", "publishers"),
            ("--layout fan-out --subscribers 100001", "subscribers"),
            ("--size 15", "size"),
            ("--size 16777217", "size"),
            ("--window 0", "window"),
            ("--window 65536", "window"),
            ("--rate 100000001", "rate"),
            ("--threads 0", "threads"),
            ("--topics 0", "topics"),
            ("--duration 0s", "duration (in milliseconds)"),
            ("--warmup 2d", "warmup (in milliseconds)"),
        ] {
            match plan(line).unwrap_err() {
                PlanError::Range { option: named, .. } => assert_eq!(named, option, "{line}"),
                other => panic!("{line}: {other}"),
            }
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for sides in ["--protocol stomp", "--publish-protocol stomp", "--subscribe-protocol stomp"] {
            assert_eq!(plan(&format!("{sides} --qos 2")).unwrap_err(), PlanError::StompQoS);
        }
        assert_eq!(plan("--rate 10 --window 5").unwrap_err(), PlanError::WindowWithoutAcknowledgement);
        assert!(plan("--rate 10 --window 5 --qos 1").is_ok());
        assert_eq!(plan("--durable").unwrap_err(), PlanError::DurableQoS);
        assert!(plan("--durable --qos 1").unwrap().durable);
        let sources = plan("--layout fan-out --publishers 100000 --subscribers 1000").unwrap_err();
        assert_eq!(sources, PlanError::Sources { sources: 100_000_000 });
        let topics = plan("--publishers 1001 --topics 1000").unwrap_err();
        assert_eq!(topics, PlanError::Topics { topics: 1_001_000 });
        assert!(Line::try_parse_from(["bench", "--password", "x"]).is_err(), "a password without a name");
        assert!(Line::try_parse_from(["bench", "--qos", "3"]).is_err());
    }

    #[test]
    fn no_password_is_printed() {
        let plan = plan("--username u --password hunter2").unwrap();
        let (debug, json) = (format!("{plan:?}"), serde_json::to_string(&plan).unwrap());
        assert!(!debug.contains("hunter2") && !json.contains("hunter2"));
    }
}

//! Names: the destinations that a client writes, and the topics that the broker knows.
//!
//! | destination | for | canonical text |
//! |---|---|---|
//! | `/topic/a/b` | SEND, SUBSCRIBE (with `+` and `#`) | `a/b` |
//! | `/topic/$share/g/a/b` | SUBSCRIBE | `a/b`, shared by the group `g` |
//! | `/queue/a` | both | `$queue/a` |
//! | `/temp-queue/a` | both | `$reply/t/a`, where `t` is the token of this connection |
//! | `/reply-queue/t/a` | SEND | `$reply/t/a` |
//!
//! In the dot form `.` and `/` change places behind `/topic/`, and so do `*` and `+`: `/topic/a.*.b/c` is `a/+/b.c`. Names of queues and
//! reply addresses are the same in both forms. A virtual host puts its root in front of topics and names of queues.
//!
//! Printing is the inverse of parsing, for every destination that can be parsed; what has no destination cannot be printed. What may be done
//! at a place is not decided here.

use crate::codec::{Version, push_escaped};
use crate::reason::Fault;
use serde::Deserialize;
use std::borrow::Cow;
use tidegate_message::TopicFilter;
use tidegate_protocol::Broker;

const TOPIC: &str = "/topic/";
const QUEUE: &str = "/queue/";
const TEMPORARY: &str = "/temp-queue/";
const REPLY: &str = "/reply-queue/";

/// What the canonical names of queues begin with.
const CANONICAL_QUEUE: &str = "$queue/";

/// What canonical reply addresses begin with.
const CANONICAL_REPLY: &str = "$reply/";

/// What canonical shared subscriptions begin with.
const CANONICAL_SHARE: &str = "$share/";

/// The option `topic_separator`: what stands between the levels of a topic behind `/topic/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum TopicSeparator {
    /// `/topic/a/b`, with `+` for one level: the canonical form, which is MQTT's.
    #[default]
    #[serde(rename = "/")]
    Slash,
    /// `/topic/a.b`, with `*` for one level: the form of clients that come from RabbitMQ or ActiveMQ.
    #[serde(rename = ".")]
    Dot,
}

/// How the destinations of one connection are written.
#[derive(Debug)]
pub(crate) struct Names {
    /// What can stand in a header, and how.
    version: Version,
    separator: TopicSeparator,
    /// The topic of the virtual host, below which everything stands.
    root: Option<Box<str>>,
    /// What the reply addresses of this connection begin with, once it has needed one.
    own_addresses: Option<Box<str>>,
}

/// What kind of thing is at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Every subscriber gets what is sent, and the last value may be retained.
    Topic,
    /// One of the subscribers gets it, sooner or later.
    Queue,
    /// Somebody's address for answers.
    Reply,
}

/// Where a SEND goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'d> {
    pub(crate) place: Place,
    /// The canonical text; the broker checks it.
    pub(crate) topic: Cow<'d, str>,
}

/// What a SUBSCRIBE asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) place: Place,
    /// The group that shares the subscription.
    pub(crate) share: Option<Box<str>>,
    pub(crate) filter: TopicFilter,
}

/// A canonical topic as a client would write it: what its destination begins with, and what stands behind that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Printed<'t> {
    prefix: &'static str,
    text: &'t str,
}

/// Whether a destination is an address of the connection's own, for answers.
pub(crate) fn is_temporary(destination: &str) -> bool {
    destination.starts_with(TEMPORARY)
}

impl Names {
    /// The names of a connection of this version in this form, below this root where it has a virtual host.
    pub(crate) fn new(version: Version, separator: TopicSeparator, root: Option<Box<str>>) -> Names {
        Names { version, separator, root, own_addresses: None }
    }

    /// The version of the connection.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// A number for what all connections with names like these write alike; nothing where that is not known of anybody else.
    pub(crate) fn form(&self) -> Option<u32> {
        let version = match self.version {
            Version::V1_0 => 0,
            Version::V1_1 => 1,
            Version::V1_2 => 2,
        };
        self.root.is_none().then_some(version << 1 | self.separator as u32)
    }

    /// Reads the destination of a SEND. The broker is asked once, for the first address of the connection's own.
    pub(crate) fn target_of<'d>(
        &mut self,
        destination: &'d str,
        broker: &mut dyn Broker,
    ) -> Result<Target<'d>, Fault> {
        let (place, topic) = if let Some(text) = destination.strip_prefix(TOPIC) {
            (Place::Topic, self.topic(text)?)
        } else if let Some(name) = destination.strip_prefix(QUEUE) {
            (Place::Queue, self.queue(name)?.into())
        } else if let Some(name) = destination.strip_prefix(TEMPORARY) {
            (Place::Reply, self.own_address(name, broker)?.into())
        } else if let Some(address) = destination.strip_prefix(REPLY) {
            (Place::Reply, reply(address)?.into())
        } else {
            return Err(Fault::UnsupportedDestination);
        };
        if topic.starts_with(CANONICAL_SHARE) {
            return Err(Fault::WrongDestination("nothing can be sent to a shared subscription"));
        }
        match memchr::memchr2(b'+', b'#', topic.as_bytes()) {
            Some(_) => Err(Fault::WildcardDestination),
            None => Ok(Target { place, topic }),
        }
    }

    /// Reads the destination of a SUBSCRIBE; in topics `+` stands for one level and `#` for any number of levels, anywhere.
    pub(crate) fn source_of(&mut self, destination: &str, broker: &mut dyn Broker) -> Result<Source, Fault> {
        if let Some(name) = destination.strip_prefix(QUEUE) {
            return exact(Place::Queue, &self.queue(name)?);
        }
        if let Some(name) = destination.strip_prefix(TEMPORARY) {
            return exact(Place::Reply, &self.own_address(name, broker)?);
        }
        if destination.starts_with(REPLY) {
            return Err(Fault::WrongDestination(
                "a reply address of another connection cannot be subscribed to",
            ));
        }
        let text = destination.strip_prefix(TOPIC).ok_or(Fault::UnsupportedDestination)?;
        let (place, topic) = (Place::Topic, self.topic(text)?);
        match topic.strip_prefix(CANONICAL_SHARE) {
            None => Ok(Source { place, share: None, filter: filter(&topic)? }),
            Some(shared) => self.shared(shared),
        }
    }

    /// Reads the destination of a SEND's `reply-to`.
    pub(crate) fn reply_topic_of<'d>(
        &mut self,
        reply_to: &'d str,
        broker: &mut dyn Broker,
    ) -> Result<Cow<'d, str>, Fault> {
        let expected = "a destination to which a message can be sent";
        self.target_of(reply_to, broker).map(|target| target.topic).map_err(|fault| match fault {
            Fault::Refused(_) => fault,
            _ => Fault::InvalidHeader { name: "reply-to", expected },
        })
    }

    /// A canonical topic as the destination that this connection's client would write; nothing where it cannot.
    pub(crate) fn print<'t>(&self, topic: &'t str) -> Option<Printed<'t>> {
        let own = self.own_addresses.as_deref().and_then(|prefix| topic.strip_prefix(prefix));
        match own {
            Some(text) => Some(Printed { prefix: TEMPORARY, text }),
            None => self.print_reply_to(topic),
        }
    }

    /// The same for a `reply-to`: an own address is written as others see it, because all receivers of a message are shown the same.
    pub(crate) fn print_reply_to<'t>(&self, topic: &'t str) -> Option<Printed<'t>> {
        if let Some(name) = topic.strip_prefix(CANONICAL_QUEUE) {
            let text = self.below_root(name).filter(|name| !name.is_empty())?;
            return Some(Printed { prefix: QUEUE, text });
        }
        if let Some(address) = topic.strip_prefix(CANONICAL_REPLY) {
            return reply_parts(address).map(|_| Printed { prefix: REPLY, text: address });
        }
        let text = self.below_root(topic).filter(|text| self.is_topic(text))?;
        Some(Printed { prefix: TOPIC, text })
    }

    /// Appends a destination, escaped as a header's value.
    pub(crate) fn push_destination(&self, buffer: &mut Vec<u8>, printed: Printed<'_>) {
        buffer.extend_from_slice(printed.prefix.as_bytes());
        let start = buffer.len();
        push_escaped(buffer, self.version, printed.text);
        if self.separator == TopicSeparator::Dot && printed.prefix == TOPIC {
            // No escape contains what changes places.
            buffer.iter_mut().skip(start).for_each(|byte| *byte = swapped(*byte));
        }
    }

    /// The canonical text of what stands behind `/topic/`; a shared subscription keeps its `$share/` in front.
    fn topic<'d>(&self, text: &'d str) -> Result<Cow<'d, str>, Fault> {
        let word = self.reserved_word(text);
        match word {
            None | Some("$share") => {}
            Some("$queue") => {
                return Err(Fault::WrongDestination("the destination of a queue is /queue/ and its name"));
            }
            Some(_) => {
                return Err(Fault::WrongDestination(
                    "an answer goes to the destination that was in `reply-to`",
                ));
            }
        }
        if text.is_empty() {
            return Err(Fault::WrongDestination("behind /topic/ a topic is missing"));
        }
        let canonical = match self.separator {
            TopicSeparator::Slash => Cow::Borrowed(text),
            TopicSeparator::Dot => Cow::Owned(text.chars().map(swapped_character).collect()),
        };
        match word {
            None => Ok(self.rooted(canonical)),
            Some(_) if canonical.starts_with(CANONICAL_SHARE) => Ok(canonical),
            Some(_) => Err(self.malformed_share()),
        }
    }

    /// What stands behind `$share/`: the group's name and the filter that its members share.
    fn shared(&self, text: &str) -> Result<Source, Fault> {
        let (group, topic) = text.split_once('/').ok_or(self.malformed_share())?;
        if group.is_empty() || group.contains(['+', '#']) || topic.is_empty() {
            return Err(self.malformed_share());
        }
        if self.reserved_word(topic).is_some() {
            return Err(Fault::WrongDestination(
                "only topics can be shared: the subscribers of a queue share it anyway",
            ));
        }
        let filter = filter(&self.rooted(Cow::Borrowed(topic)))?;
        Ok(Source { place: Place::Topic, share: Some(group.into()), filter })
    }

    fn malformed_share(&self) -> Fault {
        Fault::WrongDestination(match self.separator {
            TopicSeparator::Slash => "a shared subscription is /topic/$share/<group>/<filter>",
            TopicSeparator::Dot => "a shared subscription is /topic/$share.<group>.<filter>",
        })
    }

    /// The canonical name of a queue.
    fn queue(&self, name: &str) -> Result<String, Fault> {
        match name.is_empty() {
            true => Err(Fault::WrongDestination("behind /queue/ the queue's name is missing")),
            false => Ok(format!("{CANONICAL_QUEUE}{}", self.rooted(Cow::Borrowed(name)))),
        }
    }

    /// The canonical text of an address of this connection's own.
    fn own_address(&mut self, name: &str, broker: &mut dyn Broker) -> Result<String, Fault> {
        if name.is_empty() {
            return Err(Fault::WrongDestination("behind /temp-queue/ a name is missing"));
        }
        let prefix = match &mut self.own_addresses {
            Some(prefix) => prefix,
            none => none.insert(broker.reply_prefix()?),
        };
        Ok(format!("{prefix}{name}"))
    }

    fn rooted<'d>(&self, text: Cow<'d, str>) -> Cow<'d, str> {
        match &self.root {
            None => text,
            Some(root) => Cow::Owned(format!("{root}/{text}")),
        }
    }

    fn below_root<'t>(&self, text: &'t str) -> Option<&'t str> {
        match &self.root {
            None => Some(text),
            Some(root) => text.strip_prefix(&**root)?.strip_prefix('/'),
        }
    }

    /// Whether a text can stand behind `/topic/` and be a topic there.
    fn is_topic(&self, text: &str) -> bool {
        !text.is_empty() && self.reserved_word(text).is_none()
    }

    /// The word with which a text begins that is no topic but something else's name. It is the same in both forms, and in
    /// the dot form it ends at a slash as well: somebody has mixed the forms up.
    fn reserved_word<'t>(&self, text: &'t str) -> Option<&'t str> {
        if !text.starts_with('$') {
            return None;
        }
        let is_end =
            |character| character == '/' || (character == '.' && self.separator == TopicSeparator::Dot);
        let first = text.split(is_end).next()?;
        matches!(first, "$share" | "$queue" | "$reply").then_some(first)
    }
}

/// A subscription to one place, which has no wildcards.
fn exact(place: Place, text: &str) -> Result<Source, Fault> {
    let filter = filter(text)?;
    match filter.is_exact() {
        true => Ok(Source { place, share: None, filter }),
        false => Err(Fault::WildcardDestination),
    }
}

fn filter(text: &str) -> Result<TopicFilter, Fault> {
    TopicFilter::parse(text.as_bytes()).map_err(Fault::InvalidFilter)
}

/// The canonical text of a reply address, given as token and name.
fn reply(address: &str) -> Result<String, Fault> {
    let parts = reply_parts(address);
    parts.ok_or(Fault::WrongDestination("a reply address is /reply-queue/<token>/<name>"))?;
    Ok(format!("{CANONICAL_REPLY}{address}"))
}

/// The token and the name of a reply address.
fn reply_parts(address: &str) -> Option<(&str, &str)> {
    address.split_once('/').filter(|(token, name)| !token.is_empty() && !name.is_empty())
}

/// The other one of two bytes that change places between the forms.
fn swapped(byte: u8) -> u8 {
    match byte {
        b'.' => b'/',
        b'/' => b'.',
        b'*' => b'+',
        b'+' => b'*',
        other => other,
    }
}

fn swapped_character(character: char) -> char {
    u8::try_from(character).map_or(character, |byte| char::from(swapped(byte)))
}

#[cfg(test)]
mod tests;

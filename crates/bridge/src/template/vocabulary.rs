//! Which variables there are, and where each of them is known.
//!
//! A word is one variable; a vocabulary is the words that mean something in one direction and for one kind of upstream. This table is the
//! only place where a word is registered; docs/reference/templates.md is held against it by a test.

/// A variable, without what is written behind its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// A topic with levels.
    Topic,
    /// The name of a topic that has none.
    TopicName,
    /// The publisher.
    ClientId,
    /// The publisher's user.
    User,
    /// A user property.
    Property,
    /// The same, where it is called a header.
    Header,
    /// A place in a payload of JSON.
    Payload,
    /// The moment of the publish.
    Timestamp,
    /// The level.
    Qos,
    /// Whether it is to be retained.
    Retain,
    /// The node.
    Node,
    /// The stable id.
    Id,
    /// The MIME type of the payload.
    ContentType,
    /// The routing key.
    RoutingKey,
    /// The exchange.
    Exchange,
    /// The queue.
    Queue,
    /// The key of a record.
    Key,
    /// The partition of a record.
    Partition,
    /// The offset of a record.
    Offset,
}

/// What is written behind the name of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing.
    Plain,
    /// Levels in brackets and a separator, or nothing: `[1]`, `[1..]`, `.dotted`. The value's own separator.
    Levels(char),
    /// A name: `.site`.
    Named,
    /// A path: `.device.id`, `[0].id`.
    Path,
    /// `.iso`, or nothing.
    Moment,
}

/// The words that mean something at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// Completes "known of …".
    pub(super) place: &'static str,
    pub(super) words: &'static [Word],
}

impl Word {
    const ALL: [Word; 19] = [
        Word::Topic,
        Word::TopicName,
        Word::ClientId,
        Word::User,
        Word::Property,
        Word::Header,
        Word::Payload,
        Word::Timestamp,
        Word::Qos,
        Word::Retain,
        Word::Node,
        Word::Id,
        Word::ContentType,
        Word::RoutingKey,
        Word::Exchange,
        Word::Queue,
        Word::Key,
        Word::Partition,
        Word::Offset,
    ];

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Word::Topic | Word::TopicName => "topic",
            Word::ClientId => "client_id",
            Word::User => "user",
            Word::Property => "property",
            Word::Header => "header",
            Word::Payload => "payload",
            Word::Timestamp => "timestamp",
            Word::Qos => "qos",
            Word::Retain => "retain",
            Word::Node => "node",
            Word::Id => "id",
            Word::ContentType => "content_type",
            Word::RoutingKey => "routing_key",
            Word::Exchange => "exchange",
            Word::Queue => "queue",
            Word::Key => "key",
            Word::Partition => "partition",
            Word::Offset => "offset",
        }
    }

    pub(super) fn shape(self) -> Shape {
        match self {
            Word::Topic => Shape::Levels('/'),
            Word::RoutingKey => Shape::Levels('.'),
            Word::Property | Word::Header => Shape::Named,
            Word::Payload => Shape::Path,
            Word::Timestamp => Shape::Moment,
            _ => Shape::Plain,
        }
    }
}

impl Vocabulary {
    /// A message that goes from here to an upstream of any kind.
    pub const FORWARD: Vocabulary = Vocabulary {
        place: "messages that are forwarded",
        words: &[
            Word::Topic,
            Word::ClientId,
            Word::User,
            Word::Property,
            Word::Payload,
            Word::Timestamp,
            Word::Qos,
            Word::Retain,
            Word::Node,
            Word::Id,
            Word::ContentType,
        ],
    };

    /// A message that comes from a queue of RabbitMQ.
    pub const RECEIVE_RABBITMQ: Vocabulary = Vocabulary {
        place: "messages that come from RabbitMQ",
        words: &[
            Word::RoutingKey,
            Word::Exchange,
            Word::Queue,
            Word::Header,
            Word::Payload,
            Word::User,
            Word::Timestamp,
            Word::Node,
            Word::Id,
            Word::ContentType,
        ],
    };

    /// A record that comes from Kafka.
    pub const RECEIVE_KAFKA: Vocabulary = Vocabulary {
        place: "records that come from Kafka",
        words: &[
            Word::TopicName,
            Word::Key,
            Word::Partition,
            Word::Offset,
            Word::Header,
            Word::Payload,
            Word::Timestamp,
            Word::Node,
            Word::Id,
        ],
    };

    /// A message that comes from an MQTT broker.
    pub const RECEIVE_MQTT: Vocabulary = Vocabulary {
        place: "messages that come from an MQTT broker",
        words: &[
            Word::Topic,
            Word::Property,
            Word::Payload,
            Word::Qos,
            Word::Retain,
            Word::Node,
            Word::Id,
            Word::ContentType,
        ],
    };

    /// What is known here.
    pub fn words(&self) -> &'static [Word] {
        self.words
    }

    /// The word of this name that is known here.
    pub(super) fn find(&self, name: &str) -> Option<Word> {
        self.words.iter().copied().find(|word| word.name() == name)
    }

    /// Whether the word exists elsewhere.
    pub(super) fn exists_elsewhere(name: &str) -> bool {
        Word::ALL.iter().any(|word| word.name() == name)
    }

    /// What is asked for here with another word.
    pub(super) fn counterpart(&self, name: &str) -> Option<&'static str> {
        let others: &[Word] = match name {
            "property" => &[Word::Header],
            "header" => &[Word::Property],
            "topic" => &[Word::RoutingKey],
            "routing_key" => &[Word::Topic],
            _ => return None,
        };
        others.iter().find(|word| self.words.contains(word)).map(|word| word.name())
    }

    /// The known name that was probably meant; none is better than a wrong one.
    pub(super) fn nearest(&self, name: &str) -> Option<&'static str> {
        let name = name.to_ascii_lowercase().replace('-', "_");
        let allowed = (name.chars().count() / 3).max(1);
        let distance = |word: &&str| match name.len() >= 4 && word.starts_with(&name) {
            true => 1,
            false => strsim::damerau_levenshtein(&name, word),
        };
        let names = self.words.iter().map(|word| word.name());
        names.filter(|word| distance(word) <= allowed).min_by_key(distance)
    }
}

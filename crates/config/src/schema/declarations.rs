//! What a bridge makes at its upstream before it is used: exchanges, queues, and what leads from the ones to the others.

use std::collections::BTreeMap;

use crate::forms::{ANY, NOT_EMPTY};
use crate::setting::Kind::{Switch, Tables, Text, Values};
use crate::setting::Presence::{Default, Required};
use crate::setting::section;

section! {
    /// What a bridge makes at RabbitMQ on each connection before it is used. What is there as described stays as it is; what is there otherwise is an
    /// error that RabbitMQ tells, and nothing moves until it is mended. Needs the right to configure; without declarations that is not needed.
    pub struct Declarations {
        /// Exchanges.
        exchanges as "exchange": Vec<DeclaredExchange> = Tables(&DeclaredExchange::SECTION), Default("");
        /// Queues.
        queues as "queue": Vec<DeclaredQueue> = Tables(&DeclaredQueue::SECTION), Default("");
        /// Ways from an exchange to a queue.
        bindings as "binding": Vec<DeclaredBinding> = Tables(&DeclaredBinding::SECTION), Default("");
    }
}

section! {
    /// An exchange.
    pub struct DeclaredExchange {
        /// Its name.
        name: String = Text(NOT_EMPTY), Required;
        /// `direct`, `fanout`, `topic`, `headers`, or the type of a plugin.
        kind as "type": String = Text(NOT_EMPTY), Default("topic");
        /// Whether it is there after a restart of RabbitMQ.
        durable: bool = Switch, Default("true");
        /// Such as `alternate-exchange`.
        arguments: BTreeMap<String, Argument> = Values, Default("");
    }
}

section! {
    /// A queue.
    pub struct DeclaredQueue {
        /// Its name.
        name: String = Text(NOT_EMPTY), Required;
        /// Whether it is there after a restart of RabbitMQ.
        durable: bool = Switch, Default("true");
        /// Such as `x-queue-type` or `x-dead-letter-exchange`.
        arguments: BTreeMap<String, Argument> = Values, Default("");
    }
}

section! {
    /// A way from an exchange to a queue.
    pub struct DeclaredBinding {
        /// The exchange.
        exchange: String = Text(NOT_EMPTY), Required;
        /// The queue.
        queue: String = Text(NOT_EMPTY), Required;
        /// The routing keys that go this way; `#` is all of them where the exchange is a `topic`.
        routing_key: String = Text(ANY), Default("#");
        /// What an exchange of the type `headers` compares.
        arguments: BTreeMap<String, Argument> = Values, Default("");
    }
}

/// The value of an argument.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

//! The other side: a virtual host of RabbitMQ, looked at with a connection of the test's own.

use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use std::pin::Pin;
use tidegate_bridge::{Form, Template, Vocabulary};
use tidegate_bridge_rabbitmq::{
    Argument, Binding, Declarations, Exchange, ForwardTarget, Login, Persistence, Queue, RabbitMqAddress,
    RabbitMqOptions, ReceiveSource,
};
use tidegate_bridging::PATIENCE;

/// A connection of the test's own to a virtual host.
pub(crate) struct Central {
    _connection: Connection,
    pub(crate) channel: Channel,
}

impl Central {
    pub(crate) async fn new(uri: &str) -> Central {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Central { _connection: connection, channel }
    }

    /// Takes everything from a queue.
    pub(crate) async fn consume(&self, queue: &str) -> Taker {
        let options = BasicConsumeOptions::default();
        let table = FieldTable::default();
        Taker(self.channel.basic_consume(queue.into(), "".into(), options, table).await.unwrap())
    }

    /// Puts a message into a queue and waits until RabbitMQ has it.
    pub(crate) async fn put(&self, queue: &str, payload: &str, properties: BasicProperties) {
        let options = BasicPublishOptions::default();
        let publishing =
            self.channel.basic_publish("".into(), queue.into(), options, payload.as_bytes(), properties);
        assert!(publishing.await.unwrap().await.unwrap().is_ack());
    }

    /// How many messages wait in a queue that exists.
    pub(crate) async fn waiting(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declaring = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        declaring.await.unwrap().message_count()
    }
}

/// What comes from a queue.
pub(crate) struct Taker(Consumer);

impl Taker {
    pub(crate) async fn next(&mut self) -> Delivery {
        let next = std::future::poll_fn(|context| Pin::new(&mut self.0).poll_next(context));
        let delivery = tokio::time::timeout(PATIENCE, next).await.expect("a message comes");
        let delivery = delivery.expect("the consumer stays").unwrap();
        delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
        delivery
    }
}

pub(crate) fn text(payload: &[u8]) -> String {
    String::from_utf8(payload.to_vec()).unwrap()
}

/// Options with nothing to forward and nothing to receive.
pub(crate) fn options(uri: &str) -> RabbitMqOptions {
    RabbitMqOptions {
        addresses: vec![RabbitMqAddress::parse(uri).unwrap()],
        tls: None,
        login: Login::Password,
        connection_name: "edge-1 central".to_owned(),
        heartbeat_seconds: 10,
        declarations: Declarations::default(),
        forwards: Vec::new(),
        receives: Vec::new(),
    }
}

pub(crate) fn target(exchange: &str, routing_key: &str) -> ForwardTarget {
    let template = |text, form| Template::parse(text, &Vocabulary::FORWARD, form).unwrap();
    ForwardTarget {
        exchange: template(exchange, Form::ShortText),
        routing_key: template(routing_key, Form::RoutingKey),
        headers: vec![("source".to_owned(), template("{topic}", Form::Text))],
        mandatory: true,
        persistence: Persistence::ByQos,
    }
}

pub(crate) fn source(queue: &str, prefetch: u16) -> ReceiveSource {
    ReceiveSource { queue: queue.to_owned(), prefetch, exclusive: false }
}

/// An exchange of topics from which this key leads to a queue.
pub(crate) fn declarations(exchange: &str, key: &str, queue: &str) -> Declarations {
    let arguments = vec![("x-queue-type".to_owned(), Argument::Text("classic".to_owned()))];
    Declarations {
        exchanges: vec![Exchange {
            name: exchange.to_owned(),
            kind: "topic".to_owned(),
            durable: true,
            arguments: Vec::new(),
        }],
        queues: vec![Queue { name: queue.to_owned(), durable: true, arguments }],
        bindings: vec![Binding {
            exchange: exchange.to_owned(),
            queue: queue.to_owned(),
            routing_key: key.to_owned(),
            arguments: Vec::new(),
        }],
    }
}

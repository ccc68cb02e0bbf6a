//! What a bridge to RabbitMQ is told: plain values, which the binary makes from its configuration.

use crate::address::RabbitMqAddress;
use std::fmt;
use std::sync::Arc;
use tidegate_bridge::{Template, UNSETTLED_MAX};

/// The longest name of an exchange, a queue, a routing key or a header in bytes (AMQP 0-9-1 section 4.2.5.3: a short string).
pub(crate) const SHORT_BYTES_MAX: usize = 255;

/// Everything about one RabbitMQ and what is sent to and taken from it.
#[derive(Clone)]
pub struct RabbitMqOptions {
    /// Where it is, the preferred address first.
    pub addresses: Vec<RabbitMqAddress>,
    /// How connections to `amqps` addresses are made, client certificate and all.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How the gateway proves who it is.
    pub login: Login,
    /// What RabbitMQ lists the connection as, and the log names it by.
    pub connection_name: String,
    /// After so many seconds of silence either side asks whether the other is there; 0 leaves it to RabbitMQ. A connection that is silent
    /// for twice as long is given up.
    pub heartbeat_seconds: u16,
    /// What is made on a connection before it is used.
    pub declarations: Declarations,
    /// Where messages go, one per lane of the bridge's forwards.
    pub forwards: Vec<ForwardTarget>,
    /// Where messages come from, one per lane of the bridge's receives.
    pub receives: Vec<ReceiveSource>,
}

/// How the gateway proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Login {
    /// By user and password of the address (SASL PLAIN).
    #[default]
    Password,
    /// By its certificate (SASL EXTERNAL); RabbitMQ needs its plugin `rabbitmq_auth_mechanism_ssl` for it.
    Certificate,
}

/// Where the messages of one forward go.
#[derive(Debug, Clone)]
pub struct ForwardTarget {
    /// The exchange; the empty text is the one that knows every queue by its name ([`tidegate_bridge::Form::ShortText`]).
    pub exchange: Template,
    /// The routing key ([`tidegate_bridge::Form::RoutingKey`], or `ShortText` where it is no topic).
    pub routing_key: Template,
    /// Headers beside the user properties, which they replace where both have a name ([`tidegate_bridge::Form::Text`]).
    pub headers: Vec<(String, Template)>,
    /// Whether a message that no queue takes is refused; otherwise RabbitMQ drops it and calls it confirmed.
    pub mandatory: bool,
    /// How long it is kept there.
    pub persistence: Persistence,
}

/// Which messages are written to RabbitMQ's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Persistence {
    /// Those of QoS 1 and 2: what was not promised to a device is not promised there.
    #[default]
    ByQos,
    /// All of them.
    Always,
    /// None of them.
    Never,
}

/// Where the messages of one receive come from.
#[derive(Debug, Clone)]
pub struct ReceiveSource {
    /// The queue.
    pub queue: String,
    /// How many messages may be on their way here without being acknowledged, from 1 to [`UNSETTLED_MAX`].
    pub prefetch: u16,
    /// Whether nobody else may consume the queue, which keeps its order while this gateway is not there.
    pub exclusive: bool,
}

/// What is made at RabbitMQ, or found there as it is described.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Declarations {
    /// Exchanges.
    pub exchanges: Vec<Exchange>,
    /// Queues.
    pub queues: Vec<Queue>,
    /// What leads from the ones to the others.
    pub bindings: Vec<Binding>,
}

/// An exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// `direct`, `fanout`, `topic`, `headers`, or the type of a plugin.
    pub kind: String,
    /// Whether it is there after a restart of RabbitMQ.
    pub durable: bool,
    /// Such as `alternate-exchange`.
    pub arguments: Vec<(String, Argument)>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Whether it is there after a restart of RabbitMQ.
    pub durable: bool,
    /// Such as `x-queue-type` or `x-dead-letter-exchange`.
    pub arguments: Vec<(String, Argument)>,
}

/// A way from an exchange to a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The exchange.
    pub exchange: String,
    /// The queue.
    pub queue: String,
    /// The routing keys that go this way.
    pub routing_key: String,
    /// What an exchange of the type `headers` compares.
    pub arguments: Vec<(String, Argument)>,
}

/// The value of an argument of a declaration.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

/// Something that cannot work: the option, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which option, such as `receives[0].prefetch`.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

impl RabbitMqOptions {
    /// What cannot work, whatever RabbitMQ says. With any of it, [`crate::RabbitMq`] may refuse every message or every connection.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Findings(Vec::new());
        if self.addresses.is_empty() {
            findings.add("addresses", "there is no address");
        }
        for (number, address) in self.addresses.iter().enumerate() {
            self.check_address(number, address, &mut findings);
        }
        for (number, forward) in self.forwards.iter().enumerate() {
            for (name, _) in &forward.headers {
                let key = format!("forwards[{number}].headers");
                findings.check_name(&key, name);
                if crate::headers::is_taken(name) {
                    findings.add(&key, "the gateway or RabbitMQ gives this header a meaning of its own");
                }
            }
        }
        for (number, receive) in self.receives.iter().enumerate() {
            findings.check_name(&format!("receives[{number}].queue"), &receive.queue);
            if receive.prefetch == 0 || usize::from(receive.prefetch) > UNSETTLED_MAX {
                let message = format!("the prefetch is from 1 to {UNSETTLED_MAX}");
                findings.add(&format!("receives[{number}].prefetch"), &message);
            }
        }
        self.declarations.check(&mut findings);
        findings.0
    }

    fn check_address(&self, number: usize, address: &RabbitMqAddress, findings: &mut Findings) {
        let key = format!("addresses[{number}]");
        if address.is_encrypted && self.tls.is_none() {
            findings.add(&key, "an amqps address needs TLS, which is not configured");
        }
        if address.is_encrypted && rustls_pki_types::ServerName::try_from(address.host()).is_err() {
            findings.add(&key, "the host is no name that a certificate can have");
        }
        if self.login == Login::Certificate && !address.is_encrypted {
            findings.add(&key, "a certificate proves something over amqps only");
        }
    }
}

impl Declarations {
    fn check(&self, findings: &mut Findings) {
        for (number, exchange) in self.exchanges.iter().enumerate() {
            findings.check_name(&format!("exchanges[{number}].name"), &exchange.name);
            findings.check_name(&format!("exchanges[{number}].kind"), &exchange.kind);
            findings.check_arguments(&format!("exchanges[{number}].arguments"), &exchange.arguments);
        }
        for (number, queue) in self.queues.iter().enumerate() {
            findings.check_name(&format!("queues[{number}].name"), &queue.name);
            findings.check_arguments(&format!("queues[{number}].arguments"), &queue.arguments);
        }
        for (number, binding) in self.bindings.iter().enumerate() {
            findings.check_name(&format!("bindings[{number}].exchange"), &binding.exchange);
            findings.check_name(&format!("bindings[{number}].queue"), &binding.queue);
            findings.check_arguments(&format!("bindings[{number}].arguments"), &binding.arguments);
            if binding.routing_key.len() > SHORT_BYTES_MAX {
                findings
                    .add(&format!("bindings[{number}].routing_key"), "a routing key has at most 255 bytes");
            }
        }
    }
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, key: &str, message: &str) {
        self.0.push(Finding { key: key.to_owned(), message: message.to_owned() });
    }

    fn check_name(&mut self, key: &str, name: &str) {
        if name.is_empty() || name.len() > SHORT_BYTES_MAX {
            self.add(key, "a name has 1 to 255 bytes");
        }
    }

    fn check_arguments(&mut self, key: &str, arguments: &[(String, Argument)]) {
        for (name, _) in arguments {
            self.check_name(key, name);
        }
    }
}

impl fmt::Debug for RabbitMqOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RabbitMqOptions")
            .field("addresses", &self.addresses)
            .field("tls", &self.tls.is_some())
            .field("login", &self.login)
            .field("connection_name", &self.connection_name)
            .field("heartbeat_seconds", &self.heartbeat_seconds)
            .field("declarations", &self.declarations)
            .field("forwards", &self.forwards)
            .field("receives", &self.receives)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> RabbitMqOptions {
        RabbitMqOptions {
            addresses: vec![RabbitMqAddress::parse("amqp://u:Kennwort@h").unwrap()],
            tls: None,
            login: Login::Password,
            connection_name: "central".to_owned(),
            heartbeat_seconds: 10,
            declarations: Declarations::default(),
            forwards: Vec::new(),
            receives: vec![ReceiveSource { queue: "commands".to_owned(), prefetch: 100, exclusive: false }],
        }
    }

    #[test]
    fn sound_options_have_no_findings_and_show_no_password() {
        assert_eq!(options().check(), []);
        assert!(!format!("{:?}", options()).contains("Kennwort"));
    }

    #[test]
    fn what_cannot_work_is_found_with_its_key() {
        let mut options = options();
        options.addresses = vec![RabbitMqAddress::parse("amqps://h").unwrap()];
        options.receives = vec![ReceiveSource { queue: String::new(), prefetch: 0, exclusive: false }];
        let name = "n".repeat(256);
        options.declarations.queues = vec![Queue { name, durable: true, arguments: Vec::new() }];
        let keys: Vec<String> = options.check().into_iter().map(|finding| finding.key).collect();
        assert_eq!(keys, ["addresses[0]", "receives[0].queue", "receives[0].prefetch", "queues[0].name"]);
        options.addresses = vec![RabbitMqAddress::parse("amqp://h").unwrap()];
        options.login = Login::Certificate;
        assert_eq!(options.check()[0].message, "a certificate proves something over amqps only");
        options.addresses.clear();
        assert_eq!(options.check()[0].key, "addresses");
    }
}

//! Bridges to RabbitMQ, as the file has them.

use super::kinds::{Made, Parts, destinations, wrong};
use super::password::read_password;
use super::tls::{Wanted, client_config};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_bridge::{Form, Template, Vocabulary};
use tidegate_bridge_rabbitmq::{
    Argument, Binding, Declarations, Exchange, Finding, ForwardTarget, Login, Persistence, Queue, RabbitMq,
    RabbitMqAddress, RabbitMqOptions, ReceiveSource,
};
use tidegate_config::{Bridge, BridgeError, BridgeLogin, Forward};

/// The keys that this kind knows of those that not every kind does.
pub(super) const KEYS: &[&str] = &[
    "client_id",
    "password_file",
    "login",
    "heartbeat",
    "declare",
    "exchange",
    "routing_key",
    "headers",
    "persistence",
    "mandatory",
    "queue",
    "prefetch",
    "exclusive",
];

/// Makes the upstream.
pub(super) fn make(bridge: &Bridge, node: &str) -> Made {
    let mut errors = Vec::new();
    let addresses = addresses(bridge, &mut errors);
    let wanted = match addresses.iter().any(RabbitMqAddress::is_encrypted) {
        true => Wanted::Yes,
        false => Wanted::No,
    };
    let tls = client_config(bridge, wanted, "amqps://").unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let options = RabbitMqOptions {
        addresses,
        tls,
        login: login(bridge, &mut errors),
        connection_name: bridge.client_id.clone().unwrap_or_else(|| format!("{node}-{}", bridge.name)),
        heartbeat_seconds: heartbeat_seconds(bridge, &mut errors),
        declarations: declarations(&bridge.declarations),
        forwards: forwards(bridge, &mut errors),
        receives: receives(bridge, &mut errors),
    };
    let destinations = destinations(bridge, &node.into(), &Vocabulary::RECEIVE_RABBITMQ, &mut errors);
    // The numbers in its findings are those of the file only where nothing was left out.
    if !errors.is_empty() {
        return Err(errors);
    }
    match RabbitMq::new(options) {
        Ok(upstream) => Ok(Parts { kind: "rabbitmq", upstream: Arc::new(upstream), destinations }),
        Err(findings) => Err(findings.into_iter().map(in_the_file).collect()),
    }
}

fn addresses(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Vec<RabbitMqAddress> {
    let password = bridge.password_file.as_deref().and_then(|file| match read_password(file) {
        Ok(password) => Some(password),
        Err(error) => {
            errors.push(wrong("password_file", error));
            None
        }
    });
    let mut addresses = Vec::new();
    for (index, url) in bridge.urls.iter().enumerate() {
        let key = format!("url[{index}]");
        match (RabbitMqAddress::parse(url), &bridge.password_file) {
            (Err(error), _) => errors.push(wrong(key, error)),
            (Ok(address), Some(_)) if !address.has_user() => {
                let message = "`password_file` needs the name of a user in the address";
                let suggestion = Some("write \"amqps://user@host\"".to_owned());
                errors.push(BridgeError { suggestion, ..wrong(key, message) });
            }
            (Ok(address), _) => addresses.push(match &password {
                Some(password) => address.with_password(password),
                None => address,
            }),
        }
    }
    addresses
}

fn login(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Login {
    if bridge.login == BridgeLogin::Password {
        return Login::Password;
    }
    if bridge.tls.as_ref().is_none_or(|tls| tls.cert.is_none()) {
        errors.push(wrong("login", "a login by certificate needs one: `tls.cert` and `tls.key`"));
    }
    if bridge.password_file.is_some() {
        errors.push(wrong("password_file", "with `login = \"certificate\"` nobody asks for a password"));
    }
    Login::Certificate
}

fn heartbeat_seconds(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> u16 {
    let heartbeat = bridge.heartbeat.duration();
    if heartbeat.subsec_nanos() > 0 {
        errors.push(wrong("heartbeat", "heartbeats are counted in whole seconds"));
    }
    u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX)
}

fn forwards(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Vec<ForwardTarget> {
    let mut forwards = Vec::new();
    for (index, forward) in bridge.forwards.iter().enumerate() {
        match target(forward) {
            Ok(target) => forwards.push(target),
            Err(wrong_here) => errors.extend(
                wrong_here
                    .into_iter()
                    .map(|error| BridgeError { key: format!("forward[{index}]{}", error.key), ..error }),
            ),
        }
    }
    forwards
}

/// Where a forward leads; keys of errors begin behind its number.
fn target(forward: &Forward) -> Result<ForwardTarget, Vec<BridgeError>> {
    let mut errors = Vec::new();
    let mut template = |key: &str, text: &str, form: Form| {
        let parsed = Template::parse(text, &Vocabulary::FORWARD, form);
        parsed.map_err(|error| errors.push(wrong(format!(".{key}"), error))).ok()
    };
    let exchange = forward.exchange.as_ref().map(|text| template("exchange", text, Form::ShortText));
    let routing_key = forward.routing_key.as_deref().unwrap_or("{topic}");
    let routing_key = template("routing_key", routing_key, Form::RoutingKey);
    let headers = forward.headers.iter().map(|(name, text)| {
        let parsed = template(&format!("headers.{}", written(name)), text, Form::Text);
        parsed.map(|template| (name.clone(), template))
    });
    // All of them are looked at, whichever is wrong.
    let headers = headers.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>();
    if exchange.is_none() {
        let message = "`exchange` says where messages go, and is missing; `\"\"` is the one that knows every queue by its name";
        errors.push(wrong("", message));
    }
    match (exchange.flatten(), routing_key, headers) {
        (Some(exchange), Some(routing_key), Some(headers)) => Ok(ForwardTarget {
            exchange,
            routing_key,
            headers,
            mandatory: forward.mandatory,
            persistence: persistence(forward.persistence),
        }),
        _ => Err(errors),
    }
}

fn persistence(persistence: tidegate_config::Persistence) -> Persistence {
    match persistence {
        tidegate_config::Persistence::Always => Persistence::Always,
        tidegate_config::Persistence::ByQos => Persistence::ByQos,
        tidegate_config::Persistence::Never => Persistence::Never,
    }
}

/// A name as it stands in the path of a key.
fn written(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.chars().map(|c| if is_bare(c) { c } else { '?' }).collect()
}

fn receives(bridge: &Bridge, errors: &mut Vec<BridgeError>) -> Vec<ReceiveSource> {
    let mut receives = Vec::new();
    for (index, receive) in bridge.receives.iter().enumerate() {
        match &receive.queue {
            Some(queue) => receives.push(ReceiveSource {
                queue: queue.clone(),
                prefetch: receive.prefetch,
                exclusive: receive.exclusive,
            }),
            None => errors.push(wrong(
                format!("receive[{index}]"),
                "`queue` says which queue is received, and is missing",
            )),
        }
    }
    receives
}

fn declarations(declared: &tidegate_config::Declarations) -> Declarations {
    let exchanges = declared.exchanges.iter().map(|exchange| Exchange {
        name: exchange.name.clone(),
        kind: exchange.kind.clone(),
        durable: exchange.durable,
        arguments: arguments(&exchange.arguments),
    });
    let queues = declared.queues.iter().map(|queue| Queue {
        name: queue.name.clone(),
        durable: queue.durable,
        arguments: arguments(&queue.arguments),
    });
    let bindings = declared.bindings.iter().map(|binding| Binding {
        exchange: binding.exchange.clone(),
        queue: binding.queue.clone(),
        routing_key: binding.routing_key.clone(),
        arguments: arguments(&binding.arguments),
    });
    Declarations { exchanges: exchanges.collect(), queues: queues.collect(), bindings: bindings.collect() }
}

fn arguments(written: &BTreeMap<String, tidegate_config::Argument>) -> Vec<(String, Argument)> {
    let argument = |value: &tidegate_config::Argument| match value {
        tidegate_config::Argument::Flag(flag) => Argument::Flag(*flag),
        tidegate_config::Argument::Number(number) => Argument::Number(*number),
        tidegate_config::Argument::Text(text) => Argument::Text(text.clone()),
    };
    written.iter().map(|(name, value)| (name.clone(), argument(value))).collect()
}

/// A finding by the key of the file.
fn in_the_file(finding: Finding) -> BridgeError {
    let (list, rest) = finding.key.split_at(finding.key.find('[').unwrap_or(finding.key.len()));
    let list = match list {
        "addresses" => "url",
        "forwards" => "forward",
        "receives" => "receive",
        "exchanges" => "declare.exchange",
        "queues" => "declare.queue",
        "bindings" => "declare.binding",
        other => other,
    };
    wrong(format!("{list}{}", rest.replace("].kind", "].type")), finding.message)
}

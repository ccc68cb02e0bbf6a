//! Messages and targets for tests.

use crate::options::{ForwardTarget, Persistence};
use bytes::Bytes;
use tidegate_bridge::{Form, Outgoing, Template, Vocabulary};
use tidegate_message::{QoS, Topic};

pub(crate) fn template(text: &str, form: Form) -> Template {
    Template::parse(text, &Vocabulary::FORWARD, form).unwrap()
}

pub(crate) fn target(exchange: &str, routing_key: &str) -> ForwardTarget {
    ForwardTarget {
        exchange: template(exchange, Form::ShortText),
        routing_key: template(routing_key, Form::RoutingKey),
        headers: Vec::new(),
        mandatory: true,
        persistence: Persistence::ByQos,
    }
}

pub(crate) fn outgoing(topic: &str, payload: &str) -> Outgoing {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    Outgoing {
        lane: 0,
        ticket: 1,
        topic: Topic::parse(topic.as_bytes()).unwrap(),
        original: payload.clone(),
        payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
        publisher: None,
        id: "edge-1/7/central.0/1".into(),
        path: "edge-1".into(),
        is_repeated: false,
    }
}

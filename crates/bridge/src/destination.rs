//! Where received messages go here: a topic by a template, and the payload out of its envelope.

use crate::envelope::{Envelope, OpenError, Parts};
use crate::facts::Facts;
use crate::link::Publishing;
use crate::receive::{Destination, Misplaced};
use crate::template::Template;
use crate::upstream::Incoming;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A topic for each message.
#[derive(Debug, Clone)]
pub struct TopicDestination {
    /// The topic, of [`crate::Form::Topic`]. What an envelope says of the topic is not believed: templates see where the message stood there.
    pub topic: Template,
    /// What is around the payload.
    pub envelope: Envelope,
    /// Whether retained messages stay so.
    pub retain: bool,
    /// The name of this node.
    pub node: Arc<str>,
}

impl Destination for TopicDestination {
    fn place(&self, incoming: &Incoming) -> Result<Publishing, Misplaced> {
        let misplaced = |error: &dyn std::error::Error| Misplaced(error.to_string());
        let parts = self.open(incoming).map_err(|error| misplaced(&error))?;
        let mut facts = Facts { node: Some(&self.node), ..Facts::from(incoming) };
        if let Some(parts) = &parts {
            (facts.payload, facts.properties) = (&parts.payload, Some(&parts.properties));
            facts.client_id = parts.client_id.as_deref();
            // An envelope is what its writer says; the user may be one that the upstream has checked.
            facts.user = facts.user.or(parts.user.as_deref());
            facts.timestamp_millis = facts.timestamp_millis.or(parts.timestamp_millis);
        }
        let topic = self.topic.render_topic(&facts, &mut String::new()).map_err(|error| misplaced(&error))?;
        let expires_in = parts.as_ref().and_then(|parts| parts.expires_in_millis).map(Duration::from_millis);
        let (payload, properties) = match parts {
            None => (incoming.payload.clone(), incoming.properties.clone()),
            Some(parts) => {
                (parts.payload, (!parts.properties.is_empty()).then(|| Box::new(parts.properties)))
            }
        };
        Ok(Publishing {
            topic: Bytes::copy_from_slice(topic.as_str().as_bytes()),
            payload,
            qos: incoming.qos,
            retain: incoming.retain && self.retain,
            properties,
            expiry: incoming.expires_in.or(expires_in),
        })
    }
}

impl TopicDestination {
    /// What is in the envelope; with what travels beside it, where it has no place for that itself.
    fn open(&self, incoming: &Incoming) -> Result<Option<Parts>, OpenError> {
        let parts = self.envelope.open(&incoming.payload)?;
        Ok(match (&self.envelope, &incoming.properties) {
            (Envelope::CloudEvent(_), Some(beside)) => parts.map(|parts| parts.with_beside(beside)),
            _ => parts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CloudEvents, Form, PayloadForm, Vocabulary};
    use tidegate_message::{Properties, QoS};

    fn destination(topic: &str, envelope: Envelope) -> TopicDestination {
        let topic = Template::parse(topic, &Vocabulary::RECEIVE_RABBITMQ, Form::Topic).unwrap();
        TopicDestination { topic, envelope, retain: false, node: "edge-1".into() }
    }

    fn incoming(payload: &'static str, place: &[(&'static str, &str)], properties: Properties) -> Incoming {
        Incoming {
            lane: 0,
            ticket: 1,
            place: place.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            payload: Bytes::from_static(payload.as_bytes()),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
            expires_in: None,
            id: None,
            path: None,
        }
    }

    /// RabbitMQ has checked the user; whoever may publish there writes what he likes into a payload.
    #[test]
    fn an_envelope_does_not_replace_what_the_upstream_says_of_user_and_time() {
        let payload = r#"{"payload": "21", "user": "admin", "timestamp": 9}"#;
        let destination = destination("in/{user}/{timestamp}", Envelope::Json { payload: PayloadForm::Text });
        let topic = |place: &[(&'static str, &str)]| {
            destination.place(&incoming(payload, place, Properties::default())).unwrap().topic
        };
        assert_eq!(topic(&[("user", "scada"), ("timestamp", "5")]), "in/scada/5");
        assert_eq!(topic(&[]), "in/admin/9", "what it does not say is for the envelope to fill in");
    }

    #[test]
    fn what_travels_beside_an_event_comes_in_with_it() {
        let payload = r#"{"specversion": "1.0", "id": "1", "source": "/a", "type": "t",
            "datacontenttype": "text/plain", "data": "21"}"#;
        let beside = Properties {
            content_type: Some("application/cloudevents+json; charset=utf-8".into()),
            reply_to: Some("answers/7".into()),
            correlation: Some(Bytes::from_static(b"c")),
            payload_is_text: Some(true),
            user: vec![("site".into(), "north".into()), ("source".into(), "/forged".into())],
        };
        let destination = destination("in/{header.site}", Envelope::CloudEvent(CloudEvents::default()));
        let publishing = destination.place(&incoming(payload, &[], beside)).unwrap();
        assert_eq!((&publishing.topic[..], &publishing.payload[..]), (&b"in/north"[..], &b"21"[..]));
        let expected = Properties {
            content_type: Some("text/plain".into()),
            reply_to: Some("answers/7".into()),
            correlation: Some(Bytes::from_static(b"c")),
            payload_is_text: None,
            user: [("source", "/a"), ("type", "t"), ("site", "north")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        };
        assert_eq!(publishing.properties, Some(Box::new(expected)));
    }
}

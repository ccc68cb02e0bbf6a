//! Where received messages go here: a topic by a template, and the payload out of its envelope.

use crate::envelope::Envelope;
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
        let parts = self.envelope.open(&incoming.payload).map_err(|error| misplaced(&error))?;
        let mut facts = Facts { node: Some(&self.node), ..Facts::from(incoming) };
        if let Some(parts) = &parts {
            (facts.payload, facts.properties) = (&parts.payload, Some(&parts.properties));
            (facts.client_id, facts.user) = (parts.client_id.as_deref(), parts.user.as_deref());
            facts.timestamp_millis = parts.timestamp_millis;
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

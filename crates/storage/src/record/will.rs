//! A will as it is kept. It needs no session: one that ends with its connection still leaves its will behind.

use super::description::{WILL, begin};
use super::{MessageRecord, Reader, identity};
use crate::Damaged;
use std::sync::Arc;
use tidegate_message::{Message, Origin};
use tidegate_protocol::{Identity, Will};

/// A will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WillRecord {
    /// The queue of the session that it belongs to, which is the origin of its message as well.
    pub queue: u64,
    /// Who publishes it.
    pub identity: Arc<Identity>,
    /// What is published, and how long after the connection.
    pub will: Will,
}

impl WillRecord {
    /// Writes the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        WillRecord::write_of(self.queue, &self.identity, &self.will, out);
    }

    /// The same of parts.
    pub fn write_of(queue: u64, identity: &Identity, will: &Will, out: &mut Vec<u8>) {
        let message = Message {
            topic: will.topic.clone(),
            payload: will.payload.clone(),
            qos: will.qos,
            retain: will.retain,
            properties: will.properties.clone(),
            expires_at: None,
            origin: Origin(queue),
            publisher: None,
        };
        let mut message_bytes = Vec::new();
        MessageRecord::write_expiring(&message, None, &mut message_bytes);
        let mut writer = begin(WILL, out);
        writer.number(queue);
        identity::write(identity, &mut writer);
        writer.duration(will.delay);
        writer.optional_duration(will.expiry);
        writer.bytes(&message_bytes);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<WillRecord, Damaged> {
        let queue = reader.number()?;
        let identity = Arc::new(identity::read(reader)?);
        let (delay, expiry) = (reader.duration()?, reader.optional_duration()?);
        let Message { topic, payload, qos, retain, properties, .. } =
            MessageRecord::read(reader.bytes()?)?.message;
        let will = Will { topic, payload, qos, retain, properties, expiry, delay };
        Ok(WillRecord { queue, identity, will })
    }
}

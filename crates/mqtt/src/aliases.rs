//! The topic aliases that the client has set on this connection (MQTT 5.0 section 3.3.2.3.4).
//!
//! An alias belongs to one connection and one direction ([MQTT-3.3.2-7]). The table grows to the highest alias that was really
//! used, never past the maximum that was announced; each entry holds one topic.

use crate::codec::{Publish, ReasonCode};
use crate::reason::fault;
use tidegate_protocol::Close;

/// Topics by alias, 1 first.
#[derive(Debug)]
pub(crate) struct TopicAliases {
    topics: Vec<Option<Box<[u8]>>>,
    maximum: u16,
}

impl TopicAliases {
    /// An empty table for aliases from 1 to `maximum`.
    pub(crate) fn new(maximum: u16) -> TopicAliases {
        TopicAliases { topics: Vec::new(), maximum }
    }

    /// The topic that a PUBLISH means: its own, which an alias beside it remembers, or the one that its alias stands for.
    pub(crate) fn resolve<'a>(&'a mut self, publish: &Publish<'a>) -> Result<&'a [u8], Close> {
        match publish.properties.topic_alias() {
            None => Ok(publish.topic),
            Some(alias) if publish.topic.is_empty() => self.get(alias.get()),
            Some(alias) => self.set(alias.get(), publish.topic),
        }
    }

    fn get(&self, alias: u16) -> Result<&[u8], Close> {
        self.check(alias)?;
        match self.topics.get(usize::from(alias) - 1) {
            Some(Some(topic)) => Ok(topic),
            // Section 3.3.4: an alias that was never set is a protocol error.
            _ => Err(fault(ReasonCode::ProtocolError, format!("the topic alias {alias} was never set"))),
        }
    }

    fn set<'a>(&mut self, alias: u16, topic: &'a [u8]) -> Result<&'a [u8], Close> {
        self.check(alias)?;
        let at = usize::from(alias) - 1;
        if at >= self.topics.len() {
            self.topics.resize(at + 1, None);
        }
        match self.topics.get_mut(at) {
            // Clients repeat the topic beside its alias: keep what is there.
            Some(Some(known)) if **known == *topic => {}
            Some(entry) => *entry = Some(topic.into()),
            None => {}
        }
        Ok(topic)
    }

    /// [MQTT-3.3.2-9]; an alias of 0 ([MQTT-3.3.2-8]) does not pass the codec.
    fn check(&self, alias: u16) -> Result<(), Close> {
        match alias == 0 || alias > self.maximum {
            true => {
                let detail = format!("the topic alias {alias} is above the maximum of {}", self.maximum);
                Err(fault(ReasonCode::TopicAliasInvalid, detail))
            }
            false => Ok(()),
        }
    }
}

//! A message in the place where it stands, a queue or the retained messages; a named queue; and how far the queues have come.

use super::message::{is_default, qos};
use super::{self as form, Clock, FormError, MessageForm};
use crate::Problem;
use serde::{Deserialize, Serialize};
use tidegate_message::Topic;
use tidegate_storage::record::{DeliveryNote, GivenNote, MessageRecord, QueueNote, QueueRecord};
use tidegate_storage::{Damaged, Entry, StreamId};

/// A message that waits in a queue, or that was delivered from it and is not settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The stream of the queue.
    pub(crate) stream: u64,
    /// Its number there.
    pub(crate) number: u64,
    /// The level of the delivery, which is that of the message or lower.
    pub(crate) delivery_qos: u8,
    /// Whether the receiver is to see it as a retained message.
    #[serde(default, skip_serializing_if = "is_default")]
    delivery_retain: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    subscription_ids: Vec<u32>,
    /// Which delivery the next one is, counted from 1.
    pub(crate) attempt: u32,
    /// The queue that it was taken from, and its number there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taken_from: Option<(u64, u64)>,
    /// The message.
    pub(crate) message: MessageForm,
}

impl Waiting {
    /// What an entry of a queue's stream is.
    pub(crate) fn read(stream: StreamId, entry: &Entry, clock: Clock) -> Result<Waiting, Problem> {
        let unreadable = |Damaged| Problem::Record { stream, number: entry.number };
        let note = DeliveryNote::read(&entry.note).map_err(unreadable)?;
        let record = MessageRecord::read(&entry.body).map_err(unreadable)?;
        Ok(Waiting {
            stream: stream.0,
            number: entry.number,
            delivery_qos: note.qos.number(),
            delivery_retain: note.retain,
            subscription_ids: note.subscription_ids,
            attempt: note.attempt,
            taken_from: note.taken_from.map(|(stream, number)| (stream.0, number)),
            message: MessageForm::tell(record, clock),
        })
    }

    pub(crate) fn hear(self, clock: Clock) -> Result<(DeliveryNote, MessageRecord), FormError> {
        let given = |at| form::number("taken_from", at);
        let taken_from = match self.taken_from {
            Some((stream, number)) => Some((StreamId(given(stream)?), given(number)?)),
            None => None,
        };
        let note = DeliveryNote {
            qos: qos("delivery_qos", self.delivery_qos)?,
            retain: self.delivery_retain,
            subscription_ids: self.subscription_ids,
            attempt: self.attempt,
            taken_from,
        };
        Ok((note, self.message.hear(clock)?))
    }

    /// Its number in its queue.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Which delivery the next one is.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The level of the delivery.
    pub fn qos(&self) -> u8 {
        self.delivery_qos
    }

    /// Where it was published.
    pub fn topic(&self) -> &str {
        &self.message.topic
    }

    /// How long it may wait still, in milliseconds.
    pub fn expires_in_millis(&self) -> Option<u64> {
        self.message.expires_in_millis
    }

    /// Its payload, where that is text.
    pub fn text(&self) -> Option<&str> {
        self.message.payload.as_deref()
    }

    /// Its payload in base64, where that is not.
    pub fn base64(&self) -> Option<&str> {
        self.message.payload_base64.as_deref()
    }
}

/// A retained message; one without a payload says that its topic has none any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetainedLine {
    pub(crate) number: u64,
    pub(crate) message: MessageForm,
}

impl RetainedLine {
    pub(crate) fn read(entry: &Entry, clock: Clock) -> Result<RetainedLine, Problem> {
        let unreadable = |Damaged| Problem::Record { stream: StreamId::RETAINED, number: entry.number };
        let record = MessageRecord::read(&entry.body).map_err(unreadable)?;
        Ok(RetainedLine { number: entry.number, message: MessageForm::tell(record, clock) })
    }
}

/// A named queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedQueueLine {
    pub(crate) number: u64,
    pub(crate) queue: u64,
    topic: String,
    /// How long nobody has used it.
    unused_for_millis: u64,
}

impl NamedQueueLine {
    pub(crate) fn read(entry: &Entry, clock: Clock) -> Result<NamedQueueLine, Problem> {
        let unreadable = |Damaged| Problem::Record { stream: StreamId::QUEUES, number: entry.number };
        let record = QueueRecord::read(&entry.body).map_err(unreadable)?;
        let note = QueueNote::read(&entry.note).map_err(unreadable)?;
        Ok(NamedQueueLine {
            number: entry.number,
            queue: record.queue,
            topic: record.topic.as_str().to_owned(),
            unused_for_millis: clock.now_millis.saturating_sub(note.used_at_millis),
        })
    }

    pub(crate) fn hear(self, clock: Clock) -> Result<(QueueRecord, QueueNote), FormError> {
        let topic = Topic::parse(self.topic.as_bytes()).map_err(|error| FormError::new("topic", error))?;
        if topic.queue_name().is_none_or(str::is_empty) {
            return Err(FormError::new("topic", "a named queue is `$queue/` and its name"));
        }
        let used_at_millis = clock.now_millis.saturating_sub(self.unused_for_millis);
        Ok((QueueRecord { queue: self.queue, topic }, QueueNote { used_at_millis }))
    }
}

/// Which numbers queues may have given, so that none is given again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenLine {
    pub(crate) number: u64,
    sessions: u64,
    groups: u64,
}

impl GivenLine {
    pub(crate) fn read(entry: &Entry) -> Result<GivenLine, Problem> {
        let unreadable = |Damaged| Problem::Record { stream: StreamId::GIVEN, number: entry.number };
        let GivenNote { sessions, groups } = GivenNote::read(&entry.note).map_err(unreadable)?;
        Ok(GivenLine { number: entry.number, sessions, groups })
    }

    pub(crate) fn hear(self) -> Result<GivenNote, FormError> {
        let sessions = form::number("sessions", self.sessions)?;
        Ok(GivenNote { sessions, groups: form::number("groups", self.groups)? })
    }
}

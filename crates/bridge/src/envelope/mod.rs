//! Envelopes: what a forwarded message's payload becomes when the upstream has no place for what the message carries beside it.
//!
//! `json` is an object of this gateway's own with all that is known of the message, `cloud_event` the JSON format of CloudEvents 1.0.2.
//! Both are closed ([`Envelope::seal`]) on the way out and opened ([`Envelope::open`]) on the way in; what is opened is what was closed, as
//! far as docs/reference/envelopes.md says so. A raw payload has no envelope.
//!
//! What comes in is hostile: it is as long as the limit that it was received under at most, is read without recursion that it could
//! deepen, and whatever is not as it should be is an error.

mod cloud_event;
mod content;
mod json;
mod parts;
#[cfg(test)]
mod tests;

pub use cloud_event::CloudEvents;
pub use parts::Parts;

use crate::facts::Facts;
use crate::template::RenderError;
use std::borrow::Cow;

/// The most user properties that an envelope may hold.
const PROPERTIES_MAX: usize = 1_000;

/// The longest name, value or other text in an envelope in bytes, because MQTT writes the length in 16 bits (MQTT 5.0 section 1.5.4).
const TEXT_BYTES_MAX: usize = 65_535;

/// What is around a payload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Envelope {
    /// Nothing.
    #[default]
    Raw,
    /// An object with everything that is known of the message.
    Json {
        /// How a payload stands in it.
        payload: PayloadForm,
    },
    /// An event of CloudEvents 1.0.2 in structured mode.
    CloudEvent(CloudEvents),
}

/// How a payload stands in a JSON envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PayloadForm {
    /// As a string, or as base64 where it is not UTF-8.
    #[default]
    Text,
    /// As JSON where it is an object, an array, a number, a truth value or null; spaces around it are left out. As a string otherwise, so that no
    /// text can be taken for JSON.
    Json,
}

/// Why a message cannot be put into an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// An attribute that the format demands is not known.
    #[error("an event needs the attribute `{0}`")]
    Missing(&'static str),
    /// An attribute holds what the format does not allow in one.
    #[error("the attribute `{attribute}` of an event cannot hold `{}`", .character.escape_debug())]
    Character {
        /// The attribute.
        attribute: &'static str,
        /// What it holds.
        character: char,
    },
    /// The message does not fit the template of an attribute.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The envelope could not be written.
    #[error("the envelope cannot be written as JSON")]
    Json,
}

/// Why bytes are not an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// They are not JSON, or not of the form that was expected.
    #[error("the envelope is not what was expected, at line {line}, column {column}")]
    Form {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// They are of another version of the format.
    #[error("the event is not of version 1.0 of CloudEvents")]
    Version,
    /// A field holds what it cannot hold.
    #[error("`{field}` of the envelope {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Envelope {
    /// The payload that is sent for this message.
    pub fn seal<'p>(&self, facts: &Facts<'p>) -> Result<Cow<'p, [u8]>, SealError> {
        match self {
            Envelope::Raw => Ok(Cow::Borrowed(facts.payload)),
            Envelope::Json { payload } => json::seal(facts, *payload).map(Cow::Owned),
            Envelope::CloudEvent(options) => options.event(facts)?.seal(facts.payload).map(Cow::Owned),
        }
    }

    /// The MIME type of what is sent; nothing where it stays that of the message.
    pub fn content_type(&self) -> Option<&'static str> {
        match self {
            Envelope::Raw => None,
            Envelope::Json { .. } => Some("application/json"),
            Envelope::CloudEvent(_) => Some("application/cloudevents+json; charset=utf-8"),
        }
    }

    /// What was put into an envelope of this kind; nothing where there is none.
    pub fn open(&self, bytes: &[u8]) -> Result<Option<Parts>, OpenError> {
        match self {
            Envelope::Raw => Ok(None),
            Envelope::Json { .. } => json::open(bytes).map(Some),
            Envelope::CloudEvent(_) => cloud_event::open(bytes).map(Some),
        }
    }
}

impl OpenError {
    fn field(field: &'static str, problem: &'static str) -> OpenError {
        OpenError::Field { field, problem }
    }
}

impl From<serde_json::Error> for OpenError {
    /// The words of the parser are left out: they may quote the payload.
    fn from(error: serde_json::Error) -> OpenError {
        OpenError::Form { line: error.line(), column: error.column() }
    }
}

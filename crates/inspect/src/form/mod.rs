//! The forms in which things of a store are told: one JSON object each.
//!
//! What is bytes in a store is text here where it is UTF-8, and base64 in a field of another name where it is not. Moments are told as
//! milliseconds from the moment at which the form was written, so that they mean something in another store.

mod identity;
mod line;
mod message;
mod session;
mod waiting;

pub(crate) use line::{EndLine, FORMAT, Line, StoreLine};
pub(crate) use message::MessageForm;
pub(crate) use session::{SavedLine, SessionLine, SubscriptionLine, WillLine};
pub use waiting::Waiting;
pub(crate) use waiting::{GivenLine, NamedQueueLine, RetainedLine};

use data_encoding::BASE64;
use std::time::Duration;

/// Numbers that are higher leave the gateway none that are higher still.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// A form that says what cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub(crate) struct FormError {
    /// The field.
    pub(crate) field: &'static str,
    /// What is wrong with it.
    pub(crate) problem: String,
}

impl FormError {
    pub(crate) fn new(field: &'static str, problem: impl ToString) -> FormError {
        FormError { field, problem: problem.to_string() }
    }
}

/// The moment of a store at which forms are written or read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) now_millis: u64,
}

impl Clock {
    /// How long it is until a moment; nothing where it has passed.
    fn left(self, at_millis: u64) -> u64 {
        at_millis.saturating_sub(self.now_millis)
    }

    /// The moment that is so far away.
    fn at(self, left_millis: u64) -> u64 {
        self.now_millis.saturating_add(left_millis)
    }
}

/// Bytes as text, or else as base64.
fn told(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

/// The bytes that were told; nothing where neither form is there.
fn heard(
    field: &'static str,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<Vec<u8>>, FormError> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => {
            BASE64.decode(base64.as_bytes()).map(Some).map_err(|error| FormError::new(field, error))
        }
        (Some(_), Some(_)) => Err(FormError::new(field, "there is text and base64")),
    }
}

/// A number that was given to something, here or elsewhere.
pub(crate) fn number(field: &'static str, number: u64) -> Result<u64, FormError> {
    let problem = || FormError::new(field, format_args!("there is no number above {NUMBER_MAX}"));
    (number <= NUMBER_MAX).then_some(number).ok_or_else(problem)
}

/// Milliseconds; nothing for what is longer than they can say.
fn millis(duration: Duration) -> Option<u64> {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).ok()
}

fn duration(millis: Option<u64>) -> Duration {
    millis.map_or(Duration::MAX, Duration::from_millis)
}

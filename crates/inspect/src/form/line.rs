//! One line of an export.

use super::{NamedQueueLine, RetainedLine, SavedLine, SessionLine, SubscriptionLine, Waiting, WillLine};
use serde::{Deserialize, Serialize};

/// The version of the lines.
pub(crate) const FORMAT: u32 = 1;

/// One thing: `{"session": {…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// The first line.
    Store(StoreLine),
    Session(SessionLine),
    Subscription(SubscriptionLine),
    Saved(SavedLine),
    Will(WillLine),
    Queue(NamedQueueLine),
    Retained(RetainedLine),
    Message(Waiting),
}

/// What follows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreLine {
    /// [`FORMAT`].
    pub(crate) format: u32,
}

//! One line of an export.

use super::message::is_default;
use super::{
    GivenLine, NamedQueueLine, RetainedLine, SavedLine, SessionLine, SubscriptionLine, Waiting, WillLine,
};
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
    Given(GivenLine),
    Retained(RetainedLine),
    Message(Waiting),
    /// The last line.
    End(EndLine),
}

/// What follows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreLine {
    /// [`FORMAT`].
    pub(crate) format: u32,
}

/// What says that all of an export is there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndLine {
    /// Lines between the first one and this.
    pub(crate) things: usize,
    /// What the store held and nobody could read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) left_out: usize,
}

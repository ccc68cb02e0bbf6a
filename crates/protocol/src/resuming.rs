//! Subscriptions that can be resumed: a consumer reads a replay ring, and a token names its place in it.
//!
//! The broker keeps the last messages of some topics in rings. A consumer that follows a ring gets them in the ring's order, each
//! with a token. Whoever comes back with the token, on any connection, goes on behind that message, as long as the ring still has what
//! follows. Nothing is kept for the client: the token is the memory.

use crate::ConsumerId;
use std::fmt;
use tidegate_message::{QoS, TopicFilter};

/// Longest text of a token that is looked at; none that the broker makes is longer.
const TOKEN_BYTES_MAX: usize = 80;

/// Lets a consumer follow the replay ring that holds all topics of a filter.
#[derive(Debug, Clone, Copy)]
pub struct Follow<'a> {
    /// The consumer; opened by [`crate::Broker::consume`], and with nothing else to receive.
    pub consumer: ConsumerId,
    /// What it wants.
    pub filter: &'a TopicFilter,
    /// The highest level of its deliveries.
    pub qos_max: QoS,
    /// What it gets before the live messages where it does not continue.
    pub state: StateDelivery,
    /// The token of the last message that the client has, as the client gave it; nothing where it begins.
    pub from: Option<&'a str>,
}

/// What a consumer gets before the live messages when it begins to follow a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateDelivery {
    /// The retained messages that match.
    Retained,
    /// Nothing.
    Nothing,
}

/// The answer to [`Follow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Following {
    /// Where it begins.
    pub start: Start,
    /// Names the place in front of the first delivery: a client that gets none before its connection ends comes back with it.
    pub token: ResumeToken,
}

/// Where a consumer begins to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Now: nothing was asked for.
    Began,
    /// Behind the message that the token names.
    Continued,
    /// Now, because what follows the token's message is gone, or the token means nothing to this process.
    Gap,
}

/// Names a place in a replay ring. Its text is opaque to clients and worth nothing to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResumeToken {
    /// Which run of the gateway it belongs to.
    pub epoch: u64,
    /// Which ring.
    pub ring: u64,
    /// Everything up to this position has been delivered.
    pub position: u64,
    /// Present where the retained messages that stood before this number were not all delivered yet.
    pub state_before: Option<u64>,
}

/// Where a delivery stands, for a consumer that follows a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// What the client comes back with when it has had this delivery.
    pub token: ResumeToken,
    /// Whether messages are missing before it, because the consumer was overtaken or began behind a gap.
    pub is_after_gap: bool,
}

impl ResumeToken {
    /// Reads what a client gives back; nothing where it is no token.
    pub fn parse(text: &str) -> Option<ResumeToken> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut parts = text.split('-');
        let [epoch, ring, position] = [(); 3].map(|()| parts.next()).map(|part| part.and_then(number));
        let state_before = parts.next().map(number);
        let token = ResumeToken {
            epoch: epoch?,
            ring: ring?,
            position: position?,
            state_before: state_before.flatten(),
        };
        let is_whole = parts.next().is_none() && state_before != Some(None);
        is_whole.then_some(token)
    }
}

/// Hexadecimal as [`ResumeToken`] prints it: lower case, without a sign.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}-{:x}-{:x}", self.epoch, self.ring, self.position)?;
        self.state_before.map_or(Ok(()), |number| write!(formatter, "-{number:x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(state_before: Option<u64>) -> ResumeToken {
        ResumeToken { epoch: u64::MAX, ring: 1, position: 0x1f, state_before }
    }

    #[test]
    fn a_printed_token_is_read_back() {
        let printed = token(None).to_string();
        assert_eq!(printed, "ffffffffffffffff-1-1f");
        for state_before in [None, Some(0), Some(u64::MAX)] {
            let longest = ResumeToken { ring: u64::MAX, position: u64::MAX, ..token(state_before) };
            for token in [token(state_before), longest] {
                assert_eq!(ResumeToken::parse(&token.to_string()), Some(token));
            }
        }
    }

    #[test]
    fn what_is_no_token_is_told_from_one() {
        let long = "0".repeat(TOKEN_BYTES_MAX);
        for text in [
            "",
            "-",
            "--",
            "1",
            "1-2",
            "1-2-",
            "1-2-3-",
            "1-2-3-4-5",
            "+1-2-3",
            "1-2-0x3",
            "1-2-g",
            "A-2-3",
            "é-2-3",
            "1--3",
        ] {
            assert_eq!(ResumeToken::parse(text), None, "{text:?}");
        }
        assert_eq!(ResumeToken::parse(&format!("1-2-{long}")), None);
        assert_eq!(ResumeToken::parse("1-2-10000000000000000"), None);
    }
}

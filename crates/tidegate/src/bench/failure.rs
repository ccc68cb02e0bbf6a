//! What can go wrong with one connection.

use std::io;
use tidegate_message::QoS;
use tidegate_mqtt::codec as mqtt;
use tidegate_stomp::codec as stomp;

/// The most characters of a broker's own words that are shown.
const REASON_CHARACTERS_MAX: usize = 200;

/// Why a connection could not be used, or not any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The name of the target means nothing, or the socket could not be connected.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// A worker has no runtime or no timer.
    #[error("a thread cannot work: {0}")]
    Worker(io::Error),
    /// Reading or writing failed.
    #[error("the connection broke: {0}")]
    Socket(io::Error),
    /// An end without a word.
    #[error("the broker closed the connection")]
    Ended,
    /// The broker took too long.
    #[error("no answer to {request} within {seconds} seconds")]
    Silent {
        /// What was asked.
        request: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The broker said no, or goodbye.
    #[error("the broker refused {request}: {reason}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// The broker's words, made harmless by [`harmless`].
        reason: String,
    },
    /// A subscription at a lower level would measure something else.
    #[error("the broker grants QoS {granted} instead of {wanted}")]
    QoS {
        /// What the broker grants.
        granted: QoS,
        /// What the plan asks for.
        wanted: QoS,
    },
    /// The broker's CONNACK forbids what the plan asks for.
    #[error("the broker does not take retained messages")]
    NoRetained,
    /// The target speaks no WebSocket, or not to us.
    #[error("the broker does not speak WebSocket: {0}")]
    NoWebSocket(String),
    /// Bytes that are no MQTT.
    #[error("the broker sent malformed MQTT: {0}")]
    MqttDecode(#[from] mqtt::DecodeError),
    /// The plan cannot be said in MQTT.
    #[error("cannot be said in MQTT: {0}")]
    MqttEncode(#[from] mqtt::EncodeError),
    /// Bytes that are no STOMP.
    #[error("the broker sent malformed STOMP: {0}")]
    StompDecode(#[from] stomp::DecodeError),
    /// The plan cannot be said in STOMP.
    #[error("cannot be said in STOMP: {0}")]
    StompEncode(#[from] stomp::EncodeError),
    /// A packet that only clients send.
    #[error("the broker sent {0}, which only clients send")]
    Unexpected(&'static str),
}

/// Words of a broker as they can be shown: cut off, and without characters that a terminal would obey.
pub(crate) fn harmless(words: &str) -> String {
    words.chars().take(REASON_CHARACTERS_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_broker_cannot_drive_the_terminal() {
        assert_eq!(harmless("not now\u{1b}[2J"), "not now\\u{1b}[2J");
        assert_eq!(harmless(&"x".repeat(1000)).len(), REASON_CHARACTERS_MAX);
    }
}

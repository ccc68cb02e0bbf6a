//! What a listener may set for MQTT, with its defaults, limits and the sentences for what is wrong.
//!
//! Each option is a limit on what one client can make the gateway hold. Nothing here knows the configuration file: the
//! values come through serde, and the complaints go back as option name and sentence.

use serde::Deserialize;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;
use tidegate_message::{ByteSize, TimeSpan};

/// The names that may stand in a listener's `mqtt` table, in the order of the reference page.
pub const OPTION_NAMES: &[&str] = &[
    "max_packet_size",
    "connect_packet_size",
    "max_inflight",
    "ack_timeout",
    "receive_maximum",
    "receive_maximum_policy",
    "topic_alias_max",
    "topic_alias_max_outgoing",
    "keep_alive_max",
    "response_information",
    "check_payload_format",
    "denied_publish",
];

/// What the largest packet may be set to, in bytes. Below, an ordinary CONNECT has no room; above is more than MQTT can express: a
/// fixed header of 5 bytes and 268 435 455 bytes behind it (section 2.1.4).
const PACKET_BYTES: RangeInclusive<u64> = 256..=268_435_460;

/// The keep alives that a client can be told, in seconds: two bytes on the wire, of which 0 means none (section 3.1.2.10).
const KEEP_ALIVE_SECONDS: RangeInclusive<u64> = 1..=65_535;

/// What `ack_timeout` may be, in milliseconds: below, an ordinary round trip would be too long; above is no limit any more.
const ACK_TIMEOUT_MILLISECONDS: RangeInclusive<u64> = 1_000..=7 * 86_400_000;

/// The longest response information in bytes, before a client's identifier is put in.
const RESPONSE_INFORMATION_BYTES_MAX: usize = 1024;

/// What happens to an MQTT 5.0 client that has more messages unacknowledged than its listener's `receive_maximum` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiveMaximumPolicy {
    /// It is disconnected with the reason code 0x93 (section 4.9).
    Strict,
    /// Its messages are taken, and it is read from more slowly.
    Lenient,
}

/// The options of MQTT on one listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttOptions {
    /// The largest packet that a client may send, in bytes, fixed header included; announced to MQTT 5.0 clients.
    /// 256 to 268 435 460 bytes, default 1 MiB.
    pub max_packet_size: ByteSize,
    /// The largest packet that a client may send before it is let in, in bytes, fixed header included: what somebody whom nobody
    /// knows can make the gateway hold. [`MqttOptions::max_packet_size`] holds beside it. 256 to 268 435 460 bytes, default 128 KiB.
    pub connect_packet_size: ByteSize,
    /// The most messages with QoS 1 and 2 that are sent to one client before it acknowledges; an MQTT 5.0 client may ask
    /// for fewer with its receive maximum. 1 to 65 535, default 1024.
    pub max_inflight: u32,
    /// How long a client may leave a message unacknowledged: the time from PUBLISH to PUBACK or PUBREC, and from PUBREL to
    /// PUBCOMP. A client that takes longer is disconnected, and what it has not acknowledged goes back to its session. 1 second
    /// to 7 days; default: as long as it likes.
    pub ack_timeout: Option<TimeSpan>,
    /// The most messages with QoS 1 and 2 that an MQTT 5.0 client may have unacknowledged on its way to the gateway;
    /// announced to it. 1 to 65 535, default 1024.
    pub receive_maximum: u32,
    /// What happens to a client that has more messages on their way than that: `strict` disconnects it, `lenient` reads
    /// from it ten times a second at most. Default `strict`.
    pub receive_maximum_policy: ReceiveMaximumPolicy,
    /// The highest topic alias that an MQTT 5.0 client may use; 0 allows none. Each alias can hold a topic in memory for as
    /// long as its connection lasts. Default 16.
    pub topic_alias_max: u16,
    /// The highest topic alias that the gateway uses towards an MQTT 5.0 client that allows as many; 0 uses none. Each alias can
    /// hold a topic in memory for as long as the connection lasts. Default 16.
    pub topic_alias_max_outgoing: u16,
    /// The longest keep alive: an MQTT 5.0 client that asks for more, or for none, is told this one. A client of MQTT 3.1.1
    /// cannot be told and keeps its own. Whole seconds, 1 to 65 535 of them; default: no limit.
    pub keep_alive_max: Option<TimeSpan>,
    /// What an MQTT 5.0 client is told that asks for Response Information: the topic below which it may wait for answers. `%c` stands for
    /// its client identifier; a client whose identifier has `/`, `+` or `#` in it is then told nothing. Default: nobody is told anything.
    pub response_information: Option<String>,
    /// Whether payloads that MQTT 5.0 clients call text are checked to be UTF-8; what is not is refused with the reason code 0x99.
    /// Default false.
    pub check_payload_format: bool,
    /// What follows a message with QoS 1 or 2 to a topic to which the client may not publish, where its version has no word for it (MQTT
    /// 3.1.1 and older; an MQTT 5.0 client is told). Default: the end of the connection.
    pub denied_publish: DeniedPublish,
}

/// What a client of MQTT 3.1.1 meets that publishes where it may not ([MQTT-3.1.1/3.3.5-2]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeniedPublish {
    /// The connection ends: no acknowledgement without a message that was routed.
    #[default]
    Disconnect,
    /// The message is acknowledged and dropped, as most brokers do.
    Acknowledge,
}

impl Default for MqttOptions {
    fn default() -> MqttOptions {
        MqttOptions {
            max_packet_size: ByteSize::from_bytes(1 << 20),
            connect_packet_size: ByteSize::from_bytes(128 << 10),
            max_inflight: 1024,
            ack_timeout: None,
            receive_maximum: 1024,
            receive_maximum_policy: ReceiveMaximumPolicy::Strict,
            topic_alias_max: 16,
            topic_alias_max_outgoing: 16,
            keep_alive_max: None,
            response_information: None,
            check_payload_format: false,
            denied_publish: DeniedPublish::Disconnect,
        }
    }
}

impl MqttOptions {
    /// What is wrong with the values: option name and sentence, without a full stop. Empty when all is well.
    pub fn validate(&self) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        let sizes =
            [("max_packet_size", self.max_packet_size), ("connect_packet_size", self.connect_packet_size)];
        for (key, size) in sizes.into_iter().filter(|(_, size)| !PACKET_BYTES.contains(&size.bytes())) {
            findings.push(out_of_range(key, size, "256 to 268435460 bytes"));
        }
        for (key, count) in [("max_inflight", self.max_inflight), ("receive_maximum", self.receive_maximum)] {
            if !(1..=65_535).contains(&count) {
                findings.push(out_of_range(key, count, "1 to 65535"));
            }
        }
        if let Some(time) = self.keep_alive_max.filter(|time| !is_keep_alive(*time)) {
            findings.push(out_of_range("keep_alive_max", time, "1 to 65535 whole seconds"));
        }
        if let Some(time) =
            self.ack_timeout.filter(|time| !ACK_TIMEOUT_MILLISECONDS.contains(&time.milliseconds()))
        {
            findings.push(out_of_range("ack_timeout", time, "1s to 7d"));
        }
        if let Some(text) = &self.response_information {
            findings
                .extend(check_response_information(text).map(|found| ("response_information", found.into())));
        }
        findings
    }

    /// [`MqttOptions::max_inflight`] as the number that the protocol counts in.
    pub(crate) fn in_flight_max(&self) -> u16 {
        u16::try_from(self.max_inflight).unwrap_or(u16::MAX).max(1)
    }

    /// [`MqttOptions::receive_maximum`] as the number that the protocol counts in.
    pub(crate) fn receive_max(&self) -> u16 {
        u16::try_from(self.receive_maximum).unwrap_or(u16::MAX).max(1)
    }

    /// [`MqttOptions::keep_alive_max`] as the number that the protocol counts in.
    pub(crate) fn keep_alive_seconds_max(&self) -> Option<u16> {
        let seconds = self.keep_alive_max?.milliseconds() / 1_000;
        Some(u16::try_from(seconds).unwrap_or(u16::MAX).max(1))
    }

    /// [`MqttOptions::ack_timeout`] as a duration.
    pub(crate) fn ack_time(&self) -> Option<Duration> {
        self.ack_timeout.map(TimeSpan::duration)
    }

    /// What a packet may have before the client is let in, in bytes.
    pub(crate) fn connect_packet_limit(&self) -> usize {
        self.connect_packet_size.bytes().min(self.packet_limit() as u64) as usize
    }

    /// [`MqttOptions::max_packet_size`] as the codec takes it, in bytes.
    pub(crate) fn packet_limit(&self) -> usize {
        self.max_packet_size.bytes().min(*PACKET_BYTES.end()) as usize
    }
}

fn is_keep_alive(time: TimeSpan) -> bool {
    time.milliseconds().is_multiple_of(1_000) && KEEP_ALIVE_SECONDS.contains(&(time.milliseconds() / 1_000))
}

/// It is to become the beginning of a topic.
fn check_response_information(text: &str) -> Option<&'static str> {
    if text.is_empty() || text.len() > RESPONSE_INFORMATION_BYTES_MAX {
        return Some("it must have 1 to 1024 bytes");
    }
    if text.contains(['+', '#', '\0']) {
        return Some("it is the beginning of a topic, which has neither `+` nor `#` nor U+0000");
    }
    match text.replace("%c", "").contains('%') {
        true => Some("after `%` only `c`, the client identifier, is known"),
        false => None,
    }
}

fn out_of_range(key: &'static str, value: impl Display, range: &str) -> (&'static str, String) {
    (key, format!("{value} is out of range: it must be {range}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MqttOptions, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn sizes_and_times_are_text_with_a_unit() {
        let options = read(r#"{"max_packet_size": "64KiB", "keep_alive_max": "5m"}"#).unwrap();
        assert_eq!(options.max_packet_size, ByteSize::from_bytes(65_536));
        assert_eq!(options.keep_alive_max, Some(TimeSpan::from_milliseconds(300_000)));
        assert_eq!((options.packet_limit(), options.keep_alive_seconds_max()), (65_536, Some(300)));
        assert_eq!(read("{}").unwrap(), MqttOptions::default());
    }

    #[test]
    fn unknown_names_and_bare_numbers_are_errors() {
        for (text, complaint) in [
            (r#"{"max_packet_sise": "1B"}"#, "unknown field `max_packet_sise`"),
            (r#"{"max_packet_size": 70000}"#, "a unit is missing: one of B, kB"),
            (r#"{"max_packet_size": -1}"#, "must not be negative"),
            (r#"{"max_packet_size": "64 KiB"}"#, "unknown unit"),
            (r#"{"keep_alive_max": 30}"#, "for example \"30s\""),
            (r#"{"denied_publish": "ack"}"#, "unknown variant `ack`, expected `disconnect` or `acknowledge`"),
            (r#"{"keep_alive_max": "30"}"#, "a unit is missing: one of ms, s"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        let options = MqttOptions {
            max_packet_size: ByteSize::from_bytes(10),
            connect_packet_size: ByteSize::from_bytes(10),
            max_inflight: 0,
            ack_timeout: Some(TimeSpan::from_milliseconds(999)),
            receive_maximum: 65_536,
            receive_maximum_policy: ReceiveMaximumPolicy::Lenient,
            topic_alias_max: 0,
            topic_alias_max_outgoing: 0,
            keep_alive_max: Some(TimeSpan::from_milliseconds(0)),
            response_information: Some("answers/%d".into()),
            check_payload_format: true,
            denied_publish: DeniedPublish::Disconnect,
        };
        let keys: Vec<_> = options.validate().into_iter().map(|(key, _)| key).collect();
        let wrong =
            ["max_packet_size", "connect_packet_size", "max_inflight", "receive_maximum", "keep_alive_max"];
        assert_eq!(keys, [&wrong[..], &["ack_timeout", "response_information"]].concat());
        assert!(keys.iter().all(|key| OPTION_NAMES.contains(key)));
        assert_eq!(MqttOptions::default().validate(), []);
    }

    #[test]
    fn response_information_is_the_beginning_of_a_topic() {
        for (text, is_right) in [
            ("answers", true),
            ("answers/%c/", true),
            ("%c%c", true),
            ("", false),
            ("a/+", false),
            ("a/#", false),
            ("a\0", false),
            ("100%", false),
            ("%u", false),
            (&"a".repeat(1025), false),
        ] {
            let options = MqttOptions { response_information: Some(text.into()), ..MqttOptions::default() };
            assert_eq!(options.validate().is_empty(), is_right, "{text}");
        }
    }

    #[test]
    fn the_policy_is_a_word() {
        let options = read(r#"{"receive_maximum_policy": "lenient", "ack_timeout": "30s"}"#).unwrap();
        assert_eq!(options.receive_maximum_policy, ReceiveMaximumPolicy::Lenient);
        assert_eq!(options.ack_time(), Some(Duration::from_secs(30)));
        assert!(read(r#"{"receive_maximum_policy": "soft"}"#).is_err());
    }

    /// Section 3.1.2.10: the keep alive is a number of seconds in two bytes.
    #[test]
    fn keep_alive_is_whole_seconds_in_two_bytes() {
        for (text, is_right) in
            [("1s", true), ("65535s", true), ("1500ms", false), ("65536s", false), ("1d", false)]
        {
            let options = MqttOptions { keep_alive_max: text.parse().ok(), ..MqttOptions::default() };
            let expected = format!("{text} is out of range: it must be 1 to 65535 whole seconds");
            let expected = if is_right { vec![] } else { vec![("keep_alive_max", expected)] };
            assert_eq!(options.validate(), expected);
        }
    }
}

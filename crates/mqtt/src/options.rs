//! What a listener may set for MQTT, with its defaults, limits and the sentences for what is wrong.
//!
//! Each option is a limit on what one client can make the gateway hold. Nothing here knows the configuration file: the
//! values come through serde, and the complaints go back as option name and sentence.

use serde::Deserialize;
use std::fmt::Display;
use std::ops::RangeInclusive;
use tidegate_message::{ByteSize, TimeSpan};

/// The names that may stand in a listener's `mqtt` table, in the order of the reference page.
pub const OPTION_NAMES: &[&str] =
    &["max_packet_size", "max_inflight", "receive_maximum", "topic_alias_max", "keep_alive_max"];

/// What the largest packet may be set to, in bytes. Below, an ordinary CONNECT has no room; above is more than MQTT can express: a
/// fixed header of 5 bytes and 268 435 455 bytes behind it (section 2.1.4).
const PACKET_BYTES: RangeInclusive<u64> = 256..=268_435_460;

/// The keep alives that a client can be told, in seconds: two bytes on the wire, of which 0 means none (section 3.1.2.10).
const KEEP_ALIVE_SECONDS: RangeInclusive<u64> = 1..=65_535;

/// The options of MQTT on one listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttOptions {
    /// The largest packet that a client may send, in bytes, fixed header included; announced to MQTT 5.0 clients.
    /// 256 to 268 435 460 bytes, default 1 MiB.
    pub max_packet_size: ByteSize,
    /// The most messages with QoS 1 and 2 that are sent to one client before it acknowledges; an MQTT 5.0 client may ask
    /// for fewer with its receive maximum. 1 to 65 535, default 1024.
    pub max_inflight: u32,
    /// The most messages with QoS 1 and 2 that an MQTT 5.0 client may have unacknowledged on its way to the gateway;
    /// announced to it. 1 to 65 535, default 1024.
    pub receive_maximum: u32,
    /// The highest topic alias that an MQTT 5.0 client may use; 0 allows none. Each alias can hold a topic in memory for as
    /// long as its connection lasts. Default 16.
    pub topic_alias_max: u16,
    /// The longest keep alive: an MQTT 5.0 client that asks for more, or for none, is told this one. A client of MQTT 3.1.1
    /// cannot be told and keeps its own. Whole seconds, 1 to 65 535 of them; default: no limit.
    pub keep_alive_max: Option<TimeSpan>,
}

impl Default for MqttOptions {
    fn default() -> MqttOptions {
        MqttOptions {
            max_packet_size: ByteSize::from_bytes(1 << 20),
            max_inflight: 1024,
            receive_maximum: 1024,
            topic_alias_max: 16,
            keep_alive_max: None,
        }
    }
}

impl MqttOptions {
    /// What is wrong with the values: option name and sentence, without a full stop. Empty when all is well.
    pub fn validate(&self) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        let size = self.max_packet_size;
        if !PACKET_BYTES.contains(&size.bytes()) {
            findings.push(out_of_range("max_packet_size", size, "256 to 268435460 bytes"));
        }
        for (key, count) in [("max_inflight", self.max_inflight), ("receive_maximum", self.receive_maximum)] {
            if !(1..=65_535).contains(&count) {
                findings.push(out_of_range(key, count, "1 to 65535"));
            }
        }
        if let Some(time) = self.keep_alive_max.filter(|time| !is_keep_alive(*time)) {
            findings.push(out_of_range("keep_alive_max", time, "1 to 65535 whole seconds"));
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

    /// [`MqttOptions::max_packet_size`] as the codec takes it, in bytes.
    pub(crate) fn packet_limit(&self) -> usize {
        self.max_packet_size.bytes().min(*PACKET_BYTES.end()) as usize
    }
}

fn is_keep_alive(time: TimeSpan) -> bool {
    time.milliseconds().is_multiple_of(1_000) && KEEP_ALIVE_SECONDS.contains(&(time.milliseconds() / 1_000))
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
            max_inflight: 0,
            receive_maximum: 65_536,
            topic_alias_max: 0,
            keep_alive_max: Some(TimeSpan::from_milliseconds(0)),
        };
        let keys: Vec<_> = options.validate().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["max_packet_size", "max_inflight", "receive_maximum", "keep_alive_max"]);
        assert!(keys.iter().all(|key| OPTION_NAMES.contains(key)));
        assert_eq!(MqttOptions::default().validate(), []);
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

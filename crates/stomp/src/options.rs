//! The options of a STOMP listener, under `stomp = { … }` in its section.

use crate::codec::{FrameLimits, Version};
use crate::names::{Names, TopicSeparator};
use crate::reason::Fault;
use crate::transactions::TransactionLimits;
use crate::virtual_host::{self, VirtualHost};
use serde::Deserialize;
use tidegate_message::{ByteSize, TimeSpan};

/// The smallest head that an ordinary client needs.
const HEAD_SIZE_MIN: ByteSize = ByteSize::from_bytes(1 << 10);

/// The largest body or head that can be configured.
const SIZE_MAX: ByteSize = ByteSize::from_bytes(1 << 30);

/// The longest heart-beat interval that can be configured: a day.
const HEART_BEAT_MAX: TimeSpan = TimeSpan::from_milliseconds(24 * 60 * 60 * 1_000);

/// The shortest heart-beat interval that can be configured: below, timers cost more than they tell.
const HEART_BEAT_MIN: TimeSpan = TimeSpan::from_milliseconds(100);

/// The shortest time for which a durable subscription can be kept: below, it would be none.
const DURABLE_EXPIRY_MIN: TimeSpan = TimeSpan::from_milliseconds(1_000);

/// The heart-beat interval that means: no heart-beats.
const NEVER: TimeSpan = TimeSpan::from_milliseconds(0);

/// What a STOMP listener allows and promises. A table without a key keeps that key's default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StompOptions {
    /// The largest body of a frame. Default 1 MiB.
    pub max_body_size: ByteSize,
    /// The largest head of a frame, command and all headers. Default 64 KiB.
    pub max_head_size: ByteSize,
    /// The longest header line. Default 16 KiB.
    pub max_header_line_size: ByteSize,
    /// How many headers a frame may have. Default 100.
    pub max_headers: usize,
    /// How many subscriptions a connection may have at a time. Default 1000.
    pub max_subscriptions: usize,
    /// How many transactions a connection may have open at a time. Default 100.
    pub max_transactions: usize,
    /// How many frames the open transactions of a connection may hold together. Default 10000.
    pub max_transaction_frames: usize,
    /// How many bytes they may hold together, headers included. Default 16 MiB.
    pub max_transaction_size: ByteSize,
    /// How many messages a subscription with `ack:client` or `ack:client-individual` gets before it has acknowledged some of them, where
    /// its `prefetch-count` header does not say. Default 100.
    pub prefetch_count: u32,
    /// The highest `prefetch-count` that a subscription gets. Default 1000.
    pub max_prefetch_count: u32,
    /// The shortest interval at which the server sends heart-beats; a client may ask for a longer one. `"0s"`: never. Default 1 s.
    pub heart_beat_outgoing: TimeSpan,
    /// The interval at which the server wants heart-beats; a client may offer a longer one. `"0s"`: none wanted. Default 10 s.
    pub heart_beat_incoming: TimeSpan,
    /// How long a durable subscription is kept while nobody has it open; `limits.session_expiry_max` may shorten it. Default 7 days.
    pub durable_expiry: TimeSpan,
    /// What stands between the levels of a topic in `/topic/…`. Default `/`.
    pub topic_separator: TopicSeparator,
    /// The virtual hosts that a client may name. Default: none, and any host will do.
    pub virtual_hosts: Vec<VirtualHost>,
}

impl StompOptions {
    /// The names of all options, as they stand in the file.
    pub const OPTION_NAMES: &'static [&'static str] = &[
        "max_body_size",
        "max_head_size",
        "max_header_line_size",
        "max_headers",
        "max_subscriptions",
        "max_transactions",
        "max_transaction_frames",
        "max_transaction_size",
        "prefetch_count",
        "max_prefetch_count",
        "heart_beat_outgoing",
        "heart_beat_incoming",
        "durable_expiry",
        "topic_separator",
        "virtual_hosts",
    ];

    /// Everything that makes no sense: the option's name and a sentence without a full stop. Empty when all is well.
    pub fn validate(&self) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        let mut require = |holds: bool, key, message: String| match holds {
            true => {}
            false => findings.push((key, message)),
        };
        let at_least_one = || "must be at least 1".to_owned();
        let head_limit = self.max_head_size;
        let at_most = || format!("must be at most {SIZE_MAX}");
        require(self.max_body_size <= SIZE_MAX, "max_body_size", at_most());
        require(head_limit >= HEAD_SIZE_MIN, "max_head_size", format!("must be at least {HEAD_SIZE_MIN}"));
        require(head_limit <= SIZE_MAX, "max_head_size", at_most());
        require(
            (ByteSize::from_bytes(1)..=head_limit).contains(&self.max_header_line_size),
            "max_header_line_size",
            format!("must be between 1B and `max_head_size` ({head_limit})"),
        );
        require(self.max_headers > 0, "max_headers", at_least_one());
        require(self.max_subscriptions > 0, "max_subscriptions", at_least_one());
        require(self.max_transactions > 0, "max_transactions", at_least_one());
        require(self.max_transaction_frames > 0, "max_transaction_frames", at_least_one());
        require(self.max_transaction_size <= SIZE_MAX, "max_transaction_size", at_most());
        require(self.max_prefetch_count > 0, "max_prefetch_count", at_least_one());
        require(
            (1..=self.max_prefetch_count).contains(&self.prefetch_count),
            "prefetch_count",
            format!("must be between 1 and `max_prefetch_count` ({})", self.max_prefetch_count),
        );
        let lasts = self.durable_expiry >= DURABLE_EXPIRY_MIN;
        require(lasts, "durable_expiry", format!("must be at least {DURABLE_EXPIRY_MIN}"));
        for (key, interval) in [
            ("heart_beat_outgoing", self.heart_beat_outgoing),
            ("heart_beat_incoming", self.heart_beat_incoming),
        ] {
            require(interval <= HEART_BEAT_MAX, key, format!("must be at most {HEART_BEAT_MAX}"));
            let pause = interval == NEVER || interval >= HEART_BEAT_MIN;
            require(pause, key, format!("must be \"{NEVER}\" or at least {HEART_BEAT_MIN}"));
        }
        findings.extend(
            virtual_host::find_mistake(&self.virtual_hosts).map(|message| ("virtual_hosts", message)),
        );
        findings
    }

    /// The names of a client that says this `host`.
    pub(crate) fn names_at(&self, version: Version, host: Option<&str>) -> Result<Names, Fault> {
        let root = virtual_host::root_of(&self.virtual_hosts, host)?;
        Ok(Names::new(version, self.topic_separator, root.map(Box::from)))
    }

    /// What transactions may hold.
    pub(crate) fn transaction_limits(&self) -> TransactionLimits {
        TransactionLimits {
            transactions: self.max_transactions,
            frames: self.max_transaction_frames,
            bytes: bytes(self.max_transaction_size),
        }
    }

    /// The limits for the decoder.
    pub(crate) fn frame_limits(&self) -> FrameLimits {
        FrameLimits {
            head_bytes: bytes(self.max_head_size),
            header_line_bytes: bytes(self.max_header_line_size),
            headers: self.max_headers,
            body_bytes: bytes(self.max_body_size),
        }
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}

impl Default for StompOptions {
    fn default() -> StompOptions {
        StompOptions {
            max_body_size: ByteSize::from_bytes(1 << 20),
            max_head_size: ByteSize::from_bytes(64 << 10),
            max_header_line_size: ByteSize::from_bytes(16 << 10),
            max_headers: 100,
            max_subscriptions: 1_000,
            max_transactions: 100,
            max_transaction_frames: 10_000,
            max_transaction_size: ByteSize::from_bytes(16 << 20),
            prefetch_count: 100,
            max_prefetch_count: 1_000,
            heart_beat_outgoing: TimeSpan::from_milliseconds(1_000),
            heart_beat_incoming: TimeSpan::from_milliseconds(10_000),
            durable_expiry: TimeSpan::from_milliseconds(7 * 24 * 60 * 60 * 1_000),
            topic_separator: TopicSeparator::Slash,
            virtual_hosts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default_and_valid() {
        let options: StompOptions = toml::from_str("").unwrap();
        assert_eq!(options, StompOptions::default());
        assert_eq!(options.validate(), []);
    }

    #[test]
    fn sizes_and_times_are_text_with_a_unit() {
        let options: StompOptions =
            toml::from_str("max_head_size = \"2KiB\"\nheart_beat_incoming = \"1m\"").unwrap();
        assert_eq!(options.frame_limits().head_bytes, 2_048);
        assert_eq!(options.heart_beat_incoming, TimeSpan::from_milliseconds(60_000));
        for (text, complaint) in [
            ("max_body_size = 5", "for example \"5B\""),
            ("max_body_size = -1", "must not be negative"),
            ("max_body_size = \"5\"", "a unit is missing: one of B, kB"),
            ("heart_beat_incoming = 5", "for example \"5s\""),
            ("unknown = 1", "unknown field `unknown`"),
        ] {
            let error = toml::from_str::<StompOptions>(text).unwrap_err();
            assert!(error.message().contains(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn every_option_is_listed_by_its_name() {
        for name in StompOptions::OPTION_NAMES {
            let error = toml::from_str::<StompOptions>(&format!("{name} = {{ x = 1 }}")).unwrap_err();
            assert!(!error.to_string().contains("unknown field"), "{name}");
        }
        let error = toml::from_str::<StompOptions>("other = 1").unwrap_err().to_string();
        let known = error.matches('`').count() / 2 - 1;
        assert!(known >= StompOptions::OPTION_NAMES.len(), "an option is not listed: {error}");
    }

    #[test]
    fn validation_names_every_option_that_makes_no_sense() {
        let options = StompOptions {
            max_body_size: ByteSize::from_bytes(2 << 30),
            max_head_size: ByteSize::from_bytes(10),
            max_header_line_size: ByteSize::from_bytes(11),
            max_headers: 0,
            max_subscriptions: 0,
            max_transactions: 0,
            max_transaction_frames: 0,
            max_transaction_size: ByteSize::from_bytes(2 << 30),
            prefetch_count: 1,
            max_prefetch_count: 0,
            heart_beat_outgoing: TimeSpan::from_milliseconds(1),
            heart_beat_incoming: TimeSpan::from_milliseconds(90_000_000),
            durable_expiry: TimeSpan::from_milliseconds(999),
            topic_separator: TopicSeparator::Dot,
            virtual_hosts: vec![VirtualHost { host: "h".into(), root: "#".into() }],
        };
        let keys: Vec<&str> = options.validate().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "max_body_size",
                "max_head_size",
                "max_header_line_size",
                "max_headers",
                "max_subscriptions",
                "max_transactions",
                "max_transaction_frames",
                "max_transaction_size",
                "max_prefetch_count",
                "prefetch_count",
                "durable_expiry",
                "heart_beat_outgoing",
                "heart_beat_incoming",
                "virtual_hosts"
            ]
        );
    }
}

//! Bridges to Kafka, as the file has them.
//!
//! The kind is known to every gateway, so that a file means the same everywhere. Its client library is C, which a build without the feature
//! `kafka` leaves out: such a gateway refuses the bridge and says why.

#[cfg(feature = "kafka")]
mod upstream;

#[cfg(feature = "kafka")]
pub(super) use upstream::make;

/// The keys that this kind knows of those that not every kind does.
pub(super) const KEYS: &[&str] = &[
    "client_id",
    "sasl",
    "compression",
    "session_timeout",
    "topic",
    "key",
    "partition",
    "headers",
    "topics",
    "group",
    "start",
];

/// Says what is missing.
#[cfg(not(feature = "kafka"))]
pub(super) fn make(_: &tidegate_config::Bridge, _: &str) -> super::kinds::Made {
    let way =
        "build it with `cargo build --release`, or with `--features kafka` behind `--no-default-features`";
    let refused = super::kinds::wrong("kind", "this gateway was built without bridges to Kafka");
    Err(vec![tidegate_config::BridgeError { suggestion: Some(way.to_owned()), ..refused }])
}

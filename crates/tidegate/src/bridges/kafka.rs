//! Bridges to Kafka, as the file has them.
//!
//! The kind is known to every gateway, so that a file means the same everywhere. Its client library is C, which a build without the feature
//! `kafka` leaves out: such a gateway refuses the bridge and says why.

use super::kinds::{Made, wrong};
use tidegate_config::{Bridge, BridgeError};

#[cfg(feature = "kafka")]
mod upstream;

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

/// Makes a bridge where the client library is there.
type Make = fn(&Bridge, node: &str) -> Made;

#[cfg(feature = "kafka")]
const MAKE: Option<Make> = Some(upstream::make);
#[cfg(not(feature = "kafka"))]
const MAKE: Option<Make> = None;

pub(super) fn make(bridge: &Bridge, node: &str) -> Made {
    make_with(MAKE, bridge, node)
}

/// Says what is missing where nothing can make it.
fn make_with(make: Option<Make>, bridge: &Bridge, node: &str) -> Made {
    make.map_or_else(|| Err(vec![left_out()]), |make| make(bridge, node))
}

fn left_out() -> BridgeError {
    let way =
        "build it with `cargo build --release`, or with `--features kafka` behind `--no-default-features`";
    let refused = wrong("kind", "this gateway was built without bridges to Kafka");
    BridgeError { suggestion: Some(way.to_owned()), ..refused }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::SystemTime;
    use tidegate_config::{BridgeEntry, EMBEDDED, Loaded, Registry, Report, Sources, load};

    /// Reads the example that a user starts from.
    fn example(check: fn(&Bridge, node: &str) -> Vec<BridgeError>) -> Result<Loaded, Report> {
        let entry = BridgeEntry { kind: "kafka", keys: KEYS, check };
        let registry = Registry { bridges: vec![entry], ..crate::registry::for_configuration() };
        load(&Sources {
            file: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/bridge-kafka.toml")),
            embedded: EMBEDDED,
            environment: Vec::new(),
            overrides: Vec::new(),
            registry: &registry,
            now: SystemTime::now(),
        })
    }

    #[test]
    fn a_gateway_without_the_client_library_says_at_which_line_it_refuses_and_what_helps() {
        let refused = example(|bridge, node| make_with(None, bridge, node).err().unwrap_or_default());
        let report = refused.err().unwrap().to_string();
        for words in
            ["bridge-kafka.toml:17:", "this gateway was built without bridges to Kafka", "--features kafka"]
        {
            assert!(report.contains(words), "{words}: {report}");
        }
        assert_eq!(report.matches("error: ").count(), 1, "{report}");
    }

    /// As this test was built: `cargo test --package tidegate --no-default-features --bins` is the other way.
    #[test]
    fn a_bridge_is_refused_exactly_where_the_client_library_is_left_out() {
        let made = example(|bridge, node| make(bridge, node).err().unwrap_or_default());
        assert_eq!(made.is_ok(), cfg!(feature = "kafka"));
    }
}

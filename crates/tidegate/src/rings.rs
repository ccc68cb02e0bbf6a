//! The replay rings of the configuration, as the broker takes them.

use tidegate_broker::RingOptions;
use tidegate_config::Replay;
use tidegate_message::{FilterError, TopicFilter};

/// The rings in the order in which they are asked for a topic.
pub(crate) fn ring_options(rings: &[Replay]) -> Result<Vec<RingOptions>, FilterError> {
    rings.iter().map(ring).collect()
}

fn ring(written: &Replay) -> Result<RingOptions, FilterError> {
    let filters = written.topics.iter().map(|text| TopicFilter::parse_mqtt(text.as_bytes()));
    Ok(RingOptions {
        topics: filters.collect::<Result<_, _>>()?,
        messages_max: written.messages,
        bytes_max: usize::try_from(written.bytes.bytes()).unwrap_or(usize::MAX),
    })
}

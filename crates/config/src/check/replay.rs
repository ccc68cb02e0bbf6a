//! The replay rings among each other: topics that another ring has already.
//!
//! A ring that never gets a message breaks nothing, but its author meant something by it, so it is a warning.

use tidegate_message::TopicFilter;

use crate::diagnostic::quoted;
use crate::findings::{Findings, Part, item, join};
use crate::schema::Config;

/// Pairs of filters that are compared: enough for a few hundred filters, and nobody waits for a file with more.
const COMPARISONS_MAX: usize = 200_000;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let mut in_front: Vec<(TopicFilter, String)> = Vec::new();
    let mut comparisons = 0;
    for (index, ring) in config.rings.iter().enumerate() {
        let path = item("replay", index);
        let topics = join(&path, "topics");
        if ring.topics.is_empty() && !findings.is_reported(&topics) {
            let suggestion = Some("write `topics = [\"#\"]` for all topics".to_owned());
            findings.error(
                &topics,
                Part::Value,
                "`topics` is empty: the ring would hold nothing",
                suggestion,
            );
        }
        for (at, text) in ring.topics.iter().enumerate() {
            let Ok(filter) = TopicFilter::parse_mqtt(text.as_bytes()) else { continue };
            comparisons += in_front.len();
            if comparisons > COMPARISONS_MAX {
                return;
            }
            let first = in_front.iter().find(|(known, _)| known.covers(&filter));
            if let Some((_, other)) = first {
                let note = findings.line_note(other);
                let message =
                    format!("{} holds nothing: an earlier ring{note} has these topics", quoted(text));
                let suggestion =
                    "the first ring that has a topic keeps it: put the more special one first".to_owned();
                findings.warning(&item(&topics, at), message, Some(suggestion));
            }
            in_front.push((filter, path.clone()));
        }
    }
}

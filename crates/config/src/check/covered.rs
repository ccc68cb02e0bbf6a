//! Lists of topics of which the first that has a topic counts: what an earlier one has taken.
//!
//! A filter that is never asked breaks nothing, but its author meant something by it, so it is a warning.

use tidegate_message::TopicFilter;

use crate::findings::{Findings, Part, item, join};

/// Pairs of filters that are compared: enough for a few hundred filters, and nobody waits for a file with more.
const COMPARISONS_MAX: usize = 200_000;

/// What is said of such lists.
pub(super) struct Words {
    /// Of a list without topics.
    pub(super) empty: &'static str,
    /// Of a filter, and the place of the list that is in front.
    pub(super) covered: fn(&str, &str) -> String,
    /// What to do about it.
    pub(super) suggestion: &'static str,
}

/// Looks at the `topics` of each list; `lists` tells them with their paths.
pub(super) fn check<'c>(
    lists: impl Iterator<Item = (String, &'c [String])>,
    words: &Words,
    findings: &mut Findings<'_>,
) {
    let mut in_front: Vec<(TopicFilter, String)> = Vec::new();
    let mut comparisons = 0;
    for (path, written) in lists {
        let topics = join(&path, "topics");
        if written.is_empty() && !findings.is_reported(&topics) {
            let suggestion = Some("write `topics = [\"#\"]` for all topics".to_owned());
            findings.error(&topics, Part::Value, words.empty, suggestion);
        }
        for (at, text) in written.iter().enumerate() {
            let Ok(filter) = TopicFilter::parse_mqtt(text.as_bytes()) else { continue };
            comparisons += in_front.len();
            if comparisons > COMPARISONS_MAX {
                return;
            }
            if let Some((_, other)) = in_front.iter().find(|(known, _)| known.covers(&filter)) {
                let message = (words.covered)(text, &findings.line_note(other));
                findings.warning(&item(&topics, at), message, Some(words.suggestion.to_owned()));
            }
            in_front.push((filter, path.clone()));
        }
    }
}

//! The policies for topics: which one is never asked, and which one waits for a forward that does not exist.

use tidegate_message::TopicFilter;

use super::covered::{self, Words};
use crate::diagnostic::quoted;
use crate::findings::{Findings, item, join};
use crate::schema::{Acknowledge, Config};

const WORDS: Words = Words {
    empty: "`topics` is empty: the policy would hold for no message",
    covered: |topic, line| format!("{} is never asked about: an earlier policy{line} counts", quoted(topic)),
    suggestion: "the first policy that fits counts: put the more special one first",
};

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let policies = config.topics.iter().enumerate();
    let lists = policies.map(|(index, policy)| (item("topic", index), policy.topics.as_slice()));
    covered::check(lists, &WORDS, findings);
    check_forwarded(config, findings);
}

/// Where no forward can take a message, its publisher waits for none; whoever wrote `"forwarded"` meant something else.
fn check_forwarded(config: &Config, findings: &mut Findings<'_>) {
    let filter = |text: &String| TopicFilter::parse_mqtt(text.as_bytes()).ok();
    // What comes at level 0 is not kept for a forward, so that nothing is waited for.
    let forwards =
        config.bridges.iter().flat_map(|bridge| &bridge.forwards).filter(|forward| forward.qos > 0);
    let sources: Vec<_> = forwards.filter_map(|forward| filter(&forward.from)).collect();
    for (index, policy) in config.topics.iter().enumerate() {
        if policy.acknowledge != Acknowledge::Forwarded {
            continue;
        }
        for (at, text) in policy.topics.iter().enumerate() {
            let Some(topics) = filter(text) else { continue };
            if !sources.iter().any(|source| source.overlaps(&topics)) {
                let path = item(&join(&item("topic", index), "topics"), at);
                let message = format!("no `[[bridge.forward]]` with `qos = 1` takes any of {}", quoted(text));
                let suggestion = "messages there are acknowledged as with `\"synced\"`".to_owned();
                findings.warning(&path, message, Some(suggestion));
            }
        }
    }
}

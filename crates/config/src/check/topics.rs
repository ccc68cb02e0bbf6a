//! The policies for topics among each other: which one is never asked.

use super::covered::{self, Words};
use crate::diagnostic::quoted;
use crate::findings::{Findings, item};
use crate::schema::Config;

const WORDS: Words = Words {
    empty: "`topics` is empty: the policy would hold for no message",
    covered: |topic, line| format!("{} is never asked about: an earlier policy{line} counts", quoted(topic)),
    suggestion: "the first policy that fits counts: put the more special one first",
};

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let policies = config.topics.iter().enumerate();
    let lists = policies.map(|(index, policy)| (item("topic", index), policy.topics.as_slice()));
    covered::check(lists, &WORDS, findings);
}

//! The replay rings among each other: topics that another ring has already.

use super::covered::{self, Words};
use crate::diagnostic::quoted;
use crate::findings::{Findings, item};
use crate::schema::Config;

const WORDS: Words = Words {
    empty: "`topics` is empty: the ring would hold nothing",
    covered: |topic, line| format!("{} holds nothing: an earlier ring{line} has these topics", quoted(topic)),
    suggestion: "the first ring that has a topic keeps it: put the more special one first",
};

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let rings = config.rings.iter().enumerate();
    let lists = rings.map(|(index, ring)| (item("replay", index), ring.topics.as_slice()));
    covered::check(lists, &WORDS, findings);
}

//! Messages that no receive selects: a session that stays goes on with the subscriptions of earlier configurations.
//!
//! The broker does not tell which filter it was, and nobody here remembers. So those are left that could have been and can be written down: the
//! topic itself, and each of its beginnings with `/#` behind it. A filter with `+`, or a shared one, stays until somebody removes it there.

use std::num::NonZeroU16;

/// Attempts to leave during one connection: what is not left by then has a filter that is not found.
const ATTEMPTS_MAX: u32 = 32;
/// Filters of one attempt.
const FILTERS_MAX: usize = 32;

/// How it stands with the attempts to leave.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    attempts: u32,
    under_way: Option<NonZeroU16>,
}

impl Strangers {
    /// Whether an UNSUBSCRIBE may be sent: one at a time, and not for ever.
    pub(crate) fn may_leave(&self) -> bool {
        self.under_way.is_none() && self.attempts < ATTEMPTS_MAX
    }

    /// Whether the UNSUBSCRIBE without an answer has this identifier.
    pub(crate) fn uses(&self, id: NonZeroU16) -> bool {
        self.under_way == Some(id)
    }

    pub(crate) fn note_leaving(&mut self, id: NonZeroU16) {
        self.attempts += 1;
        self.under_way = Some(id);
    }

    pub(crate) fn handle_unsuback(&mut self, id: NonZeroU16) {
        self.under_way = self.under_way.filter(|under_way| *under_way != id);
    }
}

/// Filters without `+` that select a topic; of a very long one the shortest of them. None of a receive is among them: it would select it. So
/// `#` is not one of a topic that begins with `$` (MQTT 5.0 section 4.7.2).
pub(crate) fn filters_of(topic: &str) -> Vec<String> {
    let beginnings = topic.match_indices('/').filter_map(|(at, _)| topic.get(..at));
    let wild = beginnings.chain([topic]).map(|beginning| format!("{beginning}/#"));
    let everything = (!topic.starts_with('$')).then(|| "#".to_owned());
    std::iter::once(topic.to_owned()).chain(everything).chain(wild).take(FILTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_of_a_topic_are_those_that_select_it() {
        assert_eq!(filters_of("a/b"), ["a/b", "#", "a/#", "a/b/#"]);
        assert_eq!(filters_of("/a"), ["/a", "#", "/#", "/a/#"]);
        assert_eq!(filters_of("$SYS/a"), ["$SYS/a", "$SYS/#", "$SYS/a/#"]);
        assert_eq!(filters_of(&"/".repeat(1000)).len(), FILTERS_MAX);
    }
}

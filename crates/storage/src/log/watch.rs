//! What the store says of itself to whoever looks after the machine: once when it gets worse, once when it is well again.
//!
//! ```text
//!            refuses a message for lack of room              the disk answers with an error
//! sound ───────────────────────────────► full ───────────────────────────────► failing
//!   ▲                                      │                                       │
//!   └────────── half a minute without ─────┴──────────── half a minute without ────┘
//! ```
//!
//! A store at its limit has room and has none from one second to the next. So what gets worse is said at once, and what gets better when
//! it has lasted, which bounds how often anything is said.

use crate::Shortage;

/// How long it has to be better before that is said.
pub(super) const CALM_MILLIS: u64 = 30_000;

/// What has become of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It refuses messages: there is no room.
    Full(Shortage),
    /// It has refused nothing for a while.
    Room,
    /// The disk answers with errors, and nothing can be kept.
    Failing {
        /// What the disk has said.
        error: String,
    },
    /// The disk has been working for a while.
    Recovered,
}

/// Told by the storage's own thread; short, and calls nothing of the storage.
pub type Watcher = Box<dyn Fn(News) + Send + Sync>;

/// How the store is, from well to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Condition {
    #[default]
    Sound,
    Full,
    Failing,
}

/// What was said, and what is to be said next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    said: Condition,
    /// What there was too little of when a message was refused last, and when that was.
    refused: Option<(Shortage, u64)>,
    /// What the disk has said last.
    error: Option<String>,
    is_failing: bool,
    /// Since when it has been better than what was said.
    calm_since: Option<u64>,
}

impl Watch {
    /// A message was refused; whether that is worth saying.
    pub(super) fn note_refused(&mut self, shortage: Shortage, now: u64) -> bool {
        self.refused = Some((shortage, now));
        self.said < Condition::Full
    }

    /// The disk has answered with an error.
    pub(super) fn note_error(&mut self, error: String) {
        self.error = Some(error);
    }

    /// Whether nothing can be kept for that.
    pub(super) fn set_failing(&mut self, is_failing: bool) {
        self.is_failing = is_failing;
    }

    /// What messages were refused for within the last half minute.
    pub(super) fn short_of(&self, now: u64) -> Option<Shortage> {
        self.refused.filter(|(_, at)| now < at.saturating_add(CALM_MILLIS)).map(|(shortage, _)| shortage)
    }

    fn condition(&self, now: u64) -> Condition {
        match self.short_of(now) {
            _ if self.is_failing => Condition::Failing,
            Some(_) => Condition::Full,
            None => Condition::Sound,
        }
    }

    /// What is to be said now.
    pub(super) fn next_news(&mut self, now: u64) -> Option<News> {
        let (present, said) = (self.condition(now), self.said);
        if present >= said {
            self.calm_since = None;
            self.said = present;
            return match present {
                _ if present == said => None,
                Condition::Failing => Some(News::Failing { error: self.error.clone().unwrap_or_default() }),
                _ => self.refused.map(|(shortage, _)| News::Full(shortage)),
            };
        }
        // Refusals are forgotten after the same while.
        let is_calm =
            said == Condition::Full || now >= self.calm_since.get_or_insert(now).saturating_add(CALM_MILLIS);
        if !is_calm {
            return None;
        }
        (self.said, self.calm_since) = (Condition::Sound, None);
        Some(if said == Condition::Failing { News::Recovered } else { News::Room })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(error: &str) -> Option<News> {
        Some(News::Failing { error: error.to_owned() })
    }

    #[test]
    fn a_store_that_is_full_now_and_then_says_it_once() {
        let mut watch = Watch::default();
        assert!(watch.note_refused(Shortage::Limit, 0));
        assert_eq!(watch.next_news(0), Some(News::Full(Shortage::Limit)));
        for second in 0..100 {
            // Room for a second, none in the next one.
            assert!(!watch.note_refused(Shortage::FileSystem, second * 2000));
            assert_eq!(watch.next_news(second * 2000 + 1000), None);
        }
        assert_eq!((watch.short_of(199_000), watch.next_news(227_999)), (Some(Shortage::FileSystem), None));
        assert_eq!(watch.next_news(228_000), Some(News::Room));
        assert_eq!((watch.next_news(300_000), watch.short_of(300_000)), (None, None));
    }

    #[test]
    fn errors_are_said_once_and_before_anything_else() {
        let mut watch = Watch::default();
        watch.note_refused(Shortage::Memory, 0);
        watch.note_error("no".to_owned());
        watch.set_failing(true);
        assert_eq!((watch.next_news(0), watch.next_news(1)), (failing("no"), None));
        for second in 1..=100 {
            watch.set_failing(second % 2 == 0);
            assert_eq!(watch.next_news(second * 1000), None);
        }
        watch.set_failing(false);
        assert_eq!(watch.next_news(101_000), None);
        watch.note_refused(Shortage::Memory, 120_000);
        assert_eq!((watch.next_news(130_999), watch.next_news(131_000)), (None, Some(News::Recovered)));
        assert_eq!(watch.next_news(131_001), Some(News::Full(Shortage::Memory)));
    }
}

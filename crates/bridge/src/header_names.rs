//! User properties as headers of an upstream whose headers also say something of the message: a name with a meaning of its own stands
//! behind `user-`, as in STOMP, so that what a device writes is never more than a property, and comes back as it was.

use std::borrow::Cow;

const PREFIX: &str = "user-";

/// The names of headers that mean something to an upstream or to the gateway.
#[derive(Debug, Clone, Copy)]
pub struct HeaderNames(pub &'static [&'static str]);

impl HeaderNames {
    /// Whether a header of this name means something beside its value.
    pub fn is_taken(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// The name of the header for a user property.
    pub fn of_property<'a>(&self, property: &'a str) -> Cow<'a, str> {
        match self.is_behind_prefix(property) {
            true => Cow::Owned(format!("{PREFIX}{property}")),
            false => Cow::Borrowed(property),
        }
    }

    /// The name of the user property for a header; nothing where the header is not the application's.
    pub fn to_property<'a>(&self, header: &'a str) -> Option<&'a str> {
        match self.is_behind_prefix(header) {
            true => header.strip_prefix(PREFIX),
            false => Some(header),
        }
    }

    /// Whether it is a taken name, or none, with any number of prefixes.
    fn is_behind_prefix(&self, name: &str) -> bool {
        let base = name.trim_start_matches(PREFIX);
        base.is_empty() || self.is_taken(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: HeaderNames = HeaderNames(&["reply-to"]);

    #[test]
    fn only_names_with_a_meaning_stand_behind_a_prefix() {
        for (property, header) in [
            ("reply-to", "user-reply-to"),
            ("user-reply-to", "user-user-reply-to"),
            ("site", "site"),
            ("user-id", "user-id"),
            ("", "user-"),
        ] {
            assert_eq!(NAMES.of_property(property), header);
        }
        assert_eq!(NAMES.to_property("reply-to"), None);
    }

    proptest! {
        #[test]
        fn properties_come_back_and_are_never_taken_names(name in "(user-){0,3}(reply-to|site|[a-z]{0,3})") {
            let header = NAMES.of_property(&name);
            prop_assert!(!NAMES.is_taken(&header));
            prop_assert_eq!(NAMES.to_property(&header), Some(name.as_str()));
        }
    }
}

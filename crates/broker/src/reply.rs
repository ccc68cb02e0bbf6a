//! Reply addresses: `$reply/<token>/<name>`, where one connection waits for answers and whoever was told the address may send them.
//!
//! The token is the right: nobody can guess it, so rules are not asked about such topics, and only its owner may subscribe below it. Nothing is
//! kept there: what finds nobody is dropped.

use tidegate_message::{FilterLevel, TopicFilter};
use tidegate_protocol::Refusal;

/// The first level of all reply addresses.
const ROOT: &str = "$reply";

/// The bytes of a token: as many as nobody can guess.
const TOKEN_BYTES: usize = 16;

/// The beginning of all addresses of a connection that has none yet.
pub(crate) fn new_prefix() -> Result<Box<str>, Refusal> {
    let mut token = [0; TOKEN_BYTES];
    getrandom::fill(&mut token).map_err(|_| Refusal::NoRandom)?;
    Ok(format!("{ROOT}/{:032x}/", u128::from_be_bytes(token)).into())
}

/// Whether a topic is a reply address: a token and a name, of whomever.
pub(crate) fn is_address(topic: &str) -> bool {
    let address = topic.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/'));
    let parts = address.and_then(|address| address.split_once('/'));
    parts.is_some_and(|(token, name)| !token.is_empty() && !name.is_empty())
}

/// Whether a filter is about reply addresses.
pub(crate) fn concerns(filter: &TopicFilter) -> bool {
    filter.levels().next() == Some(FilterLevel::Name(ROOT))
}

/// Whether a filter names one address behind the prefix: no pattern selects any.
pub(crate) fn is_owned(filter: &TopicFilter, prefix: &str) -> bool {
    let name = filter.as_str().strip_prefix(prefix);
    filter.is_exact() && name.is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn addresses_have_a_token_and_a_name() {
        for topic in ["$reply/t/a", "$reply/t/a/b"] {
            assert!(is_address(topic) && concerns(&filter(topic)), "{topic}");
        }
        for topic in [
            "$reply",
            "$reply/",
            "$reply/t",
            "$reply/t/",
            "$reply//a",
            "$replyt/a",
            "reply/t/a",
            "a/$reply/t/a",
        ] {
            assert!(!is_address(topic), "{topic}");
        }
        assert!(concerns(&filter("$reply/#")) && !concerns(&filter("$replies/#")) && !concerns(&filter("#")));
    }

    #[test]
    fn no_two_prefixes_are_alike_and_patterns_are_nobodys() {
        let [one, other] = [new_prefix().unwrap(), new_prefix().unwrap()];
        assert!(
            one.len() == "$reply//".len() + 2 * TOKEN_BYTES
                && one.starts_with("$reply/")
                && one.ends_with('/')
        );
        assert_ne!(one, other);
        assert!(is_owned(&filter(&format!("{one}a/b")), &one));
        for text in [format!("{one}#"), format!("{one}+"), format!("{other}a"), one.to_string()] {
            assert!(!is_owned(&filter(&text), &one), "{text}");
        }
    }
}

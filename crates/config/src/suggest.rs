//! The nearest known word to one that is not known: "did you mean `protocols`?".
//!
//! Deliberately cautious: no suggestion is better than a wrong one, and long input is not compared at all, because the cost
//! grows with its length.

/// Longest word that is compared; longer ones are no typing mistakes.
const WORD_BYTES_MAX: usize = 96;

/// The candidate that is most likely meant, or none if nothing is close.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > WORD_BYTES_MAX {
        return None;
    }
    let word = simplified(word);
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &simplified(candidate), allowed), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean …" for the nearest candidate.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// A shortened or lengthened word counts as one slip: `max_conn` is near `max_connections`, `protocol` near `protocols`.
fn distance(word: &str, candidate: &str, allowed: usize) -> usize {
    let begins_alike = word.len() >= 4 && candidate.starts_with(word);
    if begins_alike { allowed.min(1) } else { strsim::damerau_levenshtein(word, candidate) }
}

/// Case and the kind of separator are never what the reader got wrong on purpose.
fn simplified(word: &str) -> String {
    word.to_ascii_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slip of the keys finds its word.
    #[test]
    fn finds_slips() {
        let keys = ["protocols", "bind", "name", "max_connections", "tls"];
        for (word, meant) in [
            ("protocol", "protocols"),
            ("protocls", "protocols"),
            ("Bind", "bind"),
            ("nmae", "name"),
            ("max-connections", "max_connections"),
            ("max_conn", "max_connections"),
        ] {
            assert_eq!(nearest(word, keys), Some(meant), "{word}");
        }
    }

    /// Unrelated and oversized words get no suggestion.
    #[test]
    fn stays_silent_when_nothing_is_close() {
        let long = "bind".repeat(1000);
        for word in ["", "colour", "x", long.as_str()] {
            assert_eq!(nearest(word, ["protocols", "bind"]), None, "{word}");
        }
    }
}

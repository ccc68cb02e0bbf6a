//! The forms of texts: names, host names, URL paths, origins. Each says what is wrong and what would be right.

use rustls_pki_types::DnsName;
use tidegate_message::{FilterError, PatternError, Topic, TopicFilter, TopicPattern};

use crate::diagnostic::quoted;
use crate::setting::{Form, Problem};

/// Longest node and listener name.
const NAME_CHARS_MAX: usize = 64;

/// Longest WebSocket path; longer request lines are refused by the listener anyway.
const URL_PATH_BYTES_MAX: usize = 1024;

/// The name of a protocol. Which ones exist is checked where the registry is known.
pub(crate) const PROTOCOL_NAME: Form = Form { name: "a protocol name", check: check_not_empty };

/// A DNS name; `*.` in front stands for one label.
pub(crate) const HOST_NAME: Form =
    Form { name: "a DNS name such as \"gateway.example\"", check: check_host_name };

/// The path of a URL.
pub(crate) const URL_PATH: Form = Form { name: "a path such as \"/mqtt\"", check: check_url_path };

/// The origin of a web page (RFC 6454): scheme, host, port, and nothing behind it.
pub(crate) const ORIGIN: Form =
    Form { name: "an origin such as \"https://panel.example\"", check: check_origin };

/// A user, a client id, the name of a listener.
pub(crate) const NOT_EMPTY: Form = Form { name: "a name in quotes", check: check_not_empty };

/// The topics of an access rule.
pub(crate) const TOPIC_PATTERN: Form =
    Form { name: "a topic pattern such as \"plant/%u/#\"", check: check_topic_pattern };

/// The topics of a replay ring.
pub(crate) const RING_TOPICS: Form =
    Form { name: "a topic filter such as \"plant/#\"", check: check_ring_topics };

/// The topics of a policy.
pub(crate) const TOPIC_FILTER: Form =
    Form { name: "a topic filter such as \"plant/#\"", check: check_policy_topics };

/// The names of queues in a policy.
pub(crate) const QUEUE_PATTERN: Form =
    Form { name: "a name of queues such as \"orders/#\"", check: check_queue_pattern };

/// Where dead messages go.
pub(crate) const DEAD_LETTER: Form =
    Form { name: "a topic such as \"$queue/dead\"", check: check_dead_letter };

/// What a bridge forwards, or receives from another broker of topics.
pub(crate) const BRIDGE_FILTER: Form =
    Form { name: "a topic filter such as \"plant/#\"", check: check_bridge_filter };

/// What is made for each message that goes over a bridge.
pub(crate) const TEMPLATE: Form = Form { name: "a template such as \"{topic[1]}\"", check: check_not_empty };

/// A text that may be empty.
pub(crate) const ANY: Form = Form { name: "a text", check: |_| Ok(()) };

/// The address of an upstream.
pub(crate) const BRIDGE_URL: Form =
    Form { name: "a URL such as \"mqtts://user:secret@broker.example\"", check: check_bridge_url };

/// Checks the name of a node or listener.
pub(crate) fn check_name(text: &str) -> Result<(), Problem> {
    if text.is_empty() || text.chars().count() > NAME_CHARS_MAX {
        return Err(Problem::new(format!("a name has 1 to {NAME_CHARS_MAX} characters")));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(c) => Err(Problem::with_suggestion(
            format!("{} is not allowed in a name", quoted(&c.to_string())),
            "use letters, digits, `.`, `_` and `-`",
        )),
        None => Ok(()),
    }
}

fn check_not_empty(text: &str) -> Result<(), Problem> {
    if text.is_empty() { Err(Problem::new("must not be empty")) } else { Ok(()) }
}

fn check_bridge_filter(text: &str) -> Result<(), Problem> {
    match TopicFilter::parse_mqtt(text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::new(format!("{}: {error}", quoted(text)))),
    }
}

/// Says nothing of what stands there: it may be a password.
fn check_bridge_url(text: &str) -> Result<(), Problem> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Problem::new("a URL begins with its scheme, such as `mqtts://`"));
    };
    let is_scheme =
        scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'+');
    match is_scheme && !rest.is_empty() && !text.chars().any(|c| c.is_control() || c == ' ') {
        true => Ok(()),
        false => Err(Problem::new("this is no URL")),
    }
}

fn check_topic_pattern(text: &str) -> Result<(), Problem> {
    if let Some(filter) = text.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        let suggestion = format!("a shared subscription is judged by its filter: write {}", quoted(filter.1));
        return Err(Problem::with_suggestion("rules are about topics, not about groups", suggestion));
    }
    let error = match TopicPattern::parse(text) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let message = format!("{}: {error}", quoted(text));
    match pattern_hint(error) {
        Some(hint) => Err(Problem::with_suggestion(message, hint)),
        None => Err(Problem::new(message)),
    }
}

fn check_ring_topics(text: &str) -> Result<(), Problem> {
    if text.starts_with('$') {
        return Err(Problem::new("topics that begin with `$` are the gateway's own, and in no ring"));
    }
    check_filter(text)
}

fn check_policy_topics(text: &str) -> Result<(), Problem> {
    if let Some((_, filter)) = text.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        let suggestion = format!("a message has a topic and no group: write {}", quoted(filter));
        return Err(Problem::with_suggestion("policies are about topics, not about groups", suggestion));
    }
    if text.starts_with('$') && !text.starts_with("$queue/") {
        return Err(Problem::new("topics that begin with `$` are the gateway's own, but for `$queue/…`"));
    }
    check_filter(text)
}

fn check_queue_pattern(text: &str) -> Result<(), Problem> {
    if let Some(name) = text.strip_prefix("$queue/") {
        let suggestion = format!("`$queue/` is not part of the name: write {}", quoted(name));
        return Err(Problem::with_suggestion("these are names of queues, not topics", suggestion));
    }
    check_filter(text)
}

fn check_filter(text: &str) -> Result<(), Problem> {
    let Err(error) = TopicFilter::parse_mqtt(text.as_bytes()) else { return Ok(()) };
    let message = format!("{}: {error}", quoted(text));
    match pattern_hint(PatternError::Filter(error)) {
        Some(hint) => Err(Problem::with_suggestion(message, hint)),
        None => Err(Problem::new(message)),
    }
}

fn check_dead_letter(text: &str) -> Result<(), Problem> {
    let topic =
        Topic::parse(text.as_bytes()).map_err(|error| Problem::new(format!("{}: {error}", quoted(text))))?;
    match topic.queue_name() {
        Some("") => Err(Problem::with_suggestion(
            "the queue's name is missing",
            "a queue is `$queue/` and its name: \"$queue/dead\"",
        )),
        None if topic.is_reserved() => {
            Err(Problem::new("topics that begin with `$` are the gateway's own, but for `$queue/…`"))
        }
        _ => Ok(()),
    }
}

fn pattern_hint(error: PatternError) -> Option<&'static str> {
    match error {
        PatternError::UnknownPlaceholder(_) | PatternError::LonelyPercent => {
            Some("write `%u` for the user, `%c` for the client id, `%%` for a percent sign")
        }
        PatternError::Filter(FilterError::ManyNotLast) => {
            Some("`#` stands for everything below; `+` is for a level in the middle")
        }
        PatternError::Filter(FilterError::WildcardInName) => Some("`+` stands for a whole level: `a/+/b`"),
        PatternError::Filter(FilterError::Text(_)) | PatternError::NameInReservedLevel => None,
    }
}

fn check_host_name(text: &str) -> Result<(), Problem> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    match DnsName::try_from(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::new(format!("{} is not a DNS name", quoted(text)))),
    }
}

fn check_url_path(text: &str) -> Result<(), Problem> {
    if !text.starts_with('/') {
        return Err(Problem::with_suggestion(
            "a path begins with `/`",
            format!("write {}", quoted(&format!("/{text}"))),
        ));
    }
    if text.len() > URL_PATH_BYTES_MAX {
        return Err(Problem::new(format!("a path has at most {URL_PATH_BYTES_MAX} bytes")));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
        Some(c) => Err(Problem::new(format!("{} is not allowed in a path", quoted(&c.to_string())))),
        None => Ok(()),
    }
}

fn check_origin(text: &str) -> Result<(), Problem> {
    let example = "write scheme, host and port only, for example \"https://panel.example\" or \"http://localhost:3000\"";
    // What a browser says for a page without an origin of its own: from a file, or in a sandbox (RFC 6454 section 6.2).
    if text == "null" {
        return Ok(());
    }
    let Some((scheme, host)) = text.split_once("://") else {
        return Err(Problem::with_suggestion(format!("{} is not an origin", quoted(text)), example));
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    let is_origin = !scheme.is_empty()
        && scheme.chars().all(plain)
        && !host.is_empty()
        && host.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '#' | '@' | '*'));
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    if let Some(host) = host.strip_suffix(default_port).filter(|_| is_origin && !default_port.is_empty()) {
        let message = format!("no browser names the port {}", default_port.trim_start_matches(':'));
        let suggestion = format!("write {}", quoted(&format!("{scheme}://{host}")));
        return Err(Problem::with_suggestion(message, suggestion));
    }
    if is_origin {
        return Ok(());
    }
    let suggestion = match host.strip_suffix('/') {
        Some(host) if !host.contains('/') => {
            format!("write {}, without the `/` at its end", quoted(&format!("{scheme}://{host}")))
        }
        _ => example.to_owned(),
    };
    Err(Problem::with_suggestion(format!("{} is not an origin", quoted(text)), suggestion))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Origins are compared as a whole by the listener, so anything that no browser would send is refused here.
    #[test]
    fn tells_origins_from_urls() {
        for text in [
            "https://panel.example",
            "http://localhost:3000",
            "http://[::1]:3000",
            "app://obsidian.md",
            "null",
        ] {
            assert_eq!(check_origin(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "*",
            "panel.example",
            "https://",
            "https://a/",
            "https://a/b",
            "https://*.a",
            "https://u@a",
            "https://a:443",
            "http://a:80",
        ] {
            assert!(check_origin(text).is_err(), "{text}");
        }
    }

    /// Names are safe in metrics labels, file names and environment variables.
    #[test]
    fn names_are_plain() {
        for text in ["a", "edge-1", "A.b_C-9", &"x".repeat(64)] {
            assert_eq!(check_name(text), Ok(()), "{text}");
        }
        for text in ["", "a b", "ä", "a/b", "a\n", &"x".repeat(65)] {
            assert!(check_name(text).is_err(), "{text}");
        }
    }

    /// Paths and host names in the forms that the handshakes deliver.
    #[test]
    fn paths_and_hosts() {
        assert!(check_url_path("/mqtt").is_ok() && check_host_name("*.a.example").is_ok());
        for text in ["", "mqtt", "/a?b", "/a#b", "/a b", "/\n"] {
            assert!(check_url_path(text).is_err(), "{text}");
        }
        for text in ["", "*", "*.", "a.*.b", "a b", "-", "a..b"] {
            assert!(check_host_name(text).is_err(), "{text}");
        }
    }
}

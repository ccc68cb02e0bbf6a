//! Reads one value of a known kind, from the file or from text, and says what is wrong with it.
//!
//! The result is a value for the `config` crate in a form that the typed structs read without failing: numbers as integers,
//! everything with a unit or a form as checked text, paths joined with the folder they are relative to.

use std::net::SocketAddr;
use std::path::Path;

use config::{Value, ValueKind};
use tidegate_message::{ByteSize, TimeSpan, UnitError};
use toml::de::DeValue;

use crate::diagnostic::quoted;
use crate::forms::check_name;
use crate::setting::{Kind, Problem};
use crate::suggest::did_you_mean;

/// A value as it came in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input<'a> {
    /// From an environment variable, a flag or a default.
    Text(&'a str),
    /// From the file.
    Toml(&'a DeValue<'a>),
}

/// Reads a single value. Lists and tables are taken apart by the caller, which knows the place of every item.
pub(crate) fn read(kind: &Kind, input: Input<'_>, folder: &Path) -> Result<Value, Problem> {
    match kind {
        Kind::Switch => read_switch(input),
        Kind::Count { min, max } => read_count(input, *min, *max),
        _ => {
            let text = match input {
                Input::Text(text) => text,
                Input::Toml(DeValue::String(text)) => text,
                Input::Toml(other) => return Err(wrong_type(kind, other)),
            };
            check_text(kind, text)?;
            match kind {
                Kind::Path => Ok(plain(folder.join(text).to_string_lossy().into_owned())),
                _ => Ok(plain(text)),
            }
        }
    }
}

/// The kind of a list's items; nothing where the kind is no list.
pub(crate) fn item_kind(kind: &Kind) -> Option<Kind> {
    match kind {
        Kind::List(form) | Kind::OneOrMore(form) => Some(Kind::Text(*form)),
        Kind::Paths => Some(Kind::Path),
        _ => None,
    }
}

/// Reads one value of a table under a name that the user has chosen.
pub(crate) fn read_named(kind: &Kind, value: &DeValue<'_>) -> Result<Value, Problem> {
    match (kind, value) {
        (Kind::Texts(form), _) => read(&Kind::Text(*form), Input::Toml(value), Path::new("")),
        (_, DeValue::String(text)) => Ok(plain(text.as_ref())),
        (_, DeValue::Boolean(value)) => Ok(plain(*value)),
        (_, DeValue::Integer(number)) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(plain(number)),
            Err(_) => Err(Problem::new("the number is too large")),
        },
        (_, other) => {
            let message =
                format!("expected a text, a whole number, `true` or `false`, found {}", type_name(other));
            Err(Problem::new(message))
        }
    }
}

/// What stands for a value that could not be read, so that the other settings can still be checked.
pub(crate) fn stand_in(kind: &Kind) -> Value {
    match kind {
        Kind::Count { min, .. } => plain(i64::from(*min)),
        Kind::Time { min, .. } => plain(min.to_string()),
        Kind::Size { min, .. } => plain(min.to_string()),
        Kind::Switch => plain(false),
        Kind::Word(words) => plain(*words.first().unwrap_or(&"")),
        Kind::Address => plain("127.0.0.1:0"),
        Kind::Name | Kind::Path | Kind::Text(_) => plain(""),
        Kind::List(_) | Kind::OneOrMore(_) | Kind::Paths => plain(Vec::<Value>::new()),
        Kind::Table(_) | Kind::Tables(_) | Kind::Texts(_) | Kind::Values | Kind::Protocols => {
            plain(config::Map::<String, Value>::new())
        }
    }
}

/// A value without a note of its source; sources are noted in `Findings`.
pub(crate) fn plain(value: impl Into<ValueKind>) -> Value {
    Value::new(None, value)
}

/// "a string", for messages.
pub(crate) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a switch",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Completes "expected …".
pub(crate) fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Name => "a name in quotes".to_owned(),
        Kind::Count { .. } => "a whole number".to_owned(),
        Kind::Time { .. } => "a duration in quotes, such as \"30s\"".to_owned(),
        Kind::Size { .. } => "a size in quotes, such as \"64MiB\"".to_owned(),
        Kind::Switch => "`true` or `false`".to_owned(),
        Kind::Word(words) => format!(
            "one of {}",
            words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
        ),
        Kind::Address => "an address in quotes, such as \"127.0.0.1:1883\"".to_owned(),
        Kind::Path => "a path in quotes".to_owned(),
        Kind::Text(form) => form.name.to_owned(),
        Kind::List(form) => format!("a list; each item is {}", form.name),
        Kind::OneOrMore(form) => format!("{}, or a list of them", form.name),
        Kind::Paths => "a list of paths".to_owned(),
        Kind::Texts(form) => format!("a table; each value is {}", form.name),
        Kind::Values => "a table of texts, numbers and switches".to_owned(),
        Kind::Table(_) | Kind::Protocols => "a table".to_owned(),
        Kind::Tables(_) => "a list of tables".to_owned(),
    }
}

pub(crate) fn wrong_type(kind: &Kind, found: &DeValue<'_>) -> Problem {
    let message = format!("expected {}, found {}", expected(kind), type_name(found));
    match (kind, found) {
        (Kind::Time { .. }, DeValue::Integer(number)) => Problem::with_suggestion(
            message,
            format!("a duration needs a unit: \"{}s\"", short(number.as_str())),
        ),
        (Kind::Size { .. }, DeValue::Integer(number)) => {
            Problem::with_suggestion(message, format!("a size needs a unit: \"{}B\"", short(number.as_str())))
        }
        (Kind::Address, DeValue::Integer(number)) => Problem::with_suggestion(
            message,
            format!("write the address too: \"127.0.0.1:{}\"", short(number.as_str())),
        ),
        _ => Problem::new(message),
    }
}

fn short(digits: &str) -> String {
    digits.chars().take(24).collect()
}

fn read_switch(input: Input<'_>) -> Result<Value, Problem> {
    match input {
        Input::Toml(DeValue::Boolean(value)) => Ok(plain(*value)),
        Input::Text("true") => Ok(plain(true)),
        Input::Text("false") => Ok(plain(false)),
        Input::Text(text) => Err(Problem::new(format!("expected `true` or `false`, found {}", quoted(text)))),
        Input::Toml(other) => Err(wrong_type(&Kind::Switch, other)),
    }
}

fn read_count(input: Input<'_>, min: u32, max: u32) -> Result<Value, Problem> {
    let number = match input {
        Input::Text(text) => match text.parse::<i128>() {
            Ok(number) => number,
            Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => i128::MAX,
            Err(_) => return Err(Problem::new(format!("expected a whole number, found {}", quoted(text)))),
        },
        // Digits that do not fit are out of every range.
        Input::Toml(DeValue::Integer(number)) => {
            i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX)
        }
        Input::Toml(other) => return Err(wrong_type(&Kind::Count { min, max }, other)),
    };
    match u32::try_from(number) {
        Ok(number) if (min..=max).contains(&number) => Ok(plain(i64::from(number))),
        _ => Err(Problem::new(format!("out of range: {min} to {max} is allowed"))),
    }
}

fn check_text(kind: &Kind, text: &str) -> Result<(), Problem> {
    match kind {
        Kind::Name => check_name(text),
        Kind::Time { min, max } => check_range(text, text.parse::<TimeSpan>(), *min, *max),
        Kind::Size { min, max } => check_range(text, text.parse::<ByteSize>(), *min, *max),
        Kind::Word(words) => check_word(words, text),
        Kind::Address => check_address(text),
        Kind::Path if text.is_empty() => Err(Problem::new("a path must not be empty")),
        Kind::Path if text.contains('\0') => Err(Problem::new("a path cannot hold a zero byte")),
        Kind::Text(form) => (form.check)(text),
        _ => Ok(()),
    }
}

fn check_range<T: PartialOrd + std::fmt::Display>(
    text: &str,
    parsed: Result<T, UnitError>,
    min: T,
    max: T,
) -> Result<(), Problem> {
    match parsed {
        Ok(value) if value >= min && value <= max => Ok(()),
        Ok(_) => Err(Problem::new(format!("{} is out of range: {min} to {max} is allowed", quoted(text)))),
        Err(error) => Err(Problem::new(format!("{}: {error}", quoted(text)))),
    }
}

fn check_word(words: &[&str], text: &str) -> Result<(), Problem> {
    if words.contains(&text) {
        return Ok(());
    }
    let message = format!("unknown value {}: expected {}", quoted(text), words.join(", "));
    Err(Problem { message, suggestion: did_you_mean(text, words.iter().copied()) })
}

fn check_address(text: &str) -> Result<(), Problem> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_multicast() => {
            Err(Problem::new(format!("{} is a multicast address, on which nobody can connect", quoted(text))))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(Problem {
            message: format!("{} is not an IP address with a port", quoted(text)),
            suggestion: address_hint(text),
        }),
    }
}

/// What the user probably meant with something that is no address.
fn address_hint(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let number = port.parse::<u16>();
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Some(if text.contains(':') {
            format!("add the port: \"[{text}]:1883\"")
        } else {
            format!("add the port: \"{text}:1883\"")
        });
    }
    if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && number.is_err() {
        return Some("a port is a number from 0 to 65535".to_owned());
    }
    match (host, number) {
        ("localhost", Ok(port)) => Some(format!("host names are not looked up: write \"127.0.0.1:{port}\"")),
        ("" | "*", Ok(port)) => Some(format!(
            "write \"127.0.0.1:{port}\" for this machine only or \"0.0.0.0:{port}\" for every IPv4 address"
        )),
        (host, Ok(port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
            Some(format!("an IPv6 address stands in brackets: \"[{host}]:{port}\""))
        }
        (_, Ok(_)) => Some("host names are not looked up: write the IP address".to_owned()),
        (_, Err(_)) => {
            Some("write address and port, for example \"127.0.0.1:1883\" or \"[::1]:1883\"".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &Kind, text: &str) -> Problem {
        read(kind, Input::Text(text), Path::new("")).unwrap_err()
    }

    /// Every wrong way to write an address gets the right way as its answer.
    #[test]
    fn explains_addresses() {
        for (text, hint) in [
            ("localhost:1883", "\"127.0.0.1:1883\""),
            (":1883", "\"0.0.0.0:1883\""),
            ("*:1883", "\"0.0.0.0:1883\""),
            ("127.0.0.1", "\"127.0.0.1:1883\""),
            ("::1", "\"[::1]:1883\""),
            ("fe80:0:0:0:0:0:0:1:1883", "\"[fe80:0:0:0:0:0:0:1]:1883\""),
            ("127.0.0.1:65536", "0 to 65535"),
            ("gate.example:1883", "write the IP address"),
            ("1883", "\"127.0.0.1:1883\""),
            ("", "\"127.0.0.1:1883\""),
        ] {
            let suggestion = problem(&Kind::Address, text).suggestion.unwrap();
            assert!(suggestion.contains(hint), "{text}: {suggestion}");
        }
        for text in ["127.0.0.1:0", "0.0.0.0:1883", "[::]:1883", "[fe80::1%2]:1883"] {
            assert!(read(&Kind::Address, Input::Text(text), Path::new("")).is_ok(), "{text}");
        }
    }

    /// Numbers outside of the range name the range, however long they are.
    #[test]
    fn numbers_have_ranges() {
        let kind = Kind::Count { min: 1, max: 10 };
        for text in ["0", "11", "-1", "99999999999999999999999999999999999999999999"] {
            assert!(problem(&kind, text).message.contains("1 to 10"), "{text}");
        }
        for text in ["", "1.5", "ten", "0x5", " 5"] {
            assert!(problem(&kind, text).message.contains("whole number"), "{text}");
        }
        let digits = "9".repeat(100);
        let (value, _) = DeValue::parse_recoverable(&digits);
        assert!(read(&kind, Input::Toml(value.get_ref()), Path::new("")).is_err());
    }
}

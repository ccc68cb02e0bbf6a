//! One value out of a payload of JSON, by its path, without building the rest.
//!
//! The payload is read once as a whole, so that what is not JSON is known as such; then the value at each step is read over once more.
//! Where a key stands twice the last one counts, as in most parsers. Nothing here recurses, however deep the payload is.

use super::value::Absence;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The longest payload in bytes that is looked into.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key.
    Key(Box<str>),
    /// An element, counted from 0.
    Element(usize),
}

/// Appends the string, number or truth value at the path, a number as it was written.
pub(super) fn find(payload: &[u8], path: &[Step], out: &mut String) -> Result<(), Absence> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Absence::PayloadTooLong);
    }
    let mut value = serde_json::from_slice::<&RawValue>(payload).map_err(|_| Absence::NotJson)?.get();
    for step in path {
        value = enter(value, step).ok_or(Absence::Missing)?;
    }
    put(value, out)
}

fn enter<'v>(value: &'v str, step: &Step) -> Option<&'v str> {
    let mut json = serde_json::Deserializer::from_str(value);
    let found = match (step, value.as_bytes().first()) {
        (Step::Key(key), Some(b'{')) => json.deserialize_map(KeyVisitor(key)),
        (Step::Element(at), Some(b'[')) => json.deserialize_seq(ElementVisitor(*at)),
        _ => return None,
    };
    found.ok().flatten().map(RawValue::get)
}

fn put(value: &str, out: &mut String) -> Result<(), Absence> {
    match value.as_bytes().first() {
        Some(b'"') => out.push_str(&serde_json::from_str::<String>(value).map_err(|_| Absence::NotJson)?),
        Some(b'{' | b'[') => return Err(Absence::NotScalar),
        Some(b'n') | None => return Err(Absence::Missing),
        Some(_) => out.push_str(value),
    }
    Ok(())
}

/// Finds the value of a key in an object.
struct KeyVisitor<'k>(&'k str);

impl<'v> Visitor<'v> for KeyVisitor<'_> {
    type Value = Option<&'v RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'v>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = object.next_key_seed(IsKey(self.0))? {
            match is_wanted {
                true => found = Some(object.next_value()?),
                false => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Whether a key is the one that is looked for; does not keep it.
struct IsKey<'k>(&'k str);

impl<'v> DeserializeSeed<'v> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'v>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Finds an element of an array.
struct ElementVisitor(usize);

impl<'v> Visitor<'v> for ElementVisitor {
    type Value = Option<&'v RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'v>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.0 {
            if array.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = array.next_element()?;
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(payload: &str, path: &[Step]) -> Result<String, Absence> {
        let mut out = String::new();
        find(payload.as_bytes(), path, &mut out).map(|()| out)
    }

    fn key(name: &str) -> Step {
        Step::Key(name.into())
    }

    #[test]
    fn strings_numbers_and_truth_values_are_found() {
        let payload = r#" {"device": {"id": "p\u002d7", "axes": [1.50, [true, -0]]}, "big": 123456789012345678901234567890} "#;
        let cases: [(&[Step], &str); 5] = [
            (&[key("device"), key("id")], "p-7"),
            (&[key("device"), key("axes"), Step::Element(0)], "1.50"),
            (&[key("device"), key("axes"), Step::Element(1), Step::Element(0)], "true"),
            (&[key("device"), key("axes"), Step::Element(1), Step::Element(1)], "-0"),
            (&[key("big")], "123456789012345678901234567890"),
        ];
        for (path, expected) in cases {
            assert_eq!(look(payload, path).as_deref(), Ok(expected));
        }
        assert_eq!(look("\"alone\"", &[]).as_deref(), Ok("alone"));
    }

    #[test]
    fn what_is_not_there_is_told_apart_from_what_cannot_be_put_in() {
        let payload = r#"{"a": {"b": 1}, "list": [1], "none": null}"#;
        let cases: [(&[Step], Absence); 8] = [
            (&[key("x")], Absence::Missing),
            (&[key("a"), key("x")], Absence::Missing),
            (&[key("a"), key("b"), key("c")], Absence::Missing),
            (&[key("list"), Step::Element(1)], Absence::Missing),
            (&[key("a"), Step::Element(0)], Absence::Missing),
            (&[key("none")], Absence::Missing),
            (&[key("a")], Absence::NotScalar),
            (&[key("list")], Absence::NotScalar),
        ];
        for (path, expected) in cases {
            assert_eq!(look(payload, path), Err(expected));
        }
    }

    #[test]
    fn what_is_not_json_as_a_whole_has_no_values() {
        for payload in ["", "21.5 C", r#"{"a": 1"#, r#"{"a": 1} {"#, r#"{"a": 1,}"#, "\u{feff}{}"] {
            assert_eq!(look(payload, &[key("a")]), Err(Absence::NotJson), "{payload:?}");
        }
        let mut out = String::new();
        assert_eq!(find(b"{\"a\": \"\xff\"}", &[key("a")], &mut out), Err(Absence::NotJson));
        assert_eq!(out, "");
    }

    #[test]
    fn of_two_equal_keys_the_last_one_counts() {
        assert_eq!(look(r#"{"a": 1, "\u0061": 2}"#, &[key("a")]).as_deref(), Ok("2"));
    }

    #[test]
    fn a_payload_that_is_deep_or_long_does_no_harm() {
        let deep = format!(r#"{{"a": {}, "b": 7}}"#, "[".repeat(100_000) + &"]".repeat(100_000));
        assert_eq!(look(&deep, &[key("b")]).as_deref(), Ok("7"));
        assert_eq!(look(&deep, &[key("a")]), Err(Absence::NotScalar));
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(PAYLOAD_BYTES_MAX));
        assert_eq!(look(&long, &[key("a")]), Err(Absence::PayloadTooLong));
    }
}

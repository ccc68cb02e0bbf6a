//! Headers of AMQP 0-9-1 and user properties.
//!
//! A table of headers has each name once, user properties may repeat: one value is a long string, several are an array of them, in their
//! order. Names that mean something to the gateway or to RabbitMQ stand behind `user-`, as in STOMP, so that what a device writes is
//! never more than a property: a `CC` of a device would be sent to other queues, or close the channel.

use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tidegate_bridge::{HeaderNames, ID_PROPERTY, PATH_PROPERTY};

/// What a payload says of itself, in the words of STOMP's mapping.
pub(crate) const PAYLOAD_FORMAT: &str = "payload-format";
/// Set to [`BASE64`] where a correlation is no text.
pub(crate) const CORRELATION_ENCODING: &str = "correlation-id-encoding";
pub(crate) const BASE64: &str = "base64";

/// Names with a meaning of their own. `CC` and `BCC` are RabbitMQ's: further routing keys.
const NAMES: HeaderNames =
    HeaderNames(&[ID_PROPERTY, PATH_PROPERTY, PAYLOAD_FORMAT, CORRELATION_ENCODING, "CC", "BCC"]);

/// Whether a header of this name means something beside its value.
pub(crate) fn is_taken(name: &str) -> bool {
    NAMES.is_taken(name)
}

/// Headers of a message on its way out.
#[derive(Debug, Default)]
pub(crate) struct Headers<'a>(BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>);

/// Why headers cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a user property has more than 255 bytes")]
pub(crate) struct NameTooLong;

impl<'a> Headers<'a> {
    /// Adds a user property.
    pub(crate) fn add(&mut self, property: &'a str, value: &'a str) {
        self.0.entry(NAMES.of_property(property)).or_default().push(Cow::Borrowed(value));
    }

    /// Sets a header, in place of any user property of its name.
    pub(crate) fn set(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        self.0.insert(Cow::Borrowed(name), vec![value.into()]);
    }

    /// What they take on the wire at the most, in bytes (AMQP 0-9-1 section 4.2.5.5).
    pub(crate) fn wire_bytes(&self) -> usize {
        let values = |values: &[Cow<'a, str>]| values.iter().map(|value| value.len() + 5).sum::<usize>() + 5;
        self.0.iter().map(|(name, all)| name.len() + 1 + values(all)).sum::<usize>() + 4
    }

    pub(crate) fn into_table(self) -> Result<FieldTable, NameTooLong> {
        let mut table = FieldTable::default();
        for (name, mut values) in self.0 {
            let name = ShortString::try_new(name).map_err(|_| NameTooLong)?;
            let value = match (values.pop(), values.is_empty()) {
                (Some(only), true) => long(&only),
                (last, _) => {
                    let all = values.iter().chain(&last).map(|value| long(value)).collect::<Vec<_>>();
                    AMQPValue::FieldArray(FieldArray::from(all))
                }
            };
            table.insert(name, value);
        }
        Ok(table)
    }
}

/// Sets one more header of a constant name. A table of nothing else is so made at once.
pub(crate) fn put(table: &mut FieldTable, name: &'static str, value: &str) {
    table.insert(name.into(), long(value));
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// The user properties of a message on its way in: texts, numbers and yes or no, and arrays of them. Tables and bytes have no text.
pub(crate) fn properties(table: &FieldTable) -> impl Iterator<Item = (&str, String)> {
    table
        .inner()
        .iter()
        .filter_map(|(name, value)| Some((NAMES.to_property(name.as_str())?, value)))
        .flat_map(|(name, value)| {
            let values = match value {
                AMQPValue::FieldArray(values) => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            values.iter().filter_map(text).map(move |text| (name, text))
        })
}

/// Every header that has a text, by its name there.
pub(crate) fn all(table: &FieldTable) -> Vec<(String, String)> {
    let headers = table.inner().iter().flat_map(|(name, value)| {
        let values = match value {
            AMQPValue::FieldArray(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        values.iter().filter_map(text).map(|text| (name.to_string(), text))
    });
    headers.collect()
}

/// The text of a header, where it has one.
pub(crate) fn header(table: &FieldTable, name: &str) -> Option<String> {
    table.inner().get(name).and_then(text)
}

fn text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.to_owned(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::Boolean(flag) => flag.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Float(number) => number.to_string(),
        AMQPValue::Double(number) => number.to_string(),
        AMQPValue::Timestamp(seconds) => seconds.to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(pairs: &[(&str, &str)]) -> FieldTable {
        let mut headers = Headers::default();
        pairs.iter().for_each(|(name, value)| headers.add(name, value));
        headers.into_table().unwrap()
    }

    #[test]
    fn a_property_that_repeats_is_an_array() {
        let table = table(&[("site", "a"), ("unit", "C"), ("site", "b")]);
        assert_eq!(table.inner()["unit"], long("C"));
        assert_eq!(table.inner()["site"], AMQPValue::FieldArray(vec![long("a"), long("b")].into()));
    }

    /// A device cannot have its message copied to other queues, nor pretend where it comes from.
    #[test]
    fn names_with_a_meaning_are_kept_apart() {
        let table =
            table(&[("CC", "audit"), (PATH_PROPERTY, "x"), ("user-CC", "y"), ("", "z"), ("user-id", "1")]);
        let names: Vec<&str> = table.inner().keys().map(ShortString::as_str).collect();
        assert_eq!(names, ["user-", "user-CC", "user-id", "user-tidegate-path", "user-user-CC"]);
    }

    #[test]
    fn values_of_other_kinds_are_told_as_text_where_they_have_one() {
        let mut table = FieldTable::default();
        table.insert("flag".into(), AMQPValue::Boolean(true));
        table.insert(
            "many".into(),
            AMQPValue::FieldArray(vec![AMQPValue::LongInt(-7), AMQPValue::Void].into()),
        );
        table.insert("table".into(), AMQPValue::FieldTable(FieldTable::default()));
        table.insert("bytes".into(), AMQPValue::LongString(LongString::from(&[0xff_u8][..])));
        table.insert(PATH_PROPERTY.into(), long("edge-1"));
        let found: Vec<_> = properties(&table).collect();
        assert_eq!(found, [("flag", "true".to_owned()), ("many", "-7".to_owned())]);
        assert_eq!(header(&table, PATH_PROPERTY).as_deref(), Some("edge-1"));
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let mut headers = Headers::default();
        let name = "n".repeat(256);
        headers.add(&name, "v");
        assert_eq!(headers.into_table(), Err(NameTooLong));
    }

    proptest! {
        /// Nothing is lost on the way there and back; the order is kept among properties of one name.
        #[test]
        fn user_properties_come_back(
            pairs in prop::collection::vec(("(user-)?(CC|payload-format|site|[a-z]{0,3})", ".{0,8}"), 0..8)
        ) {
            let borrowed: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let table = table(&borrowed);
            let mut expected = pairs.clone();
            expected.sort_by(|one, other| one.0.cmp(&other.0));
            let mut found: Vec<(String, String)> =
                properties(&table).map(|(name, value)| (name.to_owned(), value)).collect();
            found.sort_by(|one, other| one.0.cmp(&other.0));
            prop_assert_eq!(found, expected);
        }
    }
}

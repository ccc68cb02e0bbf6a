//! A record of Kafka becomes a message: what its headers mean here, and where it stood there.
//!
//! A tombstone (a record without a value) is a message with an empty payload. A header whose value is no text cannot be a user property and is left
//! out; a key that is no text is left out of the place.

use crate::record::{CONTENT_TYPE, CORRELATION_ID, NAMES, REPLY_TO};
use bytes::Bytes;
use rdkafka::message::{Headers, Message};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use tidegate_bridge::{ID_PROPERTY, Incoming, PATH_PROPERTY};
use tidegate_message::{Properties, QoS};

/// What headers say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    properties: Properties,
    id: Option<Box<str>>,
    path: Option<Box<str>>,
}

/// A record that became a message.
pub(crate) struct Taken {
    pub(crate) incoming: Incoming,
    /// Whether its headers are left out because they cannot be read.
    pub(crate) lacks_headers: bool,
}

pub(crate) fn incoming(lane: usize, ticket: u64, record: &impl Message) -> Taken {
    let read = record.headers().map(said);
    let lacks_headers = matches!(read, Some(None));
    let Said { properties, id, path } = read.flatten().unwrap_or_default();
    let mut place = vec![
        ("topic", record.topic().to_owned()),
        ("partition", record.partition().to_string()),
        ("offset", record.offset().to_string()),
    ];
    if let Some(Ok(key)) = record.key().map(std::str::from_utf8) {
        place.push(("key", key.to_owned()));
    }
    place.extend(record.timestamp().to_millis().map(|millis| ("timestamp", millis.to_string())));
    let incoming = Incoming {
        lane,
        ticket,
        place,
        payload: record.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: (!properties.is_empty()).then(|| Box::new(properties)),
        expires_in: None,
        id,
        path,
    };
    Taken { incoming, lacks_headers }
}

/// The client library panics at the name of a header that is no UTF-8, and offers no other way to read headers: such a record loses all of them,
/// and nothing is said here then. Nobody hears of the panic: a cluster could fill a log with it.
fn said(headers: &impl Headers) -> Option<Said> {
    hush_panics();
    let was_hushed = IS_HUSHED.replace(true);
    let said = catch_unwind(AssertUnwindSafe(|| read(headers)));
    IS_HUSHED.set(was_hushed);
    said.ok()
}

thread_local! {
    /// Whether a panic of this thread is caught and means nothing.
    static IS_HUSHED: Cell<bool> = const { Cell::new(false) };
}

/// What is called at a panic.
type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Sync + Send>;

/// Has it be called only where a panic means something.
fn hush_panics() {
    static HUSH: Once = Once::new();
    HUSH.call_once(|| set_hook(unless_hushed(take_hook())));
}

fn unless_hushed(hook: Hook) -> Hook {
    Box::new(move |panic| {
        if !IS_HUSHED.get() {
            hook(panic);
        }
    })
}

fn read(headers: &impl Headers) -> Said {
    let mut said = Said::default();
    for header in headers.iter() {
        let value = header.value.unwrap_or_default();
        if header.key == CORRELATION_ID && said.properties.correlation.is_none() {
            said.properties.correlation = Some(Bytes::copy_from_slice(value));
            continue;
        }
        let Ok(text) = std::str::from_utf8(value) else { continue };
        let known = match header.key {
            ID_PROPERTY => Some(&mut said.id),
            PATH_PROPERTY => Some(&mut said.path),
            CONTENT_TYPE => Some(&mut said.properties.content_type),
            REPLY_TO => Some(&mut said.properties.reply_to),
            _ => None,
        };
        match known {
            // Of several, the first counts.
            Some(known) => drop(known.get_or_insert_with(|| text.into())),
            None => {
                let name = NAMES.to_property(header.key).unwrap_or(header.key);
                said.properties.user.push((name.into(), text.into()));
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    fn record(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> OwnedMessage {
        let list = headers
            .iter()
            .fold(OwnedHeaders::new(), |list, (key, value)| list.insert(Header { key, value: *value }));
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        OwnedMessage::new(
            owned(value),
            owned(key),
            "plant".to_owned(),
            Timestamp::NotAvailable,
            3,
            42,
            Some(list),
        )
    }

    #[test]
    fn the_moment_of_a_record_is_known_to_templates() {
        let record = record(None, None, &[]).set_timestamp(Timestamp::CreateTime(1_795_311_000_123));
        let incoming = incoming(0, 1, &record).incoming;
        assert_eq!(tidegate_bridge::Facts::from(&incoming).timestamp_millis, Some(1_795_311_000_123));
    }

    #[test]
    fn headers_become_what_they_mean() {
        let headers: [(&str, Option<&[u8]>); 10] = [
            ("tidegate-id", Some(b"edge-2/7/c/1")),
            ("tidegate-path", Some(b"edge-2")),
            ("content-type", Some(b"text/plain")),
            ("reply-to", Some(b"answers/7")),
            ("correlation-id", Some(&[0, 255])),
            ("site", Some(b"b")),
            ("site", None),
            ("binary", Some(&[255])),
            ("tidegate-id", Some(b"another")),
            ("user-reply-to", Some(b"of the application")),
        ];
        let incoming = incoming(2, 9, &record(Some(b"k"), Some(b"21"), &headers)).incoming;
        assert_eq!((incoming.lane, incoming.ticket, &incoming.payload[..]), (2, 9, &b"21"[..]));
        assert_eq!(
            (incoming.id.as_deref(), incoming.path.as_deref()),
            (Some("edge-2/7/c/1"), Some("edge-2"))
        );
        let properties = incoming.properties.unwrap();
        assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
        assert_eq!(properties.reply_to.as_deref(), Some("answers/7"));
        assert_eq!(properties.correlation.as_deref(), Some(&[0, 255][..]));
        let user: Vec<_> = properties.user.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(user, [("site", "b"), ("site", ""), ("reply-to", "of the application")]);
        let place: Vec<_> = incoming.place.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(place, [("topic", "plant"), ("partition", "3"), ("offset", "42"), ("key", "k")]);
    }

    #[test]
    fn a_tombstone_is_an_empty_message() {
        let incoming = incoming(0, 0, &record(Some(&[255]), None, &[])).incoming;
        assert!(incoming.payload.is_empty() && incoming.properties.is_none());
        assert!(incoming.place.iter().all(|(name, _)| *name != "key"));
    }

    /// As the client library does at a name that is no UTF-8.
    struct Unreadable;

    impl Headers for Unreadable {
        fn count(&self) -> usize {
            1
        }

        fn try_get(&self, _: usize) -> Option<Header<'_, &[u8]>> {
            panic!("no UTF-8")
        }
    }

    #[test]
    fn headers_that_cannot_be_read_are_left_out_without_a_word() {
        let words = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (before, counted) = (take_hook(), words.clone());
        set_hook(unless_hushed(Box::new(move |panic| {
            // Other tests panic at will.
            match panic.payload_as_str() {
                Some("no UTF-8") => {
                    counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                _ => before(panic),
            }
        })));
        assert_eq!(said(&Unreadable), None);
        assert_eq!(words.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}

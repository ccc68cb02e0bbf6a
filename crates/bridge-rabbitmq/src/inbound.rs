//! A message of AMQP 0-9-1 becomes one of the gateway. Everything in it is somebody else's: what is not what it seems is left out.

use crate::headers::{self, BASE64, CORRELATION_ENCODING, PAYLOAD_FORMAT};
use bytes::Bytes;
use data_encoding::BASE64 as DECODER;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{FieldTable, ShortString};
use std::time::Duration;
use tidegate_bridge::{Incoming, PATH_PROPERTY, StableId};
use tidegate_message::{Properties, QoS, Topic};

/// Translates a delivery of this queue, which came on this lane.
pub(crate) fn incoming(lane: usize, ticket: u64, queue: &str, delivery: Delivery) -> Incoming {
    let Delivery { routing_key, exchange, properties, data, .. } = delivery;
    let mut place = vec![
        ("routing_key", routing_key.to_string()),
        ("exchange", exchange.to_string()),
        ("queue", queue.to_owned()),
    ];
    // The user is what RabbitMQ has checked; the others are what a publisher says.
    let sent_at_millis = properties.timestamp().and_then(|seconds| seconds.checked_mul(1000));
    let said = [
        ("user", text(properties.user_id()).map(str::to_owned)),
        ("timestamp", sent_at_millis.map(|millis| millis.to_string())),
        ("id", text(properties.message_id()).map(str::to_owned)),
    ];
    place.extend(said.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let payload = Bytes::from(data);
    let carried = carried(&properties, &payload);
    let id = text(properties.message_id()).filter(|id| StableId::parse(id).is_ok());
    let path = properties.headers().as_ref().and_then(|table| headers::header(table, PATH_PROPERTY));
    let millis = text(properties.expiration()).and_then(|text| text.parse().ok());
    Incoming {
        lane,
        ticket,
        place,
        payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Some(Box::new(carried)).filter(|carried| !carried.is_empty()),
        expires_in: millis.map(Duration::from_millis),
        id: id.map(Into::into),
        path: path.map(Into::into),
    }
}

fn carried(properties: &BasicProperties, payload: &[u8]) -> Properties {
    let none = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&none);
    let mut user: Vec<(Box<str>, Box<str>)> =
        headers::properties(table).map(|(name, value)| (name.into(), value.into())).collect();
    // RabbitMQ's own words for these have none here, and a payload that is compressed means nothing without the first one.
    let others = [
        ("content-encoding", properties.content_encoding()),
        ("type", properties.kind()),
        ("app-id", properties.app_id()),
    ];
    user.extend(others.iter().filter_map(|(name, value)| Some(((*name).into(), text(value)?.into()))));
    // An answer is expected at a topic; the name of a queue that is none is for the application to read.
    let (reply_to, other) = match text(properties.reply_to()) {
        Some(topic) if Topic::parse(topic.as_bytes()).is_ok() => (Some(topic), None),
        other => (None, other),
    };
    user.extend(other.map(|queue| ("reply-to".into(), queue.into())));
    Properties {
        content_type: text(properties.content_type()).map(Into::into),
        reply_to: reply_to.map(Into::into),
        correlation: correlation(properties, table),
        payload_is_text: payload_is_text(table, payload),
        user,
    }
}

fn correlation(properties: &BasicProperties, table: &FieldTable) -> Option<Bytes> {
    let text = text(properties.correlation_id())?;
    let is_encoded = headers::header(table, CORRELATION_ENCODING).as_deref() == Some(BASE64);
    let decoded = is_encoded.then(|| DECODER.decode(text.as_bytes()).ok()).flatten();
    Some(decoded.map_or_else(|| Bytes::copy_from_slice(text.as_bytes()), Bytes::from))
}

/// What is said of the payload, where it is true.
fn payload_is_text(table: &FieldTable, payload: &[u8]) -> Option<bool> {
    match headers::header(table, PAYLOAD_FORMAT)?.as_str() {
        "text" => std::str::from_utf8(payload).is_ok().then_some(true),
        "binary" => Some(false),
        _ => None,
    }
}

fn text(short: &Option<ShortString>) -> Option<&str> {
    short.as_ref().map(ShortString::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{FrameRoom, publication};
    use crate::test_support::{outgoing, target};
    use std::time::Instant;
    use tidegate_bridge::Facts;

    fn delivery(properties: BasicProperties, payload: &[u8]) -> Delivery {
        let mut delivery = Delivery::mock(1, "telemetry".into(), "plant.7".into(), false, payload.to_vec());
        delivery.properties = properties;
        delivery
    }

    #[test]
    fn what_one_gateway_sends_another_receives() {
        let mut message = outgoing("plant/7/state", "21");
        message.properties = Some(Box::new(Properties {
            content_type: Some("text/csv".into()),
            reply_to: Some("answers/7".into()),
            correlation: Some(Bytes::from_static(&[0, 0xff])),
            payload_is_text: Some(true),
            user: vec![("CC".into(), "a".into()), ("site".into(), "b".into()), ("site".into(), "c".into())],
        }));
        let now = Instant::now();
        message.expires_at = Some(now + Duration::from_secs(9));
        let properties =
            publication(&target("e", "k"), &message, FrameRoom(131_072), now).unwrap().properties;
        let incoming = incoming(3, 9, "inbox", delivery(properties, b"21"));
        assert_eq!((incoming.lane, incoming.ticket, &incoming.payload[..]), (3, 9, &b"21"[..]));
        assert_eq!(incoming.id.as_deref(), Some("edge-1/7/central.0/1"));
        assert_eq!(incoming.path.as_deref(), Some("edge-1"));
        assert_eq!(incoming.expires_in, Some(Duration::from_secs(9)));
        let mut user = incoming.properties.as_ref().unwrap().user.clone();
        user.sort();
        assert_eq!(user, message.properties.as_ref().unwrap().user);
        let without_user = |properties: &Properties| Properties { user: Vec::new(), ..properties.clone() };
        assert_eq!(
            without_user(&incoming.properties.unwrap()),
            without_user(message.properties.as_ref().unwrap())
        );
        let place: Vec<(&str, &str)> =
            incoming.place.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let expected = [
            ("routing_key", "plant.7"),
            ("exchange", "telemetry"),
            ("queue", "inbox"),
            ("id", "edge-1/7/central.0/1"),
        ];
        assert_eq!(place, expected);
    }

    #[test]
    fn what_a_publisher_says_of_a_message_is_known_to_templates() {
        let properties = BasicProperties::default()
            .with_user_id("scada".into())
            .with_timestamp(1_795_311_000)
            .with_message_id("c-17".into());
        let told = incoming(0, 1, "q", delivery(properties, b"21"));
        let facts = Facts::from(&told);
        assert_eq!((facts.user, facts.id), (Some("scada"), Some("c-17")));
        assert_eq!(facts.timestamp_millis, Some(1_795_311_000_000));
        assert_eq!(told.id, None, "no gateway has given it");
        let properties = BasicProperties::default().with_timestamp(u64::MAX);
        let told = incoming(0, 1, "q", delivery(properties, b"21"));
        assert_eq!((Facts::from(&told).timestamp_millis, Facts::from(&told).user), (None, None));
    }

    #[test]
    fn what_is_not_what_it_seems_is_left_out() {
        let mut table = FieldTable::default();
        table.insert(PAYLOAD_FORMAT.into(), lapin::types::AMQPValue::LongString("text".into()));
        let properties = BasicProperties::default()
            .with_message_id("of an application".into())
            .with_expiration("soon".into())
            .with_reply_to("wild/#".into())
            .with_headers(table);
        let incoming = incoming(0, 1, "q", delivery(properties, &[0xff]));
        assert_eq!((incoming.id, incoming.expires_in), (None, None));
        let carried = incoming.properties.unwrap();
        assert_eq!((carried.reply_to, carried.payload_is_text), (None, None));
        assert_eq!(carried.user, [("reply-to".into(), "wild/#".into())]);
    }
}

//! A message of the gateway becomes one of AMQP 0-9-1, or a reason why it cannot.

use crate::headers::{BASE64, CORRELATION_ENCODING, Headers, PAYLOAD_FORMAT, all, put};
use crate::options::{ForwardTarget, Persistence, SHORT_BYTES_MAX};
use data_encoding::BASE64 as ENCODER;
use lapin::BasicProperties;
use lapin::types::ShortString;
use std::time::{Duration, Instant};
use tidegate_bridge::{Facts, Outgoing, PATH_PROPERTY, Rendered, Template, Verdict};
use tidegate_message::{Properties, QoS};

/// The longest expiration that RabbitMQ takes, in milliseconds; it closes the channel at a longer one. 49 days.
const EXPIRATION_MILLIS_MAX: u64 = u32::MAX as u64;

/// What everything but the headers takes at the most: seven short strings and the numbers.
const FIXED_BYTES: usize = 8 * (SHORT_BYTES_MAX + 1);

/// The properties of a message stand in one frame (AMQP 0-9-1 section 2.3.5.2), so they have to fit into it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameRoom(pub(crate) usize);

/// What RabbitMQ offers where its configuration says nothing, in bytes.
const FRAME_DEFAULT: FrameRoom = FrameRoom(131_072);

/// What is published, beside the payload.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
}

/// Translates a message that is sent now.
pub(crate) fn publication(
    target: &ForwardTarget,
    outgoing: &Outgoing,
    room: FrameRoom,
    now: Instant,
) -> Result<Publication, Verdict> {
    let expires_in = outgoing.expires_in(now)?;
    let facts = Facts::from(outgoing);
    let mut scratch = String::new();
    let exchange = short("the exchange", rendered("the exchange", &target.exchange, &facts, &mut scratch)?)?;
    let routing_key = rendered("the routing key", &target.routing_key, &facts, &mut scratch)?;
    let routing_key = short("the routing key", routing_key)?;
    let mut headers = Headers::default();
    let mut properties = BasicProperties::default()
        .with_message_id(short("the id", &*outgoing.id)?)
        .with_delivery_mode(delivery_mode(target.persistence, outgoing.qos));
    if let Some(carried) = &outgoing.properties {
        properties = carry(properties, carried, &mut headers)?;
    }
    for (name, template) in &target.headers {
        headers.set(name, rendered("a header", template, &facts, &mut scratch)?.to_owned());
    }
    if let Some(left) = expires_in {
        properties =
            properties.with_expiration(short("the expiration", expiration_millis(left).to_string())?);
    }
    if let Some(millis) = facts.timestamp_millis {
        properties = properties.with_timestamp(millis / 1000);
    }
    if headers.wire_bytes() + PATH_PROPERTY.len() + outgoing.path.len() + FIXED_BYTES > room.0 {
        return Err(too_large(room));
    }
    let mut table = headers.into_table().map_err(|error| not_expressible(error.to_string()))?;
    put(&mut table, PATH_PROPERTY, &outgoing.path);
    Ok(Publication { exchange, routing_key, properties: properties.with_headers(table) })
}

/// A message as it would be published, over a connection whose frames are as large as those of a RabbitMQ that nobody has changed.
pub(crate) fn rendered_message(target: &ForwardTarget, outgoing: &Outgoing) -> Result<Rendered, Verdict> {
    let Publication { exchange, routing_key, properties } =
        publication(target, outgoing, FRAME_DEFAULT, Instant::now())?;
    let mut fields = vec![("exchange", exchange.to_string()), ("routing key", routing_key.to_string())];
    let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    let others = [
        ("message id", text(properties.message_id())),
        ("delivery mode", properties.delivery_mode().map(|mode| mode.to_string())),
        ("content type", text(properties.content_type())),
        ("reply to", text(properties.reply_to())),
        ("correlation id", text(properties.correlation_id())),
        ("expiration", text(properties.expiration())),
        ("timestamp", properties.timestamp().map(|seconds| seconds.to_string())),
    ];
    fields.extend(others.into_iter().filter_map(|(name, value)| Some((name, value?))));
    fields.push(("mandatory", target.mandatory.to_string()));
    let headers = properties.headers().as_ref().map(all).unwrap_or_default();
    Ok(Rendered { fields, headers, payload: outgoing.payload.clone() })
}

/// What the message carries of its own.
fn carry<'a>(
    mut properties: BasicProperties,
    carried: &'a Properties,
    headers: &mut Headers<'a>,
) -> Result<BasicProperties, Verdict> {
    carried.user.iter().for_each(|(name, value)| headers.add(name, value));
    if let Some(content_type) = &carried.content_type {
        properties = properties.with_content_type(short("the content type", &**content_type)?);
    }
    if let Some(reply_to) = &carried.reply_to {
        properties = properties.with_reply_to(short("the reply-to", &**reply_to)?);
    }
    if let Some(is_text) = carried.payload_is_text {
        headers.set(PAYLOAD_FORMAT, if is_text { "text" } else { "binary" });
    }
    if let Some(correlation) = &carried.correlation {
        let text = match std::str::from_utf8(correlation) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                headers.set(CORRELATION_ENCODING, BASE64);
                ENCODER.encode(correlation)
            }
        };
        properties = properties.with_correlation_id(short("the correlation", text)?);
    }
    Ok(properties)
}

/// What is left of a lifetime, as RabbitMQ takes it: nothing left would be "only to a consumer that waits".
fn expiration_millis(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).clamp(1, EXPIRATION_MILLIS_MAX)
}

/// 1 is kept in memory, 2 is written to the disk.
fn delivery_mode(persistence: Persistence, qos: QoS) -> u8 {
    match persistence {
        Persistence::Never => 1,
        Persistence::ByQos if qos == QoS::AtMostOnce => 1,
        Persistence::ByQos | Persistence::Always => 2,
    }
}

fn rendered<'t>(
    what: &str,
    template: &'t Template,
    facts: &Facts<'_>,
    scratch: &'t mut String,
) -> Result<&'t str, Verdict> {
    template.rendered(facts, scratch).map_err(|error| not_expressible(format!("{what}: {error}")))
}

fn short(what: &str, text: impl Into<String>) -> Result<ShortString, Verdict> {
    ShortString::try_new(text)
        .map_err(|_| not_expressible(format!("{what} would have more than {SHORT_BYTES_MAX} bytes")))
}

fn not_expressible(reason: String) -> Verdict {
    Verdict::Never { label: "not_expressible", reason }
}

fn too_large(room: FrameRoom) -> Verdict {
    let reason = format!("its properties do not fit into a frame of {} bytes", room.0);
    Verdict::Never { label: "too_large", reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{outgoing, target};
    use bytes::Bytes;

    const ROOM: FrameRoom = FrameRoom(131_072);

    fn label(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Never { label, .. } => label,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_is_told_in_the_words_of_amqp() {
        let mut message = outgoing("plant/7/state", "21");
        message.properties = Some(Box::new(Properties {
            content_type: Some("text/csv".into()),
            reply_to: Some("answers/7".into()),
            correlation: Some(Bytes::from_static(&[0, 0xff])),
            payload_is_text: Some(true),
            user: vec![("site".into(), "a".into())],
        }));
        let now = Instant::now();
        message.expires_at = Some(now + Duration::from_millis(1500));
        let publication = publication(&target("telemetry", "{topic}"), &message, ROOM, now).unwrap();
        assert_eq!(
            (publication.exchange.as_str(), publication.routing_key.as_str()),
            ("telemetry", "plant.7.state")
        );
        let properties = publication.properties;
        let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(text(properties.content_type()), "text/csv");
        assert_eq!(text(properties.reply_to()), "answers/7");
        assert_eq!(text(properties.correlation_id()), "AP8=");
        assert_eq!(text(properties.expiration()), "1500");
        assert_eq!(text(properties.message_id()), "edge-1/7/central.0/1");
        assert_eq!(properties.delivery_mode(), &Some(2));
        let headers = properties.headers().as_ref().unwrap();
        let header = |name| crate::headers::header(headers, name).unwrap();
        assert_eq!((header("site"), header(PAYLOAD_FORMAT)), ("a".to_owned(), "text".to_owned()));
        assert_eq!(
            (header(CORRELATION_ENCODING), header(PATH_PROPERTY)),
            (BASE64.to_owned(), "edge-1".to_owned())
        );
    }

    #[test]
    fn what_was_not_promised_to_a_device_is_not_written_to_a_disk_there() {
        assert_eq!(delivery_mode(Persistence::ByQos, QoS::AtMostOnce), 1);
        assert_eq!(delivery_mode(Persistence::ByQos, QoS::AtLeastOnce), 2);
        assert_eq!(delivery_mode(Persistence::Always, QoS::AtMostOnce), 2);
        assert_eq!(delivery_mode(Persistence::Never, QoS::ExactlyOnce), 1);
    }

    /// RabbitMQ closes the channel at an expiration of more than 32 bits.
    #[test]
    fn an_expiration_is_one_that_rabbitmq_takes() {
        assert_eq!(expiration_millis(Duration::ZERO), 1);
        assert_eq!(expiration_millis(Duration::from_secs(u64::MAX)), 4_294_967_295);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_says_so() {
        let long = format!("t/{}", "x".repeat(300));
        assert_eq!(
            label(
                publication(&target("e", "{topic}"), &outgoing(&long, ""), ROOM, Instant::now()).unwrap_err()
            ),
            "not_expressible"
        );
        let absent = publication(&target("e", "{property.site}"), &outgoing("t", ""), ROOM, Instant::now())
            .unwrap_err();
        assert_eq!(label(absent), "not_expressible");
        let mut message = outgoing("t", "");
        let user = vec![("site".into(), "x".repeat(131_072).into())];
        message.properties = Some(Box::new(Properties { user, ..Properties::default() }));
        assert_eq!(
            label(publication(&target("e", "k"), &message, ROOM, Instant::now()).unwrap_err()),
            "too_large"
        );
        let correlation = Some(Bytes::from(vec![0xff; 200]));
        message.properties = Some(Box::new(Properties { correlation, ..Properties::default() }));
        assert_eq!(
            label(publication(&target("e", "k"), &message, ROOM, Instant::now()).unwrap_err()),
            "not_expressible"
        );
    }

    #[test]
    fn a_header_of_the_configuration_wins_over_a_property_of_its_name() {
        let mut target = target("e", "k");
        let template = crate::test_support::template("{topic[0]}", tidegate_bridge::Form::Text);
        target.headers = vec![("site".to_owned(), template)];
        let mut message = outgoing("plant/7", "");
        let user = vec![("site".into(), "forged".into())];
        message.properties = Some(Box::new(Properties { user, ..Properties::default() }));
        let properties = publication(&target, &message, ROOM, Instant::now()).unwrap().properties;
        let headers = properties.headers().as_ref().unwrap();
        assert_eq!(crate::headers::header(headers, "site").as_deref(), Some("plant"));
    }
}

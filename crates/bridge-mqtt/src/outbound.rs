//! A message of the gateway becomes one of MQTT, or a reason why it cannot.

use crate::options::MqttOptions;
use std::time::{Duration, Instant};
use tidegate_bridge::{Facts, ID_PROPERTY, Outgoing, PATH_PROPERTY, Rendered, Verdict};
use tidegate_message::{QoS, Topic};
use tidegate_mqtt::codec::{EncodeError, PropertiesBuffer, Property, Version, properties_of_message};

/// What is published, beside the payload.
pub(crate) struct Publication {
    pub(crate) topic: Topic,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: PropertiesBuffer,
}

/// Translates a message that is sent now.
pub(crate) fn publication(
    options: &MqttOptions,
    outgoing: &Outgoing,
    scratch: &mut String,
    now: Instant,
) -> Result<Publication, Verdict> {
    let Some(forward) = options.forwards.get(outgoing.lane) else {
        return Err(not_expressible(&"the bridge has no such forward"));
    };
    let expires_in = outgoing.expires_in(now)?;
    let facts = Facts { node: Some(&options.node), ..Facts::from(outgoing) };
    let topic = forward.topic.render_topic(&facts, scratch).map_err(|error| not_expressible(&error))?;
    Ok(Publication {
        topic,
        qos: outgoing.qos.min(QoS::AtLeastOnce),
        retain: outgoing.retain && forward.retain,
        properties: properties(options.version, outgoing, expires_in)
            .map_err(|error| not_expressible(&error))?,
    })
}

/// What a message carries, with its id and path; nothing before MQTT 5.0, which has no place for any of it.
fn properties(
    version: Version,
    outgoing: &Outgoing,
    expires_in: Option<Duration>,
) -> Result<PropertiesBuffer, EncodeError> {
    let mut buffer = PropertiesBuffer::new();
    if version != Version::V5 {
        return Ok(buffer);
    }
    // MQTT 5.0 section 3.3.2.3.3: without the time for which it has waited here.
    if let Some(expires_in) = expires_in {
        let seconds = u32::try_from(expires_in.as_secs()).unwrap_or(u32::MAX).max(1);
        buffer.push(Property::MessageExpiryInterval(seconds))?;
    }
    if let Some(properties) = &outgoing.properties {
        buffer.extend(properties_of_message(properties))?;
    }
    buffer.push(Property::UserProperty((ID_PROPERTY, &outgoing.id)))?;
    buffer.push(Property::UserProperty((PATH_PROPERTY, &outgoing.path)))?;
    Ok(buffer)
}

/// A message as it would be published.
pub(crate) fn rendered(options: &MqttOptions, outgoing: &Outgoing) -> Result<Rendered, Verdict> {
    let publication = publication(options, outgoing, &mut String::new(), Instant::now())?;
    let mut fields = vec![
        ("topic", publication.topic.as_str().to_owned()),
        ("qos", u8::from(publication.qos > QoS::AtMostOnce).to_string()),
        ("retain", publication.retain.to_string()),
    ];
    let properties = publication.properties.as_ref();
    let form = |is_text: bool| if is_text { "text" } else { "binary" }.to_owned();
    let others = [
        ("payload format", properties.payload_format_indicator().map(form)),
        ("message expiry", properties.message_expiry_interval().map(|seconds| format!("{seconds}s"))),
        ("content type", properties.content_type().map(str::to_owned)),
        ("response topic", properties.response_topic().map(str::to_owned)),
        ("correlation data", properties.correlation_data().map(|bytes| bytes.escape_ascii().to_string())),
    ];
    fields.extend(others.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let headers = properties.user_properties().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Rendered { fields, headers: headers.collect(), payload: outgoing.payload.clone() })
}

fn not_expressible(reason: &dyn std::fmt::Display) -> Verdict {
    Verdict::Never { label: "not_expressible", reason: reason.to_string() }
}

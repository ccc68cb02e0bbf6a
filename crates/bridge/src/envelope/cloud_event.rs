//! CloudEvents 1.0.2: the attributes of a message as an event, and the JSON format in structured mode.
//!
//! User properties, expiry, reply-to and correlation are no part of an event: they travel beside it as they do without an envelope. An event that is
//! opened leaves its source and type behind as user properties of these names, which is where the MQTT binding puts them; further extension attributes
//! are not kept.

use super::content::{self, Content};
use super::{OpenError, Parts, SealError};
use crate::facts::Facts;
use crate::moment::Moment;
use crate::template::Template;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tidegate_message::{Properties, QoS};

const VERSION: &str = "1.0";
const JSON: &str = "application/json";

/// How messages become events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloudEvents {
    /// The `source` of events; `/` and the node's name where there is none.
    pub source: Option<Template>,
    /// Their `type`; `tidegate.message` where there is none.
    pub event_type: Option<Template>,
}

/// The attributes of one event (CloudEvents 1.0.2, "Context Attributes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CloudEvent<'a> {
    id: &'a str,
    source: String,
    event_type: String,
    subject: &'a str,
    time: Option<Moment>,
    content_type: Option<&'a str>,
    qos: QoS,
    retain: bool,
    client_id: Option<&'a str>,
    user: Option<&'a str>,
}

/// In the JSON format; null is an attribute that is not set (section 2.2).
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Object<'a> {
    specversion: Cow<'a, str>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    #[serde(rename = "type")]
    event_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retain: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clientid: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", deserialize_with = "content::present")]
    data: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<Cow<'a, str>>,
}

impl CloudEvents {
    /// The event that a message is.
    pub(super) fn event<'a>(&self, facts: &Facts<'a>) -> Result<CloudEvent<'a>, SealError> {
        let rendered = |template: &Option<Template>, otherwise: String| match template {
            Some(template) => {
                let mut text = String::new();
                template.render(facts, &mut text).map(|()| text)
            }
            None => Ok(otherwise),
        };
        let event = CloudEvent {
            id: facts.id.ok_or(SealError::Missing("id"))?,
            source: rendered(&self.source, format!("/{}", facts.node.unwrap_or_default()))?,
            event_type: rendered(&self.event_type, "tidegate.message".to_owned())?,
            subject: facts.topic,
            time: facts.timestamp_millis.and_then(Moment::in_four_digits),
            content_type: facts.content_type(),
            qos: facts.qos,
            retain: facts.retain,
            client_id: facts.client_id,
            user: facts.user,
        };
        event.check()?;
        Ok(event)
    }
}

impl CloudEvent<'_> {
    /// The event in the JSON format (section 3.1.1).
    pub(super) fn seal(&self, payload: &[u8]) -> Result<Vec<u8>, SealError> {
        let (data, data_base64, content_type) = self.data(payload);
        let object = Object {
            specversion: VERSION.into(),
            id: Some(self.id.into()),
            source: Some(self.source.as_str().into()),
            event_type: Some(self.event_type.as_str().into()),
            subject: (!self.subject.is_empty()).then_some(self.subject.into()),
            time: self.time.map(|time| time.to_string().into()),
            datacontenttype: content_type.map(Cow::Borrowed),
            qos: Some(self.qos.number()),
            retain: Some(self.retain),
            clientid: self.client_id.map(Cow::Borrowed),
            user: self.user.map(Cow::Borrowed),
            data,
            data_base64,
        };
        let mut bytes = Vec::with_capacity(payload.len() + 256);
        serde_json::to_writer(&mut bytes, &object).map_err(|_| SealError::Json)?;
        Ok(bytes)
    }

    /// How the payload stands in the event. Base64 stands for what is no text, and for what is not the JSON that it is said to be.
    fn data<'p>(&'p self, payload: &'p [u8]) -> (Option<Content<'p>>, Option<Cow<'p, str>>, Option<&'p str>) {
        let declared = self.content_type;
        if payload.is_empty() {
            return (None, None, declared);
        }
        let json = match declared {
            Some(declared) if !is_json(declared) => None,
            _ => content::json(payload).map(Content::Json),
        };
        let text = || str::from_utf8(payload).ok().map(Content::Text);
        match (json, declared) {
            (Some(json), declared) => (Some(json), None, Some(declared.unwrap_or(JSON))),
            (None, Some(declared)) if is_json(declared) => {
                (None, Some(content::base64(payload)), Some(declared))
            }
            (None, declared) => match text() {
                Some(text) => (Some(text), None, Some(declared.unwrap_or("text/plain"))),
                None => (None, Some(content::base64(payload)), declared),
            },
        }
    }

    /// What attributes may hold ("Type System"): strings have no control characters, and a source is a reference.
    fn check(&self) -> Result<(), SealError> {
        let attributes = [
            ("id", self.id),
            ("source", &self.source),
            ("type", &self.event_type),
            ("subject", self.subject),
            ("datacontenttype", self.content_type.unwrap_or_default()),
            ("clientid", self.client_id.unwrap_or_default()),
            ("user", self.user.unwrap_or_default()),
        ];
        for (attribute, value) in attributes {
            let is_wrong = |c: &char| c.is_control() || (attribute == "source" && !is_of_reference(*c));
            if let Some(character) = value.chars().find(is_wrong) {
                return Err(SealError::Character { attribute, character });
            }
        }
        let needed = [("id", self.id), ("source", &self.source), ("type", &self.event_type)];
        match needed.into_iter().find(|(_, value)| value.is_empty()) {
            Some((attribute, _)) => Err(SealError::Missing(attribute)),
            None => Ok(()),
        }
    }
}

/// What may stand in a reference (RFC 3986 section 2), everything else being written with `%`.
fn is_of_reference(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(character)
}

/// `*/json` or `*/*+json`, with or without parameters (section 3.1.1).
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// Opens an event in the JSON format (section 3.1.2).
pub(super) fn open(bytes: &[u8]) -> Result<Parts, OpenError> {
    let object: Object<'_> = serde_json::from_slice(bytes)?;
    if object.specversion != VERSION {
        return Err(OpenError::Version);
    }
    let needed = |field, value: Option<Cow<'_, str>>| match value {
        Some(value) if !value.is_empty() => Ok(value.into_owned().into_boxed_str()),
        _ => Err(OpenError::field(field, "is missing")),
    };
    let (payload, content_type) = read_data(object.data, object.data_base64, object.datacontenttype)?;
    let time = |text: Cow<'_, str>| {
        Moment::parse(&text).ok_or_else(|| OpenError::field("time", "is not a time of RFC 3339"))
    };
    let level = |number| QoS::from_number(number).ok_or_else(|| OpenError::field("qos", "is not 0, 1 or 2"));
    let owned = |text: Option<Cow<'_, str>>| text.map(|text| text.into_owned().into_boxed_str());
    let user = vec![
        ("source".into(), needed("source", object.source)?),
        ("type".into(), needed("type", object.event_type)?),
    ];
    Parts {
        topic: owned(object.subject),
        payload: payload.into(),
        qos: object.qos.map(level).transpose()?,
        retain: object.retain.unwrap_or_default(),
        properties: Properties { content_type, user, ..Properties::default() },
        timestamp_millis: object.time.map(time).transpose()?.map(|Moment(millis)| millis),
        client_id: owned(object.clientid),
        user: owned(object.user),
        id: Some(needed("id", object.id)?),
        ..Parts::default()
    }
    .checked()
}

/// The payload and its content type, which is JSON where an event with data does not say so.
fn read_data(
    data: Option<Content<'_>>,
    data_base64: Option<Cow<'_, str>>,
    declared: Option<Cow<'_, str>>,
) -> Result<(Vec<u8>, Option<Box<str>>), OpenError> {
    let content_type = declared.map(|text| text.into_owned().into_boxed_str());
    match (data, data_base64) {
        (Some(_), Some(_)) => Err(OpenError::field("data", "stands beside `data_base64`")),
        (None, None) => Ok((Vec::new(), content_type)),
        (None, Some(text)) => Ok((content::bytes("data_base64", &text)?, content_type)),
        (Some(data), None) if content_type.as_deref().is_none_or(is_json) => {
            Ok((data.verbatim().as_bytes().to_vec(), Some(content_type.unwrap_or_else(|| JSON.into()))))
        }
        (Some(data), None) => match data.string()? {
            Some(text) => Ok((text.into_bytes(), content_type)),
            None => Err(OpenError::field("data", "is no string, although its content type is not JSON")),
        },
    }
}

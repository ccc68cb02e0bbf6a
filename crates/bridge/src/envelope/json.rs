//! The gateway's own envelope: one JSON object with everything that is known of the message.
//!
//! What is bytes is text where it is UTF-8, and base64 in a field of another name where it is not. Unknown fields are ignored, so that an envelope of
//! a later version can be opened. docs/reference/envelopes.md lists the fields.

use super::content::{self, Content};
use super::{OpenError, Parts, PayloadForm, SealError};
use crate::facts::Facts;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tidegate_message::{Properties, QoS};

/// Written as it stands; read with everything optional but a payload.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Object<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<u8>,
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_millis: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_is_text: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_base64: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", deserialize_with = "content::present")]
    payload: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<Cow<'a, str>>,
}

pub(super) fn seal(facts: &Facts<'_>, form: PayloadForm) -> Result<Vec<u8>, SealError> {
    let (payload, payload_base64) = match told(facts.payload, form) {
        Some(content) => (Some(content), None),
        None => (None, Some(content::base64(facts.payload))),
    };
    let correlation = facts.properties.and_then(|properties| properties.correlation.as_deref());
    let correlation_text = correlation.and_then(|bytes| str::from_utf8(bytes).ok());
    let object = Object {
        topic: (!facts.topic.is_empty()).then_some(facts.topic.into()),
        qos: Some(facts.qos.number()),
        retain: facts.retain,
        timestamp: facts.timestamp_millis,
        expires_in_millis: facts.expires_in_millis,
        node: facts.node.map(Cow::Borrowed),
        id: facts.id.map(Cow::Borrowed),
        client_id: facts.client_id.map(Cow::Borrowed),
        user: facts.user.map(Cow::Borrowed),
        content_type: facts.content_type().map(Cow::Borrowed),
        payload_is_text: facts.properties.and_then(|properties| properties.payload_is_text),
        reply_to: facts.properties.and_then(|properties| properties.reply_to.as_deref()).map(Cow::Borrowed),
        correlation: correlation_text.map(Cow::Borrowed),
        correlation_base64: correlation.filter(|_| correlation_text.is_none()).map(content::base64),
        properties: facts.travelling().map(|(name, value)| (name.into(), value.into())).collect(),
        payload,
        payload_base64,
    };
    let mut bytes = Vec::with_capacity(facts.payload.len() + 256);
    serde_json::to_writer(&mut bytes, &object).map_err(|_| SealError::Json)?;
    Ok(bytes)
}

/// A payload that is no base64. A string of JSON stands as text, with its quotes, so that it is not taken for the text in it.
fn told(payload: &[u8], form: PayloadForm) -> Option<Content<'_>> {
    let json = match form {
        PayloadForm::Json => content::json(payload).filter(|json| !json.get().starts_with('"')),
        PayloadForm::Text => None,
    };
    json.map(Content::Json).or_else(|| str::from_utf8(payload).ok().map(Content::Text))
}

pub(super) fn open(bytes: &[u8]) -> Result<Parts, OpenError> {
    let object: Object<'_> = serde_json::from_slice(bytes)?;
    let level = |number| QoS::from_number(number).ok_or_else(|| OpenError::field("qos", "is not 0, 1 or 2"));
    Parts {
        qos: object.qos.map(level).transpose()?,
        payload: read_payload(object.payload, object.payload_base64)?.into(),
        properties: Properties {
            content_type: owned(object.content_type),
            reply_to: owned(object.reply_to),
            correlation: read_correlation(object.correlation, object.correlation_base64)?.map(Into::into),
            payload_is_text: object.payload_is_text,
            user: object.properties.into_iter().map(|(name, value)| (boxed(name), boxed(value))).collect(),
        },
        topic: owned(object.topic),
        retain: object.retain,
        expires_in_millis: object.expires_in_millis,
        timestamp_millis: object.timestamp,
        node: owned(object.node),
        client_id: owned(object.client_id),
        user: owned(object.user),
        id: owned(object.id),
    }
    .checked()
}

fn boxed(text: Cow<'_, str>) -> Box<str> {
    text.into_owned().into_boxed_str()
}

fn owned(text: Option<Cow<'_, str>>) -> Option<Box<str>> {
    text.map(boxed)
}

fn read_payload(payload: Option<Content<'_>>, base64: Option<Cow<'_, str>>) -> Result<Vec<u8>, OpenError> {
    match (payload, base64) {
        (Some(content), None) => heard(content),
        (None, Some(text)) => content::bytes("payload_base64", &text),
        (Some(_), Some(_)) => Err(OpenError::field("payload", "stands beside `payload_base64`")),
        (None, None) => Err(OpenError::field("payload", "is missing, and so is `payload_base64`")),
    }
}

fn read_correlation(
    text: Option<Cow<'_, str>>,
    base64: Option<Cow<'_, str>>,
) -> Result<Option<Vec<u8>>, OpenError> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(OpenError::field("correlation", "stands beside `correlation_base64`")),
        (None, Some(text)) => content::bytes("correlation_base64", &text).map(Some),
        (text, None) => Ok(text.map(|text| text.into_owned().into_bytes())),
    }
}

fn heard(content: Content<'_>) -> Result<Vec<u8>, OpenError> {
    match content {
        Content::Json(json) if !json.get().starts_with('"') => Ok(json.get().as_bytes().to_vec()),
        string => Ok(string.string()?.unwrap_or_default().into_bytes()),
    }
}

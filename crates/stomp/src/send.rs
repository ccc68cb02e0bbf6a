//! SEND: headers into a message, by the mapping that all protocols share.
//!
//! Everything that this server does not know is a user property and passes through ([STOMP-1.2/SEND]).

use crate::answers::await_answers;
use crate::codec::{Command, Frame};
use crate::names::{Names, Place, Target, is_temporary};
use crate::reason::Fault;
use crate::standard_headers::{is_standard, property_of_header};
use crate::subscribe::flag;
use crate::subscriptions::Subscriptions;
use crate::transactions::Transactions;
use bytes::Bytes;
use data_encoding::BASE64;
use std::borrow::Cow;
use std::time::Duration;
use tidegate_message::{Properties, QoS};
use tidegate_protocol::{Answer, Broker, Publish};

/// The longest lifetime in milliseconds: the longest that MQTT can say, in seconds of 32 bits.
const EXPIRATION_MAX: u64 = 4_294_967_295_000;

/// The headers of a SEND that mean something here; of repeated ones the first ([STOMP-1.2/Repeated Header Entries]).
#[derive(Debug, Default)]
struct SendHeaders<'f> {
    destination: Option<&'f str>,
    content_type: Option<&'f str>,
    reply_to: Option<&'f str>,
    correlation_id: Option<&'f str>,
    correlation_id_encoding: Option<&'f str>,
    payload_format: Option<&'f str>,
    expiration: Option<&'f str>,
    qos: Option<&'f str>,
    persistent: Option<&'f str>,
    retain: Option<&'f str>,
    transaction: Option<&'f str>,
    user: Vec<(Box<str>, Box<str>)>,
}

/// What a SEND asks for. Borrowed from its frame, or kept for a transaction.
#[derive(Debug)]
pub(crate) struct Letter<'f> {
    topic: Cow<'f, str>,
    payload: Cow<'f, [u8]>,
    qos: QoS,
    retain: bool,
    properties: Properties,
    /// Its lifetime, which begins when it is published.
    expiry: Option<Duration>,
}

/// Handles SEND: the broker has taken the message, and says when it may be acknowledged, or the transaction has it.
pub(crate) fn send(
    frame: &Frame<'_>,
    names: &mut Names,
    subscriptions: &mut Subscriptions,
    transactions: &mut Transactions,
    broker: &mut dyn Broker,
) -> Result<Answer, Fault> {
    let headers = SendHeaders::read(frame);
    let (transaction, reply_to) = (headers.transaction, headers.reply_to);
    let letter = Letter::read(headers, names, broker, frame.body)?;
    if let Some(reply_to) = reply_to.filter(|reply_to| is_temporary(reply_to)) {
        await_answers(reply_to, &names.source_of(reply_to, broker)?, subscriptions, broker)?;
    }
    match transaction {
        Some(name) => transactions.hold(name, letter).map(|()| Answer::Now),
        None => Ok(broker.publish(&letter.as_publish())?.answer),
    }
}

impl<'f> Letter<'f> {
    fn read(
        headers: SendHeaders<'f>,
        names: &mut Names,
        broker: &mut dyn Broker,
        body: &'f [u8],
    ) -> Result<Letter<'f>, Fault> {
        let destination = headers
            .destination
            .ok_or(Fault::MissingHeader { command: Command::Send, name: "destination" })?;
        let target = names.target_of(destination, broker)?;
        Ok(Letter {
            payload: Cow::Borrowed(body),
            qos: headers.qos()?,
            retain: headers.retain(&target)?,
            expiry: headers.expiry()?,
            topic: target.topic,
            properties: headers.properties(names, broker, body)?,
        })
    }

    /// The same for the broker.
    pub(crate) fn as_publish(&self) -> Publish<'_> {
        Publish {
            topic: self.topic.as_bytes(),
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: (!self.properties.is_empty()).then_some(&self.properties),
            expiry: self.expiry,
        }
    }

    /// The same without its frame.
    pub(crate) fn into_owned(self) -> Letter<'static> {
        Letter {
            topic: Cow::Owned(self.topic.into_owned()),
            payload: Cow::Owned(self.payload.into_owned()),
            ..self
        }
    }

    /// What it takes without its frame, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        size_of::<Letter<'_>>() + self.topic.len() + self.payload.len() + self.properties.heap_bytes()
    }
}

impl<'f> SendHeaders<'f> {
    fn read(frame: &'f Frame<'_>) -> SendHeaders<'f> {
        let mut headers = SendHeaders::default();
        for (name, value) in frame.headers.iter() {
            let slot = match name {
                "destination" => &mut headers.destination,
                "content-type" => &mut headers.content_type,
                "reply-to" => &mut headers.reply_to,
                "correlation-id" => &mut headers.correlation_id,
                "correlation-id-encoding" => &mut headers.correlation_id_encoding,
                "payload-format" => &mut headers.payload_format,
                "expiration" => &mut headers.expiration,
                "qos" => &mut headers.qos,
                "persistent" => &mut headers.persistent,
                "retain" => &mut headers.retain,
                "transaction" => &mut headers.transaction,
                // What most frames have, and what is read elsewhere.
                "content-length" | "receipt" => continue,
                _ => {
                    if !is_standard(name) {
                        headers.user.push((property_of_header(name).into(), value.into()));
                    }
                    continue;
                }
            };
            slot.get_or_insert(value);
        }
        headers
    }

    /// `qos`, or what `persistent` says; at least once where both are missing.
    fn qos(&self) -> Result<QoS, Fault> {
        let persistent = flag("persistent", self.persistent)?;
        match self.qos {
            Some("0") => Ok(QoS::AtMostOnce),
            Some("1") => Ok(QoS::AtLeastOnce),
            Some("2") => Ok(QoS::ExactlyOnce),
            Some(_) => Err(Fault::InvalidHeader { name: "qos", expected: "0, 1 or 2" }),
            None if persistent == Some(false) => Ok(QoS::AtMostOnce),
            None => Ok(QoS::AtLeastOnce),
        }
    }

    /// Whether the message is kept for later subscribers; only topics have a last value.
    fn retain(&self, target: &Target<'_>) -> Result<bool, Fault> {
        let retain = flag("retain", self.retain)?.unwrap_or(false);
        match retain && target.place != Place::Topic {
            true => Err(Fault::InvalidHeader { name: "retain", expected: "left out: only topics retain" }),
            false => Ok(retain),
        }
    }

    /// The lifetime. Zero is refused: to some servers it means "at once", to others "never".
    fn expiry(&self) -> Result<Option<Duration>, Fault> {
        let Some(text) = self.expiration else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(milliseconds @ 1..=EXPIRATION_MAX) => Ok(Some(Duration::from_millis(milliseconds))),
            _ => Err(Fault::InvalidHeader {
                name: "expiration",
                expected: "a whole number of milliseconds from 1 to 4294967295000",
            }),
        }
    }

    fn properties(
        self,
        names: &mut Names,
        broker: &mut dyn Broker,
        body: &[u8],
    ) -> Result<Properties, Fault> {
        let reply_to = self.reply_to.map(|text| names.reply_topic_of(text, broker)).transpose()?;
        Ok(Properties {
            correlation: self.correlation()?,
            payload_is_text: self.payload_is_text(body)?,
            content_type: self.content_type.map(Box::from),
            reply_to: reply_to.map(Box::from),
            user: self.user,
        })
    }

    fn correlation(&self) -> Result<Option<Bytes>, Fault> {
        let Some(text) = self.correlation_id else { return Ok(None) };
        match self.correlation_id_encoding {
            None => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
            Some("base64") => match BASE64.decode(text.as_bytes()) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(_) => Err(Fault::InvalidHeader {
                    name: "correlation-id",
                    expected: "base64, as its encoding says",
                }),
            },
            Some(_) => Err(Fault::InvalidHeader { name: "correlation-id-encoding", expected: "`base64`" }),
        }
    }

    /// MQTT receivers are told what it says, and may close the connection where it is not true (MQTT 5.0 section 3.3.2.3.2).
    fn payload_is_text(&self, body: &[u8]) -> Result<Option<bool>, Fault> {
        match self.payload_format {
            None => Ok(None),
            Some("binary") => Ok(Some(false)),
            Some("text") if simdutf8::basic::from_utf8(body).is_ok() => Ok(Some(true)),
            Some("text") => Err(Fault::InvalidHeader {
                name: "payload-format",
                expected: "left out where the body is not UTF-8",
            }),
            Some(_) => Err(Fault::InvalidHeader { name: "payload-format", expected: "`text` or `binary`" }),
        }
    }
}

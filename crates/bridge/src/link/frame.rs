//! What a link and its machine say to each other: frames of bytes, which never leave the process.
//!
//! A frame is its length without these four bytes (big-endian, at most [`FRAME_BYTES_MAX`]), a byte that says what it is, and its
//! fields. Numbers are big-endian; a text or a run of bytes has its length in front, in four bytes.

mod fields;

use self::fields::{Fields, Flags};
use super::deadline::{deadline_of, number_of};
use super::{Delivered, LinkRefusal, Publishing};
use crate::facts::millis;
use bytes::{BufMut, Bytes, BytesMut};
use std::time::Duration;
use tidegate_message::{Properties, Publisher, QoS, Topic};
use tidegate_protocol::{Backlog, Delivery, DeliveryTag, Outcome};

/// The longest frame: more than the largest message that a protocol takes.
pub(super) const FRAME_BYTES_MAX: usize = 512 << 20;

const LENGTH_BYTES: usize = 4;

/// A frame that says nothing: a fault of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame between a link and its machine makes no sense")]
pub struct BadFrame;

/// What the client asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// A session of this name, whose deliveries begin at once.
    Attach { name: String, credit: u32 },
    /// A filter for the session.
    Subscribe { filter: Bytes, qos_max: QoS, retained: bool },
    /// These filters stay with the session, and no other.
    KeepOnly(Vec<Bytes>),
    /// Everything since the last answer to `Done` was handled.
    Done,
    /// A message.
    Publish { ticket: u64, publishing: Publishing },
    /// What became of a delivery.
    Settle { tag: DeliveryTag, outcome: Outcome },
    /// What becomes of what waits in the session.
    Arrange(Backlog),
    /// What the session saves together with the next message.
    SaveMore(Bytes),
    /// What it saves in place of everything before.
    SaveWhole(Bytes),
    /// The session ends, and everything in it.
    End,
}

/// What the machine says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The session is there. Whether it was there before.
    Attached {
        /// Whether there was one of that name.
        present: bool,
    },
    /// What the session has saved: comes before [`Event::Attached`], the oldest piece first.
    Saved(Bytes),
    /// Everything that the client asked for before it asked to be told is done, and kept where it has to be.
    Done,
    /// What was asked for cannot be had.
    Refused(LinkRefusal),
    /// A message is where the rule of its topic says that it is.
    Published {
        /// The number under which it was published.
        ticket: u64,
        /// Whether any subscription matched, or why nobody got it.
        result: Result<Matched, LinkRefusal>,
    },
    /// A message for this client.
    Delivered(Box<Delivered>),
}

/// Whether any subscription matched a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched(pub bool);

mod kind {
    pub(super) const ATTACH: u8 = 1;
    pub(super) const SUBSCRIBE: u8 = 2;
    pub(super) const KEEP_ONLY: u8 = 3;
    pub(super) const DONE: u8 = 4;
    pub(super) const PUBLISH: u8 = 5;
    pub(super) const SETTLE: u8 = 6;
    pub(super) const END: u8 = 7;
    pub(super) const ARRANGE: u8 = 8;
    pub(super) const SAVE_MORE: u8 = 9;
    pub(super) const SAVE_WHOLE: u8 = 10;
    pub(super) const ATTACHED: u8 = 65;
    pub(super) const REFUSED: u8 = 66;
    pub(super) const PUBLISHED: u8 = 67;
    pub(super) const NOT_PUBLISHED: u8 = 68;
    pub(super) const DELIVERED: u8 = 69;
    pub(super) const DELIVERED_OF_BACKLOG: u8 = 70;
    pub(super) const SAVED: u8 = 71;
}

const RETAIN: u8 = 4;
const REDELIVERED: u8 = 8;
const HAS_PROPERTIES: u8 = 16;
const HAS_EXPIRY: u8 = 32;

/// The length of the whole frame at the front, where enough of it is there to tell.
pub(super) fn frame_bytes(input: &[u8]) -> Result<Option<usize>, BadFrame> {
    let Some(length) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| BadFrame)?;
    if length == 0 || length > FRAME_BYTES_MAX {
        return Err(BadFrame);
    }
    Ok(Some(LENGTH_BYTES + length))
}

/// Writes one frame.
fn frame(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    fields(out);
    let length = u32::try_from(out.len() - at - LENGTH_BYTES).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + LENGTH_BYTES) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

impl Command {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Command::Attach { name, credit } => frame(out, kind::ATTACH, |out| {
                put_bytes(out, name.as_bytes());
                out.put_u32(*credit);
            }),
            Command::Subscribe { filter, qos_max, retained } => frame(out, kind::SUBSCRIBE, |out| {
                put_bytes(out, filter);
                out.put_u8(qos_max.number());
                out.put_u8(u8::from(*retained));
            }),
            Command::KeepOnly(filters) => frame(out, kind::KEEP_ONLY, |out| {
                filters.iter().for_each(|filter| put_bytes(out, filter));
            }),
            Command::Done => frame(out, kind::DONE, |_| {}),
            Command::Publish { ticket, publishing } => frame(out, kind::PUBLISH, |out| {
                out.put_u64(*ticket);
                let Publishing { topic, payload, qos, retain, properties, expiry } = publishing;
                put_flags(out, *qos, *retain, false, properties.is_some(), expiry.map(millis));
                put_bytes(out, topic);
                properties.iter().for_each(|properties| put_properties(out, properties));
                put_bytes(out, payload);
            }),
            Command::Settle { tag, outcome } => frame(out, kind::SETTLE, |out| {
                out.put_u64(tag.0);
                out.put_u8(match outcome {
                    Outcome::Accepted => 0,
                    Outcome::Rejected => 1,
                    Outcome::Released => 2,
                    Outcome::GivenUp => 3,
                });
            }),
            Command::Arrange(backlog) => frame(out, kind::ARRANGE, |out| {
                let (what, count) = match backlog {
                    Backlog::Grows => (0, 0),
                    Backlog::Overtaken => (1, 0),
                    Backlog::More(count) => (2, *count),
                    Backlog::LastValues => (3, 0),
                };
                out.put_u8(what);
                out.put_u32(count);
            }),
            Command::SaveMore(piece) => frame(out, kind::SAVE_MORE, |out| put_bytes(out, piece)),
            Command::SaveWhole(whole) => frame(out, kind::SAVE_WHOLE, |out| put_bytes(out, whole)),
            Command::End => frame(out, kind::END, |_| {}),
        }
    }

    /// Reads a whole frame, its length included.
    pub(super) fn read(frame: &[u8]) -> Result<Command, BadFrame> {
        let mut fields = Fields::of(frame)?;
        let command = match fields.byte()? {
            kind::ATTACH => Command::Attach { name: fields.text()?, credit: fields.number()? },
            kind::SUBSCRIBE => Command::Subscribe {
                filter: fields.bytes()?,
                qos_max: fields.qos()?,
                retained: fields.byte()? != 0,
            },
            kind::KEEP_ONLY => Command::KeepOnly(fields.rest()?),
            kind::DONE => Command::Done,
            kind::PUBLISH => {
                let ticket = fields.long()?;
                let flags = fields.flags()?;
                let topic = fields.bytes()?;
                let properties = fields.properties(flags)?;
                let payload = fields.bytes()?;
                let Flags { qos, retain, end, .. } = flags;
                let expiry = end.map(Duration::from_millis);
                let publishing = Publishing { topic, payload, qos, retain, properties, expiry };
                Command::Publish { ticket, publishing }
            }
            kind::SETTLE => Command::Settle {
                tag: DeliveryTag(fields.long()?),
                outcome: match fields.byte()? {
                    0 => Outcome::Accepted,
                    1 => Outcome::Rejected,
                    2 => Outcome::Released,
                    3 => Outcome::GivenUp,
                    _ => return Err(BadFrame),
                },
            },
            kind::ARRANGE => Command::Arrange(match (fields.byte()?, fields.number()?) {
                (0, 0) => Backlog::Grows,
                (1, 0) => Backlog::Overtaken,
                (2, count) => Backlog::More(count),
                (3, 0) => Backlog::LastValues,
                _ => return Err(BadFrame),
            }),
            kind::SAVE_MORE => Command::SaveMore(fields.bytes()?),
            kind::SAVE_WHOLE => Command::SaveWhole(fields.bytes()?),
            kind::END => Command::End,
            _ => return Err(BadFrame),
        };
        fields.end(command)
    }
}

/// Writes a delivery as the machine gets it, without building an [`Event`].
pub(super) fn write_delivery(delivery: &Delivery<'_>, tag: DeliveryTag, out: &mut Vec<u8>) {
    let kind = if delivery.is_backlog { kind::DELIVERED_OF_BACKLOG } else { kind::DELIVERED };
    frame(out, kind, |out| {
        out.put_u64(tag.0);
        out.put_u32(delivery.attempt);
        put_flags(
            out,
            delivery.qos,
            delivery.retain,
            delivery.redelivered,
            delivery.properties.is_some(),
            delivery.expires_at.map(number_of),
        );
        put_bytes(out, delivery.topic.as_str().as_bytes());
        delivery.properties.iter().for_each(|properties| put_properties(out, properties));
        put_bytes(out, delivery.payload);
        put_publisher(out, delivery.publisher);
    });
}

impl Event {
    /// Writes what is no delivery; for those there is [`write_delivery`].
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Event::Attached { present } => {
                frame(out, kind::ATTACHED, |out| out.put_u8(u8::from(*present)));
            }
            Event::Saved(piece) => frame(out, kind::SAVED, |out| put_bytes(out, piece)),
            Event::Done => frame(out, kind::DONE, |_| {}),
            Event::Refused(refusal) => frame(out, kind::REFUSED, |out| put_refusal(out, refusal)),
            Event::Published { ticket, result: Ok(Matched(matched)) } => frame(out, kind::PUBLISHED, |out| {
                out.put_u64(*ticket);
                out.put_u8(u8::from(*matched));
            }),
            Event::Published { ticket, result: Err(refusal) } => frame(out, kind::NOT_PUBLISHED, |out| {
                out.put_u64(*ticket);
                put_refusal(out, refusal);
            }),
            Event::Delivered(_) => {}
        }
    }

    /// Takes the frame at the front of what has come; nothing while it is not whole.
    pub(super) fn take(input: &mut BytesMut) -> Result<Option<Event>, BadFrame> {
        let Some(length) = frame_bytes(input)?.filter(|length| input.len() >= *length) else {
            return Ok(None);
        };
        let mut fields = Fields::of_bytes(input.split_to(length).freeze())?;
        let event = match fields.byte()? {
            kind::ATTACHED => Event::Attached { present: fields.byte()? != 0 },
            kind::SAVED => Event::Saved(fields.bytes()?),
            kind::DONE => Event::Done,
            kind::REFUSED => Event::Refused(fields.refusal()?),
            kind::PUBLISHED => {
                Event::Published { ticket: fields.long()?, result: Ok(Matched(fields.byte()? != 0)) }
            }
            kind::NOT_PUBLISHED => {
                Event::Published { ticket: fields.long()?, result: Err(fields.refusal()?) }
            }
            kind @ (kind::DELIVERED | kind::DELIVERED_OF_BACKLOG) => {
                let (tag, attempt) = (DeliveryTag(fields.long()?), fields.number()?);
                let flags = fields.flags()?;
                let topic = Topic::parse(&fields.bytes()?).map_err(|_| BadFrame)?;
                let properties = fields.properties(flags)?;
                let payload = fields.bytes()?;
                let publisher = fields.publisher()?;
                let Flags { qos, retain, redelivered, end, .. } = flags;
                Event::Delivered(Box::new(Delivered {
                    tag,
                    topic,
                    payload,
                    properties,
                    qos,
                    retain,
                    redelivered,
                    attempt,
                    expires_at: end.and_then(deadline_of),
                    publisher,
                    is_backlog: kind == kind::DELIVERED_OF_BACKLOG,
                }))
            }
            _ => return Err(BadFrame),
        };
        fields.end(event).map(Some)
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn put_refusal(out: &mut Vec<u8>, refusal: &LinkRefusal) {
    out.put_u8(u8::from(refusal.is_passing));
    put_bytes(out, refusal.text.as_bytes());
}

fn put_flags(
    out: &mut Vec<u8>,
    qos: QoS,
    retain: bool,
    redelivered: bool,
    has_properties: bool,
    end: Option<u64>,
) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(retain, RETAIN)
        | flag(redelivered, REDELIVERED)
        | flag(has_properties, HAS_PROPERTIES)
        | flag(end.is_some(), HAS_EXPIRY);
    out.put_u8(qos.number() | flags);
    if let Some(end) = end {
        out.put_u64(end);
    }
}

const CONTENT_TYPE: u8 = 1;
const REPLY_TO: u8 = 2;
const CORRELATION: u8 = 4;
const IS_TEXT: u8 = 8;
const IS_NO_TEXT: u8 = 16;

fn put_properties(out: &mut Vec<u8>, properties: &Properties) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.put_u8(
        flag(properties.content_type.is_some(), CONTENT_TYPE)
            | flag(properties.reply_to.is_some(), REPLY_TO)
            | flag(properties.correlation.is_some(), CORRELATION)
            | flag(properties.payload_is_text == Some(true), IS_TEXT)
            | flag(properties.payload_is_text == Some(false), IS_NO_TEXT),
    );
    properties.content_type.iter().for_each(|text| put_bytes(out, text.as_bytes()));
    properties.reply_to.iter().for_each(|text| put_bytes(out, text.as_bytes()));
    properties.correlation.iter().for_each(|bytes| put_bytes(out, bytes));
    out.put_u32(u32::try_from(properties.user.len()).unwrap_or(u32::MAX));
    for (name, value) in &properties.user {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

const IS_KNOWN: u8 = 1;
const CLIENT_ID: u8 = 2;
const USER: u8 = 4;

fn put_publisher(out: &mut Vec<u8>, publisher: Option<&Publisher>) {
    let Some(Publisher { client_id, user, published_at_millis, taken_at_millis }) = publisher else {
        return out.put_u8(0);
    };
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    out.put_u8(IS_KNOWN | flag(client_id.is_some(), CLIENT_ID) | flag(user.is_some(), USER));
    [client_id, user].into_iter().flatten().for_each(|text| put_bytes(out, text.as_bytes()));
    out.put_u64(*published_at_millis);
    out.put_u64(*taken_at_millis);
}

#[cfg(test)]
mod tests;

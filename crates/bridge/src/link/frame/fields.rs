//! What is taken from the front of a frame, field by field.

use super::{
    BadFrame, CLIENT_ID, CONTENT_TYPE, CORRELATION, HAS_EXPIRY, HAS_PROPERTIES, IS_KNOWN, IS_NO_TEXT,
    IS_TEXT, LENGTH_BYTES, REDELIVERED, REPLY_TO, RETAIN, USER,
};
use crate::link::LinkRefusal;
use bytes::{Buf, Bytes};
use tidegate_message::{Properties, Publisher, QoS};

#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) redelivered: bool,
    pub(super) has_properties: bool,
    /// A lifetime in milliseconds where it is published, a deadline where it is delivered.
    pub(super) end: Option<u64>,
}

/// The fields of one frame, taken from its front.
pub(super) struct Fields(Bytes);

impl Fields {
    pub(super) fn of(frame: &[u8]) -> Result<Fields, BadFrame> {
        Fields::of_bytes(Bytes::copy_from_slice(frame))
    }

    pub(super) fn of_bytes(mut frame: Bytes) -> Result<Fields, BadFrame> {
        if frame.len() < LENGTH_BYTES {
            return Err(BadFrame);
        }
        frame.advance(LENGTH_BYTES);
        Ok(Fields(frame))
    }

    pub(super) fn byte(&mut self) -> Result<u8, BadFrame> {
        self.0.try_get_u8().map_err(|_| BadFrame)
    }

    pub(super) fn number(&mut self) -> Result<u32, BadFrame> {
        self.0.try_get_u32().map_err(|_| BadFrame)
    }

    pub(super) fn long(&mut self) -> Result<u64, BadFrame> {
        self.0.try_get_u64().map_err(|_| BadFrame)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, BadFrame> {
        let length = usize::try_from(self.number()?).map_err(|_| BadFrame)?;
        if length > self.0.len() {
            return Err(BadFrame);
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn rest(&mut self) -> Result<Vec<Bytes>, BadFrame> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            all.push(self.bytes()?);
        }
        Ok(all)
    }

    pub(super) fn text(&mut self) -> Result<String, BadFrame> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| BadFrame)
    }

    pub(super) fn boxed_text(&mut self) -> Result<Box<str>, BadFrame> {
        self.text().map(String::into_boxed_str)
    }

    pub(super) fn qos(&mut self) -> Result<QoS, BadFrame> {
        QoS::from_number(self.byte()?).ok_or(BadFrame)
    }

    pub(super) fn refusal(&mut self) -> Result<LinkRefusal, BadFrame> {
        Ok(LinkRefusal { is_passing: self.byte()? != 0, text: self.text()? })
    }

    pub(super) fn flags(&mut self) -> Result<Flags, BadFrame> {
        let flags = self.byte()?;
        let end = match flags & HAS_EXPIRY != 0 {
            true => Some(self.long()?),
            false => None,
        };
        Ok(Flags {
            qos: QoS::from_number(flags & 3).ok_or(BadFrame)?,
            retain: flags & RETAIN != 0,
            redelivered: flags & REDELIVERED != 0,
            has_properties: flags & HAS_PROPERTIES != 0,
            end,
        })
    }

    pub(super) fn properties(&mut self, flags: Flags) -> Result<Option<Box<Properties>>, BadFrame> {
        if !flags.has_properties {
            return Ok(None);
        }
        let bits = self.byte()?;
        let has = |bit: u8| bits & bit != 0;
        let content_type = has(CONTENT_TYPE).then(|| self.boxed_text()).transpose()?;
        let reply_to = has(REPLY_TO).then(|| self.boxed_text()).transpose()?;
        let correlation = has(CORRELATION).then(|| self.bytes()).transpose()?;
        let payload_is_text = match (has(IS_TEXT), has(IS_NO_TEXT)) {
            (false, false) => None,
            (is_text, _) => Some(is_text),
        };
        let mut user = Vec::new();
        for _ in 0..self.number()? {
            user.push((self.boxed_text()?, self.boxed_text()?));
        }
        Ok(Some(Box::new(Properties { content_type, reply_to, correlation, payload_is_text, user })))
    }

    pub(super) fn publisher(&mut self) -> Result<Option<Box<Publisher>>, BadFrame> {
        let bits = self.byte()?;
        if bits & IS_KNOWN == 0 {
            return Ok(None);
        }
        let client_id = (bits & CLIENT_ID != 0).then(|| self.boxed_text()).transpose()?;
        let user = (bits & USER != 0).then(|| self.boxed_text()).transpose()?;
        let (published_at_millis, taken_at_millis) = (self.long()?, self.long()?);
        Ok(Some(Box::new(Publisher { client_id, user, published_at_millis, taken_at_millis })))
    }

    pub(super) fn end<T>(self, value: T) -> Result<T, BadFrame> {
        if self.0.is_empty() { Ok(value) } else { Err(BadFrame) }
    }
}

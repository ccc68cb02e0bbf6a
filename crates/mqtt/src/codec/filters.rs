//! The filters of a SUBSCRIBE or UNSUBSCRIBE: checked once while the packet is decoded, read lazily afterwards.
//!
//! Checked are the encoding and the options. Whether the text is a filter (`TopicFilter::parse_mqtt`) is the state machine's
//! question, because the answer belongs into the SUBACK of that one filter and does not end the connection.

use super::error::DecodeError;
use super::reader::Reader;
use super::version::Version;
use tidegate_message::QoS;

/// What a subscription asks for beside its filter (MQTT 5.0 section 3.8.3.1). In 3.1.1 only the QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The highest level at which the server may deliver.
    pub qos_max: QoS,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether live messages keep the retain flag that they were published with.
    pub retain_as_published: bool,
    /// Which subscriptions get the retained messages.
    pub retain_handling: RetainHandling,
}

/// Whether a subscription gets the retained messages that match it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainHandling {
    /// Always.
    Send = 0,
    /// Only where the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// Valid UTF-8 without U+0000; may still be no filter.
    pub filter: &'a str,
    /// What is asked for.
    pub options: SubscriptionOptions,
}

/// The filters of a SUBSCRIBE, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeFilters<'a> {
    bytes: &'a [u8],
}

/// The filters of an UNSUBSCRIBE, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsubscribeFilters<'a> {
    bytes: &'a [u8],
}

impl SubscriptionOptions {
    /// Options that ask for nothing but a level, as in MQTT 3.1.1.
    pub fn at_most(qos_max: QoS) -> SubscriptionOptions {
        SubscriptionOptions {
            qos_max,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }

    /// The byte on the wire; bits 2 to 7 are reserved in 3.1.1, so there the level stands alone.
    pub(super) fn byte(self, version: Version) -> u8 {
        let qos = self.qos_max.number();
        match version {
            Version::V31 | Version::V3 => qos,
            Version::V5 => {
                qos | u8::from(self.no_local) << 2
                    | u8::from(self.retain_as_published) << 3
                    | (self.retain_handling as u8) << 4
            }
        }
    }

    fn from_byte(byte: u8, version: Version) -> Result<SubscriptionOptions, DecodeError> {
        // [MQTT-3.8.3-5] [MQTT-3.1.1/3.8.3-4]; in 3.1.1 the other options' bits are reserved as well.
        let reserved = match version {
            Version::V31 | Version::V3 => 0b1111_1100,
            Version::V5 => 0b1100_0000,
        };
        if byte & reserved != 0 {
            return Err(DecodeError::SubscriptionOptions(byte));
        }
        let retain_handling = match byte >> 4 & 0b11 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::RetainHandling),
        };
        Ok(SubscriptionOptions {
            qos_max: QoS::from_number(byte & 0b11).ok_or(DecodeError::SubscriptionQoS)?,
            no_local: byte & 0b0100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling,
        })
    }
}

impl<'a> SubscribeFilter<'a> {
    fn read(reader: &mut Reader<'a>, version: Version) -> Result<SubscribeFilter<'a>, DecodeError> {
        let filter = reader.text()?;
        let options = SubscriptionOptions::from_byte(reader.byte()?, version)?;
        // [MQTT-3.8.3-4]
        match options.no_local && filter.starts_with("$share/") {
            true => Err(DecodeError::NoLocalOnShared),
            false => Ok(SubscribeFilter { filter, options }),
        }
    }
}

impl<'a> SubscribeFilters<'a> {
    /// Checks all filters in what is left of a SUBSCRIBE.
    pub(super) fn check(
        reader: &mut Reader<'a>,
        version: Version,
    ) -> Result<SubscribeFilters<'a>, DecodeError> {
        let bytes = reader.rest();
        // [MQTT-3.8.3-2]
        if bytes.is_empty() {
            return Err(DecodeError::NoFilter);
        }
        while !reader.is_empty() {
            SubscribeFilter::read(reader, version)?;
        }
        Ok(SubscribeFilters { bytes })
    }

    /// The filters in the order in which they were sent.
    pub fn iter(self) -> impl Iterator<Item = SubscribeFilter<'a>> + Clone {
        // Bytes that have been checked as 3.1.1 read the same as 5.0.
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || SubscribeFilter::read(&mut reader, Version::V5).ok())
    }
}

impl<'a> UnsubscribeFilters<'a> {
    /// Checks all filters in what is left of an UNSUBSCRIBE.
    pub(super) fn check(reader: &mut Reader<'a>) -> Result<UnsubscribeFilters<'a>, DecodeError> {
        let bytes = reader.rest();
        // [MQTT-3.10.3-2]
        if bytes.is_empty() {
            return Err(DecodeError::NoFilter);
        }
        while !reader.is_empty() {
            reader.text()?;
        }
        Ok(UnsubscribeFilters { bytes })
    }

    /// The filters in the order in which they were sent: valid UTF-8 without U+0000, but perhaps no filters.
    pub fn iter(self) -> impl Iterator<Item = &'a str> + Clone {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || reader.text().ok())
    }
}

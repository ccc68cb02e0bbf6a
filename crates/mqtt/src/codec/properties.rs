//! The property section of one packet: checked once, read lazily, built property by property.

use super::error::{DecodeError, EncodeError};
use super::reader::{Reader, VARINT_MAX};
use super::writer;
use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use tidegate_message::QoS;

pub use super::property::{Property, PropertyId};
pub(super) use super::property::{SEVERAL_SUBSCRIPTIONS, Section};

/// A checked property section; without properties in MQTT 3.1.1. Costs two comparisons where it is empty.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PropertiesRef<'a> {
    /// Identifiers and values, without the length in front.
    bytes: &'a [u8],
    /// Which properties are there, as the bits of [`PropertyId::bit`].
    present: u64,
}

/// Collects properties for a packet that is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropertiesBuffer {
    bytes: Vec<u8>,
    present: u64,
}

/// Adds a property to the set of those present, or says that it may not be there twice.
fn add(present: u64, property: &Property<'_>) -> Option<u64> {
    let bit = property.id().bit();
    match property {
        _ if present & bit == 0 => Some(present | bit),
        Property::UserProperty(_) => Some(present),
        Property::SubscriptionIdentifier(_) => Some(present | SEVERAL_SUBSCRIPTIONS),
        _ => None,
    }
}

impl<'a> PropertiesRef<'a> {
    /// No properties.
    pub const EMPTY: PropertiesRef<'static> = PropertiesRef { bytes: &[], present: 0 };

    /// Reads and checks the length and the properties that follow it.
    #[inline]
    pub(super) fn check(reader: &mut Reader<'a>, section: Section) -> Result<PropertiesRef<'a>, DecodeError> {
        match reader.varint()? {
            0 => Ok(PropertiesRef::EMPTY),
            length => PropertiesRef::check_bytes(reader.bytes(length as usize)?, section),
        }
    }

    fn check_bytes(bytes: &'a [u8], section: Section) -> Result<PropertiesRef<'a>, DecodeError> {
        let allowed = section.allowed();
        let mut present = 0;
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let number = reader.varint()?;
            let id = PropertyId::from_number(number).ok_or(DecodeError::UnknownProperty(number))?;
            if allowed & id.bit() == 0 {
                return Err(DecodeError::PropertyNotAllowed(id));
            }
            let property = Property::read(id, &mut reader).map_err(alias_error)?;
            present = match add(present, &property) {
                Some(set) if set & !allowed == 0 => set,
                _ => return Err(DecodeError::PropertyTwice(id)),
            };
        }
        Ok(PropertiesRef { bytes, present })
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the property is there.
    #[inline]
    pub fn contains(&self, id: PropertyId) -> bool {
        self.present & id.bit() != 0
    }

    /// Whether any property of the set is there.
    #[inline]
    pub(super) fn contains_any(&self, set: u64) -> bool {
        self.present & set != 0
    }

    /// The properties in the order in which they stand.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            let id = PropertyId::from_number(reader.varint().ok()?)?;
            Property::read(id, &mut reader).ok()
        })
    }

    /// The property, where it is there; of several the first.
    pub fn get(&self, id: PropertyId) -> Option<Property<'a>> {
        match self.contains(id) {
            true => self.iter().find(|property| property.id() == id),
            false => None,
        }
    }

    /// The user properties in their order, duplicates kept.
    pub fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(pair) => Some(pair),
            _ => None,
        })
    }

    /// The subscription identifiers in their order.
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(identifier) => Some(identifier),
            _ => None,
        })
    }

    /// The section's bytes without the length in front.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Says which property, if any, does not belong into the section.
    #[inline]
    pub(super) fn check_allowed(&self, section: Section) -> Result<(), EncodeError> {
        match self.present & !section.allowed() {
            0 => Ok(()),
            surplus => Err(not_allowed(surplus)),
        }
    }
}

/// Names one property of the set; if it has none, it says that there are several subscription identifiers.
#[cold]
fn not_allowed(surplus: u64) -> EncodeError {
    match PropertyId::ALL.iter().find(|id| surplus & id.bit() != 0) {
        Some(id) => EncodeError::PropertyNotAllowed(*id),
        None => EncodeError::PropertyTwice(PropertyId::SubscriptionIdentifier),
    }
}

/// A topic alias of 0 has a reason code of its own.
fn alias_error(error: DecodeError) -> DecodeError {
    match error {
        DecodeError::PropertyValue(PropertyId::TopicAlias) => DecodeError::TopicAliasZero,
        other => other,
    }
}

/// A typed reader for each property that is there at most once.
macro_rules! getters {
    ($($name:ident, $property:ident, $value:ty;)*) => {
        impl<'a> PropertiesRef<'a> {
            $(
                #[doc = concat!("The value of [`Property::", stringify!($property), "`], where it is there.")]
                pub fn $name(&self) -> Option<$value> {
                    match self.get(PropertyId::$property)? {
                        Property::$property(value) => Some(value),
                        _ => None,
                    }
                }
            )*
        }
    };
}

getters! {
    payload_format_indicator, PayloadFormatIndicator, bool;
    message_expiry_interval, MessageExpiryInterval, u32;
    content_type, ContentType, &'a str;
    response_topic, ResponseTopic, &'a str;
    correlation_data, CorrelationData, &'a [u8];
    subscription_identifier, SubscriptionIdentifier, u32;
    session_expiry_interval, SessionExpiryInterval, u32;
    assigned_client_identifier, AssignedClientIdentifier, &'a str;
    server_keep_alive, ServerKeepAlive, u16;
    authentication_method, AuthenticationMethod, &'a str;
    authentication_data, AuthenticationData, &'a [u8];
    request_problem_information, RequestProblemInformation, bool;
    will_delay_interval, WillDelayInterval, u32;
    request_response_information, RequestResponseInformation, bool;
    response_information, ResponseInformation, &'a str;
    server_reference, ServerReference, &'a str;
    reason_string, ReasonString, &'a str;
    receive_maximum, ReceiveMaximum, NonZeroU16;
    topic_alias_maximum, TopicAliasMaximum, u16;
    topic_alias, TopicAlias, NonZeroU16;
    maximum_qos, MaximumQoS, QoS;
    retain_available, RetainAvailable, bool;
    maximum_packet_size, MaximumPacketSize, NonZeroU32;
    wildcard_subscription_available, WildcardSubscriptionAvailable, bool;
    subscription_identifier_available, SubscriptionIdentifierAvailable, bool;
    shared_subscription_available, SharedSubscriptionAvailable, bool;
}

impl fmt::Debug for PropertiesRef<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = formatter.debug_list();
        for property in self.iter() {
            match property {
                // A secret, which must not reach a log.
                Property::AuthenticationData(_) => list.entry(&PropertyId::AuthenticationData),
                other => list.entry(&other),
            };
        }
        list.finish()
    }
}

impl PropertiesBuffer {
    /// An empty buffer; allocates with the first property.
    pub fn new() -> PropertiesBuffer {
        PropertiesBuffer::default()
    }

    /// Appends a property. Fails, and appends nothing, where its value is not allowed, where it may not be there twice, or where the
    /// section would be too long. Whether it belongs into the packet is checked when the packet is written.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        let bytes = self.bytes.len() + property.checked_length()?;
        if bytes > VARINT_MAX as usize {
            return Err(EncodeError::PropertiesTooLong { bytes });
        }
        self.present = add(self.present, &property).ok_or(EncodeError::PropertyTwice(property.id()))?;
        property.write(&mut self.bytes);
        Ok(())
    }

    /// Appends properties in their order up to the first that cannot be.
    pub fn extend<'a>(
        &mut self,
        properties: impl IntoIterator<Item = Property<'a>>,
    ) -> Result<(), EncodeError> {
        properties.into_iter().try_for_each(|property| self.push(property))
    }

    /// Forgets all properties and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.present = 0;
    }

    /// The section as packets hold it.
    pub fn as_ref(&self) -> PropertiesRef<'_> {
        PropertiesRef { bytes: &self.bytes, present: self.present }
    }
}

/// The bytes that a section takes with the length in front. The length of the content is at most [`VARINT_MAX`].
pub(super) fn section_length(content_bytes: usize) -> usize {
    writer::varint_width(content_bytes as u32) + content_bytes
}

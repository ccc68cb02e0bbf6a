//! The properties of MQTT 5.0: the one table of their numbers, types and packets (section 2.2.2.2).

use super::error::{DecodeError, EncodeError};
use super::reader::{Reader, VARINT_MAX};
use super::writer;
use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use tidegate_message::QoS;

/// The Rust type of each kind of value.
macro_rules! value_type {
    ($life:lifetime, flag) => { bool };
    ($life:lifetime, qos) => { QoS };
    ($life:lifetime, two_bytes) => { u16 };
    ($life:lifetime, two_bytes_nonzero) => { NonZeroU16 };
    ($life:lifetime, four_bytes) => { u32 };
    ($life:lifetime, four_bytes_nonzero) => { NonZeroU32 };
    ($life:lifetime, identifier) => { u32 };
    ($life:lifetime, text) => { &$life str };
    ($life:lifetime, topic) => { &$life str };
    ($life:lifetime, binary) => { &$life [u8] };
    ($life:lifetime, pair) => { (&$life str, &$life str) };
}

macro_rules! properties {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $label:literal, $kind:ident, [$($section:ident)*];)*) => {
        /// The identifiers of the properties.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum PropertyId {
            $($(#[$doc])* $name = $number,)*
        }

        /// One property with its value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Property<'a> {
            $($(#[$doc])* $name(value_type!('a, $kind)),)*
        }

        impl PropertyId {
            /// All identifiers, lowest number first.
            pub const ALL: &[PropertyId] = &[$(PropertyId::$name,)*];

            /// The identifier with this number, or nothing where the specification defines none.
            pub fn from_number(number: u32) -> Option<PropertyId> {
                match number {
                    $($number => Some(PropertyId::$name),)*
                    _ => None,
                }
            }

            /// The property's name in the specification, in lower case.
            pub fn name(self) -> &'static str {
                match self {
                    $(PropertyId::$name => $label,)*
                }
            }

            const fn sections(self) -> &'static [Section] {
                match self {
                    $(PropertyId::$name => &[$(Section::$section,)*],)*
                }
            }
        }

        impl<'a> Property<'a> {
            /// Which property it is.
            pub fn id(&self) -> PropertyId {
                match self {
                    $(Property::$name(_) => PropertyId::$name,)*
                }
            }

            /// Reads and checks the value that follows the identifier.
            pub(super) fn read(id: PropertyId, reader: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
                let wrong = DecodeError::PropertyValue(id);
                Ok(match id {
                    $(PropertyId::$name => Property::$name(read::$kind(reader, wrong)?),)*
                })
            }

            /// Checks the value and returns how many bytes the property takes with its identifier.
            pub(super) fn checked_length(&self) -> Result<usize, EncodeError> {
                let wrong = EncodeError::PropertyValue(self.id());
                Ok(1 + match *self {
                    $(Property::$name(value) => length::$kind(value, wrong)?,)*
                })
            }

            /// Appends identifier and value, which have been checked.
            pub(super) fn write(&self, output: &mut Vec<u8>) {
                output.push(self.id() as u8);
                match *self {
                    $(Property::$name(value) => write::$kind(output, value),)*
                }
            }
        }
    };
}

properties! {
    /// Whether the payload is UTF-8 text.
    PayloadFormatIndicator = 0x01, "payload format indicator", flag, [Publish Will];
    /// The message's lifetime in seconds.
    MessageExpiryInterval = 0x02, "message expiry interval", four_bytes, [Publish Will];
    /// The payload's MIME type.
    ContentType = 0x03, "content type", text, [Publish Will];
    /// The topic for an answer.
    ResponseTopic = 0x08, "response topic", topic, [Publish Will];
    /// What an answer has to repeat.
    CorrelationData = 0x09, "correlation data", binary, [Publish Will];
    /// 1 to 268,435,455; several only in a PUBLISH.
    SubscriptionIdentifier = 0x0B, "subscription identifier", identifier, [Publish Subscribe];
    /// How long the session outlives the connection, in seconds; 0xFFFF_FFFF is for ever.
    SessionExpiryInterval = 0x11, "session expiry interval", four_bytes, [Connect ConnAck Disconnect];
    /// The identifier that the server chose.
    AssignedClientIdentifier = 0x12, "assigned client identifier", text, [ConnAck];
    /// The keep alive that the server demands, in seconds.
    ServerKeepAlive = 0x13, "server keep alive", two_bytes, [ConnAck];
    /// The name of the enhanced authentication.
    AuthenticationMethod = 0x15, "authentication method", text, [Connect ConnAck Auth];
    /// What the method exchanges.
    AuthenticationData = 0x16, "authentication data", binary, [Connect ConnAck Auth];
    /// Whether the server may send reason strings and user properties with failures.
    RequestProblemInformation = 0x17, "request problem information", flag, [Connect];
    /// How long after the end of the connection the will is published, in seconds.
    WillDelayInterval = 0x18, "will delay interval", four_bytes, [Will];
    /// Whether the client asks for response information.
    RequestResponseInformation = 0x19, "request response information", flag, [Connect];
    /// The basis for response topics.
    ResponseInformation = 0x1A, "response information", text, [ConnAck];
    /// Another server.
    ServerReference = 0x1C, "server reference", text, [ConnAck Disconnect];
    /// A sentence for the log.
    ReasonString = 0x1F, "reason string", text, [ConnAck Ack Disconnect Auth];
    /// Messages above QoS 0 that may be unacknowledged at a time.
    ReceiveMaximum = 0x21, "receive maximum", two_bytes_nonzero, [Connect ConnAck];
    /// The highest topic alias that is accepted.
    TopicAliasMaximum = 0x22, "topic alias maximum", two_bytes, [Connect ConnAck];
    /// A number that stands for the topic.
    TopicAlias = 0x23, "topic alias", two_bytes_nonzero, [Publish];
    /// The highest QoS that the server supports, 0 or 1.
    MaximumQoS = 0x24, "maximum QoS", qos, [ConnAck];
    /// Whether the server keeps retained messages.
    RetainAvailable = 0x25, "retain available", flag, [ConnAck];
    /// A free pair; may be there several times, in an order that counts.
    UserProperty = 0x26, "user property", pair,
        [Publish Will Connect ConnAck Ack Subscribe Unsubscribe Disconnect Auth];
    /// The largest packet that is accepted, in bytes.
    MaximumPacketSize = 0x27, "maximum packet size", four_bytes_nonzero, [Connect ConnAck];
    /// Whether filters may have wildcards.
    WildcardSubscriptionAvailable = 0x28, "wildcard subscription available", flag, [ConnAck];
    /// Whether subscriptions may have identifiers.
    SubscriptionIdentifierAvailable = 0x29, "subscription identifier available", flag, [ConnAck];
    /// Whether subscriptions may be shared.
    SharedSubscriptionAvailable = 0x2A, "shared subscription available", flag, [ConnAck];
}

/// The places where properties stand, as far as they differ in what they allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Connect,
    Will,
    ConnAck,
    Publish,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK.
    Ack,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Auth,
}

/// The bit of a set of properties that says that there are several subscription identifiers. No property has the number 63.
pub(super) const SEVERAL_SUBSCRIPTIONS: u64 = 1 << 63;

impl Section {
    /// The set of properties that may stand here.
    pub(super) const fn allowed(self) -> u64 {
        match self {
            Section::Connect => const { allowed_in(Section::Connect) },
            Section::Will => const { allowed_in(Section::Will) },
            Section::ConnAck => const { allowed_in(Section::ConnAck) },
            Section::Publish => const { allowed_in(Section::Publish) | SEVERAL_SUBSCRIPTIONS },
            Section::Ack => const { allowed_in(Section::Ack) },
            Section::Subscribe => const { allowed_in(Section::Subscribe) },
            Section::Unsubscribe => const { allowed_in(Section::Unsubscribe) },
            Section::Disconnect => const { allowed_in(Section::Disconnect) },
            Section::Auth => const { allowed_in(Section::Auth) },
        }
    }
}

/// Loops without iterators, which a constant function cannot have.
const fn allowed_in(section: Section) -> u64 {
    let mut set = 0;
    let mut ids = PropertyId::ALL;
    while let [id, more_ids @ ..] = ids {
        let mut sections = id.sections();
        while let [candidate, more @ ..] = sections {
            if *candidate as u8 == section as u8 {
                set |= id.bit();
            }
            sections = more;
        }
        ids = more_ids;
    }
    set
}

impl PropertyId {
    /// The property's place in a set of properties. All numbers are below 63.
    pub(super) const fn bit(self) -> u64 {
        1 << self as u8
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.name())
    }
}

/// Whether text can be a topic name as far as a response topic must be one ([MQTT-3.3.2-14]).
fn is_topic(text: &str) -> bool {
    !text.is_empty() && memchr::memchr2(b'+', b'#', text.as_bytes()).is_none()
}

/// One reader for each kind of value; `wrong` is the error for a value that its type forbids.
mod read {
    use super::{DecodeError, NonZeroU16, NonZeroU32, QoS, Reader, is_topic};

    type Read<T> = Result<T, DecodeError>;

    pub(super) fn flag(reader: &mut Reader<'_>, wrong: DecodeError) -> Read<bool> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(wrong),
        }
    }

    /// Maximum QoS is 0 or 1: a server that supports 2 says nothing (section 3.2.2.3.4).
    pub(super) fn qos(reader: &mut Reader<'_>, wrong: DecodeError) -> Read<QoS> {
        match flag(reader, wrong)? {
            false => Ok(QoS::AtMostOnce),
            true => Ok(QoS::AtLeastOnce),
        }
    }

    pub(super) fn two_bytes(reader: &mut Reader<'_>, _wrong: DecodeError) -> Read<u16> {
        reader.u16()
    }

    pub(super) fn two_bytes_nonzero(reader: &mut Reader<'_>, wrong: DecodeError) -> Read<NonZeroU16> {
        NonZeroU16::new(reader.u16()?).ok_or(wrong)
    }

    pub(super) fn four_bytes(reader: &mut Reader<'_>, _wrong: DecodeError) -> Read<u32> {
        reader.u32()
    }

    pub(super) fn four_bytes_nonzero(reader: &mut Reader<'_>, wrong: DecodeError) -> Read<NonZeroU32> {
        NonZeroU32::new(reader.u32()?).ok_or(wrong)
    }

    pub(super) fn identifier(reader: &mut Reader<'_>, wrong: DecodeError) -> Read<u32> {
        match reader.varint()? {
            0 => Err(wrong),
            identifier => Ok(identifier),
        }
    }

    pub(super) fn text<'a>(reader: &mut Reader<'a>, _wrong: DecodeError) -> Read<&'a str> {
        reader.text()
    }

    pub(super) fn topic<'a>(reader: &mut Reader<'a>, wrong: DecodeError) -> Read<&'a str> {
        reader.text().and_then(|text| if is_topic(text) { Ok(text) } else { Err(wrong) })
    }

    pub(super) fn binary<'a>(reader: &mut Reader<'a>, _wrong: DecodeError) -> Read<&'a [u8]> {
        reader.binary()
    }

    pub(super) fn pair<'a>(reader: &mut Reader<'a>, _wrong: DecodeError) -> Read<(&'a str, &'a str)> {
        Ok((reader.text()?, reader.text()?))
    }
}

/// The length of each kind of value, after it has been checked.
mod length {
    use super::{EncodeError, NonZeroU16, NonZeroU32, QoS, VARINT_MAX, is_topic, writer};

    type Length = Result<usize, EncodeError>;

    pub(super) fn flag(_value: bool, _wrong: EncodeError) -> Length {
        Ok(1)
    }

    pub(super) fn qos(value: QoS, wrong: EncodeError) -> Length {
        if value == QoS::ExactlyOnce { Err(wrong) } else { Ok(1) }
    }

    pub(super) fn two_bytes(_value: u16, _wrong: EncodeError) -> Length {
        Ok(2)
    }

    pub(super) fn two_bytes_nonzero(_value: NonZeroU16, _wrong: EncodeError) -> Length {
        Ok(2)
    }

    pub(super) fn four_bytes(_value: u32, _wrong: EncodeError) -> Length {
        Ok(4)
    }

    pub(super) fn four_bytes_nonzero(_value: NonZeroU32, _wrong: EncodeError) -> Length {
        Ok(4)
    }

    pub(super) fn identifier(value: u32, wrong: EncodeError) -> Length {
        if (1..=VARINT_MAX).contains(&value) { Ok(writer::varint_width(value)) } else { Err(wrong) }
    }

    pub(super) fn text(value: &str, _wrong: EncodeError) -> Length {
        writer::text_length(value)
    }

    pub(super) fn topic(value: &str, wrong: EncodeError) -> Length {
        if is_topic(value) { writer::text_length(value) } else { Err(wrong) }
    }

    pub(super) fn binary(value: &[u8], _wrong: EncodeError) -> Length {
        writer::binary_length(value)
    }

    pub(super) fn pair((name, value): (&str, &str), _wrong: EncodeError) -> Length {
        Ok(writer::text_length(name)? + writer::text_length(value)?)
    }
}

/// One writer for each kind of value.
mod write {
    use super::{NonZeroU16, NonZeroU32, QoS, writer};

    pub(super) fn flag(output: &mut Vec<u8>, value: bool) {
        output.push(u8::from(value));
    }

    pub(super) fn qos(output: &mut Vec<u8>, value: QoS) {
        output.push(value.number());
    }

    pub(super) fn two_bytes(output: &mut Vec<u8>, value: u16) {
        output.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn two_bytes_nonzero(output: &mut Vec<u8>, value: NonZeroU16) {
        two_bytes(output, value.get());
    }

    pub(super) fn four_bytes(output: &mut Vec<u8>, value: u32) {
        output.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn four_bytes_nonzero(output: &mut Vec<u8>, value: NonZeroU32) {
        four_bytes(output, value.get());
    }

    pub(super) fn identifier(output: &mut Vec<u8>, value: u32) {
        writer::varint(output, value);
    }

    pub(super) fn text(output: &mut Vec<u8>, value: &str) {
        writer::binary(output, value.as_bytes());
    }

    pub(super) fn topic(output: &mut Vec<u8>, value: &str) {
        writer::binary(output, value.as_bytes());
    }

    pub(super) fn binary(output: &mut Vec<u8>, value: &[u8]) {
        writer::binary(output, value);
    }

    pub(super) fn pair(output: &mut Vec<u8>, (name, value): (&str, &str)) {
        text(output, name);
        text(output, value);
    }
}

//! Why bytes are no packet, and why a packet cannot be written.

use super::packet::PacketType;
use super::properties::PropertyId;
use super::reader::VARINT_MAX;
use super::reason::ReasonCode;
use super::version::Version;

/// Why bytes are no packet. Every one of them ends the connection ([MQTT-4.13.1-1], [MQTT-3.1.1/4.8.0-1]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Type 0; in 3.1.1 also type 15.
    #[error("the packet type {0} is reserved")]
    PacketType(u8),
    /// [MQTT-2.1.3-1] [MQTT-3.1.1/2.2.2-2]
    #[error("the flags of {packet} are {flags:04b}, which is reserved")]
    Flags {
        /// The packet's type.
        packet: PacketType,
        /// The low half of the first byte.
        flags: u8,
    },
    /// [MQTT-3.3.1-4]
    #[error("the PUBLISH has QoS 3")]
    PublishQoS,
    /// [MQTT-3.3.1-2]
    #[error("the PUBLISH has DUP set with QoS 0")]
    DupWithoutQoS,
    /// Section 1.5.5; in 3.1.1 section 2.2.3.
    #[error("a variable byte integer has more than four bytes")]
    VarintTooLong,
    /// [MQTT-1.5.5-1]
    #[error("a variable byte integer is not in its shortest form")]
    VarintNotShortest,
    /// Larger than the limit of the caller; told as soon as the fixed header is there.
    #[error("the packet has {bytes} bytes; the limit is {limit}")]
    PacketTooLarge {
        /// The whole packet, fixed header included.
        bytes: usize,
        /// The caller's limit.
        limit: usize,
    },
    /// A field or a length reaches over the end of the packet.
    #[error("a field reaches over the end of the packet")]
    Overrun,
    /// The packet's fields end before the packet does.
    #[error("{bytes} bytes follow the last field of the packet")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// [MQTT-2.2.1-3] [MQTT-3.1.1/2.3.1-1]
    #[error("the packet identifier is 0")]
    PacketIdZero,
    /// [MQTT-1.5.4-1] [MQTT-3.1.1/1.5.3-1]
    #[error("a string is not valid UTF-8")]
    NotUtf8,
    /// [MQTT-1.5.4-2] [MQTT-3.1.1/1.5.3-2]
    #[error("a string contains the character U+0000")]
    NullCharacter,
    /// Section 2.2.2.2.
    #[error("there is no property 0x{0:02x}")]
    UnknownProperty(u32),
    /// Section 2.2.2.2.
    #[error("the property {0} does not belong into this packet")]
    PropertyNotAllowed(PropertyId),
    /// Section 2.2.2.2 and each property's own.
    #[error("the property {0} is there twice")]
    PropertyTwice(PropertyId),
    /// Each property's own section: a flag above 1, a 0 where it is forbidden, a wildcard in a response topic.
    #[error("the property {0} has a value that is not allowed")]
    PropertyValue(PropertyId),
    /// Section 3.3.2.3.4.
    #[error("the topic alias is 0")]
    TopicAliasZero,
    /// Authentication data without a method in CONNECT (section 3.1.2.11.10), or an AUTH without a method (section 3.15.2.2.2).
    #[error("the authentication method is missing")]
    AuthenticationMethodMissing,
    /// [MQTT-4.7.3-1] and section 3.3.2.1.
    #[error("the topic is empty and no topic alias stands for it")]
    EmptyTopic,
    /// [MQTT-3.1.2-1]
    #[error("the protocol name is neither MQTT nor MQIsdp")]
    ProtocolName,
    /// [MQTT-3.1.2-2]
    #[error("the protocol level {0} is not supported")]
    ProtocolLevel(u8),
    /// [MQTT-3.1.2-3]
    #[error("the reserved flag of CONNECT is set")]
    ConnectFlag,
    /// [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13]
    #[error("the will flags of CONNECT contradict each other")]
    WillFlags,
    /// [MQTT-3.1.1/3.1.2-22]; 5.0 allows it.
    #[error("the CONNECT has a password but no user name")]
    PasswordWithoutUserName,
    /// [MQTT-3.2.2-1], or a session present beside a refusal ([MQTT-3.2.2-6], [MQTT-3.1.1/3.2.2-4]).
    #[error("the acknowledge flags of CONNACK are {0:08b}")]
    ConnAckFlags(u8),
    /// A code that the specification does not list for this packet.
    #[error("the reason code 0x{code:02x} does not belong into {packet}")]
    ReasonCode {
        /// The packet's type.
        packet: PacketType,
        /// The number.
        code: u8,
    },
    /// SUBACK, and in 5.0 UNSUBACK, answer at least one filter.
    #[error("the {0} has no reason code")]
    NoReasonCode(PacketType),
    /// [MQTT-3.8.3-2] [MQTT-3.10.3-2]
    #[error("there is no filter")]
    NoFilter,
    /// [MQTT-3.8.3-5] [MQTT-3.1.1/3.8.3-4]
    #[error("the subscription options {0:08b} have a reserved bit")]
    SubscriptionOptions(u8),
    /// Section 3.8.3.1.
    #[error("the subscription asks for QoS 3")]
    SubscriptionQoS,
    /// Section 3.8.3.1.
    #[error("the subscription asks for retain handling 3")]
    RetainHandling,
    /// [MQTT-3.8.3-4]
    #[error("a shared subscription asks for no local")]
    NoLocalOnShared,
}

impl DecodeError {
    /// What a CONNACK or DISCONNECT of MQTT 5.0 says for it: malformed where the bytes cannot be read, a protocol error where
    /// they say what they must not (section 1.2).
    pub fn reason_code(self) -> ReasonCode {
        match self {
            DecodeError::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            DecodeError::ProtocolName | DecodeError::ProtocolLevel(_) => {
                ReasonCode::UnsupportedProtocolVersion
            }
            DecodeError::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            DecodeError::PropertyTwice(_)
            | DecodeError::PropertyValue(_)
            | DecodeError::AuthenticationMethodMissing
            | DecodeError::EmptyTopic
            | DecodeError::PacketIdZero
            | DecodeError::ReasonCode { .. }
            | DecodeError::NoReasonCode(_)
            | DecodeError::NoFilter
            | DecodeError::SubscriptionQoS
            | DecodeError::RetainHandling
            | DecodeError::NoLocalOnShared => ReasonCode::ProtocolError,
            _ => ReasonCode::MalformedPacket,
        }
    }
}

/// Why a packet cannot be written. Nothing has been appended then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Larger than what the receiver takes (its Maximum Packet Size) or than any packet can be.
    #[error("the packet would have {bytes} bytes; the limit is {limit}")]
    PacketTooLarge {
        /// The whole packet, fixed header included.
        bytes: usize,
        /// The limit of the caller or of the protocol.
        limit: usize,
    },
    /// A string or binary field that does not fit into 16 bits of length.
    #[error("a field has {bytes} bytes; the limit is 65535")]
    FieldTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A property section that does not fit into a variable byte integer.
    #[error("the properties have {bytes} bytes; the limit is {VARINT_MAX}")]
    PropertiesTooLong {
        /// Their length.
        bytes: usize,
    },
    /// [MQTT-1.5.4-2]
    #[error("a string contains the character U+0000")]
    NullCharacter,
    /// The property does not belong into this packet.
    #[error("the property {0} does not belong into this packet")]
    PropertyNotAllowed(PropertyId),
    /// The property may be there only once.
    #[error("the property {0} is there twice")]
    PropertyTwice(PropertyId),
    /// A 0 where it is forbidden, a wildcard in a response topic, a number above its type's maximum.
    #[error("the property {0} has a value that is not allowed")]
    PropertyValue(PropertyId),
    /// See [`DecodeError::AuthenticationMethodMissing`].
    #[error("the authentication method is missing")]
    AuthenticationMethodMissing,
    /// [MQTT-4.7.3-1] and section 3.3.2.1.
    #[error("the topic is empty and no topic alias stands for it")]
    EmptyTopic,
    /// A packet identifier without a QoS above 0, or the other way round ([MQTT-2.2.1-2]); DUP without QoS ([MQTT-3.3.1-2]).
    #[error("the packet identifier or the DUP flag does not fit the QoS")]
    Delivery,
    /// The reason code does not belong into the packet, or the version has no word for it.
    #[error("MQTT {version} has no reason code {reason} in {packet}")]
    ReasonCode {
        /// The version to write.
        version: Version,
        /// The packet's type.
        packet: PacketType,
        /// The code.
        reason: ReasonCode,
    },
    /// A session present beside a refusal ([MQTT-3.2.2-6]).
    #[error("a refused connection has no session present")]
    SessionPresent,
    /// [MQTT-3.8.3-2] [MQTT-3.10.3-2], and SUBACK and UNSUBACK, which answer at least one filter.
    #[error("the {0} is empty")]
    Empty(PacketType),
    /// [MQTT-3.8.3-4]
    #[error("a shared subscription asks for no local")]
    NoLocalOnShared,
    /// AUTH in 3.1.1, or a CONNECT whose own version is not the connection's.
    #[error("MQTT {version} has no such {packet}")]
    NotInVersion {
        /// The version to write.
        version: Version,
        /// The packet's type.
        packet: PacketType,
    },
    /// [MQTT-3.1.1/3.1.2-22]
    #[error("the CONNECT has a password but no user name")]
    PasswordWithoutUserName,
}

//! The control packets as values that borrow from the bytes that they were decoded from.
//!
//! The same values are encoded: what one side writes is what the other side reads. A packet of MQTT 3.1.1 has empty
//! properties and the reason codes that its version can say. Nothing here knows whether a packet is allowed *now*: that is
//! the state machine's.

use super::filters::{SubscribeFilters, UnsubscribeFilters};
use super::properties::PropertiesRef;
use super::reason::{ReasonCode, ReasonCodes};
use super::version::Version;
use std::fmt;
use std::num::NonZeroU16;
use tidegate_message::QoS;

/// The packet types with their numbers in the fixed header (MQTT 5.0 section 2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// Client to server: request to connect.
    Connect = 1,
    /// Server to client: the answer to CONNECT.
    ConnAck = 2,
    /// Both ways: an application message.
    Publish = 3,
    /// Both ways: the answer to a PUBLISH with QoS 1.
    PubAck = 4,
    /// Both ways: first answer to a PUBLISH with QoS 2.
    PubRec = 5,
    /// Both ways: the answer to PUBREC.
    PubRel = 6,
    /// Both ways: the answer to PUBREL.
    PubComp = 7,
    /// Client to server: subscriptions.
    Subscribe = 8,
    /// Server to client: the answer to SUBSCRIBE.
    SubAck = 9,
    /// Client to server: ends subscriptions.
    Unsubscribe = 10,
    /// Server to client: the answer to UNSUBSCRIBE.
    UnsubAck = 11,
    /// Client to server: sign of life.
    PingReq = 12,
    /// Server to client: the answer to PINGREQ.
    PingResp = 13,
    /// The last packet of a connection; from the server only in MQTT 5.0.
    Disconnect = 14,
    /// MQTT 5.0 only, both ways: a step of enhanced authentication.
    Auth = 15,
}

/// One decoded control packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// CONNECT, section 3.1.
    Connect(Connect<'a>),
    /// CONNACK, section 3.2.
    ConnAck(ConnAck<'a>),
    /// PUBLISH, section 3.3.
    Publish(Publish<'a>),
    /// PUBACK, section 3.4.
    PubAck(Ack<'a>),
    /// PUBREC, section 3.5.
    PubRec(Ack<'a>),
    /// PUBREL, section 3.6.
    PubRel(Ack<'a>),
    /// PUBCOMP, section 3.7.
    PubComp(Ack<'a>),
    /// SUBSCRIBE, section 3.8.
    Subscribe(Subscribe<'a>),
    /// SUBACK, section 3.9.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE, section 3.10.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK, section 3.11.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ, section 3.12.
    PingReq,
    /// PINGRESP, section 3.13.
    PingResp,
    /// DISCONNECT, section 3.14.
    Disconnect(Disconnect<'a>),
    /// AUTH, section 3.15.
    Auth(Auth<'a>),
}

/// CONNECT. Decoded without knowing the version: it tells its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The protocol level that the client asks for; all later packets of the connection are in it.
    pub version: Version,
    /// Clean Start (5.0), Clean Session (3.1.1): whether an existing session is ended first.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 switches it off.
    pub keep_alive_seconds: u16,
    /// May carry the session expiry interval, receive maximum, maximum packet size, topic alias maximum, request response
    /// information, request problem information, authentication method and data, user properties.
    pub properties: PropertiesRef<'a>,
    /// As sent; empty where the server is to choose one. Whether an empty one is welcome is the state machine's
    /// ([MQTT-3.1.1/3.1.3-8]).
    pub client_id: &'a str,
    /// The message to publish when the connection ends badly.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub user_name: Option<&'a str>,
    /// Password.
    pub password: Option<Password<'a>>,
}

/// The will of a CONNECT (section 3.1.3.2 to 3.1.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Valid UTF-8 without U+0000; whether it is a topic name has not been checked.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// May carry the will delay interval and the message's own: payload format indicator, message expiry interval,
    /// content type, response topic, correlation data, user properties.
    pub properties: PropertiesRef<'a>,
}

/// A password as sent: any bytes. Prints as `***` so that it reaches no log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password<'a>(pub &'a [u8]);

impl fmt::Debug for Password<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Whether the server continues an existing session; false with any other reason than success ([MQTT-3.2.2-6]).
    pub session_present: bool,
    /// For 3.1.1 the reason code that means the same as the return code; see [`ReasonCode::connack_return_code`].
    pub reason: ReasonCode,
    /// May carry what the server grants: session expiry interval, receive maximum, maximum QoS, and so on.
    pub properties: PropertiesRef<'a>,
}

/// PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether it may have been sent before; never set with QoS 0 ([MQTT-3.3.1-2]).
    pub dup: bool,
    /// The level.
    pub qos: QoS,
    /// Whether it is (to be) retained.
    pub retain: bool,
    /// The topic's bytes, *not checked*: neither UTF-8 nor wildcards. The broker checks each topic once and remembers it.
    /// Empty only in MQTT 5.0 beside a topic alias.
    pub topic: &'a [u8],
    /// Present exactly when the QoS is above 0 ([MQTT-2.2.1-2]).
    pub packet_id: Option<NonZeroU16>,
    /// May carry the payload format indicator, message expiry interval, topic alias, response topic, correlation data, user
    /// properties, subscription identifiers, content type.
    pub properties: PropertiesRef<'a>,
    /// The application's bytes.
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP, which have the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The PUBLISH that it is about.
    pub packet_id: NonZeroU16,
    /// [`ReasonCode::Success`] in 3.1.1, which has no other.
    pub reason: ReasonCode,
    /// May carry a reason string and user properties.
    pub properties: PropertiesRef<'a>,
}

/// SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Repeated in the SUBACK.
    pub packet_id: NonZeroU16,
    /// May carry a subscription identifier and user properties.
    pub properties: PropertiesRef<'a>,
    /// At least one ([MQTT-3.8.3-2]).
    pub filters: SubscribeFilters<'a>,
}

/// SUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// That of the SUBSCRIBE.
    pub packet_id: NonZeroU16,
    /// May carry a reason string and user properties.
    pub properties: PropertiesRef<'a>,
    /// One a filter, in the order of the SUBSCRIBE ([MQTT-3.9.3-1]).
    pub reasons: ReasonCodes<'a>,
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Repeated in the UNSUBACK.
    pub packet_id: NonZeroU16,
    /// May carry user properties.
    pub properties: PropertiesRef<'a>,
    /// At least one ([MQTT-3.10.3-2]).
    pub filters: UnsubscribeFilters<'a>,
}

/// UNSUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// That of the UNSUBSCRIBE.
    pub packet_id: NonZeroU16,
    /// May carry a reason string and user properties.
    pub properties: PropertiesRef<'a>,
    /// One a filter, in the order of the UNSUBSCRIBE; none in 3.1.1, which has no place for them.
    pub reasons: ReasonCodes<'a>,
}

/// DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// [`ReasonCode::Success`] means "normal disconnection"; the only one in 3.1.1.
    pub reason: ReasonCode,
    /// May carry the session expiry interval, a reason string, a server reference, user properties.
    pub properties: PropertiesRef<'a>,
}

/// AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue authentication or re-authenticate.
    pub reason: ReasonCode,
    /// Carries the authentication method, and may carry data, a reason string, user properties.
    pub properties: PropertiesRef<'a>,
}

impl PacketType {
    /// All types; a type's number is its position plus one.
    pub const ALL: [PacketType; 15] = [
        PacketType::Connect,
        PacketType::ConnAck,
        PacketType::Publish,
        PacketType::PubAck,
        PacketType::PubRec,
        PacketType::PubRel,
        PacketType::PubComp,
        PacketType::Subscribe,
        PacketType::SubAck,
        PacketType::Unsubscribe,
        PacketType::UnsubAck,
        PacketType::PingReq,
        PacketType::PingResp,
        PacketType::Disconnect,
        PacketType::Auth,
    ];

    /// The type with this number, or nothing for 0, which is forbidden, and for numbers above 15.
    pub fn from_number(number: u8) -> Option<PacketType> {
        PacketType::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The low half of the first byte, which is fixed for all types but PUBLISH ([MQTT-2.1.3-1]).
    pub(super) fn flags(self) -> u8 {
        match self {
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// The first byte of a packet of this type, for a PUBLISH with QoS 0 and no flag set.
    pub(super) fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.flags()
    }

    /// The type's name as the specification writes it.
    pub fn name(self) -> &'static str {
        match self {
            PacketType::Connect => "CONNECT",
            PacketType::ConnAck => "CONNACK",
            PacketType::Publish => "PUBLISH",
            PacketType::PubAck => "PUBACK",
            PacketType::PubRec => "PUBREC",
            PacketType::PubRel => "PUBREL",
            PacketType::PubComp => "PUBCOMP",
            PacketType::Subscribe => "SUBSCRIBE",
            PacketType::SubAck => "SUBACK",
            PacketType::Unsubscribe => "UNSUBSCRIBE",
            PacketType::UnsubAck => "UNSUBACK",
            PacketType::PingReq => "PINGREQ",
            PacketType::PingResp => "PINGRESP",
            PacketType::Disconnect => "DISCONNECT",
            PacketType::Auth => "AUTH",
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Packet<'_> {
    /// The packet's type.
    pub fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::ConnAck(_) => PacketType::ConnAck,
            Packet::Publish(_) => PacketType::Publish,
            Packet::PubAck(_) => PacketType::PubAck,
            Packet::PubRec(_) => PacketType::PubRec,
            Packet::PubRel(_) => PacketType::PubRel,
            Packet::PubComp(_) => PacketType::PubComp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::SubAck(_) => PacketType::SubAck,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::UnsubAck(_) => PacketType::UnsubAck,
            Packet::PingReq => PacketType::PingReq,
            Packet::PingResp => PacketType::PingResp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}

//! Reason codes: the one table of their numbers, names and packets.
//!
//! MQTT 3.1.1 has return codes in CONNACK and SUBACK only. They are read as the reason codes that mean the same, so that
//! nothing else has to know two numberings.

use super::packet::PacketType;
use PacketType::{Auth, ConnAck, Disconnect, PubAck, PubComp, PubRec, PubRel, SubAck, UnsubAck};
use std::fmt;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $label:literal, [$($packet:ident)*];)*) => {
        /// The outcome of an operation as MQTT 5.0 numbers it (section 2.4). From 0x80 on it is a failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $number,)*
        }

        impl ReasonCode {
            /// All codes, lowest number first.
            pub const ALL: &[ReasonCode] = &[$(ReasonCode::$name,)*];

            /// The code with this number, or nothing where the specification defines none.
            pub fn from_number(number: u8) -> Option<ReasonCode> {
                match number {
                    $($number => Some(ReasonCode::$name),)*
                    _ => None,
                }
            }

            /// The code in metrics and logs: its name in the specification, in `snake_case`.
            pub fn label(self) -> &'static str {
                match self {
                    $(ReasonCode::$name => $label,)*
                }
            }

            /// The packets that may carry the code; which of the two sides may send it there is the state machine's.
            fn packets(self) -> &'static [PacketType] {
                match self {
                    $(ReasonCode::$name => &[$($packet,)*],)*
                }
            }
        }
    };
}

reason_codes! {
    /// Success; in SUBACK "granted QoS 0", in DISCONNECT "normal disconnection".
    Success = 0x00, "success", [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth];
    /// The subscription was accepted with QoS 1 at most.
    GrantedQoS1 = 0x01, "granted_qos_1", [SubAck];
    /// The subscription was accepted with QoS 2 at most.
    GrantedQoS2 = 0x02, "granted_qos_2", [SubAck];
    /// The client leaves and wants its will published.
    DisconnectWithWill = 0x04, "disconnect_with_will_message", [Disconnect];
    /// The message was accepted; nobody subscribes to its topic.
    NoMatchingSubscribers = 0x10, "no_matching_subscribers", [PubAck PubRec];
    /// There was nothing to unsubscribe.
    NoSubscriptionExisted = 0x11, "no_subscription_existed", [UnsubAck];
    /// Enhanced authentication goes on.
    ContinueAuthentication = 0x18, "continue_authentication", [Auth];
    /// The client begins enhanced authentication again.
    ReAuthenticate = 0x19, "re_authenticate", [Auth];
    /// A failure that is not told.
    UnspecifiedError = 0x80, "unspecified_error", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The bytes are no packet.
    MalformedPacket = 0x81, "malformed_packet", [ConnAck Disconnect];
    /// A packet that is not allowed, or not now.
    ProtocolError = 0x82, "protocol_error", [ConnAck Disconnect];
    /// Valid, but not accepted here.
    ImplementationSpecificError = 0x83, "implementation_specific_error", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The CONNECT asks for a version that is not spoken here.
    UnsupportedProtocolVersion = 0x84, "unsupported_protocol_version", [ConnAck];
    /// The client identifier is not allowed.
    ClientIdentifierNotValid = 0x85, "client_identifier_not_valid", [ConnAck];
    /// The credentials were refused.
    BadUserNameOrPassword = 0x86, "bad_user_name_or_password", [ConnAck];
    /// The client may not do this.
    NotAuthorized = 0x87, "not_authorized", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The server is not available.
    ServerUnavailable = 0x88, "server_unavailable", [ConnAck];
    /// The server has too much to do.
    ServerBusy = 0x89, "server_busy", [ConnAck Disconnect];
    /// The client has been banned by an operator.
    Banned = 0x8A, "banned", [ConnAck];
    /// The server is stopping.
    ServerShuttingDown = 0x8B, "server_shutting_down", [Disconnect];
    /// The authentication method is not supported, or not the one in use.
    BadAuthenticationMethod = 0x8C, "bad_authentication_method", [ConnAck Disconnect];
    /// Nothing was heard for one and a half times the keep alive.
    KeepAliveTimeout = 0x8D, "keep_alive_timeout", [Disconnect];
    /// Another connection uses the same client identifier.
    SessionTakenOver = 0x8E, "session_taken_over", [Disconnect];
    /// Well formed, but no filter that is accepted here.
    TopicFilterInvalid = 0x8F, "topic_filter_invalid", [SubAck UnsubAck Disconnect];
    /// Well formed, but no topic that is accepted here.
    TopicNameInvalid = 0x90, "topic_name_invalid", [ConnAck PubAck PubRec Disconnect];
    /// The packet identifier is still in use: the two sides differ about the session.
    PacketIdentifierInUse = 0x91, "packet_identifier_in_use", [PubAck PubRec SubAck UnsubAck];
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92, "packet_identifier_not_found", [PubRel PubComp];
    /// More unacknowledged messages than the receive maximum allows.
    ReceiveMaximumExceeded = 0x93, "receive_maximum_exceeded", [Disconnect];
    /// A topic alias of 0, above the maximum, or never set.
    TopicAliasInvalid = 0x94, "topic_alias_invalid", [Disconnect];
    /// The packet is larger than the receiver's maximum.
    PacketTooLarge = 0x95, "packet_too_large", [ConnAck Disconnect];
    /// Messages come too fast.
    MessageRateTooHigh = 0x96, "message_rate_too_high", [Disconnect];
    /// A limit of the implementation or of the administrator is reached.
    QuotaExceeded = 0x97, "quota_exceeded", [ConnAck PubAck PubRec SubAck Disconnect];
    /// An operator closed the connection.
    AdministrativeAction = 0x98, "administrative_action", [Disconnect];
    /// The payload is not what the payload format indicator says.
    PayloadFormatInvalid = 0x99, "payload_format_invalid", [ConnAck PubAck PubRec Disconnect];
    /// Retained messages are not supported.
    RetainNotSupported = 0x9A, "retain_not_supported", [ConnAck Disconnect];
    /// The QoS is above the server's maximum.
    QoSNotSupported = 0x9B, "qos_not_supported", [ConnAck Disconnect];
    /// The client should use another server for now.
    UseAnotherServer = 0x9C, "use_another_server", [ConnAck Disconnect];
    /// The client should use another server from now on.
    ServerMoved = 0x9D, "server_moved", [ConnAck Disconnect];
    /// Shared subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E, "shared_subscriptions_not_supported", [SubAck Disconnect];
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F, "connection_rate_exceeded", [ConnAck Disconnect];
    /// The longest time that a connection may last has passed.
    MaximumConnectTime = 0xA0, "maximum_connect_time", [Disconnect];
    /// Subscription identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription_identifiers_not_supported", [SubAck Disconnect];
    /// Wildcard subscriptions are not supported.
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard_subscriptions_not_supported", [SubAck Disconnect];
}

impl ReasonCode {
    /// The number on the wire in MQTT 5.0.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Whether the operation failed: every number from 0x80 on.
    pub fn is_failure(self) -> bool {
        self.number() >= 0x80
    }

    /// Whether the specification lists the code for packets of this type.
    pub fn is_allowed_in(self, packet: PacketType) -> bool {
        self.packets().contains(&packet)
    }

    /// What a CONNACK of MQTT 3.1.1 says for this code (3.1.1 section 3.2.2.3), the nearest of its five refusals.
    ///
    /// Nothing where 3.1.1 has no word for it: then the server closes without a CONNACK.
    pub fn connack_return_code(self) -> Option<u8> {
        match self {
            ReasonCode::Success => Some(0),
            ReasonCode::UnsupportedProtocolVersion => Some(1),
            ReasonCode::ClientIdentifierNotValid => Some(2),
            ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::QuotaExceeded
            | ReasonCode::UseAnotherServer
            | ReasonCode::ServerMoved
            | ReasonCode::ConnectionRateExceeded => Some(3),
            ReasonCode::BadUserNameOrPassword => Some(4),
            ReasonCode::NotAuthorized | ReasonCode::Banned | ReasonCode::BadAuthenticationMethod => Some(5),
            _ => None,
        }
    }

    /// The reason code that a CONNACK of MQTT 3.1.1 means with this return code; nothing for the reserved ones.
    pub fn from_connack_return_code(code: u8) -> Option<ReasonCode> {
        match code {
            0 => Some(ReasonCode::Success),
            1 => Some(ReasonCode::UnsupportedProtocolVersion),
            2 => Some(ReasonCode::ClientIdentifierNotValid),
            3 => Some(ReasonCode::ServerUnavailable),
            4 => Some(ReasonCode::BadUserNameOrPassword),
            5 => Some(ReasonCode::NotAuthorized),
            _ => None,
        }
    }

    /// What a SUBACK of MQTT 3.1.1 says for this code: the granted level, or 0x80 for every failure ([MQTT-3.1.1/3.9.3-2]).
    pub fn suback_return_code(self) -> u8 {
        match self.is_failure() {
            true => 0x80,
            false => self.number(),
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (0x{:02x})", self.label(), self.number())
    }
}

/// The reason codes of a SUBACK or UNSUBACK, checked when the packet was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReasonCodes<'a> {
    numbers: &'a [u8],
}

impl<'a> ReasonCodes<'a> {
    /// Wraps the numbers, all of which must be codes that such a packet may carry.
    pub(super) fn checked(numbers: &'a [u8], packet: PacketType) -> Result<ReasonCodes<'a>, u8> {
        let allowed =
            |number: u8| ReasonCode::from_number(number).is_some_and(|code| code.is_allowed_in(packet));
        match numbers.iter().find(|number| !allowed(**number)) {
            Some(number) => Err(*number),
            None => Ok(ReasonCodes { numbers }),
        }
    }

    /// The codes in the order of the filters that they answer.
    pub fn iter(self) -> impl ExactSizeIterator<Item = ReasonCode> + Clone + 'a {
        self.numbers
            .iter()
            .map(|number| ReasonCode::from_number(*number).unwrap_or(ReasonCode::UnspecifiedError))
    }

    /// How many codes there are.
    pub fn len(self) -> usize {
        self.numbers.len()
    }

    /// Whether there is none, as in an UNSUBACK of MQTT 3.1.1.
    pub fn is_empty(self) -> bool {
        self.numbers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 2.4: numbers and labels name one code each, and every code has a packet to stand in.
    #[test]
    fn codes_are_told_apart() {
        for (index, code) in ReasonCode::ALL.iter().enumerate() {
            assert_eq!(ReasonCode::from_number(code.number()), Some(*code));
            assert!(ReasonCode::ALL[..index].iter().all(|other| other.label() != code.label()), "{code}");
            assert!(
                code.label().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')),
                "{code}"
            );
            assert!(!code.packets().is_empty());
        }
    }

    /// MQTT 3.1.1 section 3.2.2.3: the return codes survive the way through reason codes.
    #[test]
    fn return_codes_come_back() {
        for number in 0..=255 {
            match ReasonCode::from_connack_return_code(number) {
                Some(reason) => assert_eq!(reason.connack_return_code(), Some(number)),
                None => assert!(number > 5),
            }
        }
    }
}

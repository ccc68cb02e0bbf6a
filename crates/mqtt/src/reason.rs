//! The one place where refusals and closes become MQTT's reason codes, and reason codes become closes.
//!
//! A fault is a [`Close`] whose label is the label of its reason code, so what the metrics count and what the client is told
//! are the same word. In MQTT 3.1.1 most codes have no place on the wire; the labels are the same.

use crate::codec::{DecodeError, PacketType, ReasonCode};
use std::borrow::Cow;
use std::time::Duration;
use tidegate_message::TopicError;
use tidegate_protocol::{Close, CloseReason, Denial, FaultKind, Refusal};

/// The end of a connection whose client broke a rule or asked for too much.
pub(crate) fn fault(reason: ReasonCode, detail: impl Into<Cow<'static, str>>) -> Close {
    Close::new(CloseReason::ProtocolFault(reason.label()), detail).of_kind(kind(reason))
}

/// What a fault with this code is about.
fn kind(reason: ReasonCode) -> FaultKind {
    match reason {
        ReasonCode::PacketTooLarge => FaultKind::TooLarge,
        ReasonCode::ServerUnavailable
        | ReasonCode::ServerBusy
        | ReasonCode::ConnectionRateExceeded
        | ReasonCode::UseAnotherServer
        | ReasonCode::ServerMoved => FaultKind::Busy,
        ReasonCode::UnspecifiedError | ReasonCode::ImplementationSpecificError => FaultKind::Internal,
        ReasonCode::ClientIdentifierNotValid
        | ReasonCode::BadUserNameOrPassword
        | ReasonCode::NotAuthorized
        | ReasonCode::Banned
        | ReasonCode::BadAuthenticationMethod
        | ReasonCode::MessageRateTooHigh
        | ReasonCode::QuotaExceeded
        | ReasonCode::AdministrativeAction
        | ReasonCode::MaximumConnectTime => FaultKind::NotAllowed,
        _ => FaultKind::Rules,
    }
}

/// The label of the end below, which has no reason code of its own.
const ACK_TIMEOUT: &str = "ack_timeout";

/// The end of a connection whose client left a message unacknowledged.
pub(crate) fn ack_timeout(allowed: Duration) -> Close {
    let detail = format!("a message was not acknowledged for {} s", allowed.as_secs_f32());
    Close::new(CloseReason::ProtocolFault(ACK_TIMEOUT), detail).of_kind(FaultKind::NotAllowed)
}

/// The end of a connection whose bytes are no packet ([MQTT-4.13.1-1], [MQTT-3.1.1/4.8.0-1]).
pub(crate) fn undecodable(error: DecodeError) -> Close {
    fault(error.reason_code(), error.to_string())
}

/// What a DISCONNECT or CONNACK says about the end; nothing where no word is due: the client left, is gone, or does not read.
pub(crate) fn last_word(reason: CloseReason) -> Option<ReasonCode> {
    match reason {
        CloseReason::Disconnected
        | CloseReason::PeerClosed
        | CloseReason::OutputStalled
        | CloseReason::ConnectTimeout
        | CloseReason::TransportFault(_) => None,
        CloseReason::KeepAliveTimeout => Some(ReasonCode::KeepAliveTimeout),
        CloseReason::SessionTakenOver => Some(ReasonCode::SessionTakenOver),
        CloseReason::NotAuthorized => Some(ReasonCode::NotAuthorized),
        CloseReason::ServerShutdown => Some(ReasonCode::ServerShuttingDown),
        CloseReason::QueueOverflow => Some(ReasonCode::QuotaExceeded),
        CloseReason::ListenerClosed | CloseReason::ReplayEnded => Some(ReasonCode::AdministrativeAction),
        // Section 2.4: a limit that was set here has been passed.
        CloseReason::ProtocolFault(ACK_TIMEOUT) => Some(ReasonCode::QuotaExceeded),
        CloseReason::ProtocolFault(label) => {
            let known = ReasonCode::ALL.iter().find(|reason| reason.label() == label).copied();
            Some(known.unwrap_or(ReasonCode::ImplementationSpecificError))
        }
    }
}

/// What a CONNACK says for a code that only a DISCONNECT may carry.
pub(crate) fn in_connack(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::ServerShuttingDown | ReasonCode::AdministrativeAction => ReasonCode::ServerUnavailable,
        ReasonCode::SessionTakenOver => ReasonCode::ServerBusy,
        other if other.is_allowed_in(PacketType::ConnAck) => other,
        _ => ReasonCode::UnspecifiedError,
    }
}

/// What a DISCONNECT says for a code that only another packet may carry.
pub(crate) fn in_disconnect(reason: ReasonCode) -> ReasonCode {
    match reason.is_allowed_in(PacketType::Disconnect) {
        true => reason,
        false => ReasonCode::UnspecifiedError,
    }
}

/// The end of a connection whose client is not let in.
pub(crate) fn of_denial(denial: Denial) -> Close {
    let reason = match denial {
        Denial::BadCredentials => ReasonCode::BadUserNameOrPassword,
        Denial::UnknownMethod => ReasonCode::BadAuthenticationMethod,
        Denial::Busy => ReasonCode::ServerBusy,
        Denial::AnonymousNotAllowed | Denial::MalformedExchange | Denial::AnotherUser => {
            ReasonCode::NotAuthorized
        }
    };
    fault(reason, denial.to_string())
}

/// Why a session was not attached, for the CONNACK.
pub(crate) fn of_attach(refusal: Refusal) -> ReasonCode {
    match refusal {
        Refusal::TooManySessions { .. } | Refusal::QueueFull | Refusal::StoreFull => {
            ReasonCode::QuotaExceeded
        }
        Refusal::StoreFailing => ReasonCode::ServerUnavailable,
        Refusal::ClientIdTooLong { .. } => ReasonCode::ClientIdentifierNotValid,
        // The will's.
        Refusal::InvalidTopic(_)
        | Refusal::TooManyLevels { .. }
        | Refusal::TopicTooLong { .. }
        | Refusal::InvalidQueueName => ReasonCode::TopicNameInvalid,
        Refusal::QueueRetain | Refusal::ReplyRetain => ReasonCode::RetainNotSupported,
        // The session belongs to another user.
        Refusal::NotAuthorized => ReasonCode::NotAuthorized,
        _ => ReasonCode::UnspecifiedError,
    }
}

/// Why a subscription was refused, for its place in the SUBACK.
pub(crate) fn of_subscribe(refusal: Refusal) -> ReasonCode {
    match refusal {
        Refusal::TooManySubscriptions { .. }
        | Refusal::SubscriptionsFull
        | Refusal::TooManyQueues { .. }
        | Refusal::StoreFull
        | Refusal::QueueFull => ReasonCode::QuotaExceeded,
        Refusal::StoreFailing => ReasonCode::ImplementationSpecificError,
        // A queue's filter is well formed, but cannot be had so (section 3.9.3).
        Refusal::InvalidTopic(_)
        | Refusal::TooManyLevels { .. }
        | Refusal::TopicTooLong { .. }
        | Refusal::InvalidQueueName
        | Refusal::QueueInGroup => ReasonCode::TopicFilterInvalid,
        Refusal::QueueNoLocal => ReasonCode::ImplementationSpecificError,
        Refusal::NotAuthorized => ReasonCode::NotAuthorized,
        _ => ReasonCode::UnspecifiedError,
    }
}

/// What a refused PUBLISH means for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The bytes are no topic name at all: a fault that ends the connection.
    Fault(ReasonCode),
    /// A valid topic beyond a limit of this gateway: it will be refused again whenever it is sent again.
    Lasting(ReasonCode),
    /// The client may not publish to the topic.
    Denied(ReasonCode),
    /// No client may publish to the topic: it is one of the gateway's own.
    Reserved(ReasonCode),
    /// Refused for now: there was no room.
    Passing(ReasonCode),
}

/// Why a PUBLISH was refused.
pub(crate) fn of_publish(refusal: Refusal) -> Rejection {
    match refusal {
        // [MQTT-3.3.2-2]
        Refusal::InvalidTopic(TopicError::Wildcard(_)) => Rejection::Fault(ReasonCode::TopicNameInvalid),
        // [MQTT-4.7.3-1]
        Refusal::InvalidTopic(TopicError::Empty) => Rejection::Fault(ReasonCode::ProtocolError),
        // [MQTT-3.3.2-1] [MQTT-4.7.3-2]
        Refusal::InvalidTopic(_) => Rejection::Fault(ReasonCode::MalformedPacket),
        Refusal::TooManyLevels { .. } | Refusal::TopicTooLong { .. } | Refusal::InvalidQueueName => {
            Rejection::Lasting(ReasonCode::TopicNameInvalid)
        }
        // "Retain not supported" is no word for a single message (section 3.4.2.1).
        Refusal::QueueRetain | Refusal::ReplyRetain => {
            Rejection::Lasting(ReasonCode::ImplementationSpecificError)
        }
        Refusal::NotAuthorized => Rejection::Denied(ReasonCode::NotAuthorized),
        Refusal::ReservedTopic => Rejection::Reserved(ReasonCode::NotAuthorized),
        Refusal::RetainedFull
        | Refusal::QueueFull
        | Refusal::StoreFull
        | Refusal::TooManyQueues { .. }
        | Refusal::SubscriptionsFull => Rejection::Passing(ReasonCode::QuotaExceeded),
        Refusal::StoreFailing | Refusal::NotForwarded => {
            Rejection::Passing(ReasonCode::ImplementationSpecificError)
        }
        _ => Rejection::Passing(ReasonCode::UnspecifiedError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.9.3-2] [MQTT-3.14.2-1] and section 2.4: each packet carries
    /// only the codes that the specification lists for it.
    #[test]
    fn every_word_is_allowed_in_its_packet() {
        for reason in ReasonCode::ALL {
            assert!(in_connack(*reason).is_allowed_in(PacketType::ConnAck), "{reason}");
            assert!(in_disconnect(*reason).is_allowed_in(PacketType::Disconnect), "{reason}");
        }
        let refusals = [
            Refusal::TooManyLevels { levels: 2, limit: 1 },
            Refusal::TopicTooLong { bytes: 2, limit: 1 },
            Refusal::TooManySubscriptions { limit: 1 },
            Refusal::SubscriptionsFull,
            Refusal::TooManySessions { limit: 1 },
            Refusal::ClientIdTooLong { bytes: 2, limit: 1 },
            Refusal::RetainedFull,
            Refusal::QueueFull,
            Refusal::StoreFull,
            Refusal::StoreFailing,
            Refusal::NotForwarded,
            Refusal::InvalidQueueName,
            Refusal::QueueInGroup,
            Refusal::QueueNoLocal,
            Refusal::QueueRetain,
            Refusal::TooManyQueues { limit: 1 },
            Refusal::UnknownConsumer,
            Refusal::ReplyRetain,
            Refusal::NoRandom,
            Refusal::NotAuthorized,
            Refusal::ReservedTopic,
        ];
        for refusal in refusals {
            assert!(of_attach(refusal).is_allowed_in(PacketType::ConnAck), "{refusal}");
            assert!(of_subscribe(refusal).is_allowed_in(PacketType::SubAck), "{refusal}");
            let reason = match of_publish(refusal) {
                Rejection::Fault(_) => panic!("{refusal} is no fault of the client"),
                Rejection::Lasting(reason) | Rejection::Passing(reason) => reason,
                Rejection::Denied(reason) | Rejection::Reserved(reason) => reason,
            };
            assert!(
                reason.is_allowed_in(PacketType::PubAck) && reason.is_allowed_in(PacketType::PubRec),
                "{refusal}"
            );
        }
    }

    /// What a browser's page is told by the code of the close frame.
    #[test]
    fn faults_tell_transports_what_they_are_about() {
        for (reason, kind) in [
            (ReasonCode::MalformedPacket, FaultKind::Rules),
            (ReasonCode::PacketTooLarge, FaultKind::TooLarge),
            (ReasonCode::BadUserNameOrPassword, FaultKind::NotAllowed),
            (ReasonCode::QuotaExceeded, FaultKind::NotAllowed),
            (ReasonCode::ServerBusy, FaultKind::Busy),
            (ReasonCode::UnspecifiedError, FaultKind::Internal),
        ] {
            assert_eq!(fault(reason, "").kind, kind, "{reason}");
        }
    }

    #[test]
    fn a_fault_is_told_by_the_word_that_it_is_counted_by() {
        for reason in ReasonCode::ALL {
            assert_eq!(last_word(fault(*reason, "").reason), Some(*reason));
        }
        assert_eq!(
            last_word(CloseReason::ProtocolFault("of the driver")),
            Some(ReasonCode::ImplementationSpecificError)
        );
        assert_eq!(last_word(CloseReason::Disconnected), None);
        assert_eq!(last_word(CloseReason::QueueOverflow), Some(ReasonCode::QuotaExceeded));
        assert_eq!(last_word(CloseReason::ListenerClosed), Some(ReasonCode::AdministrativeAction));
    }
}

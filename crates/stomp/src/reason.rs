//! What can go wrong on a connection, and how it is told: the one place that maps faults to ERROR frames, labels and closes.

use crate::codec::{Command, DecodeError, Version};
use std::borrow::Cow;
use tidegate_message::FilterError;
use tidegate_protocol::{Close, CloseReason, Denial, FaultKind, Refusal};

/// A reason for an ERROR frame; its text is the frame's body. STOMP knows no smaller scope: each ends the connection ([STOMP-1.2/ERROR]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The stream cannot be cut into frames.
    #[error("{0}")]
    Frame(#[from] DecodeError),
    /// [STOMP-1.2/Connecting]
    #[error("the first frame has to be CONNECT or STOMP, not {0}")]
    NotConnected(Command),
    /// [STOMP-1.2/Client Frames]
    #[error("the connection is open already")]
    AlreadyConnected,
    /// [STOMP-1.2/Server Frames]
    #[error("{0} is a frame of servers")]
    ServerFrame(Command),
    /// A command that another version has.
    #[error("STOMP {version} has no {command}")]
    NotInVersion {
        /// The version of the connection.
        version: Version,
        /// The frame's command.
        command: Command,
    },
    /// [STOMP-1.2/Body]
    #[error("{0} must not have a body")]
    UnexpectedBody(Command),
    /// [STOMP-1.2/Protocol Negotiation]
    #[error("Supported protocol versions are 1.0 1.1 1.2")]
    UnsupportedVersion,
    /// [STOMP-1.2/CONNECT or STOMP Frame]
    #[error("{0}")]
    Denied(Denial),
    /// A header that the specification demands.
    #[error("{command} must have the header `{name}`")]
    MissingHeader {
        /// The frame's command.
        command: Command,
        /// The header.
        name: &'static str,
    },
    /// A header whose value means nothing.
    #[error("the header `{name}` must be {expected}")]
    InvalidHeader {
        /// The header.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// Something that other servers have.
    #[error("{0} are not supported yet")]
    Unsupported(&'static str),
    /// A destination of no known kind.
    #[error("the destination must begin with /topic/, /queue/, /temp-queue/ or /reply-queue/")]
    UnsupportedDestination,
    /// A destination that cannot be used like this; what it says is the way that can.
    #[error("{0}")]
    WrongDestination(&'static str),
    /// A pattern where one place has to be named.
    #[error("wildcards are for subscriptions to topics")]
    WildcardDestination,
    /// [STOMP-1.2/CONNECT or STOMP Frame]
    #[error("the listener has no virtual host of the name in `host`")]
    UnknownHost,
    /// A destination whose topic filter is none.
    #[error("the destination's topic is not valid: {0}")]
    InvalidFilter(FilterError),
    /// [STOMP-1.2/SUBSCRIBE id Header]
    #[error("the connection has a subscription with this id already")]
    DuplicateSubscription,
    /// [STOMP-1.2/UNSUBSCRIBE]
    #[error("the connection has no subscription with this id")]
    UnknownSubscription,
    /// A durable subscription of nobody.
    #[error("a durable subscription belongs to a client: CONNECT must have the header `client-id`")]
    DurableWithoutClientId,
    /// A durable subscription without a name, which only 1.0 could ask for.
    #[error("a durable subscription must have the header `id`")]
    DurableWithoutId,
    /// Another connection has claimed one of the durable subscriptions.
    #[error("another connection of this client has taken a durable subscription over")]
    SessionTakenOver,
    /// The option's limit.
    #[error("the connection has {limit} subscriptions, which is the limit")]
    TooManySubscriptions {
        /// `max_subscriptions`.
        limit: usize,
    },
    /// [STOMP-1.2/ACK]
    #[error("no delivered message waits for an acknowledgement with this id")]
    UnknownAcknowledgement,
    /// [STOMP-1.2/BEGIN]
    #[error("the connection has a transaction with this name already")]
    DuplicateTransaction,
    /// [STOMP-1.2/COMMIT] [STOMP-1.2/ABORT]
    #[error("the connection has no transaction with this name")]
    UnknownTransaction,
    /// The option's limit.
    #[error("the connection has {limit} transactions, which is the limit")]
    TooManyTransactions {
        /// `max_transactions`.
        limit: usize,
    },
    /// The option's limit.
    #[error("the transactions of the connection hold {limit} frames, which is the limit")]
    TransactionFrames {
        /// `max_transaction_frames`.
        limit: usize,
    },
    /// The option's limit.
    #[error("the transactions of the connection would hold more than {limit} bytes, which is the limit")]
    TransactionBytes {
        /// `max_transaction_size`.
        limit: usize,
    },
    /// [STOMP-1.2/COMMIT]: the broker says no to one frame, and so nothing is done.
    #[error("nothing of the transaction was done, because its frame {frame} is refused: {refusal}")]
    NotCommitted {
        /// Which of the transaction's frames, counted from 1 behind BEGIN.
        frame: usize,
        /// Why.
        refusal: Refusal,
    },
    /// [STOMP-1.2/COMMIT]: a message has gone back before it was acknowledged, and so nothing is done.
    #[error(
        "nothing of the transaction was done, because the subscription of the message that its frame {frame} acknowledges has ended"
    )]
    AcknowledgedTooLate {
        /// Which of the transaction's frames, counted from 1 behind BEGIN.
        frame: usize,
    },
    /// The broker says no.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// [STOMP-1.2/Heart-beating]
    #[error("nothing arrived for twice the agreed heart-beat interval of {milliseconds} ms")]
    Silent {
        /// The agreed interval.
        milliseconds: u64,
    },
    /// The opening took too long.
    #[error("no CONNECT frame arrived in time")]
    ConnectTimeout,
    /// The gateway is stopping.
    #[error("the server is shutting down")]
    ServerShutdown,
    /// The gateway goes on without the listener.
    #[error("the server no longer listens on the address of this connection")]
    ListenerClosed,
    /// The client acknowledges or reads too slowly, and `limits.queue_overflow` says "disconnect".
    #[error("the client does not take what it has subscribed to, and its queue is full")]
    QueueOverflow,
    /// A reload took the topics of a subscription that can be resumed out of the replay rings.
    #[error("no replay ring holds the topics of a subscription any more, so it could not be resumed")]
    ReplayEnded,
    /// The client's credentials or rights are gone.
    #[error("the client is no longer authorized")]
    NotAuthorized,
}

impl Fault {
    /// The `message` header: a short description ([STOMP-1.2/ERROR]).
    pub(crate) fn message(&self) -> &'static str {
        match self {
            Fault::Frame(error) if is_limit(error) => "frame too large",
            Fault::Frame(_) => "malformed frame received",
            Fault::NotConnected(_) => "not connected",
            Fault::AlreadyConnected => "already connected",
            Fault::ServerFrame(_) | Fault::NotInVersion { .. } => "frame not allowed",
            Fault::UnexpectedBody(_) => "frame not allowed",
            Fault::UnsupportedVersion => "unsupported protocol version",
            Fault::Denied(Denial::Busy) => "server busy",
            Fault::Denied(_) => "not authenticated",
            Fault::MissingHeader { .. } | Fault::DurableWithoutClientId | Fault::DurableWithoutId => {
                "missing header"
            }
            Fault::InvalidHeader { .. } => "invalid header",
            Fault::Unsupported(_) => "not supported",
            Fault::UnsupportedDestination | Fault::WrongDestination(_) => "unsupported destination",
            Fault::WildcardDestination | Fault::InvalidFilter(_) => "unsupported destination",
            Fault::UnknownHost => "unknown host",
            Fault::DuplicateSubscription => "duplicate subscription id",
            Fault::UnknownSubscription => "unknown subscription id",
            Fault::TooManySubscriptions { .. } => "too many subscriptions",
            Fault::UnknownAcknowledgement => "unknown acknowledgement id",
            Fault::DuplicateTransaction => "duplicate transaction name",
            Fault::UnknownTransaction => "unknown transaction name",
            Fault::TooManyTransactions { .. } => "too many transactions",
            Fault::TransactionFrames { .. } | Fault::TransactionBytes { .. } => "transaction too large",
            Fault::NotCommitted { .. } | Fault::AcknowledgedTooLate { .. } => "transaction aborted",
            Fault::Refused(Refusal::NotAuthorized | Refusal::ReservedTopic) => "not authorized",
            Fault::Refused(
                Refusal::InvalidQueueName
                | Refusal::QueueInGroup
                | Refusal::QueueNoLocal
                | Refusal::QueueRetain,
            ) => "not possible with a queue",
            Fault::Refused(Refusal::StoreFull) => "store full",
            Fault::Refused(Refusal::StoreFailing) => "store failing",
            Fault::Refused(Refusal::NotForwarded) => "not forwarded",
            Fault::Refused(_) => "request refused",
            Fault::Silent { .. } => "heart-beat missing",
            Fault::ConnectTimeout => "connect timeout",
            Fault::SessionTakenOver => "taken over",
            Fault::ServerShutdown => "server shutting down",
            Fault::ListenerClosed => "listener closed",
            Fault::QueueOverflow => "queue full",
            Fault::ReplayEnded => "replay ended",
            Fault::NotAuthorized => "not authorized",
        }
    }

    /// Why the connection ends: the reason's label is the one of the metric.
    pub(crate) fn close(&self) -> Close {
        let detail: Cow<'static, str> = self.to_string().into();
        Close::new(self.close_reason(), detail).of_kind(self.kind())
    }

    /// What it is about, for transports with numbers of their own.
    fn kind(&self) -> FaultKind {
        match self {
            Fault::Frame(error) if is_limit(error) => FaultKind::TooLarge,
            Fault::Denied(Denial::Busy) => FaultKind::Busy,
            Fault::TransactionFrames { .. } | Fault::TransactionBytes { .. } => FaultKind::TooLarge,
            Fault::Refused(refusal) | Fault::NotCommitted { refusal, .. } => kind_of(*refusal),
            Fault::Denied(_)
            | Fault::UnknownHost
            | Fault::TooManySubscriptions { .. }
            | Fault::TooManyTransactions { .. } => FaultKind::NotAllowed,
            _ => FaultKind::Rules,
        }
    }

    fn close_reason(&self) -> CloseReason {
        CloseReason::ProtocolFault(match self {
            Fault::Silent { .. } => return CloseReason::KeepAliveTimeout,
            Fault::ConnectTimeout => return CloseReason::ConnectTimeout,
            Fault::SessionTakenOver => return CloseReason::SessionTakenOver,
            Fault::ServerShutdown => return CloseReason::ServerShutdown,
            Fault::ListenerClosed => return CloseReason::ListenerClosed,
            Fault::QueueOverflow => return CloseReason::QueueOverflow,
            Fault::ReplayEnded => return CloseReason::ReplayEnded,
            Fault::NotAuthorized => return CloseReason::NotAuthorized,
            Fault::Frame(error) if is_limit(error) => "frame_too_large",
            Fault::Frame(_) => "malformed_frame",
            Fault::NotConnected(_) | Fault::AlreadyConnected => "unexpected_frame",
            Fault::ServerFrame(_) | Fault::NotInVersion { .. } => "unexpected_frame",
            Fault::UnexpectedBody(_) => "unexpected_frame",
            Fault::UnsupportedVersion => "unsupported_version",
            Fault::Denied(Denial::Busy) => "server_busy",
            Fault::Denied(_) => "not_authenticated",
            Fault::MissingHeader { .. } | Fault::InvalidHeader { .. } => "invalid_header",
            Fault::DurableWithoutClientId | Fault::DurableWithoutId => "invalid_header",
            Fault::Unsupported(_) => "not_supported",
            Fault::UnsupportedDestination | Fault::WrongDestination(_) => "invalid_destination",
            Fault::WildcardDestination | Fault::InvalidFilter(_) => "invalid_destination",
            Fault::UnknownHost => "unknown_host",
            Fault::DuplicateSubscription | Fault::UnknownSubscription => "invalid_subscription",
            Fault::TooManySubscriptions { .. } => "too_many_subscriptions",
            Fault::UnknownAcknowledgement => "unknown_acknowledgement",
            Fault::DuplicateTransaction | Fault::UnknownTransaction | Fault::AcknowledgedTooLate { .. } => {
                "invalid_transaction"
            }
            Fault::TooManyTransactions { .. } => "too_many_transactions",
            Fault::TransactionFrames { .. } | Fault::TransactionBytes { .. } => "transaction_too_large",
            Fault::Refused(refusal) | Fault::NotCommitted { refusal, .. } => match refusal {
                Refusal::NotAuthorized | Refusal::ReservedTopic => "not_authorized",
                Refusal::InvalidQueueName | Refusal::QueueInGroup => "invalid_destination",
                _ => "refused",
            },
        })
    }
}

/// What a refusal is about: what is full now may have room later.
fn kind_of(refusal: Refusal) -> FaultKind {
    match refusal {
        Refusal::QueueFull
        | Refusal::RetainedFull
        | Refusal::StoreFull
        | Refusal::StoreFailing
        | Refusal::NotForwarded
        | Refusal::SubscriptionsFull
        | Refusal::TooManySessions { .. }
        | Refusal::TooManyQueues { .. } => FaultKind::Busy,
        Refusal::NoRandom | Refusal::UnknownConsumer => FaultKind::Internal,
        _ => FaultKind::NotAllowed,
    }
}

/// Whether an error names a limit, not a mistake.
fn is_limit(error: &DecodeError) -> bool {
    matches!(
        error,
        DecodeError::HeadTooLarge { .. }
            | DecodeError::HeaderLineTooLong { .. }
            | DecodeError::TooManyHeaders { .. }
            | DecodeError::BodyTooLarge { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser's page is told by the code of the close frame.
    #[test]
    fn faults_tell_transports_what_they_are_about() {
        let full = Refusal::QueueFull;
        for (fault, kind) in [
            (Fault::AlreadyConnected, FaultKind::Rules),
            (Fault::Frame(DecodeError::BodyTooLarge { limit: 1 }), FaultKind::TooLarge),
            (Fault::Denied(Denial::BadCredentials), FaultKind::NotAllowed),
            (Fault::Denied(Denial::Busy), FaultKind::Busy),
            (Fault::TooManySubscriptions { limit: 1 }, FaultKind::NotAllowed),
            (Fault::Refused(Refusal::NotAuthorized), FaultKind::NotAllowed),
            (Fault::Refused(full), FaultKind::Busy),
            (Fault::NotCommitted { frame: 1, refusal: full }, FaultKind::Busy),
            (Fault::Refused(Refusal::NoRandom), FaultKind::Internal),
        ] {
            assert_eq!(fault.close().kind, kind, "{fault}");
        }
    }
}

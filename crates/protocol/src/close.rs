//! Why a connection ends.

use std::borrow::Cow;
use std::fmt;

/// The end of a connection: a named reason, which is also a metric label, and a sentence for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The named reason.
    pub reason: CloseReason,
    /// What happened, with names and limits; never with payloads or secrets.
    pub detail: Cow<'static, str>,
    /// What a [`CloseReason::ProtocolFault`] is about; means nothing for other reasons.
    pub kind: FaultKind,
}

/// What a protocol's fault is about, for transports that tell it to the peer by numbers of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FaultKind {
    /// The peer broke the protocol's rules.
    #[default]
    Rules,
    /// What it sent is larger than a limit.
    TooLarge,
    /// It may not have what it asked for: credentials, rights, limits.
    NotAllowed,
    /// The same may go well later.
    Busy,
    /// The gateway is to blame.
    Internal,
}

/// The named reasons. Protocols name their own faults; everything else is the same for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer said goodbye as its protocol asks.
    Disconnected,
    /// The peer closed or lost the socket without a goodbye.
    PeerClosed,
    /// The peer was silent for longer than it had promised.
    KeepAliveTimeout,
    /// The peer did not complete the opening in time.
    ConnectTimeout,
    /// Another connection claimed the same session.
    SessionTakenOver,
    /// The gateway is stopping.
    ServerShutdown,
    /// The client's credentials or rights are gone.
    NotAuthorized,
    /// The listener that the client came through is closed while the gateway goes on.
    ListenerClosed,
    /// The peer does not read what is sent to it.
    OutputStalled,
    /// The peer takes less than it has subscribed to, and what waits for it is at its limit.
    QueueOverflow,
    /// The replay ring that one of the client's subscriptions follows is gone, and no other one holds its topics.
    ReplayEnded,
    /// The transport below the protocol failed: TLS, WebSocket.
    TransportFault(&'static str),
    /// The peer broke its protocol's rules, or asked for what it may not have; the label is the protocol's.
    ProtocolFault(&'static str),
}

impl CloseReason {
    /// The reason in metrics and logs: a fixed word in `snake_case`.
    pub fn label(self) -> &'static str {
        match self {
            CloseReason::Disconnected => "disconnected",
            CloseReason::PeerClosed => "peer_closed",
            CloseReason::KeepAliveTimeout => "keep_alive_timeout",
            CloseReason::ConnectTimeout => "connect_timeout",
            CloseReason::SessionTakenOver => "session_taken_over",
            CloseReason::ServerShutdown => "server_shutdown",
            CloseReason::NotAuthorized => "not_authorized",
            CloseReason::ListenerClosed => "listener_closed",
            CloseReason::OutputStalled => "output_stalled",
            CloseReason::QueueOverflow => "queue_overflow",
            CloseReason::ReplayEnded => "replay_ended",
            CloseReason::TransportFault(label) | CloseReason::ProtocolFault(label) => label,
        }
    }
}

impl Close {
    /// A close with a sentence for the log.
    pub fn new(reason: CloseReason, detail: impl Into<Cow<'static, str>>) -> Close {
        Close { reason, detail: detail.into(), kind: FaultKind::default() }
    }

    /// The same close as a fault of this kind.
    pub fn of_kind(self, kind: FaultKind) -> Close {
        Close { kind, ..self }
    }
}

impl From<CloseReason> for Close {
    fn from(reason: CloseReason) -> Close {
        Close::new(reason, "")
    }
}

impl fmt::Display for Close {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason.label())?;
        match self.detail.is_empty() {
            true => Ok(()),
            false => write!(formatter, ": {}", self.detail),
        }
    }
}

//! The close code for each way in which the gateway ends a connection: what a page sees in its `CloseEvent`.
//!
//! The reason text beside it is the [`Close`] itself, label and sentence. docs/reference/websocket.md has the table, which a test compares.

use super::CloseCode;
use tidegate_protocol::{Close, CloseReason, FaultKind};

/// The status code of the close frame (RFC 6455 section 7.4.1, and the registry that it began).
pub fn close_code(close: &Close) -> CloseCode {
    match close.reason {
        CloseReason::Disconnected | CloseReason::PeerClosed => CloseCode::NORMAL,
        CloseReason::ServerShutdown | CloseReason::ListenerClosed | CloseReason::ReplayEnded => {
            CloseCode::GOING_AWAY
        }
        CloseReason::KeepAliveTimeout
        | CloseReason::ConnectTimeout
        | CloseReason::SessionTakenOver
        | CloseReason::NotAuthorized
        | CloseReason::OutputStalled
        | CloseReason::QueueOverflow => CloseCode::POLICY_VIOLATION,
        CloseReason::TransportFault(_) => CloseCode::PROTOCOL_ERROR,
        CloseReason::ProtocolFault(_) => match close.kind {
            FaultKind::Rules => CloseCode::PROTOCOL_ERROR,
            FaultKind::TooLarge => CloseCode::MESSAGE_TOO_BIG,
            FaultKind::NotAllowed => CloseCode::POLICY_VIOLATION,
            FaultKind::Busy => CloseCode::TRY_AGAIN_LATER,
            FaultKind::Internal => CloseCode::INTERNAL_ERROR,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::WebSocketError;

    fn row(code: CloseCode, label: &str) -> String {
        format!("| {} | `{label}` |", code.value())
    }

    /// The table for those who write pages says what the code does.
    #[test]
    fn the_reference_page_has_every_code() {
        let page = include_str!("../../../../docs/reference/websocket.md");
        let reasons = [
            CloseReason::Disconnected,
            CloseReason::ServerShutdown,
            CloseReason::ListenerClosed,
            CloseReason::KeepAliveTimeout,
            CloseReason::ConnectTimeout,
            CloseReason::SessionTakenOver,
            CloseReason::NotAuthorized,
            CloseReason::OutputStalled,
            CloseReason::QueueOverflow,
            CloseReason::ReplayEnded,
        ];
        let of_reasons = reasons.map(|reason| row(close_code(&Close::from(reason)), reason.label()));
        let kinds = [
            (FaultKind::Rules, "Rules"),
            (FaultKind::TooLarge, "TooLarge"),
            (FaultKind::NotAllowed, "NotAllowed"),
            (FaultKind::Busy, "Busy"),
            (FaultKind::Internal, "Internal"),
        ];
        let of_kinds = kinds.map(|(kind, name)| {
            row(close_code(&Close::from(CloseReason::ProtocolFault("x")).of_kind(kind)), name)
        });
        let of_framing = WebSocketError::EXAMPLES.iter().map(|error| row(error.close_code(), error.label()));
        for row in of_reasons.into_iter().chain(of_kinds).chain(of_framing) {
            assert!(page.contains(&row), "docs/reference/websocket.md lacks {row}");
        }
    }
}

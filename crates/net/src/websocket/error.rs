//! What a client can do wrong in WebSocket framing, the close code that answers it, and its label in metrics.

use super::CloseCode;

/// A breach of RFC 6455 framing, or of the listener's limits. The connection ends with [`WebSocketError::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// Every frame of a client is masked (RFC 6455 section 5.1).
    #[error("a client's frame is not masked")]
    NotMasked,
    /// RSV1-3 are for extensions, and none is ever negotiated.
    #[error("a reserved bit is set, but no extension was negotiated")]
    ReservedBits,
    /// Opcodes 3-7 and 11-15 are not defined.
    #[error("the opcode {opcode} is not defined")]
    UnknownOpcode {
        /// The four bits as they came.
        opcode: u8,
    },
    /// A ping, pong or close whose FIN bit is clear.
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// A ping, pong or close with an extended length.
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    /// A continuation frame while no message is open.
    #[error("a continuation frame has no message to continue")]
    ContinuationWithoutStart,
    /// A text or binary frame before the last fragment of the message before it.
    #[error("a new message begins within a fragmented one")]
    MessageInterrupted,
    /// The most significant bit of a 64-bit length is set.
    #[error("the top bit of a 64-bit length is set")]
    LengthTopBit,
    /// An extended length for a payload that fits a shorter one.
    #[error("a payload of {payload_len} bytes is announced in a longer form than it needs")]
    LengthNotMinimal {
        /// The length that the frame announces, in bytes.
        payload_len: u64,
    },
    /// The payloads of one message's frames, the announced one included, exceed the listener's limit.
    #[error("a message of at least {bytes} bytes is over the limit of {limit} bytes")]
    MessageTooBig {
        /// The sum of the fragments up to and with the announced one.
        bytes: u64,
        /// `message_bytes_max` of the decoder.
        limit: u64,
    },
    /// A text frame where the sub-protocol takes binary ones only.
    #[error("a text frame came, but the sub-protocol is binary")]
    TextRefused,
    /// A text message with a byte that is not UTF-8, or that ends within a character.
    #[error("a text message is not valid UTF-8")]
    TextNotUtf8,
    /// A close frame's payload is empty or has at least the two bytes of the code.
    #[error("a close frame has one byte of payload")]
    CloseTooShort,
    /// A code that RFC 6455 section 7.4 does not allow on the wire.
    #[error("the close code {code} is not allowed on the wire")]
    CloseCodeInvalid {
        /// The code as it came.
        code: u16,
    },
    /// The text behind the close code is not UTF-8.
    #[error("the reason in a close frame is not valid UTF-8")]
    CloseReasonNotUtf8,
}

impl WebSocketError {
    /// The status code for the close frame that ends the connection (RFC 6455 section 7.4.1).
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::MessageTooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::TextRefused => CloseCode::UNSUPPORTED_DATA,
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 => CloseCode::INVALID_PAYLOAD,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// A stable name for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotMasked => "websocket_not_masked",
            Self::ReservedBits => "websocket_reserved_bits",
            Self::UnknownOpcode { .. } => "websocket_unknown_opcode",
            Self::ControlFragmented => "websocket_control_fragmented",
            Self::ControlTooLong => "websocket_control_too_long",
            Self::ContinuationWithoutStart => "websocket_continuation_without_start",
            Self::MessageInterrupted => "websocket_message_interrupted",
            Self::LengthTopBit => "websocket_length_top_bit",
            Self::LengthNotMinimal { .. } => "websocket_length_not_minimal",
            Self::MessageTooBig { .. } => "websocket_message_too_big",
            Self::TextRefused => "websocket_text_refused",
            Self::TextNotUtf8 => "websocket_text_not_utf8",
            Self::CloseTooShort => "websocket_close_too_short",
            Self::CloseCodeInvalid { .. } => "websocket_close_code_invalid",
            Self::CloseReasonNotUtf8 => "websocket_close_reason_not_utf8",
        }
    }
}

#[cfg(test)]
impl WebSocketError {
    /// One of each kind.
    pub(super) const EXAMPLES: [Self; 15] = [
        Self::NotMasked,
        Self::ReservedBits,
        Self::UnknownOpcode { opcode: 3 },
        Self::ControlFragmented,
        Self::ControlTooLong,
        Self::ContinuationWithoutStart,
        Self::MessageInterrupted,
        Self::LengthTopBit,
        Self::LengthNotMinimal { payload_len: 1 },
        Self::MessageTooBig { bytes: 2, limit: 1 },
        Self::TextRefused,
        Self::TextNotUtf8,
        Self::CloseTooShort,
        Self::CloseCodeInvalid { code: 1005 },
        Self::CloseReasonNotUtf8,
    ];
}

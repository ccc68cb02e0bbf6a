//! Why a WebSocket handshake is refused, and the HTTP answer that says so.
//!
//! An answer holds only text of our own and names that the operator configured, never a byte of the client.

/// What is wrong with a client's request. Each variant has one HTTP status and one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The first bytes are no HTTP request line.
    #[error("this port speaks WebSocket; what came is not an HTTP request")]
    NotHttp,
    /// The request is longer than 8 KiB or has more than 64 header fields.
    #[error("the request is longer than 8 KiB or has more than 64 header fields")]
    TooLarge,
    /// The request breaks the syntax of HTTP, or names no host or more than one.
    #[error("the request is not valid HTTP/1.1")]
    Malformed,
    /// The version is not HTTP/1.1.
    #[error("a WebSocket handshake needs HTTP/1.1")]
    HttpVersion,
    /// The method is not GET.
    #[error("a WebSocket handshake is a GET request")]
    Method,
    /// A plain HTTP request: no `Upgrade: websocket` with `Connection: Upgrade`.
    #[error("this port speaks WebSocket; connect with a WebSocket client (ws:// or wss://)")]
    NotUpgrade,
    /// The listener serves another path.
    #[error("there is no WebSocket at this path")]
    Path,
    /// The version of the WebSocket protocol is not 13.
    #[error("only version 13 of the WebSocket protocol is spoken here")]
    WebSocketVersion,
    /// `Sec-WebSocket-Key` is missing, stands twice, or is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is missing or is not 16 bytes in base64")]
    Key,
    /// A browser's page comes from an origin that is not allowed.
    #[error("the origin of this page is not allowed")]
    Origin,
    /// No sub-protocol that the client offers is served.
    #[error("no sub-protocol in common")]
    Subprotocol,
}

/// A refused handshake: what to send before the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct HandshakeError {
    /// What was wrong.
    pub refusal: Refusal,
    /// A whole HTTP/1.1 answer with `Connection: close`.
    pub response: Vec<u8>,
}

impl Refusal {
    /// A stable name for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotHttp => "websocket_not_http",
            Self::TooLarge => "websocket_request_too_large",
            Self::Malformed => "websocket_request_malformed",
            Self::HttpVersion => "websocket_http_version",
            Self::Method => "websocket_method",
            Self::NotUpgrade => "websocket_not_upgrade",
            Self::Path => "websocket_path",
            Self::WebSocketVersion => "websocket_version",
            Self::Key => "websocket_key",
            Self::Origin => "websocket_origin",
            Self::Subprotocol => "websocket_subprotocol",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::NotHttp | Self::Malformed | Self::Key | Self::Subprotocol => "400 Bad Request",
            Self::Origin => "403 Forbidden",
            Self::Path => "404 Not Found",
            Self::Method => "405 Method Not Allowed",
            Self::NotUpgrade | Self::WebSocketVersion => "426 Upgrade Required",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::HttpVersion => "505 HTTP Version Not Supported",
        }
    }

    /// RFC 9110 section 15.5.22: a 426 names the protocol to change to, with its `Connection` option.
    fn extra_headers(self) -> &'static str {
        match self {
            Self::Method => "Allow: GET\r\nConnection: close\r\n",
            Self::NotUpgrade | Self::WebSocketVersion => {
                "Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
            }
            _ => "Connection: close\r\n",
        }
    }

    /// The whole answer; `offered` are the sub-protocols of the listener, which the text names where it helps.
    pub(super) fn into_error(self, offered: &[String]) -> HandshakeError {
        let mut body = format!("{self}\n");
        if matches!(self, Self::NotUpgrade | Self::Subprotocol) {
            body.push_str(&format!("Sub-protocols offered here: {}\n", offered.join(", ")));
        }
        let response = format!(
            "HTTP/1.1 {}\r\n{}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
            self.status(),
            self.extra_headers(),
            body.len(),
        );
        HandshakeError { refusal: self, response: response.into_bytes() }
    }
}

//! From an accepted socket to a connection whose protocol is known.
//!
//! ```text
//!            first byte           first bytes, "GET "           handshake
//!   socket ────────────► TLS ────────────────────────► HTTP ────────────────► WebSocket: by sub-protocol or first bytes
//!              │          │                                                                  │
//!              └──────────┴──────── first bytes, anything else ─────────────────────────────► one of the protocols
//! ```
//!
//! What a listener does not serve is not looked for, and what it always serves is not guessed. All of it is one boxed future with one
//! deadline; what lasts is as small as [`Opened`].

mod websocket;

use crate::listener::{Listener, WebSocketListener};
use crate::options::{Layer, ListenerProtocol};
use crate::tls::{CertificateName, HTTP, TlsMaterial};
use crate::turns::Handshakes;
use crate::websocket::Decoder;
use rustls::ServerConnection;
use rustls::server::Acceptor;
use rustls_pki_types::CertificateDer;
use std::io;
use tidegate_broker::Certificate;
use tidegate_protocol::Recognition;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

/// First bytes that are read at a time; also more than any protocol needs to be recognised.
const FIRST_BYTES: usize = 2048;
/// No protocol may need more than this to be recognised.
const RECOGNISE_BYTES: usize = 16;

/// A connection whose protocol is known.
pub(crate) struct Opened {
    pub(crate) socket: TcpStream,
    pub(crate) tls: Option<Box<ServerConnection>>,
    pub(crate) websocket: Option<Box<Decoder>>,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) first: First,
    pub(crate) certificate: Certificate,
}

/// What of the connection's bytes was read by the opening and is for its protocol.
#[derive(Default)]
pub(crate) struct First {
    /// The first bytes of the protocol, where they had to be taken out of WebSocket messages to be recognised.
    pub(crate) plain: Vec<u8>,
    /// What came behind them, as it came.
    pub(crate) raw: Vec<u8>,
}

/// Why an opening failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpeningError {
    #[error("plain client on a TLS listener")]
    PlainOnTls,
    #[error("TLS client on a plain listener")]
    TlsOnPlain,
    #[error("the client closed before it had said anything")]
    Silent,
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error("the WebSocket handshake failed: {0}")]
    WebSocket(&'static str),
    #[error("the first bytes belong to no protocol of this listener")]
    Unrecognised,
    #[error("an HTTP client on a listener without WebSocket")]
    HttpOnPlain,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

impl OpeningError {
    /// The reason in metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            OpeningError::PlainOnTls => "plain_client_on_tls_listener",
            OpeningError::TlsOnPlain => "tls_client_on_plain_listener",
            OpeningError::Silent => "peer_closed",
            OpeningError::Tls(_) => "tls_handshake_failed",
            OpeningError::WebSocket(label) => label,
            OpeningError::Unrecognised => "protocol_unrecognised",
            OpeningError::HttpOnPlain => "http_client_on_plain_listener",
            OpeningError::Broken(_) => "transport_error",
        }
    }
}

/// Opens one connection of a listener.
pub(crate) async fn open(
    socket: TcpStream,
    listener: &Listener,
    handshakes: &Handshakes,
) -> Result<Opened, OpeningError> {
    let encrypted = match &listener.tls {
        Layer::Never => None,
        Layer::Optional(tls) => begins_with_tls(&socket).await?.then_some(tls),
        Layer::Always(tls) if begins_with_tls(&socket).await? => Some(tls),
        Layer::Always(_) => return Err(OpeningError::PlainOnTls),
    };
    let Some(tls) = encrypted else {
        let OpenedPlain { stream: mut socket, websocket, protocol, first } =
            open_plain(socket, listener).await?;
        socket.flush().await?;
        let certificate = Certificate::None;
        return Ok(Opened { socket, tls: None, websocket, protocol, first, certificate });
    };
    let encrypted = encrypt(socket, tls, handshakes).await.map_err(OpeningError::Tls)?;
    let OpenedPlain { stream: mut encrypted, websocket, protocol, first } =
        open_plain(encrypted, listener).await?;
    encrypted.flush().await?;
    let (socket, mut session) = encrypted.into_inner();
    session.set_buffer_limit(None);
    let shown = session.peer_certificates().and_then(|chain| chain.first());
    let certificate = worth_of(shown, listener.client_identity);
    let tls = Some(Box::new(session));
    Ok(Opened { socket, tls, websocket, protocol, first, certificate })
}

/// The first byte of a TLS record; no protocol of the gateway begins with it.
const TLS_FIRST_BYTE: u8 = 0x16;

/// How a WebSocket client begins (RFC 6455 section 4.1); no protocol of the gateway does.
const WEBSOCKET_FIRST_BYTES: &[u8] = b"GET ";

/// Tells a client with TLS from one without by its first byte, which stays in the socket.
async fn begins_with_tls(socket: &TcpStream) -> Result<bool, OpeningError> {
    let mut first = [0];
    match socket.peek(&mut first).await? {
        0 => Err(OpeningError::Silent),
        _ => Ok(first == [TLS_FIRST_BYTE]),
    }
}

/// Shakes hands. Where only some clients speak HTTP, what the client offers decides whether HTTP is agreed on.
async fn encrypt(
    socket: TcpStream,
    tls: &TlsMaterial,
    handshakes: &Handshakes,
) -> io::Result<TlsStream<TcpStream>> {
    let Some(http) = tls.http_config() else {
        let acceptor = TlsAcceptor::from(tls.config().clone());
        return handshakes.run(|| acceptor.accept(socket)).await;
    };
    let hello = handshakes.run(|| LazyConfigAcceptor::new(Acceptor::default(), socket)).await?;
    let config = match hello.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == HTTP)) {
        true => http.clone(),
        false => tls.config().clone(),
    };
    handshakes.run(|| hello.into_stream(config)).await
}

/// What a verified certificate is worth where users are taken from this name.
pub(crate) fn worth_of(shown: Option<&CertificateDer<'_>>, name: Option<CertificateName>) -> Certificate {
    match (shown, name) {
        (None, _) => Certificate::None,
        (Some(_), None) => Certificate::Verified,
        // Without its name it is as good as none.
        (Some(shown), Some(name)) => {
            name.of(shown).map_or(Certificate::None, |name| Certificate::Named(name.into()))
        }
    }
}

/// A stream whose first bytes have told what it carries.
struct OpenedPlain<S> {
    stream: S,
    websocket: Option<Box<Decoder>>,
    protocol: ListenerProtocol,
    first: First,
}

/// What first bytes say.
enum Beginning<'l> {
    /// Nothing yet.
    Unclear,
    WebSocket(&'l WebSocketListener),
    Protocol(&'l ListenerProtocol),
}

/// Reads until the first bytes tell what the connection carries.
async fn open_plain<S>(mut stream: S, listener: &Listener) -> Result<OpenedPlain<S>, OpeningError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut first = Vec::with_capacity(FIRST_BYTES);
    loop {
        if stream.read_buf(&mut first).await? == 0 {
            return Err(OpeningError::Silent);
        }
        match beginning(&first, listener)? {
            Beginning::Unclear => {}
            Beginning::WebSocket(options) => {
                let begun = websocket::open(&mut stream, listener, options, first).await?;
                let (websocket, protocol, first) = begun;
                return Ok(OpenedPlain { stream, websocket: Some(Box::new(websocket)), protocol, first });
            }
            Beginning::Protocol(protocol) => {
                let first = First { plain: Vec::new(), raw: first };
                return Ok(OpenedPlain { stream, websocket: None, protocol: protocol.clone(), first });
            }
        }
    }
}

fn beginning<'l>(first: &[u8], listener: &'l Listener) -> Result<Beginning<'l>, OpeningError> {
    if matches!(listener.tls, Layer::Never) && first.first() == Some(&TLS_FIRST_BYTE) {
        return Err(OpeningError::TlsOnPlain);
    }
    let is_http = first.starts_with(WEBSOCKET_FIRST_BYTES);
    match &listener.websocket {
        // Whatever else comes is answered in HTTP.
        Layer::Always(options) => return Ok(Beginning::WebSocket(options)),
        Layer::Optional(options) if is_http => return Ok(Beginning::WebSocket(options)),
        Layer::Optional(_) if WEBSOCKET_FIRST_BYTES.starts_with(first) => return Ok(Beginning::Unclear),
        Layer::Never if is_http => return Err(OpeningError::HttpOnPlain),
        Layer::Never if WEBSOCKET_FIRST_BYTES.starts_with(first) => return Ok(Beginning::Unclear),
        Layer::Optional(_) | Layer::Never => {}
    }
    recognise(first, listener).map(|known| known.map_or(Beginning::Unclear, Beginning::Protocol))
}

/// Asks each of the listener's protocols whether these bytes are its own; nothing: more of them will tell.
fn recognise<'l>(first: &[u8], listener: &'l Listener) -> Result<Option<&'l ListenerProtocol>, OpeningError> {
    let ask = |known: &&ListenerProtocol| known.protocol.recognise(first) == Recognition::Yes;
    if let Some(known) = listener.protocols.iter().find(ask) {
        return Ok(Some(known));
    }
    let open = |known: &ListenerProtocol| known.protocol.recognise(first) == Recognition::NeedMore;
    match first.len() < RECOGNISE_BYTES && listener.protocols.iter().any(open) {
        true => Ok(None),
        false => Err(OpeningError::Unrecognised),
    }
}

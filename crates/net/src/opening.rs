//! From an accepted socket to a connection whose protocol is known.
//!
//! TLS handshake, WebSocket handshake, and the choice among the protocols of a listener by the first bytes. All of it is
//! one boxed future with one deadline; what lasts is as small as [`Opened`].

use crate::listener::{Listener, WebSocketListener};
use crate::options::ListenerProtocol;
use crate::tls::CertificateName;
use crate::turns::Handshakes;
use crate::websocket::{Decoder, DecoderOptions, Handshake, TextPolicy};
use rustls::ServerConnection;
use rustls_pki_types::CertificateDer;
use std::io;
use tidegate_broker::Certificate;
use tidegate_protocol::{MessageKind, Recognition};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

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
    /// Bytes that came behind what the opening needed.
    pub(crate) first: Vec<u8>,
    pub(crate) certificate: Certificate,
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
    let Some(acceptor) = &listener.tls else {
        let (mut socket, websocket, protocol, first) = open_plain(socket, listener).await?;
        socket.flush().await?;
        let certificate = Certificate::None;
        return Ok(Opened { socket, tls: None, websocket, protocol, first, certificate });
    };
    check_encrypted(&socket).await?;
    let encrypted = handshakes.run(|| acceptor.accept(socket)).await.map_err(OpeningError::Tls)?;
    let (mut encrypted, websocket, protocol, first) = open_plain(encrypted, listener).await?;
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

/// Tells a plain client on a TLS listener by its first byte, which stays in the socket.
async fn check_encrypted(socket: &TcpStream) -> Result<(), OpeningError> {
    let mut first = [0];
    match socket.peek(&mut first).await? {
        0 => Err(OpeningError::Silent),
        _ if first == [TLS_FIRST_BYTE] => Ok(()),
        _ => Err(OpeningError::PlainOnTls),
    }
}

/// Tells a TLS client on a plain listener by its first bytes.
fn check_plain(first: &[u8], listener: &Listener) -> Result<(), OpeningError> {
    match listener.tls.is_none() && first.first() == Some(&TLS_FIRST_BYTE) {
        true => Err(OpeningError::TlsOnPlain),
        false => Ok(()),
    }
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

type OpenedPlain<S> = (S, Option<Box<Decoder>>, ListenerProtocol, Vec<u8>);

async fn open_plain<S>(mut stream: S, listener: &Listener) -> Result<OpenedPlain<S>, OpeningError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match &listener.websocket {
        Some(websocket) => {
            let (decoder, protocol, first) = open_websocket(&mut stream, listener, websocket).await?;
            Ok((stream, Some(Box::new(decoder)), protocol, first))
        }
        None => {
            let (protocol, first) = recognise(&mut stream, listener).await?;
            Ok((stream, None, protocol, first))
        }
    }
}

/// Reads until one of the listener's protocols knows its own.
async fn recognise<S>(
    stream: &mut S,
    listener: &Listener,
) -> Result<(ListenerProtocol, Vec<u8>), OpeningError>
where
    S: AsyncRead + Unpin,
{
    let mut first = Vec::with_capacity(FIRST_BYTES);
    loop {
        if stream.read_buf(&mut first).await? == 0 {
            return Err(OpeningError::Silent);
        }
        check_plain(&first, listener)?;
        let ask = |known: &&ListenerProtocol| known.protocol.recognise(&first) == Recognition::Yes;
        if let Some(known) = listener.protocols.iter().find(ask) {
            return Ok((known.clone(), first));
        }
        // A browser on a port without WebSocket: no protocol of the gateway begins like this (RFC 9112 section 3).
        if first.starts_with(b"GET ") {
            return Err(OpeningError::HttpOnPlain);
        }
        let open = |known: &ListenerProtocol| known.protocol.recognise(&first) == Recognition::NeedMore;
        if first.len() >= RECOGNISE_BYTES || !listener.protocols.iter().any(open) {
            return Err(OpeningError::Unrecognised);
        }
    }
}

async fn open_websocket<S>(
    stream: &mut S,
    listener: &Listener,
    websocket: &WebSocketListener,
) -> Result<(Decoder, ListenerProtocol, Vec<u8>), OpeningError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = Handshake::new(websocket.handshake.clone());
    let mut input = Vec::with_capacity(FIRST_BYTES);
    let accepted = loop {
        input.clear();
        if stream.read_buf(&mut input).await? == 0 {
            return Err(OpeningError::Silent);
        }
        check_plain(&input, listener)?;
        match handshake.handle_bytes(&input) {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err(error) => {
                stream.write_all(&error.response).await?;
                stream.shutdown().await?;
                return Err(OpeningError::WebSocket(error.refusal.label()));
            }
        }
    };
    let serves = |known: &&ListenerProtocol| {
        known.protocol.websocket_subprotocols().contains(&accepted.subprotocol.as_str())
    };
    let protocol = listener.protocols.iter().find(serves).cloned().ok_or(OpeningError::Unrecognised)?;
    stream.write_all(&accepted.response).await?;
    let text = match protocol.protocol.message_kind() {
        MessageKind::BinaryStream => TextPolicy::Refuse,
        MessageKind::FramePerMessage => TextPolicy::Accept,
    };
    let decoder = Decoder::new(DecoderOptions { message_bytes_max: websocket.message_bytes_max, text });
    input.drain(..accepted.consumed.min(input.len()));
    Ok((decoder, protocol, input))
}

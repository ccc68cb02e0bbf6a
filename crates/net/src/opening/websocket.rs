//! The opening of a connection that speaks WebSocket: the handshake, and which protocol its messages carry.
//!
//! The sub-protocol says it. A client that offers none and could mean several protocols is recognised by the first bytes of its messages,
//! as it would be without WebSocket.

use super::{First, OpeningError, recognise};
use crate::listener::{Listener, WebSocketListener};
use crate::options::ListenerProtocol;
use crate::websocket::{
    CloseCode, Decoder, DecoderOptions, End, Handshake, TextPolicy, WebSocketError, encode_close, encode_pong,
};
use tidegate_protocol::MessageKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Answers the handshake that begins with `input`.
pub(super) async fn open<S>(
    stream: &mut S,
    listener: &Listener,
    websocket: &WebSocketListener,
    mut input: Vec<u8>,
) -> Result<(Decoder, ListenerProtocol, First), OpeningError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = Handshake::new(websocket.handshake.clone());
    let accepted = loop {
        match handshake.handle_bytes(&input) {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err(error) => {
                stream.write_all(&error.response).await?;
                stream.shutdown().await?;
                return Err(OpeningError::WebSocket(error.refusal.label()));
            }
        }
        input.clear();
        if stream.read_buf(&mut input).await? == 0 {
            return Err(OpeningError::Silent);
        }
    };
    stream.write_all(&accepted.response).await?;
    stream.flush().await?;
    input.drain(..accepted.consumed.min(input.len()));
    let options = DecoderOptions { message_bytes_max: websocket.message_bytes_max, text: TextPolicy::Accept };
    let mut decoder = Decoder::new(options);
    let Some(name) = accepted.subprotocol else {
        let first = First { plain: Vec::new(), raw: input };
        let (protocol, first) = recognise_messages(stream, listener, &mut decoder, first).await?;
        return Ok((decoder, protocol, first));
    };
    let serves = |known: &&ListenerProtocol| known.protocol.websocket_subprotocols().contains(&name.as_str());
    let protocol = listener.protocols.iter().find(serves).cloned().ok_or(OpeningError::Unrecognised)?;
    match settle_text(&mut decoder, &protocol) {
        Ok(()) => Ok((decoder, protocol, First { plain: Vec::new(), raw: input })),
        Err(error) => refuse(stream, &End::Failed(error)).await,
    }
}

/// Takes messages apart byte by byte until their first bytes tell the protocol. What comes behind stays as it is.
async fn recognise_messages<S>(
    stream: &mut S,
    listener: &Listener,
    decoder: &mut Decoder,
    mut first: First,
) -> Result<(ListenerProtocol, First), OpeningError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        for position in 0..first.raw.len() {
            let Some(byte) = first.raw.get_mut(position..position + 1) else { break };
            let decoded = decoder.decode_in_place(byte);
            first.plain.extend_from_slice(byte.get(..decoded.data_len).unwrap_or_default());
            if let Some(payload) = decoded.ping {
                let mut pong = Vec::new();
                encode_pong(&mut pong, &payload);
                stream.write_all(&pong).await?;
                stream.flush().await?;
            }
            if let Some(end) = decoded.end {
                return refuse(stream, &end).await;
            }
            if decoded.data_len == 0 {
                continue;
            }
            let known = match recognise(&first.plain, listener) {
                Ok(known) => known.cloned(),
                Err(error) => return turn_away(stream, error).await,
            };
            if let Some(protocol) = known {
                first.raw.drain(..=position);
                return match settle_text(decoder, &protocol) {
                    Ok(()) => Ok((protocol, first)),
                    Err(error) => refuse(stream, &End::Failed(error)).await,
                };
            }
        }
        first.raw.clear();
        if stream.read_buf(&mut first.raw).await? == 0 {
            return Err(OpeningError::Silent);
        }
    }
}

fn settle_text(decoder: &mut Decoder, protocol: &ListenerProtocol) -> Result<(), WebSocketError> {
    decoder.settle_text(match protocol.protocol.message_kind() {
        MessageKind::BinaryStream => TextPolicy::Refuse,
        MessageKind::FramePerMessage => TextPolicy::Accept,
    })
}

/// Answers the end of the client's frames, which came before anything could be made of them.
async fn refuse<S, T>(stream: &mut S, end: &End) -> Result<T, OpeningError>
where
    S: AsyncWrite + Unpin,
{
    let mut close = Vec::new();
    end.encode_close(&mut close);
    stream.write_all(&close).await?;
    stream.shutdown().await?;
    Err(match end {
        End::Closed(_) => OpeningError::Silent,
        End::Failed(error) => OpeningError::WebSocket(error.label()),
    })
}

async fn turn_away<S, T>(stream: &mut S, error: OpeningError) -> Result<T, OpeningError>
where
    S: AsyncWrite + Unpin,
{
    let mut close = Vec::new();
    encode_close(&mut close, CloseCode::UNSUPPORTED_DATA, &format!("{}: {error}", error.label()));
    stream.write_all(&close).await?;
    stream.shutdown().await?;
    Err(error)
}

//! Any bytes as a WebSocket request and as WebSocket frames, whole and cut in two.
//!
//! No panic, and the cut makes no difference: the same payload, the same end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use tidegate_net::websocket::{Decoder, DecoderOptions, End, Handshake, HandshakeOptions, TextPolicy};

fn decode(pieces: &[&[u8]], text: TextPolicy) -> (Vec<u8>, Option<End>) {
    let mut decoder = Decoder::new(DecoderOptions { message_bytes_max: 1 << 16, text });
    let (mut payload, mut end) = (Vec::new(), None);
    for piece in pieces {
        let mut input = piece.to_vec();
        let decoded = decoder.decode_in_place(&mut input);
        payload.extend_from_slice(&input[..decoded.data_len]);
        end = end.or(decoded.end);
    }
    (payload, end)
}

fuzz_target!(|input: (bool, u16, Vec<u8>)| {
    let (is_stomp, cut, bytes) = input;
    let cut = usize::from(cut) % (bytes.len() + 1);
    let (front, back) = bytes.split_at(cut);
    let text = if is_stomp { TextPolicy::Accept } else { TextPolicy::Refuse };
    let whole = decode(&[&bytes], text);
    let parts = decode(&[front, back], text);
    assert_eq!(whole.1, parts.1);
    // Text that turns out not to be UTF-8 is delivered up to where a read ended.
    if !matches!(&whole.1, Some(End::Failed(_))) {
        assert_eq!(whole.0, parts.0);
    }

    let options = HandshakeOptions { subprotocols: vec!["mqtt".into()], ..HandshakeOptions::default() };
    let mut handshake = Handshake::new(Arc::new(options));
    if let Ok(None) = handshake.handle_bytes(front) {
        let _ = handshake.handle_bytes(back);
    }
});

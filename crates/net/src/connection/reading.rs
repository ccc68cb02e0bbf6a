//! From the socket to plain bytes: one read at a time, through TLS and WebSocket where the connection has them.
//!
//! All of it happens in buffers of the worker.

use super::{Connection, Step};
use crate::opening::First;
use crate::websocket::{Decoded, End};
use crate::wire::Wire;
use crate::worker::{READ_BYTES, REST_BYTES};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tidegate_protocol::{Close, CloseReason};
use tokio::io::{AsyncRead, ReadBuf};

impl Connection {
    /// Feeds what the opening has read too much; under TLS also what the session holds already.
    pub(super) fn feed_first(&mut self, first: First) -> Step {
        self.rest = first.plain;
        let mut step = self.feed_rest();
        if matches!(step, Step::Continue) && !first.raw.is_empty() {
            step = self.handle_plain(&first.raw);
        }
        if self.is_encrypted && matches!(step, Step::Continue) {
            step = self.decrypt();
        }
        step
    }

    /// Reads once, as much as the worker's buffer takes.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let worker = self.worker.clone();
        if self.is_encrypted {
            let mut buffer = worker.tls_buffer.borrow_mut();
            buffer.resize(READ_BYTES, 0);
            let count = ready!(self.poll_socket(context, &mut buffer));
            let Some(mut cipher) = count.and_then(|count| buffer.get(..count)) else {
                return Poll::Ready(self.peer_closed());
            };
            let is_full = cipher.len() == READ_BYTES;
            let step = self.handle_cipher(&mut cipher);
            return Poll::Ready(after_read(step, is_full));
        }
        let mut buffer = worker.read_buffer.borrow_mut();
        let kept = self.kept_in_front();
        let Some(free) = buffer.get_mut(kept..) else { return Poll::Ready(self.peer_closed()) };
        let Some(count) = ready!(self.poll_socket(context, free)) else {
            return Poll::Ready(self.peer_closed());
        };
        let is_full = count == free.len();
        let step = self.handle_new(&mut buffer, count);
        Poll::Ready(after_read(step, is_full))
    }

    pub(super) fn poll_socket(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Option<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let result = ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer));
        let count = buffer.filled().len();
        Poll::Ready((result.is_ok() && count > 0).then_some(count))
    }

    fn peer_closed(&self) -> Step {
        Step::Close(Some(CloseReason::PeerClosed.into()))
    }

    /// A short rest is copied to the front of the read buffer, so that the new bytes stand behind it.
    fn kept_in_front(&self) -> usize {
        if self.rest.len() <= REST_BYTES { self.rest.len() } else { 0 }
    }

    /// Decrypts what has come, and handles each piece of plain text.
    fn handle_cipher(&mut self, cipher: &mut &[u8]) -> Step {
        while !cipher.is_empty() {
            let read = self.wire.with_tls(|tls| {
                tls.read_tls(cipher).map_err(|error| error.to_string())?;
                tls.process_new_packets().map_err(|error| error.to_string())
            });
            match read {
                Some(Ok(state)) if state.peer_has_closed() && state.plaintext_bytes_to_read() == 0 => {
                    return self.peer_closed();
                }
                Some(Ok(_)) => {}
                Some(Err(detail)) => return tls_fault(&self.wire, detail),
                None => return Step::Close(None),
            }
            match self.decrypt() {
                Step::Continue => {}
                step => return step,
            }
        }
        // Answers of the session itself: tickets, key updates, alerts.
        self.wire.write_pending();
        Step::Continue
    }

    /// Handles the plain text that the session holds.
    fn decrypt(&mut self) -> Step {
        let worker = self.worker.clone();
        let mut buffer = worker.read_buffer.borrow_mut();
        loop {
            let kept = self.kept_in_front();
            let Some(free) = buffer.get_mut(kept..) else { return Step::Close(None) };
            let read = self.wire.with_tls(|tls| std::io::Read::read(&mut tls.reader(), free));
            match read {
                Some(Ok(count)) if count > 0 => match self.handle_new(&mut buffer, count) {
                    Step::Continue => {}
                    step => return step,
                },
                Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return Step::Continue,
                _ => return self.peer_closed(),
            }
        }
    }

    /// Handles bytes that were read apart from the worker's buffer.
    fn handle_plain(&mut self, bytes: &[u8]) -> Step {
        let worker = self.worker.clone();
        let mut buffer = worker.read_buffer.borrow_mut();
        for chunk in bytes.chunks(READ_BYTES) {
            let kept = self.kept_in_front();
            let Some(free) = buffer.get_mut(kept..).and_then(|free| free.get_mut(..chunk.len())) else {
                return Step::Close(None);
            };
            free.copy_from_slice(chunk);
            match self.handle_new(&mut buffer, chunk.len()) {
                Step::Continue => {}
                step => return step,
            }
        }
        Step::Continue
    }

    /// Handles `count` new bytes that stand in the buffer behind the place for the kept rest.
    fn handle_new(&mut self, buffer: &mut [u8], count: usize) -> Step {
        let kept = self.kept_in_front();
        let Some(new) = buffer.get_mut(kept..kept + count) else { return Step::Close(None) };
        let decoded = match &mut self.websocket {
            Some(decoder) => decoder.decode_in_place(new),
            None => Decoded { data_len: count, ping: None, end: None },
        };
        let step = self.feed_new(buffer, kept, decoded.data_len);
        if let Some(payload) = decoded.ping {
            self.wire.send_pong(&payload);
        }
        match (step, decoded.end) {
            (Step::Continue, Some(end)) => self.end_websocket(&end),
            (step, _) => step,
        }
    }

    fn end_websocket(&mut self, end: &End) -> Step {
        self.wire.say_goodbye(|goodbye| end.encode_close(goodbye), matches!(end, End::Closed(_)));
        let reason = match end {
            End::Closed(_) => Close::from(CloseReason::PeerClosed),
            End::Failed(error) => Close::new(CloseReason::TransportFault(error.label()), error.to_string()),
        };
        Step::Close(Some(reason))
    }
}

/// Where more waits in the socket, the flusher and the other connections come first.
fn after_read(step: Step, is_more_likely: bool) -> Step {
    match step {
        Step::Continue if is_more_likely => Step::Yield,
        step => step,
    }
}

fn tls_fault(wire: &Wire, detail: String) -> Step {
    // The session has an alert to send.
    wire.write_pending();
    Step::Close(Some(Close::new(CloseReason::TransportFault("tls_error"), detail)))
}

//! The end of a connection: the last words, the goodbyes of WebSocket and TLS, and the socket's.

use super::Connection;
use crate::wire::Wire;
use crate::worker::READ_BYTES;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidegate_protocol::{Close, CloseReason};
use tokio::time::timeout;
use tracing::debug;

/// How long the last words may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a peer may take to answer the close frame of WebSocket.
const CLOSE_ANSWER: Duration = Duration::from_secs(2);
/// How long a peer may take to close its side of the socket after that.
const LINGER: Duration = Duration::from_millis(500);

impl Connection {
    /// Tells the shard, sends the last words, and closes the socket in order.
    pub(super) async fn end(mut self, close: Option<Close>) {
        // Nothing happens where the shard has closed the connection itself.
        let close = close.unwrap_or(CloseReason::PeerClosed.into());
        self.worker.event(|shard, now| shard.close(self.key, &close, now));
        if !self.write_all(Wire::finish).await {
            return;
        }
        if self.websocket.as_ref().is_some_and(|decoder| !decoder.has_ended()) {
            self.await_close().await;
        }
        if self.write_all(Wire::finish_tls).await && !self.wire.is_broken() {
            self.linger().await;
        }
    }

    /// Writes until this says that nothing is left; false where the peer does not take it.
    async fn write_all(&self, finish: fn(&Wire) -> bool) -> bool {
        let wire = self.wire.clone();
        let last_words = async {
            while !finish(&wire) {
                wire.writable().await;
            }
        };
        let is_taken = timeout(LAST_WORDS, last_words).await.is_ok();
        if !is_taken {
            debug!(peer = %self.peer, connection = self.key.connection(), "the peer did not take the last words");
        }
        is_taken
    }

    /// Waits for the peer's close frame, so that both sides know that the other has seen everything (RFC 6455 section 7.1.2): a
    /// browser tells its page so. What else comes meanwhile has nobody to go to.
    async fn await_close(&mut self) {
        let _ = timeout(CLOSE_ANSWER, poll_fn(|context| self.poll_close(context))).await;
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let worker = self.worker.clone();
        loop {
            if self.is_encrypted {
                let mut buffer = worker.tls_buffer.borrow_mut();
                buffer.resize(READ_BYTES, 0);
                let count = ready!(self.poll_socket(context, &mut buffer));
                let cipher = count.and_then(|count| buffer.get(..count));
                if cipher.is_none_or(|cipher| self.closes_encrypted(cipher)) {
                    return Poll::Ready(());
                }
            } else {
                let mut buffer = worker.read_buffer.borrow_mut();
                let count = ready!(self.poll_socket(context, &mut buffer));
                let plain = count.and_then(|count| buffer.get_mut(..count));
                if plain.is_none_or(|plain| self.closes(plain)) {
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Whether these bytes end the peer's frames.
    fn closes(&mut self, plain: &mut [u8]) -> bool {
        self.websocket.as_mut().is_none_or(|decoder| decoder.decode_in_place(plain).end.is_some())
    }

    /// Whether these records end the peer's frames, or the session.
    fn closes_encrypted(&mut self, mut cipher: &[u8]) -> bool {
        let worker = self.worker.clone();
        let mut buffer = worker.read_buffer.borrow_mut();
        while !cipher.is_empty() {
            let read = self.wire.with_tls(|tls| {
                tls.read_tls(&mut cipher).ok()?;
                tls.process_new_packets().ok()
            });
            if read.flatten().is_none() {
                return true;
            }
            loop {
                let read = self.wire.with_tls(|tls| std::io::Read::read(&mut tls.reader(), &mut buffer));
                let count = match read {
                    Some(Ok(count)) if count > 0 => count,
                    Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => break,
                    _ => return true,
                };
                if buffer.get_mut(..count).is_none_or(|plain| self.closes(plain)) {
                    return true;
                }
            }
        }
        false
    }

    /// Closes our side and waits a moment for the peer's: a socket that is closed with unread bytes in it takes what was sent last with it.
    async fn linger(&mut self) {
        self.wire.shut_down();
        let worker = self.worker.clone();
        let drain = poll_fn(|context| {
            loop {
                let mut buffer = worker.read_buffer.borrow_mut();
                if ready!(self.poll_socket(context, &mut buffer)).is_none() {
                    return Poll::Ready(());
                }
            }
        });
        let _ = timeout(LINGER, drain).await;
    }
}

//! A TCP connection that is read big and written once per turn.
//!
//! All sockets of a worker read into one buffer; only the beginning of an unfinished frame is kept per connection.

use super::failure::Failure;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What one read can bring.
const READ_BYTES: usize = 256 << 10;
/// Unsent bytes from which on nothing should be added.
const OUTPUT_BYTES: usize = 256 << 10;

/// Where all sockets of one worker read into; nothing stays in it between two reads.
#[derive(Clone)]
pub(crate) struct ReadBuffer(Rc<RefCell<Vec<u8>>>);

/// One connection's bytes in both directions.
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: ReadBuffer,
    /// The beginning of a frame whose end has not come. As long as the dialect's limit for a frame, plus one read.
    rest: Vec<u8>,
    /// Bytes to send, of which the first `written` are gone.
    output: Vec<u8>,
    written: usize,
}

impl ReadBuffer {
    /// A buffer for one worker.
    pub(crate) fn new() -> ReadBuffer {
        ReadBuffer(Rc::new(RefCell::new(vec![0; READ_BYTES])))
    }
}

impl Socket {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr, buffer: ReadBuffer) -> Result<Socket, Failure> {
        let stream = TcpStream::connect(address).await.map_err(Failure::Connect)?;
        // With Nagle's algorithm acknowledgements would wait for each other.
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        Ok(Socket { stream, buffer, rest: Vec::new(), output: Vec::new(), written: 0 })
    }

    /// Where bytes to be sent are appended.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether so much is unsent that the peer has to read first.
    pub(crate) fn is_full(&self) -> bool {
        self.output.len() - self.written >= OUTPUT_BYTES
    }

    /// Reads once and offers all complete frames. `take` answers into the output and says how many bytes it used.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<usize, Failure>,
    ) -> Poll<Result<(), Failure>> {
        let mut buffer = self.buffer.0.borrow_mut();
        let mut space = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut space)).map_err(Failure::Socket)?;
        let input = space.filled();
        if input.is_empty() {
            return Poll::Ready(Err(Failure::Ended));
        }
        if self.rest.is_empty() {
            let used = take(input, &mut self.output)?;
            self.rest.extend_from_slice(input.get(used..).unwrap_or_default());
        } else {
            self.rest.extend_from_slice(input);
            let used = take(&self.rest, &mut self.output)?;
            self.rest.drain(..used.min(self.rest.len()));
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is unsent; pending where the peer takes no more.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while let Some(unsent) = self.output.get(self.written..).filter(|unsent| !unsent.is_empty()) {
            let written = Pin::new(&mut self.stream).poll_write(context, unsent);
            match ready!(written).map_err(Failure::Socket)? {
                0 => return Poll::Ready(Err(Failure::Ended)),
                written => self.written += written,
            }
        }
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

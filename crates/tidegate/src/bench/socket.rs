//! A TCP connection, perhaps with WebSocket on it, that is read big and written once per turn.
//!
//! All sockets of a worker read into one buffer; only the beginning of an unfinished frame is kept per connection.

use super::failure::Failure;
use super::output::Output;
use super::side::{Side, Transport};
use super::websocket::{WebSocket, push_handshake};
use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What one read can bring.
const READ_BYTES: usize = 256 << 10;

/// Where all sockets of one worker read into; nothing stays in it between two reads.
#[derive(Clone)]
pub(crate) struct ReadBuffer(Rc<RefCell<Vec<u8>>>);

/// One connection's bytes in both directions.
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: ReadBuffer,
    /// The beginning of a frame whose end has not come. As long as the dialect's limit for a frame, plus one read.
    rest: Vec<u8>,
    output: Output,
    websocket: Option<Box<WebSocket>>,
}

impl ReadBuffer {
    /// A buffer for one worker.
    pub(crate) fn new() -> ReadBuffer {
        ReadBuffer(Rc::new(RefCell::new(vec![0; READ_BYTES])))
    }
}

impl Socket {
    /// Connects to a side's address.
    pub(crate) async fn connect(
        side: &Side,
        address: SocketAddr,
        buffer: ReadBuffer,
    ) -> Result<Socket, Failure> {
        let stream = TcpStream::connect(address).await.map_err(Failure::Connect)?;
        // With Nagle's algorithm acknowledgements would wait for each other.
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let (rest, output, websocket) = (Vec::new(), Output::default(), None);
        let mut socket = Socket { stream, buffer, rest, output, websocket };
        if side.transport == Transport::Websocket {
            socket.upgrade(side).await?;
        }
        Ok(socket)
    }

    /// Asks for WebSocket and waits until the server has agreed.
    async fn upgrade(&mut self, side: &Side) -> Result<(), Failure> {
        push_handshake(self.output.raw(), side);
        self.websocket = Some(Box::new(WebSocket::new()));
        poll_fn(|context| {
            while self.websocket.as_ref().is_some_and(|websocket| !websocket.is_open()) {
                if let Poll::Ready(Err(failure)) = self.poll_flush(context) {
                    return Poll::Ready(Err(failure));
                }
                ready!(self.poll_read(context, |_, _| Ok(0)))?;
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        self.output.begin_frames();
        Ok(())
    }

    /// Where messages to be sent are appended.
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Whether so much is unsent that the peer has to read first.
    pub(crate) fn is_full(&self) -> bool {
        self.output.is_full()
    }

    /// Reads once and offers all complete frames. `take` answers into the output and says how many bytes it used.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8], &mut Output) -> Result<usize, Failure>,
    ) -> Poll<Result<(), Failure>> {
        let mut buffer = self.buffer.0.borrow_mut();
        let mut space = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut space)).map_err(Failure::Socket)?;
        let input = space.filled();
        if input.is_empty() {
            return Poll::Ready(Err(Failure::Ended));
        }
        if let Some(websocket) = &mut self.websocket {
            websocket.read(input, &mut self.rest, self.output.raw())?;
            let used = take(&self.rest, &mut self.output)?;
            self.rest.drain(..used.min(self.rest.len()));
        } else if self.rest.is_empty() {
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
        while !self.output.unsent().is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, self.output.unsent());
            match ready!(written).map_err(Failure::Socket)? {
                0 => return Poll::Ready(Err(Failure::Ended)),
                written => self.output.note_sent(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

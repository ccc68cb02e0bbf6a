//! A socket with an input and an output buffer, for clients that do several things at a time.

use std::io;
use std::net::SocketAddr;
use tokio::io::Interest;
use tokio::net::TcpStream;

const READ_BYTES: usize = 64 << 10;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    /// What has been read and not been understood yet.
    pub(crate) input: Vec<u8>,
    /// What is to be written.
    pub(crate) output: Vec<u8>,
}

/// What happened on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is new input.
    Read,
    /// Output was written.
    Written,
    /// The other side has closed, or the socket is broken.
    Closed,
}

impl Wire {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Wire { stream, input: Vec::new(), output: Vec::new() })
    }

    /// Waits until something was read or written; `reads` is false for a client that does not look. Nothing is lost when this is
    /// given up halfway.
    pub(crate) async fn exchange(&mut self, reads: bool) -> Progress {
        loop {
            let interest = match (reads, self.output.is_empty()) {
                (true, true) => Interest::READABLE,
                (true, false) => Interest::READABLE | Interest::WRITABLE,
                (false, false) => Interest::WRITABLE,
                (false, true) => std::future::pending().await,
            };
            let Ok(ready) = self.stream.ready(interest).await else { return Progress::Closed };
            if ready.is_writable() && !self.output.is_empty() {
                match self.stream.try_write(&self.output) {
                    Ok(written) => {
                        self.output.drain(..written);
                        if !ready.is_readable() {
                            return Progress::Written;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // What the gateway said before it closed can still be read.
                    Err(_) => self.output.clear(),
                }
            }
            if reads && ready.is_readable() {
                match self.read() {
                    Ok(0) => return Progress::Closed,
                    Ok(_) => return Progress::Read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return Progress::Closed,
                }
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let before = self.input.len();
        self.input.resize(before + READ_BYTES, 0);
        let result = self.stream.try_read(&mut self.input[before..]);
        self.input.truncate(before + result.as_ref().map_or(0, |read| *read));
        result
    }

    /// Reads and throws away until the other side closes.
    pub(crate) async fn wait_for_end(&mut self) {
        while self.exchange(true).await != Progress::Closed {
            self.input.clear();
        }
    }

    /// Writes everything, and reads meanwhile; false where the other side closed before.
    pub(crate) async fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            if self.exchange(true).await == Progress::Closed {
                return false;
            }
        }
        true
    }
}

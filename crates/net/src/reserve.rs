//! A file descriptor in reserve, for the moment in which there is no other.
//!
//! Without it a client that comes when the process has used up its descriptors would hang in the kernel's backlog, for hours if need
//! be, believing that it is connected. With it the connection can be taken and closed, so that the client knows and tries again,
//! here or elsewhere.

use std::fs::File;
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Connections that are turned away at a time.
const TURNED_AWAY_MAX: usize = 64;
/// How long a further connection is waited for: those that wait are there already.
const PATIENCE: Duration = Duration::from_millis(1);
const PLACEHOLDER: &str = "/dev/null";

/// A descriptor that can be given up.
#[derive(Debug)]
pub(crate) struct Reserve(Option<File>);

impl Reserve {
    pub(crate) fn new() -> Reserve {
        Reserve(File::open(PLACEHOLDER).ok())
    }

    /// Takes connections that wait, one after the other, and closes them; returns how many.
    pub(crate) async fn turn_away(&mut self, socket: &TcpListener) -> usize {
        let mut count = 0;
        if self.0.take().is_some() {
            while count < TURNED_AWAY_MAX
                && let Ok(Ok((connection, _))) = timeout(PATIENCE, socket.accept()).await
            {
                drop(connection);
                count += 1;
            }
        }
        self.0 = File::open(PLACEHOLDER).ok();
        count
    }
}

/// Whether there is no descriptor left: in this process (`EMFILE`) or on the machine (`ENFILE`).
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    let codes = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    error.raw_os_error().is_some_and(|code| codes.iter().any(|errno| errno.raw_os_error() == code))
}

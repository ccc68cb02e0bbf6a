//! Empties a queue of a store without a gateway.

use crate::Open;
use crate::entries::{Entries, Problem};
use crate::settling::{Appender, NotKept};
use tidegate_storage::{Change, ReadError, Storage, StreamId};

/// Entries that are settled in one change.
const SETTLED_AT_ONCE: usize = 10_000;

/// Why a queue is not empty.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] Problem),
    /// It cannot be written.
    #[error("{0}")]
    Write(#[from] NotKept),
}

/// Throws away every message of a queue, damaged ones as well; returns their number. The disk has it when this returns.
pub fn purge(storage: &dyn Storage, stream: StreamId) -> Result<usize, PurgeError> {
    let appender = Appender::new(storage);
    let (mut change, mut settled, mut total) = (Change::default(), 0, 0);
    for entry in Entries::of(&Open(storage), stream) {
        let number = match entry {
            Ok(entry) => entry.number,
            Err(Problem::Read(ReadError::Damaged { number, .. })) => number,
            Err(problem) => return Err(problem.into()),
        };
        change.settle(stream, number);
        (settled, total) = (settled + 1, total + 1);
        if settled == SETTLED_AT_ONCE {
            appender.keep(&mut change)?;
            settled = 0;
        }
    }
    appender.keep(&mut change)?;
    Ok(total)
}

//! Puts an export into an empty store.
//!
//! The lines may come from anywhere: each is checked by itself and beside those before it, and one that cannot be ends the import with its
//! number. What was imported until then stays; the caller throws the store away.

use crate::form::{Clock, FORMAT, FormError, Line};
use crate::settling::{Appender, NotKept};
use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, Read};
use tidegate_message::Message;
use tidegate_storage::record::{Description, MessageRecord};
use tidegate_storage::{Change, NoRoom, Storage, StreamId};

/// The longest line: the largest message in base64, and more beside it than it may have.
const LINE_BYTES_MAX: u64 = 512 << 20;
/// Numbers that are higher leave the gateway none that are higher still.
const NUMBER_MAX: u64 = 1 << 62;
/// Bytes that are given to the store at a time.
const CHANGE_BYTES: usize = 1 << 20;

/// Why an import has ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is something in the store.
    #[error("the store is not empty: import into a folder of its own")]
    NotEmpty,
    /// The lines cannot be read.
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    /// A line cannot be taken.
    #[error("line {line}: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// The disk does not keep it.
    #[error("{0}")]
    Write(#[from] NotKept),
    /// There is no room for all of it.
    #[error("{0}")]
    Room(#[from] NoRoom),
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum LineProblem {
    /// It is longer than any message.
    #[error("longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JSON, or not of this form.
    #[error("{0}")]
    Json(serde_json::Error),
    /// A field of it says what cannot be.
    #[error("{0}")]
    Form(String),
    /// The first line is another one.
    #[error(
        "an export begins with {{\"store\": {{\"format\": {FORMAT}}}}}; this is none, or of another version"
    )]
    NoBeginning,
    /// A number comes again or too late, or is none that is given.
    #[error(
        "number {number} of stream {stream} does not come behind those before it, or is above {NUMBER_MAX}"
    )]
    Order {
        /// The stream.
        stream: u64,
        /// The number.
        number: u64,
    },
    /// It belongs to what no line before it has described.
    #[error("no line before it describes a queue {0}")]
    UnknownQueue(u64),
}

/// What was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Lines, without the first one.
    pub things: usize,
}

/// Imports all lines. The disk has them when this returns.
pub fn import(storage: &dyn Storage, lines: &mut dyn BufRead) -> Result<Imported, ImportError> {
    if !storage.streams().is_empty() {
        return Err(ImportError::NotEmpty);
    }
    let mut import = Import {
        storage,
        appender: Appender::new(storage),
        clock: Clock { now_millis: storage.time_millis() },
        change: Change::default(),
        last: BTreeMap::new(),
        queues: HashSet::new(),
    };
    let (mut line, mut number) = (Vec::new(), 0);
    while next_line(lines, &mut line).map_err(|error| error.at(number + 1))? {
        number += 1;
        let at = |problem| ImportError::Line { line: number, problem };
        let parsed: Line = serde_json::from_slice(&line).map_err(|error| at(LineProblem::Json(error)))?;
        match (&parsed, number) {
            (Line::Store(store), 1) if store.format == FORMAT => {}
            (_, 1) | (Line::Store(_), _) => return Err(at(LineProblem::NoBeginning)),
            _ => import.take(parsed).map_err(at)?,
        }
        import.hand_over_beyond(CHANGE_BYTES)?;
    }
    if number == 0 {
        return Err(ImportError::Line { line: 1, problem: LineProblem::NoBeginning });
    }
    import.hand_over_beyond(0)?;
    Ok(Imported { things: number - 1 })
}

/// Why the next line could not be read.
enum NextError {
    Read(io::Error),
    TooLong,
}

impl NextError {
    fn at(self, line: usize) -> ImportError {
        match self {
            NextError::Read(error) => ImportError::Read(error),
            NextError::TooLong => ImportError::Line { line, problem: LineProblem::TooLong },
        }
    }
}

/// Reads a line that is not longer than it may be; `false` at the end.
fn next_line(lines: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool, NextError> {
    line.clear();
    let read = lines.take(LINE_BYTES_MAX + 1).read_until(b'\n', line).map_err(NextError::Read)?;
    match read as u64 > LINE_BYTES_MAX {
        true => Err(NextError::TooLong),
        false => Ok(read > 0),
    }
}

struct Import<'s> {
    storage: &'s dyn Storage,
    appender: Appender<'s>,
    clock: Clock,
    change: Change,
    /// The last number of each stream.
    last: BTreeMap<StreamId, u64>,
    /// The queues that some line has described.
    queues: HashSet<u64>,
}

impl Import<'_> {
    fn take(&mut self, line: Line) -> Result<(), LineProblem> {
        match line {
            Line::Store(_) => Err(LineProblem::NoBeginning),
            Line::Session(line) => {
                let number = line.number;
                let (session, note) = line.hear(self.clock);
                self.describe(session.queue)?;
                let mut bytes = Vec::new();
                note.write(&mut bytes);
                self.description(number, &bytes, &Description::Session(session))
            }
            Line::Subscription(line) => {
                let (number, subscription) = (line.number, line.hear()?);
                self.known(subscription.queue)?;
                subscription.group.map_or(Ok(()), |group| self.describe(group))?;
                self.description(number, b"", &Description::Subscription(subscription))
            }
            Line::Saved(line) => {
                let (number, saved) = (line.number, line.hear()?);
                self.known(saved.queue)?;
                self.description(number, b"", &Description::Saved(saved))
            }
            // A session that has ended with its connection may have left one.
            Line::Will(line) => {
                let (number, will) = (line.number, line.hear()?);
                self.description(number, b"", &Description::Will(Box::new(will)))
            }
            Line::Queue(line) => {
                let number = line.number;
                let (queue, note) = line.hear(self.clock)?;
                self.describe(queue.queue)?;
                let (mut bytes, mut body) = (Vec::new(), Vec::new());
                note.write(&mut bytes);
                queue.write(&mut body);
                self.append(StreamId::QUEUES, number, &bytes, &body)
            }
            Line::Retained(line) => {
                let record = line.message.hear(self.clock)?;
                self.message(StreamId::RETAINED, line.number, b"", &record)
            }
            Line::Message(waiting) => {
                let (stream, number) = (StreamId(waiting.stream), waiting.number);
                self.known(stream.0)?;
                let (note, record) = waiting.hear(self.clock)?;
                let mut bytes = Vec::new();
                note.write(&mut bytes);
                self.message(stream, number, &bytes, &record)
            }
        }
    }

    fn describe(&mut self, queue: u64) -> Result<(), LineProblem> {
        let lowest = StreamId::FIRST_QUEUE.0;
        if !(lowest..=NUMBER_MAX).contains(&queue) {
            let problem = format!("`queue`: queues have numbers from {lowest} to {NUMBER_MAX}");
            return Err(LineProblem::Form(problem));
        }
        self.queues.insert(queue);
        Ok(())
    }

    fn known(&self, queue: u64) -> Result<(), LineProblem> {
        self.queues.contains(&queue).then_some(()).ok_or(LineProblem::UnknownQueue(queue))
    }

    fn description(&mut self, number: u64, note: &[u8], what: &Description) -> Result<(), LineProblem> {
        let mut body = Vec::new();
        what.write(&mut body);
        self.append(StreamId::SESSIONS, number, note, &body)
    }

    fn message(
        &mut self,
        stream: StreamId,
        number: u64,
        note: &[u8],
        record: &MessageRecord,
    ) -> Result<(), LineProblem> {
        let message: &Message = &record.message;
        let mut body = Vec::new();
        MessageRecord::write_expiring(message, record.expires_at_millis, &mut body);
        self.append(stream, number, note, &body)
    }

    fn append(&mut self, stream: StreamId, number: u64, note: &[u8], body: &[u8]) -> Result<(), LineProblem> {
        let last = self.last.entry(stream).or_default();
        if number <= *last || number > NUMBER_MAX {
            return Err(LineProblem::Order { stream: stream.0, number });
        }
        *last = number;
        self.change.append(&[(stream, number, note)], body);
        Ok(())
    }

    fn hand_over_beyond(&mut self, bytes: usize) -> Result<(), ImportError> {
        if self.change.as_bytes().len() > bytes {
            self.storage.room(self.change.as_bytes().len())?;
            self.appender.keep(&mut self.change)?;
        }
        Ok(())
    }
}

impl From<FormError> for LineProblem {
    fn from(error: FormError) -> LineProblem {
        LineProblem::Form(error.to_string())
    }
}

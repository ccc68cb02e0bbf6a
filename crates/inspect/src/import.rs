//! Puts an export into an empty store.
//!
//! The lines may come from anywhere: each is checked by itself and beside those before it, and one that cannot be ends the import with its
//! number. What was imported until then stays; the caller throws the store away.

use crate::form::{Clock, EndLine, FORMAT, FormError, Line, NUMBER_MAX};
use crate::names::{group_name, session_name};
use crate::settling::{Appender, NotKept};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, Read};
use tidegate_message::Message;
use tidegate_protocol::{SAVED_BYTES_MAX, SAVED_PIECES_MAX};
use tidegate_storage::record::{Description, MessageRecord, SavedPart, SavedRecord};
use tidegate_storage::{Change, NoRoom, Storage, StreamId};

/// The longest line: the largest message in base64, and more beside it than it may have.
const LINE_BYTES_MAX: u64 = 512 << 20;
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
    /// The last line is missing.
    #[error(
        "the export was cut: it has {lines} of its lines, and the last one, which says that it is complete, is missing"
    )]
    Cut {
        /// Lines that are there, with one that is only begun.
        lines: usize,
    },
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
    #[error("{} (column {})", without_place(.0), .0.column())]
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
    /// A queue of that number is another one.
    #[error("number {number} is that of the queue {known} already")]
    OtherQueue {
        /// The number.
        number: u64,
        /// What it belongs to.
        known: Box<str>,
    },
    /// No gateway keeps so much of what a protocol saves.
    #[error(
        "more than {SAVED_PIECES_MAX} pieces or {SAVED_BYTES_MAX} bytes are saved for the session of queue {0}"
    )]
    TooMuchSaved(u64),
    /// Lines are missing between the first and the last one, or there are some that were not.
    #[error("the export had {said} things, and {found} stand before this line")]
    Count {
        /// As the last line says.
        said: usize,
        /// As they were counted.
        found: usize,
    },
    /// The last line is not the last one.
    #[error("the line before it says that the export ends there")]
    BehindEnd,
}

/// What is wrong with JSON. Its own line is always the first one.
fn without_place(error: &serde_json::Error) -> String {
    let (text, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// What was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Lines, without the first and the last one.
    pub things: usize,
    /// What the export says that it has left out because nobody could read it.
    pub left_out: usize,
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
        queues: HashMap::new(),
        saved: HashMap::new(),
        end: None,
    };
    let (mut line, mut number) = (Vec::new(), 0);
    while next_line(lines, &mut line).map_err(|error| error.at(number + 1))? {
        number += 1;
        import.line(&line, number).map_err(|problem| match problem {
            // Whatever has cut the export has cut it in the middle of a line.
            LineProblem::Json(error) if error.is_eof() && !line.ends_with(b"\n") && number > 1 => {
                ImportError::Cut { lines: number }
            }
            problem => ImportError::Line { line: number, problem },
        })?;
        import.hand_over_beyond(CHANGE_BYTES)?;
    }
    match import.end {
        Some(EndLine { things, left_out }) => {
            import.hand_over_beyond(0)?;
            Ok(Imported { things, left_out })
        }
        None if number == 0 => Err(ImportError::Line { line: 1, problem: LineProblem::NoBeginning }),
        None => Err(ImportError::Cut { lines: number }),
    }
}

fn parse(line: &[u8]) -> Result<Line, LineProblem> {
    serde_json::from_slice(line).map_err(LineProblem::Json)
}

/// The first line is that of an export that can be read.
pub(crate) fn beginning(line: &[u8]) -> Result<(), LineProblem> {
    match parse(line)? {
        Line::Store(store) if store.format == FORMAT => Ok(()),
        _ => Err(LineProblem::NoBeginning),
    }
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
    /// The queues that some line has described, and their names.
    queues: HashMap<u64, Box<str>>,
    /// Pieces and bytes of what is saved for each session, by the number of its queue.
    saved: HashMap<u64, (usize, usize)>,
    /// The last line, when it was there.
    end: Option<EndLine>,
}

impl Import<'_> {
    fn line(&mut self, line: &[u8], number: usize) -> Result<(), LineProblem> {
        if self.end.is_some() {
            return Err(LineProblem::BehindEnd);
        }
        match number {
            1 => beginning(line),
            _ => self.take(parse(line)?, number.saturating_sub(2)),
        }
    }

    /// Takes what stands behind so many things.
    fn take(&mut self, line: Line, before: usize) -> Result<(), LineProblem> {
        match line {
            Line::Store(_) => Err(LineProblem::NoBeginning),
            Line::End(end) if end.things != before => {
                Err(LineProblem::Count { said: end.things, found: before })
            }
            Line::End(end) => {
                self.end = Some(end);
                Ok(())
            }
            Line::Session(line) => {
                let number = line.number;
                let (session, note) = line.hear(self.clock);
                self.begin(session.queue, session_name(&session))?;
                let mut bytes = Vec::new();
                note.write(&mut bytes);
                self.description(number, &bytes, &Description::Session(session))
            }
            Line::Subscription(line) => {
                let (number, subscription) = (line.number, line.hear()?);
                self.known(subscription.queue)?;
                if let Some(group) = subscription.group {
                    self.describe(group, group_name(&subscription).1)?;
                }
                self.description(number, b"", &Description::Subscription(subscription))
            }
            Line::Saved(line) => {
                let (number, saved) = (line.number, line.hear()?);
                self.known(saved.queue)?;
                self.count_saved(&saved)?;
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
                self.describe(queue.queue, queue.topic.as_str().to_owned())?;
                let (mut bytes, mut body) = (Vec::new(), Vec::new());
                note.write(&mut bytes);
                queue.write(&mut body);
                self.append(StreamId::QUEUES, number, &bytes, &body)
            }
            Line::Given(line) => {
                let mut bytes = Vec::new();
                line.hear()?.write(&mut bytes);
                self.append(StreamId::GIVEN, line.number, &bytes, b"")
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

    /// A session has a queue of its own.
    fn begin(&mut self, queue: u64, name: String) -> Result<(), LineProblem> {
        match self.queues.get(&queue) {
            Some(known) => Err(LineProblem::OtherQueue { number: queue, known: known.clone() }),
            None => self.describe(queue, name),
        }
    }

    /// Several lines may describe the queue of a group.
    fn describe(&mut self, queue: u64, name: String) -> Result<(), LineProblem> {
        let lowest = StreamId::FIRST_QUEUE.0;
        if !(lowest..=NUMBER_MAX).contains(&queue) {
            let problem = format!("`queue`: queues have numbers from {lowest} to {NUMBER_MAX}");
            return Err(LineProblem::Form(problem));
        }
        let known = self.queues.entry(queue).or_insert_with(|| name.as_str().into());
        match **known == *name {
            true => Ok(()),
            false => Err(LineProblem::OtherQueue { number: queue, known: known.clone() }),
        }
    }

    fn count_saved(&mut self, saved: &SavedRecord) -> Result<(), LineProblem> {
        let (pieces, bytes) = self.saved.entry(saved.queue).or_default();
        if saved.part == SavedPart::Whole {
            (*pieces, *bytes) = (0, 0);
        }
        (*pieces, *bytes) = (*pieces + 1, *bytes + saved.bytes.len());
        match *pieces <= SAVED_PIECES_MAX && *bytes <= SAVED_BYTES_MAX {
            true => Ok(()),
            false => Err(LineProblem::TooMuchSaved(saved.queue)),
        }
    }

    fn known(&self, queue: u64) -> Result<(), LineProblem> {
        self.queues.contains_key(&queue).then_some(()).ok_or(LineProblem::UnknownQueue(queue))
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

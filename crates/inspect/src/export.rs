//! Everything in a store, one JSON object a line.
//!
//! What describes comes before what it describes: sessions with their things, named queues, retained messages, then the messages of each queue. A message
//! that waits in several queues is told for each.

use crate::Contents;
use crate::entries::{Entries, Problem};
use crate::form::{
    Clock, FORMAT, Line, NamedQueueLine, RetainedLine, SavedLine, SessionLine, StoreLine, SubscriptionLine,
    Waiting, WillLine,
};
use crate::names::{Names, described};
use crate::queues::queue_summaries;
use std::io::{self, Write};
use tidegate_storage::record::{Description, SessionNote};
use tidegate_storage::{Damaged, Entry, StreamId};

/// Why not everything was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something cannot be read, and was not to be left out.
    #[error("{0}")]
    Read(#[from] Problem),
    /// Whoever takes the lines does not take them.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// What was written.
#[derive(Debug, Default)]
pub struct Exported {
    /// Lines, without the first one.
    pub things: usize,
    /// What was left out because it cannot be read.
    pub left_out: Vec<Problem>,
}

/// Writes everything. What cannot be read ends it, unless it is to be left out.
pub fn export(
    contents: &dyn Contents,
    skip_damaged: bool,
    out: &mut dyn Write,
) -> Result<Exported, ExportError> {
    let clock = Clock { now_millis: contents.time_millis() };
    let mut export = Export { contents, clock, skip_damaged, out, exported: Exported::default() };
    export.write(&Line::Store(StoreLine { format: FORMAT }))?;
    export.stream(StreamId::SESSIONS, description)?;
    export.stream(StreamId::QUEUES, |entry, clock| NamedQueueLine::read(entry, clock).map(Line::Queue))?;
    export.stream(StreamId::RETAINED, |entry, clock| RetainedLine::read(entry, clock).map(Line::Retained))?;
    let names = Names::read(contents);
    for queue in queue_summaries(contents) {
        let stream = queue.stream;
        // An import could not tell where they belong either.
        if !names.has(stream) {
            export.leave_out(Problem::NoOwner { stream, entries: queue.entries })?;
            continue;
        }
        export.stream(stream, |entry, clock| Waiting::read(stream, entry, clock).map(Line::Message))?;
    }
    export.out.flush()?;
    Ok(export.exported)
}

struct Export<'a> {
    contents: &'a dyn Contents,
    clock: Clock,
    skip_damaged: bool,
    out: &'a mut dyn Write,
    exported: Exported,
}

impl Export<'_> {
    fn stream(
        &mut self,
        stream: StreamId,
        line: impl Fn(&Entry, Clock) -> Result<Line, Problem>,
    ) -> Result<(), ExportError> {
        for entry in Entries::of(self.contents, stream) {
            match entry.and_then(|entry| line(&entry, self.clock)) {
                Ok(line) => {
                    self.write(&line)?;
                    self.exported.things += 1;
                }
                Err(problem) => self.leave_out(problem)?,
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, problem: Problem) -> Result<(), ExportError> {
        if !self.skip_damaged {
            return Err(problem.into());
        }
        self.exported.left_out.push(problem);
        Ok(())
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, line)?;
        self.out.write_all(b"\n")
    }
}

/// A line of the sessions' stream.
fn description(entry: &Entry, clock: Clock) -> Result<Line, Problem> {
    let number = entry.number;
    Ok(match described(entry)? {
        Description::Session(session) => {
            let unreadable = |Damaged| Problem::Record { stream: StreamId::SESSIONS, number };
            let note = SessionNote::read(&entry.note).map_err(unreadable)?;
            Line::Session(SessionLine::tell(number, session, &note, clock))
        }
        Description::Subscription(subscription) => {
            Line::Subscription(SubscriptionLine::tell(number, subscription))
        }
        Description::Saved(saved) => Line::Saved(SavedLine::tell(number, &saved)),
        Description::Will(will) => Line::Will(WillLine::tell(number, *will)),
    })
}

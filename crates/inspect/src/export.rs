//! Everything in a store, one JSON object a line.
//!
//! What describes comes before what it describes: sessions with their things, named queues, how far their numbers have come, retained messages, then the messages of each queue. A message
//! that waits in several queues is told for each. The last line says that nothing is missing behind it.

use crate::Contents;
use crate::entries::{Entries, Problem};
use crate::form::{
    Clock, EndLine, FORMAT, GivenLine, Line, NamedQueueLine, RetainedLine, SavedLine, SessionLine, StoreLine,
    SubscriptionLine, Waiting, WillLine,
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
    /// Lines, without the first and the last one.
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
    let names = Names::read(contents);
    export.stream(StreamId::SESSIONS, |entry, clock| description(entry, clock, &names))?;
    export.stream(StreamId::QUEUES, |entry, clock| {
        NamedQueueLine::read(entry, clock).map(|queue| Some(Line::Queue(queue)))
    })?;
    export
        .stream(StreamId::GIVEN, |entry, _| GivenLine::read(entry).map(|given| Some(Line::Given(given))))?;
    export.stream(StreamId::RETAINED, |entry, clock| {
        RetainedLine::read(entry, clock).map(|retained| Some(Line::Retained(retained)))
    })?;
    for queue in queue_summaries(contents) {
        let stream = queue.stream;
        // What was written behind the end of its queue belongs to nothing; a gateway drops it at its start.
        if !names.has(stream) {
            continue;
        }
        export.stream(stream, |entry, clock| {
            Waiting::read(stream, entry, clock).map(|waiting| Some(Line::Message(waiting)))
        })?;
    }
    export.end()?;
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
        line: impl Fn(&Entry, Clock) -> Result<Option<Line>, Problem>,
    ) -> Result<(), ExportError> {
        for entry in Entries::of(self.contents, stream) {
            match entry.and_then(|entry| line(&entry, self.clock)) {
                Ok(None) => {}
                Ok(Some(line)) => {
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

    fn end(&mut self) -> io::Result<()> {
        let Exported { things, left_out } = &self.exported;
        self.write(&Line::End(EndLine { things: *things, left_out: left_out.len() }))?;
        self.out.flush()
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, line)?;
        self.out.write_all(b"\n")
    }
}

/// A line of the sessions' stream; nothing for what belongs to a session that has ended.
fn description(entry: &Entry, clock: Clock, names: &Names) -> Result<Option<Line>, Problem> {
    let number = entry.number;
    let is_known = |queue: u64| names.has(StreamId(queue));
    Ok(Some(match described(entry)? {
        Description::Session(session) => {
            let unreadable = |Damaged| Problem::Record { stream: StreamId::SESSIONS, number };
            let note = SessionNote::read(&entry.note).map_err(unreadable)?;
            Line::Session(SessionLine::tell(number, session, &note, clock))
        }
        Description::Subscription(of) if !is_known(of.queue) => return Ok(None),
        Description::Saved(of) if !is_known(of.queue) => return Ok(None),
        Description::Subscription(subscription) => {
            Line::Subscription(SubscriptionLine::tell(number, subscription))
        }
        Description::Saved(saved) => Line::Saved(SavedLine::tell(number, &saved)),
        Description::Will(will) => Line::Will(WillLine::tell(number, *will)),
    }))
}

//! A connection that publishes: as its window allows in a closed loop, as its schedule demands in an open one.

use super::connection::Connection;
use super::dialect::Event;
use super::failure::Failure;
use super::flow::Flow;
use super::header::Header;
use super::pacer::Pacer;
use super::run::Run;
use super::schedule::Schedule;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Turns of one connection until the others get theirs.
const TURNS_MAX: usize = 4;
/// How long after the end a publisher in an open loop may still send what was due before it, in nanoseconds.
const OVERTIME: u64 = 1_000_000_000;

/// One publisher.
pub(crate) struct Publisher {
    number: u32,
    run: Arc<Run>,
    connection: Connection,
    topics: Vec<String>,
    payload: Vec<u8>,
    sent: u64,
    sent_measured: u64,
    pace: Pace,
}

enum Pace {
    Closed,
    Open {
        schedule: Schedule,
        pacer: Rc<Pacer>,
        /// The moment for which the pacer has been asked last.
        asked: u64,
    },
}

impl Publisher {
    /// A publisher that has sent nothing.
    pub(crate) fn new(run: Arc<Run>, number: u32, connection: Connection, pacer: Rc<Pacer>) -> Publisher {
        let plan = &run.plan;
        let pace = match plan.rate {
            None => Pace::Closed,
            Some(rate) => {
                let schedule = Schedule::new(rate.get(), plan.publishers, number);
                Pace::Open { schedule, pacer, asked: u64::MAX }
            }
        };
        let topics = (0..plan.topics).map(|slot| plan.layout.topic(&run.name, number, slot)).collect();
        let payload = vec![b'.'; plan.size];
        Publisher { number, connection, topics, payload, sent: 0, sent_measured: 0, pace, run }
    }

    /// Reads, publishes and writes; ready only with the failure that ended the connection.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        match self.turns(context) {
            Ok(()) => Poll::Pending,
            Err(failure) => Poll::Ready(failure),
        }
    }

    /// Says goodbye; clears the topics where their messages were retained.
    pub(crate) async fn close(self) {
        let topics = if self.run.plan.retain { self.topics.as_slice() } else { &[] };
        self.connection.close(topics.iter().map(String::as_str)).await;
    }

    /// As many turns as there is something to read, within the limit. Then all three reasons to go on have been asked for a wake-up:
    /// bytes to read, room to write, and the next message.
    fn turns(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        for _ in 0..TURNS_MAX {
            let has_read = self.read(context)?;
            self.produce(context)?;
            let was_full = self.connection.is_full();
            let flushed = self.connection.poll_flush(context);
            let has_room_again = was_full && flushed.is_ready();
            if let Poll::Ready(outcome) = flushed {
                outcome?;
            }
            if !has_read && !has_room_again {
                return Ok(());
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        if self.connection.is_full() {
            return Ok(false);
        }
        let flow = self.run.flows.get(self.number as usize);
        let handled = self.connection.poll_events(context, |event| {
            if let (Event::Refused, Some(flow)) = (event, flow) {
                flow.refuse();
            }
        });
        match handled {
            Poll::Ready(outcome) => outcome.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    /// Appends the messages that may and should be sent now.
    fn produce(&mut self, context: &Context<'_>) -> Result<(), Failure> {
        let (run, now) = (Arc::clone(&self.run), self.run.now());
        let Some(flow) = run.flows.get(self.number as usize).filter(|flow| !flow.is_finished()) else {
            return Ok(());
        };
        match self.pace {
            Pace::Closed => self.produce_closed(flow, now, context),
            Pace::Open { .. } => self.produce_open(flow, now, context),
        }
    }

    fn produce_closed(&mut self, flow: &Flow, now: u64, context: &Context<'_>) -> Result<(), Failure> {
        if now >= self.run.end() {
            flow.finish(0);
            return Ok(());
        }
        while self.may_publish() {
            // Asked until there is none, because only then the flow knows whom to wake.
            let credit = flow.credit(self.run.plan.window.into(), context);
            if credit == 0 {
                break;
            }
            for _ in 0..credit {
                if !self.may_publish() {
                    break;
                }
                self.publish(now)?;
            }
            flow.set_sent(self.sent, self.sent_measured);
        }
        Ok(())
    }

    fn produce_open(&mut self, flow: &Flow, now: u64, context: &Context<'_>) -> Result<(), Failure> {
        let (start, end) = (self.run.start(), self.run.end());
        loop {
            let Pace::Open { schedule, pacer, asked } = &mut self.pace else { return Ok(()) };
            let due = start.saturating_add(schedule.due(self.sent));
            if due >= end || now > end.saturating_add(OVERTIME) {
                let left = schedule.due_before(end.saturating_sub(start)).saturating_sub(self.sent);
                flow.finish(left);
                return Ok(());
            }
            if due > now {
                if std::mem::replace(asked, due) != due {
                    pacer.wake_at(due, context.waker());
                }
                return Ok(());
            }
            if !self.may_publish() {
                return Ok(());
            }
            self.publish(due)?;
            flow.set_sent(self.sent, self.sent_measured);
        }
    }

    /// Whether both the socket and the acknowledgements leave room for a message.
    fn may_publish(&self) -> bool {
        !self.connection.is_full() && self.connection.credit(self.run.plan.window) > 0
    }

    fn publish(&mut self, due: u64) -> Result<(), Failure> {
        Header { due, publisher: self.number, sequence: self.sent }.write(&mut self.payload);
        let slot = (self.sent % self.topics.len().max(1) as u64) as usize;
        let topic = self.topics.get(slot).map_or("", String::as_str);
        self.connection.publish(topic, &self.payload)?;
        self.sent += 1;
        self.sent_measured += u64::from(self.run.is_measured(due));
        Ok(())
    }
}

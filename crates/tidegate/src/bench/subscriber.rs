//! A connection that receives: enters every message into its ledger and times it.

use super::connection::Connection;
use super::dialect::Event;
use super::failure::Failure;
use super::header::Header;
use super::ledger::{Ledger, Receipt};
use super::run::Run;
use super::tally::Tally;
use parking_lot::Mutex;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Turns of one connection until the others get theirs.
const TURNS_MAX: usize = 4;

/// One subscriber.
pub(crate) struct Subscriber {
    run: Arc<Run>,
    /// The place of its worker's tally.
    worker: usize,
    connection: Connection,
    ledger: Ledger,
}

impl Subscriber {
    /// A subscriber whose subscription stands.
    pub(crate) fn new(run: Arc<Run>, worker: usize, number: u32, connection: Connection) -> Subscriber {
        let ledger = Ledger::new(run.plan.layout.sources(number, run.plan.publishers));
        Subscriber { run, worker, connection, ledger }
    }

    /// Reads, counts and acknowledges; ready only with the failure that ended the connection.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        match self.turns(context) {
            Ok(()) => Poll::Pending,
            Err(failure) => Poll::Ready(failure),
        }
    }

    /// Says goodbye, and gives up what would outlive the connection.
    pub(crate) async fn close(mut self) {
        if self.run.plan.durable {
            self.connection.unsubscribe();
        }
        self.connection.close(std::iter::empty()).await;
    }

    fn turns(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        for _ in 0..TURNS_MAX {
            let has_read = self.read(context)?;
            if let Poll::Ready(outcome) = self.connection.poll_flush(context) {
                outcome?;
            }
            if !has_read {
                return Ok(());
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        // A broker that does not read its acknowledgements gets no more of them.
        if self.connection.is_full() {
            return Ok(false);
        }
        let Some(tally) = self.run.tallies.get(self.worker).map(Mutex::lock) else { return Ok(false) };
        let mut arrivals = Arrivals { run: &self.run, ledger: &mut self.ledger, tally, now: None };
        let handled = self.connection.poll_events(context, |event| {
            if let Event::Message(payload) = event {
                arrivals.enter(payload);
            }
        });
        match handled {
            Poll::Ready(outcome) => outcome.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }
}

/// The messages of one read, which have all arrived at the same time.
struct Arrivals<'a, T> {
    run: &'a Run,
    ledger: &'a mut Ledger,
    tally: T,
    /// When they arrived; the clock is asked when the first one is there.
    now: Option<u64>,
}

impl<T: std::ops::DerefMut<Target = Tally>> Arrivals<'_, T> {
    fn enter(&mut self, payload: &[u8]) {
        let now = *self.now.get_or_insert_with(|| self.run.now());
        let known = Header::read(payload).filter(|_| payload.len() == self.run.plan.size);
        let flow = known.and_then(|header| self.run.flows.get(header.publisher as usize));
        let (Some(header), Some(flow)) = (known, flow) else {
            self.tally.figures.foreign += 1;
            return;
        };
        // What was never sent would be taken for a gap that is as wide as it likes.
        let receipt = match header.sequence < flow.sent() {
            true => self.ledger.enter(header.publisher, header.sequence),
            false => Receipt::Foreign,
        };
        if self.count(receipt, &header, now) {
            flow.deliver();
        }
    }

    /// Counts a receipt and says whether it is a first one.
    fn count(&mut self, receipt: Receipt, header: &Header, now: u64) -> bool {
        let measured = u64::from(self.run.is_measured(header.due));
        let figures = &mut self.tally.figures;
        match receipt {
            Receipt::New => {}
            Receipt::Late => figures.out_of_order += measured,
            Receipt::Duplicate => {
                figures.duplicates += measured;
                return false;
            }
            Receipt::Foreign => {
                figures.foreign += 1;
                return false;
            }
        }
        let latency = now.saturating_sub(header.due);
        figures.arrived += u64::from(self.run.is_measured(now));
        figures.received += measured;
        if measured > 0 {
            figures.latency.saturating_record(latency);
        }
        self.tally.tick(latency);
        true
    }
}

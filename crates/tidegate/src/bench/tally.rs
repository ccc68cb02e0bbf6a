//! What the subscribers of one worker have counted and timed.

use hdrhistogram::{CreationError, Histogram};

/// Latencies above an hour are shown as an hour.
const LATENCY_MAX: u64 = 3_600_000_000_000;

/// Counters and latencies. Only one worker writes it, so its lock is free but for one moment a second.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Latencies in nanoseconds of all messages since the last progress line; nothing where no line is printed.
    pub(crate) interval: Option<Histogram<u64>>,
    /// What counts for the report.
    pub(crate) figures: Figures,
}

/// Figures of the measured time. "Measured" is a message that was due in it, whenever it arrived.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Latencies in nanoseconds of measured messages.
    pub(crate) latency: Histogram<u64>,
    /// Measured messages that arrived, duplicates not counted.
    pub(crate) received: u64,
    /// Measured messages that arrived again.
    pub(crate) duplicates: u64,
    /// Measured messages that arrived behind a later one.
    pub(crate) out_of_order: u64,
    /// Messages that are not from this run.
    pub(crate) foreign: u64,
    /// Messages that arrived within the measured time, whenever they were due: what throughput is counted in.
    pub(crate) arrived: u64,
}

impl Tally {
    /// Nothing counted.
    pub(crate) fn new(with_interval: bool) -> Result<Tally, CreationError> {
        let interval = if with_interval { Some(histogram()?) } else { None };
        Ok(Tally { interval, figures: Figures::new()? })
    }

    /// Counts a message for the progress line.
    pub(crate) fn tick(&mut self, latency: u64) {
        if let Some(interval) = &mut self.interval {
            interval.saturating_record(latency);
        }
    }

    /// Adds the interval to `sum` and begins a new one.
    pub(crate) fn take_interval(&mut self, sum: &mut Histogram<u64>) {
        if let Some(interval) = &mut self.interval {
            // Both have the same bounds, so that all values fit.
            let _ = sum.add(&*interval);
            interval.reset();
        }
    }
}

impl Figures {
    /// Nothing counted.
    pub(crate) fn new() -> Result<Figures, CreationError> {
        let latency = histogram()?;
        Ok(Figures { latency, received: 0, duplicates: 0, out_of_order: 0, foreign: 0, arrived: 0 })
    }

    /// Adds another worker's figures.
    pub(crate) fn add(&mut self, other: &Figures) {
        let _ = self.latency.add(&other.latency);
        self.received += other.received;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.foreign += other.foreign;
        self.arrived += other.arrived;
    }
}

/// An empty histogram of nanoseconds, exact to three digits.
pub(crate) fn histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_bounds(1, LATENCY_MAX, 3)
}

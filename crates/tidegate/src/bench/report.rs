//! The figures of a run, as a table for people and as JSON for programs.

use super::control::{CpuTimes, Measured};
use super::plan::Plan;
use super::progress::{quantity, time};
use super::run::Run;
use super::tally::Figures;
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// The figures of a run. Messages are counted where they were due in the measured time.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    options: Plan,
    /// Seconds that were measured; fewer than asked for after Ctrl-C.
    measured_seconds: f64,
    interrupted: bool,
    /// Messages that were published.
    sent: u64,
    /// Deliveries that they should have led to.
    expected: u64,
    /// Deliveries that came.
    received: u64,
    /// Deliveries that did not come.
    pub(crate) lost: u64,
    duplicates: u64,
    out_of_order: u64,
    /// Messages that were due and could not be sent, because the broker took no more.
    unsent: u64,
    /// Messages that the broker refused.
    refused: u64,
    /// Messages that came in from elsewhere.
    foreign: u64,
    failed_connections: u64,
    sent_per_second: f64,
    received_per_second: f64,
    received_payload_bytes_per_second: f64,
    latency_microseconds: Latency,
    /// CPU seconds of the load generator in the measured time.
    bench_cpu_seconds: Option<f64>,
    /// CPU seconds of the process that `--cpu-of` names.
    process_cpu_seconds: Option<f64>,
    /// The same per million deliveries.
    process_cpu_seconds_per_million: Option<f64>,
}

/// From the moment at which a message was due to its arrival, in microseconds.
#[derive(Debug, Serialize)]
struct Latency {
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

impl Report {
    /// The report of a run that has ended.
    pub(crate) fn new(run: &Run, figures: &Figures, measured: &Measured) -> Report {
        let sent: u64 = run.flows.iter().map(|flow| flow.sent_measured()).sum();
        let expected = sent.saturating_mul(run.plan.layout.receivers(run.plan.subscribers).into());
        let seconds = measured.time.as_secs_f64();
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let process_cpu_seconds = spent(measured, |times| times.other);
        let millions = figures.arrived as f64 / 1e6;
        Report {
            options: run.plan.clone(),
            measured_seconds: seconds,
            interrupted: measured.interrupted,
            sent,
            expected,
            received: figures.received,
            lost: expected.saturating_sub(figures.received),
            duplicates: figures.duplicates,
            out_of_order: figures.out_of_order,
            unsent: run.flows.iter().map(|flow| flow.unsent()).sum(),
            refused: run.flows.iter().map(|flow| flow.refused()).sum(),
            foreign: figures.foreign,
            failed_connections: run.failed(),
            sent_per_second: per_second(sent),
            received_per_second: per_second(figures.arrived),
            received_payload_bytes_per_second: per_second(figures.arrived) * run.plan.size as f64,
            latency_microseconds: Latency::of(figures),
            bench_cpu_seconds: spent(measured, |times| times.own),
            process_cpu_seconds,
            process_cpu_seconds_per_million: process_cpu_seconds
                .filter(|_| millions > 0.0)
                .map(|seconds| seconds / millions),
        }
    }

    /// Writes one line of JSON.
    pub(crate) fn write_json(&self, output: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *output, self)?;
        writeln!(output)
    }

    /// Writes a table of names and figures.
    pub(crate) fn write_table(&self, output: &mut impl Write) -> io::Result<()> {
        for (name, figure) in self.rows() {
            writeln!(output, "{name:<16} {figure}")?;
        }
        Ok(())
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let counts = [
            ("sent", self.sent),
            ("received", self.received),
            ("lost", self.lost),
            ("duplicates", self.duplicates),
            ("out of order", self.out_of_order),
        ];
        let oddities = [
            ("not sent in time", self.unsent),
            ("refused", self.refused),
            ("foreign", self.foreign),
            ("broken", self.failed_connections),
        ];
        let mut rows: Vec<_> = counts.into_iter().map(|(name, count)| (name, count.to_string())).collect();
        rows.extend(
            oddities.into_iter().filter(|row| row.1 > 0).map(|(name, count)| (name, count.to_string())),
        );
        rows.push(("throughput", self.throughput()));
        rows.push(("latency", self.latency_microseconds.text()));
        rows.extend(self.bench_cpu_seconds.map(|seconds| ("CPU of bench", self.cpu(seconds))));
        rows.extend(self.process_cpu_seconds.map(|seconds| ("CPU of process", self.cpu(seconds))));
        rows
    }

    fn throughput(&self) -> String {
        format!(
            "{}/s sent, {}/s received, {}B/s payload received, over {:.1} s",
            quantity(self.sent_per_second),
            quantity(self.received_per_second),
            quantity(self.received_payload_bytes_per_second),
            self.measured_seconds,
        )
    }

    fn cpu(&self, seconds: f64) -> String {
        let deliveries = self.received_per_second * self.measured_seconds;
        match deliveries > 0.0 {
            true => format!("{seconds:.2} s, {:.3} s per million received", seconds / deliveries * 1e6),
            false => format!("{seconds:.2} s"),
        }
    }
}

/// The CPU time between beginning and end.
fn spent(measured: &Measured, which: impl Fn(&CpuTimes) -> Option<Duration>) -> Option<f64> {
    Some(which(&measured.cpu_after)?.saturating_sub(which(&measured.cpu_before)?).as_secs_f64())
}

impl Latency {
    fn of(figures: &Figures) -> Latency {
        let latency = &figures.latency;
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let quantile = |quantile| microseconds(latency.value_at_quantile(quantile));
        Latency {
            // Of an empty histogram both ends are 0.
            min: if latency.is_empty() { 0.0 } else { microseconds(latency.min()) },
            mean: latency.mean() / 1e3,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: microseconds(latency.max()),
        }
    }

    fn text(&self) -> String {
        let show = |microseconds: f64| time((microseconds * 1e3) as u64);
        format!(
            "min {}, p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            show(self.min),
            show(self.p50),
            show(self.p90),
            show(self.p99),
            show(self.p99_9),
            show(self.max),
        )
    }
}

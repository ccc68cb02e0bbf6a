//! `tidegate bench`: puts a broker under load and measures what comes out.
//!
//! A client of any MQTT broker, and of the STOMP topics of this gateway, over TCP or WebSocket; publishers may speak another protocol than
//! subscribers. It shares nothing with the gateway but the codecs, so what it measures is what other clients see. Latency counts from the moment at which a message was *due*, not from the moment at which
//! it could be written: a broker that stalls the load generator does not hide its stall (no coordinated omission).
//!
//! ```text
//! options ──► plan ──► control ──► worker (a thread with one runtime) ──► publisher ──┐
//!                         │                     │                         subscriber ─┤
//!                         │                     └─► pacer (open loop)                 ▼
//!                         └─► progress, report ◄── tally, flow ◄── ledger ◄── connection ──► dialect, socket ──► output, websocket
//! ```
//!
//! It does not speak TLS, and it keeps no session: a connection that breaks is counted and not opened again.

mod connection;
mod control;
mod cpu;
mod dialect;
mod failure;
mod flow;
mod header;
mod in_flight;
mod layout;
mod ledger;
mod options;
mod output;
mod pacer;
mod plan;
mod progress;
mod publisher;
mod report;
mod run;
mod schedule;
mod side;
mod socket;
mod subscriber;
mod tally;
mod websocket;
mod worker;

pub(crate) use options::BenchArgs;

use failure::Failure;
use plan::PlanError;
use report::Report;
use std::io;

/// Why a benchmark did not come to a good end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The options contradict each other or a limit.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No runtime or thread could be had.
    #[error("the load generator cannot start")]
    Start(#[source] io::Error),
    /// The histograms cannot be made.
    #[error("cannot make a histogram")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// Ctrl-C came before there was anything to measure.
    #[error("interrupted before all connections stood")]
    Interrupted,
    /// A connection did not come so far that it could be measured.
    #[error("{target}: {failure}")]
    NotReached {
        /// The broker's address.
        target: String,
        /// What happened to the first connection that failed.
        failure: Failure,
    },
    /// Connections broke while they were measured; the figures have been printed.
    #[error("{count} connections broke; the first one: {first}")]
    Broken {
        /// How many.
        count: u64,
        /// What happened to the first one.
        first: Failure,
    },
    /// The broker promised deliveries and did not make them; the figures have been printed.
    #[error("{lost} deliveries of QoS {qos} were lost")]
    Lost {
        /// Deliveries that are missing.
        lost: u64,
        /// The level, 1 or 2.
        qos: u8,
    },
    /// The figures could not be written.
    #[error("cannot write the figures to {target}")]
    Output {
        /// A file, or the standard output.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Runs the benchmark that `args` describe, prints its figures, and tells whether the broker kept its promises.
pub(crate) fn run(args: BenchArgs) -> Result<(), BenchError> {
    let plan = args.into_plan()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::Start)?;
    let (report, failures) = runtime.block_on(control::measure(plan.clone()))?;
    print(&plan, &report)?;
    if let Some(first) = failures.first {
        return Err(BenchError::Broken { count: failures.count, first });
    }
    match report.lost > 0 && plan.qos.number() > 0 {
        true => Err(BenchError::Lost { lost: report.lost, qos: plan.qos.number() }),
        false => Ok(()),
    }
}

/// The table for people, and the JSON where it was asked for; on the standard output only one of them.
fn print(plan: &plan::Plan, report: &Report) -> Result<(), BenchError> {
    let json_on_stdout = plan.json.as_deref() == Some("-");
    let (table_target, written) = match json_on_stdout {
        true => ("standard error", report.write_table(&mut io::stderr().lock())),
        false => ("standard output", report.write_table(&mut io::stdout().lock())),
    };
    let failed = |target: &str, source| BenchError::Output { target: target.to_owned(), source };
    written.map_err(|source| failed(table_target, source))?;
    match plan.json.as_deref() {
        None => Ok(()),
        Some("-") => {
            report.write_json(&mut io::stdout().lock()).map_err(|source| failed("standard output", source))
        }
        Some(path) => {
            let written = std::fs::File::create(path).and_then(|mut file| report.write_json(&mut file));
            written.map_err(|source| failed(path, source))
        }
    }
}

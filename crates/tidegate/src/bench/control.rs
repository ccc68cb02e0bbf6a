//! One run from beginning to end: open, warm up, measure, drain, close.

use super::cpu;
use super::failure::Failure;
use super::plan::Plan;
use super::progress::Progress;
use super::report::Report;
use super::run::{Addresses, Failures, Phase, Run};
use super::side::Side;
use super::tally::{Figures, histogram};
use super::{BenchError, worker};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// After this time without a delivery, messages under way are taken for lost.
const STALL: Duration = Duration::from_secs(2);
/// How long messages under way are waited for at the end, as long as some still arrive.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How often the end looks whether all have arrived.
const DRAIN_INTERVAL: Duration = Duration::from_millis(5);

/// CPU times at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CpuTimes {
    /// This process.
    pub(crate) own: Option<Duration>,
    /// The process that the plan names.
    pub(crate) other: Option<Duration>,
}

/// What was measured beside the figures of the subscribers.
#[derive(Debug)]
pub(crate) struct Measured {
    /// How long was really measured.
    pub(crate) time: Duration,
    /// CPU times at its beginning.
    pub(crate) cpu_before: CpuTimes,
    /// CPU times at its end.
    pub(crate) cpu_after: CpuTimes,
    /// Whether somebody ended it early.
    pub(crate) interrupted: bool,
}

/// Runs the plan. The report stands also where connections have failed.
pub(crate) async fn measure(plan: Plan) -> Result<(Report, Failures), BenchError> {
    let publish = resolve(&plan.publish).await?;
    let subscribe = resolve(&plan.subscribe).await?;
    let run = Arc::new(Run::new(plan, Addresses { publish, subscribe })?);
    let workers = start_workers(&run).inspect_err(|_| close(&run))?;
    let interrupts = tokio::spawn(note_interrupts(Arc::clone(&run)));
    let report = conduct(&run).await;
    close(&run);
    interrupts.abort();
    for worker in workers {
        // A worker ends with its connections, each of which has a time limit, and has told its failures already.
        let _ = worker.join();
    }
    Ok((report?, run.take_failures()))
}

fn start_workers(run: &Arc<Run>) -> Result<Vec<JoinHandle<()>>, BenchError> {
    let numbers = 0..run.tallies.len();
    numbers.map(|number| worker::start(Arc::clone(run), number).map_err(BenchError::Start)).collect()
}

fn close(run: &Run) {
    run.phase.send_replace(Phase::Closing);
}

async fn resolve(side: &Side) -> Result<SocketAddr, BenchError> {
    let found = tokio::net::lookup_host(&side.target).await;
    let first = found.and_then(|mut addresses| addresses.next().ok_or(io::ErrorKind::NotFound.into()));
    let target = || side.target.clone();
    first.map_err(|error| BenchError::NotReached { target: target(), failure: Failure::Connect(error) })
}

async fn conduct(run: &Run) -> Result<Report, BenchError> {
    opened(run).await?;
    run.begin();
    let measured = supervise(run).await?;
    tokio::select! {
        () = drained(run) => {}
        () = run.interrupt.notified() => {}
    }
    let mut figures = Figures::new()?;
    for tally in &run.tallies {
        figures.add(&tally.lock().figures);
    }
    Ok(Report::new(run, &figures, &measured))
}

/// Notes every Ctrl-C; ends where it cannot be caught, and then Ctrl-C ends the process.
async fn note_interrupts(run: Arc<Run>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        run.interrupt.notify_one();
    }
}

/// Waits until all connections are ready, or one has failed.
async fn opened(run: &Run) -> Result<(), BenchError> {
    while !run.is_ready() {
        if let Some(failure) = run.take_failures().first {
            return Err(BenchError::NotReached { target: run.plan.targets(), failure });
        }
        tokio::select! {
            () = run.changed.notified() => {}
            () = run.interrupt.notified() => return Err(BenchError::Interrupted),
        }
    }
    Ok(())
}

/// Watches over the second phase, until its end, Ctrl-C, or the end of the last connection.
async fn supervise(run: &Run) -> Result<Measured, BenchError> {
    let mut watch = Watch::new(run)?;
    let cpu = watch.cpu();
    let mut measured = Measured { time: Duration::ZERO, cpu_before: cpu, cpu_after: cpu, interrupted: false };
    let mut has_begun = false;
    while run.now() < run.end() {
        if !has_begun && run.now() >= run.measured_start() {
            has_begun = true;
            measured.cpu_before = watch.cpu();
        }
        let next = if has_begun { run.end() } else { run.measured_start() };
        tokio::select! {
            () = sleep_until(run.instant(next).into()) => {}
            () = sleep_until(watch.next_tick) => watch.tick(),
            () = run.changed.notified() => {
                if run.failed() >= u64::from(run.connections()) {
                    run.cut_short();
                }
            }
            () = run.interrupt.notified() => {
                measured.interrupted = true;
                run.cut_short();
            }
        }
    }
    measured.cpu_after = watch.cpu();
    measured.time = Duration::from_nanos(run.end().saturating_sub(run.measured_start()));
    Ok(measured)
}

/// What happens every second: a progress line, and a look for stalled windows.
struct Watch<'r> {
    run: &'r Run,
    next_tick: Instant,
    progress: Progress,
    latency: hdrhistogram::Histogram<u64>,
    /// The deliveries of each flow at the last look, and when that was.
    delivered: Vec<u64>,
    looked: Instant,
}

impl<'r> Watch<'r> {
    fn new(run: &'r Run) -> Result<Watch<'r>, BenchError> {
        Ok(Watch {
            run,
            next_tick: Instant::now() + Duration::from_secs(1),
            progress: Progress::default(),
            latency: histogram()?,
            delivered: vec![u64::MAX; run.flows.len()],
            looked: Instant::now(),
        })
    }

    fn cpu(&self) -> CpuTimes {
        CpuTimes { own: cpu::own(), other: self.run.plan.cpu_of.and_then(cpu::of_process) }
    }

    fn tick(&mut self) {
        self.next_tick += Duration::from_secs(1);
        if !self.run.plan.quiet {
            self.print();
        }
        if self.looked.elapsed() >= STALL {
            self.look();
        }
    }

    fn print(&mut self) {
        self.latency.reset();
        for tally in &self.run.tallies {
            tally.lock().take_interval(&mut self.latency);
        }
        let elapsed = Duration::from_nanos(self.run.now().saturating_sub(self.run.start()));
        let line = self.progress.line(
            elapsed,
            sum(self.run, |flow| flow.sent()),
            delivered(self.run),
            &self.latency,
        );
        // Nobody may be listening.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    fn look(&mut self) {
        self.looked = Instant::now();
        for (flow, before) in self.run.flows.iter().zip(&mut self.delivered) {
            flow.give_up_if_stalled(*before);
            *before = flow.delivered();
        }
    }
}

/// Waits until all that was sent has arrived, or nothing arrives any more.
async fn drained(run: &Run) {
    let begin = Instant::now();
    let (mut last, mut last_change) = (delivered(run), begin);
    while !is_drained(run) && begin.elapsed() < DRAIN_MAX && last_change.elapsed() < STALL {
        sleep(DRAIN_INTERVAL).await;
        let now = delivered(run);
        if now != last {
            (last, last_change) = (now, Instant::now());
        }
    }
}

fn is_drained(run: &Run) -> bool {
    let sends_on_time = run.plan.rate.is_some();
    run.flows.iter().all(|flow| (flow.is_finished() || !sends_on_time) && flow.delivered() >= flow.expected())
}

fn delivered(run: &Run) -> u64 {
    sum(run, |flow| flow.delivered())
}

fn sum(run: &Run, value: impl Fn(&super::flow::Flow) -> u64) -> u64 {
    run.flows.iter().map(value).sum()
}

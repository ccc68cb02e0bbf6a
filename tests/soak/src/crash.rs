//! A crash audit: the real gateway under real load is killed again and again, and every message that it had acknowledged has to arrive.
//!
//! ```text
//! round:  load ──kill──► restart ──load──kill──► … ──► drain ──► everything came, retained is right ──► seal
//! ```
//!
//! The seed determines what each client does and at which moments the gateway is killed, counted in what has happened and not in time; how
//! the machine interleaves it all, it does not determine. Everything runs on one thread beside the gateway's own process.

mod cast;
mod consumer;
mod ledger;
mod mqtt;
mod process;
mod publisher;
mod reader;
mod receiver;
mod scene;
mod sender;
mod talk;
mod testator;

use crate::gateway::GatewayError;
use crate::life::Life;
use crate::violations::{Kind, Violations};
use cast::Cast;
use ledger::{Ledger, Tally};
use process::{Gateway, ended, queued_messages, ready};
use scene::{Phase, Scene};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tidegate_testkit::random::Random;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

/// How long a drain may go on without anything happening.
const DRAIN_PATIENCE: Duration = Duration::from_secs(40);
/// A kill waits for a random number of things to happen, below this,
const TICKS_MAX: usize = 12_000;
/// but no longer than this, where little happens.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One audit.
#[derive(Debug, Clone)]
pub struct CrashOptions {
    /// The gateway's program.
    pub program: PathBuf,
    /// Where it keeps its things. Nothing may be there before.
    pub folder: PathBuf,
    /// Decides what each client does, and when the gateway is killed.
    pub seed: u64,
    /// Drains, each with a judgement.
    pub rounds: usize,
    /// Kills before each drain.
    pub kills: usize,
}

/// What an audit has to say at its end.
#[derive(Debug)]
pub struct CrashReport {
    seed: u64,
    ends: [u64; 4],
    elapsed: Duration,
    tally: Tally,
    violations: BTreeMap<Kind, u64>,
}

/// How a life of the gateway ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// In the middle of the load.
    UnderLoad,
    /// As soon as it is ready, or a moment later.
    AtOnce,
    /// Before it is ready, while it reads what the life before has left.
    InRecovery,
    /// It is asked to end, and does so itself.
    Asked,
}

/// Runs to the end and reports; `tell` gets progress and the first violations as they happen.
pub fn crash(options: &CrashOptions, tell: fn(&str)) -> Result<CrashReport, GatewayError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let start = |error| GatewayError::Start { program: "the event loop".into(), error };
    let runtime = runtime.map_err(start)?;
    let gateway = Gateway::new(&options.program, &options.folder)?;
    let mut random = Random::new(options.seed);
    let scene = Rc::new(Scene::new(Ledger::new(Violations::new(tell))));
    LocalSet::new().block_on(&runtime, async {
        let cast = Cast::gather(&scene, &mut random);
        let (ends, started) = ([0; 4], Instant::now());
        let start_time = Duration::from_millis(20);
        let mut audit = Audit { gateway, scene, cast, random, ends, start_time };
        audit.run(options, tell).await?;
        let mut ledger = audit.scene.ledger.borrow_mut();
        Ok(CrashReport {
            seed: options.seed,
            ends: audit.ends,
            elapsed: started.elapsed(),
            tally: ledger.tally(),
            violations: ledger.violations().counts().clone(),
        })
    })
}

struct Audit {
    gateway: Gateway,
    scene: Rc<Scene>,
    cast: Cast,
    random: Random,
    /// How many lives ended how.
    ends: [u64; 4],
    /// What the last start took.
    start_time: Duration,
}

impl Audit {
    async fn run(&mut self, options: &CrashOptions, tell: fn(&str)) -> Result<(), GatewayError> {
        let mut life = self.begin_life().await?;
        for round in 1..=options.rounds {
            self.scene.phase.set(Phase::Load);
            for _ in 0..options.kills {
                life = self.end_life(life, tell).await?;
            }
            self.await_load(Duration::MAX).await;
            self.scene.phase.set(Phase::Drain);
            self.drain().await;
            self.cast.judge_retained(&self.scene, &mut self.random).await;
            let mut ledger = self.scene.ledger.borrow_mut();
            ledger.judge_round();
            let Tally { published, acknowledged, kept, .. } = ledger.tally();
            tell(&format!(
                "round {round}: {published} published, {acknowledged} acknowledged, {kept} owed and came"
            ));
        }
        self.scene.phase.set(Phase::Over);
        self.kill(life);
        Ok(())
    }

    async fn begin_life(&mut self) -> Result<Life, GatewayError> {
        let started = Instant::now();
        let mut life = self.gateway.start()?;
        let ports = ready(&mut life).await?;
        self.start_time = started.elapsed();
        self.scene.life.set(self.scene.life.get() + 1);
        self.scene.ports.set(Some(ports));
        Ok(life)
    }

    /// Ends a life in one of the ways, and begins the next one.
    async fn end_life(&mut self, mut life: Life, tell: fn(&str)) -> Result<Life, GatewayError> {
        let end = match self.random.below(10) {
            0..6 => End::UnderLoad,
            6 => End::AtOnce,
            7..9 => End::InRecovery,
            _ => End::Asked,
        };
        self.ends[end as usize] += 1;
        match end {
            End::AtOnce => sleep(Duration::from_millis(self.random.below(15) as u64)).await,
            _ => self.await_load(KILL_PATIENCE).await,
        }
        let (number, tick) = (self.scene.life.get(), self.scene.ledger.borrow().tick());
        tell(&format!("life {number} ends at tick {tick}: {end:?}"));
        if matches!(end, End::Asked) {
            self.close();
            ended(&mut life).await;
        }
        self.kill(life);
        if matches!(end, End::InRecovery) {
            let life = self.gateway.start()?;
            let microseconds = self.start_time.as_micros() as usize;
            sleep(Duration::from_micros(self.random.below(microseconds) as u64)).await;
            self.kill(life);
        }
        self.begin_life().await
    }

    /// Whatever ends from now on ends because of us.
    fn close(&self) {
        self.scene.ports.set(None);
        self.scene.ledger.borrow_mut().killing();
    }

    fn kill(&self, life: Life) {
        self.close();
        for complaint in life.kill() {
            self.scene.accuse(Kind::Protocol, || complaint);
        }
    }

    /// Waits until a random number of things have happened.
    async fn await_load(&mut self, patience: Duration) {
        let wanted = self.scene.ledger.borrow().tick() + 1 + self.random.below(TICKS_MAX) as u64;
        let started = Instant::now();
        while self.scene.ledger.borrow().tick() < wanted && started.elapsed() < patience.min(DRAIN_PATIENCE) {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until nothing is owed and the gateway says so, too, and then until what comes for the second time has come; gives up when
    /// nothing has happened for a while.
    async fn drain(&self) {
        let (mut last, mut since, mut is_raised) = (self.scene.describe(), Instant::now(), false);
        loop {
            let queued = match (self.scene.is_settled(), self.scene.ports.get()) {
                (true, Some(ports)) => queued_messages(ports).await,
                _ => None,
            };
            if queued == Some(0) && self.scene.is_settled() {
                if is_raised && self.scene.passed.get() == self.scene.receivers.get() {
                    return;
                }
                if !is_raised {
                    self.scene.raise_barrier();
                    is_raised = true;
                }
            }
            let now = self.scene.describe();
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > DRAIN_PATIENCE {
                let told = || format!("the drain stands still: {now}, the gateway has {queued:?} queued");
                return self.scene.accuse(Kind::Silence, told);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl CrashReport {
    /// How many rules were broken.
    pub fn violation_count(&self) -> u64 {
        self.violations.values().sum()
    }

    /// How many wills had to be published, and how many must not be.
    pub fn will_counts(&self) -> (u64, u64) {
        (self.tally.wills, self.tally.withdrawn)
    }

    /// How many deliveries were owed, and came. An audit in which that is nothing has proven nothing.
    pub fn kept_count(&self) -> u64 {
        self.tally.kept
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { published, acknowledged, again, kept, repeated, batches, wills, withdrawn } = self.tally;
        let [under_load, at_once, in_recovery, asked] = self.ends;
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            formatter,
            "seed {} in {seconds:.1} s: killed {under_load} times under load, {at_once} times when just ready, {in_recovery} times in \
             recovery, asked to end {asked} times",
            self.seed
        )?;
        writeln!(
            formatter,
            "published {published}, acknowledged {acknowledged}, sent again {again}, transactions cut off {batches}"
        )?;
        writeln!(
            formatter,
            "owed and came {kept}, came again {repeated}; wills left behind {wills}, withdrawn {withdrawn}"
        )?;
        match self.violations.is_empty() {
            true => write!(formatter, "violations: none"),
            false => write!(formatter, "violations: {:?}", self.violations),
        }
    }
}

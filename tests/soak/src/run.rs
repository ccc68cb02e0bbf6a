//! A run: rounds of churn, drain and leaving, and what the gateway says of itself in between.

use crate::auditor::Auditor;
use crate::device::Device;
use crate::gateway::{Gateway, GatewayError, Gauges};
use crate::options::Options;
use crate::report::Report;
use crate::roster::{Connections, Phase, Roster, Standing};
use crate::service::Service;
use crate::violations::{Kind, Violations};
use crate::world::World;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tidegate_testkit::random::Random;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

/// How long a drain may go on without anything that is owed arriving.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);
/// How long the gauges may take to show what is true.
const GAUGE_PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Rounds after which memory is expected not to grow any more.
const WARM_ROUNDS: usize = 3;
/// Memory that it may grow by in spite of that.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// Runs to the end and reports; `tell` gets progress and the first violations as they happen.
pub fn run(options: &Options, tell: fn(&str)) -> Result<Report, GatewayError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let start = |error| GatewayError::Start { program: "the event loop".into(), error };
    let runtime = runtime.map_err(start)?;
    let gateway = Gateway::open(&options.gateway)?;
    LocalSet::new().block_on(&runtime, Soak::new(options, gateway, tell).run())
}

struct Soak<'a> {
    options: &'a Options,
    gateway: Gateway,
    roster: Rc<Roster>,
    phase: watch::Sender<Phase>,
    tell: fn(&str),
    started: Instant,
    resident_bytes: Vec<u64>,
    /// Ctrl-C ends the churn; the round is finished and reported.
    is_interrupted: bool,
}

impl<'a> Soak<'a> {
    fn new(options: &'a Options, gateway: Gateway, tell: fn(&str)) -> Soak<'a> {
        let clients = options.devices + options.services;
        let world = Rc::new(World::new(clients));
        let (phase, phases) = watch::channel(Phase::Leave);
        let roster = Rc::new(Roster {
            auditor: RefCell::new(Auditor::new(world.clone(), Violations::new(tell))),
            world,
            mqtt: gateway.mqtt,
            may_share: options.may_share,
            pace_milliseconds: options.pace.as_millis().max(1) as usize,
            phases,
            standings: (0..clients).map(|_| Cell::new(Standing::Quiet)).collect(),
            connections: Connections::default(),
        });
        let (started, resident_bytes) = (Instant::now(), Vec::new());
        Soak { options, gateway, roster, phase, tell, started, resident_bytes, is_interrupted: false }
    }

    async fn run(mut self) -> Result<Report, GatewayError> {
        self.populate();
        let mut churned = Duration::ZERO;
        let mut rounds = 0;
        while churned < self.options.duration && !self.is_interrupted {
            let length = self.options.round.min(self.options.duration - churned);
            self.round(rounds, length).await;
            churned += length;
            rounds += 1;
        }
        let gauges = self.gateway.gauges().await;
        self.judge_memory();
        let (counts, auditor) = (&self.roster.connections, &mut *self.roster.auditor.borrow_mut());
        let ended = [0, 1, 2].map(|how: usize| counts.ended[how].get());
        Ok(Report {
            seed: self.options.seed,
            rounds,
            elapsed: self.started.elapsed(),
            tally: auditor.tally(),
            connections: (counts.opened.get(), counts.resumed.get(), ended),
            resident_bytes: self.resident_bytes,
            gauges,
            violations: auditor.violations().counts().clone(),
        })
    }

    fn populate(&self) {
        let mut seeds = Random::new(self.options.seed);
        for number in 0..self.options.devices {
            spawn_local(Device::new(self.roster.clone(), number, Random::new(seeds.bits())).live());
        }
        for number in self.options.devices..self.roster.standings.len() {
            let random = Random::new(seeds.bits());
            if let Some(address) = self.gateway.stomp {
                spawn_local(Service::new(self.roster.clone(), address, number, random).live());
            }
        }
    }

    async fn round(&mut self, number: usize, length: Duration) {
        self.enter(Phase::Churn);
        tokio::select! {
            () = sleep(length) => {}
            _ = tokio::signal::ctrl_c() => self.is_interrupted = true,
        }
        self.enter(Phase::Drain);
        self.drain().await;
        let busy = self.roster.open_connections();
        self.expect_gauges("after the drain", |gauges, auditor| {
            let counted = (gauges.connections, gauges.subscriptions);
            counted == (busy, auditor.subscription_count() as u64) && gauges.queued_messages == 0
        })
        .await;
        self.roster.auditor.borrow_mut().finish_round();
        self.enter(Phase::Leave);
        self.settle("leave", |roster| roster.is_quiet()).await;
        let empty = Gauges::default();
        let gauges = self
            .expect_gauges("when everybody has left", |gauges, _| {
                let empty = Gauges {
                    resident_bytes: gauges.resident_bytes,
                    open_files: gauges.open_files,
                    dropped_full: gauges.dropped_full,
                    ..empty
                };
                *gauges == empty
            })
            .await;
        self.roster.auditor.borrow_mut().forget_round();
        self.resident_bytes.extend(gauges.map(|gauges| gauges.resident_bytes));
        self.look_at_gateway();
        let tally = self.roster.auditor.borrow().tally();
        let mebibytes = gauges.map_or(0, |gauges| gauges.resident_bytes >> 20);
        (self.tell)(&format!(
            "round {}: {} connections, {} published, {} owed and arrived, gateway at {mebibytes} MiB",
            number + 1,
            self.roster.connections.opened.get(),
            tally.published.iter().sum::<u64>(),
            tally.kept
        ));
    }

    /// Everybody is told at once, and counts as busy until it says otherwise.
    fn enter(&self, phase: Phase) {
        self.roster.standings.iter().for_each(|standing| standing.set(Standing::Busy));
        self.phase.send_replace(phase);
    }

    /// Waits until nothing is owed and everybody is quiet; gives up when nothing has changed for a while.
    async fn drain(&self) {
        self.settle("drain", |roster| roster.is_quiet() && roster.auditor.borrow().owed() == 0).await;
    }

    async fn settle(&self, what: &str, is_settled: impl Fn(&Roster) -> bool) {
        let state = |roster: &Roster| (roster.busy_count(), roster.auditor.borrow().owed());
        let (mut last, mut since) = (state(&self.roster), Instant::now());
        while !is_settled(&self.roster) {
            sleep(LOOK_EVERY).await;
            let now = state(&self.roster);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > DRAIN_PATIENCE {
                let (busy, owed) = now;
                let told = || format!("{what}: {busy} clients are not done, {owed} deliveries are owed");
                return self.roster.auditor.borrow_mut().violations().add(Kind::Silence, told);
            }
        }
    }

    /// Waits until the gauges are as they should be; a violation where they do not become so.
    async fn expect_gauges(
        &self,
        when: &str,
        is_right: impl Fn(&Gauges, &Auditor) -> bool,
    ) -> Option<Gauges> {
        let since = Instant::now();
        loop {
            let gauges = self.gateway.gauges().await?;
            if is_right(&gauges, &self.roster.auditor.borrow()) {
                return Some(gauges);
            }
            if since.elapsed() > GAUGE_PATIENCE {
                self.accuse_gauges(when, &gauges);
                return Some(gauges);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn accuse_gauges(&self, when: &str, gauges: &Gauges) {
        let (open, mut auditor) = (self.roster.open_connections(), self.roster.auditor.borrow_mut());
        let (sessions, subscriptions) = (auditor.session_count(), auditor.subscription_count());
        auditor.violations().add(Kind::Gauge, || {
            format!(
                "{when} the gateway has {gauges:?}; the clients have {open} connections, {sessions} sessions and \
                 {subscriptions} subscriptions"
            )
        });
    }

    fn look_at_gateway(&mut self) {
        for complaint in self.gateway.complaints() {
            self.roster.auditor.borrow_mut().violations().add(Kind::Disconnected, || complaint);
        }
    }

    /// Rounds are alike, so what memory the first ones needed is enough for all.
    fn judge_memory(&self) {
        let warm = self.resident_bytes.iter().take(WARM_ROUNDS).max();
        let (Some(warm), Some(last)) = (warm, self.resident_bytes.iter().skip(WARM_ROUNDS).next_back())
        else {
            return;
        };
        if *last > warm + warm / 5 + GROWTH_BYTES_MAX {
            let told = || format!("{last} bytes at the end, {warm} after the first rounds");
            self.roster.auditor.borrow_mut().violations().add(Kind::Memory, told);
        }
    }
}

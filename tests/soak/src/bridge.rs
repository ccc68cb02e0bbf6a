//! A fault audit of bridges: devices and an upstream publish under load while the link between the gateway and the upstream is cut, stalled,
//! slowed, reset in the midst of frames and swallows confirms, the gateway is killed and the upstream is restarted.
//!
//! ```text
//!  devices ──► ┌─────────┐     ┌───────┐     ┌──────────┐ ──► inbox
//!              │  edge   │ ──► │ proxy │ ──► │ upstream │
//!    panel ◄── └────▲────┘     └───▲───┘     └────▲─────┘ ◄── outbox
//!                SIGKILL         faults         restarts
//! ```
//!
//! What was acknowledged to a device arrives at the upstream, and what the upstream has confirmed to its publisher arrives at a subscriber
//! with a session behind the gateway; in order per topic. What comes again at the upstream carries the id that it had, and what has an id when it
//! comes from there does not come again to a subscriber over one connection. The seed determines what each client does, which faults come in
//! which order, and when the gateway is killed, counted in what has happened; how the machine interleaves it all, it does not determine.
//!
//! Everybody is a thread of its own and waits for the one [`scene`].

mod client;
mod device;
mod edge;
mod ledger;
mod mosquitto;
mod report;
mod scene;
mod upstream;
mod watchers;

use crate::auditor::StreamId;
use crate::gateway::GatewayError;
use crate::violations::{Kind, Violations};
use client::{Client, Session};
use device::{Device, Tongue};
use edge::{Edge, Gateway, MosquittoEdge};
use ledger::{Ledger, Repeats, Way};
use scene::{Phase, Scene, State};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate_mqtt::codec::Version;
use tidegate_testkit::proxy::{FaultPlan, Proxy};
use tidegate_testkit::random::Random;
use watchers::Commander;

pub use mosquitto::Mosquitto;
pub use report::BridgeReport;
pub use upstream::{Arrival, Inbox, Letter, Outbox, Upstream};

const TONGUES: [Tongue; 6] = [
    Tongue::Mqtt(Version::V5),
    Tongue::Stomp,
    Tongue::Mqtt(Version::V3),
    Tongue::Mqtt(Version::V5),
    Tongue::Stomp,
    Tongue::Mqtt(Version::V3),
];
const TOPICS_OF_A_DEVICE: usize = 3;
/// A kill waits for a random number of things to happen, below this,
const TICKS_MAX: usize = 3000;
/// but no longer than this, where little happens.
const KILL_PATIENCE: Duration = Duration::from_secs(3);
/// How long a drain may go on without anything happening.
const DRAIN_PATIENCE: Duration = Duration::from_secs(40);
/// A fault comes within so many bytes, or after this time.
const FAULT_BYTES_MAX: usize = 48 << 10;
const FAULT_PATIENCE: Duration = Duration::from_millis(300);

/// One audit.
#[derive(Debug, Clone)]
pub struct BridgeFaults {
    /// The gateway's program.
    pub program: PathBuf,
    /// Where it keeps its things. Nothing may be there before.
    pub folder: PathBuf,
    /// Decides what each client does, what goes wrong, and when the gateway is killed.
    pub seed: u64,
    /// Drains, each with a judgement.
    pub rounds: usize,
    /// Kills before each drain. The upstream is restarted before one of them.
    pub kills: usize,
}

/// Runs to the end and reports; `tell` gets progress and the first violations as they happen.
pub fn bridge_faults(
    options: &BridgeFaults,
    upstream: &dyn Upstream,
    tell: fn(&str),
) -> Result<BridgeReport, GatewayError> {
    let link = upstream.link();
    let bridge = upstream.bridge(link.as_ref().map_or(upstream.address(), |link| link.address()));
    let mut edge = Gateway::new(&options.program, &options.folder, &bridge)?;
    audit(options, upstream, link.as_deref(), &mut edge, tell)
}

/// The same with a Mosquitto in place of the gateway, whose own bridge leads to the other one.
pub fn mosquitto_bridge_faults(
    options: &BridgeFaults,
    upstream: &Mosquitto,
    tell: fn(&str),
) -> Result<BridgeReport, GatewayError> {
    let proxy = Proxy::start(upstream.address());
    audit(options, upstream, Some(&proxy), &mut MosquittoEdge::new(proxy.address()), tell)
}

fn audit(
    options: &BridgeFaults,
    upstream: &dyn Upstream,
    link: Option<&Proxy>,
    edge: &mut dyn Edge,
    tell: fn(&str),
) -> Result<BridgeReport, GatewayError> {
    let (started, mut random) = (Instant::now(), Random::new(options.seed));
    let scene = &Scene::new(Ledger::new(Violations::new(tell)));
    let faults = &AtomicU64::new(0);
    let mut director = Director { scene, upstream, edge, tell, kills: 0, kills_in_recovery: 0, restarts: 0 };
    std::thread::scope(|threads| {
        // However this ends, everybody goes home.
        let _curtain = Curtain(scene);
        threads.spawn(|| watchers::follow_upstream(scene, upstream));
        threads.spawn(|| watchers::follow_edge(scene));
        director.begin()?;
        director.warm_up();
        let has_ids = director.edge.has_ids();
        for device in devices(scene, has_ids, &mut random) {
            threads.spawn(|| device.live(scene));
        }
        for commander in commanders(scene, has_ids, &mut random) {
            threads.spawn(|| commander.live(scene, upstream));
        }
        let plan = FaultPlan::seeded(random.bits()).within(FAULT_BYTES_MAX, upstream.fault_lasts_max());
        if let Some(link) = link {
            threads.spawn(|| make_trouble(scene, link, plan, faults));
        }
        director.run(options, &mut random)
    })?;
    let Director { kills, kills_in_recovery, restarts, .. } = director;
    Ok(scene.with(|state| BridgeReport {
        seed: options.seed,
        elapsed: started.elapsed(),
        kills,
        kills_in_recovery,
        restarts,
        faults: faults.load(Ordering::Relaxed),
        tallies: [state.ledger.tally(Way::Out), state.ledger.tally(Way::In)],
        violations: state.ledger.violations.counts().clone(),
    }))
}

/// Ends the audit for everybody when it is dropped.
struct Curtain<'a>(&'a Scene);

impl Drop for Curtain<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.phase = Phase::Over);
    }
}

fn devices(scene: &Scene, gives_ids: bool, random: &mut Random) -> Vec<Device> {
    let repeats = if gives_ids { Repeats::Marked } else { Repeats::Unmarked };
    let mut all = Vec::new();
    for (number, tongue) in TONGUES.into_iter().enumerate() {
        let name = format!("device-{number}");
        let streams = (0..TOPICS_OF_A_DEVICE).map(|number| {
            let topic = format!("telemetry/{name}/{number}");
            let stream = scene.with(|state| state.ledger.stream(&topic, Way::Out, repeats));
            (topic, stream)
        });
        let streams = streams.collect();
        all.push(Device { name, tongue, random: Random::new(random.bits()), streams });
    }
    all
}

/// One of them publishes with ids as a gateway does, by which a gateway recognises what it has had, and one without.
fn commanders(scene: &Scene, knows_ids: bool, random: &mut Random) -> Vec<Commander> {
    let commander = |has_id: bool| {
        let repeats = if has_id && knows_ids { Repeats::Never } else { Repeats::Unmarked };
        let streams = (0..2).map(|number| {
            let topic = format!("commands/{has_id}/{number}");
            let stream = scene.with(|state| state.ledger.stream(&topic, Way::In, repeats));
            (topic, stream, has_id)
        });
        Commander { streams: streams.collect(), random: Random::new(random.bits()) }
    };
    [true, false].map(commander).into()
}

/// Has one fault after the other come over the link while everybody publishes.
fn make_trouble(scene: &Scene, link: &Proxy, plan: FaultPlan, faults: &AtomicU64) {
    for step in plan {
        let is_time =
            scene.wait(Duration::MAX / 4, |state| (state.phase != Phase::Drain).then_some(state.phase));
        if is_time == Some(Phase::Over) {
            return;
        }
        link.suffer(&step, FAULT_PATIENCE);
        faults.fetch_add(1, Ordering::Relaxed);
    }
}

/// Who says when the edge is killed, when the upstream is restarted and when everything has to have arrived.
struct Director<'a> {
    scene: &'a Scene,
    upstream: &'a dyn Upstream,
    edge: &'a mut dyn Edge,
    tell: fn(&str),
    kills: u64,
    kills_in_recovery: u64,
    restarts: u64,
}

impl Director<'_> {
    fn begin(&mut self) -> Result<(), GatewayError> {
        let doors = self.edge.begin()?;
        self.scene.with(|state| state.doors = Some(doors));
        Ok(())
    }

    fn kill(&mut self) {
        let complaints = self.edge.kill();
        self.scene.with(|state| state.doors = None);
        for complaint in complaints {
            self.scene.accuse(Kind::Protocol, || complaint);
        }
    }

    /// Until the bridge stands in both directions nobody owes anything.
    fn warm_up(&self) {
        let stream =
            |topic: &str, way| self.scene.with(|state| state.ledger.stream(topic, way, Repeats::Unmarked));
        let (out, back) = (stream("telemetry/first", Way::Out), stream("commands/first", Way::In));
        let mut outbox = self.upstream.outbox();
        let deadline = Instant::now() + DRAIN_PATIENCE;
        let is_missing = |stream: StreamId| !self.scene.with(|state| state.ledger.has_seen(stream));
        while (is_missing(out) || is_missing(back)) && Instant::now() < deadline {
            if is_missing(out)
                && let Some(doors) = self.scene.await_doors()
                && let Ok(mut client) = Client::connect(doors.mqtt, Version::V5, "first", Session::Dropped)
            {
                let stamp = self.scene.with(|state| state.ledger.publishing(out));
                let _unproven = client.publish("telemetry/first", &stamp.payload(0), None);
            }
            if is_missing(back) {
                let stamp = self.scene.with(|state| state.ledger.publishing(back));
                let payload = stamp.payload(0);
                outbox.publish(&Letter { topic: "commands/first", payload: &payload, id: None });
            }
            self.scene.wait(FAULT_PATIENCE, |state| {
                (state.ledger.has_seen(out) && state.ledger.has_seen(back)).then_some(())
            });
        }
    }

    fn run(&mut self, options: &BridgeFaults, random: &mut Random) -> Result<(), GatewayError> {
        for round in 1..=options.rounds {
            self.scene.with(|state| state.phase = Phase::Load);
            let restarted_at = random.below(options.kills);
            for number in 0..options.kills {
                match number == restarted_at {
                    true => self.end_life_in_an_outage(random)?,
                    false => self.end_life(random)?,
                }
            }
            self.await_load(random);
            self.scene.with(|state| state.phase = Phase::Drain);
            self.drain();
            self.tell_of(round);
        }
        self.scene.with(|state| state.phase = Phase::Over);
        self.kill();
        Ok(())
    }

    /// Kills the edge in the midst of the load, and begins its next life.
    fn end_life(&mut self, random: &mut Random) -> Result<(), GatewayError> {
        self.await_load(random);
        self.kill();
        self.kills += 1;
        while random.one_in(3) {
            self.kills_in_recovery += 1;
            self.edge.begin_in_vain(Duration::from_micros(random.below(60_000) as u64))?;
        }
        self.begin()
    }

    fn end_life_in_an_outage(&mut self, random: &mut Random) -> Result<(), GatewayError> {
        let upstream = self.upstream;
        if !upstream.is_restarted() {
            return self.end_life(random);
        }
        self.restarts += 1;
        std::thread::scope(|threads| {
            threads.spawn(|| upstream.restart());
            self.end_life(random)
        })
    }

    /// Waits until a random number of things have happened.
    fn await_load(&self, random: &mut Random) {
        let wanted = self.scene.with(|state| state.ledger.ticks) + 1 + random.below(TICKS_MAX) as u64;
        self.scene.wait(KILL_PATIENCE, |state| (state.ledger.ticks >= wanted).then_some(()));
    }

    /// Waits until nothing is owed; what has not come when nothing has happened for long does not come any more.
    fn drain(&self) {
        let left = |state: &State| state.under_way + state.ledger.owed();
        let mut before = self.scene.with(|state| left(state));
        while before > 0 {
            let now = self.scene.wait(DRAIN_PATIENCE, |state| (left(state) < before).then_some(left(state)));
            match now {
                Some(now) => before = now,
                None => break,
            }
        }
        self.scene.with(|state| state.ledger.write_off());
    }

    fn tell_of(&self, round: usize) {
        let [out, back] =
            self.scene.with(|state| [state.ledger.tally(Way::Out), state.ledger.tally(Way::In)]);
        (self.tell)(&format!(
            "round {round}: {} and {} acknowledged, {} and {} came again",
            out.acknowledged, back.acknowledged, out.repeated, back.repeated
        ));
    }
}

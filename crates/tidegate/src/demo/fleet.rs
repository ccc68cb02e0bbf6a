//! All simulated devices, on a thread and a runtime of their own: the gateway's workers do not share a turn with them.

use super::device::{Device, Place};
use super::kind::AREAS;
use super::machine::Machine;
use super::random::Random;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How often readings that are due are published.
const BEAT: Duration = Duration::from_millis(10);

/// After a pause the fleet goes on from here, instead of making good for all of it in one burst.
const CATCH_UP_SECONDS_MAX: f64 = 0.25;

/// Between two devices that connect at the start.
const CONNECT_APART: Duration = Duration::from_millis(2);

/// Machines of an area that stand at one line.
const LINE_LENGTH: usize = 10;

/// What the fleet is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FleetPlan {
    pub(crate) devices: u32,
    /// Messages per second.
    pub(crate) rate: u32,
    /// Devices that lose their connection per minute.
    pub(crate) losses: u32,
    /// The MQTT listener.
    pub(crate) gateway: SocketAddr,
}

/// A fleet that runs.
pub(crate) struct Fleet {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Fleet {
    /// Starts the thread; devices connect one after the other.
    pub(crate) fn start(plan: FleetPlan) -> io::Result<Fleet> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || run(&runtime, plan, stopped);
        let thread = std::thread::Builder::new().name("devices".to_owned()).spawn(run)?;
        Ok(Fleet { stop, thread })
    }

    /// Ends every connection. Nobody is left to see the wills: the gateway ends next.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the simulated devices ended in a panic");
        }
    }
}

fn run(runtime: &Runtime, plan: FleetPlan, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        let devices = devices(plan.devices, Instant::now());
        for (number, device) in (0_u32..).zip(&devices) {
            let device = device.clone();
            tokio::spawn(async move {
                sleep(CONNECT_APART * number).await;
                device.stay(plan.gateway).await
            });
        }
        tokio::select! {
            () = pace(&devices, plan) => {}
            _ = stopped => {}
        }
    });
}

/// The plant: areas in turn, in each of them its kinds in turn.
fn devices(count: u32, started: Instant) -> Vec<Arc<Device>> {
    let numbers = 0..count as usize;
    let device = |number: usize| {
        let area = AREAS.get(number % AREAS.len())?;
        let in_area = number / AREAS.len();
        let kind = area.kinds.get(in_area % area.kinds.len())?;
        let name = format!("{}-{:02}", kind.name, in_area / area.kinds.len() + 1);
        let place = Place { area: area.name, name, line: in_area / LINE_LENGTH + 1 };
        let seed = number as u64;
        Some(Arc::new(Device::new(place, Machine::new(kind, seed), started, seed)))
    };
    numbers.filter_map(device).collect()
}

/// Which reading comes next: one of every device in turn, then the next metric of every device.
struct Turns {
    order: Vec<usize>,
    position: usize,
    round: usize,
}

impl Turns {
    /// In an order that shows no pattern on a page.
    fn new(devices: usize, random: &mut Random) -> Turns {
        let mut order: Vec<usize> = (0..devices).collect();
        for last in (1..devices).rev() {
            order.swap(last, random.below(last + 1));
        }
        Turns { order, position: 0, round: 0 }
    }

    /// The next device's position, and how many rounds there were before.
    fn next(&mut self) -> (usize, usize) {
        if self.position >= self.order.len() {
            (self.position, self.round) = (0, self.round + 1);
        }
        let device = self.order.get(self.position).copied().unwrap_or_default();
        self.position += 1;
        (device, self.round)
    }
}

/// Publishes readings at the plan's rate and cuts links at the plan's rate, for ever.
async fn pace(devices: &[Arc<Device>], plan: FleetPlan) {
    let mut random = Random::new(plan.devices.into());
    let mut turns = Turns::new(devices.len(), &mut random);
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut due) = (beats.tick().await, 0.0);
    loop {
        let now = beats.tick().await;
        let seconds = (now - last).as_secs_f64().min(CATCH_UP_SECONDS_MAX);
        last = now;
        due += seconds * f64::from(plan.rate);
        while due >= 1.0 {
            due -= 1.0;
            let (position, round) = turns.next();
            if let Some(device) = devices.get(position) {
                device.publish_reading(round % device.metrics().max(1));
            }
        }
        if random.happens(seconds * f64::from(plan.losses) / 60.0)
            && let Some(device) = devices.get(random.below(devices.len()))
        {
            device.lose_link();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every device has its turn in every round.
    #[test]
    fn turns_are_fair() {
        let mut turns = Turns::new(7, &mut Random::new(3));
        for round in 0..3 {
            let mut seen: Vec<usize> = (0..7)
                .map(|_| {
                    let (device, in_round) = turns.next();
                    assert_eq!(in_round, round);
                    device
                })
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..7).collect::<Vec<_>>());
        }
    }
}

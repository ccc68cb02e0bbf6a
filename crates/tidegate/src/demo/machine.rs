//! One machine of the plant: what its sensors read as time goes by.
//!
//! Everything follows one load, which swings with the plant's day and wanders by itself; each metric goes after it with a lag of its own
//! and a little noise. Now and then a fault grows for minutes, until it is repaired. No clock, no socket: `now` is passed.

use super::kind::{Kind, Metric};
use super::random::Random;
use serde_json::{Value, json};
use std::f64::consts::TAU;
use std::time::Duration;

/// The plant's day: short, so that somebody who watches for a while sees the shifts.
const DAY: Duration = Duration::from_secs(600);

/// How long a machine runs well, on average, before a fault begins.
const FAULTLESS_SECONDS: f64 = 4500.0;

/// How long a fault grows, and how long it lasts before somebody repairs the machine.
const FAULT_GROWS_SECONDS: f64 = 80.0;
const FAULT_LASTS_SECONDS: f64 = 200.0;

/// How strongly the load returns to where the time of day wants it, and how strongly it wanders, per second.
const LOAD_RETURNS: f64 = 0.05;
const LOAD_WANDERS: f64 = 0.045;

/// A machine's state.
#[derive(Debug)]
pub(crate) struct Machine {
    kind: &'static Kind,
    random: Random,
    /// Between 0 (idle) and 1 (full).
    load: f64,
    /// Where in its day the machine is ahead of others, as a part of the day.
    phase: f64,
    /// For how many seconds there has been a fault.
    fault_seconds: Option<f64>,
    /// One a metric, in the kind's order, without noise.
    values: Vec<f64>,
    /// The time since the start at which the state was true.
    advanced: Duration,
}

impl Machine {
    /// A machine in the middle of its work; one in thirty has a fault already.
    pub(crate) fn new(kind: &'static Kind, seed: u64) -> Machine {
        let mut random = Random::new(seed);
        let fault_seconds =
            random.happens(1.0 / 30.0).then(|| random.between(10.0, FAULT_LASTS_SECONDS - 60.0));
        let (load, phase) = (random.between(0.2, 0.8), random.between(0.0, 0.3));
        let mut machine = Machine {
            kind,
            random,
            load,
            phase,
            fault_seconds,
            values: Vec::new(),
            advanced: Duration::ZERO,
        };
        machine.values = kind.metrics.iter().map(|metric| machine.goal(metric)).collect();
        machine
    }

    /// What it measures.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        self.kind.metrics
    }

    /// What the metric of this number reads at `now`, the time since the start; `None` where there is no such metric.
    pub(crate) fn read(&mut self, number: usize, now: Duration) -> Option<f64> {
        self.advance(now);
        let metric = self.kind.metrics.get(number)?;
        let noise = metric.noise * self.random.normal();
        self.values.get(number).map(|value| value + noise)
    }

    /// Ends a fault, as a command asks for.
    pub(crate) fn repair(&mut self) -> bool {
        self.fault_seconds.take().is_some()
    }

    /// What the machine says of itself when it is asked.
    pub(crate) fn report(&self) -> Value {
        json!({
            "kind": self.kind.name,
            "load": (self.load * 100.0).round() / 100.0,
            "fault": self.fault_seconds.is_some(),
            "running_seconds": self.advanced.as_secs(),
        })
    }

    /// What somebody who sees only topics needs to know: the kind, and the limits of each metric.
    pub(crate) fn description(&self, line: usize) -> Value {
        let limits = |metric: &Metric| json!({ "name": metric.name, "warning": metric.warning, "alarm": metric.alarm });
        let metrics: Vec<Value> = self.kind.metrics.iter().map(limits).collect();
        json!({ "kind": self.kind.name, "line": line, "metrics": metrics })
    }

    fn advance(&mut self, now: Duration) {
        let seconds = now.saturating_sub(self.advanced).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        self.advanced = now;
        self.wander(now, seconds);
        self.age(seconds);
        for (number, metric) in self.kind.metrics.iter().enumerate() {
            let goal = self.goal(metric);
            if let Some(value) = self.values.get_mut(number) {
                *value += (goal - *value) * (1.0 - (-seconds / metric.lag_seconds).exp());
            }
        }
    }

    fn wander(&mut self, now: Duration, seconds: f64) {
        let time_of_day = now.as_secs_f64() / DAY.as_secs_f64() + self.phase;
        let wanted = 0.5 + 0.28 * (TAU * time_of_day).sin();
        self.load += (wanted - self.load) * (1.0 - (-seconds * LOAD_RETURNS).exp());
        self.load += LOAD_WANDERS * seconds.min(60.0).sqrt() * self.random.normal();
        self.load = self.load.clamp(0.0, 1.0);
    }

    fn age(&mut self, seconds: f64) {
        self.fault_seconds = match self.fault_seconds {
            Some(since) if since > FAULT_LASTS_SECONDS => None,
            Some(since) => Some(since + seconds),
            None => self.random.happens(seconds / FAULTLESS_SECONDS).then_some(0.0),
        };
    }

    /// Where a metric would settle if everything stayed as it is.
    fn goal(&self, metric: &Metric) -> f64 {
        let fault = self.fault_seconds.map_or(0.0, |since| (since / FAULT_GROWS_SECONDS).min(1.0));
        metric.idle + (metric.full - metric.idle) * self.load + metric.fault * fault
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::AREAS;
    use super::*;

    fn machines() -> Vec<Machine> {
        let kinds = AREAS.iter().flat_map(|area| area.kinds);
        kinds.enumerate().map(|(number, kind)| Machine::new(kind, number as u64)).collect()
    }

    /// Over hours of simulated time every reading is finite and within what the machine can reach.
    #[test]
    fn readings_stay_believable() {
        for mut machine in machines() {
            for step in 0..20_000_u64 {
                let number = step as usize % machine.metrics().len();
                let metric = &machine.metrics()[number];
                let value = machine.read(number, Duration::from_millis(step * 700)).unwrap();
                let (low, high) =
                    (metric.idle - 8.0 * metric.noise, metric.full + metric.fault + 8.0 * metric.noise);
                assert!((low..high).contains(&value), "{} {value}", metric.name);
            }
        }
    }

    /// A fault grows into an alarm, and a repair ends it.
    #[test]
    fn a_fault_raises_an_alarm_until_it_is_repaired() {
        for mut machine in machines() {
            machine.repair();
            machine.fault_seconds = Some(0.0);
            let alarms = |machine: &mut Machine, now: u64| {
                let readings =
                    (0..machine.metrics().len()).map(|number| machine.read(number, Duration::from_secs(now)));
                let readings: Vec<f64> = readings.map(Option::unwrap).collect();
                machine.metrics().iter().zip(readings).filter(|(metric, value)| *value > metric.alarm).count()
            };
            let raised = (1..=FAULT_LASTS_SECONDS as u64).any(|now| alarms(&mut machine, now) > 0);
            assert!(raised, "{}", machine.kind.name);
            assert!(machine.repair() || machine.fault_seconds.is_none());
            assert_eq!(alarms(&mut machine, FAULT_LASTS_SECONDS as u64 + 300), 0, "{}", machine.kind.name);
        }
    }

    #[test]
    fn there_is_no_reading_without_a_metric() {
        assert_eq!(machines()[0].read(99, Duration::from_secs(1)), None);
    }
}

//! What a run has to say at its end.

use crate::auditor::Tally;
use crate::gateway::Gauges;
use crate::violations::Kind;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Report {
    /// The seed that brings the same clients back.
    pub seed: u64,
    /// Rounds that were finished.
    pub rounds: usize,
    /// How long the run took, drains included.
    pub elapsed: Duration,
    pub(crate) tally: Tally,
    /// Opened, resumed; ended with a goodbye, dropped, taken over.
    pub(crate) connections: (u64, u64, [u64; 3]),
    /// Memory at the end of each round, when everybody had left.
    pub(crate) resident_bytes: Vec<u64>,
    pub(crate) gauges: Option<Gauges>,
    pub(crate) violations: BTreeMap<Kind, u64>,
}

impl Report {
    /// How many rules were broken.
    pub fn violation_count(&self) -> u64 {
        self.violations.values().sum()
    }

    /// How many deliveries were owed, and arrived. A run in which that is nothing has proven nothing.
    pub fn kept_count(&self) -> u64 {
        self.tally.kept
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tally, seconds) = (&self.tally, self.elapsed.as_secs_f64().max(0.001));
        let rate = |count: u64| count as f64 / seconds;
        let [zero, one, two] = tally.published;
        let (opened, resumed, [goodbyes, drops, take_overs]) = self.connections;
        writeln!(formatter, "seed {}, {} rounds in {seconds:.1} s", self.seed, self.rounds)?;
        writeln!(
            formatter,
            "connections: {opened} ({:.0}/s), {resumed} resumed a session; {goodbyes} said goodbye, {drops} were dropped, \
             {take_overs} were taken over",
            rate(opened)
        )?;
        writeln!(
            formatter,
            "published:   {} ({:.0}/s): QoS 0 {zero}, 1 {one}, 2 {two}; {} sent again, {} acknowledged",
            zero + one + two,
            rate(zero + one + two),
            tally.published_again,
            tally.acknowledged
        )?;
        let [zero, one, two] = tally.delivered;
        writeln!(
            formatter,
            "delivered:   {} ({:.0}/s): QoS 0 {zero}, 1 {one}, 2 {two}; {} again, {} retained",
            zero + one + two,
            rate(zero + one + two),
            tally.redelivered,
            tally.retained
        )?;
        writeln!(
            formatter,
            "owed:        {} arrived, {} waived with the session that they were owed to",
            tally.kept, tally.waived
        )?;
        let mebibytes: Vec<u64> = self.resident_bytes.iter().map(|bytes| bytes >> 20).collect();
        writeln!(formatter, "memory in MiB after each round: {mebibytes:?}")?;
        if let Some(gauges) = &self.gauges {
            writeln!(formatter, "at the end:  {gauges:?}")?;
        }
        match self.violations.is_empty() {
            true => write!(formatter, "violations:  none"),
            false => write!(formatter, "violations:  {:?}", self.violations),
        }
    }
}

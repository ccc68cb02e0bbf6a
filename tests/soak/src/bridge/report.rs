//! What an audit of a bridge has to say at its end.

use super::ledger::Tally;
use crate::violations::Kind;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct BridgeReport {
    pub(crate) seed: u64,
    pub(crate) elapsed: Duration,
    /// How often the edge was killed, and how often of that while it was starting.
    pub(crate) kills: u64,
    pub(crate) kills_in_recovery: u64,
    pub(crate) restarts: u64,
    pub(crate) faults: u64,
    /// From devices to the upstream, and from there to subscribers.
    pub(crate) tallies: [Tally; 2],
    pub(crate) violations: BTreeMap<Kind, u64>,
}

impl BridgeReport {
    /// How many rules were broken.
    pub fn violation_count(&self) -> u64 {
        self.violations.values().sum()
    }

    /// How many messages were acknowledged in each direction. An audit in which that is little has proven little.
    pub fn acknowledged_counts(&self) -> [u64; 2] {
        self.tallies.map(|tally| tally.acknowledged)
    }
}

impl fmt::Display for BridgeReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BridgeReport { seed, kills, kills_in_recovery, restarts, faults, .. } = self;
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            formatter,
            "seed {seed} in {seconds:.1} s: {faults} faults of the link, {kills} kills of the edge ({kills_in_recovery} more while it \
             started), {restarts} restarts of the upstream"
        )?;
        for (name, tally) in ["to the upstream", "from the upstream"].iter().zip(&self.tallies) {
            let Tally { published, acknowledged, arrived, repeated, out_of_order, lost } = tally;
            writeln!(
                formatter,
                "{name}: published {published}, acknowledged {acknowledged}, arrived {arrived}; lost {lost}, out of order \
                 {out_of_order}, came again {repeated}"
            )?;
        }
        match self.violations.is_empty() {
            true => write!(formatter, "violations: none"),
            false => write!(formatter, "violations: {:?}", self.violations),
        }
    }
}

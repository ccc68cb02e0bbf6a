//! What should not have happened: counted by kind, the first ones told at once and in full.

use std::collections::BTreeMap;
use std::time::Instant;

/// How many are written out; the rest is counted.
const TOLD_MAX: u64 = 40;

/// The kinds of violations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// An acknowledged message never reached a session that was owed it.
    Lost,
    /// A newer message of the same stream came although an older one was owed.
    Skipped,
    /// An older message of a stream came after a newer one.
    OutOfOrder,
    /// A message came more often than its level allows.
    Duplicate,
    /// A message that nobody published, or with other bytes.
    Phantom,
    /// A message that the session had not subscribed to.
    WrongReceiver,
    /// A level that is not the lower of published and subscribed.
    WrongQoS,
    /// Subscription identifiers that the session did not give.
    WrongIdentifier,
    /// A retain flag on what was not retained.
    WrongRetain,
    /// A retained message that had been replaced.
    StaleRetained,
    /// A message that had been settled long before the gateway was killed.
    CameBack,
    /// A will whose client had said goodbye, or had come back in time.
    Withdrawn,
    /// A session that was promised to outlive the gateway.
    SessionLost,
    /// Some messages of a transaction without the others.
    HalfTransaction,
    /// An answer that the protocol does not allow, or a refusal without a reason.
    Protocol,
    /// A connection that the gateway ended although nothing was wrong.
    Disconnected,
    /// An answer that did not come in time.
    Silence,
    /// A gauge of the gateway that is not what it should be.
    Gauge,
    /// Memory that did not come back.
    Memory,
}

/// All violations of a run.
#[derive(Debug)]
pub(crate) struct Violations {
    started: Instant,
    counts: BTreeMap<Kind, u64>,
    told: u64,
    tell: fn(&str),
}

impl Violations {
    /// None yet; `tell` gets the first ones as they happen.
    pub(crate) fn new(tell: fn(&str)) -> Violations {
        Violations { started: Instant::now(), counts: BTreeMap::new(), told: 0, tell }
    }

    /// One more.
    pub(crate) fn add(&mut self, kind: Kind, detail: impl FnOnce() -> String) {
        *self.counts.entry(kind).or_default() += 1;
        self.told += 1;
        if self.told <= TOLD_MAX {
            let seconds = self.started.elapsed().as_secs_f64();
            (self.tell)(&format!("violation {:?} after {seconds:.3} s: {}", kind, detail()));
        }
    }

    /// How many there are by kind.
    pub(crate) fn counts(&self) -> &BTreeMap<Kind, u64> {
        &self.counts
    }
}

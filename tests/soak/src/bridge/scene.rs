//! What everybody in an audit of a bridge shares: the ledger, where the edge is at present, and what is being done.

use super::ledger::Ledger;
use crate::violations::Kind;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long an answer may take. Generous, because a busy machine is no bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long somebody waits before trying again what failed.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(5);
/// Messages owed above which publishers wait, so that a slow machine has less to do and not more.
const OWED_MAX: usize = 3000;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Everybody publishes, and everything goes wrong.
    Load,
    /// Nothing new is published, nothing goes wrong, and everything arrives.
    Drain,
    /// Everybody ends.
    Over,
}

/// Where one life of the edge can be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doors {
    pub(crate) mqtt: SocketAddr,
    /// Where it speaks STOMP, if it does.
    pub(crate) stomp: Option<SocketAddr>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) phase: Phase,
    /// Nothing while the edge is down.
    pub(crate) doors: Option<Doors>,
    /// Publications whose acknowledgement is awaited, of all publishers.
    pub(crate) under_way: usize,
}

/// The state, and a way to wait for it.
#[derive(Debug)]
pub(crate) struct Scene {
    state: Mutex<State>,
    changed: Condvar,
}

impl Scene {
    /// The edge is down, and everybody waits for it.
    pub(crate) fn new(ledger: Ledger) -> Scene {
        let state = State { ledger, phase: Phase::Load, doors: None, under_way: 0 };
        Scene { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Changes something.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until something is there; nothing where it does not come in time.
    pub(crate) fn wait<R>(
        &self,
        patience: Duration,
        mut look: impl FnMut(&mut State) -> Option<R>,
    ) -> Option<R> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).expect("nobody panics with the state").0;
        }
    }

    /// Where the edge is, once it is there; nothing when the audit is over.
    pub(crate) fn await_doors(&self) -> Option<Doors> {
        let found = self.wait(Duration::MAX / 4, |state| match (state.phase, state.doors) {
            (Phase::Over, _) => Some(None),
            (_, doors) => doors.map(Some),
        });
        found.flatten()
    }

    /// Waits until a publisher may send something new; false where that is not soon.
    pub(crate) fn may_publish(&self) -> bool {
        let is_time =
            |state: &mut State| (state.phase == Phase::Load && state.ledger.owed() < OWED_MAX).then_some(());
        self.wait(A_MOMENT, is_time).is_some()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Waits a moment, or until the audit is over.
    pub(crate) fn rest(&self) {
        self.wait(A_MOMENT, |state| (state.phase == Phase::Over).then_some(()));
    }

    /// Something that must not be.
    pub(crate) fn accuse(&self, kind: Kind, what: impl FnOnce() -> String) {
        self.with(|state| state.ledger.violations.add(kind, what));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the state")
    }
}

//! What the clients of a crash audit share: the ledger, where the gateway is at present, and what is being done.

use super::ledger::Ledger;
use super::process::Ports;
use crate::violations::Kind;
use crate::wire::{Progress, Wire};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;
use tidegate_testkit::random::Random;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long the gateway may take to answer. Generous, because a busy machine is no bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks for a gateway that is down.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Time between two acts of a client is random below this.
const ACT_MILLISECONDS: usize = 40;
/// Deliveries owed above which publishers wait, so that a slow machine has less to do and not more.
const OWED_MAX: usize = 10_000;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Clients publish, take, are lazy and are cut off.
    Load,
    /// Nothing new is published, and everybody takes what there is.
    Drain,
    /// The clients end.
    Over,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) ledger: RefCell<Ledger>,
    pub(crate) phase: Cell<Phase>,
    /// Nothing while the gateway is down.
    pub(crate) ports: Cell<Option<Ports>>,
    /// Which life of the gateway it is.
    pub(crate) life: Cell<u32>,
    /// Publications whose acknowledgement is awaited, of all clients.
    pub(crate) under_way: Cell<usize>,
    /// Messages that receivers have, and of which it is not known whether the gateway knows that they are settled.
    unsettled: Cell<usize>,
    /// Receivers that have been there.
    pub(crate) receivers: Cell<usize>,
    /// Counts up when every receiver is asked to show that nothing is on its way to it.
    pub(crate) barrier: Cell<u32>,
    /// Receivers that have shown it.
    pub(crate) passed: Cell<usize>,
}

impl Scene {
    /// Nothing has begun, and the gateway is down.
    pub(crate) fn new(ledger: Ledger) -> Scene {
        Scene {
            ledger: RefCell::new(ledger),
            phase: Cell::new(Phase::Load),
            ports: Cell::new(None),
            life: Cell::new(0),
            under_way: Cell::new(0),
            unsettled: Cell::new(0),
            receivers: Cell::new(0),
            barrier: Cell::new(0),
            passed: Cell::new(0),
        }
    }

    /// Whether a client may publish something new.
    pub(crate) fn may_publish(&self) -> bool {
        self.phase.get() == Phase::Load && self.ledger.borrow().owed() < OWED_MAX
    }

    /// How many messages a receiver has that are not settled for certain; `reported` is what it said last.
    pub(crate) fn report_unsettled(&self, reported: &mut usize, now: usize) {
        self.unsettled.set(self.unsettled.get() + now - *reported);
        *reported = now;
    }

    /// Whether nothing is owed, under way or in somebody's hands.
    pub(crate) fn is_settled(&self) -> bool {
        self.ledger.borrow().owed() + self.under_way.get() + self.unsettled.get() == 0
    }

    /// Asks every receiver for an answer of the gateway, which comes behind everything that is on its way to it.
    pub(crate) fn raise_barrier(&self) {
        self.barrier.set(self.barrier.get() + 1);
        self.passed.set(0);
    }

    /// A receiver has the answer to what it asked for this barrier.
    pub(crate) fn pass(&self, barrier: u32) {
        self.passed.set(self.passed.get() + usize::from(barrier == self.barrier.get()));
    }

    /// What is owed, under way and in somebody's hands.
    pub(crate) fn describe(&self) -> String {
        let owed = self.ledger.borrow().owed();
        let (passed, receivers) = (self.passed.get(), self.receivers.get());
        format!(
            "{owed} owed, {} under way, {} unsettled, {passed} of {receivers} passed",
            self.under_way.get(),
            self.unsettled.get()
        )
    }

    /// Something that must not be.
    pub(crate) fn accuse(&self, kind: Kind, what: impl FnOnce() -> String) {
        self.ledger.borrow_mut().violations().add(kind, what);
    }

    /// Whether the life of the gateway to which a connection belonged has ended, which explains every end.
    fn is_past(&self, life: u32) -> bool {
        self.life.get() != life || self.ports.get().is_none()
    }

    /// Waits until the gateway is there and connects. Nothing where the audit ended before, or the gateway did.
    pub(crate) async fn connect(&self, who: &str, door: fn(Ports) -> SocketAddr) -> Option<Link> {
        let ports = loop {
            match (self.phase.get(), self.ports.get()) {
                (Phase::Over, _) => return None,
                (_, Some(ports)) => break ports,
                (_, None) => sleep(LOOK_EVERY).await,
            }
        };
        let life = self.life.get();
        match timeout(PATIENCE, Wire::connect(door(ports))).await {
            Ok(Ok(wire)) => Some(Link { wire, life, next_act: Instant::now() }),
            _ if self.is_past(life) => None,
            other => {
                self.accuse(Kind::Disconnected, || format!("{who} cannot connect: {other:?}"));
                None
            }
        }
    }
}

/// A connection to one life of the gateway.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) wire: Wire,
    life: u32,
    next_act: Instant,
}

/// What happens on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// There is input.
    Input,
    /// It is time to do something.
    Act,
    /// It has ended.
    End,
}

impl Link {
    /// Whether what is read now was said by a gateway that has ended meanwhile: nobody knows whether it had kept what it says.
    pub(crate) fn is_past(&self, scene: &Scene) -> bool {
        scene.is_past(self.life)
    }

    /// What happens next. An end that no kill explains is a violation.
    pub(crate) async fn next(&mut self, scene: &Scene, random: &mut Random, who: &str) -> Event {
        loop {
            let progress = tokio::select! {
                progress = self.wire.exchange(true) => progress,
                () = sleep_until(self.next_act) => {
                    let milliseconds = 1 + random.below(ACT_MILLISECONDS) as u64;
                    self.next_act = Instant::now() + Duration::from_millis(milliseconds);
                    return Event::Act;
                }
            };
            match progress {
                Progress::Written => {}
                Progress::Read => return Event::Input,
                Progress::Closed => {
                    if !scene.is_past(self.life) {
                        scene.accuse(Kind::Disconnected, || {
                            format!("{who}: the gateway closed the connection")
                        });
                    }
                    return Event::End;
                }
            }
        }
    }
}

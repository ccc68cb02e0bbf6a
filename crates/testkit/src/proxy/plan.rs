//! Troubles drawn from a seed: which one comes next, after how many bytes, and for how long.

use std::time::Duration;

use super::{Direction, Door, Ending, Flow, Proxy};
use crate::random::Random;

/// Something that goes wrong between two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every connection ends at once.
    End(Ending),
    /// The connection ends on which this byte from now passes: in the midst of a frame, mostly.
    EndAfter(Direction, u64, Ending),
    /// A direction stands still.
    Stall(Direction),
    /// Both directions stand still.
    StallBoth,
    /// A direction trickles at this many bytes per second.
    Slow(Direction, u32),
    /// A direction is thrown away, and then every connection ends. From the upstream, it is confirms that get lost.
    Swallow(Direction, Ending),
    /// Every connection ends, and those that come are accepted and cut, or refused.
    Close(Door, Ending),
}

/// A fault with its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// It begins when this many bytes have passed to the upstream since the step was given to the proxy.
    pub after_bytes: u64,
    /// What goes wrong.
    pub fault: Fault,
    /// How long it does.
    pub lasting: Duration,
}

/// An endless schedule of steps that its seed determines. Whoever uses it prints the seed.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    random: Random,
    after_bytes_max: usize,
    lasting_max: Duration,
}

impl FaultPlan {
    /// The plan of this seed: a fault lasts a second at most and comes within 64 KiB after the one before.
    pub fn seeded(seed: u64) -> FaultPlan {
        FaultPlan {
            random: Random::new(seed),
            after_bytes_max: 64 * 1024,
            lasting_max: Duration::from_secs(1),
        }
    }

    /// The same with other bounds.
    pub fn within(self, after_bytes_max: usize, lasting_max: Duration) -> FaultPlan {
        FaultPlan { after_bytes_max, lasting_max, ..self }
    }

    fn fault(&mut self) -> Fault {
        let direction = *self.random.pick(&Direction::BOTH);
        let ending = *self.random.pick(&[Ending::Close, Ending::Reset]);
        match self.random.below(8) {
            0 => Fault::End(ending),
            1 | 2 => Fault::EndAfter(direction, 1 + self.random.below(self.after_bytes_max) as u64, ending),
            3 => Fault::Stall(direction),
            4 => Fault::StallBoth,
            5 => Fault::Slow(direction, 1000 * (1 + self.random.below(64) as u32)),
            6 => Fault::Swallow(direction, ending),
            _ => Fault::Close(*self.random.pick(&[Door::Slammed, Door::Shut]), ending),
        }
    }
}

impl Iterator for FaultPlan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let after_bytes = self.random.below(self.after_bytes_max) as u64;
        let fault = self.fault();
        let thousandths = 1 + self.random.below(1000) as u32;
        Some(Step { after_bytes, fault, lasting: self.lasting_max * thousandths / 1000 })
    }
}

impl Proxy {
    /// Waits for the step's moment, has its fault last, and heals. Where traffic does not come to the moment within
    /// `patience`, the fault comes then.
    pub fn suffer(&self, step: &Step, patience: Duration) {
        let moment = self.counts().to_upstream + step.after_bytes;
        self.shared.wait(patience, &|ledger| ledger.counts.to_upstream >= moment);
        match step.fault {
            Fault::End(ending) => self.end_connections(ending),
            Fault::EndAfter(direction, bytes, ending) => {
                self.end_after(direction, bytes, ending);
                self.shared.wait(step.lasting, &|_| false);
                if self.is_end_pending(direction) {
                    self.end_connections(ending);
                }
            }
            Fault::Stall(direction) => self.hold(step.lasting, &[direction], Flow::Stall),
            Fault::StallBoth => self.hold(step.lasting, &Direction::BOTH, Flow::Stall),
            Fault::Slow(direction, rate) => self.hold(step.lasting, &[direction], Flow::Slow(rate)),
            Fault::Swallow(direction, ending) => {
                self.hold(step.lasting, &[direction], Flow::Swallow);
                self.end_connections(ending);
            }
            Fault::Close(door, ending) => {
                self.set_door(door);
                self.end_connections(ending);
                self.shared.wait(step.lasting, &|_| false);
            }
        }
        self.heal();
    }

    fn hold(&self, lasting: Duration, directions: &[Direction], flow: Flow) {
        for direction in directions {
            self.set_flow(*direction, flow);
        }
        self.shared.wait(lasting, &|_| false);
    }
}

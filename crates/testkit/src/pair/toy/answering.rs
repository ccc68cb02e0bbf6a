//! What toys ask the disk for, and what they are told of it later.

use super::{SESSION, Toy, World};
use tidegate_protocol::{Answer, Refusal, Saved, Saving};

impl Toy {
    /// What became of requests that were answered later, oldest first.
    pub fn take_answers(&self) -> Vec<Result<(), Refusal>> {
        std::mem::take(&mut self.state.borrow_mut().answers)
    }

    /// Lets so many acknowledgements wait in the machine until its next answer.
    pub fn hold_back(&self, acknowledgements: usize) {
        self.state.borrow_mut().held_back = acknowledgements;
    }

    /// Whether the shard has asked its driver to go on reading, since the world ran last.
    pub fn is_read_again(&self) -> bool {
        self.link.wire.borrow().resumed
    }

    /// Keeps a piece of what it wants back with its session, in place of everything before.
    pub fn save(&self, world: &mut World, piece: &'static [u8]) -> Answer {
        self.ask(world, move |broker| broker.save(SESSION, Saved::Whole(piece), Saving::Awaited))
    }

    /// The same behind what it saved before.
    pub fn save_more(&self, world: &mut World, piece: &'static [u8]) -> Answer {
        self.ask(world, move |broker| broker.save(SESSION, Saved::More(piece), Saving::Awaited))
    }
}

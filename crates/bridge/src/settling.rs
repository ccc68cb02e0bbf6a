//! What a receive says to the upstream of what came from there, over the connection over which it came and no other.
//!
//! A message may come before its connection counts as one that stands, and be kept here before it does: what is to be said of it waits
//! until then. A connection that ends waits in its turn until everything is said that is on its way in.

use crate::standing::{Standing, Way};
use crate::upstream::{Order, Taken};
use tokio::sync::watch;

/// The number of a connection, and the ticket of a message on it.
pub(crate) type Door = (u64, u64);

/// See the module.
#[derive(Debug)]
pub(crate) struct Settling {
    standing: watch::Receiver<Standing>,
    /// The way to the connection that stands, or ends and waits for what is to be said over it.
    way: Option<Way>,
    /// Whether it ends.
    is_ending: bool,
    /// The number of the last connection that stood.
    last_standing: u64,
    /// What is to be said over a connection that does not stand yet: what waits in a session may come before it does.
    early: Vec<(Door, Taken)>,
}

impl Settling {
    pub(crate) fn new(standing: watch::Receiver<Standing>) -> Settling {
        Settling { standing, way: None, is_ending: false, last_standing: 0, early: Vec::new() }
    }

    /// Waits until the upstream's connection stands otherwise than before; nothing where the bridge ends.
    pub(crate) async fn changed(&mut self) -> Option<()> {
        self.standing.changed().await.ok()?;
        self.note_standing();
        Some(())
    }

    /// Looks whether it does already.
    pub(crate) fn look(&mut self) {
        if !matches!(self.standing.has_changed(), Ok(false)) {
            self.note_standing();
        }
    }

    fn note_standing(&mut self) {
        let standing = self.standing.borrow_and_update().clone();
        self.is_ending = matches!(standing, Standing::Ending(_));
        match standing {
            Standing::Open(way) => {
                self.last_standing = way.number;
                self.way = Some(way);
            }
            Standing::Ending(number) if self.number() == Some(number) => {}
            Standing::Ending(_) | Standing::Gone => self.way = None,
        }
    }

    /// Whether the connection ends, so that nothing more is to be taken from it.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// The number of the connection over which something can be said.
    pub(crate) fn number(&self) -> Option<u64> {
        self.way.as_ref().map(|way| way.number)
    }

    /// Nothing is left to be said: a connection that ends need not wait.
    pub(crate) fn let_go(&mut self) {
        if self.is_ending {
            self.way = None;
        }
    }

    /// Tells the upstream, where the connection over which the message came still stands, or will.
    pub(crate) async fn settle(&mut self, door: Door, taken: Taken) {
        let (connection, ticket) = door;
        self.look();
        match &self.way {
            // Where the connection is lost meanwhile, the message comes again.
            Some(way) if way.number == connection => {
                let _ = way.orders.send(Order::Settle { ticket, taken }).await;
            }
            None if connection > self.last_standing => {
                // One that has begun later says that the one before never stood.
                if self.early.last().is_some_and(|((last, _), _)| *last != connection) {
                    self.early.clear();
                }
                self.early.push((door, taken));
            }
            _ => {}
        }
    }

    /// Says what could not be said before the connection stood.
    pub(crate) async fn settle_early(&mut self) {
        self.look();
        if self.way.is_some() {
            for (door, taken) in std::mem::take(&mut self.early) {
                self.settle(door, taken).await;
            }
        }
    }
}

//! The seam between the broker and whoever checks credentials, and the way back for answers that take long.
//!
//! The broker knows no password file and no method; it asks, and it never waits: what takes long answers by letter.

use crate::mailbox::Letter;
use crate::node::Node;
use crate::sessions::Holder;
use std::fmt;
use std::sync::Weak;
use tidegate_protocol::{CredentialStamp, Denial};

/// How a client comes to the door: what its listener and its TLS session say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entrance {
    /// Whether a client that shows nothing is welcome.
    pub allow_anonymous: bool,
    /// What its certificate is worth.
    pub certificate: Certificate,
}

/// What a client's TLS certificate is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Certificate {
    /// It showed none, or one without the name that the listener wants.
    #[default]
    None,
    /// A verified one lets it in; the listener takes no name from it.
    Verified,
    /// A verified one with the name of the user.
    Named(Box<str>),
}

/// A user whose credentials were right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The user.
    pub user: Box<str>,
    /// The state of the credentials.
    pub stamp: CredentialStamp,
}

/// Checks credentials. Called from every worker; must not block.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// Checks a password. `None`: it takes long, and the answer comes by the ticket that `ticket` makes.
    fn verify_password(
        &self,
        user: &str,
        password: &[u8],
        ticket: &dyn Fn() -> Ticket,
    ) -> Option<Result<Verified, Denial>>;

    /// Begins a method of several steps. `None`: it is not offered.
    fn begin(&self, method: &str) -> Option<Box<dyn Exchange>>;

    /// Whether the credentials that a user was let in by are still the right ones.
    fn is_current(&self, user: &str, stamp: CredentialStamp) -> bool;
}

/// One client's way through a method of several steps.
pub trait Exchange {
    /// Handles what the client says. After anything but [`Step::Challenge`] it is over.
    fn handle(&mut self, data: &[u8]) -> Step;
}

/// What follows what a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The client is told this and has to answer.
    Challenge(Vec<u8>),
    /// The client is known; this is the last that it is told.
    Verified(Verified, Vec<u8>),
    /// It is not let in.
    Denied(Denial),
}

/// The right to answer for one connection, once. Dropped without an answer it says that there was no room: nobody waits for ever.
#[derive(Debug)]
pub struct Ticket {
    node: Weak<Node>,
    holder: Holder,
    answer: Result<Verified, Denial>,
}

impl Ticket {
    pub(crate) fn new(node: Weak<Node>, holder: Holder) -> Ticket {
        Ticket { node, holder, answer: Err(Denial::Busy) }
    }

    /// Answers. May be called from any thread.
    pub fn answer(mut self, answer: Result<Verified, Denial>) {
        self.answer = answer;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(node) = self.node.upgrade() else { return };
        let answer = std::mem::replace(&mut self.answer, Err(Denial::Busy));
        node.post(self.holder.worker, Letter::Authenticated { holder: self.holder, answer });
    }
}

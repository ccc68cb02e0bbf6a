//! The seam between the broker and whoever checks credentials, and the way back for answers that take long.
//!
//! The broker knows no password file and no method; it asks, and it never waits: what takes long answers by letter.

use crate::mailbox::Letter;
use crate::node::Node;
use crate::sessions::Holder;
use std::fmt;
use std::sync::{Arc, Weak};
use tidegate_protocol::{CredentialStamp, Denial, Exchange, Identity, Proof, Verified};

/// How a client comes to the door: what its listener and its TLS session say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entrance {
    /// The name of the listener.
    pub listener: Arc<str>,
    /// Whether a client that shows nothing is welcome.
    pub allow_anonymous: bool,
    /// What its certificate is worth.
    pub certificate: Certificate,
    /// Whether it is a part of the gateway's own process, which has to prove nothing.
    pub is_of_process: bool,
}

impl Entrance {
    /// Whether a client that came as this would be let in as the same again. Credentials count on any listener.
    pub(crate) fn still_admits(&self, identity: &Identity) -> bool {
        let user = identity.user.as_deref();
        match (identity.proof, &self.certificate) {
            (Proof::Process, _) => self.is_of_process,
            (Proof::Credentials(_), _) => true,
            (_, Certificate::Named(name)) => user == Some(name),
            (_, Certificate::Verified) => user.is_none(),
            (_, Certificate::None) => user.is_none() && self.allow_anonymous,
        }
    }
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

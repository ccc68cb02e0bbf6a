//! Who each connection is: what it shows at the door, and what is made of it.
//!
//! ```text
//!            certificate, anonymous, password known at once
//!   ┌─────────────────────────────────────────────────────────┐
//! ┌─┴─────┐  password that takes long, method   ┌────────┐ ok ▼─────┐ method   ┌──────────┐
//! │Outside├────────────────────────────────────►│ Asking ├────►Inside├─────────►│ Renewing │
//! └─┬─────┘                                     └─┬──────┘    └───▲──┘          └──┬────┬──┘
//!   └──────────────► Denied ◄─────────────────────┘ no            └── the same ────┘    │ no, or another user
//!                       ▲                                                               │
//!                       └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! A denied connection is asked nothing more; its machine ends it. The rules stand in one place, [`Shard::admit`]:
//! what is of this process first, then a name in the certificate, then a password where one is given and somebody can check it, then the
//! certificate alone or nothing.

use super::Shard;
use crate::authenticator::{Certificate, Entrance, Ticket};
use crate::sessions::Holder;
use std::sync::Arc;
use std::time::Instant;
use tidegate_protocol::{
    Authenticate, Authenticated, Authentication, Close, CloseReason, Denial, Evidence, Exchange, Identity,
    Proof, Reply, Step, Verified,
};

/// What is known of the client behind a connection.
pub(crate) enum Admission {
    /// Nothing yet, but how it came.
    Outside(Box<Entrance>),
    /// An answer is awaited: from the client, or about it.
    Asking(Box<Asking>),
    /// Everything.
    Inside(Arc<Identity>),
    /// It may not come in.
    Denied,
}

/// A client that is being checked, perhaps not for the first time.
pub(crate) struct Asking {
    /// Who it is until it proves something else.
    known: Option<Arc<Identity>>,
    client_id: Option<Box<str>>,
    listener: Arc<str>,
    /// The method; nothing while a password is checked elsewhere.
    exchange: Option<Box<dyn Exchange>>,
}

impl Admission {
    /// Who the client is.
    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Admission::Inside(identity) => Some(identity),
            Admission::Asking(asking) => asking.known.as_ref(),
            Admission::Outside(_) | Admission::Denied => None,
        }
    }

    /// The listener that the client came through.
    fn listener(&self) -> Arc<str> {
        match self {
            Admission::Outside(entrance) => entrance.listener.clone(),
            Admission::Asking(asking) => asking.listener.clone(),
            Admission::Inside(identity) => identity.listener.clone(),
            Admission::Denied => Arc::default(),
        }
    }

    /// Whether an answer is on its way that the client cannot hurry.
    pub(crate) fn is_being_checked(&self) -> bool {
        matches!(self, Admission::Asking(asking) if asking.exchange.is_none())
    }

    fn take(&mut self) -> Admission {
        std::mem::replace(self, Admission::Denied)
    }
}

/// What the rules say about evidence.
enum Ruling {
    Admitted(Identity),
    Denied(Denial),
    /// The answer comes by ticket.
    Later,
}

impl Shard {
    /// Who the client of a connection is.
    pub(super) fn identity(&self, slot: usize) -> Option<Arc<Identity>> {
        self.slots.get(slot)?.admission.identity().cloned()
    }

    pub(super) fn authenticate(&mut self, slot: usize, request: Authenticate<'_>) -> Authentication {
        let Some(here) = self.slots.get_mut(slot) else {
            return Authentication::Refused(Denial::AnonymousNotAllowed);
        };
        let before = here.admission.take();
        let answer = match (before, request.evidence) {
            (Admission::Outside(entrance), Evidence::Password { user, password }) => {
                return self.check_password(slot, &entrance, request.client_id, user, password);
            }
            (before @ (Admission::Outside(_) | Admission::Inside(_)), Evidence::Begin { method, data }) => {
                let exchange =
                    self.node.authenticator().and_then(|authenticator| authenticator.begin(method));
                let (known, client_id) = (before.identity().cloned(), request.client_id.map(Box::from));
                let listener = before.listener();
                match exchange {
                    Some(exchange) => {
                        self.step(slot, Asking { known, client_id, listener, exchange: Some(exchange) }, data)
                    }
                    None => Err(Denial::UnknownMethod),
                }
            }
            (Admission::Asking(asking), Evidence::Continue { data }) => self.step(slot, *asking, data),
            _ => Err(Denial::MalformedExchange),
        };
        match answer {
            Ok(authenticated) => Authentication::Now(authenticated),
            Err(denial) => self.deny(slot, denial),
        }
    }

    fn check_password(
        &mut self,
        slot: usize,
        entrance: &Entrance,
        client_id: Option<&str>,
        user: Option<&str>,
        password: Option<&[u8]>,
    ) -> Authentication {
        match self.admit(slot, entrance, user, password) {
            Ruling::Admitted(identity) => {
                let client_id = client_id.map(Box::from);
                let identity = self.let_in(slot, Identity { client_id, ..identity });
                Authentication::Now(Authenticated::Accepted { identity, data: Vec::new() })
            }
            Ruling::Denied(denial) => self.deny(slot, denial),
            Ruling::Later => {
                let (client_id, listener) = (client_id.map(Box::from), entrance.listener.clone());
                let asking = Asking { known: None, client_id, listener, exchange: None };
                self.set_admission(slot, Admission::Asking(Box::new(asking)));
                Authentication::Later
            }
        }
    }

    /// The rules for who comes in as whom.
    fn admit(&self, slot: usize, entrance: &Entrance, user: Option<&str>, password: Option<&[u8]>) -> Ruling {
        let identity = |user: Option<&str>, proof| {
            let listener = entrance.listener.clone();
            Ruling::Admitted(Identity { user: user.map(Box::from), client_id: None, listener, proof })
        };
        if entrance.is_of_process {
            return identity(None, Proof::Process);
        }
        if let Certificate::Named(name) = &entrance.certificate {
            return identity(Some(name), Proof::Certificate);
        }
        let gives_nothing = user.unwrap_or_default().is_empty() && password.unwrap_or_default().is_empty();
        if let Some(authenticator) = self.node.authenticator().filter(|_| !gives_nothing) {
            let connection = self.slots.get(slot).map_or(0, |here| here.connection);
            let holder = Holder { worker: self.worker, slot, connection };
            let ticket = || Ticket::new(Arc::downgrade(&self.node), holder);
            // A password without a name proves nothing, but is checked as any other: it must not be told apart by its time.
            let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
            return match authenticator.verify_password(user, password, &ticket) {
                None => Ruling::Later,
                Some(Ok(Verified { user, stamp })) => identity(Some(&user), Proof::Credentials(stamp)),
                Some(Err(denial)) => Ruling::Denied(denial),
            };
        }
        match (&entrance.certificate, entrance.allow_anonymous) {
            (Certificate::Verified, _) => identity(None, Proof::Certificate),
            (_, true) => identity(None, Proof::Nothing),
            (_, false) => Ruling::Denied(Denial::AnonymousNotAllowed),
        }
    }

    /// One step of a method.
    fn step(&mut self, slot: usize, mut asking: Asking, data: &[u8]) -> Result<Authenticated, Denial> {
        let Some(exchange) = asking.exchange.as_mut() else { return Err(Denial::MalformedExchange) };
        match exchange.handle(data) {
            Step::Challenge(challenge) => {
                self.set_admission(slot, Admission::Asking(Box::new(asking)));
                Ok(Authenticated::Challenge(challenge))
            }
            Step::Verified(verified, data) => {
                let identity =
                    asking.become_known(verified).and_then(|identity| self.if_current(identity))?;
                Ok(Authenticated::Accepted { identity: self.let_in(slot, identity), data })
            }
            Step::Denied(denial) => Err(denial),
        }
    }

    /// The answer about a password that took long.
    pub(super) fn note_checked(&mut self, holder: Holder, answer: Result<Verified, Denial>, now: Instant) {
        let Some(open) = self.key_of(holder.slot, holder.connection) else { return };
        let Some(here) = self.slots.get_mut(open.slot).filter(|here| here.admission.is_being_checked())
        else {
            return;
        };
        let Admission::Asking(asking) = here.admission.take() else { return };
        let answer = answer.and_then(|verified| asking.become_known(verified));
        let answer = answer.and_then(|identity| self.if_current(identity));
        let reply = match answer {
            Ok(identity) => {
                Ok(Authenticated::Accepted { identity: self.let_in(open.slot, identity), data: Vec::new() })
            }
            Err(denial) => {
                self.count_denial(open.slot, denial);
                Err(denial)
            }
        };
        self.hand_reply(open, Reply::Authenticated(reply), now);
    }

    /// Other credentials may count by now than those that were asked about.
    fn if_current(&self, identity: Identity) -> Result<Identity, Denial> {
        self.node.is_current(&identity).then_some(identity).ok_or(Denial::BadCredentials)
    }

    fn let_in(&mut self, slot: usize, identity: Identity) -> Arc<Identity> {
        let identity = Arc::new(identity);
        self.set_admission(slot, Admission::Inside(identity.clone()));
        identity
    }

    fn set_admission(&mut self, slot: usize, admission: Admission) {
        if let Some(here) = self.slots.get_mut(slot) {
            here.admission = admission;
        }
    }

    fn deny(&mut self, slot: usize, denial: Denial) -> Authentication {
        self.count_denial(slot, denial);
        Authentication::Refused(denial)
    }

    fn count_denial(&self, slot: usize, denial: Denial) {
        let protocol = self.slots.get(slot).and_then(|here| self.metrics.protocols.get(here.protocol));
        if let Some(counters) = protocol {
            counters.count_login_refused(denial.label());
        }
    }

    /// Whether a client may stay that came under earlier rules; one that has shown nothing yet will be let in by these.
    /// `now_comes`: what its listener makes of it now, where that is something else.
    pub(super) fn review_admission(&mut self, slot: usize, now_comes: Option<Entrance>) -> Result<(), Close> {
        let Some(here) = self.slots.get_mut(slot) else { return Ok(()) };
        let refused = |why| Err(Close::new(CloseReason::NotAuthorized, why));
        match (&mut here.admission, now_comes) {
            (Admission::Outside(entrance), Some(now_comes)) => **entrance = now_comes,
            (admission, Some(now_comes)) => {
                if admission.identity().is_some_and(|identity| !now_comes.still_admits(identity)) {
                    return refused("the listener does not let the client in any more as whom it came");
                }
            }
            (_, None) => {}
        }
        match here.admission.identity() {
            Some(identity) if !self.node.is_current(identity) => {
                refused("the user is gone or has another password")
            }
            _ => Ok(()),
        }
    }
}

impl Asking {
    /// Who the client is after its proof. A client that was known before stays the same user.
    fn become_known(self, verified: Verified) -> Result<Identity, Denial> {
        let Verified { user, stamp } = verified;
        let proof = Proof::Credentials(stamp);
        match self.known {
            Some(known) if known.user.as_deref() != Some(&*user) => Err(Denial::AnotherUser),
            Some(known) => Ok(Identity { proof, ..Identity::clone(&known) }),
            None => {
                Ok(Identity { user: Some(user), client_id: self.client_id, listener: self.listener, proof })
            }
        }
    }
}

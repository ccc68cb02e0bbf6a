//! The connections of one client: at most one is attached, others may wait for its session.

use crate::model::{Reception, Session};
use std::time::{Duration, Instant};
use tidegate_testkit::pair::toy::{Attaching, Toy};

pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) session: Option<Session>,
    pub(crate) attached: Option<Attached>,
    pub(crate) waiting: Vec<(Toy, Attaching)>,
}

pub(crate) struct Attached {
    pub(crate) toy: Toy,
    pub(crate) reception: Reception,
    pub(crate) credit: u32,
    pub(crate) expiry: Duration,
}

impl Client {
    pub(crate) fn new(number: usize) -> Client {
        Client { name: format!("client-{number}"), session: None, attached: None, waiting: Vec::new() }
    }

    /// The broker says that a connection has attached.
    pub(crate) fn attach(&mut self, toy: Toy, attaching: &Attaching, present: bool, now: Instant) {
        assert!(self.attached.is_none(), "{} is attached already", self.name);
        let existed = self.session.is_some() && !attaching.clean_start;
        assert_eq!(present, existed, "{}: is the session present?", self.name);
        if !existed {
            self.session = None;
        }
        let session = self.session.get_or_insert_default();
        let reception = session.attach();
        let (credit, expiry) = (attaching.credit, attaching.expiry);
        self.attached = Some(Attached { toy, reception, credit, expiry });
        self.observe(now);
    }

    /// Reads what has arrived and notices what has ended; called after every step.
    pub(crate) fn observe(&mut self, now: Instant) {
        self.receive(now);
        // The order within one step: the holder ends, then one claimant after the other has the session.
        self.waiting.sort_by_key(|(toy, _)| !toy.link.is_ended());
        for (toy, attaching) in std::mem::take(&mut self.waiting) {
            match toy.take_reply() {
                Some(answer) => self.attach(toy, &attaching, answer.expect("no limit").present, now),
                None if toy.link.is_ended() => {}
                None => self.waiting.push((toy, attaching)),
            }
        }
    }

    fn receive(&mut self, now: Instant) {
        let Some(attached) = &mut self.attached else { return };
        let session = self.session.as_mut().expect("an attached client has a session");
        for got in attached.toy.got() {
            session.receive(&mut attached.reception, &got, attached.credit);
        }
        if attached.toy.link.is_ended() {
            session.ends_at = Some(now + attached.expiry);
            self.attached = None;
            self.expire(now);
        }
    }

    /// A session ends with its time.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.session.as_ref().and_then(|session| session.ends_at).is_some_and(|at| at <= now) {
            self.session = None;
        }
    }
}

//! A run with a store: what is not on the disk yet, and what is left when the process ends.

use crate::model::Id;
use crate::run::Run;
use crate::store::{End, Event};
use std::time::Duration;
use tidegate_protocol::Answer;
use tidegate_testkit::pair::toy::Toy;

/// The connection of a client, and how many subscriptions its session has and how often it has subscribed.
pub(crate) type Standing = (Option<u64>, Option<(usize, usize)>);

impl Run {
    /// A request of a client was taken, and may be answered later.
    pub(crate) fn await_answer(&mut self, toy: &Toy, id: Option<Id>, answer: Answer) {
        match &mut self.store {
            Some(store) => store.await_answer(toy, id, answer),
            None => assert_eq!(answer, Answer::Now),
        }
    }

    /// Everything that was appended is on the disk.
    pub(crate) fn sync(&mut self) {
        let Some(store) = &mut self.store else { return };
        store.sync();
        self.clients
            .iter_mut()
            .filter_map(|client| client.session.as_mut())
            .for_each(|session| session.sync());
    }

    /// Answers come in the order of the requests, and not before the disk has what they are about. Who holds which session with which
    /// subscriptions is always on the disk, so that the model need not guess.
    pub(crate) fn observe_store(&mut self) {
        let Some(store) = &mut self.store else { return };
        for toy in
            self.clients.iter().filter_map(|client| client.attached.as_ref().map(|attached| &attached.toy))
        {
            store.take_answers(toy);
        }
        let standing = |client: &crate::client::Client| {
            let attached = client.attached.as_ref().map(|attached| attached.toy.link.key().connection());
            let session = client.session.as_ref();
            (attached, session.map(|session| (session.subscriptions.len(), session.subscribed)))
        };
        let standing: Vec<_> = self.clients.iter().map(standing).collect();
        if standing != self.standing {
            self.standing = standing;
            self.sync();
        }
    }

    /// The disk comes further, the process ends, or the power goes.
    pub(crate) fn use_store(&mut self) {
        match Event::any(&mut self.random) {
            Event::End(end) => self.end_process(end),
            Event::Sync => self.sync(),
        }
        self.observe();
    }

    fn end_process(&mut self, end: End) {
        let Some(store) = &mut self.store else { return };
        let before = self.world.now;
        let (world, lost) = store.end(end, 1 + self.random.below(3));
        self.world = world;
        // Sessions that should have ended with their connections do now.
        self.world.run();
        self.world.advance(Duration::ZERO);
        let now = self.world.now;
        (self.received, self.quiet) = (0, self.step);
        for client in &mut self.clients {
            client.waiting.clear();
            let attached = client.attached.take();
            let Some(session) = &mut client.session else { continue };
            session.ends_at = match attached {
                Some(attached) => Some(now + attached.expiry),
                None => session.ends_at.map(|at| now + at.saturating_duration_since(before)),
            };
            session.crash(lost.as_ref(), self.step);
            if session.ends_at.is_some_and(|at| at <= now) {
                client.session = None;
            }
        }
        let sessions = self.clients.iter().filter_map(|client| client.session.as_ref());
        let expected = sessions.fold((0, 0), |(count, subscriptions), session| {
            (count + 1, subscriptions + session.subscriptions.len())
        });
        let gauges = self.world.node().gauges();
        assert_eq!((gauges.sessions, gauges.subscriptions), expected, "{end:?}");
    }
}

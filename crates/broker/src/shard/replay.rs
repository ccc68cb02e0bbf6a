//! Retained messages on their way to new subscriptions of one consumer.
//!
//! Not the messages wait here but the searches for them: each subscription has one, and only the few messages that it has found last
//! are held. So a subscription to a million topics takes no more room than one to a single topic, however slow its reader is.

use crate::access::Rights;
use crate::budget::{QueueFull, Room};
use crate::queued::Queued;
use crate::retained::Search;
use crate::route::Grant;
use crate::router::Router;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, QoS, TopicFilter};

/// Messages that are found at a time.
const FOUND_MAX: usize = 64;

/// The searches of one consumer, in the order of its subscriptions.
#[derive(Debug)]
pub(crate) struct Replay {
    searches: VecDeque<Replayed>,
    /// What the first search has found and what was not sent yet.
    found: VecDeque<Queued>,
    room: Room,
}

/// One subscription's search.
#[derive(Debug)]
pub(crate) struct Replayed {
    search: Search,
    made: Vec<Arc<Message>>,
    grant: Grant,
    without_origin: Option<u64>,
    weight_bytes: usize,
}

impl Replayed {
    /// What a new subscription gets: messages that are retained nowhere but `made` for it, and then what the search finds, without those
    /// of one origin.
    pub(crate) fn new(
        search: Search,
        made: Vec<Arc<Message>>,
        grant: Grant,
        without_origin: Option<u64>,
    ) -> Replayed {
        let made_bytes: usize = made.iter().map(|message| message.weight_bytes()).sum();
        let weight_bytes = size_of::<Replayed>() + search.filter().as_str().len() + made_bytes;
        Replayed { search, made, grant, without_origin, weight_bytes }
    }

    fn is_over(&self) -> bool {
        self.made.is_empty() && self.search.is_over()
    }

    /// The messages of the next step.
    fn step(&mut self, router: &Router, now: Instant) -> Vec<Arc<Message>> {
        match self.made.is_empty() {
            true => router.find_retained(&mut self.search, FOUND_MAX, now),
            false => std::mem::take(&mut self.made),
        }
    }
}

impl Replay {
    pub(crate) fn new(room: Room) -> Replay {
        Replay { searches: VecDeque::new(), found: VecDeque::new(), room }
    }

    /// Appends a search, unless so many are under way, or there is no room for it.
    pub(crate) fn push(&mut self, replayed: Replayed, searches_max: usize) -> Result<(), QueueFull> {
        if self.searches.len() >= searches_max {
            return Err(QueueFull);
        }
        self.room.claim(replayed.weight_bytes)?;
        self.searches.push_back(replayed);
        Ok(())
    }

    /// Gives up the search for a filter: one that is subscribed again, because the new search finds everything that this one has not
    /// sent yet, or one that is not subscribed any more ([MQTT-3.10.4-2]).
    /// Returns what it had found for it.
    pub(crate) fn give_up(&mut self, filter: &TopicFilter) -> Vec<Queued> {
        let Some(at) = self.searches.iter().position(|replayed| replayed.search.filter() == filter) else {
            return Vec::new();
        };
        let found = if at == 0 { std::iter::from_fn(|| self.pop_found()).collect() } else { Vec::new() };
        self.end_search(at);
        found
    }

    fn end_search(&mut self, at: usize) {
        let ended = self.searches.remove(at);
        self.room.give_back(ended.map_or(0, |ended| ended.weight_bytes));
        if self.searches.is_empty() {
            (self.searches, self.found) = (VecDeque::new(), VecDeque::new());
        }
    }

    /// The next message, as far as it has been found.
    pub(crate) fn front(&self) -> Option<&Queued> {
        self.found.front()
    }

    pub(crate) fn pop_front(&mut self) -> Option<Queued> {
        let first = self.pop_found();
        self.end_what_is_over();
        first
    }

    fn pop_found(&mut self) -> Option<Queued> {
        let first = self.found.pop_front();
        self.room.give_back(first.as_ref().map_or(0, |_| size_of::<Queued>()));
        first
    }

    /// Lends out what it has found; it has to come back as many as it was.
    pub(crate) fn lend_found(&mut self) -> VecDeque<Queued> {
        std::mem::take(&mut self.found)
    }

    pub(crate) fn return_found(&mut self, found: VecDeque<Queued>) {
        self.found = found;
    }

    /// Whether there is nothing left to send or to search for.
    pub(crate) fn is_over(&self) -> bool {
        self.searches.is_empty()
    }

    /// Searches one step further for what may be received; called when everything found is sent. False where there is nothing to
    /// search for.
    pub(crate) fn search(&mut self, router: &Router, rights: &Rights, now: Instant) -> bool {
        let Some(first) = self.searches.front_mut() else { return false };
        let found = first.step(router, now);
        let wanted = found.into_iter().filter(|message| {
            first.without_origin != Some(message.origin.0) && rights.include(&message.topic)
        });
        self.found.extend(wanted.map(|message| Queued::retained(message, &first.grant)));
        self.room.take(self.found.len() * size_of::<Queued>());
        self.end_what_is_over();
        true
    }

    fn end_what_is_over(&mut self) {
        if self.found.is_empty() && self.searches.front().is_some_and(Replayed::is_over) {
            self.end_search(0);
        }
    }

    /// Ends every search: what a session may keep of it, no more than `count`, and how much more there was. Deliveries at level 0
    /// are for nobody but the connection ([MQTT-3.1.1/3.1.2-5]).
    pub(crate) fn take(
        &mut self,
        router: &Router,
        rights: &Rights,
        count: usize,
        now: Instant,
    ) -> (Vec<Queued>, usize) {
        let above_level_0 = |replayed: &Replayed| replayed.grant.qos > QoS::AtMostOnce;
        let (mut kept, mut left_out) = (Vec::new(), 0);
        loop {
            while let Some(queued) = self.pop_found() {
                match queued.qos > QoS::AtMostOnce {
                    true if kept.len() < count => kept.push(queued),
                    is_lost => left_out += usize::from(is_lost),
                }
            }
            self.end_what_is_over();
            match self.searches.front() {
                Some(first) if above_level_0(first) => drop(self.search(router, rights, now)),
                Some(_) => self.end_search(0),
                None => return (kept, left_out),
            }
        }
    }
}

//! Messages between workers: what a publisher's worker sends to the homes of the receivers, and what those do with it.

use super::Shard;
use super::parcel::Parcel;
use super::publication::Publication;
use crate::entry::Claims;
use crate::mailbox::Letter;
use crate::route::Route;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::Message;

impl Shard {
    /// Sends a message to the other workers that are home to receivers.
    pub(super) fn mail(&mut self, route: &Route, publication: &mut Publication<'_>) {
        let mut workers = route.elsewhere;
        while workers != 0 {
            let worker = workers.trailing_zeros() as u8;
            workers &= workers - 1;
            // What is kept travels with its entries, which have no place in a parcel.
            if Parcel::suits(publication) {
                self.pack(worker, publication);
                continue;
            }
            let (message, reserved) = (publication.message(), publication.reserved);
            let claims = publication.claims.as_mut().map(|claims| claims.take_of(worker));
            let letter = Letter::Deliver { message, generation: route.generation, reserved, claims };
            self.letter_to(worker, letter);
        }
    }

    /// Puts a small message into the parcel for a worker: behind everything that it is sent already, so that order is kept.
    fn pack(&mut self, worker: u8, publication: &Publication<'_>) {
        let Some(letters) = self.outgoing.get_mut(usize::from(worker)) else { return };
        match letters.last_mut() {
            Some(Letter::Parcel(parcel)) if !parcel.is_full() => parcel.push(publication),
            _ => {
                let mut parcel = Parcel::default();
                parcel.push(publication);
                letters.push(Letter::Parcel(parcel));
            }
        }
    }

    /// Delivers what another worker's client has published.
    pub(super) fn deliver_mailed(
        &mut self,
        message: &Arc<Message>,
        generation: u64,
        reserved: Option<NonZeroU64>,
        claims: Option<Claims>,
        now: Instant,
    ) {
        let publication =
            Publication { generation, is_promised: true, reserved, claims, ..Publication::kept(message) };
        self.deliver_foreign(&mut { publication }, now);
    }

    /// Delivers what other workers' clients have published.
    pub(super) fn deliver_parcel(&mut self, parcel: &Parcel, now: Instant) {
        for mut publication in parcel.publications() {
            self.deliver_foreign(&mut publication, now);
        }
    }

    fn deliver_foreign(&mut self, publication: &mut Publication<'_>, now: Instant) {
        self.deliver_to_those_here(publication, now);
        self.settle_unused(publication);
    }

    fn deliver_to_those_here(&mut self, publication: &mut Publication<'_>, now: Instant) {
        let generation = publication.generation;
        if self.node.router.generation() != generation {
            return self.deliver_to_former(publication, generation, now);
        }
        let route = self.mailed_route(publication.topic, generation);
        if route.generation != generation {
            return self.deliver_to_former(publication, generation, now);
        }
        self.encoded.start(route.here.len() > 1);
        for entry in &route.here {
            self.deliver_to(entry, publication, now);
        }
    }

    /// The subscriptions have changed since the letter was written: whoever was at home here then is served by this
    /// worker, wherever its home is now. So nobody is forgotten and nobody is served twice.
    fn deliver_to_former(&mut self, publication: &mut Publication<'_>, generation: u64, now: Instant) {
        if publication.topic.queue_name().is_some() {
            return self.deliver_to_queue(publication, now);
        }
        let receivers = self.node.router.receivers(publication.topic, generation);
        self.encoded.start(receivers.len() > 1);
        for entry in receivers {
            if entry.queue.home_at(generation) == self.worker {
                self.deliver_to(&entry, publication, now);
            }
        }
    }
}

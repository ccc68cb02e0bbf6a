//! One receive of a bridge: from the upstream to topics here, and nothing acknowledged there before it is kept here.
//!
//! A task of its own, with a link that has no session. A message whose id was seen before is acknowledged and not published again; one
//! that would go in a circle likewise. What the gateway cannot take now is tried again until it can, and nothing behind it
//! overtakes it on the same topic, because nothing more is taken in meanwhile. What it never takes is rejected and counted.

use crate::backoff::{Backoff, RetryOptions};
use crate::forward::{Connect, Standing, random};
use crate::link::{Event, Link, LinkError, LinkRefusal, Matched, Publishing};
use crate::status::LaneStatus;
use crate::upstream::{Incoming, Order, Taken, UNSETTLED_MAX};
use crate::{LoopGuard, PATH_PROPERTY, Path, SeenIds, Sighting, StableId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Properties, QoS};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

/// Streams of ids that are remembered, and numbers of each.
const STREAMS_MAX: usize = 4096;
const NUMBERS_MAX: usize = 1 << 16;

/// Where a received message goes.
pub trait Destination: Send + Sync + fmt::Debug {
    /// The topic here, the payload and what it carries; or why it can have none.
    fn place(&self, incoming: &Incoming) -> Result<Publishing, Misplaced>;
}

/// Why a message has no place here, for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misplaced(pub String);

/// How one receive works.
#[derive(Debug, Clone)]
pub struct ReceiveOptions {
    /// Its name, for logs and metrics.
    pub name: String,
    /// What becomes of a message.
    pub destination: Arc<dyn Destination>,
    /// The highest level at which it is published here.
    pub qos_max: QoS,
}

/// What a receive shares with its bridge.
pub(crate) struct ReceiveSeat {
    pub(crate) bridge: Arc<str>,
    pub(crate) guard: LoopGuard,
    pub(crate) status: Arc<LaneStatus>,
    pub(crate) retry: RetryOptions,
    pub(crate) standing: watch::Receiver<Option<Standing>>,
    /// What came, and over which connection.
    pub(crate) incoming: mpsc::Receiver<(u64, Box<Incoming>)>,
}

/// One receive at work.
pub(crate) struct Receive<P> {
    options: ReceiveOptions,
    seat: ReceiveSeat,
    connect: Connect<P>,
    seen: SeenIds,
    next_ticket: u64,
    /// What is on its way into the gateway, by its ticket there: in the order in which it came.
    under_way: BTreeMap<u64, Guest>,
    /// Of those that have an id, the ticket.
    by_id: HashMap<Box<str>, u64>,
    /// Those that the gateway could not take.
    refused: Vec<u64>,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

/// A message on its way in.
struct Guest {
    /// Where it is to be settled: more than once where it came again meanwhile.
    doors: Vec<Door>,
    id: Option<Box<str>>,
    publishing: Publishing,
}

/// What is to be done with a message.
enum Prepared {
    /// It is published here.
    Publish(Option<Box<str>>, Publishing),
    /// Nothing: it is here, or has been.
    Here,
    /// Nothing yet: the same is on its way.
    UnderWay,
}

/// The number of a connection, and the ticket of a message on it.
type Door = (u64, u64);

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Receive<P> {
    pub(crate) fn new(options: ReceiveOptions, seat: ReceiveSeat, connect: Connect<P>) -> Receive<P> {
        let backoff = Backoff::new(seat.retry);
        let seen = SeenIds::new(STREAMS_MAX, NUMBERS_MAX);
        Receive {
            options,
            seat,
            connect,
            seen,
            next_ticket: 0,
            under_way: BTreeMap::new(),
            by_id: HashMap::new(),
            refused: Vec::new(),
            backoff,
            retry_at: None,
        }
    }

    /// Works until the bridge ends.
    pub(crate) async fn run(mut self) {
        let mut link_backoff = Backoff::new(self.seat.retry);
        loop {
            let error = match (self.connect)() {
                Some(pipe) => match self.serve(Link::new(pipe), &mut link_backoff).await {
                    Ok(()) => return,
                    Err(error) => error,
                },
                None => LinkError::Closed,
            };
            self.seat.status.set_attached(false);
            let wait = link_backoff.next(random());
            debug!(bridge = %self.seat.bridge, receive = %self.options.name, %error, ?wait, "the link is over");
            let ends = async { while self.seat.standing.changed().await.is_ok() {} };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ends => return,
            }
        }
    }

    /// Works over one link; ends without an error where the bridge does.
    async fn serve(&mut self, mut link: Link<P>, link_backoff: &mut Backoff) -> Result<(), LinkError> {
        // Nobody knows what became of what was on its way over the last link: once more, since twice is better than never.
        for (ticket, guest) in &self.under_way {
            link.outbox.publish(*ticket, guest.publishing.clone());
        }
        self.refused.clear();
        self.retry_at = None;
        self.seat.status.set_attached(true);
        loop {
            let retry_at = self.retry_at;
            let retry = async {
                match retry_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let has_room = self.under_way.len() < UNSETTLED_MAX && self.retry_at.is_none();
            tokio::select! {
                incoming = self.seat.incoming.recv(), if has_room => {
                    let Some((connection, incoming)) = incoming else { return Ok(()) };
                    self.take_in(connection, *incoming, &mut link).await;
                }
                event = link.inbox.next() => {
                    if let Event::Published { ticket, result } = event? {
                        link_backoff.reset();
                        self.note_published(ticket, result).await;
                    }
                }
                flushed = link.outbox.flush(), if link.outbox.has_more() => flushed?,
                () = retry => self.publish_again(&mut link),
                changed = self.seat.standing.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
            let under_way = self.under_way.len() as u64;
            self.seat.status.in_flight.store(under_way, std::sync::atomic::Ordering::Relaxed);
        }
    }

    async fn take_in(&mut self, connection: u64, incoming: Incoming, link: &mut Link<P>) {
        let door = (connection, incoming.ticket);
        match self.prepare(incoming, door) {
            Ok(Prepared::Publish(id, publishing)) => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                link.outbox.publish(ticket, publishing.clone());
                if let Some(id) = &id {
                    self.by_id.insert(id.clone(), ticket);
                }
                self.under_way.insert(ticket, Guest { doors: vec![door], id, publishing });
            }
            Ok(Prepared::Here) => self.settle(door, Taken::Yes).await,
            Ok(Prepared::UnderWay) => {}
            Err((label, reason)) => {
                debug!(bridge = %self.seat.bridge, receive = %self.options.name, label, %reason, "a message is not taken");
                self.seat.status.count_dropped(label);
                self.settle(door, Taken::Never).await;
            }
        }
    }

    fn prepare(&mut self, incoming: Incoming, door: Door) -> Result<Prepared, (&'static str, String)> {
        let path = Path::parse(incoming.path.as_deref().unwrap_or_default())
            .map_err(|error| ("bad_path", error.to_string()))?;
        if let Err(turned) = self.seat.guard.may_receive(path) {
            self.seat.status.count_dropped(turned.label());
            return Ok(Prepared::Here);
        }
        if let Some(known) = self.recognise(incoming.id.as_deref(), door) {
            LaneStatus::count(&self.seat.status.duplicates, 1);
            return Ok(known);
        }
        let mut publishing =
            self.options.destination.place(&incoming).map_err(|error| ("misplaced", error.to_string()))?;
        publishing.qos = publishing.qos.min(self.options.qos_max);
        let path = self.seat.guard.incoming(path, &self.seat.bridge);
        let path = path.map_err(|error| ("bad_path", error.to_string()))?;
        mark(publishing.properties.get_or_insert_default(), PATH_PROPERTY, &path);
        Ok(Prepared::Publish(incoming.id, publishing))
    }

    /// What is known of a message with this id. One that is on its way is acknowledged when it has arrived, wherever it came from.
    fn recognise(&mut self, id: Option<&str>, door: Door) -> Option<Prepared> {
        let id = id?;
        if let Some(guest) = self.by_id.get(id).and_then(|ticket| self.under_way.get_mut(ticket)) {
            guest.doors.push(door);
            return Some(Prepared::UnderWay);
        }
        let id = StableId::parse(id).ok()?;
        (self.seen.look(&id) == Sighting::Seen).then_some(Prepared::Here)
    }

    /// Takes a message out whose way has ended.
    fn leave(&mut self, ticket: u64) -> Option<Guest> {
        let guest = self.under_way.remove(&ticket)?;
        if let Some(id) = &guest.id {
            self.by_id.remove(id);
        }
        Some(guest)
    }

    async fn note_published(&mut self, ticket: u64, result: Result<Matched, LinkRefusal>) {
        match result {
            Err(refusal) if refusal.is_passing => self.pause(ticket, &refusal),
            Ok(_) => {
                let Some(guest) = self.leave(ticket) else { return };
                self.backoff.reset();
                if let Some(id) = guest.id.as_deref().and_then(|id| StableId::parse(id).ok()) {
                    self.seen.note(&id);
                }
                LaneStatus::count(&self.seat.status.confirmed, 1);
                self.settle_all(&guest, Taken::Yes).await;
            }
            Err(refusal) => {
                let Some(guest) = self.leave(ticket) else { return };
                warn!(bridge = %self.seat.bridge, receive = %self.options.name, "a message is not taken: {refusal}");
                self.seat.status.count_dropped("refused_here");
                self.settle_all(&guest, Taken::Never).await;
            }
        }
    }

    fn pause(&mut self, ticket: u64, refusal: &LinkRefusal) {
        self.refused.push(ticket);
        if self.retry_at.is_none() {
            let wait = self.backoff.next(random());
            warn!(bridge = %self.seat.bridge, receive = %self.options.name, ?wait, "the gateway takes no messages now: {refusal}");
            self.retry_at = Some(Instant::now() + wait);
        }
    }

    fn publish_again(&mut self, link: &mut Link<P>) {
        self.retry_at = None;
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort_unstable();
        for ticket in refused {
            if let Some(guest) = self.under_way.get(&ticket) {
                LaneStatus::count(&self.seat.status.retried, 1);
                link.outbox.publish(ticket, guest.publishing.clone());
            }
        }
    }

    async fn settle_all(&self, guest: &Guest, taken: Taken) {
        for door in &guest.doors {
            self.settle(*door, taken).await;
        }
    }

    /// Tells the upstream, where the connection over which the message came still stands.
    async fn settle(&self, (connection, ticket): Door, taken: Taken) {
        let standing = self.seat.standing.borrow().clone();
        if let Some(standing) = standing.filter(|standing| standing.number == connection) {
            // Where the connection is lost meanwhile, the message comes again.
            let _ = standing.orders.send(Order::Settle { ticket, taken }).await;
        }
    }
}

/// Gives a message this value of one of the gateway's own properties, in place of any that it brings along.
fn mark(properties: &mut Properties, name: &str, value: &str) {
    properties.user.retain(|(known, _)| **known != *name);
    properties.user.push((name.into(), value.into()));
}

//! One receive of a bridge: from the upstream to topics here, and nothing acknowledged there before it is kept here.
//!
//! A task of its own, with a link whose session is there only for what is known of ids ([`KnownIds`]), where that is kept. A message whose id was seen
//! before is acknowledged and not published again; one that would go in a circle likewise. What the gateway cannot take now is tried again until it can, and nothing behind it
//! overtakes it on the same topic, because nothing more is taken in meanwhile. What it never takes is rejected and counted.

use crate::backoff::{Backoff, RetryOptions};
use crate::forward::{Connect, random};
use crate::known_ids::KnownIds;
use crate::lane_status::LaneStatus;
use crate::link::{Event, Link, LinkError, LinkRefusal, Matched, Publishing};
use crate::patience::Patience;
use crate::settling::{Door, Settling};
use crate::standing::Standing;
use crate::upstream::{Incoming, Taken, UNSETTLED_MAX};
use crate::{LoopGuard, PATH_PROPERTY, Path, Sighting};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::{Properties, QoS};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

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
    /// The session in which it keeps which ids it has had; nothing where the gateway keeps nothing.
    pub session: Option<String>,
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
    pub(crate) standing: watch::Receiver<Standing>,
    /// What came, and over which connection.
    pub(crate) incoming: mpsc::Receiver<(u64, Box<Incoming>)>,
}

/// One receive at work.
pub(crate) struct Receive<P> {
    options: ReceiveOptions,
    seat: ReceiveSeat,
    connect: Connect<P>,
    known: KnownIds,
    settling: Settling,
    /// What has come and waits for its turn, with the connection that it came over.
    waiting: VecDeque<(u64, Box<Incoming>)>,
    next_ticket: u64,
    /// What is on its way into the gateway, by its ticket there: in the order in which it came.
    under_way: BTreeMap<u64, Guest>,
    /// Of those that have an id, the ticket.
    by_id: HashMap<Box<str>, u64>,
    /// Those that the gateway could not take.
    refused: Vec<u64>,
    /// The one of them that was sent again, alone: the others follow when it is here.
    probe: Option<u64>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    patience: Patience,
    /// Whether something has become of a message since that was looked at.
    was_answered: bool,
    /// Whether a message was not taken, for good, and none has been since.
    is_not_taken: bool,
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

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Receive<P> {
    pub(crate) fn new(options: ReceiveOptions, seat: ReceiveSeat, connect: Connect<P>) -> Receive<P> {
        let backoff = Backoff::new(seat.retry);
        let known = KnownIds::new(options.session.is_some());
        Receive {
            settling: Settling::new(seat.standing.clone()),
            options,
            seat,
            connect,
            known,
            waiting: VecDeque::new(),
            next_ticket: 0,
            under_way: BTreeMap::new(),
            by_id: HashMap::new(),
            refused: Vec::new(),
            probe: None,
            backoff,
            retry_at: None,
            patience: Patience::default(),
            was_answered: false,
            is_not_taken: false,
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
            let wait = link_backoff.next(random());
            debug!(bridge = %self.seat.bridge, receive = %self.options.name, %error, ?wait, "the link is over");
            if self.rest(wait).await.is_none() {
                return;
            }
        }
    }

    /// Rests, and makes room in the channel meanwhile; nothing where the bridge ends.
    async fn rest(&mut self, wait: Duration) -> Option<()> {
        let sleep = tokio::time::sleep(wait);
        tokio::pin!(sleep);
        loop {
            self.settling.look();
            // What is on its way in comes to nothing before a connection that ends has ended.
            self.settling.let_go();
            self.forget_stale();
            tokio::select! {
                () = &mut sleep => return Some(()),
                incoming = self.seat.incoming.recv(), if self.waiting.len() < UNSETTLED_MAX => {
                    self.waiting.push_back(incoming?);
                }
                changed = self.settling.changed() => changed?,
            }
        }
    }

    /// Where too much waits, what came over connections that are gone is let go: it comes again. So there is room for everything that a connection
    /// hands over, and the bridge never waits for this task.
    fn forget_stale(&mut self) {
        if self.waiting.len() >= UNSETTLED_MAX {
            let standing = self.settling.number();
            let newest = self.waiting.iter().map(|(connection, _)| *connection).chain(standing).max();
            self.waiting.retain(|(connection, _)| Some(*connection) == newest);
        }
    }

    /// Works over one link; ends without an error where the bridge does.
    async fn serve(&mut self, mut link: Link<P>, link_backoff: &mut Backoff) -> Result<(), LinkError> {
        self.begin(&mut link).await?;
        let _attached = self.seat.status.attach();
        loop {
            self.settling.settle_early().await;
            self.save_whole(&mut link);
            self.take_waiting(&mut link).await;
            self.let_go();
            self.note_under_way();
            let retry_at = self.retry_at;
            let retry = async {
                match retry_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                incoming = self.seat.incoming.recv(), if self.waiting.len() < UNSETTLED_MAX => {
                    let Some(incoming) = incoming else { return Ok(()) };
                    self.waiting.push_back(incoming);
                }
                event = link.inbox.next() => {
                    if let Event::Published { ticket, result } = event? {
                        link_backoff.reset();
                        self.note_published(ticket, result).await;
                        self.publish_rest(&mut link);
                    }
                }
                flushed = link.outbox.flush(), if link.outbox.has_more() => flushed?,
                () = retry => self.publish_again(&mut link),
                changed = self.settling.changed() => {
                    if changed.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Reads what was kept, and sends again what was on its way over the last link. Nobody knows what became of it where it has no id, or where
    /// nothing is kept: once more, since twice is better than never.
    async fn begin(&mut self, link: &mut Link<P>) -> Result<(), LinkError> {
        self.refused.clear();
        (self.retry_at, self.probe) = (None, None);
        if let Some(session) = &self.options.session {
            let kept = link.attach_to_save(session).await.inspect_err(|error| self.note_no_session(error))?;
            let bad = self.known.restore(&kept);
            if bad > 0 {
                warn!(bridge = %self.seat.bridge, receive = %self.options.name, pieces = bad, "a part of what is known of ids makes no sense");
            }
        }
        for ticket in self.under_way.keys().copied().collect::<Vec<_>>() {
            let id = self.under_way.get(&ticket).and_then(|guest| guest.id.clone());
            match id.is_some_and(|id| self.known.look(&id) == Sighting::Seen) {
                true => self.note_published(ticket, Ok(Matched(true))).await,
                false => self.publish(ticket, link),
            }
        }
        Ok(())
    }

    fn note_no_session(&self, error: &LinkError) {
        if let LinkError::Refused(refusal) = error {
            warn!(bridge = %self.seat.bridge, receive = %self.options.name, "the gateway refuses the bridge's session: {refusal}");
            self.seat.status.note_problem(&format!("the gateway refuses the bridge's session: {refusal}"));
        }
    }

    /// Whether the gateway could not take a message, and has taken none since.
    fn is_turned_away(&self) -> bool {
        self.retry_at.is_some() || self.probe.is_some()
    }

    /// Publishes what is under way under this ticket, with what is to be kept of its id.
    fn publish(&mut self, ticket: u64, link: &mut Link<P>) {
        let Some(guest) = self.under_way.get(&ticket) else { return };
        if let Some(piece) = self.known.piece(guest.id.as_deref()) {
            link.outbox.save_more(piece);
        }
        link.outbox.publish(ticket, guest.publishing.clone());
    }

    /// Writes what is known as a whole, where it is time for that and nothing is on its way with which more is kept.
    fn save_whole(&mut self, link: &mut Link<P>) {
        if self.known.is_whole_due() && self.under_way.len() == self.refused.len() {
            link.outbox.save_whole(self.known.whole());
        }
    }

    /// Lets a connection end on which nothing is left to be said.
    fn let_go(&mut self) {
        if self.under_way.len() == self.refused.len() {
            self.settling.let_go();
        }
    }

    /// Takes in what may be taken in now.
    async fn take_waiting(&mut self, link: &mut Link<P>) {
        if self.settling.is_ending() {
            // It comes again over the next connection, and nothing has become of it here.
            self.waiting.clear();
        }
        self.forget_stale();
        while self.under_way.len() < UNSETTLED_MAX
            && !self.is_turned_away()
            && !self.known.is_whole_due()
            && let Some((connection, incoming)) = self.waiting.pop_front()
        {
            self.take_in(connection, *incoming, link).await;
        }
    }

    /// Tells how it stands with what is on its way in.
    fn note_under_way(&mut self) {
        let status = &self.seat.status;
        status.in_flight.store(self.under_way.len() as u64, std::sync::atomic::Ordering::Relaxed);
        let was_answered = std::mem::take(&mut self.was_answered);
        self.patience.note(!self.under_way.is_empty(), was_answered, Instant::now());
        status.set_waiting_since(self.patience.since());
    }

    async fn take_in(&mut self, connection: u64, incoming: Incoming, link: &mut Link<P>) {
        let door = (connection, incoming.ticket);
        LaneStatus::count(&self.seat.status.received, 1);
        match self.prepare(incoming, door) {
            Ok(Prepared::Publish(id, publishing)) => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                if let Some(id) = &id {
                    self.by_id.insert(id.clone(), ticket);
                }
                self.under_way.insert(ticket, Guest { doors: vec![door], id, publishing });
                self.publish(ticket, link);
            }
            Ok(Prepared::Here) => self.settling.settle(door, Taken::Yes).await,
            Ok(Prepared::UnderWay) => {}
            Err((label, reason)) => {
                self.note_not_taken(label, reason);
                self.settling.settle(door, Taken::Never).await;
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
        (self.known.look(id) == Sighting::Seen).then_some(Prepared::Here)
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
                (self.was_answered, self.is_not_taken) = (true, false);
                self.backoff.reset();
                guest.id.iter().for_each(|id| self.known.note(id));
                LaneStatus::count(&self.seat.status.confirmed, 1);
                self.settle_all(&guest, Taken::Yes).await;
            }
            Err(refusal) => {
                let Some(guest) = self.leave(ticket) else { return };
                self.was_answered = true;
                self.note_not_taken(
                    "refused_here",
                    format!("the gateway does not take a message: {refusal}"),
                );
                self.settle_all(&guest, Taken::Never).await;
            }
        }
    }

    /// Counts a message that is never taken, and says so of the first of several.
    fn note_not_taken(&mut self, label: &'static str, reason: String) {
        if !std::mem::replace(&mut self.is_not_taken, true) {
            warn!(bridge = %self.seat.bridge, receive = %self.options.name, label, "messages are not taken: {reason}");
        }
        self.seat.status.count_dropped(label);
        self.seat.status.note_problem(&reason);
    }

    fn pause(&mut self, ticket: u64, refusal: &LinkRefusal) {
        self.probe.take_if(|probe| *probe == ticket);
        self.refused.push(ticket);
        LaneStatus::count(&self.seat.status.turned_away, 1);
        if self.retry_at.is_none() {
            let wait = self.backoff.next(random());
            warn!(bridge = %self.seat.bridge, receive = %self.options.name, ?wait, "the gateway takes no messages now: {refusal}");
            self.seat.status.note_problem(&format!("the gateway takes no messages now: {refusal}"));
            self.retry_at = Some(Instant::now() + wait);
        }
    }

    /// Sends the first one again that could not be taken: nothing behind it, which might be taken when it is not.
    fn publish_again(&mut self, link: &mut Link<P>) {
        self.retry_at = None;
        self.refused.sort_unstable();
        if !self.refused.is_empty() {
            let first = self.refused.remove(0);
            self.probe = Some(first);
            self.send_again(first, link);
        }
    }

    /// Sends the others again when the first one is here.
    fn publish_rest(&mut self, link: &mut Link<P>) {
        if self.probe.is_some_and(|probe| !self.under_way.contains_key(&probe)) {
            self.probe = None;
            let mut refused = std::mem::take(&mut self.refused);
            refused.sort_unstable();
            refused.into_iter().for_each(|ticket| self.send_again(ticket, link));
        }
    }

    fn send_again(&mut self, ticket: u64, link: &mut Link<P>) {
        LaneStatus::count(&self.seat.status.retried, 1);
        self.publish(ticket, link);
    }

    async fn settle_all(&mut self, guest: &Guest, taken: Taken) {
        for door in &guest.doors {
            self.settling.settle(*door, taken).await;
        }
    }
}

/// Gives a message this value of one of the gateway's own properties, in place of any that it brings along.
fn mark(properties: &mut Properties, name: &str, value: &str) {
    properties.user.retain(|(known, _)| **known != *name);
    properties.user.push((name.into(), value.into()));
}

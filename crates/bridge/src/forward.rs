//! One forward of a bridge: from its session here to the upstream, and nothing settled before the upstream has confirmed it.
//!
//! A task of its own. It holds what its link has delivered ([`Flight`]), hands it in order to whatever connection stands, and settles
//! what is confirmed. When the connection is lost everything without a verdict is sent again over the next one. What the upstream refuses
//! for good becomes a dead letter, which is kept here before the message itself is settled.

use crate::Envelope;
use crate::backoff::{Backoff, RetryOptions};
use crate::dead_letter::{DeadLetters, Fate, Reason};
use crate::lane_status::LaneStatus;
use crate::lifetime::{Lifetime, Useless};
use crate::link::{Delivered, Event, Link, LinkError};
use crate::outbound::Outbound;
use crate::pace::PaceOptions;
use crate::packing::Packing;
use crate::patience::Patience;
use crate::standing::{Standing, Way};
use crate::ticket::first_ticket;
use crate::upstream::{Order, Outgoing, Verdict};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::{QoS, TopicFilter};
use tidegate_protocol::{Backlog, Outcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

/// How one forward works.
#[derive(Debug, Clone)]
pub struct ForwardOptions {
    /// The name of its session and of its stream of ids, which has to stay the same; unique among all forwards of the node.
    pub name: String,
    /// What is forwarded, and the highest level at which it is taken.
    pub filters: Vec<(TopicFilter, QoS)>,
    /// Whether the retained messages that match are forwarded when the session is new.
    pub retained: bool,
    /// Messages that may be on their way without a verdict, at least 1.
    pub in_flight_max: u32,
    /// Bytes of them, about; one message may always be on its way.
    pub in_flight_bytes_max: usize,
    /// Which message is sent first.
    pub order: ForwardOrder,
    /// How fast what waited during an outage is sent.
    pub drain: PaceOptions,
    /// What is kept of what waits; the rest is dropped and counted.
    pub keep: Keep,
    /// For how long a message may have waited here that is sent; for ever where there is nothing. It is dropped and counted otherwise.
    pub max_age: Option<Duration>,
    /// What is sent around the payload.
    pub envelope: Envelope,
    /// Where messages go that the upstream refuses for good; they are dropped and counted where there is nothing.
    pub dead_letter: Option<String>,
}

/// Which message is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardOrder {
    /// The one that has waited longest.
    #[default]
    Strict,
    /// What comes while the upstream is there, then the one that has waited longest. Needs a gateway that keeps what waits.
    LiveFirst,
}

/// What is kept of what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Every message.
    #[default]
    All,
    /// The newest of each topic. Not with [`ForwardOrder::LiveFirst`], where what is sent last is not what is newest.
    Last,
}

/// Opens the pipes of links; nothing while the gateway has no room, or stops.
pub type Connect<P> = Arc<dyn Fn() -> Option<P> + Send + Sync>;

/// What a forward shares with its bridge.
pub(crate) struct ForwardSeat {
    pub(crate) packing: Packing,
    pub(crate) lifetime: Lifetime,
    pub(crate) bridge: Arc<str>,
    pub(crate) status: Arc<LaneStatus>,
    pub(crate) retry: RetryOptions,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) verdicts: mpsc::Receiver<(u64, Verdict)>,
}

/// One forward at work.
pub(crate) struct Forward<P> {
    options: ForwardOptions,
    seat: ForwardSeat,
    connect: Connect<P>,
    outbound: Outbound,
    backoff: Backoff,
    dead_letters: DeadLetters,
    /// The upstream's connection, as far as that was noted.
    line: Standing,
    patience: Patience,
    /// Whether the upstream has answered for a message, or a dead letter is kept, since that was looked at.
    was_answered: bool,
    /// Whether the upstream has turned a message away for the moment, and confirmed none since.
    is_turned_away: bool,
    /// How many messages it has refused for good and confirmed none since.
    refusals: u32,
}

/// After how many messages that were refused for good, one after the other, the upstream is said to refuse everything.
const REFUSALS: u32 = 3;

/// How long the last settlements may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a link is over, for the loop that makes the next one.
enum End {
    Stopped,
    Link(LinkError),
}

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Forward<P> {
    pub(crate) fn new(options: ForwardOptions, seat: ForwardSeat, connect: Connect<P>) -> Forward<P> {
        let outbound = Outbound::new(&options, first_ticket(seat.packing.lane));
        let dead_letters = DeadLetters::new(options.dead_letter.clone(), &seat.bridge);
        let backoff = Backoff::new(seat.retry);
        Forward {
            options,
            seat,
            connect,
            outbound,
            backoff,
            dead_letters,
            line: Standing::Gone,
            patience: Patience::default(),
            was_answered: false,
            is_turned_away: false,
            refusals: 0,
        }
    }

    /// Works until the bridge ends, which closes the watch.
    pub(crate) async fn run(mut self) {
        let mut link_backoff = Backoff::new(self.seat.retry);
        loop {
            let end = match (self.connect)() {
                Some(pipe) => self.serve(Link::new(pipe), &mut link_backoff).await,
                None => End::Link(LinkError::Closed),
            };
            let error = match end {
                End::Stopped => return,
                End::Link(error) => error,
            };
            // What the link had delivered comes again from the session, and what was confirmed meanwhile is settled there or comes twice.
            self.restart_flight();
            if self.seat.standing.has_changed().is_err() {
                return;
            }
            let wait = link_backoff.next(random());
            debug!(bridge = %self.seat.bridge, forward = %self.options.name, %error, ?wait, "the link is over");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = closed(&mut self.seat.standing) => return,
            }
        }
    }

    fn restart_flight(&mut self) {
        self.outbound.restart(&self.options);
        self.line = Standing::Gone;
        self.dead_letters.forget();
        // Nothing is held or waits for an answer: the connection is not to be given up for it.
        (self.patience, self.was_answered) = (Patience::default(), false);
        self.note_flight();
    }

    /// Works over one link.
    async fn serve(&mut self, mut link: Link<P>, link_backoff: &mut Backoff) -> End {
        let mut early = Vec::new();
        let ForwardOptions { name, filters, retained, .. } = &self.options;
        let credit = self.outbound.credit();
        if self.outbound.is_live_first() {
            link.outbox.arrange(Backlog::Grows);
        }
        if let Err(error) = link.attach(name, credit, filters, *retained, &mut early).await {
            if let LinkError::Refused(refusal) = &error {
                warn!(bridge = %self.seat.bridge, forward = %name, "the gateway refuses the bridge's session: {refusal}");
                self.seat
                    .status
                    .note_problem(&format!("the gateway refuses the bridge's session: {refusal}"));
            }
            return End::Link(error);
        }
        link_backoff.reset();
        let _attached = self.seat.status.attach();
        early.into_iter().for_each(|delivered| self.take_in(Box::new(delivered), &mut link));
        self.note_standing(&mut link);
        loop {
            self.send(&mut link);
            self.note_flight();
            match self.wait(&mut link).await {
                Ok(true) => {}
                Ok(false) => {
                    self.judge_all(&mut link);
                    // What is confirmed is settled before the end, so that it does not come again. Where that fails it comes under its id.
                    let _ = tokio::time::timeout(LAST_WORDS, link.outbox.flush()).await;
                    return End::Stopped;
                }
                Err(error) => return End::Link(error),
            }
        }
    }

    /// Waits for the next thing that changes something, and handles it; false where the bridge ends.
    async fn wait(&mut self, link: &mut Link<P>) -> Result<bool, LinkError> {
        let now = Instant::now();
        let wake_at = self.wake_at(now);
        let sleep = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let blocked = self.line.way().filter(|_| self.outbound.next(now).is_some());
        let orders = blocked.map(|way| way.orders.clone());
        let capacity = async {
            match &orders {
                // Where nobody takes them any more the bridge is about to say so.
                Some(orders) if orders.reserve().await.is_ok() => {}
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            event = link.inbox.next(), if self.has_room() => {
                let event = event?;
                self.handle(event, link);
                while self.has_room() && let Some(event) = link.inbox.take_ready()? {
                    self.handle(event, link);
                }
            }
            verdict = self.seat.verdicts.recv() => {
                let Some((ticket, verdict)) = verdict else { return Ok(false) };
                self.judge(ticket, verdict, link);
                self.judge_all(link);
            }
            changed = self.seat.standing.changed() => {
                if changed.is_err() {
                    return Ok(false);
                }
                self.note_standing(link);
            }
            flushed = link.outbox.flush(), if link.outbox.has_more() => flushed?,
            () = capacity => {}
            () = sleep => {}
        }
        Ok(true)
    }

    /// Whether more is read from the link. The answer for a dead letter comes over it as well, behind whatever stands in front of it.
    fn has_room(&self) -> bool {
        self.dead_letters.is_awaited() || self.outbound.flight.has_room_beside(self.dead_letters.bytes())
    }

    /// When something may be sent that may not now, because of the pace or a pause, or is to be given up.
    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let calm_at = self.line.way().and_then(|_| self.outbound.calm_at());
        let own = self.dead_letters.retry_at().into_iter().chain(calm_at);
        own.chain(self.outbound.flight.next_deadline())
            .chain(self.outbound.next_look(now))
            .chain(self.held_until(now))
            .min()
    }

    /// Until when the next message has to wait, where it has to wait for a moment.
    fn held_until(&self, now: Instant) -> Option<Instant> {
        self.line.way().and_then(|_| self.outbound.held_until(now))
    }

    fn note_standing(&mut self, link: &mut Link<P>) {
        // What the upstream has said over the connection before still counts.
        self.judge_all(link);
        let standing = self.seat.standing.borrow_and_update().clone();
        let (is_same, stands) = (self.line.number() == standing.number(), standing.way().is_some());
        self.line = standing;
        if is_same {
            return;
        }
        self.outbound.note_line(stands);
        self.backoff.reset();
        let now = Instant::now();
        self.patience.note_lost(now);
        if stands {
            self.patience.note_standing(now);
        }
        if self.outbound.is_live_first() {
            // While the upstream is away everything is backlog, and what comes when it is back is not.
            link.outbox.arrange(if stands { Backlog::Overtaken } else { Backlog::Grows });
        }
    }

    fn handle(&mut self, event: Event, link: &mut Link<P>) {
        match event {
            Event::Delivered(delivered) => self.take_in(delivered, link),
            Event::Published { ticket, result } => {
                self.was_answered |= !result.as_ref().is_err_and(|refusal| refusal.is_passing);
                let fate = self.dead_letters.note_published(ticket, result, &mut link.outbox);
                fate.into_iter().for_each(|fate| self.note_fate(fate));
            }
            Event::Saved(_) | Event::Attached { .. } | Event::Done | Event::Refused(_) => {}
        }
    }

    /// Counts what has become of a dead letter.
    fn note_fate(&self, fate: Fate) {
        let (bridge, forward) = (&self.seat.bridge, &self.options.name);
        match fate {
            Fate::Kept => LaneStatus::count(&self.seat.status.dead_letters, 1),
            Fate::Waits { why, is_first } => {
                if is_first {
                    self.seat.status.note_problem(&format!("a dead letter cannot be kept now: {why}"));
                    warn!(%bridge, %forward, "a dead letter cannot be kept now: {why}");
                }
            }
            Fate::Lost { label, why, is_first } => {
                self.seat.status.count_dropped(label);
                self.seat.status.note_problem(&format!("a dead letter is lost: {why}"));
                if is_first {
                    error!(%bridge, %forward, "dead letters are lost: {why}");
                }
            }
        }
    }

    /// Takes a delivery in, unless it would go in a circle.
    fn take_in(&mut self, delivered: Box<Delivered>, link: &mut Link<P>) {
        self.outbound.note_came(&delivered);
        match self.seat.packing.may_leave(&delivered) {
            Ok(()) => {
                let deadline = self.seat.lifetime.deadline(&delivered, Instant::now());
                self.outbound.flight.push(delivered, deadline);
            }
            Err((label, _)) => {
                self.seat.status.count_dropped(label);
                link.outbox.settle(delivered.tag, Outcome::Accepted);
            }
        }
    }

    /// Sends what may be sent.
    fn send(&mut self, link: &mut Link<P>) {
        let now = Instant::now();
        self.dead_letters.retry(&mut link.outbox, now);
        if self.outbound.keep_last(now) {
            link.outbox.arrange(Backlog::LastValues);
        }
        self.give_up_useless(now, link);
        if let Some(way) = self.line.way().cloned() {
            self.send_over(&way, now, link);
            self.outbound.note_calm(now);
        } else if self.options.max_age.is_some() {
            // What waits becomes too old meanwhile, and is given up here only.
            self.ask(now, link);
        }
    }

    fn send_over(&mut self, way: &Way, now: Instant, link: &mut Link<P>) {
        while let Some((part, held)) = self.outbound.next(now) {
            let Ok(permit) = way.orders.try_reserve() else { break };
            let (bytes, is_repeated) = (held.delivered.payload.len(), held.was_sent);
            let outgoing = self.seat.packing.outgoing(&held.delivered, is_repeated, now);
            let Some(ticket) = self.outbound.note_sent(part, now) else { break };
            let outgoing = match outgoing {
                Ok(outgoing) => outgoing,
                Err(error) => {
                    let verdict = Verdict::Never { label: "not_expressible", reason: error.to_string() };
                    self.judge(ticket, verdict, link);
                    continue;
                }
            };
            if is_repeated {
                LaneStatus::count(&self.seat.status.retried, 1);
            }
            self.outbound.note_left(part, bytes, now);
            permit.send(Order::Send(Box::new(Outgoing { ticket, ..outgoing })));
        }
        self.ask(now, link);
    }

    /// Asks for more of the backlog, where that does not come by itself.
    fn ask(&mut self, now: Instant, link: &mut Link<P>) {
        if let Some(count) = self.outbound.ask(now) {
            link.outbox.arrange(Backlog::More(count));
        }
    }

    /// Gives up what is of no use any more, also while the upstream is away: so nothing waits on the disk for its return in vain.
    fn give_up_useless(&mut self, now: Instant, link: &mut Link<P>) {
        while let Some((delivered, why)) = self.outbound.flight.take_useless(now) {
            self.give_up(&delivered, why, link);
        }
    }

    fn give_up(&self, delivered: &Delivered, why: Useless, link: &mut Link<P>) {
        self.seat.status.count_dropped(why.label());
        link.outbox.settle(delivered.tag, Outcome::GivenUp);
    }

    /// Judges everything that has come.
    fn judge_all(&mut self, link: &mut Link<P>) {
        while let Ok((ticket, verdict)) = self.seat.verdicts.try_recv() {
            self.judge(ticket, verdict, link);
        }
    }

    fn judge(&mut self, ticket: u64, verdict: Verdict, link: &mut Link<P>) {
        match verdict {
            Verdict::Confirmed => {
                let Some(delivered) = self.outbound.take(ticket, Instant::now()) else { return };
                LaneStatus::count(&self.seat.status.confirmed, 1);
                (self.was_answered, self.is_turned_away, self.refusals) = (true, false, 0);
                if self.outbound.note_confirmed(ticket) {
                    info!(bridge = %self.seat.bridge, forward = %self.options.name, "the upstream takes messages again");
                }
                self.backoff.reset();
                link.outbox.settle(delivered.tag, Outcome::Accepted);
            }
            Verdict::NotNow(reason) => {
                if self.outbound.flight.return_to_front(ticket) {
                    LaneStatus::count(&self.seat.status.turned_away, 1);
                    (self.was_answered, self.is_turned_away) = (true, true);
                    self.pause(&reason);
                }
            }
            Verdict::Expired => {
                if let Some(delivered) = self.outbound.flight.take(ticket) {
                    self.give_up(&delivered, Useless::Expired, link);
                }
            }
            Verdict::Never { label, reason } => {
                let Some(delivered) = self.outbound.take(ticket, Instant::now()) else { return };
                let id = self.seat.packing.id(&delivered);
                (self.was_answered, self.refusals) = (true, self.refusals.saturating_add(1));
                self.seat.status.count_refused(label);
                self.seat.status.note_problem(&reason);
                if self.options.dead_letter.is_none() {
                    self.seat.status.count_dropped(label);
                }
                self.dead_letters.bury(&delivered, &id, Reason { label, text: &reason }, &mut link.outbox);
            }
        }
    }

    /// Rests before the next attempt, once for all that were turned away together.
    fn pause(&mut self, reason: &str) {
        let now = Instant::now();
        if self.outbound.is_paused(now) {
            return;
        }
        let wait = self.backoff.next(random());
        warn!(bridge = %self.seat.bridge, forward = %self.options.name, %reason, ?wait, "the upstream takes no messages now");
        self.seat.status.note_problem(reason);
        self.outbound.pause(now + wait);
    }

    /// Tells how it stands with what is held.
    fn note_flight(&mut self) {
        let (status, now) = (self.seat.status.clone(), Instant::now());
        status.set_draining(self.outbound.is_draining());
        status.in_flight.store(self.outbound.flight.len() as u64, std::sync::atomic::Ordering::Relaxed);
        status.set_oldest_held(self.outbound.flight.oldest_taken_at_millis());
        self.is_turned_away &= self.outbound.flight.len() > 0;
        status.set_rejected(self.is_turned_away || self.refusals >= REFUSALS);
        let was_answered = std::mem::take(&mut self.was_answered);
        if self.line.number().is_some() {
            let may_be_sent = self.outbound.next(now).is_some();
            let has_work =
                self.outbound.flight.is_on_its_way() || may_be_sent || !self.dead_letters.is_empty();
            self.patience.note(has_work, was_answered, now);
        }
        status.set_unanswered(self.outbound.flight.is_on_its_way());
        status.set_waiting_since(self.patience.since());
    }
}

/// Ends when the bridge does.
async fn closed<T>(watch: &mut watch::Receiver<T>) {
    while watch.changed().await.is_ok() {}
}

/// A number that another gateway does not have at the same moment. No secret.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Duration::ZERO)
}

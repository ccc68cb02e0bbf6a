//! Durable subscriptions: what is published while their client is away waits for it.
//!
//! Each is a session of the broker with one filter. It belongs to the client (`client-id` of CONNECT) and the subscription's id, on whatever
//! connection. Another connection may hold it on another worker; then the broker answers later, and until it does no frame is handled, so
//! that receipts stay in order.
//!
//! ```text
//!               SUBSCRIBE / attach              UNSUBSCRIBE, end of the connection / detach
//!   Away ──────────────────────────────► Held ────────────────────────────────────────────► Away
//!    │ UNSUBSCRIBE with durable:true,     │ UNSUBSCRIBE with durable:true
//!    │ durable_expiry                     │
//!    └──────────────► Gone ◄──────────────┘
//! ```
//!
//! What waits, for how long and up to which limits is the broker's; what a NACK means is the subscription's.

use crate::StompOptions;
use crate::codec::Frame;
use crate::names::{Place, Source};
use crate::reason::Fault;
use crate::subscribe::{binding, flag};
use crate::subscriptions::{AckMode, Name, Subscriptions, Terms};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::time::Duration;
use tidegate_message::TopicFilter;
use tidegate_protocol::{
    Answer, Attach, Attached, Attachment, Broker, ConsumerId, Detach, Following, Outcome, Refusal,
    RetainedDelivery, Saved, Saving, SessionLimits, Settlement, WillAction,
};

/// Sessions of this protocol are no other's.
const PROTOCOL: &str = "stomp";

/// The durable subscriptions of one connection.
#[derive(Debug, Default)]
pub(crate) struct DurableSubscriptions {
    /// Whose they are: the client's `client-id`.
    owner: Option<Box<str>>,
    /// Those that the connection holds, with their filter, which the session keeps for the next connection.
    held: HashMap<ConsumerId, Box<str>, RandomState>,
    awaited: Option<Box<Awaited>>,
}

/// A frame that goes on when the broker gives a session.
#[derive(Debug)]
struct Awaited {
    consumer: ConsumerId,
    purpose: Purpose,
    receipt: Option<Box<str>>,
}

/// What a session is wanted for.
#[derive(Debug)]
enum Purpose {
    /// SUBSCRIBE.
    Subscribe { filter: TopicFilter, retained: RetainedDelivery },
    /// UNSUBSCRIBE of one that the connection does not hold: it ends.
    Delete,
}

/// How far a frame has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Everything is done, and may be acknowledged when the answer says so.
    Done(Answer),
    /// Everything is done, and a subscription that can be resumed begins there.
    Following(Following),
    /// The broker owes an answer; [`DurableSubscriptions::resume`] goes on with it.
    Awaiting,
}

/// What a SUBSCRIBE asks for.
pub(crate) struct Wanted<'f> {
    pub(crate) name: Name,
    pub(crate) destination: &'f str,
    pub(crate) source: Source,
    pub(crate) ack_mode: AckMode,
    pub(crate) credit: u32,
    pub(crate) retained: RetainedDelivery,
}

/// Whether a SUBSCRIBE or UNSUBSCRIBE is about a durable subscription; `persistent` is what clients of RabbitMQ may call it.
pub(crate) fn is_durable(frame: &Frame<'_>) -> Result<bool, Fault> {
    let durable = flag("durable", frame.headers.get("durable"))?;
    let persistent = flag("persistent", frame.headers.get("persistent"))?;
    Ok(durable.or(persistent).unwrap_or(false))
}

/// The last values come once: who comes back has seen them, or finds what came meanwhile.
pub(crate) fn retained_delivery(frame: &Frame<'_>) -> Result<RetainedDelivery, Fault> {
    Ok(match flag("retained", frame.headers.get("retained"))? {
        Some(true) => RetainedDelivery::Always,
        Some(false) => RetainedDelivery::Never,
        None => RetainedDelivery::WhenNew,
    })
}

impl DurableSubscriptions {
    /// None yet, of a client that calls itself so.
    pub(crate) fn of(client_id: Option<&str>) -> DurableSubscriptions {
        let owner = client_id.filter(|client_id| !client_id.is_empty()).map(Box::from);
        DurableSubscriptions { owner, ..DurableSubscriptions::default() }
    }

    /// Whether an answer of the broker is awaited; until it comes no further frame is handled.
    pub(crate) fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// The frame that waits wants this receipt.
    pub(crate) fn keep_receipt(&mut self, receipt: Option<&str>) {
        if let Some(awaited) = &mut self.awaited {
            awaited.receipt = receipt.map(Box::from);
        }
    }

    /// Handles SUBSCRIBE.
    pub(crate) fn subscribe(
        &mut self,
        wanted: Wanted<'_>,
        options: &StompOptions,
        subscriptions: &mut Subscriptions,
        broker: &mut dyn Broker,
    ) -> Result<Progress, Fault> {
        let Wanted { name, destination, source, ack_mode, credit, retained } = wanted;
        if source.place != Place::Topic || source.share.is_some() {
            let expected = "left out: only subscriptions to topics that are not shared are durable";
            return Err(Fault::InvalidHeader { name: "durable", expected });
        }
        let session = self.session_of(&name)?;
        let unwanted = Outcome::Released;
        let consumer = subscriptions.add(Terms { name, destination, ack_mode, unwanted })?;
        let attach = Attach {
            consumer,
            protocol: PROTOCOL,
            client_id: &session,
            clean_start: false,
            expiry: options.durable_expiry.duration(),
            credit,
            settlement: ack_mode.settlement(),
            will: None,
            limits: SessionLimits::Usual,
            wants_publisher: false,
        };
        let purpose = Purpose::Subscribe { filter: source.filter, retained };
        match broker.attach(attach) {
            Attachment::Now(attached) => {
                self.proceed(consumer, attached, purpose, broker).map(Progress::Done)
            }
            Attachment::Later => Ok(self.wait(consumer, purpose)),
            Attachment::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Ends the consumer of one that the connection holds, and the subscription too where `delete` says so. Returns whether it was one.
    pub(crate) fn give_up(&mut self, consumer: ConsumerId, delete: bool, broker: &mut dyn Broker) -> bool {
        let Some(filter) = self.held.remove(&consumer) else { return false };
        detach(consumer, delete.then_some(Duration::ZERO), filter, broker);
        true
    }

    /// Deletes one that the connection does not hold, wherever it is held; nothing happens where there is none.
    pub(crate) fn delete(
        &mut self,
        name: &Name,
        subscriptions: &mut Subscriptions,
        broker: &mut dyn Broker,
    ) -> Result<Progress, Fault> {
        let (session, consumer) = (self.session_of(name)?, subscriptions.free_consumer());
        let attach = Attach {
            consumer,
            protocol: PROTOCOL,
            client_id: &session,
            clean_start: true,
            expiry: Duration::ZERO,
            credit: 1,
            settlement: Settlement::Automatic,
            will: None,
            limits: SessionLimits::Usual,
            wants_publisher: false,
        };
        match broker.attach(attach) {
            Attachment::Now(attached) => {
                self.proceed(consumer, attached, Purpose::Delete, broker).map(Progress::Done)
            }
            Attachment::Later => Ok(self.wait(consumer, Purpose::Delete)),
            // There is no room for a new session, so there is none of this name.
            Attachment::Refused(Refusal::TooManySessions { .. }) => Ok(Progress::Done(Answer::Now)),
            Attachment::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Goes on with the frame that waits for this answer. Returns the receipt that it wants, with the fault where there is one.
    pub(crate) fn resume(
        &mut self,
        answer: Result<Attached, Refusal>,
        broker: &mut dyn Broker,
    ) -> (Option<Box<str>>, Result<Answer, Fault>) {
        let Some(awaited) = self.awaited.take() else { return (None, Ok(Answer::Now)) };
        let Awaited { consumer, purpose, receipt } = *awaited;
        let done = match (answer, &purpose) {
            (Ok(attached), _) => self.proceed(consumer, attached, purpose, broker),
            (Err(Refusal::TooManySessions { .. }), Purpose::Delete) => Ok(Answer::Now),
            (Err(refusal), _) => Err(refusal.into()),
        };
        (receipt, done)
    }

    /// The connection ends: all of them wait for the next one.
    pub(crate) fn give_up_all(&mut self, broker: &mut dyn Broker) {
        for (consumer, filter) in self.held.drain() {
            detach(consumer, None, filter, broker);
        }
    }

    fn wait(&mut self, consumer: ConsumerId, purpose: Purpose) -> Progress {
        self.awaited = Some(Box::new(Awaited { consumer, purpose, receipt: None }));
        Progress::Awaiting
    }

    /// Does what the session is wanted for.
    fn proceed(
        &mut self,
        consumer: ConsumerId,
        attached: Attached,
        purpose: Purpose,
        broker: &mut dyn Broker,
    ) -> Result<Answer, Fault> {
        match purpose {
            Purpose::Subscribe { filter, retained } => {
                self.bind(consumer, attached, &filter, retained, broker)
            }
            Purpose::Delete => {
                detach(consumer, Some(Duration::ZERO), Box::default(), broker);
                Ok(Answer::Now)
            }
        }
    }

    /// Subscribes a session to its filter, in place of an earlier one. What waits of the earlier one stays and comes first.
    fn bind(
        &mut self,
        consumer: ConsumerId,
        attached: Attached,
        filter: &TopicFilter,
        retained: RetainedDelivery,
        broker: &mut dyn Broker,
    ) -> Result<Answer, Fault> {
        let before = attached.saved.last().and_then(|saved| TopicFilter::parse(saved).ok());
        let subscribed = match broker.subscribe(&binding(consumer, None, filter, retained)) {
            Ok(subscribed) => subscribed,
            Err(refusal) => {
                let expiry = (!attached.present).then_some(Duration::ZERO);
                let kept = before.map_or_else(Box::default, |before| before.as_str().into());
                detach(consumer, expiry, kept, broker);
                return Err(refusal.into());
            }
        };
        if let Some(before) = before.filter(|before| before != filter) {
            broker.unsubscribe(consumer, None, &before);
        }
        if attached.is_durable {
            // With the subscription, so that its answer is the answer to both.
            broker.save(consumer, Saved::Whole(filter.as_str().as_bytes()), Saving::Along);
        }
        self.held.insert(consumer, filter.as_str().into());
        Ok(subscribed.answer)
    }

    /// The name of the session: the client's id behind its length, then the subscription's, so that no two pairs have the same.
    fn session_of(&self, name: &Name) -> Result<String, Fault> {
        let Name::Id(id) = name else { return Err(Fault::DurableWithoutId) };
        let owner = self.owner.as_deref().ok_or(Fault::DurableWithoutClientId)?;
        Ok(session_name(owner, id))
    }
}

fn session_name(client_id: &str, id: &str) -> String {
    format!("{}:{client_id}{id}", client_id.len())
}

fn detach(consumer: ConsumerId, expiry: Option<Duration>, filter: Box<str>, broker: &mut dyn Broker) {
    let saved = filter.into_string().into_bytes();
    broker.detach(Detach { consumer, will: WillAction::Discard, expiry, saved });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Two pairs of names never share a session by accident.
        #[test]
        fn different_pairs_have_different_sessions(
            one in ("[0-9:a]{1,4}", "[0-9:a]{0,4}"),
            other in ("[0-9:a]{1,4}", "[0-9:a]{0,4}"),
        ) {
            let same = session_name(&one.0, &one.1) == session_name(&other.0, &other.1);
            prop_assert_eq!(same, one == other);
        }
    }
}

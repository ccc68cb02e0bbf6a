//! SUBSCRIBE and UNSUBSCRIBE: headers into requests.

use crate::StompOptions;
use crate::codec::{Frame, Version};
use crate::durable::{self, DurableSubscriptions, Progress, Wanted};
use crate::names::{Names, Place, Source};
use crate::reason::Fault;
use crate::resuming::resume_of;
use crate::subscriptions::{AckMode, Name, Subscriptions, Terms};
use tidegate_message::{QoS, TopicFilter};
use tidegate_protocol::{Answer, Broker, Consume, ConsumerId, Outcome, RetainedDelivery, Subscribe};

/// The longest subscription id in bytes; it is repeated in every MESSAGE.
const SUBSCRIPTION_ID_BYTES_MAX: usize = 255;

/// Handles SUBSCRIBE: a consumer with a queue of its own, and one filter ([STOMP-1.2/SUBSCRIBE]).
pub(crate) fn subscribe(
    frame: &Frame<'_>,
    options: &StompOptions,
    names: &mut Names,
    subscriptions: &mut Subscriptions,
    durables: &mut DurableSubscriptions,
    broker: &mut dyn Broker,
) -> Result<Progress, Fault> {
    let name = name(frame, names.version())?;
    let destination = required(frame, "destination")?;
    let source = names.source_of(destination, broker)?;
    let ack_mode = AckMode::parse(frame.headers.get("ack"))?;
    let credit = prefetch_count(frame, options)?;
    let retained = retained_delivery(frame, &source)?;
    refuse_what_is_missing(frame)?;
    let resume = resume_of(frame, &source)?;
    // A named queue lasts by itself.
    if durable::is_durable(frame)? && source.place != Place::Queue {
        let retained = durable::retained_delivery(frame)?;
        let wanted = Wanted { name, destination, source, ack_mode, credit, retained };
        return durables.subscribe(wanted, options, subscriptions, broker);
    }
    let terms = Terms { name, destination, ack_mode, unwanted: unwanted(source.place) };
    let consumer = subscriptions.add(terms)?;
    let consume = Consume { consumer, credit, settlement: ack_mode.settlement() };
    if let Some(resume) = resume {
        return Ok(Progress::Following(resume.subscribe(&source, retained, consume, broker)?));
    }
    broker.consume(consume)?;
    let binding = binding(consumer, source.share.as_deref(), &source.filter, retained);
    match broker.subscribe(&binding) {
        Ok(subscribed) => Ok(Progress::Done(subscribed.answer)),
        Err(refusal) => {
            broker.cancel(consumer);
            Err(refusal.into())
        }
    }
}

/// What the broker is asked for by every subscription: messages at their own level, the client's own ones among them. STOMP has no words for
/// anything else.
pub(crate) fn binding<'a>(
    consumer: ConsumerId,
    share: Option<&'a str>,
    filter: &'a TopicFilter,
    retained: RetainedDelivery,
) -> Subscribe<'a> {
    Subscribe {
        consumer,
        share,
        filter,
        qos_max: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        subscription_id: None,
        retained,
    }
}

/// Handles UNSUBSCRIBE ([STOMP-1.2/UNSUBSCRIBE], [STOMP-1.0/UNSUBSCRIBE]). It ends a consumer, and what lasts behind it only where it
/// says so.
pub(crate) fn unsubscribe(
    frame: &Frame<'_>,
    version: Version,
    subscriptions: &mut Subscriptions,
    durables: &mut DurableSubscriptions,
    broker: &mut dyn Broker,
) -> Result<Progress, Fault> {
    let (name, delete) = (name(frame, version)?, durable::is_durable(frame)?);
    match subscriptions.remove(&name) {
        Ok(consumer) => {
            if !durables.give_up(consumer, delete, broker) {
                broker.cancel(consumer);
            }
            Ok(Progress::Done(Answer::Now))
        }
        Err(_) if delete => durables.delete(&name, subscriptions, broker),
        Err(fault) => Err(fault),
    }
}

/// The value of a header that the specification demands.
pub(crate) fn required<'f>(frame: &'f Frame<'_>, name: &'static str) -> Result<&'f str, Fault> {
    frame.headers.get(name).ok_or(Fault::MissingHeader { command: frame.command, name })
}

/// A header that is `true` or `false`; nothing where there is none.
pub(crate) fn flag(name: &'static str, value: Option<&str>) -> Result<Option<bool>, Fault> {
    match value {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Fault::InvalidHeader { name, expected: "`true` or `false`" }),
    }
}

/// How the client calls the subscription: by an id, which only 1.0 may leave out ([STOMP-1.2/SUBSCRIBE id Header]).
fn name(frame: &Frame<'_>, version: Version) -> Result<Name, Fault> {
    match (frame.headers.get("id"), version) {
        (Some(id), _) if id.len() > SUBSCRIPTION_ID_BYTES_MAX => {
            Err(Fault::InvalidHeader { name: "id", expected: "at most 255 bytes" })
        }
        (Some(id), _) => Ok(Name::Id(id.into())),
        (None, Version::V1_0) => Ok(Name::Destination(required(frame, "destination")?.into())),
        (None, _) => Err(Fault::MissingHeader { command: frame.command, name: "id" }),
    }
}

/// What a NACK means that does not say it: what came from a named queue goes back there, a copy of a topic's message is dropped.
fn unwanted(place: Place) -> Outcome {
    match place {
        Place::Queue => Outcome::Released,
        Place::Topic | Place::Reply => Outcome::Rejected,
    }
}

/// How many deliveries may be unsettled: what the client asks for, within the listener's limit.
fn prefetch_count(frame: &Frame<'_>, options: &StompOptions) -> Result<u32, Fault> {
    let Some(text) = frame.headers.get("prefetch-count") else { return Ok(options.prefetch_count) };
    match text.parse::<u32>() {
        Ok(count) if count > 0 => Ok(count.min(options.max_prefetch_count)),
        _ => Err(Fault::InvalidHeader { name: "prefetch-count", expected: "a whole number above 0" }),
    }
}

/// Whether the last values come first: they do where they are not declined, and where each subscriber has its own.
fn retained_delivery(frame: &Frame<'_>, source: &Source) -> Result<RetainedDelivery, Fault> {
    let asked = flag("retained", frame.headers.get("retained"))?;
    let has_retained = source.place == Place::Topic && source.share.is_none();
    match (asked, has_retained) {
        (Some(true), false) => Err(Fault::InvalidHeader {
            name: "retained",
            expected: "left out: only topics that are not shared have retained messages",
        }),
        (Some(true) | None, true) => Ok(RetainedDelivery::Always),
        (Some(false), _) | (None, false) => Ok(RetainedDelivery::Never),
    }
}

/// Refuses what a client would miss silently: a selector that does not select.
fn refuse_what_is_missing(frame: &Frame<'_>) -> Result<(), Fault> {
    if frame.headers.get("selector").is_some() {
        return Err(Fault::Unsupported("selectors"));
    }
    Ok(())
}

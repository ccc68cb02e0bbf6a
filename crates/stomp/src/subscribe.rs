//! SUBSCRIBE and UNSUBSCRIBE: headers into requests.

use crate::StompOptions;
use crate::codec::{Frame, Version};
use crate::destination::filter_of;
use crate::reason::Fault;
use crate::subscriptions::{AckMode, Name, Subscriptions, Terms};
use tidegate_message::{QoS, TopicFilter};
use tidegate_protocol::{Broker, Consume, ConsumerId, Outcome, RetainedDelivery, Subscribe};

/// The longest subscription id in bytes; it is repeated in every MESSAGE.
const SUBSCRIPTION_ID_BYTES_MAX: usize = 255;

/// What the canonical names of named queues begin with.
const QUEUES: &str = "$queue/";

/// Handles SUBSCRIBE: a consumer with a queue of its own, and one filter ([STOMP-1.2/SUBSCRIBE]).
pub(crate) fn subscribe(
    frame: &Frame<'_>,
    version: Version,
    options: &StompOptions,
    subscriptions: &mut Subscriptions,
    broker: &mut dyn Broker,
) -> Result<(), Fault> {
    let name = name(frame, version)?;
    let destination = required(frame, "destination")?;
    let filter = filter_of(destination)?;
    let ack_mode = AckMode::parse(frame.headers.get("ack"))?;
    let credit = prefetch_count(frame, options)?;
    let retained = retained_delivery(frame)?;
    refuse_what_is_missing(frame)?;
    let terms = Terms { name, destination, ack_mode, unwanted: unwanted(&filter) };
    let consumer = subscriptions.add(terms)?;
    broker.consume(Consume { consumer, credit, settlement: ack_mode.settlement() })?;
    let subscribe = Subscribe {
        consumer,
        share: None,
        filter: &filter,
        qos_max: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        subscription_id: None,
        retained,
    };
    if let Err(refusal) = broker.subscribe(&subscribe) {
        broker.cancel(consumer);
        return Err(refusal.into());
    }
    Ok(())
}

/// Handles UNSUBSCRIBE ([STOMP-1.2/UNSUBSCRIBE], [STOMP-1.0/UNSUBSCRIBE]).
pub(crate) fn unsubscribe(
    frame: &Frame<'_>,
    version: Version,
    subscriptions: &mut Subscriptions,
    broker: &mut dyn Broker,
) -> Result<(), Fault> {
    let consumer: ConsumerId = subscriptions.remove(&name(frame, version)?)?;
    broker.cancel(consumer);
    Ok(())
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
fn unwanted(filter: &TopicFilter) -> Outcome {
    match filter.as_str().starts_with(QUEUES) {
        true => Outcome::Released,
        false => Outcome::Rejected,
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

fn retained_delivery(frame: &Frame<'_>) -> Result<RetainedDelivery, Fault> {
    Ok(match flag("retained", frame.headers.get("retained"))? {
        Some(false) => RetainedDelivery::Never,
        Some(true) | None => RetainedDelivery::Always,
    })
}

/// Refuses what a client would miss silently: a selector that does not select, a subscription that does not last.
fn refuse_what_is_missing(frame: &Frame<'_>) -> Result<(), Fault> {
    if frame.headers.get("selector").is_some() {
        return Err(Fault::Unsupported("selectors"));
    }
    match flag("durable", frame.headers.get("durable"))? {
        Some(true) => Err(Fault::Unsupported("durable subscriptions")),
        Some(false) | None => Ok(()),
    }
}

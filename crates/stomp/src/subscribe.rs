//! SUBSCRIBE, UNSUBSCRIBE, ACK and NACK: headers into requests.

use crate::StompOptions;
use crate::codec::Frame;
use crate::destination::filter_of;
use crate::reason::Fault;
use crate::subscriptions::{AckMode, Subscriptions};
use tidegate_message::QoS;
use tidegate_protocol::{Broker, Consume, ConsumerId, Outcome, RetainedDelivery, Subscribe};

/// The longest subscription id in bytes; it is repeated in every MESSAGE.
const SUBSCRIPTION_ID_BYTES_MAX: usize = 255;

/// Handles SUBSCRIBE: a consumer with a queue of its own, and one filter ([STOMP-1.2/SUBSCRIBE]).
pub(crate) fn subscribe(
    frame: &Frame<'_>,
    options: &StompOptions,
    subscriptions: &mut Subscriptions,
    broker: &mut dyn Broker,
) -> Result<(), Fault> {
    let id = subscription_id(frame)?;
    let filter = filter_of(required(frame, "destination")?)?;
    let ack_mode = AckMode::parse(frame.headers.get("ack"))?;
    let credit = prefetch_count(frame, options)?;
    let retained = retained_delivery(frame)?;
    refuse_what_is_missing(frame)?;
    let consumer = subscriptions.add(id, ack_mode)?;
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

/// Handles UNSUBSCRIBE ([STOMP-1.2/UNSUBSCRIBE]).
pub(crate) fn unsubscribe(
    frame: &Frame<'_>,
    subscriptions: &mut Subscriptions,
    broker: &mut dyn Broker,
) -> Result<(), Fault> {
    let consumer: ConsumerId = subscriptions.remove(required(frame, "id")?)?;
    broker.cancel(consumer);
    Ok(())
}

/// Handles ACK ([`Outcome::Accepted`]) and NACK ([`Outcome::Rejected`]) ([STOMP-1.2/ACK], [STOMP-1.2/NACK]).
pub(crate) fn acknowledge(
    frame: &Frame<'_>,
    outcome: Outcome,
    subscriptions: &mut Subscriptions,
    broker: &mut dyn Broker,
) -> Result<(), Fault> {
    let id = required(frame, "id")?;
    if frame.headers.get("transaction").is_some() {
        return Err(Fault::Unsupported("transactions"));
    }
    subscriptions.settle(id, |consumer, tag| broker.settle(consumer, tag, outcome))
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

fn subscription_id<'f>(frame: &'f Frame<'_>) -> Result<&'f str, Fault> {
    let id = required(frame, "id")?;
    match id.len() > SUBSCRIPTION_ID_BYTES_MAX {
        true => Err(Fault::InvalidHeader { name: "id", expected: "at most 255 bytes" }),
        false => Ok(id),
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

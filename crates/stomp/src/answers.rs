//! Answers: a client that asks for one at a `/temp-queue/…` of its own need not subscribe there itself.

use crate::names::Source;
use crate::reason::Fault;
use crate::subscribe::binding;
use crate::subscriptions::{AckMode, Name, Subscriptions, Terms};
use tidegate_protocol::{Broker, Consume, Outcome, RetainedDelivery};

/// Answers need no acknowledgement, so none is ever unsettled.
const CREDIT: u32 = 1;

/// Sees to it that answers to this destination arrive. Where the client has no subscription there it gets one, named like the
/// destination, with `ack:auto`: what clients of RabbitMQ expect.
pub(crate) fn await_answers(
    destination: &str,
    source: &Source,
    subscriptions: &mut Subscriptions,
    broker: &mut dyn Broker,
) -> Result<(), Fault> {
    if subscriptions.has_temporary(destination) {
        return Ok(());
    }
    let (name, ack_mode, unwanted) = (Name::Id(destination.into()), AckMode::Auto, Outcome::Rejected);
    let consumer = subscriptions.add(Terms { name, destination, ack_mode, unwanted })?;
    broker.consume(Consume { consumer, credit: CREDIT, settlement: ack_mode.settlement() })?;
    broker.subscribe(&binding(consumer, None, &source.filter, RetainedDelivery::Never))?;
    Ok(())
}

//! ACK and NACK of all versions: which deliveries are meant, and what becomes of them.
//!
//! | | names its message by |
//! |---|---|
//! | 1.2 | `id`: the `ack` header of the MESSAGE |
//! | 1.1 | `message-id` and `subscription` |
//! | 1.0 | `message-id`; there is no NACK |

use crate::codec::{Command, Frame, Version};
use crate::reason::Fault;
use crate::subscribe::{flag, required};
use crate::subscriptions::{Reference, Subscriptions, Taken};
use crate::transactions::Transactions;
use tidegate_protocol::{Broker, Outcome};

/// Handles ACK and NACK ([STOMP-1.2/ACK], [STOMP-1.2/NACK]).
pub(crate) fn acknowledge(
    frame: &Frame<'_>,
    version: Version,
    subscriptions: &mut Subscriptions,
    transactions: &mut Transactions,
    broker: &mut dyn Broker,
) -> Result<(), Fault> {
    let taken = subscriptions.take(reference(frame, version)?, outcome(frame)?)?;
    match (frame.headers.get("transaction"), taken) {
        (Some(name), taken) => transactions.set_aside(name, taken)?,
        (None, Some(taken)) => settle(&taken, broker),
        (None, None) => {}
    }
    Ok(())
}

/// Tells the broker what became of deliveries.
pub(crate) fn settle(taken: &Taken, broker: &mut dyn Broker) {
    for tag in &taken.tags {
        broker.settle(taken.consumer, *tag, taken.outcome);
    }
}

fn reference<'f>(frame: &'f Frame<'_>, version: Version) -> Result<Reference<'f>, Fault> {
    Ok(match version {
        Version::V1_0 => Reference { id: required(frame, "message-id")?, subscription: None },
        Version::V1_1 => Reference {
            id: required(frame, "message-id")?,
            subscription: Some(required(frame, "subscription")?),
        },
        Version::V1_2 => Reference { id: required(frame, "id")?, subscription: None },
    })
}

/// What a frame says of its deliveries. A NACK may say whether they are to be delivered again; otherwise their subscription decides
/// ([STOMP-1.2/NACK] leaves it to the server).
fn outcome(frame: &Frame<'_>) -> Result<Option<Outcome>, Fault> {
    if frame.command == Command::Ack {
        return Ok(Some(Outcome::Accepted));
    }
    Ok(match flag("requeue", frame.headers.get("requeue"))? {
        Some(true) => Some(Outcome::Released),
        Some(false) => Some(Outcome::Rejected),
        None => None,
    })
}

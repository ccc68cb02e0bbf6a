//! One receive at RabbitMQ: consumes a queue and acknowledges what is safe here.
//!
//! A delivery's tag is the lower part of its ticket; tags ascend from 1 as long as the channel stands, so a run of settled ones is
//! acknowledged at once.

use crate::declare::short;
use crate::inbound::incoming;
use crate::options::ReceiveSource;
use crate::refusal::lost;
use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use tidegate_bridge::{Lost, Report, Taken, first_ticket, number_of};
use tokio::sync::mpsc;

/// Settlements that are looked at together.
const BATCH_MAX: usize = 1024;

/// One receive at work.
pub(crate) struct Subscriber {
    lane: usize,
    queue: String,
    channel: Channel,
    consumer: Consumer,
    unsettled: Unsettled,
}

impl Subscriber {
    /// Asks for the messages of a queue. They come, but are handed on by [`Subscriber::run`] only.
    pub(crate) async fn open(
        lane: usize,
        source: &ReceiveSource,
        connection: &Connection,
    ) -> Result<Subscriber, Lost> {
        let refused = |error| lost(&error);
        let channel = connection.create_channel().await.map_err(refused)?;
        channel.basic_qos(source.prefetch, BasicQosOptions::default()).await.map_err(refused)?;
        let options = BasicConsumeOptions { exclusive: source.exclusive, ..BasicConsumeOptions::default() };
        let consuming = channel.basic_consume(
            short(&source.queue)?,
            ShortString::default(),
            options,
            FieldTable::default(),
        );
        let consumer = consuming.await.map_err(refused)?;
        Ok(Subscriber {
            lane,
            queue: source.queue.clone(),
            channel,
            consumer,
            unsettled: Unsettled::default(),
        })
    }

    /// Works until there is nothing more to be settled, or the queue is gone.
    pub(crate) async fn run(
        mut self,
        mut orders: mpsc::Receiver<(u64, Taken)>,
        reports: mpsc::Sender<Report>,
    ) -> Result<(), Lost> {
        let mut settled = Vec::new();
        loop {
            tokio::select! {
                count = orders.recv_many(&mut settled, BATCH_MAX) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.settle(&mut settled).await?;
                }
                delivery = next(&mut self.consumer) => match delivery {
                    Some(Ok(delivery)) => self.hand_on(delivery, &reports).await,
                    Some(Err(error)) => return Err(lost(&error)),
                    None => return Err(self.cancelled()),
                },
            }
        }
    }

    async fn hand_on(&mut self, delivery: Delivery, reports: &mpsc::Sender<Report>) {
        let tag = delivery.delivery_tag;
        self.unsettled.note_delivered(tag);
        let ticket = first_ticket(self.lane) | tag;
        let incoming = incoming(self.lane, ticket, &self.queue, delivery);
        // Where nobody listens the connection is given up, and the message comes again.
        let _ = reports.send(Report::Received(Box::new(incoming))).await;
    }

    async fn settle(&mut self, settled: &mut Vec<(u64, Taken)>) -> Result<(), Lost> {
        for (ticket, taken) in settled.drain(..) {
            self.unsettled.note_settled(number_of(ticket), taken);
        }
        for (tag, act) in self.unsettled.take_settled() {
            let acting = match act {
                Act::Ack { multiple } => self.channel.basic_ack(tag, BasicAckOptions { multiple }).await,
                // Without another delivery: RabbitMQ gives it to the queue's dead letter exchange, where it has one.
                Act::Reject => self.channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await,
            };
            acting.map_err(|error| lost(&error))?;
        }
        Ok(())
    }

    /// RabbitMQ ends a consumer without closing its channel where the queue is gone.
    fn cancelled(&self) -> Lost {
        match self.channel.status().connected() {
            true => Lost::Refused(format!(
                "RabbitMQ has ended the consumer of the queue `{}`: it was deleted, or its node is gone",
                self.queue
            )),
            false => Lost::Broken("the connection to RabbitMQ has ended".to_owned()),
        }
    }
}

/// The next delivery; nothing where the consumer has ended.
async fn next(consumer: &mut Consumer) -> Option<lapin::Result<Delivery>> {
    poll_fn(|context| Pin::new(&mut *consumer).poll_next(context)).await
}

/// Deliveries that RabbitMQ has heard nothing about. No more than the prefetch.
#[derive(Debug, Default)]
struct Unsettled(BTreeMap<u64, Option<Taken>>);

/// What RabbitMQ is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Ack { multiple: bool },
    Reject,
}

impl Unsettled {
    fn note_delivered(&mut self, tag: u64) {
        self.0.insert(tag, None);
    }

    /// Notes what became of a delivery; what was never delivered, or is settled, changes nothing: RabbitMQ would close the channel.
    fn note_settled(&mut self, tag: u64, taken: Taken) {
        if let Some(unsettled) = self.0.get_mut(&tag) {
            *unsettled = Some(taken);
        }
    }

    /// Takes out what is settled: what has nothing unsettled in front of it goes together, up to each rejection.
    fn take_settled(&mut self) -> Vec<(u64, Act)> {
        let mut acts: Vec<(u64, Act)> = Vec::new();
        let mut is_first = true;
        self.0.retain(|tag, taken| {
            match (&*taken, acts.last_mut()) {
                (None, _) => is_first = false,
                (Some(Taken::Never), _) => acts.push((*tag, Act::Reject)),
                (Some(Taken::Yes), Some((last, Act::Ack { multiple }))) if is_first => {
                    (*last, *multiple) = (*tag, true);
                }
                (Some(Taken::Yes), _) => acts.push((*tag, Act::Ack { multiple: false })),
            }
            taken.is_none()
        });
        acts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Act = Act::Ack { multiple: false };
    const MANY: Act = Act::Ack { multiple: true };

    fn settled(delivered: std::ops::RangeInclusive<u64>, settled: &[(u64, Taken)]) -> Unsettled {
        let mut unsettled = Unsettled::default();
        delivered.for_each(|tag| unsettled.note_delivered(tag));
        settled.iter().for_each(|(tag, taken)| unsettled.note_settled(*tag, *taken));
        unsettled
    }

    #[test]
    fn a_run_from_the_first_one_is_acknowledged_at_once() {
        let mut unsettled =
            settled(1..=5, &[(2, Taken::Yes), (1, Taken::Yes), (3, Taken::Yes), (5, Taken::Yes)]);
        assert_eq!(unsettled.take_settled(), [(3, MANY), (5, ONE)]);
        assert_eq!(unsettled.take_settled(), []);
        unsettled.note_settled(4, Taken::Yes);
        assert_eq!(unsettled.take_settled(), [(4, ONE)]);
        assert!(unsettled.0.is_empty());
    }

    /// "Multiple" behind a rejection means those behind it only: what was rejected is settled.
    #[test]
    fn a_rejection_stands_between_two_runs() {
        let all = [Taken::Yes, Taken::Yes, Taken::Never, Taken::Yes, Taken::Yes];
        let all: Vec<(u64, Taken)> = (1..).zip(all).collect();
        assert_eq!(settled(1..=6, &all).take_settled(), [(2, MANY), (3, Act::Reject), (5, MANY)]);
    }

    #[test]
    fn what_is_not_in_front_is_settled_one_by_one() {
        let all = [(2, Taken::Yes), (3, Taken::Yes), (4, Taken::Never)];
        assert_eq!(settled(1..=4, &all).take_settled(), [(2, ONE), (3, ONE), (4, Act::Reject)]);
    }

    #[test]
    fn what_was_never_delivered_is_not_settled() {
        assert_eq!(settled(1..=1, &[(7, Taken::Yes)]).take_settled(), []);
    }
}

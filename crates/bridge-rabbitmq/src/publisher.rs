//! One forward at RabbitMQ: publishes on a channel of its own, many at a time, and tells what became of each message.
//!
//! ```text
//!  orders ──► pending ──publish──► confirms ──► verdicts
//!                ▲                    │
//!                └──the channel ends──┘   sent again in order, one, then two, then four at a time
//! ```
//!
//! RabbitMQ answers a message that it does not accept by closing the channel, and does not say which one it was. What had no answer is
//! sent again under the same ids, few at a time: where only one was on its way when the channel ended, that was the one.

use crate::confirms::{Answer, Confirms};
use crate::options::ForwardTarget;
use crate::outbound::{FrameRoom, Publication, publication};
use crate::refusal::{is_of_channel, lost, verdict, words};
use crate::upstream::Shared;
use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Connection, PublisherConfirm};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tidegate_bridge::{Lost, Outgoing, Report, Verdict};
use tokio::sync::mpsc;
use tracing::debug;

/// Messages that are written together: the library's thread is woken once for them, and what is confirmed is looked at behind them.
const BATCH_MAX: usize = 256;
/// What may be on its way at a time before the search for a message that closes the channel is over.
const SEARCH_MAX: usize = 4096;

/// One forward at work.
pub(crate) struct Publisher {
    lane: usize,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    channel: Option<Channel>,
    orders: mpsc::Receiver<Box<Outgoing>>,
    reports: mpsc::Sender<Report>,
    /// What is to be sent. No more than the bridge has on its way.
    pending: VecDeque<Box<Outgoing>>,
    confirms: Confirms,
    /// How many may be on their way while the one is looked for that closes the channel.
    search: Option<usize>,
}

impl Publisher {
    pub(crate) fn new(
        lane: usize,
        shared: Arc<Shared>,
        connection: Arc<Connection>,
        orders: mpsc::Receiver<Box<Outgoing>>,
        reports: mpsc::Sender<Report>,
    ) -> Publisher {
        Publisher {
            lane,
            shared,
            connection,
            channel: None,
            orders,
            reports,
            pending: VecDeque::new(),
            confirms: Confirms::default(),
            search: None,
        }
    }

    /// Works until there are no more orders and everything is answered, or the connection is lost.
    pub(crate) async fn run(mut self) -> Result<(), Lost> {
        let mut has_ended = false;
        loop {
            while let Some(count) = self.may_send() {
                self.send(count).await?;
            }
            if has_ended && self.confirms.is_empty() {
                return Ok(());
            }
            let rung = self.confirms.rung();
            let mut ordered = Vec::new();
            tokio::select! {
                count = self.orders.recv_many(&mut ordered, BATCH_MAX), if !has_ended => {
                    has_ended = count == 0;
                    self.pending.extend(ordered);
                }
                () = rung => self.judge().await?,
            }
        }
    }

    /// How many may be sent now.
    fn may_send(&self) -> Option<usize> {
        let room = match self.search {
            None => BATCH_MAX,
            Some(count) if self.confirms.is_empty() => count,
            Some(_) => 0,
        };
        Some(room.min(self.pending.len())).filter(|count| *count > 0)
    }

    async fn send(&mut self, count: usize) -> Result<(), Lost> {
        let batch: Vec<_> = self.pending.drain(..count).collect();
        let channel = self.channel().await?;
        let room = FrameRoom(self.connection.configuration().frame_max() as usize);
        let shared = self.shared.clone();
        let Some(target) = shared.options.forwards.get(self.lane) else { return Ok(()) };
        let (mut messages, mut publications) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for outgoing in batch {
            match publication(target, &outgoing, room, Instant::now()) {
                Ok(publication) => {
                    messages.push(outgoing);
                    publications.push(publication);
                }
                Err(verdict) => self.answer(outgoing.ticket, verdict).await,
            }
        }
        let written = write(&channel, target, &messages, publications).await;
        let mut failure = None;
        for (outgoing, result) in messages.into_iter().zip(written) {
            let confirm = result.map_err(|error| failure = Some(error)).ok();
            self.confirms.add(outgoing, confirm);
        }
        match failure {
            Some(error) => self.note_failure(&error).await,
            None => self.judge().await,
        }
    }

    /// The channel, which is opened when there is something to send.
    async fn channel(&mut self) -> Result<Channel, Lost> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let channel = self.connection.create_channel().await.map_err(|error| lost(&error))?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        confirming.await.map_err(|error| lost(&error))?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    /// Tells what has been answered.
    async fn judge(&mut self) -> Result<(), Lost> {
        let (answers, failure) = self.confirms.look(|| self.channel.iter().for_each(wait_for_frame));
        if !answers.is_empty() {
            self.shared.note_answer();
        }
        for (outgoing, answer) in answers {
            let verdict = match answer {
                Answer::Taken => Verdict::Confirmed,
                Answer::Returned(reason) => Verdict::Never { label: "unroutable", reason },
                Answer::NotTaken => {
                    Verdict::NotNow("RabbitMQ could not take a message: a queue is full".to_owned())
                }
            };
            self.answer(outgoing.ticket, verdict).await;
        }
        if let Some(error) = failure {
            return self.note_failure(&error).await;
        }
        if self.confirms.is_empty() {
            // Nothing of that many closed the channel.
            self.search = self.search.map(|count| count * 2).filter(|count| *count <= SEARCH_MAX);
        }
        Ok(())
    }

    /// The channel has ended; what was on its way is sent again, or answered where it is known what caused the end.
    async fn note_failure(&mut self, error: &lapin::Error) -> Result<(), Lost> {
        if !is_of_channel(error) {
            return Err(lost(error));
        }
        self.channel = None;
        let mut unanswered = self.confirms.take_all();
        self.confirms = Confirms::default();
        let Some(target) = self.shared.options.forwards.get(self.lane) else { return Ok(()) };
        let verdict = verdict(error, target);
        debug!(connection = %self.shared.options.connection_name, lane = self.lane, why = %words(error), "a channel has ended");
        match verdict {
            Verdict::NotNow(reason) => {
                self.turn_away(unanswered, &reason).await;
                return Ok(());
            }
            verdict if unanswered.len() <= 1 => {
                let guilty = unanswered.pop_front().ok_or_else(|| lost(error))?;
                self.answer(guilty.ticket, verdict).await;
            }
            _ => unanswered.into_iter().rev().for_each(|outgoing| self.pending.push_front(outgoing)),
        }
        self.search = Some(1);
        Ok(())
    }

    /// Gives back everything: what is behind a message that has to wait waits as well, or it would overtake it.
    async fn turn_away(&mut self, unanswered: VecDeque<Box<Outgoing>>, reason: &str) {
        let mut all: Vec<_> = unanswered.into_iter().chain(self.pending.drain(..)).collect();
        while let Ok(outgoing) = self.orders.try_recv() {
            all.push(outgoing);
        }
        for outgoing in all {
            self.answer(outgoing.ticket, Verdict::NotNow(reason.to_owned())).await;
        }
    }

    async fn answer(&self, ticket: u64, verdict: Verdict) {
        // Where nobody listens the connection is given up, and everything without a verdict is sent again.
        let _ = self.reports.send(Report::Verdict { ticket, verdict }).await;
    }
}

/// Returns when the library is not in the midst of a frame that confirms many messages: it holds its lock on all confirms of a channel for that
/// long, and takes the same lock first to tell which one is the last. That one is not waited for.
fn wait_for_frame(channel: &Channel) {
    let last = pin!(channel.wait_for_confirms());
    let _ = last.poll(&mut Context::from_waker(Waker::noop()));
}

/// Hands messages to the library, all of them before any is waited for, and waits until all are written.
async fn write(
    channel: &Channel,
    target: &ForwardTarget,
    messages: &[Box<Outgoing>],
    publications: Vec<Publication>,
) -> Vec<lapin::Result<PublisherConfirm>> {
    let payloads = messages.iter().map(|outgoing| outgoing.payload.clone());
    let options = BasicPublishOptions { mandatory: target.mandatory, ..BasicPublishOptions::default() };
    let start = |(payload, publication): (Bytes, Publication)| {
        let Publication { exchange, routing_key, properties } = publication;
        async move { channel.basic_publish(exchange, routing_key, options, &payload, properties).await }
    };
    let begun = begin(payloads.zip(publications).map(start));
    let mut written = Vec::with_capacity(begun.len());
    for begun in begun {
        written.push(match begun {
            Begun::Done(output) => output,
            Begun::Running(future) => future.await,
        });
    }
    written
}

/// Polls each of them once, in their order, which is when the library takes the message. Nobody is woken by them until somebody waits: they
/// end in that order too, and a batch that rang for each of its messages would be looked through as often.
fn begin<F: Future>(futures: impl Iterator<Item = F>) -> Vec<Begun<F>> {
    let mut nobody = Context::from_waker(Waker::noop());
    let begin = |future: F| {
        let mut future = Box::pin(future);
        match future.as_mut().poll(&mut nobody) {
            Poll::Ready(output) => Begun::Done(output),
            Poll::Pending => Begun::Running(future),
        }
    };
    futures.map(begin).collect()
}

enum Begun<F: Future> {
    Running(Pin<Box<F>>),
    Done(F::Output),
}

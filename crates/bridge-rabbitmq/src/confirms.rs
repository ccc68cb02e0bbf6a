//! Messages that RabbitMQ has not confirmed yet.
//!
//! The library answers a publish with a future of its confirm, and hands a message that no queue took to whichever confirm comes
//! next, which is seldom its own. So a returned message is recognised by its id, and a confirm is believed only when every confirm that
//! came before it has been looked at: a return stands in front of its confirm on the wire, and is handed over with one that is resolved no
//! later. The confirms ring in the order in which they are resolved ([`Bells`]), so looking until nothing rings any more is enough.

use crate::refusal::quote;
use lapin::message::BasicReturnMessage;
use lapin::{Confirmation, Error, PublisherConfirm};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use tidegate_bridge::Outgoing;
use tokio::sync::Notify;

/// All of one channel.
#[derive(Default)]
pub(crate) struct Confirms {
    /// By ticket, which is the order in which they were sent.
    waiting: BTreeMap<u64, Waiting>,
    bells: Arc<Bells>,
    /// Why messages came back, by their ids, until their confirms are looked at.
    returned: HashMap<String, String>,
}

struct Waiting {
    outgoing: Box<Outgoing>,
    confirm: Option<PublisherConfirm>,
}

/// What RabbitMQ says about a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has it.
    Taken,
    /// No queue took it; why, in its words.
    Returned(String),
    /// It could not take it.
    NotTaken,
}

/// Which confirms may have something to say.
#[derive(Default)]
struct Bells {
    rung: Mutex<Vec<u64>>,
    any: Notify,
}

struct Bell {
    ticket: u64,
    bells: Arc<Bells>,
}

impl Bells {
    fn ring(&self, ticket: u64) {
        self.rung.lock().push(ticket);
        self.any.notify_one();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.bells.ring(self.ticket);
    }
}

impl Confirms {
    /// Waits for the confirm of a message; one that was not written for certain has none, and stays until [`Confirms::take_all`].
    pub(crate) fn add(&mut self, outgoing: Box<Outgoing>, confirm: Option<PublisherConfirm>) {
        let ticket = outgoing.ticket;
        self.waiting.insert(ticket, Waiting { outgoing, confirm });
        self.bells.ring(ticket);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Everything that has no answer, in the order in which it was sent.
    pub(crate) fn take_all(&mut self) -> VecDeque<Box<Outgoing>> {
        self.returned.clear();
        std::mem::take(&mut self.waiting).into_values().map(|waiting| waiting.outgoing).collect()
    }

    /// Ends when there may be something to [`Confirms::look`] at.
    pub(crate) fn rung(&self) -> impl Future<Output = ()> + use<> {
        let bells = self.bells.clone();
        async move { bells.any.notified().await }
    }

    /// Everything that has been answered since the last look; or how the channel has ended. What was answered before its end is answered,
    /// the rest stays.
    pub(crate) fn look(&mut self) -> (Vec<(Box<Outgoing>, Answer)>, Option<Error>) {
        let (mut taken, mut failure) = (Vec::new(), None);
        loop {
            let rung = std::mem::take(&mut *self.bells.rung.lock());
            if rung.is_empty() {
                break;
            }
            for ticket in rung {
                match self.poll(ticket) {
                    Poll::Ready(Ok(confirmation)) => {
                        taken.push((ticket, confirmation.is_ack()));
                        if let Some(message) = confirmation.take_message() {
                            self.note_returned(&message);
                        }
                    }
                    Poll::Ready(Err(error)) => failure = Some(error),
                    Poll::Pending => {}
                }
            }
        }
        let answers = taken.into_iter().filter_map(|(ticket, is_ack)| self.answer(ticket, is_ack)).collect();
        (answers, failure)
    }

    fn poll(&mut self, ticket: u64) -> Poll<Result<Confirmation, Error>> {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return Poll::Pending };
        let Some(confirm) = &mut waiting.confirm else { return Poll::Pending };
        let waker = Waker::from(Arc::new(Bell { ticket, bells: self.bells.clone() }));
        let polled = Pin::new(confirm).poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            // Asked again it would only say that it has been asked.
            waiting.confirm = None;
        }
        polled
    }

    fn note_returned(&mut self, message: &BasicReturnMessage) {
        let reason = quote(message.reply_code, message.reply_text.as_str());
        if let Some(id) = message.properties.message_id() {
            self.returned.insert(id.to_string(), reason);
        }
    }

    fn answer(&mut self, ticket: u64, is_ack: bool) -> Option<(Box<Outgoing>, Answer)> {
        let outgoing = self.waiting.remove(&ticket)?.outgoing;
        let answer = match self.returned.remove(&*outgoing.id) {
            Some(reason) => Answer::Returned(reason),
            None if is_ack => Answer::Taken,
            None => Answer::NotTaken,
        };
        Some((outgoing, answer))
    }
}

//! Messages that RabbitMQ has not confirmed yet.
//!
//! The library answers a publish with a future of its confirm, and hands a message that no queue took to whichever confirm comes
//! next, which is seldom its own. So a returned message is recognised by its id, and a confirm is believed only when every confirm that
//! came before it or with it has been looked at. A return stands in front of its confirm on the wire, and is handed over with one that is
//! resolved no later, or by the same frame: a frame that confirms many resolves them one by one, in any order, in the library's own thread.
//! The confirms ring as they are resolved ([`Bells`]). So nothing is answered before no such frame is half done
//! ([`Confirms::look`]'s `barrier`) and nothing rings any more.

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
pub(crate) struct Confirms<C = PublisherConfirm> {
    /// By ticket, which is the order in which they were sent.
    waiting: BTreeMap<u64, Waiting<C>>,
    bells: Arc<Bells>,
    /// Why messages came back, by their ids, until their confirms are looked at.
    returned: HashMap<String, String>,
}

struct Waiting<C> {
    outgoing: Box<Outgoing>,
    confirm: Option<C>,
    bell: Waker,
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

impl<C> Default for Confirms<C> {
    fn default() -> Confirms<C> {
        Confirms { waiting: BTreeMap::new(), bells: Arc::default(), returned: HashMap::new() }
    }
}

impl<C: Future<Output = Result<Confirmation, Error>> + Unpin> Confirms<C> {
    /// Waits for the confirm of a message; one that was not written for certain has none, and stays until [`Confirms::take_all`].
    pub(crate) fn add(&mut self, outgoing: Box<Outgoing>, confirm: Option<C>) {
        let ticket = outgoing.ticket;
        let bell = Waker::from(Arc::new(Bell { ticket, bells: self.bells.clone() }));
        self.waiting.insert(ticket, Waiting { outgoing, confirm, bell });
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
    pub(crate) fn rung(&self) -> impl Future<Output = ()> + use<C> {
        let bells = self.bells.clone();
        async move { bells.any.notified().await }
    }

    /// Everything that has been answered since the last look; or how the channel has ended. What was answered before its end is answered,
    /// the rest stays. `barrier` returns when every frame that had begun to resolve confirms has resolved all of them.
    pub(crate) fn look(&mut self, barrier: impl Fn()) -> (Vec<(Box<Outgoing>, Answer)>, Option<Error>) {
        let (mut taken, mut failure) = (Vec::new(), None);
        let mut known = 0;
        loop {
            self.collect(&mut taken, &mut failure);
            if taken.len() == known {
                break;
            }
            known = taken.len();
            barrier();
        }
        let answers = taken.into_iter().filter_map(|(ticket, is_ack)| self.answer(ticket, is_ack)).collect();
        (answers, failure)
    }

    /// Looks at every confirm that has rung, until none does.
    fn collect(&mut self, taken: &mut Vec<(u64, bool)>, failure: &mut Option<Error>) {
        loop {
            let rung = std::mem::take(&mut *self.bells.rung.lock());
            if rung.is_empty() {
                return;
            }
            for ticket in rung {
                match self.poll(ticket) {
                    Poll::Ready(Ok(confirmation)) => {
                        taken.push((ticket, confirmation.is_ack()));
                        if let Some(message) = confirmation.take_message() {
                            self.note_returned(&message);
                        }
                    }
                    Poll::Ready(Err(error)) => *failure = Some(error),
                    Poll::Pending => {}
                }
            }
        }
    }

    fn poll(&mut self, ticket: u64) -> Poll<Result<Confirmation, Error>> {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return Poll::Pending };
        let Some(confirm) = &mut waiting.confirm else { return Poll::Pending };
        let polled = Pin::new(confirm).poll(&mut Context::from_waker(&waiting.bell));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::outgoing;
    use lapin::message::Delivery;

    /// Confirms that a test resolves.
    #[derive(Clone, Default)]
    struct Library(Arc<Mutex<HashMap<u64, Resolved>>>);

    #[derive(Default)]
    struct Resolved {
        confirmation: Option<Confirmation>,
        waker: Option<Waker>,
    }

    struct Scripted {
        tag: u64,
        library: Library,
    }

    impl Future for Scripted {
        type Output = Result<Confirmation, Error>;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            let mut all = self.library.0.lock();
            let resolved = all.entry(self.tag).or_default();
            resolved.waker = Some(context.waker().clone());
            resolved.confirmation.take().map_or(Poll::Pending, |confirmation| Poll::Ready(Ok(confirmation)))
        }
    }

    impl Library {
        /// Resolves the confirm of one message, which carries the return of another one, as the library does.
        fn resolve(&self, tag: u64, returned: Option<u64>) {
            let mut all = self.0.lock();
            let resolved = all.entry(tag).or_default();
            resolved.confirmation = Some(Confirmation::Ack(returned.map(returned_message)));
            let waker = resolved.waker.take();
            drop(all);
            waker.into_iter().for_each(Waker::wake);
        }

        fn confirms(&self, tags: std::ops::RangeInclusive<u64>) -> Confirms<Scripted> {
            let mut confirms = Confirms::default();
            for tag in tags {
                let mut outgoing = outgoing("plant/7", "21");
                (outgoing.ticket, outgoing.id) = (tag, tag.to_string().into());
                confirms.add(Box::new(outgoing), Some(Scripted { tag, library: self.clone() }));
            }
            assert!(confirms.look(|| ()).0.is_empty());
            confirms
        }
    }

    fn returned_message(tag: u64) -> BasicReturnMessage {
        let mut delivery = Delivery::mock(0, "e".into(), "k".into(), false, Vec::new());
        delivery.properties = delivery.properties.with_message_id(tag.to_string().into());
        BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() }
    }

    fn answers(confirms: &mut Confirms<Scripted>, barrier: impl Fn()) -> Vec<(u64, bool)> {
        let (answers, failure) = confirms.look(barrier);
        assert!(failure.is_none());
        answers.into_iter().map(|(outgoing, answer)| (outgoing.ticket, answer == Answer::Taken)).collect()
    }

    /// The library is in the midst of one confirm for all: the return of the first one that it resolves is carried by the last one.
    #[test]
    fn a_frame_that_is_half_done_is_waited_for() {
        let library = Library::default();
        let mut confirms = library.confirms(1..=4);
        library.resolve(3, Some(1));
        let rest = [(1, Some(2)), (4, None), (2, Some(3))];
        let is_over = std::cell::Cell::new(false);
        let answers = answers(&mut confirms, || {
            if !is_over.replace(true) {
                rest.into_iter().for_each(|(tag, of)| library.resolve(tag, of));
            }
        });
        assert_eq!(answers, [(3, false), (1, false), (4, true), (2, false)]);
        assert!(confirms.is_empty());
    }

    /// What a second frame has begun to resolve while the first one was waited for is not believed sooner.
    #[test]
    fn a_frame_that_begins_behind_another_one_is_waited_for_as_well() {
        let library = Library::default();
        let mut confirms = library.confirms(1..=4);
        library.resolve(1, None);
        let frames = std::cell::RefCell::new(vec![vec![(2, Some(4))], vec![(3, None), (4, Some(2))]]);
        let answers = answers(&mut confirms, || {
            let mut frames = frames.borrow_mut();
            let next = if frames.is_empty() { Vec::new() } else { frames.remove(0) };
            next.into_iter().for_each(|(tag, of)| library.resolve(tag, of));
        });
        assert_eq!(answers, [(1, true), (2, false), (3, true), (4, false)]);
    }
}

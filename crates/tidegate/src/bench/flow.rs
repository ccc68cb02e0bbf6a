//! What a publisher and its subscribers know of each other: how many messages were sent, and how many have arrived.
//!
//! This is how a closed loop is closed end to end, also where the two sides are on different threads. The order of the accesses
//! matters in one place only: a publisher says what it waits for and then looks again, a subscriber counts and then looks
//! whether somebody waits. With sequential consistency one of them sees the other.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};

/// The messages of one publisher.
#[derive(Debug)]
pub(crate) struct Flow {
    /// How many subscribers receive each message.
    receivers: u64,
    sent: AtomicU64,
    sent_measured: AtomicU64,
    delivered: AtomicU64,
    /// Messages that are not waited for any longer.
    given_up: AtomicU64,
    unsent: AtomicU64,
    refused: AtomicU64,
    finished: AtomicBool,
    /// The number of deliveries at which the publisher wants to be woken.
    wake_at: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Flow {
    /// Nothing sent. A message goes to `receivers` subscribers, at least one.
    pub(crate) fn new(receivers: u32) -> Flow {
        Flow {
            receivers: u64::from(receivers.max(1)),
            sent: AtomicU64::new(0),
            sent_measured: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            finished: AtomicBool::new(false),
            wake_at: AtomicU64::new(u64::MAX),
            waker: Mutex::new(None),
        }
    }

    /// Messages that were handed to the socket.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Of these, the ones that were due in the measured time.
    pub(crate) fn sent_measured(&self) -> u64 {
        self.sent_measured.load(Ordering::SeqCst)
    }

    /// Deliveries of these messages, each counted once for each subscriber.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::SeqCst)
    }

    /// Deliveries that have to come for everything that was sent.
    pub(crate) fn expected(&self) -> u64 {
        self.sent().saturating_mul(self.receivers)
    }

    /// Messages that were due in the measured time and could not be sent.
    pub(crate) fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::SeqCst)
    }

    /// Messages that the broker refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Whether the publisher will send no more.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    /// Says what was sent; to be called before the bytes are written.
    pub(crate) fn set_sent(&self, sent: u64, measured: u64) {
        self.sent_measured.store(measured, Ordering::SeqCst);
        self.sent.store(sent, Ordering::SeqCst);
    }

    /// Says that no more is sent, and how many messages were left over.
    pub(crate) fn finish(&self, unsent: u64) {
        self.unsent.store(unsent, Ordering::SeqCst);
        self.finished.store(true, Ordering::SeqCst);
    }

    /// Counts a message that the broker refused.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts a delivery, and wakes the publisher where it has waited for this one.
    pub(crate) fn deliver(&self) {
        let delivered = self.delivered.fetch_add(1, Ordering::SeqCst) + 1;
        if delivered >= self.wake_at.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// How many messages may be sent so that `window` are under way; registers the task where it is none.
    pub(crate) fn credit(&self, window: u64, context: &Context<'_>) -> u64 {
        let credit = self.credit_now(window);
        if credit > 0 {
            return credit;
        }
        *self.waker.lock() = Some(context.waker().clone());
        let wanted =
            self.sent().saturating_sub(self.given_up.load(Ordering::SeqCst)).saturating_sub(window) + 1;
        self.wake_at.store(wanted.saturating_mul(self.receivers), Ordering::SeqCst);
        self.credit_now(window)
    }

    /// Opens the window again where no delivery has come since `delivered_before`: what is under way is then taken for lost.
    pub(crate) fn give_up_if_stalled(&self, delivered_before: u64) {
        if self.delivered() == delivered_before && self.under_way() > 0 {
            self.given_up.fetch_add(self.under_way(), Ordering::SeqCst);
            self.wake();
        }
    }

    fn credit_now(&self, window: u64) -> u64 {
        window.saturating_sub(self.under_way())
    }

    fn under_way(&self) -> u64 {
        let arrived = self.delivered() / self.receivers;
        self.sent().saturating_sub(arrived).saturating_sub(self.given_up.load(Ordering::SeqCst))
    }

    fn wake(&self) {
        self.wake_at.store(u64::MAX, Ordering::SeqCst);
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_full_window_opens_with_the_last_receiver_of_a_message() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let (flow, context) = (Flow::new(3), Context::from_waker(&waker));
        assert_eq!(flow.credit(2, &context), 2);
        flow.set_sent(2, 0);
        assert_eq!(flow.credit(2, &context), 0);
        flow.deliver();
        flow.deliver();
        assert_eq!(woken.0.load(Ordering::SeqCst), 0, "one subscriber has not received it yet");
        flow.deliver();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert_eq!(flow.credit(2, &context), 1);
    }

    #[test]
    fn lost_messages_do_not_close_the_window_for_ever() {
        let (flow, context) = (Flow::new(1), Context::from_waker(Waker::noop()));
        flow.set_sent(5, 5);
        flow.deliver();
        assert_eq!(flow.credit(4, &context), 0);
        flow.give_up_if_stalled(0);
        assert_eq!(flow.credit(4, &context), 0, "one has arrived meanwhile");
        flow.give_up_if_stalled(1);
        assert_eq!(flow.credit(4, &context), 4);
    }

    #[test]
    fn more_deliveries_than_messages_do_no_harm() {
        let (flow, context) = (Flow::new(1), Context::from_waker(Waker::noop()));
        flow.deliver();
        flow.deliver();
        assert_eq!(flow.credit(4, &context), 4);
    }
}

//! Work in turns, so that those who are connected do not wait for those who come or go all at once.
//!
//! A step of a TLS handshake is a signature or its check: as much work as thousands of messages; the end of a connection is as much
//! as dozens. When a fleet reconnects, thousands of them are ready at once, and a runtime that serves tasks in their order would
//! let every connected client wait for all of them. So a worker does one such step a turn: between two steps everybody else who is
//! ready has had a turn. Steps are granted in the order in which they were asked for.
//!
//! Besides, so many handshakes may be under way at a time. What waits for its place is a socket without buffers, whose connect timeout runs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// Handshakes of one worker that may be under way at a time. Each may hold some ten kilobytes.
const UNDER_WAY_MAX: usize = 1024;

/// The TLS handshakes of one worker.
pub(crate) struct Handshakes {
    places: Semaphore,
    pub(crate) turns: Turns,
}

impl Handshakes {
    pub(crate) fn new() -> Handshakes {
        Handshakes { places: Semaphore::new(UNDER_WAY_MAX), turns: Turns::default() }
    }

    /// Makes a handshake and brings it to its end, each step in its turn. `make` is called when there is a place for it.
    pub(crate) async fn run<F: Future + Unpin>(&self, make: impl FnOnce() -> F) -> F::Output {
        // The semaphore is never closed.
        let _place: Option<SemaphorePermit<'_>> = self.places.acquire().await.ok();
        self.turns.run(make).await
    }
}

/// One kind of work of one worker, done a step a turn.
#[derive(Default)]
pub(crate) struct Turns {
    /// Whether a step was made in this turn.
    taken: Cell<bool>,
    /// Those who wait for a step, in their order. One who has given up meanwhile costs a turn.
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    next_ticket: Cell<u64>,
    /// Tickets below this may make their step.
    admitted: Cell<u64>,
    due: Notify,
}

impl Turns {
    /// Waits for a turn.
    pub(crate) async fn wait(&self) {
        self.run(|| ready(())).await;
    }

    /// Makes a future and polls it only in its turns. `make` is called in the first one.
    async fn run<F: Future + Unpin>(&self, make: impl FnOnce() -> F) -> F::Output {
        let (mut make, mut work, mut ticket) = (Some(make), None, None);
        poll_fn(|context| {
            if !self.may_step(&mut ticket, context) {
                return Poll::Pending;
            }
            if let Some(make) = make.take() {
                work = Some(make());
            }
            work.as_mut().map_or(Poll::Pending, |work| Pin::new(work).poll(context))
        })
        .await
    }

    /// Whether it is this one's turn; if not, it is woken when it is.
    fn may_step(&self, ticket: &mut Option<u64>, context: &Context<'_>) -> bool {
        match *ticket {
            Some(mine) if mine >= self.admitted.get() => return false,
            Some(_) => *ticket = None,
            None if self.taken.replace(true) || !self.waiting.borrow().is_empty() => {
                let mine = self.next_ticket.replace(self.next_ticket.get() + 1);
                self.waiting.borrow_mut().push_back((mine, context.waker().clone()));
                *ticket = Some(mine);
            }
            None => {}
        }
        self.due.notify_one();
        ticket.is_none()
    }

    /// Grants the steps, for ever.
    pub(crate) async fn grant(&self) {
        loop {
            self.due.notified().await;
            loop {
                // Resumed when the runtime has looked at the sockets and at the tasks that were ready.
                tokio::task::yield_now().await;
                let next = self.waiting.borrow_mut().pop_front();
                let Some((ticket, waker)) = next else { break };
                self.admitted.set(ticket + 1);
                waker.wake();
            }
            self.taken.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};

    type Seen = Rc<RefCell<Vec<&'static str>>>;

    /// A handshake of so many steps that notes each of them.
    struct Steps(usize, Seen);

    impl Future for Steps {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            self.1.borrow_mut().push("step");
            self.0 -= 1;
            if self.0 == 0 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }

    /// Runs a test beside the task that grants the turns.
    async fn with_turns<F: Future<Output = ()>>(test: impl FnOnce(Rc<Handshakes>) -> F) {
        let handshakes = Rc::new(Handshakes::new());
        let (local, granting) = (LocalSet::new(), handshakes.clone());
        local.spawn_local(async move { granting.turns.grant().await });
        local.run_until(test(handshakes)).await;
    }

    /// Starts a handshake of so many steps.
    fn start(handshakes: &Rc<Handshakes>, steps: usize, seen: &Seen) -> JoinHandle<()> {
        let (handshakes, seen) = (handshakes.clone(), seen.clone());
        spawn_local(async move { handshakes.run(|| Steps(steps, seen)).await })
    }

    /// However many handshakes are ready, a task that is ready as well has its turn after each step.
    #[tokio::test]
    async fn other_tasks_have_a_turn_between_any_two_steps() {
        let seen = Seen::default();
        with_turns(|handshakes| async move {
            let tasks: Vec<_> = (0..50).map(|_| start(&handshakes, 2, &seen)).collect();
            let noted = seen.clone();
            let other = spawn_local(async move {
                loop {
                    noted.borrow_mut().push("other");
                    yield_now().await;
                }
            });
            for task in tasks {
                task.await.unwrap();
            }
            other.abort();
            let seen = seen.borrow();
            assert_eq!(seen.iter().filter(|what| **what == "step").count(), 100);
            assert!(!seen.windows(3).any(|three| three == ["step"; 3]), "{seen:?}");
        })
        .await;
    }

    /// One who gives up while it waits holds nobody up.
    #[tokio::test]
    async fn who_gives_up_is_passed_over() {
        let seen = Seen::default();
        with_turns(|handshakes| async move {
            let [first, second, third] = [(); 3].map(|()| start(&handshakes, 3, &seen));
            yield_now().await;
            second.abort();
            first.await.unwrap();
            third.await.unwrap();
        })
        .await;
    }
}

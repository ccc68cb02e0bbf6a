//! Wakes the publishers of one worker when their next message is due, to some ten microseconds.
//!
//! The runtime's own timers count milliseconds, which is more than the latency that is to be measured. Linux has timers that are
//! files and as exact as its clock; elsewhere the runtime's timers have to do, and latencies are up to a millisecond longer.

use super::run::Run;
use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// The moments at which somebody wants to be woken; each publisher has at most one that is still to come for every message.
pub(crate) struct Pacer {
    run: Arc<Run>,
    timer: Timer,
    queue: RefCell<BinaryHeap<Reverse<Appointment>>>,
    /// The moment for which the timer is set.
    armed: Cell<u64>,
}

struct Appointment {
    due: u64,
    waker: Waker,
}

impl Pacer {
    /// A pacer on the current worker.
    pub(crate) fn new(run: Arc<Run>) -> io::Result<Pacer> {
        Ok(Pacer { run, timer: Timer::new()?, queue: RefCell::default(), armed: Cell::new(u64::MAX) })
    }

    /// Wakes a task at `due`, a time of the run.
    pub(crate) fn wake_at(&self, due: u64, waker: &Waker) {
        self.queue.borrow_mut().push(Reverse(Appointment { due, waker: waker.clone() }));
        if due < self.armed.get() {
            self.arm(due);
        }
    }

    /// Keeps all appointments; ends only where the timer cannot be read.
    pub(crate) async fn keep(&self) -> io::Result<()> {
        loop {
            self.timer.elapsed().await?;
            self.armed.set(u64::MAX);
            let now = self.run.now();
            while let Some(appointment) = self.take_due(now) {
                appointment.waker.wake();
            }
            if let Some(next) = self.queue.borrow().peek().map(|appointment| appointment.0.due) {
                self.arm(next);
            }
        }
    }

    fn take_due(&self, now: u64) -> Option<Appointment> {
        let mut queue = self.queue.borrow_mut();
        match queue.peek() {
            Some(next) if next.0.due <= now => queue.pop().map(|appointment| appointment.0),
            _ => None,
        }
    }

    fn arm(&self, due: u64) {
        self.armed.set(due);
        // A delay of nothing would switch the timer off.
        self.timer.arm(Duration::from_nanos(due.saturating_sub(self.run.now()).max(1)));
    }
}

impl PartialEq for Appointment {
    fn eq(&self, other: &Appointment) -> bool {
        self.due == other.due
    }
}

impl Eq for Appointment {}

impl PartialOrd for Appointment {
    fn partial_cmp(&self, other: &Appointment) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Appointment {
    fn cmp(&self, other: &Appointment) -> Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(target_os = "linux")]
use linux::Timer;
#[cfg(not(target_os = "linux"))]
use portable::Timer;

#[cfg(target_os = "linux")]
mod linux {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;
    use tokio::io::unix::AsyncFd;

    /// A timer that is a file (timerfd_create(2)).
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        #[expect(
            deprecated,
            reason = "its successor is `unsafe` for the sake of descriptors that are closed too early; an `OwnedFd` is not"
        )]
        pub(super) fn new() -> io::Result<Timer> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            Ok(Timer(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
        }

        /// Sets the one time at which it elapses.
        pub(super) fn arm(&self, delay: Duration) {
            let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
            let value = Timespec { tv_sec: seconds, tv_nsec: delay.subsec_nanos().into() };
            let setting = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            // Fails only for a time that is none.
            let _ = timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &setting);
        }

        /// Waits until it has elapsed.
        pub(super) async fn elapsed(&self) -> io::Result<()> {
            loop {
                let mut ready = self.0.readable().await?;
                let mut count = [0; 8];
                match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut count)?)) {
                    Ok(outcome) => return outcome.map(|_| ()),
                    Err(_would_block) => {}
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::cell::Cell;
    use std::io;
    use std::time::Duration;
    use tokio::sync::Notify;
    use tokio::time::{Instant, sleep_until};

    /// A timer of the runtime.
    pub(super) struct Timer {
        due: Cell<Option<Instant>>,
        moved: Notify,
    }

    impl Timer {
        pub(super) fn new() -> io::Result<Timer> {
            Ok(Timer { due: Cell::new(None), moved: Notify::new() })
        }

        /// Sets the one time at which it elapses.
        pub(super) fn arm(&self, delay: Duration) {
            self.due.set(Some(Instant::now() + delay));
            self.moved.notify_one();
        }

        /// Waits until it has elapsed.
        pub(super) async fn elapsed(&self) -> io::Result<()> {
            loop {
                let Some(due) = self.due.get() else {
                    self.moved.notified().await;
                    continue;
                };
                tokio::select! {
                    () = sleep_until(due) => {
                        self.due.set(None);
                        return Ok(());
                    }
                    () = self.moved.notified() => {}
                }
            }
        }
    }
}

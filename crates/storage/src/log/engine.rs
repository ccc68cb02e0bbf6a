//! Holds the parts together: what whoever appends, whoever reads and the one who writes share.

use super::reading::{self, Left, Picked};
use super::reclaim::{More, Reclaim};
use super::room::Pressure;
use super::state::{State, Work};
use super::time::{Clock, StoreTime};
use super::watch::Watcher;
use super::writer::Writer;
use super::{frame, frame::Moment};
use crate::{Bell, Change, Entry, Lsn, NoRoom, ReadError, ReadMax, StreamId, Urgency, Usage};
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A log that is open. Locks are taken in the order writer, reclaim, watcher, state, and then time or the bell.
pub(super) struct Engine {
    pub(super) state: Mutex<State>,
    pub(super) writer: Mutex<Writer>,
    pub(super) clock: Arc<dyn Clock>,
    reclaim: Mutex<Reclaim>,
    time: Mutex<StoreTime>,
    /// Where the last answer has ended.
    left: Mutex<Option<Left>>,
    bell: Mutex<Option<Bell>>,
    watcher: Mutex<Option<Watcher>>,
    /// There is something to write.
    awake: Condvar,
    /// Something was written.
    drained: Condvar,
}

impl Engine {
    pub(super) fn new(state: State, writer: Writer, time: StoreTime, clock: Arc<dyn Clock>) -> Engine {
        Engine {
            state: Mutex::new(state),
            writer: Mutex::new(writer),
            clock,
            reclaim: Mutex::default(),
            time: Mutex::new(time),
            left: Mutex::default(),
            bell: Mutex::default(),
            watcher: Mutex::default(),
            awake: Condvar::new(),
            drained: Condvar::new(),
        }
    }

    pub(super) fn append(&self, change: &mut Change, urgency: Urgency) -> Lsn {
        let check = frame::body_check(change.as_bytes());
        let now = self.clock.monotonic_millis();
        let mut state = self.state.lock();
        if change.is_empty() {
            state.want(urgency);
            self.awake.notify_one();
            return Lsn(state.appended);
        }
        self.drained.wait_while(&mut state, |state| state.is_crowded());
        let lsn = state.append(change.as_bytes(), check, urgency, now);
        state.usage.appended_bytes += change.as_bytes().len() as u64;
        drop(state);
        self.awake.notify_one();
        change.clear();
        lsn
    }

    pub(super) fn read(&self, stream: StreamId, from: u64, max: ReadMax) -> Result<Vec<Entry>, ReadError> {
        let (key, picked) = {
            let state = self.state.lock();
            (state.key, Picked::pick(&state.index, &state.buffer, stream, from, max))
        };
        let mut left = self.left.lock().take();
        let read = reading::read(key, stream, &picked, &mut left);
        *self.left.lock() = left;
        read
    }

    pub(super) fn usage(&self) -> Usage {
        let state = self.state.lock();
        let segments = &state.index.segments;
        Usage {
            disk_bytes: segments.bytes() + state.spare_bytes,
            live_bytes: segments.live_bytes(),
            index_bytes: state.index.memory_bytes(),
            short_of: state.watch.short_of(self.clock.monotonic_millis()),
            ..state.usage
        }
    }

    /// How much of what lives has to go for messages of so many bytes; that there is no room is noted, unless nobody has one.
    pub(super) fn excess(&self, bytes: usize) -> Result<u64, NoRoom> {
        let mut state = self.state.lock();
        let excess = state.excess(bytes);
        if bytes > 0
            && excess != Ok(0)
            && let Some(shortage) = state.shortage()
            && state.watch.note_refused(shortage, self.clock.monotonic_millis())
        {
            self.awake.notify_one();
        }
        excess
    }

    pub(super) fn moment(&self) -> Moment {
        self.time.lock().moment(&*self.clock)
    }

    pub(super) fn set_bell(&self, bell: Bell) {
        *self.bell.lock() = Some(bell);
    }

    pub(super) fn set_watcher(&self, watcher: Watcher) {
        *self.watcher.lock() = Some(watcher);
        self.awake.notify_one();
    }

    /// Tells whoever watches what has become of the store.
    fn tell(&self) {
        let watcher = self.watcher.lock();
        let Some(watcher) = &*watcher else { return };
        let news = self.state.lock().next_news(self.clock.monotonic_millis());
        news.into_iter().for_each(watcher);
    }

    /// Says that the progress has changed.
    pub(super) fn ring(&self) {
        if let Some(bell) = &*self.bell.lock() {
            bell();
        }
    }

    /// Does what there is to do now; whether there is more.
    pub(super) fn turn(&self) -> More {
        let more = self.work();
        self.tell();
        more
    }

    fn work(&self) -> More {
        let mut writer = self.writer.lock();
        let now = self.clock.monotonic_millis();
        let retry = self.state.lock().retry(now);
        let work = match retry {
            Some(false) => return More::Later,
            // What waits is copied to a new place for each try, so the disk is tried without it first.
            Some(true) => match writer.probe() {
                Ok(()) => Some(self.take_all(&mut writer, now)),
                Err(error) => {
                    self.state.lock().fail_again(&error, now);
                    return More::Later;
                }
            },
            None => self.state.lock().take_work(now, self.moment()),
        };
        if let Some(work) = work {
            let result = writer.write(self, &work);
            self.finish(&mut writer, &result, now);
        }
        let more = self.reclaim(&mut writer, now);
        writer.make_spare(self, now);
        more
    }

    /// Takes space back: a piece, or several where messages would have to wait for it.
    fn reclaim(&self, writer: &mut Writer, now: u64) -> More {
        const PIECES_MAX: usize = 16;
        let mut reclaim = self.reclaim.lock();
        let mut more = reclaim.step(self, writer, now);
        for _ in 1..PIECES_MAX {
            if more == More::Later || self.state.lock().pressure() != Pressure::Urgent {
                break;
            }
            more = reclaim.step(self, writer, now);
        }
        more
    }

    /// Sees to it that there is a next segment.
    pub(super) fn make_ready(&self) {
        self.writer.lock().make_spare(self, self.clock.monotonic_millis());
    }

    /// Everything that is not on the disk, in a place that can be believed.
    fn take_all(&self, writer: &mut Writer, now: u64) -> Work {
        let moment = self.moment();
        let mut state = self.state.lock();
        if state.retry(now).is_some() {
            writer.given_up.extend(state.relocate());
            writer.remove_given_up();
        }
        state.take_all(now, moment)
    }

    /// Writes and syncs everything, and behind it a mark that says so.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut writer = self.writer.lock();
        let now = self.clock.monotonic_millis();
        for _ in 0..2 {
            let work = self.take_all(&mut writer, now);
            let result = writer.write(self, &work);
            self.finish(&mut writer, &result, now);
            result?;
        }
        Ok(())
    }

    fn finish(&self, writer: &mut Writer, result: &io::Result<()>, now: u64) {
        let mut state = self.state.lock();
        match result {
            Ok(()) => state.recover(),
            Err(error) => {
                writer.give_up();
                state.fail(error, now);
            }
        }
        drop(state);
        self.drained.notify_all();
        self.ring();
    }

    /// Goes on until [`Engine::close`] is called: the writer's thread.
    pub(super) fn run(&self) {
        loop {
            let more = self.turn();
            let mut state = self.state.lock();
            if state.is_closing {
                return;
            }
            let now = self.clock.monotonic_millis();
            if more == More::Later
                && let Some(millis) = state.next_in_millis(now)
            {
                self.awake.wait_for(&mut state, Duration::from_millis(millis));
            }
        }
    }

    /// Has [`Engine::run`] come to its end.
    pub(super) fn close(&self) {
        self.state.lock().is_closing = true;
        self.awake.notify_all();
        self.drained.notify_all();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Engine").field("progress", &self.state.lock().progress()).finish()
    }
}

//! Replay rings: the last messages of configured topics, in one order for all workers.
//!
//! A [`Ring`] is what publishers append to and consumers follow; which ring a topic belongs to is decided by [`Rings`] when a route is
//! made. A consumer's place is a position and nothing else, so a ring knows nobody: only which workers have consumers that have read
//! everything and want to be told of more.
//!
//! Not to be taken for the retained messages, which are the last of each topic and a store of their own (`retained`).

mod messages;
mod rings;

pub use rings::RingOptions;
pub(crate) use rings::Rings;

use messages::{Gone, RingMessages, RingSize};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_message::Message;

/// A ring, shared by the routes that lead to it and by the workers that follow it.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Unique while the process runs; part of every token.
    pub(crate) id: u64,
    state: Mutex<State>,
    /// Consumers that follow it.
    followers: AtomicUsize,
}

#[derive(Debug)]
struct State {
    messages: RingMessages,
    /// The workers that are to be told of the next message, one bit each.
    watchers: u64,
}

/// What was read from a ring.
#[derive(Debug)]
pub(crate) struct Read {
    /// In their order, without a hole between them. Empty where nothing follows yet; then the worker will be told of more.
    pub(crate) messages: Vec<Arc<Message>>,
    /// The position of the first of them.
    pub(crate) first: u64,
    /// Whether messages in front of it are gone that would have followed.
    pub(crate) is_overtaken: bool,
}

impl Ring {
    fn new(id: u64, size: RingSize) -> Ring {
        let state = State { messages: RingMessages::new(size), watchers: 0 };
        Ring { id, state: Mutex::new(state), followers: AtomicUsize::new(0) }
    }

    /// Takes a message in. Returns the workers that are to be told, one bit each; they will not be again before they have looked.
    pub(crate) fn append(&self, message: &Arc<Message>) -> u64 {
        // Freed when the lock is free.
        let mut gone = Gone::new();
        let mut state = self.state.lock();
        state.messages.append(message, &mut gone);
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        watchers
    }

    fn resize(&self, size: RingSize) {
        let mut gone = Gone::new();
        let mut state = self.state.lock();
        state.messages.resize(size, &mut gone);
        drop(state);
    }

    /// The position of the newest message; 0 where there never was one.
    pub(crate) fn end(&self) -> u64 {
        self.state.lock().messages.end()
    }

    /// Whether everything behind this position is still there, or will come.
    pub(crate) fn has_everything_behind(&self, position: u64) -> bool {
        let state = self.state.lock();
        (state.messages.start()..=state.messages.end()).contains(&position)
    }

    /// Up to `count` messages behind a position. Where there is none, the worker is told when one comes.
    pub(crate) fn read(&self, behind: u64, count: usize, worker: u8) -> Read {
        let mut state = self.state.lock();
        let is_overtaken = behind < state.messages.start();
        let messages::Read { messages, first } = state.messages.read(behind, count);
        if messages.is_empty() {
            state.watchers |= 1 << worker;
        }
        Read { messages, first, is_overtaken }
    }

    /// How many messages it holds, and their weight in bytes.
    fn len_and_bytes(&self) -> (usize, usize) {
        self.state.lock().messages.len_and_bytes()
    }

    /// Whether anybody follows it now.
    pub(crate) fn is_followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0
    }

    /// Counts a consumer that follows it from now on.
    pub(crate) fn add_follower(&self) {
        self.followers.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a consumer that follows it no more.
    pub(crate) fn remove_follower(&self) {
        self.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

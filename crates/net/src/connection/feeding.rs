//! What a connection does with bytes that are plain: it feeds them to the shard and keeps what is left of them.
//!
//! What is left is an unfinished frame, or everything while the shard awaits an answer or the client has to rest.

use super::{Connection, Step};
use std::time::Instant;
use tidegate_broker::Fed;
use tokio::time::sleep_until;

/// What a client whose publishing has a limit is fed at a time.
const PACED_BYTES: usize = 64;
/// How much of an unfinished frame one read has to bring to count as a sign of life.
const LIFE_BYTES: usize = 512;

impl Connection {
    /// Feeds the kept rest and `count` new bytes behind it.
    pub(super) fn feed_new(&mut self, buffer: &mut [u8], kept: usize, count: usize) -> Step {
        if kept == 0 && !self.rest.is_empty() {
            let Some(new) = buffer.get(..count) else { return Step::Close(None) };
            self.rest.extend_from_slice(new);
            if self.rest.len() < self.wanted || self.is_held_back() {
                self.note_unhandled(count);
                return Step::Continue;
            }
            let rest = std::mem::take(&mut self.rest);
            return self.feed_again(rest);
        }
        let Some(front) = buffer.get_mut(..kept) else { return Step::Close(None) };
        front.copy_from_slice(&self.rest);
        let Some(input) = buffer.get(..kept + count) else { return Step::Close(None) };
        if self.is_held_back() || input.len() < self.wanted {
            self.rest.extend_from_slice(buffer.get(kept..kept + count).unwrap_or_default());
            self.note_unhandled(count);
            return Step::Continue;
        }
        match self.feed(input) {
            Ok(consumed) => {
                self.rest.clear();
                self.rest.extend_from_slice(input.get(consumed..).unwrap_or_default());
                if self.rest.is_empty() {
                    self.rest = Vec::new();
                }
                Step::Continue
            }
            Err(step) => step,
        }
    }

    /// So many bytes have come that the machine is not shown yet: a sign of life where it is not ready for them, or where a large frame is on
    /// its way. Less of one than that is none: a peer must not live on a byte now and then ([MQTT-3.1.2-22]).
    fn note_unhandled(&self, count: usize) {
        if self.is_held_back() || count >= LIFE_BYTES {
            self.wire.note_heard();
        }
    }

    /// Whether what comes in has to wait.
    fn is_held_back(&self) -> bool {
        self.is_waiting || self.resting.is_some()
    }

    /// Feeds what had to wait.
    pub(super) fn feed_rest(&mut self) -> Step {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { Step::Continue } else { self.feed_again(rest) }
    }

    /// Feeds a rest that was gathered on its own, and keeps what is left of it.
    fn feed_again(&mut self, mut rest: Vec<u8>) -> Step {
        match self.feed(&rest) {
            Ok(consumed) => {
                rest.drain(..consumed.min(rest.len()));
                rest.shrink_to(self.wanted.min(rest.capacity()));
                self.rest = rest;
                Step::Continue
            }
            Err(step) => step,
        }
    }

    fn feed(&mut self, input: &[u8]) -> Result<usize, Step> {
        match self.is_paced {
            true => self.feed_paced(input),
            false => self.feed_all(input),
        }
    }

    /// Feeds in small pieces, so that a client that is too fast is stopped within a message or a few.
    fn feed_paced(&mut self, input: &[u8]) -> Result<usize, Step> {
        let (mut consumed, mut piece) = (0, PACED_BYTES);
        while let Some(rest) = input.get(consumed..).filter(|rest| !rest.is_empty()) {
            let now = Instant::now();
            let until = self.worker.event(|shard, _| {
                let until = shard.rests_until(self.key, now);
                until.inspect(|until| shard.count_rest(self.key, *until, now))
            });
            if let Some(until) = until {
                self.resting = Some(Box::pin(sleep_until(until.into())));
                break;
            }
            let len = piece.max(self.wanted).min(rest.len());
            let taken = self.feed_all(rest.get(..len).unwrap_or(rest))?;
            consumed += taken;
            piece = if taken > 0 { PACED_BYTES } else { 2 * len };
            if self.is_waiting || (taken == 0 && len == rest.len()) {
                break;
            }
        }
        Ok(consumed)
    }

    fn feed_all(&mut self, input: &[u8]) -> Result<usize, Step> {
        match self.worker.event(|shard, now| shard.handle_bytes(self.key, input, now)) {
            Fed::Open { consumed, wanted, rests_until } => {
                self.wanted = wanted;
                // One whose pace is limited is looked after piece by piece.
                if let Some(until) = rests_until.filter(|_| !self.is_paced) {
                    self.worker.event(|shard, now| shard.count_rest(self.key, until, now));
                    self.resting = Some(Box::pin(sleep_until(until.into())));
                }
                Ok(consumed)
            }
            Fed::Waiting { consumed } => {
                self.is_waiting = true;
                self.wanted = 1;
                Ok(consumed)
            }
            Fed::Closed => Err(Step::Close(None)),
        }
    }
}

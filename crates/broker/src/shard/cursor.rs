//! A consumer's place in the replay ring that it follows.
//!
//! ```text
//!            everything read                     no credit, no room, overtaken
//!   behind ──────────────────► among the audience ──────────────────────────► behind
//! ```
//!
//! A cursor that is behind reads the ring by itself, a few messages at a time. One that has read everything stands among its worker's
//! audience of the ring (`following.rs`), which is served message by message, so that a thousand of them cost one read of the ring.

use crate::access::Clearance;
use crate::queued::Queued;
use crate::ring::Ring;
use crate::route::Grant;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;
use tidegate_message::{Message, QoS, TopicFilter};
use tidegate_protocol::{Position, ResumeToken, SubscriptionIds};

/// A consumer's place in a ring.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) ring: Arc<Ring>,
    pub(crate) filter: TopicFilter,
    pub(crate) clearance: Clearance,
    qos_max: QoS,
    /// Where it began. What comes before the first message of the ring names this place.
    began: ResumeToken,
    /// Everything up to this position has been looked at.
    pub(super) read_to: u64,
    /// What it has found and not sent yet.
    found: VecDeque<(NonZeroU64, Arc<Message>)>,
    /// Whether messages are missing before the next delivery.
    is_after_gap: bool,
    /// Whether it stands among the audience, and reads nothing by itself.
    pub(super) is_live: bool,
    /// Messages that it has looked at in this turn.
    pub(super) looked_at: usize,
}

impl Cursor {
    /// A cursor that goes on behind the place of a token; with `is_after_gap` where that is not where its client was.
    pub(super) fn new(
        ring: Arc<Ring>,
        filter: &TopicFilter,
        qos_max: QoS,
        clearance: Clearance,
        began: ResumeToken,
    ) -> Cursor {
        Cursor {
            ring,
            filter: filter.clone(),
            clearance,
            qos_max,
            began,
            read_to: began.position,
            found: VecDeque::new(),
            is_after_gap: false,
            is_live: false,
            looked_at: 0,
        }
    }

    /// Leaves for another ring, of which it has seen nothing. What lies between is missing.
    pub(super) fn move_to(&mut self, ring: Arc<Ring>, began: ResumeToken) {
        (self.ring, self.began, self.read_to) = (ring, began, began.position);
        self.found.clear();
        self.note_gap();
    }

    /// Messages are missing before the next delivery.
    pub(super) fn note_gap(&mut self) {
        self.is_after_gap = true;
    }

    /// A delivery has been made, and it has told of the gap if there was one.
    pub(super) fn note_told(&mut self) {
        self.is_after_gap = false;
    }

    /// How its deliveries are made.
    pub(super) fn grant(&self) -> Grant {
        Grant { qos: self.qos_max, retain_as_published: false, subscription_ids: SubscriptionIds::new() }
    }

    /// Where a delivery stands that was read from the ring, or that comes before everything in it.
    pub(super) fn position(&self, position: Option<NonZeroU64>) -> Position {
        let in_ring =
            |position: NonZeroU64| ResumeToken { position: position.get(), state_before: None, ..self.began };
        Position { token: position.map_or(self.began, in_ring), is_after_gap: self.is_after_gap }
    }

    /// Keeps what it has read, as far as it is wanted.
    pub(super) fn take_in(
        &mut self,
        messages: Vec<Arc<Message>>,
        first: u64,
        is_wanted: impl Fn(&Message) -> bool,
    ) {
        self.looked_at += messages.len();
        self.read_to = (first - 1) + messages.len() as u64;
        let numbered = (first..).map_while(NonZeroU64::new).zip(messages);
        self.found.extend(
            numbered.filter(|(_, message)| self.filter.matches(&message.topic) && is_wanted(message)),
        );
    }

    /// The next message that it has found.
    pub(super) fn front(&self) -> Option<&Arc<Message>> {
        self.found.front().map(|(_, message)| message)
    }

    /// Takes the next message that it has found, as it is delivered.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let (position, message) = self.found.pop_front()?;
        if self.found.is_empty() {
            // A thousand cursors that wait hold nothing.
            self.found = VecDeque::new();
        }
        Some(Queued { position: Some(position), ..Queued::live(message, &self.grant()) })
    }

    /// Gives back what it has found and cannot send now: how long that may take is the peer's affair, and meanwhile nothing is held but
    /// what the ring holds.
    pub(super) fn put_back(&mut self) {
        if let Some((position, _)) = self.found.front() {
            self.read_to = position.get() - 1;
            self.found = VecDeque::new();
        }
    }

    /// Forgets the next message that it has found.
    pub(super) fn skip(&mut self) {
        self.found.pop_front();
    }
}

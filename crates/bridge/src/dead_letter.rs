//! What becomes of a message that the upstream refuses for good: it is published to another topic here, with the reason, and only when it is
//! kept there it is settled.

use crate::ID_PROPERTY;
use crate::link::{Delivered, LinkRefusal, Matched, Outbox, Publishing};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_message::QoS;
use tidegate_protocol::{DeliveryTag, Outcome};
use tokio::io::AsyncWrite;

/// The user property that says why, in a word.
pub const REASON_PROPERTY: &str = "tidegate-reason";
/// The user property that says why, in words.
pub const DETAIL_PROPERTY: &str = "tidegate-detail";
/// The user property that says which bridge has given it up.
pub const BRIDGE_PROPERTY: &str = "tidegate-bridge";
/// The user property that says where it was published.
pub const TOPIC_PROPERTY: &str = "tidegate-topic";

/// How long a dead letter waits that has no room here.
const RETRY: Duration = Duration::from_secs(1);
/// Of what an upstream says, so much is kept.
const DETAIL_BYTES_MAX: usize = 512;

/// Why a message died.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason<'a> {
    pub(crate) label: &'a str,
    pub(crate) text: &'a str,
}

/// A dead letter that is not kept yet.
#[derive(Debug)]
struct Letter {
    tag: DeliveryTag,
    publishing: Publishing,
    expires_at: Option<Instant>,
}

impl Letter {
    /// What is published now, with what is left of its lifetime.
    fn publishing(&self, now: Instant) -> Publishing {
        let expiry = self.expires_at.map(|at| at.saturating_duration_since(now));
        Publishing { expiry, ..self.publishing.clone() }
    }
}

/// Dead letters that are not kept yet, at most as many as there are unsettled deliveries.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    topic: Option<Bytes>,
    bridge: Box<str>,
    next_ticket: u64,
    under_way: BTreeMap<u64, Letter>,
    /// Those that had no room.
    refused: Vec<u64>,
    retry_at: Option<Instant>,
}

impl DeadLetters {
    pub(crate) fn new(topic: Option<String>, bridge: &str) -> DeadLetters {
        DeadLetters {
            topic: topic.map(Bytes::from),
            bridge: bridge.into(),
            next_ticket: 0,
            under_way: BTreeMap::new(),
            refused: Vec::new(),
            retry_at: None,
        }
    }

    /// Forgets what was under way: the deliveries come again.
    pub(crate) fn forget(&mut self) {
        self.under_way.clear();
        self.refused.clear();
        self.retry_at = None;
    }

    /// Whether all of them are kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// When those that had no room want to be tried again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Publishes a message as a dead letter; without a topic for them it is thrown away.
    pub(crate) fn bury<P: AsyncWrite>(
        &mut self,
        delivered: &Delivered,
        id: &str,
        reason: Reason<'_>,
        outbox: &mut Outbox<P>,
    ) {
        let Some(topic) = &self.topic else { return outbox.settle(delivered.tag, Outcome::Rejected) };
        let mut properties = delivered.properties.clone().unwrap_or_default();
        let pairs = [
            (REASON_PROPERTY, reason.label),
            (DETAIL_PROPERTY, shortened(reason.text)),
            (BRIDGE_PROPERTY, &*self.bridge),
            (TOPIC_PROPERTY, delivered.topic.as_str()),
            (ID_PROPERTY, id),
        ];
        properties.user.retain(|(name, _)| pairs.iter().all(|(ours, _)| **name != **ours));
        properties.user.extend(pairs.map(|(name, value)| (name.into(), value.into())));
        let publishing = Publishing {
            topic: topic.clone(),
            payload: delivered.payload.clone(),
            qos: delivered.qos.max(QoS::AtLeastOnce),
            retain: false,
            properties: Some(properties),
            expiry: None,
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let letter = Letter { tag: delivered.tag, publishing, expires_at: delivered.expires_at };
        outbox.publish(ticket, letter.publishing(Instant::now()));
        self.under_way.insert(ticket, letter);
    }

    /// The gateway's answer. What it says is returned where the letter has to wait.
    pub(crate) fn note_published<P: AsyncWrite>(
        &mut self,
        ticket: u64,
        result: Result<Matched, LinkRefusal>,
        outbox: &mut Outbox<P>,
    ) -> Option<LinkRefusal> {
        match result {
            Err(refusal) if refusal.is_passing => {
                self.refused.push(ticket);
                let is_first = self.retry_at.is_none();
                self.retry_at = Some(Instant::now() + RETRY);
                return is_first.then_some(refusal);
            }
            // A topic that cannot be published to will not be one later.
            Err(_) => self.settle(ticket, Outcome::Rejected, outbox),
            Ok(_) => self.settle(ticket, Outcome::GivenUp, outbox),
        }
        None
    }

    fn settle<P: AsyncWrite>(&mut self, ticket: u64, outcome: Outcome, outbox: &mut Outbox<P>) {
        if let Some(Letter { tag, .. }) = self.under_way.remove(&ticket) {
            outbox.settle(tag, outcome);
        }
    }

    /// Tries those again that had no room, when it is time.
    pub(crate) fn retry<P: AsyncWrite>(&mut self, outbox: &mut Outbox<P>, now: Instant) {
        if self.retry_at.is_none_or(|at| at > now) {
            return;
        }
        self.retry_at = None;
        for ticket in std::mem::take(&mut self.refused) {
            if let Some(letter) = self.under_way.get(&ticket) {
                outbox.publish(ticket, letter.publishing(now));
            }
        }
    }
}

/// The beginning of a text, at the border of a character.
pub(crate) fn shortened(text: &str) -> &str {
    let end = (0..=DETAIL_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

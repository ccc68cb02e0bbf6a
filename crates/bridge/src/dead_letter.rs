//! What becomes of a message that the upstream refuses for good: it is published to another topic here, with the reason, and only when it is
//! kept there it is settled.

use crate::ID_PROPERTY;
use crate::flight::weight_bytes;
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
    pub(crate) label: &'static str,
    pub(crate) text: &'a str,
}

/// A dead letter that is not kept yet.
#[derive(Debug)]
struct Letter {
    tag: DeliveryTag,
    /// Why the message died.
    label: &'static str,
    bytes: usize,
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

/// What became of a dead letter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Somebody here has it.
    Kept,
    /// It cannot be kept now, and is tried again. Whether it is the first of which that is said.
    Waits { why: String, is_first: bool },
    /// Nobody has it, nor will. Whether it is the first since one was kept.
    Lost { label: &'static str, why: String, is_first: bool },
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
    bytes: usize,
    /// Whether the last one was lost.
    is_losing: bool,
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
            bytes: 0,
            is_losing: false,
        }
    }

    /// Forgets what was under way: the deliveries come again.
    pub(crate) fn forget(&mut self) {
        self.under_way.clear();
        self.refused.clear();
        (self.retry_at, self.bytes) = (None, 0);
    }

    /// Whether all of them are kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether the gateway has yet to answer for one.
    pub(crate) fn is_awaited(&self) -> bool {
        self.under_way.len() > self.refused.len()
    }

    /// What they take in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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
        let bytes = weight_bytes(delivered);
        let (tag, label, expires_at) = (delivered.tag, reason.label, delivered.expires_at);
        let letter = Letter { tag, label, bytes, publishing, expires_at };
        self.bytes += bytes;
        outbox.publish(ticket, letter.publishing(Instant::now()));
        self.under_way.insert(ticket, letter);
    }

    /// The gateway's answer, by which a letter is settled or has to wait.
    pub(crate) fn note_published<P: AsyncWrite>(
        &mut self,
        ticket: u64,
        result: Result<Matched, LinkRefusal>,
        outbox: &mut Outbox<P>,
    ) -> Option<Fate> {
        let why = match result {
            Err(refusal) if refusal.is_passing => {
                self.refused.push(ticket);
                let is_first = self.retry_at.is_none();
                self.retry_at = Some(Instant::now() + RETRY);
                return Some(Fate::Waits { why: refusal.text, is_first });
            }
            Ok(Matched(true)) => {
                self.is_losing = false;
                self.settle(ticket, Outcome::GivenUp, outbox)?;
                return Some(Fate::Kept);
            }
            Ok(Matched(false)) => "nobody takes what is published there".to_owned(),
            // A topic that cannot be published to will not be one later.
            Err(refusal) => refusal.text,
        };
        let label = self.settle(ticket, Outcome::Rejected, outbox)?;
        let is_first = !std::mem::replace(&mut self.is_losing, true);
        Some(Fate::Lost { label, why, is_first })
    }

    /// Returns why the message died; nothing where the letter is not known.
    fn settle<P: AsyncWrite>(
        &mut self,
        ticket: u64,
        outcome: Outcome,
        outbox: &mut Outbox<P>,
    ) -> Option<&'static str> {
        let letter = self.under_way.remove(&ticket)?;
        self.bytes -= letter.bytes;
        outbox.settle(letter.tag, outcome);
        Some(letter.label)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Link;
    use tidegate_message::Topic;

    fn delivered(payload_bytes: usize) -> Delivered {
        Delivered {
            tag: DeliveryTag(7),
            topic: Topic::parse(b"t").unwrap(),
            payload: Bytes::from(vec![0; payload_bytes]),
            properties: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            redelivered: false,
            attempt: 1,
            expires_at: None,
            publisher: None,
            is_backlog: false,
        }
    }

    fn refusal(is_passing: bool) -> LinkRefusal {
        LinkRefusal { is_passing, text: "no".to_owned() }
    }

    /// Its bytes are held until it is kept or lost, and only what is kept counts as a dead letter.
    #[test]
    fn a_letter_is_held_until_somebody_has_it_or_nobody_ever_will() {
        let mut outbox = Link::new(tokio::io::duplex(64).0).outbox;
        let mut letters = DeadLetters::new(Some("dead".to_owned()), "central");
        let reason = Reason { label: "too_large", text: "by far" };
        (0..4).for_each(|_| letters.bury(&delivered(1000), "id", reason, &mut outbox));
        assert!(letters.is_awaited() && letters.bytes() > 4000);
        let mut note = |ticket, result| letters.note_published(ticket, result, &mut outbox);
        let waits = |is_first| Some(Fate::Waits { why: "no".to_owned(), is_first });
        assert_eq!(note(0, Err(refusal(true))), waits(true));
        assert_eq!(note(1, Err(refusal(true))), waits(false));
        let lost =
            |why: &str, is_first| Some(Fate::Lost { label: "too_large", why: why.to_owned(), is_first });
        assert_eq!(note(2, Err(refusal(false))), lost("no", true));
        assert_eq!(note(3, Ok(Matched(false))), lost("nobody takes what is published there", false));
        assert!(!letters.is_awaited() && letters.bytes() > 2000 && letters.bytes() < 4000);
        letters.retry(&mut outbox, Instant::now() + RETRY);
        assert!(letters.is_awaited());
        let mut note = |ticket, result| letters.note_published(ticket, result, &mut outbox);
        assert_eq!(note(0, Ok(Matched(true))), Some(Fate::Kept));
        assert_eq!(note(0, Ok(Matched(true))), None, "it is kept already");
        assert_eq!(note(1, Err(refusal(false))), lost("no", true));
        assert_eq!((letters.bytes(), letters.is_empty()), (0, true));
    }
}

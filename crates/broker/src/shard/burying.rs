//! Messages that die in a named queue: they are counted, and where its policy names a place for them they are published there.
//!
//! Not at once, because a queue may be in the middle of something: at the end of the event, and each one at most so often that
//! policies which lead in a circle end.

use super::Shard;
use super::deliver::refusal_label;
use super::giving_way::GivingWay;
use super::publication::Publication;
use crate::entry::Entry;
use crate::group::NamedQueue;
use crate::queued::Queued;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, Origin, Properties, Topic};
use tidegate_protocol::{Refusal, Refused};

/// Times that one message may be published as a dead letter.
const HOPS_MAX: u32 = 16;

/// The user properties that say what became of a message. Those of an earlier death are replaced.
const REASON: &str = "dead-letter-reason";
const QUEUE: &str = "dead-letter-queue";
const ATTEMPTS: &str = "dead-letter-attempts";
const HOPS: &str = "dead-letter-hops";

/// Why a message died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// It was delivered as often as the policy allows, and came back.
    DeliveryLimit,
    /// It waited for longer than it or the policy says.
    Expired,
    /// Its consumer did not want it.
    Rejected,
    /// It made room for a newer one.
    Overflow,
    /// A newer one of its topic waits in its place.
    Superseded,
    /// It made room for a newer one on a full disk.
    DiskFull,
    /// Its consumer's protocol could not take it.
    Refused(Refused),
}

impl Death {
    /// The word in the user property and in metrics.
    fn label(self) -> &'static str {
        match self {
            Death::DeliveryLimit => "delivery_limit",
            Death::Expired => "expired",
            Death::Rejected => "rejected",
            Death::Overflow => "overflow",
            Death::Superseded => "superseded",
            Death::DiskFull => "disk_full",
            Death::Refused(refused) => refused.label(),
        }
    }

    /// The word for one that goes nowhere.
    pub(super) fn drop_label(self) -> &'static str {
        match self {
            Death::Overflow => "queue_full",
            other => other.label(),
        }
    }

    /// Whether the delivery on which it died took place.
    fn was_delivered(self) -> bool {
        matches!(self, Death::Rejected)
    }
}

/// A message on its way to where the dead ones go.
#[derive(Debug)]
pub(super) struct DeadLetter {
    to: Topic,
    message: Message,
    /// What is kept of it where it has died, until it is kept where it goes.
    entry: Option<Entry>,
    /// Whether it was to make room on a full disk, so that it needs room itself.
    needs_room: bool,
}

impl Shard {
    /// Buries deliveries of groups. What was in a shared subscription is only counted.
    pub(super) fn bury(&mut self, death: Death, deliveries: Vec<Queued>) {
        for queued in deliveries {
            let (group, entry) = (queued.group.clone(), queued.entry.clone());
            let named = group.as_deref().and_then(|group| group.named());
            match named.and_then(|named| dead_letter(death, queued, named)) {
                Some(letter) => {
                    self.metrics.count_dead_letter(death.label());
                    self.dead_letters.push(letter);
                }
                None => {
                    entry.iter().for_each(|entry| self.keeping.settle(entry));
                    self.metrics.count_dropped(death.drop_label(), 1);
                }
            }
        }
    }

    /// Publishes the dead letters that there are. What dies of that has to wait for the next turn: full queues that push each other's
    /// messages out would move them sixteen times round before anybody else came.
    pub(super) fn publish_dead_letters(&mut self, now: Instant) {
        for DeadLetter { to, message, entry, needs_room } in std::mem::take(&mut self.dead_letters) {
            let message = Arc::new(message);
            let route = self.route_anyway(&to, now);
            let (mut publication, mut giving) = (Publication::kept(&message), GivingWay::default());
            if needs_room && self.check_kept(&route, &publication, &mut giving).is_err() {
                entry.iter().for_each(|entry| self.keeping.settle(entry));
                self.metrics.count_dropped("disk_full", 1);
                continue;
            }
            match self.distribute(&route, &mut publication, now) {
                Ok(published) if published.matched => self.give_way(giving),
                Ok(_) => self.metrics.count_dropped("dead_letter_unmatched", 1),
                // Counted where it was found full.
                Err(Refusal::QueueFull) => {}
                Err(refusal) => self.metrics.count_dropped(refusal_label(refusal), 1),
            }
            // In the same change, so that it is kept in one of the two places whenever the process ends.
            entry.iter().for_each(|entry| self.keeping.settle(entry));
        }
    }
}

/// What a dead message becomes; nothing where its queue has no place for it, is that place itself, or the message has died often enough.
fn dead_letter(death: Death, queued: Queued, named: &NamedQueue) -> Option<DeadLetter> {
    let to = named.terms.dead_letter().filter(|to| *to != named.topic)?;
    let message = Message::clone(&queued.message);
    let mut properties = message.properties.unwrap_or_default();
    let hops = hops_of(&properties) + 1;
    if hops > HOPS_MAX {
        return None;
    }
    let attempts = if death.was_delivered() { queued.attempt } else { queued.attempt - 1 };
    let name = named.topic.queue_name().unwrap_or_default();
    let texts = [death.label().to_owned(), name.to_owned(), attempts.to_string(), hops.to_string()];
    let names = [REASON, QUEUE, ATTEMPTS, HOPS];
    properties.user.retain(|(name, _)| !names.contains(&name.as_ref()));
    properties.user.extend(names.into_iter().zip(texts).map(|(name, text)| (name.into(), text.into())));
    let message = Message {
        topic: to.clone(),
        properties: Some(properties),
        // It has died of its time, or of something else; where it goes now it stays until somebody looks.
        expires_at: None,
        retain: false,
        origin: Origin::default(),
        ..message
    };
    Some(DeadLetter { to, message, entry: queued.entry, needs_room: death == Death::DiskFull })
}

/// How often a message was a dead letter already. A client may write anything there, which shortens the way of its own message only.
fn hops_of(properties: &Properties) -> u32 {
    let hops = properties.user.iter().find(|(name, _)| **name == *HOPS);
    hops.and_then(|(_, text)| text.parse().ok()).unwrap_or(0).min(HOPS_MAX)
}

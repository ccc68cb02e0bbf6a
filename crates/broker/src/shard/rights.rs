//! Where the rules are asked: at each way in and each way out, and again when they change.
//!
//! What is refused is counted by action and logged now and then, without payloads. What the rules say is decided in `access`.

use super::Shard;
use crate::access::{Clearance, Rights, Rules};
use crate::queue::Queue;
use crate::reply;
use crate::sessions::HeldWill;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Topic, TopicFilter};
use tidegate_protocol::{Close, CloseReason, Identity, Refusal, Subscribe, Will};
use tracing::warn;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denied {
    Publish,
    Will,
    Subscribe,
    Receive,
}

impl Denied {
    /// The word in logs, which is also the label in metrics.
    fn label(self) -> &'static str {
        match self {
            Denied::Publish => "publish",
            Denied::Will => "will",
            Denied::Subscribe => "subscribe",
            Denied::Receive => "receive",
        }
    }
}

impl Shard {
    /// Whether a connection may publish to a topic. Asked once for each run of messages on one topic.
    pub(super) fn check_publish(&mut self, slot: usize, topic: &Topic, now: Instant) -> Result<(), Refusal> {
        let refusal = match (is_closed(topic), self.node.router.rules()) {
            (true, _) if topic.queue_name().is_some() => return Err(Refusal::InvalidQueueName),
            (true, _) => Refusal::ReservedTopic,
            (false, None) => return Ok(()),
            (false, Some(rules)) => match self.identity(slot) {
                Some(identity) if rules.may_publish(&identity, topic) => return Ok(()),
                _ => Refusal::NotAuthorized,
            },
        };
        let identity = self.identity(slot);
        let why = if refusal == Refusal::ReservedTopic { OWN_TOPIC } else { BY_RULES };
        self.note_refused(why, Denied::Publish, identity.as_deref(), topic.as_str(), now);
        Err(refusal)
    }

    /// Whether a client may have this will. One for a topic of the server's own is let in and never published: other brokers
    /// announce themselves so when they connect as a bridge, and could not connect otherwise.
    pub(super) fn check_will(
        &mut self,
        identity: &Identity,
        will: &Will,
        now: Instant,
    ) -> Result<(), Refusal> {
        match self.node.router.rules() {
            _ if will.topic.queue_name().is_some() && will.retain => Err(Refusal::QueueRetain),
            _ if reply::is_address(will.topic.as_str()) && will.retain => Err(Refusal::ReplyRetain),
            _ if will.topic.queue_name() == Some("") => Err(Refusal::InvalidQueueName),
            Some(rules) if !is_closed(&will.topic) && !rules.may_publish(identity, &will.topic) => {
                self.note_denied(Denied::Will, Some(identity), will.topic.as_str(), now);
                Err(Refusal::NotAuthorized)
            }
            _ => Ok(()),
        }
    }

    /// Whether a will may be published now: the rules may have changed since its client connected.
    pub(super) fn may_publish_will(&mut self, held: &HeldWill, now: Instant) -> bool {
        let (identity, topic) = (&held.identity, &held.will.topic);
        let is_closed = is_closed(topic);
        let may =
            !is_closed && self.node.router.rules().is_none_or(|rules| rules.may_publish(identity, topic));
        if !may {
            let why = if is_closed { OWN_TOPIC } else { BY_RULES };
            self.note_refused(why, Denied::Will, Some(identity), topic.as_str(), now);
            self.metrics.count_dropped(NOT_AUTHORIZED, 1);
        }
        may
    }

    /// Whether a connection may follow a ring with this filter, and how far it is cleared.
    pub(super) fn check_filter(
        &mut self,
        slot: usize,
        filter: &TopicFilter,
        now: Instant,
    ) -> Result<Clearance, Refusal> {
        let Some(rules) = self.node.router.rules() else { return Ok(Clearance::default()) };
        let identity = self.identity(slot);
        let clearance = identity.as_deref().and_then(|identity| rules.subscription(Some(identity), filter));
        clearance.ok_or_else(|| {
            self.note_denied(Denied::Subscribe, identity.as_deref(), filter.as_str(), now);
            Refusal::NotAuthorized
        })
    }

    /// Whether a connection may subscribe, and how far the subscription is cleared. A shared one has to be cleared as a whole: which
    /// of its members receives a message must not depend on its topic.
    pub(super) fn check_subscribe(
        &mut self,
        slot: usize,
        subscribe: &Subscribe<'_>,
        now: Instant,
    ) -> Result<Clearance, Refusal> {
        let filter = subscribe.filter;
        if reply::concerns(filter) && !self.owns_address(slot, subscribe) {
            let identity = self.identity(slot);
            self.note_refused(OTHERS_REPLY, Denied::Subscribe, identity.as_deref(), filter.as_str(), now);
            return Err(Refusal::NotAuthorized);
        }
        let Some(rules) = self.node.router.rules() else { return Ok(Clearance::default()) };
        let identity = self.identity(slot);
        let clearance = identity.as_deref().and_then(|identity| rules.subscription(Some(identity), filter));
        match clearance {
            Some(clearance) if rules.have_cleared(clearance) => Ok(clearance),
            Some(clearance) if subscribe.share.is_none() && filter.queue_name().is_none() => Ok(clearance),
            _ => {
                self.note_denied(Denied::Subscribe, identity.as_deref(), filter.as_str(), now);
                Err(Refusal::NotAuthorized)
            }
        }
    }

    /// Whether a subscription is a connection's to one reply address of its own.
    fn owns_address(&self, slot: usize, subscribe: &Subscribe<'_>) -> bool {
        let prefix = self.slots.get(slot).and_then(|slot| slot.reply_prefix.as_deref());
        let is_owned = prefix.is_some_and(|prefix| reply::is_owned(subscribe.filter, prefix));
        is_owned && subscribe.share.is_none()
    }

    /// Counts a delivery that waited too long: its receiver may not have it any more.
    pub(super) fn drop_denied(&mut self, rights: &Rights, topic: &Topic, now: Instant) {
        self.metrics.count_dropped(NOT_AUTHORIZED, 1);
        self.note_denied(Denied::Receive, rights.owner.as_deref(), topic.as_str(), now);
    }

    /// Takes the subscriptions from a connection that it may not hold any more. Where there were some, its end is due.
    pub(super) fn review_rights(&mut self, slot: usize, now: Instant) -> Option<Close> {
        let rules = self.node.router.rules()?;
        let keys: Vec<usize> = self.slots.get(slot)?.consumers.iter().map(|(_, key)| *key).collect();
        let mut lost = Vec::new();
        for key in keys {
            let Some(consumer) = self.consumers.get(key) else { continue };
            let queue = consumer.queue.clone();
            lost.append(&mut self.review_queue(Some(key), &queue, &rules, now));
            lost.extend(self.review_followed(key, &rules, now));
        }
        let first = lost.first()?;
        let detail = format!("the subscription to {:?} is not allowed any more", first.as_str());
        Some(Close::new(CloseReason::NotAuthorized, detail))
    }

    /// Judges the filter with which a consumer follows a ring; returns it where that may not be any more.
    fn review_followed(&mut self, key: usize, rules: &Rules, now: Instant) -> Option<TopicFilter> {
        let consumer = self.consumers.get_mut(key)?;
        let (identity, cursor) = (consumer.queue.identity(), consumer.cursor.as_deref_mut()?);
        if let Some(clearance) = rules.subscription(identity.as_deref(), &cursor.filter) {
            cursor.clearance = clearance;
            return None;
        }
        let filter = cursor.filter.clone();
        self.note_denied(Denied::Subscribe, identity.as_deref(), filter.as_str(), now);
        Some(filter)
    }

    /// The same for a session that nobody holds, or that somebody has just come back to.
    pub(super) fn review_session(&mut self, queue: &Arc<Queue>, now: Instant) {
        let rules = self.node.router.rules().filter(|rules| !queue.is_reviewed(rules.number()));
        if let Some(rules) = rules {
            self.review_queue(None, queue, &rules, now);
        }
    }

    /// Takes the subscriptions from a queue that its owner may not hold any more, shared ones as well, and returns their filters.
    fn review_queue(
        &mut self,
        key: Option<usize>,
        queue: &Arc<Queue>,
        rules: &Rules,
        now: Instant,
    ) -> Vec<TopicFilter> {
        let (mut lost, entries): (Vec<_>, Vec<_>) = self.node.router.review(queue, rules).into_iter().unzip();
        entries.into_iter().flatten().for_each(|entry| self.settle_description(entry));
        let identity = queue.identity();
        let shares = queue.filters().shares();
        for group in shares.into_iter().map(|share| share.group) {
            let clearance = rules.subscription(identity.as_deref(), &group.name.filter);
            if clearance.is_some_and(|clearance| rules.have_cleared(clearance)) {
                continue;
            }
            group.named().into_iter().for_each(|named| named.note_use(now));
            let entry = queue.filters().remove_share(&group.name).and_then(|share| share.entry);
            entry.into_iter().for_each(|entry| self.settle_description(entry));
            if let Some(consumer) = key.and_then(|key| self.consumers.get_mut(key)) {
                consumer.shares.remove(&group);
            }
            if self.node.router.leave(&group, queue) {
                self.end_group(&group);
            }
            lost.push(group.name.filter.clone());
        }
        for filter in &lost {
            self.note_denied(Denied::Subscribe, identity.as_deref(), filter.as_str(), now);
        }
        lost
    }

    /// Counts and logs what the access rules refuse.
    fn note_denied(&mut self, denied: Denied, identity: Option<&Identity>, topic: &str, now: Instant) {
        self.note_refused(BY_RULES, denied, identity, topic, now);
    }

    /// The same for what may be refused without any rules: an operator who has none must not look for them.
    fn note_refused(
        &mut self,
        why: &'static str,
        denied: Denied,
        identity: Option<&Identity>,
        topic: &str,
        now: Instant,
    ) {
        let counters = &self.metrics.denied;
        match denied {
            Denied::Publish => &counters.publish,
            Denied::Will => &counters.will,
            Denied::Subscribe => &counters.subscribe,
            Denied::Receive => &counters.receive,
        }
        .add(1);
        let Some(before) = self.denial_log.note(now) else { return };
        let user = identity.and_then(|identity| identity.user.as_deref()).unwrap_or_default();
        let client_id = identity.and_then(|identity| identity.client_id.as_deref()).unwrap_or_default();
        let action = denied.label();
        warn!(action, ?user, ?client_id, ?topic, before, "{why}");
    }
}

/// Whether clients cannot publish to a topic at all: it is one of the gateway's own, and leads neither to a queue nor to who waits for
/// an answer.
fn is_closed(topic: &Topic) -> bool {
    topic.is_reserved() && topic.queue_name().is_none_or(str::is_empty) && !reply::is_address(topic.as_str())
}

/// The words in logs for what the rules refuse.
const BY_RULES: &str = "not allowed by the access rules";
/// Those for topics that are closed to publishers whatever the rules say.
const OWN_TOPIC: &str = "the topic is the gateway's own: clients cannot publish to it";
/// Those for reply addresses of other connections, and for filters that would find them.
const OTHERS_REPLY: &str = "reply addresses are open to the connection that made them, and only one by one";

/// The label of messages, deliveries and wills that went nowhere because of the rules.
pub(super) const NOT_AUTHORIZED: &str = "not_authorized";

//! What a client may do: rules, asked in their order, the first that fits decides.
//!
//! A plain structure. It is asked about one topic before a message is routed, handed to a receiver or taken from a queue; and about a whole
//! filter when somebody subscribes. Where no rule fits the answer is no.
//!
//! # One topic
//!
//! A rule fits when it is about the action and the client and one of its patterns selects the topic.
//!
//! # A filter
//!
//! A subscription is a wish for many topics at once, and what counts in the end is each of them. So:
//!
//! - an allowing rule lets the subscription in only where one of its patterns covers the whole filter;
//! - a denying rule that covers the whole filter refuses it;
//! - a denying rule that covers a part of it is passed over, and remembered: the subscription may be let in by a later rule, but then
//!   every topic is asked about when a message comes ([`Verdict::ByTopic`]). With none on the way no topic needs to be
//!   ([`Verdict::Whole`]).
//!
//! # Hostile names
//!
//! A client chooses its client id, and perhaps its user name. A name that could change a pattern ([`TopicPattern`]) makes an
//! allowing rule select nothing and a denying rule select what it selects for all clients together. So whoever chooses such a
//! name may do no more than anybody with another name.

mod denial_log;
mod in_force;

pub(crate) use denial_log::DenialLog;
pub(crate) use in_force::{Clearance, InForce, Rights, Rules};

use tidegate_message::{Names, Topic, TopicFilter, TopicPattern, Unnamed};

/// Rules in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRules {
    rules: Vec<AccessRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// What it says where it fits.
    pub permission: Permission,
    /// What it is about.
    pub action: RuleAction,
    /// Which topics; one of them has to fit.
    pub topics: Vec<TopicPattern>,
    /// Whom it is about.
    pub who: Who,
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// The client may.
    Allow,
    /// The client may not.
    Deny,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// Publishing, wills included.
    Publish,
    /// Subscribing, and receiving what was subscribed to.
    Subscribe,
    /// Both.
    All,
}

/// Whom a rule is about. What is empty does not restrict; of what is not, everything has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// These users.
    pub users: Vec<Box<str>>,
    /// Clients without a user; together with users: these as well.
    pub anonymous: bool,
    /// Clients with these ids.
    pub client_ids: Vec<Box<str>>,
    /// Clients that came through these listeners.
    pub listeners: Vec<Box<str>>,
}

/// A client as the rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client<'a> {
    /// Its names.
    pub names: Names<'a>,
    /// The listener that it came through.
    pub listener: &'a str,
}

/// What the rules say about a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may not be.
    Refused,
    /// Everything that it selects may be received.
    Whole,
    /// It may be, and each topic has to be asked about.
    ByTopic,
}

impl AccessRules {
    /// Rules, the first of which is asked first.
    pub fn new(rules: Vec<AccessRule>) -> AccessRules {
        AccessRules { rules }
    }

    /// Whether the client may publish to the topic.
    pub fn may_publish(&self, client: Client<'_>, topic: &Topic) -> bool {
        self.permits(RuleAction::Publish, client, topic)
    }

    /// Whether the client may receive what is published to the topic.
    pub fn may_receive(&self, client: Client<'_>, topic: &Topic) -> bool {
        self.permits(RuleAction::Subscribe, client, topic)
    }

    fn permits(&self, action: RuleAction, client: Client<'_>, topic: &Topic) -> bool {
        let first = self.about(action, client).find(|rule| rule.selects(topic, client.names));
        first.is_some_and(|rule| rule.permission == Permission::Allow)
    }

    /// Whether the client may subscribe to the filter; of a shared subscription, to the filter behind the group.
    pub fn subscription(&self, client: Client<'_>, filter: &TopicFilter) -> Verdict {
        let mut allowed = Verdict::Whole;
        for rule in self.about(RuleAction::Subscribe, client) {
            let fits = |pattern: &TopicPattern| pattern.covers(filter, client.names, rule.unnamed());
            let meets = |pattern: &TopicPattern| pattern.overlaps(filter, client.names, rule.unnamed());
            match (rule.permission, rule.topics.iter().any(fits)) {
                (Permission::Allow, true) => return allowed,
                (Permission::Deny, true) => return Verdict::Refused,
                (Permission::Deny, false) if rule.topics.iter().any(meets) => allowed = Verdict::ByTopic,
                _ => {}
            }
        }
        Verdict::Refused
    }

    fn about(&self, action: RuleAction, client: Client<'_>) -> impl Iterator<Item = &AccessRule> {
        self.rules
            .iter()
            .filter(move |rule| matches!(rule.action, RuleAction::All) || rule.action == action)
            .filter(move |rule| rule.who.includes(client))
    }
}

impl AccessRule {
    fn selects(&self, topic: &Topic, names: Names<'_>) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(topic, names, self.unnamed()))
    }

    fn unnamed(&self) -> Unnamed {
        match self.permission {
            Permission::Allow => Unnamed::Nothing,
            Permission::Deny => Unnamed::AnyName,
        }
    }
}

impl Who {
    fn includes(&self, client: Client<'_>) -> bool {
        let is_one_of = |list: &[Box<str>], name: &str| list.iter().any(|known| **known == *name);
        let is_user = match client.names.user {
            _ if self.users.is_empty() && !self.anonymous => true,
            None => self.anonymous,
            Some(user) => is_one_of(&self.users, user),
        };
        let is_client = self.client_ids.is_empty()
            || client.names.client_id.is_some_and(|name| is_one_of(&self.client_ids, name));
        is_user && is_client && (self.listeners.is_empty() || is_one_of(&self.listeners, client.listener))
    }
}

#[cfg(test)]
mod tests;

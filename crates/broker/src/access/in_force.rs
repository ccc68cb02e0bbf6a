//! The rules that count now, and since when.
//!
//! A subscription that they let in as a whole is marked with their number, so that nobody has to ask about its topics again. Other rules
//! have another number: marks of older ones mean nothing any more, without being searched for.

use super::{AccessRules, Client, Verdict};
use crate::reply;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate_message::{Names, Topic, TopicFilter};
use tidegate_protocol::{Identity, Proof};

/// The rules in force, for everybody who asks.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    /// Whether there are any: most gateways have none, and then nothing is locked.
    exist: AtomicBool,
    present: RwLock<Option<Rules>>,
}

/// Rules with their number.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    rules: Arc<AccessRules>,
    number: u64,
}

/// What the owner of one queue may receive.
#[derive(Debug)]
pub(crate) struct Rights {
    rules: Option<Rules>,
    pub(crate) owner: Option<Arc<Identity>>,
}

/// The number of the rules that let a subscription in as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Clearance(Option<u64>);

impl InForce {
    /// The rules; `None` where everything is allowed.
    pub(crate) fn rules(&self) -> Option<Rules> {
        match self.exist.load(Ordering::Acquire) {
            true => self.present.read().clone(),
            false => None,
        }
    }

    /// What may be received by whoever owns a queue.
    pub(crate) fn rights(&self, owner: impl FnOnce() -> Option<Arc<Identity>>) -> Rights {
        let rules = self.rules();
        let owner = rules.as_ref().and_then(|_| owner());
        Rights { rules, owner }
    }

    /// Puts other rules in force, under a number that none had before.
    pub(crate) fn replace(&self, rules: Option<Arc<AccessRules>>, number: u64) {
        let mut present = self.present.write();
        self.exist.store(rules.is_some(), Ordering::Release);
        *present = rules.map(|rules| Rules { rules, number });
    }
}

impl Rules {
    /// What they call a look at everything that somebody has.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn may_publish(&self, identity: &Identity, topic: &Topic) -> bool {
        reply::is_address(topic.as_str())
            || is_of_process(identity)
            || self.rules.may_publish(client(identity), topic)
    }

    /// Whether a queue's owner may receive the topic. A queue without one is the gateway's own.
    pub(crate) fn may_receive(&self, identity: Option<&Identity>, topic: &Topic) -> bool {
        reply::is_address(topic.as_str())
            || identity.is_none_or(|identity| {
                is_of_process(identity) || self.rules.may_receive(client(identity), topic)
            })
    }

    /// Whether a subscription may be, and how far it is cleared.
    pub(crate) fn subscription(
        &self,
        identity: Option<&Identity>,
        filter: &TopicFilter,
    ) -> Option<Clearance> {
        let verdict = match identity {
            Some(identity) if !reply::concerns(filter) && !is_of_process(identity) => {
                self.rules.subscription(client(identity), filter)
            }
            // That it is the owner's was seen when it began.
            _ => Verdict::Whole,
        };
        match verdict {
            Verdict::Refused => None,
            Verdict::ByTopic => Some(Clearance::default()),
            Verdict::Whole => Some(Clearance(Some(self.number))),
        }
    }

    /// Whether everything that a subscription selects may be received.
    pub(crate) fn have_cleared(&self, clearance: Clearance) -> bool {
        clearance.0 == Some(self.number)
    }
}

impl Rights {
    /// Whether the topic is among what may be received.
    pub(crate) fn include(&self, topic: &Topic) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.may_receive(self.owner.as_deref(), topic))
    }
}

/// The gateway's own parts do what its configuration says, which no rule is about.
fn is_of_process(identity: &Identity) -> bool {
    identity.proof == Proof::Process
}

fn client(identity: &Identity) -> Client<'_> {
    let (user, client_id) = (identity.user.as_deref(), identity.client_id.as_deref());
    Client { names: Names { user, client_id }, listener: &identity.listener }
}

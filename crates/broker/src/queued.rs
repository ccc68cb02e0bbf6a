//! One delivery that waits: what a message becomes where it cannot go straight to its consumer, or may have to come again.

use crate::entry::Entry;
use crate::group::Group;
use crate::route::Grant;
use std::num::NonZeroU64;
use std::sync::Arc;
use tidegate_message::{Message, QoS};
use tidegate_protocol::{DeliveryTag, Settlement, SubscriptionIds};
use tidegate_storage::Lsn;

/// One delivery that waits, or that waits to be settled.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: SubscriptionIds,
    /// Whether it may have reached a consumer before.
    pub(crate) redelivered: bool,
    /// Whether nobody knows any more if its consumer has it: the process that did has ended.
    pub(crate) is_presumed: bool,
    /// The tag that it comes again under, where its session resumes ([MQTT-4.4.0-1]).
    pub(crate) tag: Option<DeliveryTag>,
    /// The group that it was taken from, and goes back to when its member leaves.
    pub(crate) group: Option<Arc<Group>>,
    /// Its place in the order of that group, into which it comes again.
    pub(crate) place: u64,
    /// Which delivery of the message this is, counted from 1.
    pub(crate) attempt: u32,
    /// Its position in the replay ring that its consumer follows, where it was read from there.
    pub(crate) position: Option<NonZeroU64>,
    /// What is kept of it in the store.
    pub(crate) entry: Option<Entry>,
    /// Whether its consumer has asked for it as a part of its backlog.
    pub(crate) is_backlog: bool,
}

impl Queued {
    /// The delivery of a live message under a grant.
    pub(crate) fn live(message: Arc<Message>, grant: &Grant) -> Queued {
        let qos = message.qos.min(grant.qos);
        let retain = message.retain && grant.retain_as_published;
        Queued {
            message,
            qos,
            retain,
            subscription_ids: grant.subscription_ids.clone(),
            redelivered: false,
            tag: None,
            group: None,
            place: 0,
            attempt: 1,
            position: None,
            is_presumed: false,
            entry: None,
            is_backlog: false,
        }
    }

    /// A message that waits in a group for whichever member takes it.
    pub(crate) fn unassigned(message: Arc<Message>, place: u64) -> Queued {
        let (qos, retain) = (message.qos, message.retain);
        let (subscription_ids, redelivered) = (SubscriptionIds::new(), false);
        Queued {
            message,
            qos,
            retain,
            subscription_ids,
            redelivered,
            tag: None,
            group: None,
            place,
            attempt: 1,
            position: None,
            is_presumed: false,
            entry: None,
            is_backlog: false,
        }
    }

    /// The same for the member of a group that takes it.
    pub(crate) fn taken(self, group: &Arc<Group>, grant: &Grant) -> Queued {
        let Queued { place, attempt, entry, .. } = self;
        Queued { group: Some(group.clone()), place, attempt, entry, ..Queued::live(self.message, grant) }
    }

    /// The same for a group to which a member gives it back: for the next one it is new.
    pub(crate) fn returned(self) -> Queued {
        let Queued { attempt, entry, .. } = self;
        Queued { attempt, entry, ..Queued::unassigned(self.message, self.place) }
    }

    /// The same for one that was delivered and not accepted.
    pub(crate) fn once_more(self) -> Queued {
        Queued { attempt: self.attempt.saturating_add(1), ..self }
    }

    /// Whether its receiver may have it under way, at a level at which nobody else may get it while the receiver may come back
    /// ([MQTT-4.8.2-4]).
    pub(crate) fn is_bound(&self) -> bool {
        self.tag.is_some() && self.qos == QoS::ExactlyOnce
    }

    /// Whether its receiver takes it along when it goes for ever. Nobody else may get what a group's member has begun with at level 2
    /// ([MQTT-4.8.2-5]); in a named queue it is worth more that nothing is lost.
    pub(crate) fn goes_with_receiver(&self) -> bool {
        match &self.group {
            Some(group) => !group.is_named_queue() && self.is_bound(),
            None => true,
        }
    }

    /// The delivery of a retained message to a new subscription ([MQTT-3.3.1-9], [MQTT-3.1.1/3.3.1-6]).
    pub(crate) fn retained(message: Arc<Message>, grant: &Grant) -> Queued {
        Queued { retain: true, ..Queued::live(message, grant) }
    }

    /// Whether its consumer may have it, as far as the disk has come: at level 2 nobody gets what the gateway itself may have forgotten after
    /// its next start, because it would come a second time then ([MQTT-4.3.3-1], [MQTT-3.1.1/4.3.3-1]).
    pub(crate) fn may_be_seen(&self, synced: Lsn) -> bool {
        self.qos < QoS::ExactlyOnce || self.entry.as_ref().is_none_or(|entry| entry.is_synced(synced))
    }

    /// Whether it can wait on the disk only: what is kept of it says everything, and it is not to be repeated to somebody.
    pub(crate) fn can_stay_on_disk(&self) -> bool {
        self.entry.is_some() && self.group.is_none() && self.tag.is_none()
    }

    /// What it weighs in memory, its message included.
    pub(crate) fn weight_bytes(&self) -> usize {
        size_of::<Queued>() + self.message.weight_bytes()
    }

    /// Whether a consumer with this settlement has to settle it.
    pub(crate) fn needs_settling(&self, settlement: Settlement) -> bool {
        needs_settling(settlement, self.qos)
    }
}

/// Whether a delivery at this level has to be settled.
pub(crate) fn needs_settling(settlement: Settlement, qos: QoS) -> bool {
    match settlement {
        Settlement::Automatic => false,
        Settlement::AboveAtMostOnce => qos > QoS::AtMostOnce,
        Settlement::Always => true,
    }
}

//! A session and what belongs to it: subscriptions, what its protocol has saved, its will.

use super::identity::IdentityForm;
use super::message::{is_default, qos};
use super::{Clock, FormError, MessageForm, duration, heard, millis, number, told};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidegate_message::TopicFilter;
use tidegate_protocol::{SessionLimits, Settlement, Will};
use tidegate_storage::record::{
    MessageRecord, SavedPart, SavedRecord, SessionNote, SessionPhase, SessionRecord, SubscriptionRecord,
    WillRecord,
};

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionLine {
    pub(crate) number: u64,
    pub(crate) queue: u64,
    pub(crate) protocol: Box<str>,
    pub(crate) client_id: Box<str>,
    identity: IdentityForm,
    /// How long it outlives its connection; for ever where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry_millis: Option<u64>,
    credit: u32,
    settlement: SettlementForm,
    /// Whether nothing but the disk bounds it.
    #[serde(default, skip_serializing_if = "is_default")]
    bounded_by_disk: bool,
    /// Whether it is told who has published what it gets.
    #[serde(default, skip_serializing_if = "is_default")]
    wants_publisher: bool,
    phase: PhaseForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SettlementForm {
    Automatic,
    AboveAtMostOnce,
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum PhaseForm {
    Attached,
    Detached {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_in_millis: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        will_in_millis: Option<u64>,
    },
}

impl SessionLine {
    pub(crate) fn tell(number: u64, session: SessionRecord, note: &SessionNote, clock: Clock) -> SessionLine {
        let left = |at: Option<u64>| at.map(|at| clock.left(at));
        SessionLine {
            number,
            queue: session.queue,
            protocol: session.protocol,
            client_id: session.client_id,
            identity: IdentityForm::tell(&note.identity),
            expiry_millis: millis(note.expiry),
            credit: note.credit,
            settlement: match note.settlement {
                Settlement::Automatic => SettlementForm::Automatic,
                Settlement::AboveAtMostOnce => SettlementForm::AboveAtMostOnce,
                Settlement::Always => SettlementForm::Always,
            },
            bounded_by_disk: note.limits == SessionLimits::Disk,
            wants_publisher: note.wants_publisher,
            phase: match note.phase {
                SessionPhase::Attached => PhaseForm::Attached,
                SessionPhase::Detached { ends_at_millis, will_at_millis } => PhaseForm::Detached {
                    ends_in_millis: left(ends_at_millis),
                    will_in_millis: left(will_at_millis),
                },
            },
        }
    }

    pub(crate) fn hear(self, clock: Clock) -> (SessionRecord, SessionNote) {
        let at = |left: Option<u64>| left.map(|left| clock.at(left));
        let session = SessionRecord { protocol: self.protocol, client_id: self.client_id, queue: self.queue };
        let note = SessionNote {
            identity: Arc::new(self.identity.hear()),
            expiry: duration(self.expiry_millis),
            credit: self.credit,
            settlement: match self.settlement {
                SettlementForm::Automatic => Settlement::Automatic,
                SettlementForm::AboveAtMostOnce => Settlement::AboveAtMostOnce,
                SettlementForm::Always => Settlement::Always,
            },
            limits: match self.bounded_by_disk {
                true => SessionLimits::Disk,
                false => SessionLimits::Usual,
            },
            wants_publisher: self.wants_publisher,
            phase: match self.phase {
                PhaseForm::Attached => SessionPhase::Attached,
                PhaseForm::Detached { ends_in_millis, will_in_millis } => SessionPhase::Detached {
                    ends_at_millis: at(ends_in_millis),
                    will_at_millis: at(will_in_millis),
                },
            },
        };
        (session, note)
    }
}

/// A subscription of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscriptionLine {
    pub(crate) number: u64,
    pub(crate) queue: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share: Option<Box<str>>,
    /// The queue of the group or the named queue whose member the session is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<u64>,
    filter: String,
    qos_max: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    no_local: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    retain_as_published: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subscription_id: Option<u32>,
}

impl SubscriptionLine {
    pub(crate) fn tell(number: u64, subscription: SubscriptionRecord) -> SubscriptionLine {
        SubscriptionLine {
            number,
            queue: subscription.queue,
            share: subscription.share,
            group: subscription.group,
            filter: subscription.filter.as_str().to_owned(),
            qos_max: subscription.qos_max.number(),
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            subscription_id: subscription.subscription_id,
        }
    }

    pub(crate) fn hear(self) -> Result<SubscriptionRecord, FormError> {
        let filter = TopicFilter::parse(self.filter.as_bytes());
        Ok(SubscriptionRecord {
            queue: self.queue,
            share: self.share,
            group: self.group,
            filter: filter.map_err(|error| FormError::new("filter", error))?,
            qos_max: qos("qos_max", self.qos_max)?,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            subscription_id: self.subscription_id,
        })
    }
}

/// A piece of what a protocol wants back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedLine {
    pub(crate) number: u64,
    pub(crate) queue: u64,
    part: PartForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes_base64: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PartForm {
    Whole,
    More,
}

impl SavedLine {
    pub(crate) fn tell(number: u64, saved: &SavedRecord) -> SavedLine {
        let (bytes, bytes_base64) = told(&saved.bytes);
        let part = match saved.part {
            SavedPart::Whole => PartForm::Whole,
            SavedPart::More => PartForm::More,
        };
        SavedLine { number, queue: saved.queue, part, bytes, bytes_base64 }
    }

    pub(crate) fn hear(self) -> Result<SavedRecord, FormError> {
        let part = match self.part {
            PartForm::Whole => SavedPart::Whole,
            PartForm::More => SavedPart::More,
        };
        let bytes = heard("bytes", self.bytes, self.bytes_base64)?.unwrap_or_default();
        Ok(SavedRecord { queue: self.queue, part, bytes })
    }
}

/// What is published when a connection is lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WillLine {
    pub(crate) number: u64,
    pub(crate) queue: u64,
    identity: IdentityForm,
    /// With its lifetime, counted from its publication.
    message: MessageForm,
    /// How long after the end of the connection it is published; with the end of the session where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_millis: Option<u64>,
}

/// A will's message counts from its publication, whenever that is.
const PUBLICATION: Clock = Clock { now_millis: 0 };

impl WillLine {
    pub(crate) fn tell(number: u64, will: WillRecord) -> WillLine {
        let WillRecord { queue, identity, will } = will;
        let message = tidegate_message::Message {
            topic: will.topic,
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: will.properties,
            expires_at: None,
            origin: tidegate_message::Origin::default(),
            publisher: None,
        };
        let record = MessageRecord { message, expires_at_millis: will.expiry.and_then(millis) };
        WillLine {
            number,
            queue,
            identity: IdentityForm::tell(&identity),
            message: MessageForm::tell(record, PUBLICATION),
            delay_millis: millis(will.delay),
        }
    }

    pub(crate) fn hear(self) -> Result<WillRecord, FormError> {
        let MessageRecord { message, expires_at_millis } = self.message.hear(PUBLICATION)?;
        let will = Will {
            topic: message.topic,
            payload: message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties,
            expiry: expires_at_millis.map(|millis| duration(Some(millis))),
            delay: duration(self.delay_millis),
        };
        let queue = number("queue", self.queue)?;
        Ok(WillRecord { queue, identity: Arc::new(self.identity.hear()), will })
    }
}

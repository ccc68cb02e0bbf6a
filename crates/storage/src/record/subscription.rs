//! A subscription of a session as it is kept, with everything that was asked for.

use super::Reader;
use super::description::{SUBSCRIPTION, begin};
use crate::Damaged;
use tidegate_message::{QoS, TopicFilter};

const NO_LOCAL: u8 = 0b100;
const RETAIN_AS_PUBLISHED: u8 = 0b1000;
const QOS: u8 = 0b11;

/// A subscription. Other options are another entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionRecord {
    /// The queue of the session.
    pub queue: u64,
    /// The name of the group that shares it; nothing for one of the session's own, and for a named queue.
    pub share: Option<Box<str>>,
    /// The queue of the group or the named queue whose member the session is.
    pub group: Option<u64>,
    /// Which topics.
    pub filter: TopicFilter,
    /// The highest level at which messages are delivered.
    pub qos_max: QoS,
    /// Whether the session's own messages are left out.
    pub no_local: bool,
    /// Whether messages keep the retain flag that they were published with.
    pub retain_as_published: bool,
    /// Told with every delivery.
    pub subscription_id: Option<u32>,
}

impl SubscriptionRecord {
    /// Writes the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let mut writer = begin(SUBSCRIPTION, out);
        writer.number(self.queue);
        writer.optional_text(self.share.as_deref());
        writer.optional(self.group);
        writer.text(self.filter.as_str());
        writer.byte(
            self.qos_max.number()
                | bit(self.no_local, NO_LOCAL)
                | bit(self.retain_as_published, RETAIN_AS_PUBLISHED),
        );
        writer.optional(self.subscription_id.map(u64::from));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<SubscriptionRecord, Damaged> {
        let queue = reader.number()?;
        let share = reader.optional_text()?.map(Box::from);
        let group = reader.optional()?;
        let filter = TopicFilter::parse(reader.text()?.as_bytes()).map_err(|_| Damaged)?;
        let flags = reader.byte()?;
        if flags & !(QOS | NO_LOCAL | RETAIN_AS_PUBLISHED) != 0 {
            return Err(Damaged);
        }
        let subscription_id = reader.optional()?.map(u32::try_from).transpose().map_err(|_| Damaged)?;
        Ok(SubscriptionRecord {
            queue,
            share,
            group,
            filter,
            qos_max: QoS::from_number(flags & QOS).ok_or(Damaged)?,
            no_local: flags & NO_LOCAL != 0,
            retain_as_published: flags & RETAIN_AS_PUBLISHED != 0,
            subscription_id,
        })
    }
}

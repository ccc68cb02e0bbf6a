//! What a client remembers between two connections: the client's half of an MQTT session.

use crate::auditor::SessionId;
use crate::stamp::Stamp;
use crate::world::{FilterId, TopicId};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::num::NonZeroU16;
use tidegate_message::QoS;

/// A publication whose acknowledgement is awaited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) packet_id: NonZeroU16,
    pub(super) stamp: Stamp,
    pub(super) topic: TopicId,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) payload_bytes: usize,
    /// Whether its PUBREC has come, so that PUBREL is what is repeated.
    pub(super) is_released: bool,
}

/// A request whose answer is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Subscribe(FilterId, QoS),
    Unsubscribe(FilterId),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) audit: SessionId,
    /// Whether it outlives its connection.
    pub(super) survives: bool,
    pub(super) subscriptions: BTreeMap<FilterId, QoS>,
    pub(super) asks: BTreeMap<NonZeroU16, Ask>,
    pub(super) outgoing: VecDeque<Outgoing>,
    /// QoS 2 messages that have been received and not been released.
    pub(super) received: HashSet<NonZeroU16>,
    /// Published when the session ends, and forgotten when it is resumed.
    pub(super) delayed_will: Option<(Stamp, QoS)>,
    last_packet_id: u16,
}

impl Session {
    pub(super) fn new(audit: SessionId, survives: bool) -> Session {
        Session {
            audit,
            survives,
            subscriptions: BTreeMap::new(),
            asks: BTreeMap::new(),
            outgoing: VecDeque::new(),
            received: HashSet::new(),
            delayed_will: None,
            last_packet_id: 0,
        }
    }

    /// A packet identifier that is not in use.
    pub(super) fn packet_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_packet_id)
                && !self.asks.contains_key(&id)
                && self.find(id).is_none()
            {
                return id;
            }
        }
    }

    /// The place of a publication.
    pub(super) fn find(&self, packet_id: NonZeroU16) -> Option<usize> {
        self.outgoing.iter().position(|outgoing| outgoing.packet_id == packet_id)
    }

    /// Whether an answer to a request about this filter is awaited.
    pub(super) fn is_asked(&self, filter: FilterId) -> bool {
        self.asks
            .values()
            .any(|ask| matches!(ask, Ask::Subscribe(of, _) | Ask::Unsubscribe(of) if *of == filter))
    }

    /// Whether nothing is awaited.
    pub(super) fn is_settled(&self) -> bool {
        self.asks.is_empty() && self.outgoing.is_empty()
    }
}

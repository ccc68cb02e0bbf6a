//! One message, and who has received it.

use super::groups::group_named;
use super::{SessionId, Tick};
use crate::world::FilterId;
use tidegate_message::QoS;

/// One message.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) qos: QoS,
    pub(super) is_retained: bool,
    /// How often its publisher has sent it.
    pub(super) sends: u32,
    /// When it was sent first.
    pub(super) sent: Tick,
    receipts: Vec<Receipt>,
    /// Groups of shared subscriptions that have received it.
    pub(super) groups: Vec<FilterId>,
}

#[derive(Debug)]
struct Receipt {
    session: SessionId,
    /// The session's connection that received it last.
    connection: u32,
    /// When that was.
    at: Tick,
    fresh: u16,
    /// Of these those on that connection.
    fresh_on_connection: u16,
    total: u16,
}

/// How often a session had received a message before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Earlier {
    /// Without the mark of a repetition.
    pub(super) fresh: usize,
    pub(super) total: usize,
    /// The last time: the session's connection, and when.
    pub(super) last: (u32, Tick),
}

impl Publication {
    pub(super) fn new(qos: QoS, is_retained: bool, sent: Tick) -> Publication {
        Publication { qos, is_retained, sends: 1, sent, receipts: Vec::new(), groups: Vec::new() }
    }

    /// How often it may be delivered to one receiver without a mark: a QoS 2 message counts once, however often it was sent.
    pub(super) fn sends_that_count(&self) -> usize {
        match self.qos {
            QoS::ExactlyOnce => 1,
            _ => self.sends as usize,
        }
    }

    pub(super) fn was_received_by(&self, session: SessionId) -> bool {
        self.receipts.iter().any(|receipt| receipt.session == session)
    }

    pub(super) fn receive(&mut self, session: SessionId, connection: u32, dup: bool, at: Tick) -> Earlier {
        let place = self.receipts.iter().position(|receipt| receipt.session == session);
        let place = place.unwrap_or_else(|| {
            self.receipts.push(Receipt {
                session,
                connection,
                at,
                fresh: 0,
                fresh_on_connection: 0,
                total: 0,
            });
            self.receipts.len() - 1
        });
        let receipt = &mut self.receipts[place];
        let last = (receipt.connection, receipt.at);
        let earlier = Earlier { fresh: receipt.fresh.into(), total: receipt.total.into(), last };
        if receipt.connection != connection {
            receipt.fresh_on_connection = 0;
        }
        (receipt.connection, receipt.at) = (connection, at);
        receipt.fresh_on_connection += u16::from(!dup);
        receipt.total += 1;
        receipt.fresh += u16::from(!dup);
        earlier
    }

    /// How many unmarked deliveries cannot have been given back to a group, because the connection that has them stands.
    pub(super) fn final_receipts(&self, stands: impl Fn(SessionId, u32) -> bool) -> usize {
        let standing = self.receipts.iter().filter(|receipt| stands(receipt.session, receipt.connection));
        standing.map(|receipt| usize::from(receipt.fresh_on_connection)).sum()
    }

    /// The groups in whose name a member may have received it: the one that the identifier names, or all that the member belongs to.
    pub(super) fn note_groups(&mut self, groups: &[FilterId], identifiers: Option<&[u32]>) -> Vec<FilterId> {
        let named = identifiers.and_then(|identifiers| group_named(groups, identifiers));
        let received = named.map_or_else(|| groups.to_vec(), |group| vec![group]);
        for group in &received {
            if !self.groups.contains(group) {
                self.groups.push(*group);
            }
        }
        received
    }
}

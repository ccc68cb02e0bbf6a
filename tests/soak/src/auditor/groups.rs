//! Shared subscriptions: what is owed to a group rather than to one of its members.

use super::publication::Publication;
use super::session::Justification;
use super::{SessionId, Tick};
use crate::stamp::Stamp;
use crate::world::FilterId;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_message::QoS;

/// What each group has not received yet.
#[derive(Debug, Default)]
pub(super) struct Groups {
    owed: BTreeMap<FilterId, BTreeSet<Stamp>>,
    /// Groups that ever had a member in this round; other filters may stand here as well.
    existed: BTreeSet<FilterId>,
    /// When the session of a member ended last.
    member_ended: BTreeMap<FilterId, Tick>,
    /// Sessions of members that the gateway may not know to have ended.
    ending: BTreeMap<FilterId, BTreeSet<SessionId>>,
}

/// The group that the subscription identifiers of a delivery name.
pub(super) fn group_named(groups: &[FilterId], identifiers: &[u32]) -> Option<FilterId> {
    groups.iter().copied().find(|group| identifiers.contains(&Justification::identifier(*group)))
}

impl Groups {
    /// Somebody asks to be a member.
    pub(super) fn note_member(&mut self, group: FilterId) {
        self.existed.insert(group);
    }

    /// Whether anybody ever asked to be a member.
    pub(super) fn has_existed(&self, group: FilterId) -> bool {
        self.existed.contains(&group)
    }

    /// A group is owed a message, unless a member has it already. Returns how many deliveries that adds.
    pub(super) fn owe(&mut self, group: FilterId, stamp: Stamp, publication: &Publication) -> usize {
        let ended = self.member_ended.get(&group).is_some_and(|ended| *ended > publication.sent);
        let is_ending = self.ending.get(&group).is_some_and(|sessions| !sessions.is_empty());
        let may_be_gone = (ended || is_ending) && publication.qos == QoS::ExactlyOnce;
        let is_new = !publication.groups.contains(&group) && !may_be_gone;
        usize::from(is_new && self.owed.entry(group).or_default().insert(stamp))
    }

    /// A member that belongs to these groups has received a message. Returns how many deliveries were owed less.
    pub(super) fn settle(
        &mut self,
        groups: &[FilterId],
        identifiers: Option<&[u32]>,
        stamp: Stamp,
        publication: &mut Publication,
    ) -> usize {
        let received = publication.note_groups(groups, identifiers);
        let owed =
            received.iter().map(|group| self.owed.get_mut(group).is_some_and(|owed| owed.remove(&stamp)));
        owed.filter(|was_owed| *was_owed).count()
    }

    /// The session of a member has ended. A QoS 2 message that it was being given must go to nobody else ([MQTT-4.8.2-5]), so what the
    /// group was owed at that level may be gone. Returns how much that is.
    pub(super) fn end_member(
        &mut self,
        group: FilterId,
        session: SessionId,
        now: Tick,
        is_exactly_once: impl Fn(Stamp) -> bool,
    ) -> usize {
        self.member_ended.insert(group, now);
        self.ending.entry(group).or_default().insert(session);
        let Some(owed) = self.owed.get_mut(&group) else { return 0 };
        let before = owed.len();
        owed.retain(|stamp| !is_exactly_once(*stamp));
        before - owed.len()
    }

    /// The gateway knows that a session has ended.
    pub(super) fn confirm_end(&mut self, session: SessionId, now: Tick) {
        for (group, sessions) in &mut self.ending {
            if sessions.remove(&session) {
                self.member_ended.insert(*group, now);
            }
        }
    }

    /// A group may have ended. Returns how much it was owed.
    pub(super) fn dissolve(&mut self, group: FilterId) -> usize {
        self.owed.remove(&group).map_or(0, |owed| owed.len())
    }

    /// Everything that is still owed.
    pub(super) fn lost(&self) -> Vec<(FilterId, Stamp)> {
        let pairs = self.owed.iter().flat_map(|(group, owed)| owed.iter().map(|stamp| (*group, *stamp)));
        pairs.collect()
    }
}

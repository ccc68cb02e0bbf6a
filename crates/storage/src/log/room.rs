//! How much of the disk is for what, and when space has to come back.
//!
//! ```text
//!   what lives ──────────────────► living   near   urgent   messages                    limit
//!   ├──────────────────────────────┼────────┼──────┼────────┼─────────────────────────────┤
//!                                  └ dead, and not given back yet ┘└ settlements, descriptions,
//!                                                                    copies, the next segment
//! ```
//!
//! Whether a message can be kept is asked of what lives. What is dead comes back as space a while after it has died, segment by segment: it
//! has room of its own, so that nobody has to wait for that, and so that little has to be copied. Only where reclaiming cannot keep up, or what
//! lives is more on the disk than it was taken for, the space that is used counts as well.

use super::segments::Segment;
use super::state::State;
use crate::NoRoom;

pub(super) const SEGMENT_BYTES_MIN: u64 = 16 * 1024;
/// The offset of a record has to fit into a place.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// How large segments are: small enough for the limit to consist of many, large enough for their numbers to be told apart.
pub(super) fn segment_bytes(wanted: u64, disk_bytes_max: u64) -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let wanted = wanted.min(disk_bytes_max / 32);
    wanted.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX).next_multiple_of(PAGE_BYTES)
}

/// What a limit is divided into.
#[derive(Debug, Clone, Copy)]
struct Budget {
    disk_bytes_max: u64,
    segment_bytes: u64,
}

impl Budget {
    /// What may be dead: what is being taken back, what dies meanwhile, and what is gained by each copy. It bounds how often things are copied.
    fn dead(self) -> u64 {
        2 * self.segment_bytes + self.disk_bytes_max / 16
    }

    /// What may be used at the most with a message: behind it are a segment that is made ready, one into which the oldest is copied, and what
    /// settlements and descriptions take, which grows with the limit.
    fn messages(self) -> u64 {
        self.most().saturating_sub(self.disk_bytes_max / 16)
    }

    /// The same where nothing can be taken back, so that what makes room is appended before it does.
    fn most(self) -> u64 {
        self.disk_bytes_max.saturating_sub(2 * self.segment_bytes)
    }

    /// What may live with a message.
    fn living(self) -> u64 {
        self.messages().saturating_sub(self.dead())
    }
}

/// How much space has to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    None,
    /// What costs little.
    Near,
    /// Messages will have to wait for it.
    Urgent,
}

impl State {
    /// What there is to be divided: the limit, or what the files take where the file system has no more.
    fn budget(&self) -> Budget {
        let segments = &self.index.segments;
        let max = self.usage.disk_bytes_max;
        let disk_bytes_max = if self.no_spare.is_some() { segments.bytes().min(max) } else { max };
        Budget { disk_bytes_max, segment_bytes: segments.segment_bytes() }
    }

    fn used_bytes(&self) -> u64 {
        self.index.segments.bytes() - self.index.segments.bytes_left()
    }

    /// What lives, with what stays unused beside it: copying gains nothing there.
    fn live_bytes(&self) -> u64 {
        self.index.segments.live_bytes() + self.index.segments.wasted_bytes()
    }

    /// How much space has to come back.
    pub(super) fn pressure(&self) -> Pressure {
        let (budget, segment_bytes) = (self.budget(), self.index.segments.segment_bytes());
        // Where the limit was lowered below what lives, that stays.
        let living = budget.living().max(self.live_bytes());
        match self.used_bytes() {
            _ if self.no_spare.is_some() => Pressure::Urgent,
            used if used > living + budget.dead() / 4 * 3 => Pressure::Urgent,
            used if used > living + segment_bytes => Pressure::Near,
            _ => Pressure::None,
        }
    }

    /// Whether it is worth while to write what lives in the oldest segment again, so that its file can go.
    ///
    /// What is copied has to be paid for by what comes free: as long as there is room, a full half of the log has to be dead; near the
    /// limit a quarter, or nearly all of the oldest segment, as it is where what has waited longest goes first. Where messages would have to
    /// wait, whatever is more than the copies need.
    pub(super) fn is_worth_copying(&self) -> bool {
        let segments = &self.index.segments;
        let Some(oldest) = segments.oldest().filter(|oldest| oldest.is_synced()) else { return false };
        let (full, dead) = (segments.full_bytes(), segments.full_dead_bytes());
        let has_no_place = self.no_spare.is_some() && oldest.live_bytes >= segments.bytes_left();
        if has_no_place || dead < segments.segment_bytes() * 3 / 2 {
            return false;
        }
        match self.pressure() {
            Pressure::None => dead > full / 2,
            Pressure::Near => is_nearly_dead(oldest) || dead > full / 4,
            Pressure::Urgent => dead > full / 16,
        }
    }

    /// Whether space is coming back.
    fn can_reclaim(&self) -> bool {
        let is_resting = self.resting_until.is_some();
        let has_dead = self.index.segments.dead().next().is_some();
        self.is_reclaiming || has_dead || (!is_resting && self.is_worth_copying())
    }

    /// How much of what lives has to go for messages of so many bytes.
    pub(super) fn excess(&self, bytes: usize) -> Result<u64, NoRoom> {
        if let Some(no_room) = self.failing_room().or(self.no_spare.filter(|room| *room == NoRoom::Failing)) {
            return Err(no_room);
        }
        let (budget, segments, bytes) = (self.budget(), &self.index.segments, bytes as u64);
        let (live, used) = (self.live_bytes() + bytes, self.used_bytes() + bytes);
        let mut excess = live.saturating_sub(budget.living());
        if self.no_spare.is_some() {
            // What is left of the last segment that there is, is for what makes room.
            if bytes + segments.segment_bytes() / 4 > segments.bytes_left() {
                return Err(NoRoom::Full);
            }
            excess = excess.max(bytes);
        }
        if self.is_index_full() {
            excess = excess.max(bytes);
        }
        let can_reclaim = self.can_reclaim();
        let max = if can_reclaim { budget.messages() } else { budget.most() };
        if used > max.max(live + budget.dead()) {
            return Err(NoRoom::Full);
        }
        let unclaimed = used.saturating_sub(budget.messages());
        Ok(if can_reclaim { excess } else { excess.max(unclaimed) })
    }
}

fn is_nearly_dead(segment: &Segment) -> bool {
    segment.live_bytes <= segment.bytes / 8
}

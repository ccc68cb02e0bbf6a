//! Deadlines as numbers in the frames of a link.
//!
//! What is left of a lifetime would go on being told as it was while a frame waits for its reader, which may be as long as an outage. So
//! frames have the moment itself, which means nothing outside the process and need not.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Where deadlines are counted from, in nanoseconds.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A deadline as a number. One that lies before the first one that was ever asked for is that one, which has passed like it.
pub(super) fn number_of(deadline: Instant) -> u64 {
    u64::try_from(deadline.saturating_duration_since(*ORIGIN).as_nanos()).unwrap_or(u64::MAX)
}

/// The deadline of a number; none where the clock does not go that far.
pub(super) fn deadline_of(number: u64) -> Option<Instant> {
    ORIGIN.checked_add(Duration::from_nanos(number))
}

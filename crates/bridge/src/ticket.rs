//! Tickets by which a bridge and an upstream speak of a message: the lane, a forward or a receive, in front, and a number behind it.
//!
//! Both sides give some, and each finds the lane again without a map.

/// Numbers have so many bits for themselves: more than a connection ever needs.
const NUMBER_BITS: u32 = 48;

/// The ticket of a lane with the number 0; those behind it belong to the lane as well.
pub fn first_ticket(lane: usize) -> u64 {
    (lane as u64) << NUMBER_BITS
}

/// The lane of a ticket.
pub fn lane_of(ticket: u64) -> usize {
    usize::try_from(ticket >> NUMBER_BITS).unwrap_or(usize::MAX)
}

/// The number of a ticket within its lane.
pub fn number_of(ticket: u64) -> u64 {
    ticket & ((1 << NUMBER_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_knows_its_lane_and_its_number() {
        let ticket = first_ticket(3) + 17;
        assert_eq!((lane_of(ticket), number_of(ticket)), (3, 17));
        assert_eq!((lane_of(17), number_of(17)), (0, 17));
    }
}

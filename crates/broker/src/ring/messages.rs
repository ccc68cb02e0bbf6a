//! The last messages of some topics, in one order.
//!
//! A plain structure. Each message has a position, ascending by one; the oldest make room for the newest. Nothing is searched for and
//! nothing expires here: whoever reads finds out by the positions what is gone, and looks at the messages by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use tidegate_message::Message;

/// What a message costs in a ring beside [`Message::weight_bytes`]: its reference counts and its topic's, what the allocator adds to
/// three pieces of memory, and its place in a ring that was made twice as large as it had to be.
const PLACE_BYTES: usize = 2 * 16 + 3 * 12 + 2 * size_of::<Arc<Message>>();

/// What a ring may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingSize {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
}

/// The last messages, as many as the size allows.
#[derive(Debug)]
pub(super) struct RingMessages {
    size: RingSize,
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    /// The position of the newest message, which may be gone already; 0 before the first.
    end: u64,
}

/// What follows a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// In their order, without a hole.
    pub(super) messages: Vec<Arc<Message>>,
    /// The position of the first of them, or of the next that will come.
    pub(super) first: u64,
}

impl RingMessages {
    pub(super) fn new(size: RingSize) -> RingMessages {
        RingMessages { size, messages: VecDeque::new(), bytes: 0, end: 0 }
    }

    /// Takes a message in and returns its position. What has to go for it is put into `gone`: a large message is freed by whoever
    /// holds no lock.
    pub(super) fn append(&mut self, message: &Arc<Message>, gone: &mut Gone) -> u64 {
        self.end += 1;
        self.bytes += weight_bytes(message);
        self.messages.push_back(message.clone());
        self.make_fit(gone);
        self.end
    }

    /// Puts another size in place of this one; what does not fit goes, the oldest first.
    pub(super) fn resize(&mut self, size: RingSize, gone: &mut Gone) {
        self.size = size;
        self.make_fit(gone);
        self.messages.shrink_to(size.messages_max);
    }

    fn make_fit(&mut self, gone: &mut Gone) {
        while self.messages.len() > self.size.messages_max || self.bytes > self.size.bytes_max {
            let Some(oldest) = self.messages.pop_front() else { return };
            self.bytes -= weight_bytes(&oldest);
            gone.push(oldest);
        }
    }

    /// The position of the newest message; 0 where there never was one.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The position behind which nothing is gone: 0 until the ring was full.
    pub(super) fn start(&self) -> u64 {
        self.end - self.messages.len() as u64
    }

    /// Up to `count` messages behind a position, or behind what is gone where that is later.
    pub(super) fn read(&self, behind: u64, count: usize) -> Read {
        let behind = behind.clamp(self.start(), self.end);
        let skipped = usize::try_from(behind - self.start()).unwrap_or(usize::MAX);
        let messages = self.messages.iter().skip(skipped).take(count).cloned().collect();
        Read { messages, first: behind + 1 }
    }

    /// How many messages there are, and their weight in bytes.
    pub(super) fn len_and_bytes(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }
}

/// Messages that have left a ring.
pub(super) type Gone = smallvec::SmallVec<[Arc<Message>; 2]>;

fn weight_bytes(message: &Message) -> usize {
    message.weight_bytes() + PLACE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use tidegate_message::{Origin, QoS, Topic};

    fn message(bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            topic: Topic::parse(b"t").unwrap(),
            payload: Bytes::from(vec![0; bytes]),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            expires_at: None,
            origin: Origin(0),
            publisher: None,
        })
    }

    fn ring(messages_max: usize) -> RingMessages {
        RingMessages::new(RingSize { messages_max, bytes_max: usize::MAX })
    }

    fn append(ring: &mut RingMessages, bytes: usize) -> u64 {
        ring.append(&message(bytes), &mut Gone::new())
    }

    fn sizes(read: &Read) -> Vec<usize> {
        read.messages.iter().map(|message| message.payload.len()).collect()
    }

    #[test]
    fn reads_go_on_where_the_last_one_ended() {
        let mut ring = ring(10);
        assert_eq!((ring.start(), ring.end()), (0, 0));
        assert_eq!((1..=5).map(|bytes| append(&mut ring, bytes)).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let read = ring.read(1, 2);
        assert_eq!((read.first, sizes(&read)), (2, vec![2, 3]));
        let read = ring.read(3, 9);
        assert_eq!((read.first, sizes(&read)), (4, vec![4, 5]));
        assert_eq!(ring.read(5, 9), Read { messages: Vec::new(), first: 6 });
    }

    #[test]
    fn the_oldest_make_room_and_a_late_reader_is_told_where_it_is() {
        let mut ring = ring(3);
        (1..=5).for_each(|bytes| assert_eq!(append(&mut ring, bytes), bytes as u64));
        assert_eq!((ring.start(), ring.end()), (2, 5));
        let read = ring.read(0, 2);
        assert_eq!((read.first, sizes(&read)), (3, vec![3, 4]));
    }

    /// A position that never was: from a forged token.
    #[test]
    fn a_position_behind_the_end_reads_nothing() {
        let mut ring = ring(3);
        append(&mut ring, 1);
        for behind in [2, u64::MAX] {
            assert_eq!(ring.read(behind, 9), Read { messages: Vec::new(), first: 2 });
        }
    }

    #[test]
    fn what_goes_is_handed_out_and_a_message_that_never_fits_goes_at_once() {
        let fits = weight_bytes(&message(100));
        let mut ring = RingMessages::new(RingSize { messages_max: 10, bytes_max: 2 * fits });
        let mut gone = Gone::new();
        (1..=3).for_each(|position| assert_eq!(ring.append(&message(100), &mut gone), position));
        assert_eq!((gone.len(), ring.len_and_bytes()), (1, (2, 2 * fits)));
        assert_eq!(ring.append(&message(10_000), &mut gone), 4);
        assert_eq!((gone.len(), ring.len_and_bytes(), ring.start()), (4, (0, 0), 4));
    }

    #[test]
    fn another_size_keeps_the_newest() {
        let mut ring = ring(10);
        (1..=8).for_each(|bytes| assert_eq!(append(&mut ring, bytes), bytes as u64));
        ring.resize(RingSize { messages_max: 2, bytes_max: usize::MAX }, &mut Gone::new());
        assert_eq!((sizes(&ring.read(0, 9)), ring.end()), (vec![7, 8], 8));
        ring.resize(RingSize { messages_max: 20, bytes_max: usize::MAX }, &mut Gone::new());
        assert_eq!((append(&mut ring, 9), sizes(&ring.read(0, 9))), (9, vec![7, 8, 9]));
    }

    proptest! {
        /// Whatever comes, the limits hold, positions have no hole, and the newest are there.
        #[test]
        fn bounds_hold(
            payloads in prop::collection::vec(0_usize..500, 0..60),
            messages_max in 1_usize..20,
            bytes_max in 0_usize..5000,
        ) {
            let mut ring = RingMessages::new(RingSize { messages_max, bytes_max });
            let mut gone = Gone::new();
            for (at, bytes) in payloads.iter().enumerate() {
                prop_assert_eq!(ring.append(&message(*bytes), &mut gone), at as u64 + 1);
                let (count, weight) = ring.len_and_bytes();
                prop_assert!(count <= messages_max && weight <= bytes_max);
                let read = ring.read(0, usize::MAX);
                prop_assert_eq!(read.first, (at + 2 - count) as u64);
                prop_assert_eq!(&sizes(&read), &payloads[at + 1 - count..=at]);
                prop_assert_eq!(weight, read.messages.iter().map(|message| weight_bytes(message)).sum::<usize>());
            }
            prop_assert_eq!(gone.len() + ring.len_and_bytes().0, payloads.len());
        }
    }
}

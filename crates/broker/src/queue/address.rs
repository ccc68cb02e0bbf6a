//! Where a queue is at home, in one word.

/// Where a queue's deliveries are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    /// The home worker.
    pub(crate) worker: u8,
    /// The consumer's key on that worker, while one is attached.
    pub(crate) consumer: Option<u32>,
}

impl Address {
    const ATTACHED: u64 = 1 << 32;

    pub(super) fn pack(self) -> u64 {
        let consumer = self.consumer.map_or(0, |key| u64::from(key) | Address::ATTACHED);
        u64::from(self.worker) << 40 | consumer
    }

    pub(super) fn unpack(packed: u64) -> Address {
        let consumer = (packed & Address::ATTACHED != 0).then_some(packed as u32);
        Address { worker: (packed >> 40) as u8, consumer }
    }
}

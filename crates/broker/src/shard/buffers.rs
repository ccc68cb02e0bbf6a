//! Output buffers, lent to the connections that have something to send.
//!
//! A connection with nothing to send holds none, so that an idle one costs no buffer; one that sends gets a buffer that is warm.

use tidegate_protocol::Output;

/// Capacity that the pool keeps, in bytes. More is given back to the allocator.
const POOL_BYTES: usize = 16 << 20;
/// Capacity of a new buffer: a few small packets.
const FIRST_BYTES: usize = 1024;

/// The buffers that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Vec<Vec<u8>>,
    bytes: usize,
}

impl Buffers {
    /// Gives an output a buffer, if it has none.
    #[inline]
    pub(super) fn lend(&mut self, output: &mut Output) {
        if output.buffer().capacity() == 0 {
            output.replace_buffer(self.next());
        }
    }

    #[inline(never)]
    fn next(&mut self) -> Vec<u8> {
        let buffer = self.free.pop();
        self.bytes -= buffer.as_ref().map_or(0, Vec::capacity);
        buffer.unwrap_or_else(|| Vec::with_capacity(FIRST_BYTES))
    }

    /// Takes the buffer of an empty output back.
    pub(super) fn take_back(&mut self, output: &mut Output) {
        let capacity = output.buffer().capacity();
        if capacity == 0 {
            return;
        }
        let mut buffer = output.replace_buffer(Vec::new());
        if self.bytes + capacity <= POOL_BYTES {
            buffer.clear();
            self.bytes += capacity;
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_goes_round_and_the_pool_is_bounded() {
        let mut buffers = Buffers::default();
        let mut output = Output::stream();
        buffers.lend(&mut output);
        output.buffer().reserve(5000);
        let capacity = output.buffer().capacity();
        buffers.take_back(&mut output);
        assert_eq!((output.buffer().capacity(), buffers.bytes), (0, capacity));
        buffers.lend(&mut output);
        assert_eq!((output.buffer().capacity(), buffers.bytes), (capacity, 0));
        let mut large = Output::stream();
        large.buffer().reserve(POOL_BYTES + 1);
        buffers.take_back(&mut large);
        assert_eq!(buffers.bytes, 0);
    }
}

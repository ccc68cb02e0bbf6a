//! What a connection has to send: messages of its dialect, bare or each in a WebSocket frame.

use super::websocket::push_frame;

/// Unsent bytes from which on nothing should be added.
const OUTPUT_BYTES: usize = 256 << 10;

/// Bytes to send, of which the first `written` are gone.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// Where a message is written before it gets its frame; nothing where messages need none.
    framing: Option<Vec<u8>>,
}

impl Output {
    /// Puts what is written from now on into frames, one a message, as browsers do.
    pub(super) fn begin_frames(&mut self) {
        self.framing = Some(Vec::new());
    }

    /// Appends a message; `write` may also write nothing.
    pub(crate) fn message<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let Some(message) = &mut self.framing else { return write(&mut self.bytes) };
        message.clear();
        let outcome = write(message);
        if !message.is_empty() {
            push_frame(&mut self.bytes, message);
        }
        outcome
    }

    /// Where bytes go that are in frames already, or need none.
    pub(super) fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether so much is unsent that the peer has to read first.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() - self.written >= OUTPUT_BYTES
    }

    /// What is unsent.
    pub(super) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Notes that so much of it has been sent.
    pub(super) fn note_sent(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_one_by_one_and_silence_is_not() {
        let mut output = Output::default();
        output.message(|bytes| bytes.push(1));
        output.begin_frames();
        output.message(|bytes| bytes.push(2));
        output.message(|_| ());
        assert_eq!(output.unsent(), [1, 0x82, 0x81, 0, 0, 0, 0, 2]);
        output.note_sent(3);
        assert_eq!(output.unsent().len(), 5);
        output.note_sent(5);
        assert!(output.unsent().is_empty() && !output.is_full());
    }
}

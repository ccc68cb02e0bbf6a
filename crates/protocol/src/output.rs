//! Where machines write: the bytes for one peer, and the bytes that many peers share.

/// The bytes that wait to be sent to one peer.
///
/// Over a transport that keeps message borders it also remembers where each frame ends.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    frame_ends: Option<Vec<usize>>,
}

impl Output {
    /// An output that forgets frame borders: for byte streams.
    pub fn stream() -> Output {
        Output::default()
    }

    /// An output that remembers where each frame ends.
    pub fn frames() -> Output {
        Output { bytes: Vec::new(), frame_ends: Some(Vec::new()) }
    }

    /// The buffer to append to. Bytes already in it must stay as they are.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Says that a whole frame stands at the end of the buffer. Protocols with [`crate::MessageKind::FramePerMessage`] call it after each.
    pub fn end_frame(&mut self) {
        if let Some(ends) = &mut self.frame_ends {
            ends.push(self.bytes.len());
        }
    }

    /// The bytes that wait.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each frame ends, ascending, in bytes from the front; empty for a byte stream.
    pub fn frame_ends(&self) -> &[usize] {
        self.frame_ends.as_deref().unwrap_or_default()
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Exchanges the buffer for another, an empty one, and forgets the frame borders: how the driver lends and takes back buffers.
    pub fn replace_buffer(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        if let Some(ends) = &mut self.frame_ends {
            ends.clear();
        }
        std::mem::replace(&mut self.bytes, buffer)
    }

    /// Forgets the first `count` bytes, which have been sent. Only for byte streams: frame borders are not moved.
    pub fn consume(&mut self, count: usize) {
        match count >= self.bytes.len() {
            true => self.bytes.clear(),
            false => drop(self.bytes.drain(..count)),
        }
    }
}

/// Names a form in which one message can stand on the wire: deliveries with the same layout have the same bytes.
///
/// The high half names the protocol (any constant of its own), the low half the form: version, flags, whatever changes the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout(pub u32);

/// The wire forms of one message, each encoded once and shared by all receivers of a fan-out.
///
/// Cleared by the broker between messages. For a message with one receiver it is switched off and the bytes go straight
/// into the receiver's output.
#[derive(Debug, Default)]
pub struct Encoded {
    shared: bool,
    used: usize,
    forms: Vec<(Layout, Vec<u8>)>,
}

impl Encoded {
    /// Forgets all forms; `shared` says whether the next message has more than one receiver.
    pub fn start(&mut self, shared: bool) {
        self.used = 0;
        self.shared = shared;
    }

    /// Appends the form `layout` to `output`, calling `encode` only where no receiver before had the same one.
    pub fn write(&mut self, layout: Layout, output: &mut Output, encode: impl FnOnce(&mut Vec<u8>)) {
        if !self.shared {
            return encode(output.buffer());
        }
        if let Some((_, bytes)) = self.forms.iter().take(self.used).find(|(known, _)| *known == layout) {
            return output.buffer().extend_from_slice(bytes);
        }
        if self.forms.len() == self.used {
            self.forms.push((layout, Vec::new()));
        }
        if let Some((known, bytes)) = self.forms.get_mut(self.used) {
            *known = layout;
            bytes.clear();
            encode(bytes);
            output.buffer().extend_from_slice(bytes);
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_once_for_all_receivers() {
        let mut encoded = Encoded::default();
        let mut calls = 0;
        let mut output = Output::stream();
        encoded.start(true);
        for layout in [1, 2, 1, 2] {
            encoded.write(Layout(layout), &mut output, |bytes| {
                calls += 1;
                bytes.push(layout as u8);
            });
        }
        encoded.start(true);
        encoded.write(Layout(1), &mut output, |bytes| bytes.push(9));
        assert_eq!((calls, output.bytes()), (2, [1, 2, 1, 2, 9].as_slice()));
    }

    #[test]
    fn frame_borders_are_kept_only_where_asked() {
        let mut output = Output::frames();
        output.buffer().extend_from_slice(b"one");
        output.end_frame();
        assert_eq!(output.frame_ends(), [3]);
        output.replace_buffer(Vec::new());
        assert!(output.frame_ends().is_empty() && output.is_empty());
        let mut output = Output::stream();
        output.end_frame();
        assert!(output.frame_ends().is_empty());
    }
}

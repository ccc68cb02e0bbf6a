//! UTF-8 validation of text that comes in pieces: a character may be cut by a frame or by a read (RFC 6455 section 8.1).

/// Valid text so far, and the first bytes of a character that is not complete (three at most).
#[derive(Debug, Default)]
pub(super) struct Utf8Stream {
    cut: [u8; 3],
    cut_len: u8,
}

/// The text is not UTF-8, whatever may follow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

impl Utf8Stream {
    /// Checks the next piece. Fails at the first byte that cannot continue the text.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while self.cut_len > 0 {
            let Some((byte, rest)) = piece.split_first() else { return Ok(()) };
            self.complete_cut(*byte)?;
            piece = rest;
        }
        match std::str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(NotUtf8),
            Err(error) => {
                self.keep_cut(piece.get(error.valid_up_to()..).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Whether the text may end here, which it may not within a character. Ready for the next text afterwards.
    pub(super) fn finish(&mut self) -> Result<(), NotUtf8> {
        match std::mem::take(&mut self.cut_len) {
            0 => Ok(()),
            _ => Err(NotUtf8),
        }
    }

    fn complete_cut(&mut self, byte: u8) -> Result<(), NotUtf8> {
        let [a, b, c] = self.cut;
        let character = match self.cut_len {
            1 => &[a, byte] as &[u8],
            2 => &[a, b, byte],
            _ => &[a, b, c, byte],
        };
        match std::str::from_utf8(character) {
            Ok(_) => self.cut_len = 0,
            Err(error) if error.error_len().is_some() => return Err(NotUtf8),
            // Four bytes are either a character or an error, so what is kept here is never longer than three.
            Err(_) => self.keep_cut(character),
        }
        Ok(())
    }

    fn keep_cut(&mut self, bytes: &[u8]) {
        self.cut_len = 0;
        for (kept, byte) in self.cut.iter_mut().zip(bytes) {
            *kept = *byte;
            self.cut_len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid(pieces: &[&[u8]]) -> bool {
        let mut stream = Utf8Stream::default();
        pieces.iter().all(|piece| stream.push(piece).is_ok()) && stream.finish().is_ok()
    }

    /// RFC 6455 section 8.1: the verdict does not depend on where the text is cut.
    #[test]
    fn every_split_gives_the_verdict_of_the_whole() {
        let texts: [&[u8]; 12] = [
            b"",
            b"plain",
            "aä€𐍈z".as_bytes(),
            "\u{10FFFF}\u{D7FF}\u{E000}".as_bytes(),
            b"\xC0\x80",
            b"ab\xED\xA0\x80",
            b"\xF4\x90\x80\x80",
            b"\xE2\x82",
            b"\xF0\x9F\x98",
            b"\xF0\x9F\x98a",
            b"\x80",
            b"\xE2\xE2\x82\xAC",
        ];
        for text in texts {
            let expected = std::str::from_utf8(text).is_ok();
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let pieces = [&text[..first], &text[first..second], &text[second..]];
                    assert_eq!(is_valid(&pieces), expected, "{text:x?} {first} {second}");
                }
            }
        }
    }

    /// RFC 6455 section 8.1: a byte that cannot continue the text fails at once.
    #[test]
    fn fails_before_the_character_is_complete() {
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(b"\xF4"), Ok(()));
        assert_eq!(stream.push(b"\x90"), Err(NotUtf8));
    }
}

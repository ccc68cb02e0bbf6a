//! Numbers, bytes and text one behind the other.

use crate::Damaged;
use std::time::Duration;

/// The most bytes that a number takes: seven bits each.
const NUMBER_BYTES_MAX: usize = 10;

/// Writes behind what stands in a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Writes behind what stands here.
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out }
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// A number: seven bits a byte, the lowest first; all bytes but the last have the highest bit set (LEB128).
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    /// Bytes behind their number.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Text as its UTF-8 bytes.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// A number that may be missing: 0 where it is, otherwise one more than it.
    pub fn optional(&mut self, number: Option<u64>) {
        self.number(number.map_or(0, |number| number.saturating_add(1)));
    }

    /// A duration in milliseconds, of which a part counts as a whole one; missing where it is longer than they can say.
    pub fn duration(&mut self, duration: Duration) {
        self.optional(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).ok());
    }

    /// A duration that may be missing.
    pub fn optional_duration(&mut self, duration: Option<Duration>) {
        self.byte(u8::from(duration.is_some()));
        duration.into_iter().for_each(|duration| self.duration(duration));
    }

    /// Text that may be missing.
    pub fn optional_text(&mut self, text: Option<&str>) {
        self.byte(u8::from(text.is_some()));
        text.into_iter().for_each(|text| self.text(text));
    }
}

/// Reads what a [`Writer`] has written, and doubts every byte.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the front.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Says that nothing may be left.
    pub fn finish(self) -> Result<(), Damaged> {
        self.rest.is_empty().then_some(()).ok_or(Damaged)
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.rest.split_first().ok_or(Damaged)?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number. Only its shortest form is taken.
    #[inline]
    pub fn number(&mut self) -> Result<u64, Damaged> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, Damaged> {
        let (mut number, mut shift) = (0, 0);
        for (place, byte) in self.rest.iter().take(NUMBER_BYTES_MAX).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // Of the tenth byte one bit is left.
            if place + 1 == NUMBER_BYTES_MAX && bits > 1 {
                return Err(Damaged);
            }
            number |= bits << shift;
            if *byte < 0x80 {
                self.rest = self.rest.get(place + 1..).unwrap_or_default();
                return if *byte == 0 && place > 0 { Err(Damaged) } else { Ok(number) };
            }
            shift += 7;
        }
        Err(Damaged)
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Bytes behind their number.
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Damaged)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Text.
    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    /// A number that may be missing.
    pub fn optional(&mut self) -> Result<Option<u64>, Damaged> {
        Ok(self.number()?.checked_sub(1))
    }

    /// A duration; [`Duration::MAX`] where it was longer than can be said.
    pub fn duration(&mut self) -> Result<Duration, Damaged> {
        Ok(self.optional()?.map_or(Duration::MAX, Duration::from_millis))
    }

    /// A duration that may be missing.
    pub fn optional_duration(&mut self) -> Result<Option<Duration>, Damaged> {
        if self.truth()? { self.duration().map(Some) } else { Ok(None) }
    }

    /// Text that may be missing.
    pub fn optional_text(&mut self) -> Result<Option<&'a str>, Damaged> {
        if self.truth()? { self.text().map(Some) } else { Ok(None) }
    }

    /// One byte that says yes or no.
    pub fn truth(&mut self) -> Result<bool, Damaged> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in proptest::collection::vec(any::<u64>(), 0..20), text in any::<String>()) {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out);
            numbers.iter().for_each(|number| writer.number(*number));
            writer.text(&text);
            writer.optional(None);
            writer.optional(Some(5));
            writer.duration(Duration::MAX);
            writer.duration(Duration::from_micros(1));
            writer.optional_duration(None);
            writer.optional_text(Some(&text));
            let mut reader = Reader::new(&out);
            for number in numbers {
                prop_assert_eq!(reader.number(), Ok(number));
            }
            prop_assert_eq!(reader.text(), Ok(text.as_str()));
            prop_assert_eq!((reader.optional(), reader.optional()), (Ok(None), Ok(Some(5))));
            prop_assert_eq!(reader.duration(), Ok(Duration::MAX));
            prop_assert_eq!(reader.duration(), Ok(Duration::from_millis(1)));
            prop_assert_eq!(reader.optional_duration(), Ok(None));
            prop_assert_eq!(reader.optional_text(), Ok(Some(text.as_str())));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn numbers_have_one_form_and_fit() {
        for bytes in [&[0x80, 0x00][..], &[0xff; 10], &[0x80; 3], &[]] {
            assert_eq!(Reader::new(bytes).number(), Err(Damaged), "{bytes:?}");
        }
    }
}

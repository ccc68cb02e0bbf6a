//! Reading the data types of section 1.5 from the body of one packet.
//!
//! The body is complete when a reader is made, so too few bytes are a fault of the packet and not a reason to wait.

use super::error::DecodeError;
use std::num::NonZeroU16;

/// The largest value of a variable byte integer (section 1.5.5).
pub(super) const VARINT_MAX: u32 = 268_435_455;

/// What has not been read of a packet's body or of a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read, without taking it.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// As many bytes as asked for.
    #[inline]
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Overrun)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Overrun)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    /// Two Byte Integer, section 1.5.2.
    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four Byte Integer, section 1.5.3.
    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A packet identifier, which is never 0 ([MQTT-2.2.1-3], [MQTT-3.1.1/2.3.1-1]).
    #[inline]
    pub(super) fn packet_id(&mut self) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.u16()?).ok_or(DecodeError::PacketIdZero)
    }

    /// Binary Data, section 1.5.6: two bytes of length, then as many bytes.
    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// UTF-8 Encoded String, section 1.5.4, checked.
    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        // [MQTT-1.5.4-1] [MQTT-3.1.1/1.5.3-1]. Rust's UTF-8 has no surrogates either.
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)?;
        // [MQTT-1.5.4-2] [MQTT-3.1.1/1.5.3-2]
        match memchr::memchr(0, bytes) {
            Some(_) => Err(DecodeError::NullCharacter),
            None => Ok(text),
        }
    }

    /// Variable Byte Integer, section 1.5.5, in the shortest form as [MQTT-1.5.5-1] demands.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u32, DecodeError> {
        match read_varint(self.rest)? {
            Some(varint) if varint.is_shortest => {
                self.bytes(varint.width)?;
                Ok(varint.value)
            }
            Some(_) => Err(DecodeError::VarintNotShortest),
            None => Err(DecodeError::Overrun),
        }
    }

    /// Says that the packet should end here.
    #[inline]
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::TrailingBytes { bytes }),
        }
    }
}

/// A variable byte integer as found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Varint {
    /// At most [`VARINT_MAX`].
    pub(super) value: u32,
    /// How many bytes it took: 1 to 4.
    pub(super) width: usize,
    /// Whether no shorter form has the same value.
    pub(super) is_shortest: bool,
}

/// Reads a variable byte integer at the front of `bytes`; nothing where its last byte has not arrived.
#[inline]
pub(super) fn read_varint(bytes: &[u8]) -> Result<Option<Varint>, DecodeError> {
    match bytes.first() {
        Some(&byte) if byte < 0x80 => {
            Ok(Some(Varint { value: u32::from(byte), width: 1, is_shortest: true }))
        }
        Some(_) => read_long_varint(bytes),
        None => Ok(None),
    }
}

fn read_long_varint(bytes: &[u8]) -> Result<Option<Varint>, DecodeError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Ok(Some(Varint { value, width: index + 1, is_shortest: byte != 0 || index == 0 }));
        }
    }
    match bytes.len() < 4 {
        true => Ok(None),
        false => Err(DecodeError::VarintTooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 1-1 of section 1.5.5: the borders of each width.
    #[test]
    fn varints_at_the_borders_of_their_widths() {
        let cases: [(&[u8], u32); 8] = [
            (&[0x00], 0),
            (&[0x7F], 127),
            (&[0x80, 0x01], 128),
            (&[0xFF, 0x7F], 16_383),
            (&[0x80, 0x80, 0x01], 16_384),
            (&[0xFF, 0xFF, 0x7F], 2_097_151),
            (&[0x80, 0x80, 0x80, 0x01], 2_097_152),
            (&[0xFF, 0xFF, 0xFF, 0x7F], VARINT_MAX),
        ];
        for (bytes, value) in cases {
            let expected = Varint { value, width: bytes.len(), is_shortest: true };
            assert_eq!(read_varint(bytes), Ok(Some(expected)));
            assert_eq!(read_varint(&bytes[..bytes.len() - 1]), Ok(None));
        }
    }

    /// Section 1.5.5: at most four bytes. [MQTT-1.5.5-1]: in the shortest form.
    #[test]
    fn varints_that_are_too_long_are_refused() {
        assert_eq!(read_varint(&[0x80; 4]), Err(DecodeError::VarintTooLong));
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(DecodeError::VarintNotShortest));
        assert_eq!(Reader::new(&[0x81, 0x80, 0x00]).varint(), Err(DecodeError::VarintNotShortest));
        assert_eq!(Reader::new(&[0x80]).varint(), Err(DecodeError::Overrun));
    }
}

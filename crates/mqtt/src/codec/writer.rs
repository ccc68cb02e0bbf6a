//! Writing the data types of section 1.5. Lengths are checked before, by the functions that compute them.

use super::error::EncodeError;

/// How many bytes a variable byte integer takes in its shortest form ([MQTT-1.5.5-1]).
#[inline]
pub(super) fn varint_width(value: u32) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Appends a variable byte integer in its shortest form. The value is at most [`super::reader::VARINT_MAX`].
#[inline]
pub(super) fn varint(output: &mut Vec<u8>, mut value: u32) {
    while value > 127 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

/// The bytes that a length and its data take, or why they cannot be written.
#[inline]
pub(super) fn binary_length(bytes: &[u8]) -> Result<usize, EncodeError> {
    match bytes.len() {
        length if length > usize::from(u16::MAX) => Err(EncodeError::FieldTooLong { bytes: length }),
        length => Ok(2 + length),
    }
}

/// The same for text, which has no U+0000 ([MQTT-1.5.4-2]).
pub(super) fn text_length(text: &str) -> Result<usize, EncodeError> {
    match memchr::memchr(0, text.as_bytes()) {
        Some(_) => Err(EncodeError::NullCharacter),
        None => binary_length(text.as_bytes()),
    }
}

/// Appends length and data. The length has been checked.
#[inline]
pub(super) fn binary(output: &mut Vec<u8>, bytes: &[u8]) {
    output.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    output.extend_from_slice(bytes);
}

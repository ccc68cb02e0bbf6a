//! Finds single bytes in short texts, eight at a time.
//!
//! Names, values and lines of a head have a dozen bytes, where preparing memchr's search costs more than looking. Where a text may be long,
//! memchr is the one to ask.

/// The lowest bit of each byte.
const LOW_BITS: u64 = u64::from_le_bytes([0x01; 8]);

/// The highest bit of each byte.
const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);

/// Where the first byte of one of these values stands.
pub(super) fn find_any<const N: usize>(wanted: [u8; N], bytes: &[u8]) -> Option<usize> {
    let wanted = wanted.map(|byte| u64::from_le_bytes([byte; 8]));
    first_marked(bytes, |word| wanted.iter().fold(0, |marks, byte| marks | zeros(word ^ byte)))
}

/// Where the first byte stands that is marked. Marks above the lowest one of a word need not be right.
#[inline]
fn first_marked(bytes: &[u8], marks: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let marked = marks(u64::from_le_bytes(*word));
        if marked != 0 {
            return Some(number * 8 + marked.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| marks(u64::from_le_bytes([*byte; 8])) != 0)?;
    Some(words.len() * 8 + at)
}

/// Marks the zero bytes of a word. Above a zero byte the borrow of the subtraction can mark a byte that is none.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_one_is_found_like_byte_by_byte(bytes in prop::collection::vec(prop::sample::select(vec![0, 1, 9, 10, 11, b':', b';', 0x7f, 0x80, 0xba, 0xff]), 0..40)) {
            for wanted in [0, 10, b':', 0x80, 0xff] {
                prop_assert_eq!(find_any([wanted], &bytes), bytes.iter().position(|byte| *byte == wanted));
                let either = bytes.iter().position(|byte| [10, wanted].contains(byte));
                prop_assert_eq!(find_any([10, wanted], &bytes), either);
            }
        }
    }
}

//! Masking (RFC 6455 section 5.3): each byte XOR the masking key's byte at its position in the payload, modulo four.

/// Takes the mask off `payload`, in place and eight bytes at a time.
///
/// Returns the key turned so that it fits the byte after `payload`: a payload may come in any pieces.
pub(super) fn unmask(payload: &mut [u8], mut key: [u8; 4]) -> [u8; 4] {
    let [a, b, c, d] = key;
    let wide_key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide_key).to_ne_bytes();
    }
    for (byte, key_byte) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key_byte;
    }
    key.rotate_left(tail.len() % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    fn masked_byte_by_byte(payload: &[u8]) -> Vec<u8> {
        payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }

    /// RFC 6455 section 5.7: the masked "Hello".
    #[test]
    fn hello_of_the_specification_is_unmasked() {
        let mut payload = [0x7F, 0x9F, 0x4D, 0x51, 0x58];
        unmask(&mut payload, KEY);
        assert_eq!(&payload, b"Hello");
    }

    /// RFC 6455 section 5.3: the key's phase goes on over the pieces of a payload.
    #[test]
    fn every_split_in_three_gives_the_whole() {
        let plain: Vec<u8> = (0..41).collect();
        let masked = masked_byte_by_byte(&plain);
        for first in 0..=plain.len() {
            for second in first..=plain.len() {
                let mut payload = masked.clone();
                let key = unmask(&mut payload[..first], KEY);
                let key = unmask(&mut payload[first..second], key);
                unmask(&mut payload[second..], key);
                assert_eq!(payload, plain, "{first} {second}");
            }
        }
    }
}

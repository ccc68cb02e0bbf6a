//! Passwords, keys and random bytes: what every way of proving one needs.

use aws_lc_rs::{constant_time, digest, hmac, rand};
use std::borrow::Cow;
use thiserror::Error;

/// The longest password, in bytes. A longer one is nobody's.
pub const PASSWORD_BYTES_MAX: usize = 4096;

/// Why something cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// There is nothing.
    #[error("the password is empty")]
    Empty,
    /// It is longer than the limit.
    #[error("the password has {bytes} bytes; the limit is {PASSWORD_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has bytes that no keyboard makes: most likely not what was meant.
    #[error("the password has control characters")]
    Control,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
    /// The hash cannot be computed: there is no memory for it.
    #[error("there is no memory for hashing the password")]
    NoMemory,
}

/// Checks a new password.
pub(crate) fn check(password: &str) -> Result<(), PasswordError> {
    match password.len() {
        0 => Err(PasswordError::Empty),
        bytes if bytes > PASSWORD_BYTES_MAX => Err(PasswordError::TooLong { bytes }),
        _ if password.chars().any(char::is_control) => Err(PasswordError::Control),
        _ => Ok(()),
    }
}

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], PasswordError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| PasswordError::NoRandom)?;
    Ok(bytes)
}

pub(crate) fn sha256(data: &[u8]) -> Hash {
    first_32(digest::digest(&digest::SHA256, data).as_ref())
}

pub(crate) fn hmac_sha256(key: &[u8], data: &[u8]) -> Hash {
    first_32(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref())
}

fn first_32(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.iter_mut().zip(bytes).for_each(|(target, source)| *target = *source);
    hash
}

/// Compares without telling by its time how much is equal.
pub(crate) fn are_equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// A password as SCRAM hashes it (RFC 5802 section 2.2, `Normalize`). What SASLprep forbids stays as it is: a password need not be text.
pub(crate) fn normalized(password: &str) -> Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_have_limits() {
        assert_eq!(check(""), Err(PasswordError::Empty));
        assert_eq!(check("a\r"), Err(PasswordError::Control));
        assert_eq!(check(&"x".repeat(4097)), Err(PasswordError::TooLong { bytes: 4097 }));
        assert_eq!(check("ein längeres Passwort"), Ok(()));
    }

    /// RFC 4231 test case 2.
    #[test]
    fn hmac_is_the_known_one() {
        let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(tag[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert!(are_equal(&tag, &tag) && !are_equal(&tag, &tag[..31]));
    }
}

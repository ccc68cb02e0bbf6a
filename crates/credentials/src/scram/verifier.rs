//! What SCRAM keeps of a password (RFC 5802 section 3): enough to check a proof, not enough to make one.

use crate::secret::{Hash, PasswordError, hmac_sha256, normalized, random, sha256};
use aws_lc_rs::pbkdf2;
use data_encoding::BASE64_NOPAD;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

/// How often a client hashes the password: RFC 7677 asks for 4096 at the least, and small devices have to do it too.
pub(crate) const ITERATIONS: u32 = 10_000;
/// What a file may ask of clients.
const ITERATIONS_ALLOWED: RangeInclusive<u32> = 4096..=1_000_000;
const SALT_BYTES: RangeInclusive<usize> = 8..=64;
const PREFIX: &str = "$scram-sha-256$i=";

/// What is kept of one password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    pub(crate) iterations: u32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Hash,
    pub(crate) server_key: Hash,
}

/// Why text is no verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// It is something else.
    #[error("the SCRAM verifier is not like `$scram-sha-256$i=10000$<salt>$<stored key>$<server key>`")]
    Form,
    /// It would be too weak, or take clients too long.
    #[error("the SCRAM verifier has i={0}; the limits are 4096..1000000")]
    Iterations(u32),
    /// A part is too short or too long.
    #[error("the SCRAM verifier has a salt or a key of the wrong length")]
    Length,
}

impl Verifier {
    /// Of a new password.
    pub(crate) fn of(password: &str, iterations: u32) -> Result<Verifier, PasswordError> {
        Ok(Verifier::with_salt(password, iterations, random::<16>()?.to_vec()))
    }

    pub(crate) fn with_salt(password: &str, iterations: u32, salt: Vec<u8>) -> Verifier {
        let mut salted = Zeroizing::new(Hash::default());
        let count = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let password = Zeroizing::new(normalized(password).into_owned());
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, &salt, password.as_bytes(), &mut *salted);
        let client_key = Zeroizing::new(hmac_sha256(&*salted, b"Client Key"));
        let server_key = hmac_sha256(&*salted, b"Server Key");
        Verifier { iterations, salt, stored_key: sha256(&*client_key), server_key }
    }

    /// What a user that does not exist seems to have: the same every time, and no password fits.
    pub(crate) fn of_nobody(user: &str, key: &Hash) -> Verifier {
        let mut salt = hmac_sha256(key, user.as_bytes()).to_vec();
        salt.truncate(16);
        let stored_key = hmac_sha256(key, &salt);
        Verifier { iterations: ITERATIONS, salt, stored_key, server_key: *key }
    }

    /// Reads what [`fmt::Display`] writes; every part has to be there, in its order.
    pub(crate) fn parse(text: &str) -> Result<Verifier, VerifierError> {
        let mut parts = text.strip_prefix(PREFIX).ok_or(VerifierError::Form)?.split('$');
        let mut next = || parts.next().ok_or(VerifierError::Form);
        let (iterations, salt, stored_key, server_key) = (next()?, next()?, next()?, next()?);
        let digits_only = iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|_| digits_only).ok_or(VerifierError::Form)?;
        if next().is_ok() {
            return Err(VerifierError::Form);
        }
        let bytes = |text: &str| BASE64_NOPAD.decode(text.as_bytes()).map_err(|_| VerifierError::Form);
        let key = |text: &str| Hash::try_from(bytes(text)?).map_err(|_| VerifierError::Length);
        let (salt, stored_key, server_key) = (bytes(salt)?, key(stored_key)?, key(server_key)?);
        match SALT_BYTES.contains(&salt.len()) {
            _ if !ITERATIONS_ALLOWED.contains(&iterations) => Err(VerifierError::Iterations(iterations)),
            true => Ok(Verifier { iterations, salt, stored_key, server_key }),
            false => Err(VerifierError::Length),
        }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| BASE64_NOPAD.encode(bytes);
        let (salt, stored, server) = (text(&self.salt), text(&self.stored_key), text(&self.server_key));
        write!(formatter, "{PREFIX}{}${salt}${stored}${server}", self.iterations)
    }
}

/// It can be guessed against, and its keys can pose as the server: it is no text for logs.
impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_read_as_it_was_written() {
        let verifier = Verifier::of("pencil", 4096).unwrap();
        assert_eq!(Verifier::parse(&verifier.to_string()), Ok(verifier.clone()));
        assert_eq!(format!("{verifier:?}"), "***");
        assert!(verifier != Verifier::of("pencil", 4096).unwrap(), "each has its own salt");
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        let good = Verifier::of("pencil", 4096).unwrap().to_string();
        for (text, expected) in [
            (String::new(), VerifierError::Form),
            (good.replace("i=4096", "i=+4096"), VerifierError::Form),
            (good.replace("i=4096", "i=4095"), VerifierError::Iterations(4095)),
            (good.replace("i=4096", "i=9000000"), VerifierError::Iterations(9_000_000)),
            (format!("{good}$"), VerifierError::Form),
            (good.replace("sha-256", "sha-1"), VerifierError::Form),
            ("$scram-sha-256$i=4096$c29tZXNhbHQ$c29t$c29t".to_owned(), VerifierError::Length),
            (format!("{good}="), VerifierError::Form),
        ] {
            assert_eq!(Verifier::parse(&text), Err(expected), "{text}");
        }
    }

    /// RFC 4013 section 3: what looks the same is the same password.
    #[test]
    fn passwords_are_normalized() {
        let of = |password| Verifier::with_salt(password, 4096, b"saltsalt".to_vec());
        assert!(of("I\u{AD}X") == of("IX") && of("\u{2168}") == of("IX") && of("ix") != of("IX"));
    }

    /// Whoever asks twice must not see that nobody is there.
    #[test]
    fn nobody_looks_like_somebody() {
        let nobody = Verifier::of_nobody("ann", &[1; 32]);
        assert_eq!(nobody, Verifier::of_nobody("ann", &[1; 32]));
        assert_ne!(nobody.salt, Verifier::of_nobody("bob", &[1; 32]).salt);
        assert_eq!((nobody.salt.len(), nobody.iterations), (16, ITERATIONS));
    }
}

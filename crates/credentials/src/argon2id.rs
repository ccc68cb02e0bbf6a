//! A password's argon2id hash (RFC 9106) as text in the PHC form, and what it costs to check one.

use crate::secret::{PasswordError, are_equal, random};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use data_encoding::BASE64_NOPAD;
use std::fmt;
use std::ops::RangeInclusive;

/// What one check may cost: a line in the password file must not take the machine's memory.
const MEMORY_KIB: RangeInclusive<u32> = 8..=262_144;
const PASSES: RangeInclusive<u32> = 1..=64;
const LANES: RangeInclusive<u32> = 1..=16;
const SALT_BYTES: RangeInclusive<usize> = 8..=64;
const HASH_BYTES: RangeInclusive<usize> = 16..=64;

/// What one check costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// 19 MiB and two passes: what OWASP asks for at the least, and some 20 ms.
    pub(crate) const DEFAULT: Cost = Cost { memory_kib: 19_456, passes: 2, lanes: 1 };
}

/// A password's hash.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash {
    cost: Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Why text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It is something else.
    #[error("the password hash is not like `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`")]
    Form,
    /// It would cost too much, or nothing.
    #[error("the password hash costs m={0},t={1},p={2}; the limits are m=8..262144, t=1..64, p=1..16")]
    Cost(u32, u32, u32),
    /// Salt or hash are too short or too long.
    #[error("the password hash has a salt or a hash of the wrong length")]
    Length,
}

/// The memory that checks need, kept between them.
#[derive(Default)]
pub(crate) struct Workspace(Vec<Block>);

impl PasswordHash {
    /// Hashes a new password.
    pub(crate) fn of(password: &str, cost: Cost) -> Result<PasswordHash, PasswordError> {
        let salt = random::<16>()?.to_vec();
        let mut hash = vec![0; 32];
        compute(cost, password.as_bytes(), &salt, &mut hash, &mut Workspace::default())
            .ok_or(PasswordError::NoMemory)?;
        Ok(PasswordHash { cost, salt, hash })
    }

    /// The hash of a password that nobody knows, at this cost.
    pub(crate) fn of_nobody(cost: Cost) -> PasswordHash {
        PasswordHash { cost, salt: vec![0; 16], hash: vec![0; 32] }
    }

    pub(crate) fn cost(&self) -> Cost {
        self.cost
    }

    /// Reads the PHC form; every part has to be there, in its order.
    pub(crate) fn parse(text: &str) -> Result<PasswordHash, HashError> {
        let mut parts = text.strip_prefix("$argon2id$v=19$").ok_or(HashError::Form)?.split('$');
        let (Some(cost), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HashError::Form);
        };
        let bytes = |text: &str| BASE64_NOPAD.decode(text.as_bytes()).map_err(|_| HashError::Form);
        let (cost, salt, hash) = (parse_cost(cost)?, bytes(salt)?, bytes(hash)?);
        match SALT_BYTES.contains(&salt.len()) && HASH_BYTES.contains(&hash.len()) {
            true => Ok(PasswordHash { cost, salt, hash }),
            false => Err(HashError::Length),
        }
    }

    /// Whether this is the password. Takes the same time for every one.
    pub(crate) fn is_of(&self, password: &[u8], workspace: &mut Workspace) -> bool {
        let mut hash = vec![0; self.hash.len()];
        compute(self.cost, password, &self.salt, &mut hash, workspace).is_some()
            && are_equal(&hash, &self.hash)
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, hash) = (BASE64_NOPAD.encode(&self.salt), BASE64_NOPAD.encode(&self.hash));
        write!(formatter, "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    }
}

/// A hash can be guessed against: it is no text for logs.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

fn parse_cost(text: &str) -> Result<Cost, HashError> {
    let mut parts = text.split(',');
    let mut number = |name: &str| -> Result<u32, HashError> {
        let digits = parts.next().and_then(|part| part.strip_prefix(name)).ok_or(HashError::Form)?;
        match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse().map_err(|_| HashError::Form),
            false => Err(HashError::Form),
        }
    };
    let (memory_kib, passes, lanes) = (number("m=")?, number("t=")?, number("p=")?);
    let is_in_range = MEMORY_KIB.contains(&memory_kib) && PASSES.contains(&passes) && LANES.contains(&lanes);
    match parts.next() {
        Some(_) => Err(HashError::Form),
        // RFC 9106 section 3.1: at least eight blocks a lane.
        None if is_in_range && memory_kib >= 8 * lanes => Ok(Cost { memory_kib, passes, lanes }),
        None => Err(HashError::Cost(memory_kib, passes, lanes)),
    }
}

/// Nothing where the library refuses, which the limits above leave no reason for.
fn compute(
    cost: Cost,
    password: &[u8],
    salt: &[u8],
    hash: &mut [u8],
    workspace: &mut Workspace,
) -> Option<()> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(hash.len())).ok()?;
    let blocks = params.block_count();
    if workspace.0.len() < blocks {
        workspace.0 = vec![Block::default(); blocks];
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password, salt, hash, workspace.0.get_mut(..blocks)?).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As little as there may be.
    pub(crate) const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    /// A hash that the reference implementation made: `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1`.
    #[test]
    fn a_foreign_hash_is_understood() {
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hash = PasswordHash::parse(text).unwrap();
        let mut workspace = Workspace::default();
        assert!(hash.is_of(b"password", &mut workspace));
        assert!(!hash.is_of(b"Password", &mut workspace) && !hash.is_of(b"", &mut workspace));
        assert_eq!(hash.to_string(), text);
    }

    #[test]
    fn a_hash_is_of_its_password_only() {
        let hash = PasswordHash::of("right", CHEAP).unwrap();
        let again = PasswordHash::parse(&hash.to_string()).unwrap();
        assert!(again == hash && hash != PasswordHash::of("right", CHEAP).unwrap());
        let mut workspace = Workspace::default();
        assert!(again.is_of(b"right", &mut workspace) && !again.is_of(b"wrong", &mut workspace));
        assert!(!PasswordHash::of_nobody(CHEAP).is_of(b"", &mut workspace));
        assert_eq!(format!("{hash:?}"), "***");
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let (salt, hash) = ("c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc");
        for (text, expected) in [
            ("".to_owned(), HashError::Form),
            ("secret".to_owned(), HashError::Form),
            (format!("$argon2i$v=19$m=8,t=1,p=1${salt}${hash}"), HashError::Form),
            (format!("$argon2id$v=16$m=8,t=1,p=1${salt}${hash}"), HashError::Form),
            (format!("$argon2id$v=19$t=1,m=8,p=1${salt}${hash}"), HashError::Form),
            (format!("$argon2id$v=19$m=8,t=1,p=1,x=1${salt}${hash}"), HashError::Form),
            (format!("$argon2id$v=19$m=+8,t=1,p=1${salt}${hash}"), HashError::Form),
            (format!("$argon2id$v=19$m=8,t=1,p=1${salt}="), HashError::Form),
            (format!("$argon2id$v=19$m=8,t=1,p=1${salt}${hash}$"), HashError::Form),
            (format!("$argon2id$v=19$m=4194304,t=1,p=1${salt}${hash}"), HashError::Cost(4_194_304, 1, 1)),
            (format!("$argon2id$v=19$m=8,t=0,p=1${salt}${hash}"), HashError::Cost(8, 0, 1)),
            (format!("$argon2id$v=19$m=8,t=1,p=2${salt}${hash}"), HashError::Cost(8, 1, 2)),
            (format!("$argon2id$v=19$m=8,t=1,p=1$c2FsdA${hash}"), HashError::Length),
            (format!("$argon2id$v=19$m=8,t=1,p=1${salt}$c2FsdA"), HashError::Length),
        ] {
            assert_eq!(PasswordHash::parse(&text), Err(expected), "{text}");
        }
    }
}

//! The users as they are looked up: one entry each, with what proves its password.

use crate::argon2id::{Cost, PasswordHash, Workspace};
use crate::scram::Verifier;
use crate::secret::{Hash, are_equal, hmac_sha256, random, sha256};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use tidegate_protocol::CredentialStamp;

/// All users of one password file. Another file is another value: what was remembered goes with it.
#[derive(Debug)]
pub struct Users {
    by_name: HashMap<Box<str>, Arc<User>>,
    /// What a check costs where there is no user.
    cost_of_nobody: Cost,
}

/// One user.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) hash: PasswordHash,
    /// Nothing where the file has only the hash.
    pub(crate) scram: Option<Verifier>,
    pub(crate) stamp: CredentialStamp,
    /// A keyed hash of the password that was right.
    remembered: Mutex<Option<Hash>>,
}

/// The key of this process: what it remembers is of no use to another.
fn process_key() -> &'static Hash {
    static KEY: OnceLock<Hash> = OnceLock::new();
    // Without random bytes no TLS session and no salt could be made either: the process is of no use then.
    KEY.get_or_init(|| random::<32>().unwrap_or_default())
}

impl User {
    /// `line` is what the file says of the user: another line has another stamp.
    pub(crate) fn new(line: &str, hash: PasswordHash, scram: Option<Verifier>) -> User {
        let [a, b, c, d, e, f, g, h, ..] = sha256(line.as_bytes());
        let stamp = CredentialStamp(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
        User { hash, scram, stamp, remembered: Mutex::default() }
    }

    /// Whether this password was right before. `false` says nothing.
    pub(crate) fn remembers(&self, password: &[u8]) -> bool {
        let remembered = *self.remembered.lock();
        remembered.is_some_and(|hash| are_equal(&hash, &hmac_sha256(process_key(), password)))
    }

    /// Checks a password the long way, unless it was right before, and remembers it when it is.
    pub(crate) fn check(&self, password: &[u8], workspace: &mut Workspace) -> bool {
        let is_right = self.remembers(password) || self.hash.is_of(password, workspace);
        if is_right {
            *self.remembered.lock() = Some(hmac_sha256(process_key(), password));
        }
        is_right
    }
}

impl Users {
    pub(crate) fn new(by_name: HashMap<Box<str>, Arc<User>>, cost_of_nobody: Option<Cost>) -> Users {
        Users { by_name, cost_of_nobody: cost_of_nobody.unwrap_or(Cost::DEFAULT) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether nobody could log in.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether the user exists with the credentials of this stamp.
    pub fn is_current(&self, user: &str, stamp: CredentialStamp) -> bool {
        self.by_name.get(user).is_some_and(|known| known.stamp == stamp)
    }

    /// Whether both have the same users with the same credentials, and the same cost of a user that neither has.
    pub fn are_those_of(&self, other: &Users) -> bool {
        self.cost_of_nobody == other.cost_of_nobody
            && self.len() == other.len()
            && self.by_name.iter().all(|(name, user)| other.is_current(name, user.stamp))
    }

    pub(crate) fn get(&self, user: &str) -> Option<&Arc<User>> {
        self.by_name.get(user)
    }

    /// What a check of nobody's password is made against: it costs what that of a user does.
    pub(crate) fn nobody(&self) -> PasswordHash {
        PasswordHash::of_nobody(self.cost_of_nobody)
    }

    pub(crate) fn scram(&self, user: &str) -> Option<(Verifier, CredentialStamp)> {
        let known = self.by_name.get(user)?;
        Some((known.scram.clone()?, known.stamp))
    }

    pub(crate) fn key(&self) -> &'static Hash {
        process_key()
    }

    /// One user that can only use SCRAM.
    #[cfg(test)]
    pub(crate) fn of_one(name: &str, scram: Verifier) -> Users {
        let user = User::new(name, PasswordHash::of_nobody(Cost::DEFAULT), Some(scram));
        Users::new(HashMap::from([(name.into(), Arc::new(user))]), None)
    }
}

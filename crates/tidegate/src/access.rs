//! Who clients are: the password file of the configuration, as the broker asks for it.
//!
//! The broker knows no passwords and `tidegate-credentials` no broker; here they meet.

use std::io;
use std::path::Path;
use std::sync::Arc;
use tidegate_broker::{Authenticator, Ticket};
use tidegate_config::Config;
use tidegate_credentials::{
    Answer, PasswordChecker, PasswordFile, SCRAM_SHA_256, ScramExchange, StoreError, Users,
};
use tidegate_protocol::{CredentialStamp, Denial, Exchange, Verified};
use tracing::{info, warn};

/// Why nobody can be asked for a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("access.password_file: {0}")]
    File(#[from] StoreError),
    #[error("cannot start a thread that checks passwords: {0}")]
    Start(#[from] io::Error),
}

/// Reads the password file without using it.
pub(crate) fn check(config: &Config) -> Result<(), AccessError> {
    config.access.password_file.as_deref().map(PasswordFile::read).transpose()?;
    Ok(())
}

/// Who checks credentials by this configuration: as `before` where the users are the same, with the passwords that it remembers.
pub(crate) fn passwords(
    config: &Config,
    before: Option<&Arc<Passwords>>,
) -> Result<Option<Arc<Passwords>>, AccessError> {
    let Some(file) = &config.access.password_file else { return Ok(None) };
    let users = users(file)?;
    if let Some(before) = before.filter(|before| before.0.users().are_those_of(&users)) {
        return Ok(Some(before.clone()));
    }
    Ok(Some(Arc::new(Passwords(PasswordChecker::start(users)?))))
}

/// Whether these are others than before.
pub(crate) fn have_changed(before: Option<&Arc<Passwords>>, now: Option<&Arc<Passwords>>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => !Arc::ptr_eq(before, now),
        (before, now) => before.is_some() != now.is_some(),
    }
}

/// As the broker asks for them.
pub(crate) fn authenticator(passwords: Option<&Arc<Passwords>>) -> Option<Arc<dyn Authenticator>> {
    passwords.map(|passwords| passwords.clone() as Arc<dyn Authenticator>)
}

fn users(path: &Path) -> Result<Users, AccessError> {
    let read = PasswordFile::read(path)?;
    if read.is_readable_by_others {
        warn!(file = %path.display(), "every account on this machine can read the password file");
    }
    let users = read.file.users();
    match users.is_empty() {
        true => warn!(file = %path.display(), "the password file has no user"),
        false => info!(file = %path.display(), users = users.len(), "password file read"),
    }
    Ok(users)
}

/// The users of a password file as the broker asks for them.
#[derive(Debug)]
pub(crate) struct Passwords(PasswordChecker);

impl Authenticator for Passwords {
    fn verify_password(
        &self,
        user: &str,
        password: &[u8],
        ticket: &dyn Fn() -> Ticket,
    ) -> Option<Result<Verified, Denial>> {
        self.0.verify(user, password, || -> Answer {
            let ticket = ticket();
            Box::new(move |answer| ticket.answer(answer))
        })
    }

    fn begin(&self, method: &str) -> Option<Box<dyn Exchange>> {
        match method {
            SCRAM_SHA_256 => Some(Box::new(ScramExchange::new(self.0.users().clone()))),
            _ => None,
        }
    }

    fn is_current(&self, user: &str, stamp: CredentialStamp) -> bool {
        self.0.users().is_current(user, stamp)
    }
}

//! The password file: one line a user, strictly read, and changed a line at a time.
//!
//! ```text
//! # comment
//! name:$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>:$scram-sha-256$i=10000$<salt>$<stored key>$<server key>
//! ```
//!
//! The third field may be missing, as in files that other programs write; such a user cannot use SCRAM.

use crate::argon2id::{Cost, HashError, PasswordHash};
use crate::name::{self, NameError};
use crate::scram::{ITERATIONS, Verifier, VerifierError};
use crate::secret::{self, PasswordError};
use crate::users::{User, Users};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

/// No line that can be right is longer.
const LINE_BYTES_MAX: usize = 1024;
/// Users of one file.
const USERS_MAX: usize = 1_000_000;

/// A password file as text and as what it says.
#[derive(Debug, Default)]
pub struct PasswordFile {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    /// A comment, or nothing.
    Other(String),
    User {
        name: Box<str>,
        text: String,
        hash: PasswordHash,
        scram: Option<Verifier>,
    },
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct FileError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub error: LineError,
}

/// What is wrong with a line. Nothing of the line is in it but names: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is too long to be right.
    #[error("the line has {bytes} bytes; the limit is {LINE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Fields are missing or too many.
    #[error("the line is not like `name:$argon2id$…:$scram-sha-256$…`")]
    Fields,
    /// The first field is no name.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The second field is no hash.
    #[error("{0}")]
    Hash(#[from] HashError),
    /// The third field is no verifier.
    #[error("{0}")]
    Verifier(#[from] VerifierError),
    /// A user stands there twice.
    #[error("the user {0:?} stands in the file already")]
    Duplicate(Box<str>),
    /// There are too many users.
    #[error("the file has more than {USERS_MAX} users")]
    TooMany,
}

/// Why a user cannot be put into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// Its name.
    #[error("{0}")]
    Name(#[from] NameError),
    /// Its password.
    #[error("{0}")]
    Password(#[from] PasswordError),
}

impl PasswordFile {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<PasswordFile, FileError> {
        let mut file = PasswordFile::default();
        let mut names = HashSet::new();
        for (number, text) in text.lines().enumerate() {
            let at = |error| FileError { line: number + 1, error };
            let line = Line::parse(text).map_err(at)?;
            if let Line::User { name, .. } = &line {
                if !names.insert(name.clone()) {
                    return Err(at(LineError::Duplicate(name.clone())));
                }
                if names.len() > USERS_MAX {
                    return Err(at(LineError::TooMany));
                }
            }
            file.lines.push(line);
        }
        Ok(file)
    }

    /// The text of the file; every line that was not changed is as it was.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let (Line::Other(line) | Line::User { text: line, .. }) = line;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The users' names in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(Line::name)
    }

    /// Gives a user a password, with today's cost. Returns whether the user is new.
    pub fn set_password(&mut self, name: &str, password: &str) -> Result<bool, SetError> {
        self.set(name, password, Cost::DEFAULT, ITERATIONS)
    }

    pub(crate) fn set(
        &mut self,
        name: &str,
        password: &str,
        cost: Cost,
        iterations: u32,
    ) -> Result<bool, SetError> {
        name::check(name)?;
        secret::check(password)?;
        let (hash, scram) = (PasswordHash::of(password, cost)?, Verifier::of(password, iterations)?);
        let text = format!("{name}:{hash}:{scram}");
        let user = Line::User { name: name.into(), text, hash, scram: Some(scram) };
        match self.lines.iter_mut().find(|line| line.name() == Some(name)) {
            Some(line) => *line = user,
            None => {
                self.lines.push(user);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a user out. Returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| line.name() != Some(name));
        self.lines.len() < before
    }

    /// The users as they are looked up.
    pub fn users(self) -> Users {
        let mut by_name = HashMap::new();
        let mut cost = None;
        for line in self.lines {
            if let Line::User { name, text, hash, scram } = line {
                cost.get_or_insert(hash.cost());
                by_name.insert(name, Arc::new(User::new(&text, hash, scram)));
            }
        }
        Users::new(by_name, cost)
    }
}

impl Line {
    fn parse(text: &str) -> Result<Line, LineError> {
        if text.len() > LINE_BYTES_MAX {
            return Err(LineError::TooLong { bytes: text.len() });
        }
        if text.trim().is_empty() || text.starts_with('#') {
            return Ok(Line::Other(text.to_owned()));
        }
        let mut fields = text.split(':');
        let (Some(name), Some(hash), scram, None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(LineError::Fields);
        };
        name::check(name)?;
        let hash = PasswordHash::parse(hash)?;
        let scram = scram.map(Verifier::parse).transpose()?;
        Ok(Line::User { name: name.into(), text: text.to_owned(), hash, scram })
    }

    fn name(&self) -> Option<&str> {
        match self {
            Line::User { name, .. } => Some(name),
            Line::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argon2id::tests::CHEAP;

    const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    #[test]
    fn a_file_is_read_and_kept_line_by_line() {
        let text = format!("# users\n\nann:{HASH}\nbob:{HASH}\n");
        let mut file = PasswordFile::parse(&text).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["ann", "bob"]);
        assert_eq!(file.to_text(), text);
        assert_eq!(file.set("ann", "new", CHEAP, 4096), Ok(false));
        assert_eq!(file.set("cid", "new", CHEAP, 4096), Ok(true));
        assert!(file.remove("bob") && !file.remove("bob"));
        let written = file.to_text();
        assert!(written.starts_with("# users\n\nann:$argon2id$v=19$m=8,t=1,p=1$"), "{written}");
        let again = PasswordFile::parse(&written).unwrap();
        assert_eq!(again.names().collect::<Vec<_>>(), ["ann", "cid"]);
        let users = again.users();
        assert!(users.len() == 2 && users.scram("cid").is_some() && users.scram("bob").is_none());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, error) in [
            ("ann".to_owned(), 1, LineError::Fields),
            (format!("# x\n\nann:{HASH}:a:b"), 3, LineError::Fields),
            (format!(":{HASH}"), 1, LineError::Name(NameError::Empty)),
            ("ann:secret".to_owned(), 1, LineError::Hash(HashError::Form)),
            (format!("ann:{HASH}:"), 1, LineError::Verifier(VerifierError::Form)),
            (format!("ann:{HASH}\nann:{HASH}"), 2, LineError::Duplicate("ann".into())),
            (format!("ann\u{7}:{HASH}"), 1, LineError::Name(NameError::Character('\u{7}'))),
            ("x".repeat(1025), 1, LineError::TooLong { bytes: 1025 }),
        ] {
            let found = PasswordFile::parse(&text).map(drop);
            assert_eq!(found, Err(FileError { line, error }), "{text}");
        }
    }

    /// What is printed about a line may be read by others.
    #[test]
    fn mistakes_do_not_show_secrets() {
        let error = PasswordFile::parse("ann:my plain password").map(drop).unwrap_err();
        assert!(!error.to_string().contains("plain"), "{error}");
    }

    #[test]
    fn another_password_has_another_stamp() {
        let mut file = PasswordFile::default();
        file.set("ann", "one", CHEAP, 4096).unwrap();
        let before = PasswordFile::parse(&file.to_text()).unwrap().users();
        assert!(!before.are_those_of(&Users::new(HashMap::new(), None)));
        let stamp = before.get("ann").unwrap().stamp;
        assert!(PasswordFile::parse(&file.to_text()).unwrap().users().is_current("ann", stamp));
        file.set("ann", "two", CHEAP, 4096).unwrap();
        let after = file.users();
        assert!(!after.is_current("ann", stamp) && !after.is_current("bob", stamp));
        assert!(!after.are_those_of(&before) && before.are_those_of(&before));
    }
}

//! Passwords of users: the file that they stand in, and the two ways to prove one.
//!
//! ```text
//! password file ──► PasswordFile ──► Users ──┬──► PasswordChecker   a password: argon2id, on a few threads of its own
//!                   (a line a user)          └──► ScramExchange     SCRAM-SHA-256: the password never comes here
//! ```
//!
//! No plain password is kept: of one that was right the checker remembers a keyed hash, so that a fleet that reconnects does not
//! pay for argon2id again. What a client is told never says whether the user or the password was wrong, and takes
//! the same time for both.
//!
//! Who may come in where, and what a user may do, is not known here.

mod argon2id;
mod checker;
mod file;
mod name;
mod scram;
mod secret;
mod store;
mod users;

pub use argon2id::HashError;
pub use checker::{Answer, PasswordChecker};
pub use file::{FileError, LineError, PasswordFile, SetError};
pub use name::NameError;
pub use scram::{SCRAM_SHA_256, ScramExchange, VerifierError};
pub use secret::{PASSWORD_BYTES_MAX, PasswordError};
pub use store::{StoreError, Stored};
pub use users::Users;

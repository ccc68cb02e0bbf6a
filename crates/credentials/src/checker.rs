//! Checks passwords on a few threads of its own: argon2id takes long on purpose, and a worker must not wait.
//!
//! ```text
//! verify ──┬─ was right before ──────────► answered at once
//!          ├─ room in the line ──► thread ► answered later
//!          └─ no room ──────────────────► busy
//! ```
//!
//! The line is bounded, so a reconnecting fleet, or somebody who guesses, costs a known amount of memory and time; who finds no
//! room is told so and comes again. The threads end when the checker is dropped and the line is empty.

use crate::argon2id::Workspace;
use crate::secret::PASSWORD_BYTES_MAX;
use crate::users::{User, Users};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use tidegate_protocol::{Denial, Verified};
use zeroize::Zeroizing;

/// Passwords that may wait for a thread.
const WAITING_MAX: usize = 1024;
/// Threads at the most; each needs as much memory as a check does.
const THREADS_MAX: usize = 4;

/// How a late answer is given.
pub type Answer = Box<dyn FnOnce(Result<Verified, Denial>) + Send>;

/// Checks passwords.
#[derive(Debug)]
pub struct PasswordChecker {
    users: Arc<Users>,
    line: SyncSender<Job>,
}

/// A password that waits to be checked.
struct Job {
    name: Box<str>,
    user: Option<Arc<User>>,
    password: Zeroizing<Vec<u8>>,
    answer: Answer,
}

impl PasswordChecker {
    /// Starts the threads: one for every two processors, at most four.
    pub fn start(users: Users) -> io::Result<PasswordChecker> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        PasswordChecker::start_with(users, (processors / 2).clamp(1, THREADS_MAX), WAITING_MAX)
    }

    fn start_with(users: Users, threads: usize, waiting_max: usize) -> io::Result<PasswordChecker> {
        let (line, jobs) = sync_channel(waiting_max);
        let (users, jobs) = (Arc::new(users), Arc::new(Mutex::new(jobs)));
        for number in 0..threads {
            let (users, jobs) = (users.clone(), jobs.clone());
            thread::Builder::new().name(format!("password-{number}")).spawn(move || run(&users, &jobs))?;
        }
        Ok(PasswordChecker { users, line })
    }

    /// The users whose passwords are checked.
    pub fn users(&self) -> &Arc<Users> {
        &self.users
    }

    /// Checks a password. Nothing: the answer comes later, by what `answer` makes, which is called only then.
    pub fn verify(
        &self,
        name: &str,
        password: &[u8],
        answer: impl FnOnce() -> Answer,
    ) -> Option<Result<Verified, Denial>> {
        // Nobody has such a password, whoever asks.
        if password.len() > PASSWORD_BYTES_MAX {
            return Some(Err(Denial::BadCredentials));
        }
        let user = self.users.get(name).cloned();
        if let Some(user) = user.as_ref().filter(|user| user.remembers(password)) {
            return Some(Ok(Verified { user: name.into(), stamp: user.stamp }));
        }
        let job =
            Job { name: name.into(), user, password: Zeroizing::new(password.to_vec()), answer: answer() };
        match self.line.try_send(job) {
            Ok(()) => None,
            Err(_) => Some(Err(Denial::Busy)),
        }
    }
}

/// The life of one thread.
fn run(users: &Users, jobs: &Mutex<Receiver<Job>>) {
    let (mut workspace, nobody) = (Workspace::default(), users.nobody());
    loop {
        let job = jobs.lock().recv();
        let Ok(Job { name, user, password, answer }) = job else { return };
        answer(match user {
            Some(user) if user.check(&password, &mut workspace) => {
                Ok(Verified { user: name, stamp: user.stamp })
            }
            Some(_) => Err(Denial::BadCredentials),
            None => {
                // Takes as long as a wrong password does.
                let _ = nobody.is_of(&password, &mut workspace);
                Err(Denial::BadCredentials)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argon2id::tests::CHEAP;
    use crate::file::PasswordFile;
    use std::sync::mpsc::channel;

    fn users() -> Users {
        let mut file = PasswordFile::default();
        file.set("ann", "right", CHEAP, 4096).unwrap();
        file.users()
    }

    /// The answer, and whether it came late.
    fn ask(checker: &PasswordChecker, name: &str, password: &str) -> (Result<Verified, Denial>, bool) {
        let (sender, receiver) = channel();
        let answer = || -> Answer { Box::new(move |answer| sender.send(answer).unwrap()) };
        match checker.verify(name, password.as_bytes(), answer) {
            Some(answer) => (answer, false),
            None => (receiver.recv().unwrap(), true),
        }
    }

    #[test]
    fn only_the_first_check_of_a_right_password_takes_long() {
        let checker = PasswordChecker::start_with(users(), 2, 8).unwrap();
        let stamp = checker.users().get("ann").unwrap().stamp;
        let right = || Ok(Verified { user: "ann".into(), stamp });
        assert_eq!(ask(&checker, "ann", "right"), (right(), true));
        assert_eq!(ask(&checker, "ann", "right"), (right(), false));
        assert_eq!(ask(&checker, "ann", "wrong"), (Err(Denial::BadCredentials), true), "each guess costs");
        assert_eq!(ask(&checker, "ann", "right"), (right(), false), "and changes nothing");
    }

    /// Whoever asks cannot tell by the way that the answer takes whether the user exists.
    #[test]
    fn nobody_is_checked_like_somebody() {
        let checker = PasswordChecker::start_with(users(), 1, 8).unwrap();
        for name in ["bob", "", "ann"] {
            assert_eq!(ask(&checker, name, "wrong"), (Err(Denial::BadCredentials), true), "{name}");
        }
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        for name in ["bob", "ann"] {
            assert_eq!(ask(&checker, name, &long), (Err(Denial::BadCredentials), false));
        }
    }

    #[test]
    fn a_full_line_says_busy_and_everybody_in_it_is_answered() {
        let checker = PasswordChecker::start_with(users(), 1, 1).unwrap();
        let (gate, opened) = channel::<()>();
        let (sender, answers) = channel();
        let (entered, inside) = channel();
        let first: Answer = Box::new(move |_| {
            entered.send(()).unwrap();
            opened.recv().unwrap();
        });
        assert!(checker.verify("bob", b"x", || first).is_none());
        inside.recv().unwrap();
        let next: Answer = Box::new(move |answer| sender.send(answer).unwrap());
        assert!(checker.verify("ann", b"right", || next).is_none(), "there is room for one");
        assert_eq!(ask(&checker, "ann", "right"), (Err(Denial::Busy), false));
        drop(checker);
        gate.send(()).unwrap();
        assert!(answers.recv().unwrap().is_ok());
    }
}

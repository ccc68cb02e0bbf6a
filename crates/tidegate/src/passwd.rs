//! `tidegate passwd`: the users of a password file.
//!
//! A running gateway reads the file again when it is told to reload; nothing here talks to it.

use crate::cli::{complain, say};
use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::future::poll_fn;
use std::io::{self, BufRead, Read, Stdin, Write};
use std::path::PathBuf;
use std::task::Poll;
use tidegate_credentials::{PASSWORD_BYTES_MAX, PasswordFile, SetError, StoreError};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

/// What is to be done with the users of a password file.
#[derive(Debug, Subcommand)]
pub(crate) enum Passwd {
    /// Add a user, or give one another password. Makes the file where there is none.
    Add(Add),
    /// Take a user out.
    Remove(UserOf),
    /// Say who is in the file.
    List {
        /// The password file.
        file: PathBuf,
    },
}

/// Whom to add.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    user: UserOf,
    /// Read the password from standard input, one line, also where that is a terminal.
    #[arg(long)]
    stdin: bool,
}

/// A user of a file.
#[derive(Debug, Args)]
pub(crate) struct UserOf {
    /// The password file.
    file: PathBuf,
    /// The user's name.
    user: String,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswdError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Set(#[from] SetError),
    #[error("{}: there is no user {user:?}", file.display())]
    NoSuchUser { file: PathBuf, user: String },
    #[error("the two passwords differ")]
    Differ,
    #[error("standard input has more than one line: a password is one")]
    Lines,
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    #[error("cannot read the password: {0}")]
    Read(#[from] io::Error),
}

/// Does it.
pub(crate) fn run(passwd: Passwd) -> Result<(), PasswdError> {
    match passwd {
        Passwd::Add(Add { user: UserOf { file, user }, stdin }) => {
            // Before anybody types a password for nothing.
            if file.exists() {
                PasswordFile::read(&file)?;
            }
            let password = read_password(stdin)?;
            let is_new = PasswordFile::change(&file, |users| {
                users.set_password(&user, &password).map_err(PasswdError::from)
            })?;
            complain(&match is_new {
                true => format!("{}: user {user:?} added", file.display()),
                false => format!("{}: user {user:?} has another password", file.display()),
            });
        }
        Passwd::Remove(UserOf { file, user }) => {
            PasswordFile::read(&file)?;
            PasswordFile::change(&file, |users| match users.remove(&user) {
                true => Ok(()),
                false => Err(PasswdError::NoSuchUser { file: file.clone(), user: user.clone() }),
            })?;
            complain(&format!("{}: user {user:?} removed", file.display()));
        }
        Passwd::List { file } => PasswordFile::read(&file)?.file.names().for_each(say),
    }
    Ok(())
}

/// From a terminal twice and unseen, from anything else one line.
fn read_password(from_stdin: bool) -> Result<Zeroizing<String>, PasswdError> {
    let stdin = io::stdin();
    if from_stdin || !isatty(&stdin) {
        return read_line(&stdin);
    }
    let _unseen = Unseen::begin(&stdin)?;
    let password = ask(&stdin, "Password: ")?;
    match *ask(&stdin, "The same again: ")? == *password {
        true => Ok(password),
        false => Err(PasswdError::Differ),
    }
}

fn ask(stdin: &Stdin, prompt: &str) -> Result<Zeroizing<String>, PasswdError> {
    let mut terminal = io::stderr();
    write!(terminal, "{prompt}")?;
    terminal.flush()?;
    let mut line = Zeroizing::new(String::new());
    stdin.lock().take(PASSWORD_BYTES_MAX as u64 + 2).read_line(&mut line)?;
    // The line end was typed unseen as well.
    writeln!(terminal)?;
    without_line_end(line)
}

/// All of the input, which has to be one line.
fn read_line(stdin: &Stdin) -> Result<Zeroizing<String>, PasswdError> {
    let mut text = Zeroizing::new(String::new());
    stdin.lock().take(PASSWORD_BYTES_MAX as u64 + 3).read_to_string(&mut text)?;
    let line = without_line_end(text)?;
    match line.contains('\n') {
        true => Err(PasswdError::Lines),
        false => Ok(line),
    }
}

fn without_line_end(mut line: Zeroizing<String>) -> Result<Zeroizing<String>, PasswdError> {
    let length =
        line.strip_suffix('\n').map_or(line.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    line.truncate(length);
    match length > PASSWORD_BYTES_MAX {
        true => Err(PasswdError::TooLong),
        false => Ok(line),
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped or the process is asked to end.
struct Unseen<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl Unseen<'_> {
    fn begin(terminal: &Stdin) -> io::Result<Unseen<'_>> {
        let before = tcgetattr(terminal)?;
        restore_at_signals(before.clone())?;
        let mut unseen = before.clone();
        unseen.local_modes -= LocalModes::ECHO;
        tcsetattr(terminal, OptionalActions::Flush, &unseen)?;
        Ok(Unseen { terminal, before })
    }
}

/// Whoever gives up while typing (Ctrl-C) gets a terminal back that shows again what is typed. A thread of its own waits, because the other one
/// waits for a line; it ends with the process.
fn restore_at_signals(before: Termios) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    // Before anything is unseen.
    let signals = runtime.block_on(async { kinds.map(|kind| Ok((signal(kind)?, kind.as_raw_value()))) });
    let signals: Vec<(Signal, i32)> = signals.into_iter().collect::<io::Result<_>>()?;
    std::thread::Builder::new().name("passwd-signals".to_owned()).spawn(move || {
        let number = runtime.block_on(first_of(signals));
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        complain("");
        // As a shell reports a program that a signal has ended.
        std::process::exit(128 + number);
    })?;
    Ok(())
}

/// The number of the first signal that comes.
async fn first_of(mut signals: Vec<(Signal, i32)>) -> i32 {
    poll_fn(|context| {
        let came =
            |(signal, number): &mut (Signal, i32)| signal.poll_recv(context).is_ready().then_some(*number);
        signals.iter_mut().find_map(came).map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        // Whoever cannot be put back is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

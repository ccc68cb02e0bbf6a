//! A child process whose output is read line by line, and which never outlives its test.
//!
//! Standard output and standard error are merged: a client that prints its complaint on the other stream than expected
//! still shows it in the failure message.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use super::DEADLINE;

/// A running program. Dropping it kills it.
pub(crate) struct Program {
    name: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// The lines that [`Program::pick_line`] looks at begin here.
    mark: usize,
    /// Those among them that it has returned.
    picked: HashSet<usize>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// All lines of both streams that were not taken before, each with its newline.
    pub(crate) output: String,
}

impl Program {
    /// Starts `command` with an empty standard input. A program that is not there fails the test with the way to get it.
    pub(crate) fn start(command: &mut Command) -> Program {
        let name = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                panic!("{name} cannot be started ({error}); ./scripts/test installs what the tests need")
            }
        };
        let (sender, lines) = channel();
        forward_lines(child.stdout.take().expect("standard output is piped"), sender.clone());
        forward_lines(child.stderr.take().expect("standard error is piped"), sender);
        Program { name, child, lines, seen: Vec::new(), mark: 0, picked: HashSet::new() }
    }

    /// Waits for the first line that `wanted` accepts and returns it; lines before it are kept for failure messages only.
    pub(crate) fn wait_for_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.next_line(deadline) {
                Ok(line) if wanted(&line) => return line,
                Ok(_) => {}
                Err(end) => self.lacks(what, end),
            }
        }
    }

    /// The first line since the mark that `wanted` accepts and that was not returned from here before, for a program whose threads print
    /// in no fixed order: it may have been printed before a line that was waited for earlier.
    pub(crate) fn pick_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut place = self.mark;
        loop {
            match self.seen.get(place) {
                Some(line) if wanted(line) && self.picked.insert(place) => return line.clone(),
                Some(_) => place += 1,
                None => {
                    if let Err(end) = self.next_line(deadline) {
                        self.lacks(what, end);
                    }
                }
            }
        }
    }

    /// Sets the mark: what was taken so far is not looked at again.
    pub(crate) fn mark(&mut self) {
        self.mark = self.seen.len();
    }

    fn lacks(&self, what: &str, end: RecvTimeoutError) -> ! {
        panic!("{} did not print {what}: {end}; it said:\n{}", self.name, self.seen.join("\n"))
    }

    /// All lines that were taken so far.
    pub(crate) fn seen(&self) -> String {
        self.seen.join("\n")
    }

    /// Waits until the program ends by itself.
    pub(crate) fn wait(mut self) -> Ended {
        let deadline = Instant::now() + DEADLINE;
        let first = self.seen.len();
        loop {
            match self.next_line(deadline) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{} did not end in {DEADLINE:?}; it said:\n{}", self.name, self.seen.join("\n"))
                }
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        let output = self.seen.iter().skip(first).map(|line| format!("{line}\n")).collect();
        Ended { code: status.code(), output }
    }

    /// Waits for the end, expects exit code 0 and returns what was printed.
    pub(crate) fn succeed(self) -> String {
        let name = self.name.clone();
        let ended = self.wait();
        assert_eq!(ended.code, Some(0), "{name} failed; it said:\n{}", ended.output);
        ended.output
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM` or `KILL`, to this process alone.
    pub(crate) fn signal(&self, signal: &str) {
        // The shell's own `kill`, because the program of that name is not on every machine.
        let kill = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "{} is not there for `{kill}`", self.name);
    }

    fn next_line(&mut self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        self.seen.push(line.clone());
        Ok(line)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail when the process has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends every line of `stream` to `sender`; bytes that are no UTF-8 are replaced, because this is for people and tests.
fn forward_lines(stream: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
}

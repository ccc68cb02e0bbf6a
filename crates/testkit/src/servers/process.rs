//! A server's processes: started in a group of their own, logged, and never left behind.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};

use super::PATIENCE;

/// Kills the group of its first argument and removes the folder of its second when its standard input ends, which it does
/// when the test's process is gone, however that has ended. `kill -9 --` would be an error to some shells.
const GUARD: &str = r#"read -r _; kill -s KILL -- "-$0"; rm -rf "$1""#;

/// Ends of a log that are shown when something fails.
const SHOWN_BYTES_MAX: usize = 8 * 1024;

/// A running process with its children. Dropping it kills them all and waits until they are gone.
pub(super) struct Process {
    leader: Child,
    guard: (Child, Option<ChildStdin>),
    /// Behind a lock only so that a server can be shared among threads.
    lines: Mutex<Receiver<String>>,
}

/// A server that has ended instead of becoming ready, with what it said.
#[derive(Debug)]
pub(super) struct Stopped(String);

impl Process {
    /// Starts it and waits for a line that says it is ready. What it prints goes to the end of `log` in its folder.
    pub(super) fn start(
        name: &str,
        mut command: Command,
        folder: &Path,
        is_ready: impl Fn(&str) -> bool,
    ) -> Result<Process, Stopped> {
        let program = command.get_program().to_string_lossy().into_owned();
        let spawned = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut leader = spawned.unwrap_or_else(|error| {
            panic!("{program} cannot be started ({error}); ./scripts/test installs what the tests need")
        });
        let guard = spawn_guard(leader.id(), folder);
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log"));
        let log = log.expect("the temporary folder can be written");
        let (sender, lines) = channel();
        let twice = |file: &File| file.try_clone().expect("the system has a file left");
        forward(leader.stdout.take().expect("piped"), twice(&log), sender.clone());
        forward(leader.stderr.take().expect("piped"), log, sender);
        let process = Process { leader, guard, lines: Mutex::new(lines) };
        match process.await_line(is_ready) {
            Ok(()) => Ok(process),
            Err(RecvTimeoutError::Disconnected) => Err(Stopped(read_log(folder))),
            Err(RecvTimeoutError::Timeout) => {
                panic!("{name} was not ready in {PATIENCE:?}; it said:\n{}", read_log(folder))
            }
        }
    }

    /// SIGTERM, and waits until all of it is gone.
    pub(super) fn terminate(self) {
        self.signal(Signal::TERM);
        let ended = self.await_end();
        assert!(ended, "the server did not end in {PATIENCE:?} after SIGTERM");
    }

    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process_group(pid(self.leader.id()), signal).expect("the server has not ended");
    }

    fn await_line(&self, is_ready: impl Fn(&str) -> bool) -> Result<(), RecvTimeoutError> {
        let deadline = Instant::now() + PATIENCE;
        let lines = self.lines.lock().expect("nobody panics with the lines");
        loop {
            let line = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
            if is_ready(&line) {
                return Ok(());
            }
        }
    }

    /// Its output ends when the last process that could write it is gone.
    fn await_end(&self) -> bool {
        self.await_line(|_| false) == Err(RecvTimeoutError::Disconnected)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard first, so that it cannot act on an id that belongs to another process by then.
        let _ = (self.guard.0.kill(), self.guard.0.wait());
        // It fails where everything has ended already, which is what is wanted.
        let _ = kill_process_group(pid(self.leader.id()), Signal::KILL);
        let _ = self.leader.wait();
        self.await_end();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {}", self.leader.id())
    }
}

impl Stopped {
    /// Returns what it said where another program had one of its ports; everything else fails the test.
    pub(super) fn expect_port_in_use(self, name: &str) -> String {
        let said = self.0.to_lowercase();
        match ["in use", "eaddrinuse", "eaddrnotavail"].iter().any(|sign| said.contains(sign)) {
            true => self.0,
            false => self.fail(name),
        }
    }

    pub(super) fn fail(self, name: &str) -> ! {
        panic!("{name} has ended instead of becoming ready; it said:\n{}", self.0)
    }
}

/// The end of the log in this folder.
pub(super) fn read_log(folder: &Path) -> String {
    let bytes = std::fs::read(folder.join("log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SHOWN_BYTES_MAX)..]).into_owned()
}

fn spawn_guard(group: u32, folder: &Path) -> (Child, Option<ChildStdin>) {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, &group.to_string()]).arg(folder);
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: an interrupt from the terminal ends the tests and not their guard.
    let mut guard = streams.process_group(0).spawn().expect("sh can be started");
    let stdin = guard.stdin.take();
    (guard, stdin)
}

/// Passes on every line to the log and to whoever waits for one.
fn forward(stream: impl Read + Send + 'static, mut log: File, sender: Sender<String>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            // A log that cannot be written is no reason to stop the server by a full pipe.
            let _ = log.write_all(&line);
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    });
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id as i32).expect("a process has an id")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a test leaves behind that never drops its server: a static, or a process that was killed.
    #[test]
    fn the_guard_ends_the_group_when_its_input_ends() {
        let folder = std::env::temp_dir().join(format!("tidegate-guard-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut leader = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let (mut guard, stdin) = spawn_guard(leader.id(), &folder);
        drop(stdin);
        assert!(guard.wait().unwrap().success());
        assert!(!leader.wait().unwrap().success(), "it was killed");
        assert!(!folder.exists());
    }
}

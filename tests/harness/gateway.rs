//! A gateway of the test's own: temporary folder, free ports, its log read as JSON.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::{Ended, Program};

/// Every listener that the tests use, on ports that the system chooses. Port 0 is read back from the log.
const STANDARD: &str = r#"
node = "test"

[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true

[[listener]]
name = "stomp"
bind = "127.0.0.1:0"
protocols = ["stomp"]
allow_anonymous = true

[[listener]]
name = "shared"
bind = "127.0.0.1:0"
protocols = ["mqtt", "stomp"]
allow_anonymous = true

[[listener]]
name = "websocket"
bind = "127.0.0.1:0"
transport = "websocket"
protocols = ["stomp", "mqtt"]
allow_anonymous = true

[http]
bind = "127.0.0.1:0"
"#;

/// A running gateway. Dropping it kills it and removes its folder.
pub(crate) struct Gateway {
    program: Program,
    ports: HashMap<String, u16>,
    scratch: Scratch,
}

impl Gateway {
    /// Starts with the listeners `mqtt`, `stomp`, `shared` (both protocols), `websocket` (both) and `http`.
    pub(crate) fn standard() -> Gateway {
        Gateway::start(STANDARD)
    }

    /// The same with two workers, and with these tables behind its own.
    pub(crate) fn standard_with(tables: &str) -> Gateway {
        Gateway::start(&format!("workers = 2\n{STANDARD}\n{tables}"))
    }

    /// Starts with this configuration and waits until it says that it is ready.
    pub(crate) fn start(config: &str) -> Gateway {
        let scratch = Scratch::new();
        let file = scratch.write("tidegate.toml", config);
        Gateway::start_with(scratch, [OsStr::new("--config"), file.as_os_str()])
    }

    /// Starts with these arguments and waits until it says that it is ready. The log format is added.
    pub(crate) fn start_with<S: AsRef<OsStr>>(
        scratch: Scratch,
        arguments: impl IntoIterator<Item = S>,
    ) -> Gateway {
        let program = Program::start(tidegate().args(["--set", "log.format=json"]).args(arguments));
        let mut gateway = Gateway { program, ports: HashMap::new(), scratch };
        gateway.read_ports();
        gateway
    }

    /// The port of the listener of this name; the HTTP listener is called `http`.
    pub(crate) fn port(&self, listener: &str) -> u16 {
        match self.ports.get(listener) {
            Some(port) => *port,
            None => panic!("no listener {listener:?} among {:?}", self.ports),
        }
    }

    /// A folder of this gateway's own for files that a test needs.
    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Waits for a log line that contains this text, among all since the start or the last reload that were not returned from here.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> Value {
        let line = self.program.pick_line(&format!("a log line with {text:?}"), |line| line.contains(text));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is no JSON line: {error}"))
    }

    /// The log lines that were read so far: at least those up to `ready`.
    pub(crate) fn log(&self) -> String {
        self.program.seen()
    }

    /// Starts with a file in a folder in which another gateway may have left something.
    pub(crate) fn start_in(scratch: Scratch, config: &Path) -> Gateway {
        Gateway::start_with(scratch, [OsStr::new("--config"), config.as_os_str()])
    }

    /// Starts with the file, as [`Gateway::start_with`], in a process that may have only so many files open.
    pub(crate) fn start_limited(scratch: Scratch, files: u32, config: &Path) -> Gateway {
        let limit = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limit]).arg(tidegate().get_program());
        Gateway::start_as(scratch, &mut command, config)
    }

    /// Starts with the file, by a command that becomes the gateway when it is given the gateway's arguments.
    pub(crate) fn start_as(scratch: Scratch, command: &mut Command, config: &Path) -> Gateway {
        let program = Program::start(command.args(["--set", "log.format=json", "--config"]).arg(config));
        let mut gateway = Gateway { program, ports: HashMap::new(), scratch };
        gateway.read_ports();
        gateway
    }

    /// SIGKILL; what it has left in its folder is for the next one.
    pub(crate) fn kill(self) -> Scratch {
        self.scratch
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.program.id()
    }

    /// Gives the gateway another file and has it read; returns the line that says what has changed.
    pub(crate) fn reload(&mut self, config: &str) -> Value {
        self.hang_up(config);
        loop {
            let line = self.program.wait_for_line("what the reload has changed", |line| {
                ["configuration reloaded", "not reloaded", "\"listening\""]
                    .iter()
                    .any(|end| line.contains(end))
            });
            let entry: Value = serde_json::from_str(&line).expect("the log is JSON");
            match entry["fields"]["message"].as_str() {
                Some("configuration reloaded") => return entry,
                Some("listening") => self.note_port(&entry),
                _ => panic!("refused: {line}"),
            }
        }
    }

    /// As [`Gateway::reload`], for a file that must be refused; returns why it was.
    pub(crate) fn refused_reload(&mut self, config: &str) -> String {
        self.hang_up(config);
        let entry = self.wait_for_log("reloaded");
        let message = entry["fields"]["message"].as_str().expect("an entry has a message");
        assert!(message.contains("is not reloaded, nothing has changed"), "{message}");
        message.to_owned()
    }

    fn hang_up(&mut self, config: &str) {
        self.program.mark();
        self.scratch.write("tidegate.toml", config);
        self.program.signal("HUP");
    }

    /// Asks the gateway to end, without waiting.
    pub(crate) fn terminate(&self) {
        self.program.signal("TERM");
    }

    /// Stops the process in the middle of whatever it does, as a machine does that is put to sleep.
    pub(crate) fn pause(&self) {
        self.program.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.program.signal("CONT");
    }

    /// Waits until the gateway has ended by itself.
    pub(crate) fn wait(self) -> Ended {
        self.program.wait()
    }

    fn read_ports(&mut self) {
        loop {
            let line = self.program.wait_for_line("a log line", |line| line.starts_with('{'));
            let Ok(entry) = serde_json::from_str::<Value>(&line) else { continue };
            match entry["fields"]["message"].as_str() {
                Some("ready") => return,
                Some("listening") => self.note_port(&entry),
                _ => {}
            }
        }
    }

    fn note_port(&mut self, entry: &Value) {
        let name = entry["fields"]["listener"].as_str().expect("a listener has a name");
        let address = entry["fields"]["address"].as_str().expect("a listener has an address");
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        self.ports.insert(name.to_owned(), port.expect("an address ends in a port"));
    }
}

/// Runs the binary with these arguments until it ends by itself.
pub(crate) fn run_tidegate<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ended {
    Program::start(tidegate().args(arguments)).wait()
}

/// Gives a user of a password file this password.
pub(crate) fn set_password(file: &Path, user: &str, password: &str) {
    let mut child = tidegate()
        .args(["passwd", "add"])
        .arg(file)
        .arg(user)
        .stdin(Stdio::piped())
        .spawn()
        .expect("tidegate starts");
    child.stdin.take().expect("piped").write_all(password.as_bytes()).expect("tidegate reads");
    assert!(child.wait().expect("a child can be waited for").success());
}

/// The binary under test, with no setting inherited from the developer's environment.
pub(crate) fn tidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command
}

/// A folder that is removed with its owner.
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// A new empty folder inside the build's own temporary folder.
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        Scratch { folder }
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).expect("the target folder can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that stays behind is inside `target`, so it is no failure.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

//! One life of a gateway's process: its program is started, its log is followed until it is ready, and it is ended.

use crate::gateway::GatewayError;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long a start may take. Generous, because a busy machine is no bug.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(120);

/// Every protocol in the clear on ports that the system chooses, which the log then names: a fixed one could be somebody else's.
pub(crate) const LISTENERS: &str = r#"
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

[http]
bind = "127.0.0.1:0"
"#;

/// See the module. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Life {
    child: Child,
    /// Lines of its log, read by a thread that ends with the process.
    log: Receiver<String>,
    said: Vec<String>,
    ports: HashMap<String, SocketAddr>,
    is_ready: bool,
    is_asked: bool,
}

impl Life {
    /// Starts the program with this file and these settings on top of it. It is not ready yet.
    pub(crate) fn begin(program: &Path, config: &Path, settings: &[String]) -> Result<Life, GatewayError> {
        let mut command = Command::new(program);
        command.arg("--config").arg(config).args(["--set", "log.format=json"]);
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        // No setting comes from the developer's environment.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_"))
        {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let start = |error| GatewayError::Start { program: program.to_owned(), error };
        let mut child = command.spawn().map_err(start)?;
        let (sender, log) = channel();
        if let Some(stream) = child.stderr.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                lines.into_iter().try_for_each(|line| sender.send(line))
            });
        }
        let (said, ports) = (Vec::new(), HashMap::new());
        Ok(Life { child, log, said, ports, is_ready: false, is_asked: false })
    }

    /// Whether it is ready, as far as it has said so within this time.
    pub(crate) fn is_ready(&mut self, patience: Duration) -> Result<bool, GatewayError> {
        while !self.is_ready {
            match self.log.recv_timeout(patience) {
                Ok(line) => self.hear(line),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(self.not_ready()),
            }
        }
        Ok(self.is_ready)
    }

    /// Waits until it is ready.
    pub(crate) fn await_ready(&mut self) -> Result<(), GatewayError> {
        match self.is_ready(START_PATIENCE)? {
            true => Ok(()),
            false => Err(self.not_ready()),
        }
    }

    /// Where a listener is, once it is ready.
    pub(crate) fn address(&self, listener: &str) -> Result<SocketAddr, GatewayError> {
        self.ports.get(listener).copied().ok_or_else(|| self.not_ready())
    }

    /// Why it is of no use.
    pub(crate) fn not_ready(&self) -> GatewayError {
        GatewayError::NotReady(self.said.join("\n"))
    }

    fn hear(&mut self, line: String) {
        let entry = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default();
        self.said.push(line);
        let field = |name: &str| entry["fields"][name].as_str().unwrap_or_default();
        match (field("message"), field("address").parse()) {
            ("ready", _) => self.is_ready = true,
            ("listening", Ok(address)) => drop(self.ports.insert(field("listener").to_owned(), address)),
            _ => {}
        }
    }

    /// What it has to complain of since the last call: errors, panics, an end of its own.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.said.extend(self.log.try_iter());
        let is_bad = |line: &String| line.contains("\"ERROR\"") || line.contains("panicked at");
        let mut complaints: Vec<String> = self.said.drain(..).filter(is_bad).collect();
        if let Ok(Some(status)) = self.child.try_wait()
            && !self.is_asked
        {
            complaints.push(format!("the gateway has ended by itself: {status}"));
        }
        complaints
    }

    /// SIGTERM.
    pub(crate) fn ask_to_end(&mut self) {
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already, which is noticed when it is killed.
            let _ = kill_process(id, Signal::TERM);
        }
        self.is_asked = true;
    }

    /// Whether its log has ended, and so the process.
    pub(crate) fn has_ended(&mut self) -> bool {
        loop {
            match self.log.recv_timeout(Duration::ZERO) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// SIGKILL, and nothing of it is left. Returns its last complaints.
    pub(crate) fn kill(mut self) -> Vec<String> {
        let mut complaints = self.complaints();
        self.is_asked = true;
        let _ended = self.child.kill().and_then(|()| self.child.wait());
        // The log ends with the process.
        self.said.extend(self.log.iter());
        complaints.extend(self.complaints());
        complaints
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // Both fail only where it is done already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

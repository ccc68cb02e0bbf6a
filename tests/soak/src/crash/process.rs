//! The gateway of a crash audit: one folder and one configuration, many lives.

use crate::gateway::{GatewayError, fetch, sum};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// How long a start may take. Generous, because a busy machine is no bug.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// Small files, so that space is given back while it runs. One area is acknowledged when the operating system has it: that survives a kill.
///
/// Every port is the system's choice, in every life again: a fixed one could be somebody else's meanwhile.
const CONFIG: &str = r#"
node = "crash"
data_dir = "data"
workers = 2

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

[store]
segment_bytes = "1MiB"

[[topic]]
topics = ["live/1/#"]
acknowledge = "written"
"#;

/// Where a life of the gateway can be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) mqtt: SocketAddr,
    pub(crate) stomp: SocketAddr,
    http: SocketAddr,
}

/// How to start it.
#[derive(Debug)]
pub(crate) struct Gateway {
    program: PathBuf,
    config: PathBuf,
}

/// One life. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Life {
    child: Child,
    /// Lines of its log, read by a thread that ends with the process.
    log: UnboundedReceiver<String>,
    said: Vec<String>,
    is_asked: bool,
}

impl Gateway {
    /// A gateway that keeps its things in this folder.
    pub(crate) fn new(program: &Path, folder: &Path) -> Result<Gateway, GatewayError> {
        let start = |error| GatewayError::Start { program: program.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(start)?;
        let config = folder.join("tidegate.toml");
        std::fs::write(&config, CONFIG).map_err(start)?;
        Ok(Gateway { program: program.to_owned(), config })
    }

    /// Begins a life, which is not ready yet.
    pub(crate) fn start(&self) -> Result<Life, GatewayError> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).args(["--set", "log.format=json"]);
        // No setting comes from the developer's environment.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_"))
        {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let start = |error| GatewayError::Start { program: self.program.clone(), error };
        let mut child = command.spawn().map_err(start)?;
        let (sender, log) = unbounded_channel();
        if let Some(stream) = child.stderr.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                lines.into_iter().try_for_each(|line| sender.send(line))
            });
        }
        Ok(Life { child, log, said: Vec::new(), is_asked: false })
    }
}

impl Life {
    /// Waits until it is ready.
    pub(crate) async fn ready(&mut self) -> Result<Ports, GatewayError> {
        let (mut mqtt, mut stomp, mut http) = (None, None, None);
        while let Ok(Some(line)) = timeout(START_PATIENCE, self.log.recv()).await {
            let entry = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default();
            self.said.push(line);
            let field = |name: &str| entry["fields"][name].as_str().unwrap_or_default();
            let address = || field("address").parse().ok();
            match (field("message"), field("listener")) {
                ("listening", "mqtt") => mqtt = address(),
                ("listening", "stomp") => stomp = address(),
                ("listening", "http") => http = address(),
                ("ready", _) => {
                    let (Some(mqtt), Some(stomp), Some(http)) = (mqtt, stomp, http) else { break };
                    return Ok(Ports { mqtt, stomp, http });
                }
                _ => {}
            }
        }
        Err(GatewayError::NotReady(self.said.join("\n")))
    }

    /// SIGTERM, and waits until it has ended.
    pub(crate) async fn ask_to_end(&mut self) {
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already, which is noticed when it is killed.
            let _ = kill_process(id, Signal::TERM);
        }
        // The log ends with the process.
        while let Ok(Some(line)) = timeout(START_PATIENCE, self.log.recv()).await {
            self.said.push(line);
        }
        self.is_asked = true;
    }

    /// SIGKILL, and nothing of it is left. Returns what it had to complain of: errors, panics, an end of its own.
    pub(crate) fn kill(mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Ok(Some(status)) = self.child.try_wait()
            && !self.is_asked
        {
            complaints.push(format!("the gateway had ended by itself: {status}"));
        }
        let _ended = self.child.kill().and_then(|()| self.child.wait());
        while let Ok(line) = self.log.try_recv() {
            self.said.push(line);
        }
        let is_bad = |line: &String| line.contains("\"ERROR\"") || line.contains("panicked at");
        complaints.extend(self.said.iter().filter(|line| is_bad(line)).cloned());
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

/// How many messages wait in queues, or to be acknowledged, as the gateway says; nothing where it does not answer.
pub(crate) async fn queued_messages(ports: Ports) -> Option<u64> {
    let text = timeout(START_PATIENCE, fetch(ports.http)).await.ok()?.ok()?;
    Some(sum(&text, "tidegate_queue_messages", ""))
}

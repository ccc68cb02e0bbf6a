//! The gateway of a crash audit: one folder and one configuration, many lives.

use crate::gateway::{GatewayError, fetch, sum};
use crate::life::{LISTENERS, Life, START_PATIENCE};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Time between two looks at a life that begins or ends, while everybody else goes on.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Small files, so that space is given back while it runs. One area is acknowledged when the operating system has it: that survives a kill.
const CONFIG: &str = r#"
node = "crash"
data_dir = "data"
workers = 2

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

impl Gateway {
    /// A gateway that keeps its things in this folder.
    pub(crate) fn new(program: &Path, folder: &Path) -> Result<Gateway, GatewayError> {
        let start = |error| GatewayError::Start { program: program.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(start)?;
        let config = folder.join("tidegate.toml");
        std::fs::write(&config, format!("{CONFIG}{LISTENERS}")).map_err(start)?;
        Ok(Gateway { program: program.to_owned(), config })
    }

    /// Begins a life, which is not ready yet.
    pub(crate) fn start(&self) -> Result<Life, GatewayError> {
        Life::begin(&self.program, &self.config, &[])
    }
}

/// Waits until a life is ready.
pub(crate) async fn ready(life: &mut Life) -> Result<Ports, GatewayError> {
    let started = Instant::now();
    while !life.is_ready(Duration::ZERO)? {
        if started.elapsed() > START_PATIENCE {
            return Err(life.not_ready());
        }
        sleep(LOOK_EVERY).await;
    }
    let (mqtt, stomp, http) = (life.address("mqtt")?, life.address("stomp")?, life.address("http")?);
    Ok(Ports { mqtt, stomp, http })
}

/// Waits until a life that was asked to end has ended; what is killed afterwards in any case.
pub(crate) async fn ended(life: &mut Life) {
    life.ask_to_end();
    let started = Instant::now();
    while !life.has_ended() && started.elapsed() < START_PATIENCE {
        sleep(LOOK_EVERY).await;
    }
}

/// How many messages wait in queues, or to be acknowledged, as the gateway says; nothing where it does not answer.
pub(crate) async fn queued_messages(ports: Ports) -> Option<u64> {
    let text = timeout(START_PATIENCE, fetch(ports.http)).await.ok()?.ok()?;
    Some(sum(&text, "tidegate_queue_messages", ""))
}

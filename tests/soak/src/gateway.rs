//! The gateway under audit: started as a process of its own or found running, with what it says of itself.

use crate::life::{LISTENERS, Life, START_PATIENCE};
use crate::options::Where;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Why there is no gateway to audit.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its configuration could not be written, or its program not be started.
    #[error("cannot start {program}: {error}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It ended, or did not become ready.
    #[error("the gateway did not become ready; it said:\n{0}")]
    NotReady(String),
}

/// See the module. Dropping it kills a gateway that it has started.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Option<Process>,
    /// The MQTT listener.
    pub(crate) mqtt: SocketAddr,
    /// The STOMP listener.
    pub(crate) stomp: Option<SocketAddr>,
    http: Option<SocketAddr>,
}

#[derive(Debug)]
struct Process {
    life: Life,
    config: PathBuf,
}

/// What the gateway says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Gauges {
    /// `tidegate_connections_open`
    pub(crate) connections: u64,
    /// `tidegate_sessions`
    pub(crate) sessions: u64,
    /// `tidegate_subscriptions`
    pub(crate) subscriptions: u64,
    /// `tidegate_queue_messages`
    pub(crate) queued_messages: u64,
    /// `tidegate_queue_bytes`
    pub(crate) queued_bytes: u64,
    /// `tidegate_retained_messages`
    pub(crate) retained_messages: u64,
    /// `process_resident_memory_bytes`
    pub(crate) resident_bytes: u64,
    /// `process_open_fds`
    pub(crate) open_files: u64,
    /// `tidegate_messages_dropped_total` with the reason `queue_full`
    pub(crate) dropped_full: u64,
}

impl Gateway {
    /// Starts it, or believes that it runs.
    pub(crate) fn open(at: &Where) -> Result<Gateway, GatewayError> {
        match at {
            Where::Running { mqtt, stomp, http } => {
                Ok(Gateway { process: None, mqtt: *mqtt, stomp: *stomp, http: *http })
            }
            Where::Spawn { program, workers } => Gateway::spawn(program, *workers),
        }
    }

    fn spawn(program: &Path, workers: usize) -> Result<Gateway, GatewayError> {
        let start = |error| GatewayError::Start { program: program.to_owned(), error };
        let config = std::env::temp_dir().join(format!("tidegate-soak-{}.toml", std::process::id()));
        std::fs::write(&config, format!("node = \"soak\"\n{LISTENERS}")).map_err(start)?;
        let life = Life::begin(program, &config, &[format!("workers={workers}")])?;
        let mut process = Process { life, config };
        let life = &mut process.life;
        life.await_ready()?;
        let (mqtt, stomp, http) = (life.address("mqtt")?, life.address("stomp")?, life.address("http")?);
        Ok(Gateway { mqtt, stomp: Some(stomp), http: Some(http), process: Some(process) })
    }

    /// Log lines at ERROR since the last call, and whether the process has ended.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.process.as_mut().map_or_else(Vec::new, |process| process.life.complaints())
    }

    /// Reads its metrics; nothing where it has no HTTP port, or does not answer.
    pub(crate) async fn gauges(&self) -> Option<Gauges> {
        let text = tokio::time::timeout(START_PATIENCE, fetch(self.http?)).await.ok()?.ok()?;
        Some(Gauges {
            connections: sum(&text, "tidegate_connections_open", ""),
            sessions: sum(&text, "tidegate_sessions", ""),
            subscriptions: sum(&text, "tidegate_subscriptions", ""),
            queued_messages: sum(&text, "tidegate_queue_messages", ""),
            queued_bytes: sum(&text, "tidegate_queue_bytes", ""),
            retained_messages: sum(&text, "tidegate_retained_messages", ""),
            resident_bytes: sum(&text, "process_resident_memory_bytes", ""),
            open_files: sum(&text, "process_open_fds", ""),
            dropped_full: sum(&text, "tidegate_messages_dropped_total", "queue_full"),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A file that stays behind is a temporary one.
        let _ = std::fs::remove_file(&self.config);
    }
}

pub(crate) async fn fetch(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// The sum over all series of a name whose labels contain a text.
pub(crate) fn sum(metrics: &str, name: &str, label: &str) -> u64 {
    let series = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let wanted = series.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
    wanted.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_its_series() {
        let text = "# HELP a x\na{r=\"one\"} 2\na{r=\"two\"} 3\nab 7\nc 1.5e3\n";
        assert_eq!((sum(text, "a", ""), sum(text, "a", "two"), sum(text, "c", "")), (5, 3, 1500));
    }
}
